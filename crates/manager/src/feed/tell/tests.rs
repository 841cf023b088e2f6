use std::fmt::Write as _;
use std::sync::Arc;

use model::{
    AttemptEnd, Cause, InstanceId, IntentId, LaunchRequest, NodeId, NodeReason, NodeState,
    NoticeKind, Offer, Pool, PurchaseOption, Refusal, RefusalScope, Resources, SettledGroup,
};
use serde_json::json;

use super::*;

const AT: Timestamp = Timestamp::from_ms(1_000);

fn job() -> JobId {
    JobId::from_number(1)
}

fn attempt(index: u32) -> AttemptId {
    TaskId { job: job(), group: 0, index }.attempt(2)
}

fn spec() -> Arc<JobSpec> {
    let document = json!({"name": "corpus", "group": [{"command": ["true"], "count": 4}]});
    Arc::new(JobSpec::parse(&document).expect("a job"))
}

fn task(state: TaskState) -> Task {
    Task { state, attempt: 2, counters: model::Counters::default() }
}

fn placement(phase: Phase, started: Option<Timestamp>) -> Placement {
    let assigned = Timestamp::from_ms(500);
    Placement { node: NodeId::from_number(2), assigned, started, phase }
}

fn bound(phase: Phase, started: Option<Timestamp>) -> Change {
    Change::Bound { attempt: attempt(0), task: task(TaskState::Placed(placement(phase, started))) }
}

fn ended(end: AttemptEnd, after: After) -> Change {
    let placement = placement(Phase::Admitted, None);
    Change::Ended { attempt: attempt(0), placement, end, at: AT, after, result: None }
}

/// One line an event, without what all of them share.
fn told(changes: &[Change]) -> String {
    let mut out = String::new();
    for (ordinal, event) in events_of(7, AT, changes).iter().enumerate() {
        let mut event = serde_json::to_value(event).expect("JSON");
        let fields = event.as_object_mut().expect("an object");
        assert_eq!(fields.remove("id"), Some(json!(format!("7.{ordinal}"))));
        assert_eq!(fields.remove("at"), Some(json!(AT)));
        let kind = fields.remove("kind").expect("a kind");
        writeln!(out, "{} {event}", kind.as_str().expect("text")).expect("memory");
    }
    // The log has the same events, whatever it leaves out.
    let logged: Vec<Change> =
        serde_json::from_value(serde_json::to_value(changes).expect("JSON")).expect("changes");
    assert_eq!(events_of(7, AT, &logged), events_of(7, AT, changes));
    out
}

#[test]
fn jobs() {
    let patch = JobPatch { priority: Some(5), max_running: Some(None), ..JobPatch::default() };
    let mut group = RetriedGroup::default();
    group.succeeded.insert(0, 2);
    group.tasks.insert(2, task(TaskState::Failed(Cause::Failed)));
    let changes = [
        Change::JobSubmitted { job: job(), spec: spec(), at: AT, taken_in: true },
        Change::JobSubmitted { job: job(), spec: spec(), at: AT, taken_in: false },
        Change::JobTakenIn { job: job(), spec: spec(), submitted: AT },
        Change::JobPatched { job: job(), patch: Box::new(patch), spec: Some(spec()) },
        Change::JobRetried { job: job(), spec: spec(), submitted: AT, groups: vec![group] },
        Change::JobStopping { job: job(), cause: Cause::Stopped },
        Change::JobSettled {
            job: job(),
            status: JobStatus::Cancelled,
            at: AT,
            groups: vec![SettledGroup::default()],
        },
    ];
    insta::assert_snapshot!(told(&changes), @r#"
    job-submitted {"detail":"corpus","job":"job_0000000000001","job_status":"waiting"}
    job-submitted {"detail":"corpus","job":"job_0000000000001","job_status":"submitted"}
    job-taken-in {"job":"job_0000000000001","job_status":"waiting"}
    job-patched {"detail":"priority, max_running","job":"job_0000000000001"}
    job-retried {"detail":"tasks that run again: 1","job":"job_0000000000001","job_status":"waiting"}
    job-stopping {"cause":"stopped","job":"job_0000000000001","job_status":"stopping"}
    job-settled {"job":"job_0000000000001","job_status":"cancelled"}
    "#);
}

#[test]
fn tasks() {
    let failed = task(TaskState::Failed(Cause::NoRetry));
    let backoff = task(TaskState::Backoff { until: Timestamp::from_ms(9) });
    let placed = |phase| Change::Placed {
        attempt: attempt(0),
        task: task(TaskState::Placed(placement(phase, None))),
    };
    let changes = [
        placed(Phase::Admitted),
        placed(Phase::Held),
        bound(Phase::Admitted, Some(AT)),
        ended(AttemptEnd::Succeeded, After::Succeeded),
        ended(AttemptEnd::Cancelled, After::Cancelled),
        ended(AttemptEnd::Failed, After::Keep(failed)),
        ended(AttemptEnd::Failed, After::Keep(backoff)),
        Change::Due { task: attempt(0).task },
        Change::TaskRetried { task: attempt(0).task, entry: task(TaskState::Ready) },
        Change::FreshCancelled { group: attempt(0).task.group_id(), from: 1, to: 4 },
        Change::RetryCancelled { task: attempt(3).task },
    ];
    insta::assert_snapshot!(told(&changes), @r#"
    task-assigned {"attempt":2,"job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"assigned"}
    task-assigned {"attempt":2,"detail":"prefetched: it starts when there is room","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"assigned"}
    task-started {"attempt":2,"job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"running"}
    task-ended {"attempt":2,"end":"succeeded","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"succeeded"}
    task-ended {"attempt":2,"end":"cancelled","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"cancelled"}
    task-ended {"attempt":2,"cause":"no-retry","end":"failed","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"failed"}
    task-ended {"attempt":2,"end":"failed","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"backoff"}
    task-due {"job":"job_0000000000001","task":"job_0000000000001.0.0","task_status":"waiting"}
    task-retried {"job":"job_0000000000001","task":"job_0000000000001.0.0","task_status":"waiting"}
    tasks-cancelled {"from":1,"group":0,"job":"job_0000000000001","task_status":"cancelled","to":4}
    tasks-cancelled {"from":3,"group":0,"job":"job_0000000000001","task":"job_0000000000001.0.3","task_status":"cancelled","to":4}
    "#);
}

#[test]
fn a_start_is_told_once_whatever_else_happens() {
    let leaving = Phase::Leaving { deadline: Timestamp::from_ms(99) };
    let earlier = Some(Timestamp::from_ms(800));
    let changes = [
        bound(leaving, None),
        bound(leaving, earlier),
        // It starts on a node that has to go, and that is known already.
        bound(leaving, Some(AT)),
        bound(leaving, Some(AT)),
        bound(Phase::Stopping, Some(AT)),
        bound(Phase::StoppingHeld, None),
    ];
    insta::assert_snapshot!(told(&changes), @r#"
    task-leaving {"attempt":2,"deadline":"1970-01-01T00:00:00.099Z","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"leaving"}
    task-leaving {"attempt":2,"deadline":"1970-01-01T00:00:00.099Z","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"leaving"}
    task-started {"attempt":2,"deadline":"1970-01-01T00:00:00.099Z","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"leaving"}
    task-leaving {"attempt":2,"deadline":"1970-01-01T00:00:00.099Z","job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"leaving"}
    task-stopping {"attempt":2,"job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"running"}
    task-stopping {"attempt":2,"job":"job_0000000000001","node":"node_0000000000002","task":"job_0000000000001.0.0","task_status":"assigned"}
    "#);
}

fn offer() -> Offer {
    let option = PurchaseOption::Spot;
    Offer::unknown(Pool { instance_type: "m5.large".into(), zone: "z1".into(), option })
}

fn intent(state: IntentState, born: u32) -> Change {
    let request = LaunchRequest { offers: vec![offer()], count: 3, reason: "4 tasks wait".into() };
    let id = IntentId::from_number(3);
    Change::Intent(Box::new(Intent { id, request, state, since: AT, opened: AT, born }))
}

fn node(origin: NodeOrigin, state: NodeState, reason: NodeReason) -> Change {
    Change::Node(Box::new(Node {
        id: NodeId::from_number(2),
        origin,
        capacity: Resources::default(),
        state,
        since: AT,
        reason,
        launched: AT,
        joined: None,
        session: None,
        deadline: (reason == NodeReason::Notice).then_some(Timestamp::from_ms(99)),
        booked: model::MicroUsd(0),
    }))
}

#[test]
fn machines() {
    let instance = InstanceId::new("i-1");
    let cloud = NodeOrigin::Cloud {
        instance: instance.clone(),
        intent: IntentId::from_number(3),
        offer: offer(),
    };
    let refusal =
        Refusal { scope: RefusalScope::Throttle, message: "come again in a minute".into() };
    let notice = Notice {
        instance: instance.clone(),
        kind: NoticeKind::Interruption,
        deadline: Timestamp::from_ms(99),
    };
    let changes = [
        intent(IntentState::Requested, 0),
        intent(IntentState::Launching, 1),
        intent(IntentState::Closed(IntentEnd::Filled), 3),
        intent(IntentState::Closed(IntentEnd::LaunchFailed(refusal)), 0),
        intent(IntentState::Closed(IntentEnd::Expired), 0),
        node(NodeOrigin::Static { name: "desk".into() }, NodeState::Ready, NodeReason::Joined),
        node(cloud, NodeState::Draining, NodeReason::Notice),
        Change::NoticeKept(notice),
        Change::NoticeDone { instance, kind: NoticeKind::Interruption },
        Change::InboxDone { rows: vec![1] },
    ];
    insta::assert_snapshot!(told(&changes), @r#"
    launch {"detail":"4 tasks wait","intent":"intent_0000000000003","state":"requested"}
    launch {"detail":"1 of 3 machines are born","intent":"intent_0000000000003","state":"launching"}
    launch {"detail":"3 of 3 machines are born","intent":"intent_0000000000003","state":"launched"}
    launch {"detail":"come again in a minute","intent":"intent_0000000000003","state":"launch-failed"}
    launch {"detail":"no clear answer came in time","intent":"intent_0000000000003","state":"launch-failed"}
    node {"detail":"desk","node":"node_0000000000002","reason":"joined","state":"ready"}
    node {"deadline":"1970-01-01T00:00:00.099Z","detail":"i-1","intent":"intent_0000000000003","node":"node_0000000000002","reason":"notice","state":"draining"}
    notice-kept {"deadline":"1970-01-01T00:00:00.099Z","detail":"i-1"}
    "#);
}
