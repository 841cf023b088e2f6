//! What is old is forgotten, in batches, and no sum changes.

use model::{
    After, AttemptEnd, Cause, Change, Intent, IntentEnd, IntentId, IntentState, JobStatus,
    LaunchRequest, LedgerKind, MicroUsd, Node, NodeEvent, NodeReason, NodeState, Phase, Task,
    TaskState,
};
use store::{Committed, Deleted, Explanation, Keep};

use crate::changes::{after, submit};
use crate::commits::{cloud_node, ended, place, placed, settled, spent, submitted};
use crate::on_both;
use crate::support::{Database, Leading, at, job_id, labelled, node_id, task_id};

on_both!(
    the_log_is_trimmed_by_bytes,
    explanations_are_trimmed_by_age,
    nodes_and_launches_are_trimmed_and_costs_stay,
    settled_jobs_are_found_by_age_and_count,
    a_job_is_deleted_with_all_its_rows,
    a_large_job_is_deleted_in_batches,
    a_job_that_others_come_after_stays,
);

const DAY_MS: u64 = 24 * 3_600_000;

async fn seqs(leading: &Leading<'_>) -> Vec<u64> {
    leading.store.log(0, 1_000).await.unwrap().iter().map(|entry| entry.seq).collect()
}

async fn the_log_is_trimmed_by_bytes(database: &Database) {
    let mut leading = database.lead().await;
    assert_eq!(leading.store.log_bounds().await.unwrap(), None);
    let mut sizes = Vec::new();
    for number in 1..=6 {
        let batch = leading.batch(&[submitted(number, &[1])]);
        sizes.push(batch.log_bytes() as u64);
        assert!(matches!(leading.store.commit(&batch).await, Committed::Committed));
    }
    assert_eq!(leading.store.log_bounds().await.unwrap(), Some((1, 6)));
    let now = leading.world.durable.head.now;
    let last_two: u64 = sizes[4..].iter().sum();
    let trim = |log_bytes| async move {
        database.store.trim(&Keep { log_bytes, ..Keep::default() }, now).await.unwrap().log
    };
    assert_eq!(trim(sizes.iter().sum()).await, 0);
    assert_eq!(trim(last_two).await, 4);
    assert_eq!(seqs(&leading).await, [5, 6]);
    assert_eq!(trim(last_two).await, 0);
    assert_eq!(trim(0).await, 1, "the newest is kept");
    assert_eq!(leading.store.log_bounds().await.unwrap(), Some((6, 6)));
    // More than a batch goes in several.
    for number in 0..520 {
        let batch = leading.batch(&[submitted(100 + number, &[1])]);
        assert!(matches!(leading.store.commit(&batch).await, Committed::Committed));
    }
    let keep = Keep { log_bytes: 0, ..Keep::default() };
    let trimmed = database.store.trim(&keep, now).await.unwrap();
    assert_eq!((trimmed.log, trimmed.more), (500, true));
    let trimmed = database.store.trim(&keep, now).await.unwrap();
    assert_eq!((trimmed.log, trimmed.more), (20, false));
    leading.commit(&[submitted(1_000, &[1])]).await;
}

async fn explanations_are_trimmed_by_age(database: &Database) {
    let mut leading = database.lead().await;
    let words = |number: usize| Explanation {
        subject: "node_1".to_owned(),
        words: format!("number {number}"),
    };
    let many: Vec<Explanation> = (0..501).map(words).collect();
    let batch = leading.batch(&[submitted(1, &[1])]).with_explanations(&many);
    assert!(matches!(leading.store.commit(&batch).await, Committed::Committed));
    let batch = leading.batch(&[submitted(2, &[1])]).with_explanations(&many[..1]);
    assert!(matches!(leading.store.commit(&batch).await, Committed::Committed));
    let keep = Keep { explanations_ms: DAY_MS, ..Keep::default() };
    let now = leading.world.durable.head.now.later_by(DAY_MS);
    let trimmed = leading.store.trim(&keep, now).await.unwrap();
    assert_eq!((trimmed.explanations, trimmed.more), (500, true));
    let trimmed = leading.store.trim(&keep, now).await.unwrap();
    assert_eq!((trimmed.explanations, trimmed.more), (1, false));
    let left = leading.store.explanations("node_1", 10).await.unwrap();
    assert_eq!(left.iter().map(|one| one.seq).collect::<Vec<_>>(), [2]);
}

fn intent(number: u64, state: IntentState) -> Change {
    Change::Intent(Box::new(Intent {
        id: IntentId::from_number(number),
        request: LaunchRequest { offers: Vec::new(), count: 1, reason: "demand".into() },
        state,
        since: at(100),
        opened: at(1),
        born: 1,
    }))
}

async fn nodes_and_launches_are_trimmed_and_costs_stay(database: &Database) {
    let mut leading = database.lead().await;
    let instance = |number: u64| {
        let mut node: Node = cloud_node(number);
        if let model::NodeOrigin::Cloud { instance, .. } = &mut node.origin {
            *instance = model::InstanceId::new(&format!("i-{number}"));
        }
        Change::Node(Box::new(node))
    };
    leading.commit(&[instance(1), instance(2), instance(3)]).await;
    leading.commit(&[spent(1, LedgerKind::Boot, 5), spent(2, LedgerKind::Idle, 7)]).await;
    let closed = IntentState::Closed(IntentEnd::Filled);
    leading.commit(&[intent(1, closed), intent(2, IntentState::Requested)]).await;
    for (number, ms) in [(1, 3_600_010), (2, 7_200_010)] {
        let node = leading.world.durable.nodes[&node_id(number)].clone();
        let gone = node.on(NodeEvent::Gone(NodeReason::Reclaimed), at(ms)).unwrap();
        leading.commit(&[Change::Node(Box::new(gone))]).await;
    }
    let now = at(9_000_000);
    let before = leading.store.cost(now).await.unwrap();
    assert_eq!((before.instances, before.on_demand), (3, MicroUsd(96_000 * 3 + 240_000)));
    let trim = |ms: i64| async move {
        let keep = Keep { nodes_ms: DAY_MS, ..Keep::default() };
        let now = at(ms).later_by(DAY_MS);
        let trimmed = database.store.trim(&keep, now).await.unwrap();
        (trimmed.nodes, trimmed.intents)
    };
    assert_eq!(trim(100).await, (0, 0));
    assert_eq!(trim(3_600_011).await, (1, 1));
    assert_eq!(leading.store.cost(now).await.unwrap(), before);
    assert_eq!(trim(7_200_011).await, (1, 0));
    assert_eq!(trim(i64::MAX / 2).await, (0, 0), "what is present stays");
    assert_eq!(leading.store.cost(now).await.unwrap(), before);
    assert_eq!(leading.store.ledger(None, 10).await.unwrap().len(), 2);
    let nodes = leading.store.nodes(true, None, 10).await.unwrap();
    assert_eq!(nodes.iter().map(|one| one.node.state).collect::<Vec<_>>(), [NodeState::Booting]);
    assert_eq!(leading.store.intents(true, 10).await.unwrap().len(), 1);
    leading.expect_loaded().await;
}

fn settled_at(number: u64, ms: i64) -> Change {
    let groups = vec![model::SettledGroup::default()];
    Change::JobSettled { job: job_id(number), status: JobStatus::Succeeded, at: at(ms), groups }
}

async fn settled_jobs_are_found_by_age_and_count(database: &Database) {
    let mut leading = database.lead().await;
    for (number, ms) in [(1, 500), (2, 300), (3, 400), (4, 100)] {
        leading.commit(&[submitted(number, &[1])]).await;
        leading.commit(&[settled_at(number, ms)]).await;
    }
    leading.commit(&[submitted(5, &[1])]).await;
    let find = |before, most| async move {
        let found = database.store.settled_before(at(before), most).await.unwrap();
        found.iter().map(|(id, _)| id.number()).collect::<Vec<_>>()
    };
    assert_eq!(find(0, 4).await, [0; 0]);
    assert_eq!(find(301, 4).await, [4, 2]);
    assert_eq!(find(0, 3).await, [4]);
    assert_eq!(find(301, 3).await, [4, 2]);
    assert_eq!(find(301, 1).await, [4, 2, 3]);
    assert_eq!(find(1_000, 0).await, [4, 2, 3, 1]);
    let many: Vec<Change> = (100..620).map(|number| submitted(number, &[1])).collect();
    leading.commit(&many).await;
    let many: Vec<Change> = (100..620).map(|number| settled_at(number, 600)).collect();
    leading.commit(&many).await;
    assert_eq!(find(10_000, 0).await.len(), 500);
}

/// A job of which every table has rows.
async fn settle_with_rows(leading: &mut Leading<'_>, number: u64) {
    let spec = labelled("whole", &[2, 1], &[("team", "red")]);
    leading.commit(&[submit(number, spec, true)]).await;
    let task = placed(1, 1, Phase::Admitted);
    let failed = Task { state: TaskState::Failed(Cause::NoRetry), ..task };
    let spend = |micro| {
        let Change::Ledger(mut row) = spent(1, LedgerKind::Task, micro) else { unreachable!() };
        row.task = Some(task_id(number, 0, 0));
        Change::Ledger(row)
    };
    leading
        .commit(&[
            place(number, 0, 0, task),
            place(number, 0, 1, task),
            place(number, 1, 0, task),
            ended(number, 0, 0, &task, AttemptEnd::Succeeded, After::Succeeded),
            ended(number, 0, 1, &task, AttemptEnd::Failed, After::Keep(failed)),
            ended(number, 1, 0, &task, AttemptEnd::Succeeded, After::Succeeded),
            spend(100),
            spend(11),
        ])
        .await;
    let end = settled(leading, number, JobStatus::Failed);
    leading.commit(&[end]).await;
}

async fn rows_of(database: &Database, job: u64) -> Vec<(&'static str, i64)> {
    let mut counts = Vec::new();
    for table in ["jobs", "attempts", "tasks", "job_groups", "job_labels", "job_after", "ledger"] {
        let column = if table == "jobs" { "id" } else { "job" };
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} = {job}");
        counts.push((table, database.number(&sql).await));
    }
    counts
}

async fn a_job_is_deleted_with_all_its_rows(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[Change::Node(Box::new(cloud_node(1)))]).await;
    settle_with_rows(&mut leading, 1).await;
    settle_with_rows(&mut leading, 2).await;
    leading.commit(&[submit(3, after(&[1], &[1]), true)]).await;
    leading.commit(&[settled_at(3, 900)]).await;
    let (other, cost) = (rows_of(database, 2).await, leading.store.cost(at(1_000)).await.unwrap());
    let store = leading.store;
    assert_eq!(store.delete_jobs(&[]).await.unwrap(), Deleted::default());
    let deleted = store.delete_jobs(&[job_id(1), job_id(77)]).await.unwrap();
    assert_eq!(deleted, Deleted { jobs: 1, rows: 3 + 1 + 2 + 1 + 2, more: false });
    assert_eq!(store.delete_jobs(&[job_id(1)]).await.unwrap(), Deleted::default());
    assert!(rows_of(database, 1).await.iter().all(|(_, rows)| *rows == 0));
    assert_eq!(rows_of(database, 2).await, other);
    assert_eq!(store.job(job_id(1)).await.unwrap(), None);
    assert_eq!(store.tasks(job_id(1), &crate::commits::page()).await.unwrap(), None);
    assert_eq!(store.cost(at(1_000)).await.unwrap(), cost);
    let ledger = store.ledger(None, 10).await.unwrap();
    let sum: i64 = ledger.iter().map(|row| row.cost.0).sum();
    assert_eq!((ledger.len(), sum), (3, 2 * 111), "two of the job became one of its node");
    assert_eq!(store.job(job_id(2)).await.unwrap().unwrap().cost, MicroUsd(111));
    let deleted = store.delete_jobs(&[job_id(3)]).await.unwrap();
    assert_eq!((deleted.jobs, deleted.rows), (1, 2), "its group and what it came after");
    leading.expect_loaded().await;
}

async fn a_large_job_is_deleted_in_batches(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[1_200])]).await;
    let task = placed(1, 1, Phase::Admitted);
    let mut changes: Vec<Change> = (0..1_200).map(|index| place(1, 0, index, task)).collect();
    changes.extend(
        (0..1_200).map(|index| ended(1, 0, index, &task, AttemptEnd::Succeeded, After::Succeeded)),
    );
    leading.commit(&changes).await;
    let end = settled(&leading, 1, JobStatus::Succeeded);
    leading.commit(&[end]).await;
    let store = leading.store;
    let first = store.delete_jobs(&[job_id(1)]).await.unwrap();
    assert_eq!(first, Deleted { jobs: 1, rows: 500, more: true });
    assert_eq!(store.job(job_id(1)).await.unwrap(), None, "it is gone from the first batch on");
    // Whoever goes on need not know what was begun.
    assert_eq!(store.delete_jobs(&[]).await.unwrap(), Deleted { jobs: 0, rows: 500, more: true });
    assert_eq!(store.delete_jobs(&[]).await.unwrap(), Deleted { jobs: 0, rows: 201, more: false });
    assert_eq!(store.delete_jobs(&[]).await.unwrap(), Deleted::default());
}

async fn a_job_that_others_come_after_stays(database: &Database) {
    let mut leading = database.lead().await;
    for number in 1..=2 {
        leading.commit(&[submitted(number, &[1])]).await;
        leading.commit(&[settled_at(number, 100)]).await;
    }
    leading.commit(&[submit(3, after(&[1], &[1]), false)]).await;
    let store = leading.store;
    let found = || async { store.settled_before(at(1_000), 0).await.unwrap() };
    let of = |number| (job_id(number), model::Namespace::default());
    assert_eq!(found().await, [of(2)]);
    let deleted = store.delete_jobs(&[job_id(1), job_id(2), job_id(3)]).await.unwrap();
    assert_eq!(deleted.jobs, 1);
    assert_eq!(store.statuses(&[job_id(1)]).await.unwrap().len(), 1);
    let (job, spec) = (job_id(3), after(&[1], &[1]));
    leading.commit(&[Change::JobTakenIn { job, spec, submitted: at(5) }]).await;
    leading.commit(&[settled_at(3, 100)]).await;
    let store = leading.store;
    assert_eq!(found().await, [of(1), of(3)]);
    assert_eq!(store.delete_jobs(&[job_id(1), job_id(3)]).await.unwrap().jobs, 2);
}
