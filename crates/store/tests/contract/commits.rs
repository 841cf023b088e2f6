//! What a commit writes, and when it does not.

use std::sync::Arc;

use model::{
    After, AttemptEnd, Cause, Change, Counters, InstanceId, Intent, IntentEnd, IntentId,
    IntentState, JobSpec, JobStatus, LaunchRequest, LedgerKind, LedgerRow, MicroUsd, Node,
    NodeEvent, NodeOrigin, NodeReason, NodeState, Notice, NoticeKind, Offer, Phase, Placement,
    Pool, PurchaseOption, Resources, Task, TaskState, Timestamp,
};
use store::{Committed, Store};

use crate::on_both;
use crate::proxy::{Break, Proxy};
use crate::support::{Database, Leading, at, job, job_id, labelled, node_id, task_id};

on_both!(
    a_life_of_everything_loads_as_it_was_applied,
    a_failed_job_keeps_its_tasks,
    an_old_term_is_fenced,
    a_wrong_seq_is_fenced,
    a_refused_batch_changes_nothing,
    a_million_tasks_are_one_small_row,
    many_rows_in_one_commit,
    pages_of_the_log_are_bounded_by_bytes,
);

pub(crate) fn placed(node: u64, attempt: u32, phase: Phase) -> Task {
    let started = (phase != Phase::Held).then(|| at(200));
    let placement = Placement { node: node_id(node), assigned: at(100), started, phase };
    let counters =
        Counters { interrupted: 1, node_lost: 2, failed: 3, timed_out: 4, unexplained: 1 };
    Task { state: TaskState::Placed(placement), attempt, counters }
}

pub(crate) fn ended(
    job: u64,
    group: u16,
    index: u32,
    task: &Task,
    end: AttemptEnd,
    after: After,
) -> Change {
    Change::Ended {
        attempt: task_id(job, group, index).attempt(task.attempt),
        placement: *task.placement().unwrap(),
        end,
        at: at(300),
        after,
        result: None,
    }
}

pub(crate) fn place(job: u64, group: u16, index: u32, task: Task) -> Change {
    Change::Placed { attempt: task_id(job, group, index).attempt(task.attempt), task }
}

pub(crate) fn submitted(job_number: u64, counts: &[u32]) -> Change {
    let spec = job("digest", counts);
    Change::JobSubmitted { job: job_id(job_number), spec, at: at(5), taken_in: true }
}

pub(crate) fn settled(leading: &Leading<'_>, job: u64, status: JobStatus) -> Change {
    let groups = leading.world.durable.jobs[&job_id(job)].settled_groups();
    Change::JobSettled { job: job_id(job), status, at: at(400), groups }
}

fn offer() -> Offer {
    let (zone, instance_type) = ("us-east-1a".into(), "m5.large".into());
    Offer {
        pool: Pool { zone, instance_type, option: PurchaseOption::Spot },
        capacity: Resources { cpu_millis: 2000, memory_mib: 8192, disk_mib: 7, gpus: 1 },
        price: MicroUsd(35_000),
        on_demand_price: MicroUsd(96_000),
        hazard_ppm_hour: 50_000,
    }
}

pub(crate) fn cloud_node(number: u64) -> Node {
    let instance = InstanceId::new("i-0123");
    Node {
        id: node_id(number),
        origin: NodeOrigin::Cloud { instance, intent: IntentId::from_number(9), offer: offer() },
        capacity: offer().capacity,
        state: NodeState::Booting,
        since: at(20),
        reason: NodeReason::Seen,
        launched: at(10),
        joined: None,
        session: None,
        deadline: None,
        booked: MicroUsd(0),
    }
}

pub(crate) fn spent(number: u64, kind: LedgerKind, micro_usd: i64) -> Change {
    let task = matches!(kind, LedgerKind::Task | LedgerKind::Waste).then(|| task_id(1, 0, 0));
    let (from, to, cost) = (at(10), at(20), MicroUsd(micro_usd));
    Change::Ledger(LedgerRow { node: node_id(number), task, kind, from, to, cost })
}

fn node_change(leading: &Leading<'_>, number: u64, event: NodeEvent, now: Timestamp) -> Change {
    let node = leading.world.durable.nodes[&node_id(number)].on(event, now).unwrap();
    Change::Node(Box::new(node))
}

async fn a_life_of_everything_loads_as_it_was_applied(database: &Database) {
    let mut leading = database.lead().await;
    leading.expect_loaded().await;
    jobs_and_tasks(&mut leading).await;
    machines(&mut leading).await;
    leading.expect_replayed().await;
    let mut again = database.lead().await;
    again.world.durable.head.term -= 1;
    assert_eq!(again.world.durable, leading.world.durable);
}

async fn jobs_and_tasks(leading: &mut Leading<'_>) {
    leading.commit(&[submitted(1, &[10, 3])]).await;
    for (number, counts) in [(2, [4]), (3, [4]), (4, [7])] {
        let spec = labelled("waits", &counts, &[("team", "red")]);
        let job = job_id(number);
        let change = Change::JobSubmitted { job, spec, at: at(6), taken_in: false };
        leading.commit(&[change]).await;
    }
    let backlog = leading.store.backlog(2).await.unwrap();
    let ids: Vec<_> = backlog.iter().map(|row| row.id).collect();
    assert_eq!(ids, [job_id(2), job_id(3)]);
    let first = &backlog[0];
    let (job, spec, submitted) = (first.id, first.spec.clone(), first.submitted);
    leading.commit(&[Change::JobTakenIn { job, spec, submitted }]).await;

    let held = placed(1, 1, Phase::Held);
    let running = placed(1, 2, Phase::Admitted);
    let leaving = placed(2, 3, Phase::Leaving { deadline: at(9_000) });
    let stopping = placed(2, 4, Phase::Stopping);
    leading
        .commit(&[
            place(1, 0, 0, held),
            place(1, 0, 1, running),
            place(1, 0, 2, leaving),
            place(1, 1, 2, stopping),
            Change::FreshCancelled { group: task_id(1, 0, 0).group_id(), from: 6, to: 9 },
        ])
        .await;
    let begun = Change::Bound { attempt: task_id(1, 0, 0).attempt(1), task: running };
    let ready = Task { state: TaskState::Ready, ..leaving };
    let backoff = Task { state: TaskState::Backoff { until: at(700) }, ..stopping };
    leading
        .commit(&[
            begun,
            ended(1, 0, 1, &running, AttemptEnd::Succeeded, After::Succeeded),
            ended(1, 0, 2, &leaving, AttemptEnd::Interrupted, After::Keep(ready)),
            ended(1, 1, 2, &stopping, AttemptEnd::Failed, After::Keep(backoff)),
        ])
        .await;
    leading
        .commit(&[
            Change::Due { task: task_id(1, 1, 2) },
            Change::RetryCancelled { task: task_id(1, 0, 2) },
            Change::JobStopping { job: job_id(1), cause: Cause::Stopped },
        ])
        .await;
}

async fn machines(leading: &mut Leading<'_>) {
    let mut intent = Intent {
        id: IntentId::from_number(9),
        request: LaunchRequest { offers: vec![offer()], count: 2, reason: "demand".into() },
        state: IntentState::Requested,
        since: at(1),
        opened: at(1),
        born: 0,
    };
    leading.commit(&[Change::Intent(Box::new(intent.clone()))]).await;
    (intent.state, intent.born, intent.since) = (IntentState::Launching, 1, at(2));
    let notice = |kind, ms| {
        Change::NoticeKept(Notice { instance: InstanceId::new("i-9"), kind, deadline: at(ms) })
    };
    leading
        .commit(&[
            Change::Intent(Box::new(intent.clone())),
            Change::Node(Box::new(cloud_node(1))),
            notice(NoticeKind::Interruption, 50),
            notice(NoticeKind::Rebalance, 60),
        ])
        .await;
    let capacity = Resources { cpu_millis: 1, memory_mib: 2, disk_mib: 3, gpus: 4 };
    let joined = NodeEvent::Joined { session: u64::MAX >> 1, capacity };
    let joined = node_change(leading, 1, joined, at(30));
    leading.commit(&[joined, spent(1, LedgerKind::Boot, 5)]).await;
    let noticed = node_change(leading, 1, NodeEvent::Notice { deadline: at(99) }, at(31));
    let done = |kind| Change::NoticeDone { instance: InstanceId::new("i-9"), kind };
    leading
        .commit(&[
            noticed,
            spent(1, LedgerKind::Task, 7),
            spent(1, LedgerKind::Waste, 11),
            done(NoticeKind::Interruption),
            notice(NoticeKind::Interruption, 70),
            done(NoticeKind::Rebalance),
        ])
        .await;
    intent.state = IntentState::Closed(IntentEnd::Filled);
    leading.commit(&[Change::Intent(Box::new(intent))]).await;
    assert_eq!(leading.world.durable.nodes[&node_id(1)].booked, MicroUsd(23));
    let gone = node_change(leading, 1, NodeEvent::Gone(NodeReason::Reclaimed), at(40));
    leading.commit(&[spent(1, LedgerKind::Idle, 2), gone]).await;
}

/// A job that settles has left World; what a GET says of it must be what it was.
async fn a_failed_job_keeps_its_tasks(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[4])]).await;
    let task = placed(1, 1, Phase::Admitted);
    let failed = Task { state: TaskState::Failed(Cause::NoRetry), ..task };
    let mut changes = vec![
        place(1, 0, 0, task),
        place(1, 0, 1, task),
        ended(1, 0, 0, &task, AttemptEnd::Succeeded, After::Succeeded),
    ];
    leading.commit(&changes).await;
    changes = vec![
        place(1, 0, 2, task),
        ended(1, 0, 1, &task, AttemptEnd::Failed, After::Keep(failed)),
        ended(1, 0, 2, &task, AttemptEnd::Succeeded, After::Succeeded),
        Change::FreshCancelled { group: task_id(1, 0, 0).group_id(), from: 3, to: 4 },
    ];
    for change in &changes {
        leading.world.apply(change);
    }
    changes.push(settled(&leading, 1, JobStatus::Failed));
    leading.commit(&changes).await;
    let detail = leading.store.job(job_id(1)).await.unwrap().unwrap();
    assert_eq!(detail.job.status, JobStatus::Failed);
    assert_eq!(detail.job.settled, Some(at(400)));
    let tasks = detail.job.tasks;
    let counts = (tasks.total, tasks.succeeded, tasks.failed, tasks.cancelled, tasks.waiting);
    assert_eq!(counts, (4, 2, 1, 1, 0));
    let page = leading.store.tasks(job_id(1), &page()).await.unwrap().unwrap();
    let words: Vec<String> = page.iter().map(|task| task.status.to_string()).collect();
    assert_eq!(words, ["succeeded", "failed", "succeeded", "cancelled"]);
    assert_eq!(page[1].cause, Some(Cause::NoRetry));
    assert_eq!(page[1].counters, task.counters);
}

pub(crate) fn page() -> store::TaskFilter {
    store::TaskFilter { status: None, after: None, limit: 1_000 }
}

async fn an_old_term_is_fenced(database: &Database) {
    let mut old = database.lead().await;
    let mut new = database.lead().await;
    let batch = old.batch(&[submitted(1, &[1])]);
    assert!(matches!(old.store.commit(&batch).await, Committed::Fenced));
    new.expect_loaded().await;
    new.commit(&[submitted(2, &[1])]).await;
    assert!(matches!(old.store.commit(&batch).await, Committed::Fenced));
    new.expect_loaded().await;
}

async fn a_wrong_seq_is_fenced(database: &Database) {
    let mut leading = database.lead().await;
    let first = leading.batch(&[submitted(1, &[1])]);
    let second = leading.batch(&[submitted(2, &[1])]);
    assert!(matches!(leading.store.commit(&second).await, Committed::Fenced), "before its turn");
    assert!(matches!(leading.store.commit(&first).await, Committed::Committed));
    assert!(matches!(leading.store.commit(&second).await, Committed::Committed));
    assert!(matches!(leading.store.commit(&first).await, Committed::Fenced), "long ago");
    leading.expect_loaded().await;
}

async fn a_refused_batch_changes_nothing(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[1])]).await;
    let before = leading.world.durable.clone();
    let node = Change::Node(Box::new(cloud_node(1)));
    let batch = leading.batch(&[node, submitted(1, &[2])]);
    let refused = leading.store.commit(&batch).await;
    assert!(matches!(refused, Committed::Failed(_)), "{refused:?}");
    assert_eq!(leading.store.load().await.unwrap(), before);
}

async fn a_million_tasks_are_one_small_row(database: &Database) {
    let mut leading = database.lead().await;
    let batch = leading.batch(&[submitted(1, &[1_000_000])]);
    assert!(batch.log_bytes() < 1_000, "{}", batch.log_bytes());
    assert!(matches!(leading.store.commit(&batch).await, Committed::Committed));
    leading.expect_loaded().await;
    let detail = leading.store.job(job_id(1)).await.unwrap().unwrap();
    assert_eq!((detail.job.tasks.total, detail.job.tasks.waiting), (1_000_000, 1_000_000));
}

/// More rows than one statement takes, and numbers that are no whole chunks.
async fn many_rows_in_one_commit(database: &Database) {
    let mut leading = database.lead().await;
    let mut changes: Vec<Change> = (1..=301).map(|number| submitted(number, &[1])).collect();
    changes.push(submitted(1_000, &[3_000]));
    let task = placed(1, 1, Phase::Admitted);
    changes.extend((0..1_391).map(|index| place(1_000, 0, index, task)));
    leading.commit(&changes).await;
    let mut changes: Vec<Change> = (0..1_391)
        .map(|index| ended(1_000, 0, index, &task, AttemptEnd::Succeeded, After::Succeeded))
        .collect();
    changes.extend((0..1_391).map(|_| spent(1, LedgerKind::Task, 1)));
    leading.commit(&changes).await;
}

async fn pages_of_the_log_are_bounded_by_bytes(database: &Database) {
    let mut leading = database.lead().await;
    // Text that does not compress well.
    let words = (0..600_000_u32).map(|number| number.wrapping_mul(0x9e37_79b9));
    let large: Arc<str> = words.map(|word| format!("{word:x}")).collect::<String>().into();
    for number in 1..=4 {
        let mut spec = JobSpec::clone(&job("small", &[1]));
        if number != 3 {
            spec.name = large.clone();
        }
        let (job, spec) = (job_id(number), Arc::new(spec));
        let batch = leading.batch(&[Change::JobSubmitted { job, spec, at: at(5), taken_in: true }]);
        assert_eq!(batch.log_bytes() > 2_000_000, number != 3, "{}", batch.log_bytes());
        assert!(matches!(leading.store.commit(&batch).await, Committed::Committed));
    }
    let page = |seq, limit| async move {
        let entries = database.store.log(seq, limit).await.unwrap();
        entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    let first = page(0, 100).await;
    assert!(first.len() < 4 && first.starts_with(&[1]), "{first:?}");
    assert_eq!(page(2, 100).await, [3, 4]);
    assert_eq!(page(2, 1).await, [3]);
    assert_eq!(page(4, 100).await, [0; 0]);
    leading.expect_replayed().await;
}

/// Postgres' own count, from the wire: what the client awaits.
#[tokio::test]
async fn a_commit_is_one_round_trip_on_postgres() {
    let database = Database::postgres().await;
    let proxy = Proxy::before(&database.url).await;
    let store = Store::open(&proxy.url).await.unwrap();
    let mut leading = database.lead().await;
    // The first commit on a connection prepares the statement.
    let batch = leading.batch(&[submitted(1, &[100])]);
    assert!(matches!(store.commit(&batch).await, Committed::Committed));
    let task = placed(1, 1, Phase::Admitted);
    for index in 0..10 {
        let batch = leading.batch(&[
            place(1, 0, index, task),
            ended(1, 0, index, &task, AttemptEnd::Succeeded, After::Succeeded),
            submitted(u64::from(index) + 2, &[1]),
            Change::Node(Box::new(cloud_node(1))),
            spent(1, LedgerKind::Task, 1),
        ]);
        let (wire, counted) = (proxy.trips(), store.round_trips());
        assert!(matches!(store.commit(&batch).await, Committed::Committed));
        assert_eq!((proxy.trips() - wire, store.round_trips() - counted), (1, 1));
    }
    leading.expect_loaded().await;
    store.close().await;
    database.drop().await;
}

/// Whether the request or its answer was lost, the commit is made once.
#[tokio::test]
async fn a_lost_answer_of_postgres_is_settled_by_reading_head() {
    let database = Database::postgres().await;
    let proxy = Proxy::before(&database.url).await;
    let store = Store::open(&proxy.url).await.unwrap();
    let mut leading = database.lead().await;
    let warm = leading.batch(&[submitted(100, &[1])]);
    assert!(matches!(store.commit(&warm).await, Committed::Committed));
    for (number, at) in [(1, Break::Request), (2, Break::Answer), (3, Break::Request)] {
        let batch = leading.batch(&[submitted(number, &[1])]);
        proxy.break_next(at);
        let committed = store.commit(&batch).await;
        assert!(proxy.has_broken());
        assert!(matches!(committed, Committed::Committed), "{at:?}: {committed:?}");
        leading.expect_loaded().await;
    }
    // Another took over while the answer was lost.
    let batch = leading.batch(&[submitted(4, &[1])]);
    let _newer = database.lead().await;
    proxy.break_next(Break::Answer);
    assert!(matches!(store.commit(&batch).await, Committed::Fenced));
    store.close().await;
    database.drop().await;
}
