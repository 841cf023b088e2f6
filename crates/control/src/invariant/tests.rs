//! One World made by hand; one change each that it must not take, beside one that it may.

use std::sync::Arc;

use model::{
    After, AttemptEnd, AttemptId, Cause, Change, ClusterId, Counters, Durable, FORMAT, GroupId,
    Head, InstanceId, Intent, IntentId, IntentState, JobId, JobSpec, JobStatus, LaunchRequest,
    LedgerKind, LedgerRow, Link, MicroUsd, Node, NodeId, NodeOrigin, NodeReason, NodeState, Offer,
    Phase, Placement, Pool, PurchaseOption, Resources, Task, TaskId, TaskState, Timestamp, World,
    bill,
};
use serde_json::json;

use super::Invariant::{self, *};
use super::{Checks, Violation};

const NOW: Timestamp = Timestamp::from_ms(1_790_000_000_000);

/// Nodes by what is the matter with them. Each has two cores; each task asks for one.
const ROOMY: u64 = 1;
const FULL: u64 = 2;
const HOLDING: u64 = 3;
const LONELY: u64 = 4;
const NOTICED: u64 = 5;
const SUSPECT: u64 = 6;
const RETIRING: u64 = 7;
const BOUGHT: u64 = 8;
const EMPTY: u64 = 9;
const NOBODY: u64 = 99;

/// Tasks by where they stand. From `FRESH` on none was ever placed.
const RUNNING: u32 = 0;
const FILLER: u32 = 1;
const OTHER_FILLER: u32 = 2;
const HELD_ON_FULL: u32 = 3;
const HELD: u32 = 4;
const READY: u32 = 5;
const FAILED: u32 = 6;
const SUCCEEDED: u32 = 7;
const CANCELLED: u32 = 8;
const ALONE: u32 = 9;
const READY_ALONE: u32 = 10;
const LEAVING: u32 = 11;
const BESIDE_HELD: u32 = 12;
const FRESH: u32 = 20;

const TWICE_LOST: Counters =
    Counters { interrupted: 0, node_lost: 2, failed: 1, timed_out: 0, unexplained: 2 };

fn job() -> JobId {
    JobId::from_number(1)
}

fn task(index: u32) -> TaskId {
    TaskId { job: job(), group: 0, index }
}

fn group() -> GroupId {
    task(0).group_id()
}

fn on(node: u64, phase: Phase) -> Placement {
    Placement { node: NodeId::from_number(node), assigned: NOW, started: None, phase }
}

fn started(placement: Placement) -> Placement {
    Placement { started: Some(NOW), ..placement }
}

fn entry(attempt: u32, state: TaskState) -> Task {
    Task { state, attempt, counters: Counters::default() }
}

fn placed_as(attempt: AttemptId, task: Task) -> Change {
    Change::Placed { attempt, task }
}

fn placed(index: u32, number: u32, node: u64, phase: Phase) -> Change {
    let task_id = task(index).attempt(number);
    placed_as(task_id, entry(number, TaskState::Placed(on(node, phase))))
}

fn bound(index: u32, number: u32, placement: Placement) -> Change {
    let task_id = task(index).attempt(number);
    Change::Bound { attempt: task_id, task: entry(number, TaskState::Placed(placement)) }
}

fn ended(index: u32, number: u32, node: u64, end: AttemptEnd, after: After) -> Change {
    let (attempt, placement) = (task(index).attempt(number), on(node, Phase::Admitted));
    Change::Ended { attempt, placement, end, at: NOW, after, result: None }
}

/// An attempt of `RUNNING` that ends so, and leaves this behind.
fn spent(end: AttemptEnd, state: TaskState, counters: Counters) -> Change {
    ended(RUNNING, 1, ROOMY, end, After::Keep(Task { state, attempt: 1, counters }))
}

fn offer() -> Offer {
    let (zone, instance_type) = ("a".into(), "m5.large".into());
    let pool = Pool { zone, instance_type, option: PurchaseOption::Spot };
    Offer { price: MicroUsd(3_600_000), capacity: capacity(), ..Offer::unknown(pool) }
}

fn capacity() -> Resources {
    Resources { cpu_millis: 2_000, memory_mib: 2_000, disk_mib: 0, gpus: 0 }
}

fn node(id: u64, state: NodeState) -> Node {
    Node {
        id: NodeId::from_number(id),
        origin: NodeOrigin::Static { name: format!("n{id}").into() },
        capacity: capacity(),
        state,
        since: NOW,
        reason: NodeReason::Joined,
        launched: NOW,
        joined: Some(NOW),
        session: Some(1),
        deadline: None,
        booked: MicroUsd(0),
    }
}

/// A machine of an hour's age at a microdollar a millisecond.
fn bought(id: u64, intent: u64, state: NodeState, booked: MicroUsd) -> Node {
    let (instance, intent) = (InstanceId::new(&format!("i-{id}")), IntentId::from_number(intent));
    let origin = NodeOrigin::Cloud { instance, intent, offer: offer() };
    Node { origin, launched: NOW.plus_ms(-3_600_000), booked, ..node(id, state) }
}

fn intent(id: u64, count: u32, state: IntentState, born: u32) -> Change {
    let request = LaunchRequest { offers: vec![offer()], count, reason: "work waits".into() };
    let id = IntentId::from_number(id);
    Change::Intent(Box::new(Intent { id, request, state, since: NOW, opened: NOW, born }))
}

fn row(node: u64, cost: i64) -> Change {
    let (node, from) = (NodeId::from_number(node), NOW.plus_ms(-3_600_000));
    let (kind, cost) = (LedgerKind::Idle, MicroUsd(cost));
    Change::Ledger(LedgerRow { node, task: None, kind, from, to: NOW, cost })
}

fn settled(job: u64) -> Change {
    let (job, status) = (JobId::from_number(job), JobStatus::Succeeded);
    Change::JobSettled { job, status, at: NOW, groups: Vec::new() }
}

fn submitted(number: u64, count: u32) -> Change {
    let resources = json!({"cpu": "1", "memory": "1MiB"});
    let document =
        json!({"group": [{"command": ["true"], "count": count, "resources": resources}]});
    let spec = Arc::new(JobSpec::parse(&document).expect("a right document"));
    Change::JobSubmitted { job: JobId::from_number(number), spec, at: NOW, taken_in: true }
}

fn all_nodes() -> Vec<Node> {
    let noticed = Some(NOW.plus_ms(120_000));
    vec![
        node(ROOMY, NodeState::Ready),
        node(FULL, NodeState::Ready),
        node(HOLDING, NodeState::Ready),
        node(LONELY, NodeState::Ready),
        Node { deadline: noticed, ..node(NOTICED, NodeState::Draining) },
        node(SUSPECT, NodeState::Ready),
        node(RETIRING, NodeState::Retiring),
        bought(BOUGHT, 1, NodeState::Ready, MicroUsd(1_000_000)),
        node(EMPTY, NodeState::Ready),
    ]
}

fn world() -> World {
    let cluster = ClusterId::from_number(1);
    let head = Head { term: 1, seq: 0, now: NOW, format: FORMAT, cluster, seed: 1 };
    let mut world = World::new(Durable::new(head));
    world.apply(&submitted(1, 40));
    world.apply(&intent(1, 3, IntentState::Requested, 1));
    for node in all_nodes() {
        let id = node.id;
        world.apply(&Change::Node(Box::new(node)));
        if id != NodeId::from_number(SUSPECT) {
            world.observe_link(id, Link::Connected { seen: NOW });
        }
    }
    let keep = |state, attempt| After::Keep(entry(attempt, state));
    let alone = TaskState::Placed(on(LONELY, Phase::Admitted));
    let leaving = Phase::Leaving { deadline: NOW.plus_ms(120_000) };
    for change in [
        placed(RUNNING, 1, ROOMY, Phase::Admitted),
        placed(FILLER, 1, FULL, Phase::Admitted),
        placed(OTHER_FILLER, 1, FULL, Phase::Admitted),
        placed(HELD_ON_FULL, 1, FULL, Phase::Held),
        placed(BESIDE_HELD, 1, HOLDING, Phase::Admitted),
        placed(HELD, 1, HOLDING, Phase::Held),
        ended(READY, 2, ROOMY, AttemptEnd::Failed, keep(TaskState::Ready, 2)),
        ended(FAILED, 3, ROOMY, AttemptEnd::Failed, keep(TaskState::Failed(Cause::Failed), 3)),
        ended(SUCCEEDED, 1, ROOMY, AttemptEnd::Succeeded, After::Succeeded),
        ended(CANCELLED, 1, ROOMY, AttemptEnd::Cancelled, After::Cancelled),
        placed_as(task(ALONE).attempt(3), Task { counters: TWICE_LOST, ..entry(3, alone) }),
        ended(
            READY_ALONE,
            2,
            ROOMY,
            AttemptEnd::NodeLost,
            After::Keep(Task { counters: TWICE_LOST, ..entry(2, TaskState::Ready) }),
        ),
        placed(LEAVING, 1, NOTICED, leaving),
    ] {
        world.apply(&change);
    }
    world
}

/// What is done, the change, what it breaks.
type Row = (&'static str, Change, &'static [Invariant]);

fn placements() -> Vec<Row> {
    let alone_on = |node, phase| {
        let state = TaskState::Placed(on(node, phase));
        placed_as(task(READY_ALONE).attempt(3), Task { counters: TWICE_LOST, ..entry(3, state) })
    };
    let (admitted, held) = (Phase::Admitted, Phase::Held);
    vec![
        ("first", placed(FRESH, 1, ROOMY, admitted), &[]),
        ("again", placed(READY, 3, ROOMY, admitted), &[]),
        ("alone", alone_on(EMPTY, admitted), &[]),
        ("held behind", placed(FRESH, 1, FULL, held), &[]),
        ("on a full node", placed(FRESH, 1, FULL, admitted), &[NeverOvercommitted]),
        ("in promised room", placed(FRESH, 1, HOLDING, admitted), &[NeverOvercommitted]),
        ("beside one alone", placed(FRESH, 1, LONELY, admitted), &[NeverOvercommitted]),
        ("held beside one alone", placed(FRESH, 1, LONELY, held), &[NeverOvercommitted]),
        ("alone beside others", alone_on(ROOMY, admitted), &[NeverOvercommitted]),
        ("alone and held", alone_on(EMPTY, held), &[NeverOvercommitted]),
        ("after a notice", placed(FRESH, 1, NOTICED, admitted), &[NothingAfterNotice]),
        ("held after a notice", placed(FRESH, 1, NOTICED, held), &[NothingAfterNotice]),
        ("on a suspect node", placed(FRESH, 1, SUSPECT, admitted), &[NothingAfterNotice]),
        ("on a retiring node", placed(FRESH, 1, RETIRING, admitted), &[NothingAfterNotice]),
        ("nowhere", placed(FRESH, 1, NOBODY, admitted), &[NothingAfterNotice]),
        ("number kept", placed(READY, 2, ROOMY, admitted), &[StaleChangesNothing]),
        ("number skipped", placed(FRESH, 2, ROOMY, admitted), &[StaleChangesNothing]),
        ("running twice", placed(RUNNING, 2, EMPTY, admitted), &[NeverTwiceAtOnce]),
        ("after success", placed(SUCCEEDED, 2, ROOMY, admitted), &[SettledOnce]),
        ("after failure", placed(FAILED, 4, ROOMY, admitted), &[SettledOnce]),
        ("beyond the group", placed(40, 1, ROOMY, admitted), &[StaleChangesNothing]),
    ]
}

fn bindings() -> Vec<Row> {
    let leaving = Phase::Leaving { deadline: NOW };
    let spends = Change::Bound {
        attempt: task(RUNNING).attempt(1),
        task: Task {
            counters: TWICE_LOST,
            ..entry(1, TaskState::Placed(on(ROOMY, Phase::Stopping)))
        },
    };
    let begun = started(on(FULL, Phase::Admitted));
    vec![
        ("starts", bound(RUNNING, 1, started(on(ROOMY, Phase::Admitted))), &[]),
        ("starts what it held", bound(HELD_ON_FULL, 1, begun), &[]),
        ("held to leaving", bound(HELD_ON_FULL, 1, on(FULL, leaving)), &[NeverOvercommitted]),
        ("old number", bound(READY, 1, on(ROOMY, Phase::Admitted)), &[StaleChangesNothing]),
        ("wrong number", bound(RUNNING, 2, on(ROOMY, Phase::Stopping)), &[StaleChangesNothing]),
        ("moves", bound(RUNNING, 1, on(EMPTY, Phase::Admitted)), &[StaleChangesNothing]),
        ("spends", spends, &[InterruptionIsFree]),
    ]
}

fn ends() -> Vec<Row> {
    use AttemptEnd::{Failed, Interrupted, NodeLost, Returned, Succeeded};
    let none = Counters::default();
    let cut = Counters { interrupted: 1, ..none };
    let lost = Counters { node_lost: 1, ..none };
    let own = Counters { failed: 1, ..none };
    let done = After::Succeeded;
    let renumbered = After::Keep(entry(2, TaskState::Ready));
    let fails = |cause| TaskState::Failed(cause);
    vec![
        ("succeeds", ended(RUNNING, 1, ROOMY, Succeeded, done), &[]),
        ("fails", spent(Failed, fails(Cause::NoRetry), own), &[]),
        ("is interrupted", spent(Interrupted, TaskState::Ready, cut), &[]),
        ("is poison", spent(NodeLost, fails(Cause::Poison), lost), &[]),
        ("old number", ended(RUNNING, 0, ROOMY, Succeeded, done), &[StaleChangesNothing]),
        ("elsewhere", ended(RUNNING, 1, EMPTY, Succeeded, done), &[StaleChangesNothing]),
        ("not placed", ended(READY, 2, ROOMY, Succeeded, done), &[StaleChangesNothing]),
        ("never placed", ended(FRESH, 1, ROOMY, Succeeded, done), &[StaleChangesNothing]),
        ("renumbers", ended(RUNNING, 1, ROOMY, Returned, renumbered), &[StaleChangesNothing]),
        ("succeeds twice", ended(SUCCEEDED, 1, ROOMY, Succeeded, done), &[SettledOnce]),
        ("succeeds cancelled", ended(CANCELLED, 1, ROOMY, Succeeded, done), &[SettledOnce]),
        ("succeeds failed", ended(FAILED, 3, ROOMY, Succeeded, done), &[SettledOnce]),
        ("cut at a price", spent(Interrupted, TaskState::Ready, own), &[InterruptionIsFree]),
        ("lost at a price", spent(NodeLost, TaskState::Ready, own), &[InterruptionIsFree]),
        ("cut to failure", spent(Interrupted, fails(Cause::Poison), cut), &[InterruptionIsFree]),
        ("lost to failure", spent(NodeLost, fails(Cause::Failed), lost), &[InterruptionIsFree]),
        ("returned to an end", ended(RUNNING, 1, ROOMY, Returned, done), &[InterruptionIsFree]),
    ]
}

fn settlements() -> Vec<Row> {
    let fresh = |from, to| Change::FreshCancelled { group: group(), from, to };
    let cancelled = |index| Change::RetryCancelled { task: task(index) };
    let retried = |index, attempt| Change::TaskRetried {
        task: task(index),
        entry: entry(attempt, TaskState::Ready),
    };
    vec![
        ("the fresh are cancelled", fresh(FRESH, 40), &[]),
        ("with a success", fresh(SUCCEEDED, SUCCEEDED + 1), &[SettledOnce]),
        ("with an earlier one", fresh(CANCELLED, ALONE), &[SettledOnce]),
        ("with a placed one", fresh(BESIDE_HELD, 40), &[SettledOnce]),
        ("one that waits is cancelled", cancelled(READY), &[]),
        ("a failed one", cancelled(FAILED), &[SettledOnce]),
        ("a cancelled one", cancelled(CANCELLED), &[SettledOnce]),
        ("a placed one", cancelled(RUNNING), &[SettledOnce]),
        ("a failed one runs again", retried(FAILED, 3), &[]),
        ("from an old number", retried(FAILED, 1), &[StaleChangesNothing]),
        ("beside itself", retried(RUNNING, 1), &[NeverTwiceAtOnce]),
        ("a job is settled too soon", settled(1), &[SettledOnce]),
        ("a job is settled again", settled(2), &[SettledOnce]),
        ("a job comes", submitted(2, 1), &[]),
        ("a job comes again", submitted(1, 40), &[AcceptedIsDurable]),
    ]
}

fn machines() -> Vec<Row> {
    let change = |node: Node| Change::Node(Box::new(node));
    let (booting, gone) = (NodeState::Booting, NodeState::Gone);
    let all = bill(MicroUsd(3_600_000), NOW.plus_ms(-3_600_000), NOW).0;
    let booked = MicroUsd(1_000_000);
    let (launching, requested) = (IntentState::Launching, IntentState::Requested);
    let lost = Node { reason: NodeReason::Lost, ..node(EMPTY, gone) };
    let silent = Node { reason: NodeReason::Lost, ..node(SUSPECT, gone) };
    vec![
        ("is born", change(bought(20, 1, booting, MicroUsd(0))), &[]),
        ("an orphan", change(bought(20, 2, NodeState::Retiring, MicroUsd(0))), &[]),
        ("of no intent", change(bought(20, 2, booting, MicroUsd(0))), &[IntentBeforeMachine]),
        ("born with a bill", change(bought(20, 1, booting, booked)), &[LedgerIsBill]),
        ("goes unpaid", change(bought(BOUGHT, 1, gone, booked)), &[LedgerIsBill]),
        (
            "forgets what was booked",
            change(bought(BOUGHT, 1, NodeState::Draining, MicroUsd(0))),
            &[LedgerIsBill],
        ),
        ("goes", change(node(EMPTY, gone)), &[]),
        ("goes with its tasks", change(node(ROOMY, gone)), &[AcceptedIsDurable]),
        ("is lost", change(silent), &[]),
        ("is lost and heard of", change(lost), &[LostOnlyAfterLease]),
        ("an intent", intent(2, 1, requested, 0), &[]),
        ("goes on", intent(1, 3, launching.clone(), 1), &[]),
        ("asks for more", intent(1, 4, launching.clone(), 1), &[IntentBeforeMachine]),
        ("opens again", intent(2, 1, launching, 0), &[IntentBeforeMachine]),
        ("the rest of the bill", row(BOUGHT, all - 1_000_000), &[]),
        ("a microdollar more", row(BOUGHT, all - 999_999), &[LedgerIsBill]),
        ("gives back", row(BOUGHT, -1), &[LedgerIsBill]),
        ("of nobody", row(NOBODY, 1), &[LedgerIsBill]),
    ]
}

fn broken_by(world: &World, change: &Change) -> Vec<Violation> {
    let mut checks = Checks::default();
    checks.before(world, change);
    checks.found
}

#[test]
fn each_change_breaks_what_it_breaks() {
    let world = world();
    let tables = [placements(), bindings(), ends(), settlements(), machines()];
    for (what, change, breaks) in tables.into_iter().flatten() {
        let found = broken_by(&world, &change);
        let of: Vec<Invariant> = found.iter().map(|violation| violation.invariant).collect();
        assert_eq!(of, breaks, "{what}: {found:?}");
        for violation in found {
            let subject = violation.subject();
            assert!(subject.contains("_0"), "{subject} is no id: {}", violation.words);
        }
    }
}

#[test]
fn words_tell_what_was_and_what_would_be() {
    let world = world();
    let words = |rows: Vec<Row>| {
        let found = |(what, change, _): Row| {
            let words = broken_by(&world, &change).into_iter().map(|violation| violation.words);
            words.map(|words| format!("{what}: {words}")).collect::<Vec<_>>()
        };
        rows.into_iter().flat_map(found).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(words(placements()), @"
    on a full node: job_0000000000001.0.20.1 asks for (1 core, 1 MiB memory) of node_0000000000002, where (0 cores, 1998 MiB memory) is free and (1 core, 1 MiB memory) held
    in promised room: job_0000000000001.0.20.1 asks for (1 core, 1 MiB memory) of node_0000000000003, where (1 core, 1999 MiB memory) is free and (1 core, 1 MiB memory) held
    beside one alone: job_0000000000001.0.20.1 is placed on node_0000000000004 beside 1 tasks and 0 held: one must be alone
    held beside one alone: job_0000000000001.0.20.1 is placed on node_0000000000004 beside 1 tasks and 0 held: one must be alone
    alone beside others: job_0000000000001.0.10.3 is placed on node_0000000000001 beside 1 tasks and 0 held: one must be alone
    alone and held: job_0000000000001.0.10.3 is placed on node_0000000000009 beside 0 tasks and 0 held: one must be alone
    after a notice: job_0000000000001.0.20.1 is placed on node_0000000000005, which is draining and goes at 2026-09-21T14:15:20.000Z
    held after a notice: job_0000000000001.0.20.1 is placed on node_0000000000005, which is draining and goes at 2026-09-21T14:15:20.000Z
    on a suspect node: job_0000000000001.0.20.1 is placed on node_0000000000006, which is suspect
    on a retiring node: job_0000000000001.0.20.1 is placed on node_0000000000007, which is retiring
    nowhere: job_0000000000001.0.20.1 is placed on node_0000000000033, which is not here
    number kept: job_0000000000001.0.5.2 is placed as 2, and the number before is 2
    number skipped: job_0000000000001.0.20.2 is placed as 2, and the number before is 0
    running twice: job_0000000000001.0.0.2 is placed, and job_0000000000001.0.0.1 is on node_0000000000001
    after success: job_0000000000001.0.7 is placed, and has succeeded
    after failure: job_0000000000001.0.6 is placed, and has failed by Failed
    beyond the group: job_0000000000001.0.40 is placed, and its group has no such task
    ");
    insta::assert_snapshot!(words(bindings()), @"
    held to leaving: job_0000000000001.0.3.1 reserves (1 core, 1 MiB memory) of node_0000000000002, where (0 cores, 1998 MiB memory) is free
    old number: job_0000000000001.0.5.1 is bound, and no attempt is placed
    wrong number: job_0000000000001.0.0.2 is bound on node_0000000000001, and number 1 is on node_0000000000001
    moves: job_0000000000001.0.0.1 is bound on node_0000000000009, and number 1 is on node_0000000000001
    spends: job_0000000000001.0.0.1 goes on, and Counters { interrupted: 0, node_lost: 0, failed: 0, timed_out: 0, unexplained: 0 } becomes Counters { interrupted: 0, node_lost: 2, failed: 1, timed_out: 0, unexplained: 2 }
    ");
    insta::assert_snapshot!(words(ends()), @"
    old number: job_0000000000001.0.0.0 ended on node_0000000000001, and number 1 is on node_0000000000001
    elsewhere: job_0000000000001.0.0.1 ended on node_0000000000009, and number 1 is on node_0000000000001
    not placed: job_0000000000001.0.5.2 ended, and no attempt is placed
    never placed: job_0000000000001.0.20 ended, and was never placed
    renumbers: job_0000000000001.0.0.1 ended, and its number becomes 2
    succeeds twice: job_0000000000001.0.7 ended, and has succeeded
    succeeds cancelled: job_0000000000001.0.8 ended, and is cancelled
    succeeds failed: job_0000000000001.0.6 ended, and has failed by Failed
    cut at a price: job_0000000000001.0.0.1 is interrupted: failed 0 and timed out 0 become 1 and 0
    lost at a price: job_0000000000001.0.0.1 is node-lost: failed 0 and timed out 0 become 1 and 0
    cut to failure: job_0000000000001.0.0.1 is interrupted, and fails its task by Poison
    lost to failure: job_0000000000001.0.0.1 is node-lost, and fails its task by Failed
    returned to an end: job_0000000000001.0.0.1 is returned, and that settles it: Succeeded
    ");
    insta::assert_snapshot!(words(settlements()), @"
    with a success: job_0000000000001.0.7 is cancelled with 7..8 as never placed, and was placed or settled
    with an earlier one: job_0000000000001.0.8 is cancelled with 8..9 as never placed, and was placed or settled
    with a placed one: job_0000000000001.0.12 is cancelled with 12..40 as never placed, and was placed or settled
    a failed one: job_0000000000001.0.6 is cancelled, and has failed by Failed
    a cancelled one: job_0000000000001.0.8 is cancelled, and is cancelled
    a placed one: job_0000000000001.0.0.1 is on node_0000000000001, and its task is cancelled
    from an old number: job_0000000000001.0.6 is to run again, and its number 3 becomes 1
    beside itself: job_0000000000001.0.0 is to run again, and is on node_0000000000001
    a job is settled too soon: job_0000000000001 is succeeded with 37 unsettled tasks
    a job is settled again: job_0000000000002 is succeeded, and was settled or never taken in
    a job comes again: job_0000000000001 is taken in, and is here with 37 unsettled tasks
    ");
    insta::assert_snapshot!(words(machines()), @"
    of no intent: node_000000000000m is born as i-20 of intent_0000000000002, which is not open
    born with a bill: node_000000000000m has $0.000000 booked, which becomes $1.000000 without a row
    goes unpaid: node_0000000000008 ran 2026-09-21T13:13:20.000Z to 2026-09-21T14:13:20.000Z for $3.600000, and $1.000000 is booked
    forgets what was booked: node_0000000000008 has $1.000000 booked, which becomes $0.000000 without a row
    goes with its tasks: node_0000000000001 is gone with 1 tasks on it, job_0000000000001.0.0 the first
    is lost and heard of: node_0000000000009 is gone as lost, and is connected
    asks for more: intent_0000000000001 asks for 3 machines of 1 offers, and becomes 4 of 1: not the same request
    opens again: intent_0000000000002 is Launching with 0 born, and is not open
    a microdollar more: node_0000000000008 is charged $2.600001 beside $1.000000; its bill at 2026-09-21T14:13:20.000Z is $3.600000
    gives back: node_0000000000008 is charged -$0.000001 beside $1.000000; its bill at 2026-09-21T14:13:20.000Z is $3.600000
    of nobody: node_0000000000033 is charged $0.000001, and is not here
    ");
}

/// What is known of a node and a group from the placement before holds for placements only.
#[test]
fn placements_in_a_row_are_added_up() {
    let (mut world, mut checks) = (world(), Checks::default());
    let noticed = Node { deadline: Some(NOW), ..node(EMPTY, NodeState::Draining) };
    for (change, breaks) in [
        (placed(FRESH, 1, EMPTY, Phase::Admitted), None),
        (placed(FRESH + 1, 1, EMPTY, Phase::Admitted), None),
        (placed(FRESH + 2, 1, EMPTY, Phase::Held), None),
        (placed(FRESH + 3, 1, EMPTY, Phase::Admitted), Some(NeverOvercommitted)),
        (placed(FRESH + 1, 1, ROOMY, Phase::Held), Some(NeverTwiceAtOnce)),
        (placed(FRESH + 4, 2, ROOMY, Phase::Held), Some(StaleChangesNothing)),
        (placed(FRESH + 5, 1, EMPTY, Phase::Held), None),
        (Change::Node(Box::new(noticed)), None),
        (placed(FRESH + 6, 1, EMPTY, Phase::Held), Some(NothingAfterNotice)),
        (Change::FreshCancelled { group: group(), from: FRESH + 7, to: 40 }, None),
        (placed(FRESH + 7, 1, ROOMY, Phase::Held), Some(SettledOnce)),
    ] {
        let before = checks.found.len();
        checks.before(&world, &change);
        let new: Vec<_> = checks.found[before..].iter().map(|found| found.invariant).collect();
        assert_eq!(new, Vec::from_iter(breaks), "{change:?}: {:?}", checks.found);
        world.apply(&change);
    }
}

#[test]
fn what_a_notice_took_is_queued_again_within_a_second() {
    let world = world();
    let at = |ms: i64| Checks::default().close(&world, NOW.plus_ms(120_000 + ms));
    assert_eq!(at(1_000), Vec::new());
    let late = at(1_001);
    assert_eq!(late.len(), 1, "{late:?}");
    assert_eq!(late[0].invariant, RequeuedInTime);
    assert_eq!(late, at(500_000), "the same words for as long as it is so");
}
