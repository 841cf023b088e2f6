//! `POST /v1/plan`: price and time of a job before it is submitted, by simulation from the present
//! state. Nothing is stored or changed by it.

mod present;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::job_document::JobDocument;
use api::plan::{
    CostRange, PlanLaunch, PlanObstacle, PlanRunTime, PlanView, RunTimeSource, TimeRange,
};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use model::{Fault, JobSpec, LaunchRequest};
use simulator::forecast::{Forecast, Question, forecast};

use self::present::Seen;
use super::body::{self, NoQuery};
use super::doc::{BadBody, NotLeader};
use super::failure::Failure;
use super::submit::{Read, Shape, must_be_there};
use super::{App, Shared};

/// Runs of a forecast: enough for a tenth and nine tenths, each of two.
const RUNS: u32 = 20;

/// Says what a job would cost and how long it would take.
///
/// By simulated runs of the cluster as it stands into markets that are drawn from today's offers.
/// Nothing is stored or changed by it.
#[utoipa::path(
    post, path = "/v1/plan", tag = "jobs", operation_id = "plan_job",
    request_body(content = JobDocument, content_type = "application/json"),
    responses(
        (status = 200, description = "Price and time, and how they were computed", body = PlanView),
        BadBody,
        NotLeader,
    ),
)]
pub(super) async fn plan(
    State(app): Shared,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PlanView>, Failure> {
    body::must_be_json(&headers)?;
    let limits = &app.config.limits;
    let bytes = body::read(&headers, body, limits.job_bytes, limits.body_ms).await?;
    let (read, _) = Shape { many: false, most: 1 }.read_all(&app, bytes).await?;
    let Read { mut specs, after } = read;
    must_be_there(&app, after).await?;
    let Some(spec) = specs.pop() else { return Err(Failure::malformed("there is no document")) };
    let most = limits.plan_tasks;
    if spec.tasks() > most {
        let detail = format!(
            "{} tasks are more than the {most} that a plan looks into: ask for fewer: price \
             and time grow with them",
            spec.tasks()
        );
        return Err(Failure::invalid_field("/group", detail));
    }
    let run_times = run_times(&app, &spec).await?;
    let lead = app.lead().await?;
    let Ok(_place) = app.plans.try_acquire() else {
        return Err(Failure::overloaded("too many plans at once"));
    };
    let (asked, times) = (Arc::clone(&spec), run_times.clone());
    let look = move |world: &_, config: &_, now| Seen::of(world, config, now, &asked, &times);
    let seen = match lead.look(look).await {
        Ok(seen) => seen,
        Err(why) => return Err(app.unanswered(why).await),
    };
    let patience = Duration::from_millis(limits.plan_ms);
    let answer = move || answer(&spec, run_times, seen, patience);
    let answer = tokio::task::spawn_blocking(answer).await;
    let answer = answer.map_err(|fault| Failure::internal("the plan was not made", &fault))?;
    Ok(Json(answer))
}

/// What the tasks of each group run: what the user says, else what jobs of the same name have seen.
async fn run_times(app: &App, spec: &JobSpec) -> Result<Vec<PlanRunTime>, Failure> {
    let is_said = spec.groups.iter().all(|group| group.expect_ms.is_some());
    let past = match is_said {
        true => Vec::new(),
        false => app.store.past_runs(&spec.namespace, &spec.name).await?,
    };
    let (mut times, mut faults) = (Vec::new(), Vec::new());
    for (ordinal, group) in spec.groups.iter().enumerate() {
        let name = group.name.to_string();
        let seen = past.iter().find(|past| past.group == name);
        let (run_ms, source, tasks) = match (group.expect_ms, seen) {
            (Some(run_ms), _) => (run_ms, RunTimeSource::Expect, None),
            (None, Some(past)) => (past.mean_ms.max(1), RunTimeSource::History, Some(past.tasks)),
            (None, None) => {
                let detail = format!(
                    "how long a task runs is not known, and no settled job named `{}` tells it: say \
                     `expect`",
                    spec.name
                );
                faults.push(Fault { pointer: format!("/group/{ordinal}/expect"), detail });
                continue;
            }
        };
        times.push(PlanRunTime { group: name, run_ms, source, tasks });
    }
    if faults.is_empty() { Ok(times) } else { Err(Failure::invalid(faults)) }
}

/// Plans and simulates; on a thread that may block.
fn answer(spec: &JobSpec, run_times: Vec<PlanRunTime>, seen: Seen, patience: Duration) -> PlanView {
    let Seen { question, problem, why_not, assumed, deadline_at } = seen;
    let mut view = PlanView {
        name: spec.name.to_string(),
        tasks: spec.tasks(),
        why_not,
        cost_micro_usd: None,
        time_ms: None,
        deadline_at,
        deadline_chance_ppm: None,
        spot_share_ppm: None,
        interruptions: 0,
        launches: Vec::new(),
        run_times,
        runs: 0,
        done: 0,
        assumed,
    };
    if !view.why_not.is_empty() {
        view.assumed.clear();
        return view;
    }
    view.launches = planner::plan(&problem).launches.iter().filter_map(launch).collect();
    let end = Instant::now() + patience;
    let Forecast { runs, done, cost, took_ms, in_time_ppm, spot_ppm, interruptions } =
        forecast(&Question { seeds: RUNS, ..question }, || Instant::now() < end);
    view.cost_micro_usd =
        cost.map(|cost| CostRange { low: cost.low, median: cost.median, high: cost.high });
    view.time_ms =
        took_ms.map(|took| TimeRange { low: took.low, median: took.median, high: took.high });
    view.deadline_chance_ppm = in_time_ppm;
    view.spot_share_ppm = spot_ppm;
    view.interruptions = interruptions;
    (view.runs, view.done) = (runs, done);
    view
}

fn launch(request: &LaunchRequest) -> Option<PlanLaunch> {
    Some(PlanLaunch {
        machines: request.count,
        price_micro_usd_hour: request.offers.first()?.price,
        pools: request.offers.iter().map(|offer| offer.pool.clone()).collect(),
        reason: request.reason.to_string(),
    })
}

/// A group that nothing could run.
pub(super) fn obstacle(group: &str, why: String) -> PlanObstacle {
    PlanObstacle { group: group.to_owned(), why }
}
