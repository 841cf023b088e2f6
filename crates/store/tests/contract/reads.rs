//! What GETs see.

use std::sync::Arc;

use model::{
    After, AttemptEnd, Cause, Change, JobStatus, LedgerKind, LogPart, MicroUsd, NodeState, Outcome,
    OutputFile, Phase, Task, TaskResult, TaskState, TaskStatus,
};
use store::{JobFilter, TaskFilter};

use crate::commits::{cloud_node, ended, placed, settled, spent, submitted};
use crate::on_both;
use crate::support::{Database, Leading, at, job_id, labelled, node_id, task_id};

on_both!(
    jobs_are_filtered_and_paged,
    tasks_are_merged_from_sets_and_rows,
    a_million_tasks_are_paged_quickly,
    history_keeps_results,
    nodes_and_money_add_up,
    counters_of_settled_tasks_come_from_history,
);

fn place(job: u64, index: u32, task: Task) -> Change {
    Change::Placed { attempt: task_id(job, 0, index).attempt(task.attempt), task }
}

fn with_result(change: Change, result: TaskResult) -> Change {
    let Change::Ended { attempt, placement, end, at, after, .. } = change else { return change };
    Change::Ended { attempt, placement, end, at, after, result: Some(Box::new(result)) }
}

fn wrote(outcome: Outcome, stdout: &str, outputs: &[&str]) -> TaskResult {
    let part = |text: &str| LogPart { size_bytes: text.len() as u64, text: Some(text.into()) };
    TaskResult {
        outcome,
        run_ms: 12,
        stdout: part(stdout),
        stderr: LogPart { size_bytes: 9_999, text: None },
        outputs: outputs
            .iter()
            .map(|path| OutputFile { path: (*path).into(), size_bytes: 3 })
            .collect(),
        message: Some("a\0b".into()),
    }
}

async fn statuses(leading: &Leading<'_>, status: JobStatus) -> Vec<u64> {
    let filter = JobFilter { status: Some(status), limit: 10, ..JobFilter::default() };
    let jobs = leading.store.jobs(&filter).await.unwrap();
    assert!(jobs.iter().all(|job| job.status == status), "{jobs:?}");
    jobs.iter().map(|job| job.id.number()).collect()
}

async fn jobs_are_filtered_and_paged(database: &Database) {
    let mut leading = database.lead().await;
    for (number, team) in [(1, "red"), (2, "blue"), (3, "red"), (4, "blue"), (5, "red")] {
        let spec = labelled("one", &[3], &[("team", team), ("tier", "x")]);
        let (job, taken_in) = (job_id(number), number < 5);
        leading.commit(&[Change::JobSubmitted { job, spec, at: at(5), taken_in }]).await;
    }
    let held = placed(1, 1, Phase::Held);
    let stop = Change::JobStopping { job: job_id(3), cause: Cause::Stopped };
    leading.commit(&[place(2, 0, held), place(3, 0, held), stop]).await;
    let rest = Change::FreshCancelled { group: task_id(4, 0, 0).group_id(), from: 0, to: 3 };
    leading.world.apply(&rest);
    let end = settled(&leading, 4, JobStatus::Cancelled);
    leading.commit(&[rest, end]).await;
    assert_eq!(statuses(&leading, JobStatus::Submitted).await, [5]);
    assert_eq!(statuses(&leading, JobStatus::Waiting).await, [1]);
    assert_eq!(statuses(&leading, JobStatus::Running).await, [2]);
    assert_eq!(statuses(&leading, JobStatus::Stopping).await, [3]);
    assert_eq!(statuses(&leading, JobStatus::Cancelled).await, [4]);
    assert_eq!(statuses(&leading, JobStatus::Failed).await, [0; 0]);
    let ids = |filter: JobFilter| {
        let store = leading.store;
        async move {
            let jobs = store.jobs(&filter).await.unwrap();
            jobs.iter().map(|job| job.id.number()).collect::<Vec<_>>()
        }
    };
    let red = vec![("team".into(), "red".into()), ("tier".into(), "x".into())];
    let page = JobFilter { labels: red, limit: 2, ..JobFilter::default() };
    assert_eq!(ids(page.clone()).await, [5, 3]);
    assert_eq!(ids(JobFilter { before: Some(job_id(3)), ..page }).await, [1]);
    let other =
        JobFilter { namespace: Some("other".parse().unwrap()), limit: 10, ..JobFilter::default() };
    assert_eq!(ids(other).await, [0; 0]);
    assert_eq!(leading.store.job(job_id(9)).await.unwrap(), None);
    assert_eq!(leading.store.unsettled_jobs().await.unwrap(), 4);
}

async fn list(database: &Database, filter: &TaskFilter) -> Vec<(u16, u32, TaskStatus)> {
    let page = database.store.tasks(job_id(1), filter).await.unwrap().unwrap();
    page.iter().map(|task| (task.id.group, task.id.index, task.status)).collect()
}

async fn tasks_are_merged_from_sets_and_rows(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[6, 2])]).await;
    let (held, running) = (placed(1, 1, Phase::Held), placed(1, 1, Phase::Admitted));
    let ready = Task { state: TaskState::Ready, ..running };
    let changes = [
        place(1, 0, held),
        place(1, 1, running),
        place(1, 2, running),
        place(1, 3, running),
        ended(1, 0, 2, &running, AttemptEnd::Succeeded, After::Succeeded),
        ended(1, 0, 3, &running, AttemptEnd::NodeLost, After::Keep(ready)),
        Change::FreshCancelled { group: task_id(1, 0, 0).group_id(), from: 5, to: 6 },
    ];
    leading.commit(&changes).await;
    use TaskStatus::{Assigned, Cancelled, Failed, Running, Succeeded, Waiting};
    let all = [
        (0, 0, Assigned),
        (0, 1, Running),
        (0, 2, Succeeded),
        (0, 3, Waiting),
        (0, 4, Waiting),
        (0, 5, Cancelled),
        (1, 0, Waiting),
        (1, 1, Waiting),
    ];
    let mut paged = Vec::new();
    let mut filter = TaskFilter { limit: 3, ..TaskFilter::default() };
    loop {
        let page = list(database, &filter).await;
        let Some((group, index, _)) = page.last() else { break };
        filter.after = Some((*group, *index));
        paged.extend(page);
    }
    assert_eq!(paged, all);
    for status in [Assigned, Running, Succeeded, Waiting, Cancelled, Failed] {
        let filter = TaskFilter { status: Some(status), limit: 10, after: None };
        let expected: Vec<_> = all.iter().filter(|task| task.2 == status).copied().collect();
        assert_eq!(list(database, &filter).await, expected, "{status}");
    }
    for (group, index, status) in all {
        let task = database.store.task(task_id(1, group, index)).await.unwrap().unwrap();
        assert_eq!((task.id, task.status), (task_id(1, group, index), status));
    }
    assert_eq!(database.store.task(task_id(1, 0, 6)).await.unwrap(), None);
    assert_eq!(database.store.task(task_id(1, 2, 0)).await.unwrap(), None);
    assert_eq!(database.store.task(task_id(2, 0, 0)).await.unwrap(), None);
}

/// A page costs what is on it, wherever it is.
async fn a_million_tasks_are_paged_quickly(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[1_000_000])]).await;
    let running = placed(1, 1, Phase::Admitted);
    let mut changes: Vec<Change> = (0..1_500).map(|index| place(1, index * 2, running)).collect();
    changes.push(place(1, 999_999, running));
    leading.commit(&changes).await;
    let before = database.store.round_trips();
    let filter =
        TaskFilter { status: Some(TaskStatus::Waiting), after: Some((0, 900_000)), limit: 2 };
    let page = list(database, &filter).await;
    assert_eq!(page.iter().map(|task| task.1).collect::<Vec<_>>(), [900_001, 900_002]);
    let filter =
        TaskFilter { status: Some(TaskStatus::Running), after: Some((0, 2_990)), limit: 9 };
    let page = list(database, &filter).await;
    let indices: Vec<_> = page.iter().map(|task| task.1).collect();
    assert_eq!(indices, [2_992, 2_994, 2_996, 2_998, 999_999]);
    let filter = TaskFilter { status: Some(TaskStatus::Waiting), after: None, limit: 1_000 };
    assert_eq!(list(database, &filter).await.last().map(|task| task.1), Some(1_999));
    assert!(database.store.round_trips() - before < 24);
}

async fn history_keeps_results(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[4])]).await;
    let first = placed(1, 1, Phase::Admitted);
    let second = Task { attempt: 2, ..placed(2, 2, Phase::Admitted) };
    let ready = Task { state: TaskState::Ready, ..first };
    let failed = Task { state: TaskState::Failed(Cause::NoRetry), ..first };
    let lost = ended(1, 0, 0, &first, AttemptEnd::NodeLost, After::Keep(ready));
    let done = ended(1, 0, 0, &second, AttemptEnd::Succeeded, After::Succeeded);
    let fails = ended(1, 0, 2, &first, AttemptEnd::Failed, After::Keep(failed));
    let changes = [
        place(1, 0, first),
        place(1, 2, first),
        place(1, 3, first),
        with_result(lost, wrote(Outcome::Vanished, "old", &["never"])),
        place(1, 0, second),
        with_result(done, wrote(Outcome::Exited { code: 0 }, "ä\0new", &["out/a", "out/b"])),
        with_result(fails, wrote(Outcome::Signalled { signal: 11 }, "", &["core"])),
    ];
    for change in &changes {
        leading.world.apply(change);
    }
    leading.commit(&changes).await;
    let store = leading.store;
    let attempts = store.attempts(task_id(1, 0, 0)).await.unwrap();
    let ends: Vec<_> = attempts.iter().map(|one| (one.id.attempt, one.end, one.settles)).collect();
    assert_eq!(ends, [(1, AttemptEnd::NodeLost, false), (2, AttemptEnd::Succeeded, true)]);
    assert_eq!(attempts[1].exit_code, Some(0));
    assert_eq!(attempts[1].started, Some(at(200)));
    assert_eq!(
        (attempts[1].assigned, attempts[1].ended, attempts[1].run_ms),
        (at(100), at(300), 12)
    );
    assert_eq!(attempts[1].message.as_deref(), Some("a\u{fffd}b"));
    let result = store.result(task_id(1, 0, 0)).await.unwrap().unwrap();
    assert_eq!(result.stdout.text.as_deref(), Some("ä\0new"));
    assert_eq!(result.stderr, LogPart { size_bytes: 9_999, text: None });
    let old = store.attempt_result(task_id(1, 0, 0).attempt(1)).await.unwrap().unwrap();
    assert_eq!(old.stdout.text.as_deref(), Some("old"));
    assert_eq!(store.result(task_id(1, 0, 3)).await.unwrap(), None);
    let results = store.results(job_id(1), None, 10).await.unwrap();
    let found: Vec<_> = results.iter().map(|one| (one.id.task.index, one.id.attempt)).collect();
    assert_eq!(found, [(0, 2), (2, 1)]);
    assert_eq!(store.results(job_id(1), Some((0, 0)), 10).await.unwrap(), results[1..]);
    let outputs = store.outputs(job_id(1), None, 1).await.unwrap();
    let paths: Vec<Arc<str>> = outputs.iter().map(|output| output.file.path.clone()).collect();
    assert_eq!(paths, ["out/a".into(), "out/b".into()]);
    let rest = store.outputs(job_id(1), Some((0, 0)), 9).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].id, task_id(1, 0, 2).attempt(1));
    assert_eq!(attempts_of(&leading, 2).await, Some(11));
}

async fn attempts_of(leading: &Leading<'_>, index: u32) -> Option<i32> {
    leading.store.attempts(task_id(1, 0, index)).await.unwrap()[0].signal
}

async fn nodes_and_money_add_up(database: &Database) {
    let mut leading = database.lead().await;
    let mut gone = cloud_node(2);
    (gone.state, gone.since) = (NodeState::Gone, at(3_600_010));
    let held = placed(1, 1, Phase::Held);
    let changes = [
        submitted(1, &[3]),
        Change::Node(Box::new(cloud_node(1))),
        Change::Node(Box::new(gone)),
        place(1, 0, held),
        place(1, 1, placed(1, 1, Phase::Admitted)),
        spent(1, LedgerKind::Task, 100),
        spent(1, LedgerKind::Waste, 20),
        spent(1, LedgerKind::Boot, 3),
        spent(2, LedgerKind::Idle, 35_000),
    ];
    leading.commit(&changes).await;
    leading.commit(&[spent(1, LedgerKind::Task, 1)]).await;
    let present = leading.store.nodes(false, None, 10).await.unwrap();
    assert_eq!(present.len(), 1);
    assert_eq!((present[0].node.id, present[0].running, present[0].held), (node_id(1), 1, 1));
    let all = leading.store.nodes(true, None, 1).await.unwrap();
    assert_eq!(all[0].node.id, node_id(2));
    assert_eq!(leading.store.nodes(true, Some(node_id(2)), 9).await.unwrap(), present);
    assert_eq!(leading.store.node(node_id(2)).await.unwrap().as_ref(), all.first());
    let cost = leading.store.cost(at(3_600_010)).await.unwrap();
    let micro = MicroUsd;
    assert_eq!((cost.task, cost.waste), (micro(101), micro(20)));
    assert_eq!((cost.boot, cost.idle), (micro(3), micro(35_000)));
    assert_eq!(cost.open, micro(35_000 - 124), "an hour, less what is booked");
    assert_eq!((cost.on_demand, cost.instances), (micro(2 * 96_000), 2));
    assert_eq!(cost.total(), micro(70_000));
    let detail = leading.store.job(job_id(1)).await.unwrap().unwrap();
    assert_eq!(detail.cost, micro(121));
    assert_eq!(leading.store.ledger(Some(job_id(1)), 10).await.unwrap().len(), 3);
    assert_eq!(leading.store.ledger(None, 10).await.unwrap().len(), 5);
}

async fn counters_of_settled_tasks_come_from_history(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[1])]).await;
    let task = |attempt| Task { attempt, ..placed(attempt.into(), attempt, Phase::Admitted) };
    let ready = Task { state: TaskState::Ready, ..task(1) };
    let exits = |code| wrote(Outcome::Exited { code }, "", &[]);
    let lost = ended(1, 0, 0, &task(1), AttemptEnd::Interrupted, After::Keep(ready));
    let failed = ended(1, 0, 0, &task(2), AttemptEnd::Failed, After::Keep(ready));
    let done = ended(1, 0, 0, &task(3), AttemptEnd::Succeeded, After::Succeeded);
    leading.commit(&[place(1, 0, task(1)), with_result(lost, exits(9))]).await;
    leading.commit(&[place(1, 0, task(2)), with_result(failed, exits(7))]).await;
    leading.commit(&[place(1, 0, task(3)), with_result(done, exits(0))]).await;
    let record = leading.store.task(task_id(1, 0, 0)).await.unwrap().unwrap();
    assert_eq!((record.attempt, record.node), (3, Some(node_id(3))));
    assert_eq!(record.exit_code, Some(0));
    let counters = record.counters;
    assert_eq!((counters.interrupted, counters.failed, counters.node_lost), (1, 1, 0));
}
