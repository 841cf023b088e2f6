//! A good history, and one bad one for each way to break a promise.

use model::{
    AttemptEnd, Cause, Counters, JobId, JobSpec, JobStatus, MicroUsd, NodeId, Pool, PurchaseOption,
    Resources, TaskCounts, TaskId, TaskStatus, Timestamp,
};
use serde_json::json;

use super::runs::parse;
use super::*;
use crate::event::EventKind;
use crate::view::{GroupView, JobView};

const AT: Timestamp = Timestamp::from_ms(1_790_000_000_000);

fn job() -> JobId {
    JobId::from_number(7)
}

fn task(index: u32) -> TaskId {
    TaskId { job: job(), group: 0, index }
}

fn node(number: u64) -> NodeId {
    NodeId::from_number(number)
}

fn told(id: &str, event: Event) -> Record {
    Record::Event(Box::new(Told { stream: 0, event: Event { id: Some(id.to_owned()), ..event } }))
}

fn of_job(id: &str, kind: EventKind) -> Record {
    told(id, Event { job: Some(job()), ..Event::new(kind, AT) })
}

fn of_task(id: &str, kind: EventKind, index: u32, attempt: u32, on: u64) -> Record {
    let status = match kind {
        EventKind::TaskEnded => TaskStatus::Succeeded,
        _ => TaskStatus::Assigned,
    };
    told(
        id,
        Event {
            job: Some(job()),
            task: Some(task(index)),
            attempt: Some(attempt),
            node: Some(node(on)),
            task_status: Some(status),
            ..Event::new(kind, AT)
        },
    )
}

fn of_node(id: &str, number: u64, state: &str) -> Record {
    told(
        id,
        Event {
            node: Some(node(number)),
            state: Some(state.to_owned()),
            ..Event::new(EventKind::Node, AT)
        },
    )
}

fn detail() -> JobDetail {
    let document = json!({"name": "test", "group": [{"count": 2, "command": ["true"]}]});
    let tasks = TaskCounts { total: 2, succeeded: 2, ..TaskCounts::default() };
    JobDetail {
        job: JobView {
            id: job(),
            namespace: "default".into(),
            name: "test".into(),
            status: JobStatus::Succeeded,
            submitted_at: AT,
            settled_at: Some(AT),
            revision: 0,
            labels: [].into(),
            tasks,
        },
        spec: JobSpec::parse(&document).expect("a right document"),
        groups: vec![GroupView { name: "0".into(), tasks }],
        cost_micro_usd: MicroUsd(30),
        deadline_at: None,
        deadline_met: None,
    }
}

fn attempt(index: u32, number: u32, end: AttemptEnd) -> AttemptView {
    AttemptView {
        id: task(index).attempt(number),
        node: node(u64::from(number)),
        assigned_at: AT,
        started_at: Some(AT),
        ended_at: AT,
        run_ms: 5,
        end,
        exit_code: Some(0),
        signal: None,
        settles: end == AttemptEnd::Succeeded,
        message: None,
        outputs: vec![],
    }
}

fn seen(index: u32, attempts: Vec<AttemptView>) -> Record {
    let last = attempts.last().map_or(0, |last| last.id.attempt);
    let task = TaskView {
        id: task(index),
        status: TaskStatus::Succeeded,
        cause: None,
        attempt: last,
        node: Some(node(1)),
        exit_code: Some(0),
        counters: Counters::default(),
    };
    Record::Task(Box::new(TaskSeen { task, attempts: Some(attempts) }))
}

fn ran(index: u32, number: u32, start_ms: u64, end_ms: Option<u64>) -> Record {
    Record::Ran(Ran { attempt: task(index).attempt(number), start_ms, end_ms })
}

fn accepted(job: JobId) -> Record {
    Record::Accepted(Accepted { at_ms: 1, key: Some("k".into()), job, tasks: 2 })
}

fn machine() -> Record {
    let none = Resources { cpu_millis: 0, memory_mib: 0, disk_mib: 0, gpus: 0 };
    Record::Node(Box::new(NodeView {
        id: node(1).to_string(),
        state: "gone".into(),
        reason: None,
        since: AT,
        name: Some("i-1".into()),
        pool: Some(Pool {
            zone: "a".into(),
            instance_type: "m5.large".into(),
            option: PurchaseOption::Spot,
        }),
        price_micro_usd_hour: MicroUsd(1),
        capacity: none,
        reserved: none,
        running: 0,
        held: 0,
        deadline: None,
    }))
}

/// Two tasks; the second one's first node was cut off while it ran, so that both ran at once.
fn good() -> Vec<Record> {
    let cost = CostView {
        total_micro_usd: MicroUsd(45),
        task_micro_usd: MicroUsd(20),
        waste_micro_usd: MicroUsd(10),
        boot_micro_usd: MicroUsd(5),
        idle_micro_usd: MicroUsd(10),
        ..CostView::default()
    };
    vec![
        Record::Workload(Workload {
            never_fails: true,
            notes_runs: true,
            alone: true,
            all_retired: true,
            cut_off: false,
        }),
        Record::Stream(StreamBegun { stream: 0 }),
        Record::Sent(Sent { at_ms: 0, key: Some("k".into()), tasks: 2 }),
        accepted(job()),
        of_job("1.0", EventKind::JobSubmitted),
        of_task("1.1", EventKind::TaskAssigned, 0, 1, 1),
        of_task("1.2", EventKind::TaskAssigned, 1, 1, 1),
        of_task("3.0", EventKind::TaskEnded, 0, 1, 1),
        of_node("4.0", 1, "suspect"),
        of_task("5.0", EventKind::TaskAssigned, 1, 2, 2),
        of_task("6.0", EventKind::TaskEnded, 1, 2, 2),
        of_job("6.1", EventKind::JobSettled),
        Record::Struck(Struck { at_ms: 9, what: "kill -9 of a digester".into() }),
        Record::Job(Box::new(detail())),
        seen(0, vec![attempt(0, 1, AttemptEnd::Succeeded)]),
        seen(1, vec![attempt(1, 1, AttemptEnd::Interrupted), attempt(1, 2, AttemptEnd::Succeeded)]),
        ran(0, 1, 100, Some(200)),
        ran(1, 1, 100, Some(900)),
        ran(1, 2, 500, Some(600)),
        Record::Cost(cost),
        machine(),
        Record::Left(Left { machines: vec![] }),
    ]
}

fn broken(records: &[Record]) -> Vec<String> {
    let mut ids: Vec<_> =
        check(records).into_iter().map(|breach| breach.invariant.to_owned()).collect();
    ids.dedup();
    ids
}

/// The good history with one change.
fn but(change: impl FnOnce(&mut Vec<Record>)) -> Vec<String> {
    let mut records = good();
    change(&mut records);
    broken(&records)
}

fn job_of(records: &mut [Record]) -> &mut JobDetail {
    let job = records.iter_mut().find_map(|record| match record {
        Record::Job(detail) => Some(&mut **detail),
        _ => None,
    });
    job.expect("one")
}

fn task_of(records: &mut [Record], index: u32) -> &mut TaskSeen {
    let task = records.iter_mut().find_map(|record| match record {
        Record::Task(seen) if seen.task.id.index == index => Some(&mut **seen),
        _ => None,
    });
    task.expect("one")
}

fn cost_of(records: &mut [Record]) -> &mut CostView {
    let cost = records.iter_mut().find_map(|record| match record {
        Record::Cost(cost) => Some(cost),
        _ => None,
    });
    cost.expect("one")
}

fn without(records: &mut Vec<Record>, id: &str) {
    let before = records.len();
    records.retain(
        |record| !matches!(record, Record::Event(told) if told.event.id.as_deref() == Some(id)),
    );
    assert_eq!(records.len(), before - 1);
}

fn event_of<'a>(records: &'a mut [Record], id: &str) -> &'a mut Event {
    let event = records.iter_mut().find_map(|record| match record {
        Record::Event(told) if told.event.id.as_deref() == Some(id) => Some(&mut told.event),
        _ => None,
    });
    event.expect("one")
}

#[test]
fn a_good_history_is_clean() {
    assert_eq!(check(&good()), []);
    assert_eq!(check(&[]), []);
}

#[test]
fn what_was_accepted_and_is_not_there_is_a_loss() {
    let durable = ["accepted-is-durable"];
    assert_eq!(but(|it| it.push(accepted_other("other"))), durable, "a job is missing");
    assert_eq!(but(|it| job_of(it).job.tasks.total = 1), durable, "a task is missing");
    let one_task = |record: &Record| matches!(record, Record::Task(it) if it.task.id.index == 1);
    assert_eq!(but(|it| it.retain(|record| !one_task(record))), durable, "a task is not shown");
    assert_eq!(but(|it| without(it, "1.0")), durable, "no stream told of its submit");
    let twice = but(|it| it.push(accepted_other("k")));
    assert_eq!(twice, durable, "one key, two jobs");
}

fn accepted_other(key: &str) -> Record {
    let job = JobId::from_number(8);
    Record::Accepted(Accepted { at_ms: 2, key: Some(key.into()), job, tasks: 2 })
}

#[test]
fn what_does_not_settle_is_stuck() {
    assert_eq!(but(|it| task_of(it, 0).task.status = TaskStatus::Running), ["liveness"]);
    let running = but(|it| {
        job_of(it).job.status = JobStatus::Running;
        without(it, "6.1");
    });
    assert_eq!(running, ["liveness"]);
}

#[test]
fn two_settlements_or_none_are_not_one() {
    let once = ["settled-once"];
    let again = |it: &mut Vec<Record>| it.push(of_task("7.0", EventKind::TaskEnded, 1, 2, 2));
    assert_eq!(but(again), once, "the log settles a task twice");
    let job_again = |it: &mut Vec<Record>| it.push(of_job("7.0", EventKind::JobSettled));
    assert_eq!(but(job_again), once, "the log settles a job twice");
    let running = |it: &mut Vec<Record>| {
        event_of(it, "3.0").task_status = Some(TaskStatus::Waiting);
    };
    assert_eq!(but(running), once, "the log never settles a task");
    let both = |it: &mut Vec<Record>| {
        task_of(it, 1).attempts.as_mut().expect("asked for")[0].settles = true;
    };
    assert_eq!(but(both), once, "two attempts settle a task");
    let unfinished = |it: &mut Vec<Record>| {
        it.retain(|record| !matches!(record, Record::Ran(run) if run.attempt.task.index == 0));
        it.push(ran(0, 1, 100, None));
    };
    assert_eq!(but(unfinished), once, "a success that has not run to its end");
}

#[test]
fn an_old_attempt_that_changes_something_is_stale() {
    let stale = ["stale-changes-nothing"];
    let late = |it: &mut Vec<Record>| {
        it.push(of_task("7.0", EventKind::TaskStarted, 1, 1, 1));
    };
    assert_eq!(but(late), stale, "the log tells of the first attempt after the second");
    let older = |it: &mut Vec<Record>| {
        let attempts = task_of(it, 1).attempts.as_mut().expect("asked for");
        (attempts[0].settles, attempts[1].settles) = (true, false);
    };
    assert_eq!(but(older), stale, "the first attempt settles, the second is the latest");
    let same = |it: &mut Vec<Record>| it.push(of_task("7.0", EventKind::TaskAssigned, 1, 2, 2));
    assert_eq!(but(same), stale, "an attempt is assigned twice");
}

#[test]
fn runs_that_overlap_without_a_loss_are_twice_at_once() {
    let twice = ["never-twice-at-once"];
    let healthy = |it: &mut Vec<Record>| {
        event_of(it, "4.0").state = Some("ready".to_owned());
    };
    assert_eq!(but(healthy), twice);
    let too_late = |it: &mut Vec<Record>| {
        healthy(it);
        it.push(of_node("7.0", 1, "suspect"));
    };
    assert_eq!(but(too_late), twice, "cut off after the second was assigned");
    let itself = |it: &mut Vec<Record>| it.push(ran(0, 1, 150, Some(250)));
    assert_eq!(but(itself), twice, "one attempt started twice");
    let lost = |it: &mut Vec<Record>| {
        healthy(it);
        task_of(it, 1).attempts.as_mut().expect("asked for")[0].end = AttemptEnd::NodeLost;
    };
    assert_eq!(but(lost), [""; 0], "the manager says that its node was lost");
    let returned = |it: &mut Vec<Record>| {
        healthy(it);
        task_of(it, 1).attempts.as_mut().expect("asked for")[0].end = AttemptEnd::Returned;
    };
    assert_eq!(but(returned), twice, "what was given back has not run");
    let cut_off = |it: &mut Vec<Record>| {
        returned(it);
        it[0] = Record::Workload(Workload { cut_off: true, ..Workload::default() });
    };
    assert_eq!(but(cut_off), [""; 0], "its node was cut off, perhaps");
    let killed = |it: &mut Vec<Record>| {
        healthy(it);
        it.retain(|record| !matches!(record, Record::Ran(run) if run.end_ms == Some(900)));
        it.push(ran(1, 1, 100, None));
    };
    assert_eq!(but(killed), [""; 0], "when a killed one ended is not known");
}

#[test]
fn streams_that_miss_or_turn_are_told() {
    let writer = ["one-writer"];
    assert_eq!(but(|it| event_of(it, "1.1").id = Some("1.3".into())), writer, "turned");
    let first_missing = |it: &mut Vec<Record>| {
        event_of(it, "4.0").id = Some("4.1".into());
    };
    assert_eq!(but(first_missing), writer, "a commit without its first event");
    let other = |stream: u32, id: &str| {
        Record::Event(Box::new(Told {
            stream,
            event: Event {
                id: Some(id.into()),
                node: Some(node(1)),
                state: Some("suspect".into()),
                ..Event::new(EventKind::Node, AT)
            },
        }))
    };
    let agrees = |it: &mut Vec<Record>| it.push(other(1, "4.0"));
    assert_eq!(but(agrees), [""; 0]);
    let skips = |it: &mut Vec<Record>| {
        it.extend([other(1, "4.0"), other(1, "8.0"), other(0, "7.0"), other(0, "8.0")]);
    };
    assert_eq!(but(skips), writer, "the second stream has missed 5 and 6");
    let differs = |it: &mut Vec<Record>| {
        it.push(other(1, "4.0"));
        event_of(it, "4.0").state = Some("lost".into());
        it.push(of_node("4.1", 1, "suspect"));
        it.sort_by_key(|record| match record {
            Record::Event(told) if told.stream == 0 => told.id(),
            _ => None,
        });
    };
    assert_eq!(but(differs), writer, "two replicas tell one event in two ways");
}

#[test]
fn machines_that_are_left_are_leaked() {
    let leaked = ["no-leaked-machine"];
    let runs = |it: &mut Vec<Record>| {
        let node = it.iter_mut().find_map(|record| match record {
            Record::Node(node) => Some(node),
            _ => None,
        });
        node.expect("one").state = "ready".into();
    };
    assert_eq!(but(runs), leaked);
    let left = |it: &mut Vec<Record>| it.push(Record::Left(Left { machines: vec!["i-2".into()] }));
    assert_eq!(but(left), leaked);
}

#[test]
fn a_bill_that_does_not_add_up_is_told() {
    let ledger = ["ledger-is-bill"];
    assert_eq!(but(|it| cost_of(it).total_micro_usd = MicroUsd(46)), ledger);
    assert_eq!(but(|it| job_of(it).cost_micro_usd = MicroUsd(31)), ledger);
}

#[test]
fn an_interruption_that_is_counted_as_a_failure_is_told() {
    let free = ["interruption-is-free"];
    assert_eq!(but(|it| task_of(it, 1).task.counters.failed = 1), free);
    let without_reason = |it: &mut Vec<Record>| {
        let task = &mut task_of(it, 1).task;
        (task.status, task.cause) = (TaskStatus::Failed, Some(Cause::Poison));
        task.counters.unexplained = 2;
    };
    assert_eq!(but(without_reason), free, "poison after two");
}

#[test]
fn work_for_a_node_that_leaves_is_told() {
    let leaving = |it: &mut Vec<Record>| {
        event_of(it, "4.0").deadline = Some(AT);
        event_of(it, "5.0").node = Some(node(1));
    };
    assert_eq!(but(leaving), ["nothing-after-notice"]);
}

#[test]
fn a_history_survives_its_file() {
    let folder = std::env::temp_dir().join(format!("ebbtide-history-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("history.jsonl");
    let mut writer = Writer::create(&path).expect("made");
    for record in good() {
        writer.write(&record).expect("written");
    }
    writer.flush().expect("flushed");
    assert_eq!(read(&path).expect("read"), good());
    std::fs::write(&path, "{\"workload\":{\"never_fails\":1}}\n").expect("written");
    assert!(matches!(read(&path), Err(HistoryError::Line { line: 1, .. })));
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn runs_are_read_from_what_tasks_write() {
    let (one, two) = (task(3).attempt(1), task(3).attempt(2));
    let text = format!("start {one} 12.34\nstart {two} 20.00\nend {two} 21.05\nstart {two} 30.1");
    let runs = parse(&text).expect("right");
    let expected = [
        Ran { attempt: one, start_ms: 12_340, end_ms: None },
        Ran { attempt: two, start_ms: 20_000, end_ms: Some(21_050) },
    ];
    assert_eq!(runs, expected, "the torn last line is left out");
    assert_eq!(parse(&format!("end {one} 1.00\n")).map_err(|(line, _)| line), Err(1));
    assert_eq!(parse("start nobody 1.00\n").map_err(|(line, _)| line), Err(1));
}
