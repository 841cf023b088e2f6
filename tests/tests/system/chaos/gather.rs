//! What is looked at in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use api::event::EventKind;
use api::history::{Record, TaskSeen, read_runs};
use api::view::{AttemptView, CostView, JobDetail, NodeView, Page};
use model::{AttemptEnd, JobId, TaskStatus};
use serde_json::Value;
use system_tests::Rest;
use tokio::task::JoinSet;

use super::Log;

/// Questions at once.
const PARALLEL: usize = 8;

/// Waits until all jobs are settled.
pub(crate) async fn settled(rest: &Rest, jobs: &BTreeMap<JobId, u64>, limit: Duration) {
    let start = Instant::now();
    let mut left: BTreeSet<JobId> = jobs.keys().copied().collect();
    loop {
        for job in left.clone() {
            let detail: Option<JobDetail> = rest.try_get(&format!("/v1/jobs/{job}")).await;
            if detail.is_some_and(|detail| detail.job.status.is_settled()) {
                left.remove(&job);
            }
        }
        let Some(first) = left.first() else { return };
        if start.elapsed() > limit {
            let why: Option<Value> = rest.try_get(&format!("/v1/jobs/{first}/explain")).await;
            let nodes = rest.nodes().await;
            panic!(
                "{} of {} jobs do not settle within {} s; {first}: {why:#?}; nodes: {nodes:#?}",
                left.len(),
                jobs.len(),
                limit.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether no machine of the market lives or is asked for.
pub(crate) fn none_bought(page: Value) -> Option<()> {
    let page: Page<NodeView> = serde_json::from_value(page).ok()?;
    page.items.iter().all(|node| node.pool.is_none() && node.state != "requested").then_some(())
}

/// Jobs, tasks, attempts, nodes and the bill.
pub(crate) async fn end_state(rest: &Rest, jobs: &BTreeMap<JobId, u64>, log: &Log) {
    let mut tasks = Vec::new();
    for job in jobs.keys() {
        let detail: Option<JobDetail> = rest.try_get(&format!("/v1/jobs/{job}")).await;
        // One that is not there is missed by the checker.
        let Some(detail) = detail else { continue };
        log.note(Record::Job(Box::new(detail)));
        tasks.extend(rest.tasks(&job.to_string()).await);
    }
    let mut asked = JoinSet::new();
    for task in tasks {
        if asked.len() >= PARALLEL {
            asked.join_next().await;
        }
        let (rest, log) = (rest.clone(), log.clone());
        asked.spawn(async move {
            let path = format!("/v1/tasks/{}/attempts", task.id);
            let page: Page<AttemptView> = rest.get(&path).await;
            let attempts = Some(page.items);
            log.note(Record::Task(Box::new(TaskSeen { task, attempts })));
        });
    }
    while let Some(done) = asked.join_next().await {
        done.expect("a question is answered");
    }
    let cost: CostView = rest.get("/v1/cost").await;
    log.note(Record::Cost(cost));
    let mut cursor = String::new();
    loop {
        let page: Page<NodeView> =
            rest.get(&format!("/v1/nodes?all=true&limit=1000{cursor}")).await;
        for node in page.items {
            log.note(Record::Node(Box::new(node)));
        }
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return,
        }
    }
}

/// What the tasks wrote down.
pub(crate) fn runs(folder: &Path, log: &Log) {
    for run in read_runs(folder).expect("what tasks wrote is understood") {
        log.note(Record::Ran(run));
    }
}

/// Submits, settled tasks, re-runs, machines, the longest time without a settlement.
pub(crate) fn summary(records: &[Record], jobs: &BTreeMap<JobId, u64>) -> String {
    let (mut settled, mut runs, mut machines, mut poison) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut ends = BTreeMap::<&str, u64>::new();
    let mut times = BTreeSet::new();
    let mut resent = 0_u64;
    for record in records {
        match record {
            Record::Accepted(_) => resent += 1,
            Record::Task(seen) => {
                settled += u64::from(seen.task.status.is_settled());
                poison += u64::from(seen.task.cause == Some(model::Cause::Poison));
                for attempt in seen.attempts.iter().flatten() {
                    if attempt.end != AttemptEnd::Succeeded {
                        *ends.entry(attempt.end.as_str()).or_default() += 1;
                    }
                }
            }
            Record::Ran(_) => runs += 1,
            Record::Node(node) => machines += u64::from(node.pool.is_some()),
            Record::Event(told)
                if told.event.kind == EventKind::TaskEnded
                    && told.event.task_status.is_some_and(TaskStatus::is_settled) =>
            {
                times.insert(told.event.at);
            }
            _ => {}
        }
    }
    let times: Vec<_> = times.into_iter().collect();
    let gap_ms = times.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or(0);
    let submits = jobs.len();
    let resent = resent.saturating_sub(u64::try_from(submits).unwrap_or(0));
    let ends: Vec<_> = ends.iter().map(|(end, times)| format!("{times} {end}")).collect();
    format!(
        "{submits} submits ({resent} sent again), {settled} tasks settled ({poison} poison), {runs} runs, {} re-runs, attempts ended otherwise: {}; {machines} machines; longest gap without a settlement {gap_ms} ms",
        runs.saturating_sub(settled),
        ends.join(", ")
    )
}
