//! What a stretch of time has seen.

use model::{
    After, AttemptEnd, Change, JobStatus, LedgerKind, LogPart, MicroUsd, NodeState, Outcome, Phase,
    Task, TaskResult, TaskState,
};
use store::{History, HistoryLimits, HistoryRead, PastRuns};

use crate::commits::{cloud_node, ended, place, placed, settled, spent, submitted};
use crate::on_both;
use crate::support::{Database, Leading, at, job, job_id, node_id, task_id};

on_both!(a_history_is_of_its_time, too_much_is_said, jobs_of_a_name_tell_how_long_they_ran);

const ALL: HistoryLimits = HistoryLimits { jobs: 10, tasks: 10, nodes: 10 };

/// Ends a task of the first group after so long.
fn ran(job: u64, index: u32, run_ms: u64, (end, after): (AttemptEnd, After)) -> [Change; 2] {
    let task = placed(1, 1, Phase::Admitted);
    let result = TaskResult {
        outcome: Outcome::Exited { code: 0 },
        run_ms,
        stdout: LogPart::default(),
        stderr: LogPart::default(),
        outputs: Vec::new(),
        message: None,
    };
    let mut change = ended(job, 0, index, &task, end, after);
    if let Change::Ended { result: of, .. } = &mut change {
        *of = Some(Box::new(result));
    }
    [place(job, 0, index, task), change]
}

const GOOD: (AttemptEnd, After) = (AttemptEnd::Succeeded, After::Succeeded);

async fn history(leading: &Leading<'_>, from: i64, to: i64, limits: HistoryLimits) -> HistoryRead {
    leading.store.history(at(from), at(to), limits).await.unwrap()
}

async fn whole(leading: &Leading<'_>, from: i64, to: i64) -> History {
    match history(leading, from, to, ALL).await {
        HistoryRead::Whole(history) => history,
        HistoryRead::TooMuch(what) => panic!("too many {what}"),
    }
}

async fn a_history_is_of_its_time(database: &Database) {
    let mut leading = database.lead().await;
    let later = Change::JobSubmitted {
        job: job_id(2),
        spec: job("later", &[1]),
        at: at(1_000),
        taken_in: false,
    };
    let mut gone = cloud_node(2);
    (gone.state, gone.since) = (NodeState::Gone, at(500));
    leading.commit(&[submitted(1, &[3]), Change::Node(Box::new(cloud_node(1)))]).await;
    leading.commit(&[later, Change::Node(Box::new(gone))]).await;
    let ready = Task { state: TaskState::Ready, ..placed(1, 1, Phase::Admitted) };
    let [one, two] = ran(1, 2, 70, GOOD);
    leading.commit(&[one, two]).await;
    let [one, two] = ran(1, 0, 50, GOOD);
    leading.commit(&[one, two]).await;
    let [one, two] = ran(1, 1, 9_999, (AttemptEnd::Interrupted, After::Keep(ready)));
    leading.commit(&[one, two]).await;
    let rest = Change::RetryCancelled { task: task_id(1, 0, 1) };
    leading.commit(&[rest]).await;
    let end = settled(&leading, 1, JobStatus::Cancelled);
    leading.commit(&[end, spent(1, LedgerKind::Task, 100), spent(1, LedgerKind::Boot, 3)]).await;

    let seen = whole(&leading, 0, 1_000).await;
    assert_eq!(seen.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [job_id(1)]);
    let first = &seen.jobs[0];
    assert_eq!((first.submitted, first.settled), (at(5), Some(at(400))));
    assert_eq!((first.status, first.cost), (JobStatus::Cancelled, MicroUsd(100)));
    assert_eq!(first.attempts, 3);
    assert_eq!(first.groups.len(), 1);
    assert_eq!((&*first.groups[0].run_ms, first.groups[0].ended), (&[50, 70][..], at(300)));
    assert_eq!(first.spec.groups[0].count, 3);
    let ids = |history: &History| history.nodes.iter().map(|node| node.id).collect::<Vec<_>>();
    assert_eq!(ids(&seen), [node_id(1), node_id(2)]);
    let costs: Vec<_> = seen.costs.into_iter().collect();
    assert_eq!(costs, [(LedgerKind::Task, MicroUsd(100)), (LedgerKind::Boot, MicroUsd(3))]);

    let seen = whole(&leading, 501, 2_000).await;
    assert_eq!(seen.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [job_id(2)]);
    assert_eq!((seen.jobs[0].settled, seen.jobs[0].groups.len()), (None, 0));
    assert_eq!(ids(&seen), [node_id(1)], "one was gone before");
    assert!(seen.costs.is_empty(), "booked before");
    let seen = whole(&leading, 0, 5).await;
    assert_eq!((seen.jobs.len(), seen.nodes.len()), (0, 0));
}

async fn too_much_is_said(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[2]), submitted(2, &[1])]).await;
    for index in 0..2 {
        leading.commit(&ran(1, index, 50, GOOD)).await;
    }
    let mut other = cloud_node(2);
    other.id = node_id(2);
    let nodes = [Change::Node(Box::new(cloud_node(1))), Change::Node(Box::new(other))];
    leading.commit(&nodes).await;
    for (limits, what) in [
        (HistoryLimits { jobs: 1, ..ALL }, "jobs"),
        (HistoryLimits { tasks: 1, ..ALL }, "tasks"),
        (HistoryLimits { nodes: 1, ..ALL }, "nodes"),
    ] {
        assert_eq!(history(&leading, 0, 1_000, limits).await, HistoryRead::TooMuch(what));
    }
    let exact = HistoryLimits { jobs: 2, tasks: 2, nodes: 2 };
    assert!(matches!(history(&leading, 0, 1_000, exact).await, HistoryRead::Whole(_)));
}

async fn jobs_of_a_name_tell_how_long_they_ran(database: &Database) {
    let mut leading = database.lead().await;
    for number in 1..=3 {
        leading.commit(&[submitted(number, &[2])]).await;
        for (index, run_ms) in [(0, 100), (1, 300)] {
            leading.commit(&ran(number, index, run_ms * number, GOOD)).await;
        }
        // The third is still at work.
        if number < 3 {
            let end = settled(&leading, number, JobStatus::Succeeded);
            leading.commit(&[end]).await;
        }
    }
    let namespace = job("digest", &[1]).namespace.clone();
    let runs = leading.store.past_runs(&namespace, "digest").await.unwrap();
    assert_eq!(runs, [PastRuns { group: "group-0".into(), tasks: 4, mean_ms: 300 }]);
    assert_eq!(leading.store.past_runs(&namespace, "other\0").await.unwrap(), []);
    let other = "elsewhere".parse().unwrap();
    assert_eq!(leading.store.past_runs(&other, "digest").await.unwrap(), []);
}
