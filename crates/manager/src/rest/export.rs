//! `GET /v1/export`: state and history as one document, for `ebb simulate --from-export`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::export::{ExportJob, ExportSeen, ExportView, FORMAT};
use api::problem::ProblemKind;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use model::{ClusterId, GroupSpec, JobId, LedgerKind, MicroUsd, NodeState, Offer, Timestamp, bill};
use serde::Deserialize;
use serde_json::value::RawValue;
use simulator::files;
use simulator::history::{Past, PastWork, Replay, replay, was_taken};
use store::{History, HistoryLimits, HistoryRead, PastGroup, PastJob};
use utoipa::IntoParams;

use super::body::Params;
use super::doc::{NotLeader, TooLarge};
use super::failure::Failure;
use super::{App, Shared, rows};
use crate::clock;

/// Without `from`: the last week.
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// From when; by default a week before `to`.
    #[param(inline)]
    from: Option<Timestamp>,
    /// Until when, and not later than now; now by default.
    #[param(inline)]
    to: Option<Timestamp>,
}

/// State and history as one document.
///
/// What was submitted, was there and was paid in a time, as a market and a workload of
/// `ebb simulate`, beside what came of it. What is not known is said in `assumed`.
#[utoipa::path(
    get, path = "/v1/export", tag = "cluster", operation_id = "export",
    params(ExportQuery),
    responses(
        (status = 200, description = "One document", body = ExportView),
        TooLarge,
        NotLeader,
    ),
)]
pub(super) async fn export(
    State(app): Shared,
    Params(query): Params<ExportQuery>,
) -> Result<Response, Failure> {
    let (from, to) = span(&query, clock::now())?;
    let lead = app.lead().await?;
    let Ok(_place) = app.plans.try_acquire() else {
        return Err(Failure::overloaded("too many plans and exports at once"));
    };
    let look = |world: &model::World, _: &_, _| {
        (world.durable.head.cluster, world.observed.offers.clone())
    };
    let (cluster, offers) = match lead.look(look).await {
        Ok(seen) => seen,
        Err(why) => return Err(app.unanswered(why).await),
    };
    let history = match app.store.history(from, to, most(&app)).await? {
        HistoryRead::Whole(history) => history,
        HistoryRead::TooMuch(what) => return Err(too_much(&app, what)),
    };
    let settled = settled(&app, &history).await?;
    let write = move || document(cluster, (from, to), offers, &history, &settled);
    let text = tokio::task::spawn_blocking(write).await;
    let text = text.map_err(|fault| Failure::internal("the export was not written", &fault))?;
    let text = text.map_err(|fault| Failure::internal("the export has no JSON", &fault))?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], text).into_response())
}

fn span(query: &ExportQuery, now: Timestamp) -> Result<(Timestamp, Timestamp), Failure> {
    let to = query.to.unwrap_or(now);
    if to > now {
        return Err(Failure::malformed(format!("to: {to} is not past yet, it is {now}")));
    }
    let from = query.from.unwrap_or_else(|| to.plus_ms(-WEEK_MS));
    if from >= to {
        return Err(Failure::malformed(format!("from: {from} is not before {to}")));
    }
    Ok((from, to))
}

fn most(app: &App) -> HistoryLimits {
    let limits = &app.config.limits;
    let (jobs, tasks, nodes) = (limits.export_jobs, limits.export_tasks, limits.export_nodes);
    HistoryLimits { jobs, tasks, nodes }
}

fn too_much(app: &App, what: &str) -> Failure {
    let limits = most(app);
    let (most, of) = match what {
        "jobs" => (limits.jobs, "jobs were submitted"),
        "tasks" => (limits.tasks, "tasks of jobs that were submitted have ended"),
        _ => (limits.nodes, "nodes were there"),
    };
    let detail =
        format!("more than {most} {of} in this time: export less of it by `from` and `to`");
    Failure::new(ProblemKind::TooLarge, detail)
}

/// When the jobs were settled that others came after, as far as they are kept.
async fn settled(app: &App, history: &History) -> Result<BTreeMap<JobId, Timestamp>, Failure> {
    let mut at: BTreeMap<JobId, Timestamp> =
        history.jobs.iter().filter_map(|job| Some((job.id, job.settled?))).collect();
    let awaited = history.jobs.iter().flat_map(|job| job.spec.after.iter().copied());
    let others: Vec<JobId> = awaited.filter(|id| !at.contains_key(id)).take(OTHERS).collect();
    for id in others {
        if let Some(settled) = app.store.job(id).await?.and_then(|job| job.job.settled) {
            at.insert(id, settled);
        }
    }
    Ok(at)
}

/// Jobs from before the export's time that are looked up one by one.
const OTHERS: usize = 1_000;

fn document(
    cluster: ClusterId,
    (from, to): (Timestamp, Timestamp),
    offers: Vec<Offer>,
    history: &History,
    settled: &BTreeMap<JobId, Timestamp>,
) -> Result<Vec<u8>, serde_json::Error> {
    let work = history.jobs.iter().flat_map(|job| work(job, settled)).collect();
    let past = Past { from, to, offers, nodes: history.nodes.clone(), work };
    let Replay { recording, jobs, mut assumed } = replay(&past);
    assumed.extend(left_out(history));
    if recording.pools.is_empty() {
        assumed.push("no machine was there and none is on offer: there is no market".to_owned());
    }
    serde_json::to_vec(&ExportView {
        format: FORMAT,
        cluster,
        from,
        to,
        market: RawValue::from_string(files::market::write(&recording).trim_end().to_owned())?,
        jobs: RawValue::from_string(files::jobs::write(&jobs).trim_end().to_owned())?,
        seen: seen(history, from, to),
        assumed,
    })
}

/// The settled tasks of each group, from when they could begin on.
fn work(job: &PastJob, settled: &BTreeMap<JobId, Timestamp>) -> Vec<PastWork> {
    let awaited = job.spec.after.iter().filter_map(|id| settled.get(id)).copied().max();
    let begin = awaited.map_or(job.submitted, |at| at.max(job.submitted));
    let deadline = job.spec.deadline.map(|deadline| deadline.of(job.submitted));
    let of = |past: &PastGroup| {
        let spec: &Arc<GroupSpec> = job.spec.groups.get(usize::from(past.group))?;
        let ended = |group: &u16| {
            let other = job.groups.iter().find(|other| other.group == *group);
            other.map(|other| other.ended)
        };
        let arrived = spec.after.iter().filter_map(ended).max();
        Some(PastWork {
            id: format!("{}.{}", job.id, past.group).into(),
            arrived: arrived.map_or(begin, |at| at.max(begin)),
            deadline,
            ask: spec.resources,
            run_ms: past.run_ms.clone(),
        })
    };
    job.groups.iter().filter_map(of).collect()
}

/// What was submitted and is not among the jobs.
fn left_out(history: &History) -> Option<String> {
    let all: u64 = history.jobs.iter().map(|job| job.spec.tasks()).sum();
    let groups = history.jobs.iter().flat_map(|job| &job.groups);
    let done: u64 = groups.map(|group| u64::try_from(group.run_ms.len()).unwrap_or(u64::MAX)).sum();
    let out = all.saturating_sub(done);
    (out > 0).then(|| format!("{out} tasks are left out: cancelled, or not settled yet"))
}

fn seen(history: &History, from: Timestamp, to: Timestamp) -> ExportSeen {
    let cost = |kind| history.costs.get(&kind).copied().unwrap_or_default();
    let open = |node: &model::Node| match node.state {
        NodeState::Gone => MicroUsd(0),
        _ => bill(node.price(), node.launched, to) - node.booked,
    };
    let is_taken = |node: &&model::Node| was_taken(node, from, to);
    let taken = history.nodes.iter().filter(is_taken).count();
    let job = |job: &PastJob| ExportJob {
        id: job.id,
        name: job.spec.name.to_string(),
        status: job.status,
        submitted_at: job.submitted,
        settled_at: job.settled,
        deadline_met: job.spec.deadline.and_then(|deadline| {
            rows::in_time(job.status, job.settled, deadline.of(job.submitted), to)
        }),
        cost_micro_usd: job.cost,
        attempts: job.attempts,
    };
    ExportSeen {
        cost_micro_usd: history.costs.values().fold(MicroUsd(0), |sum, cost| sum + *cost),
        task_micro_usd: cost(LedgerKind::Task),
        waste_micro_usd: cost(LedgerKind::Waste),
        boot_micro_usd: cost(LedgerKind::Boot),
        idle_micro_usd: cost(LedgerKind::Idle),
        open_micro_usd: history.nodes.iter().map(open).fold(MicroUsd(0), |sum, cost| sum + cost),
        interruptions: u64::try_from(taken).unwrap_or(u64::MAX),
        jobs: history.jobs.iter().map(job).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_now_and_is_a_week() {
        let now = Timestamp::from_ms(1_790_000_000_000);
        let span = |from: Option<i64>, to: Option<i64>| {
            let at = |ms: i64| now.plus_ms(ms);
            span(&ExportQuery { from: from.map(at), to: to.map(at) }, now).ok()
        };
        assert_eq!(span(None, None), Some((now.plus_ms(-WEEK_MS), now)));
        assert_eq!(span(Some(-5), None), Some((now.plus_ms(-5), now)));
        assert_eq!(span(None, Some(-5)), Some((now.plus_ms(-WEEK_MS - 5), now.plus_ms(-5))));
        assert_eq!(
            (span(Some(0), None), span(None, Some(1)), span(Some(-5), Some(-5))),
            (None, None, None)
        );
    }
}
