//! What is bought and ended: plans admitted, launches answered, listings compared.

use std::sync::Arc;

use cloud::{CloudError, Launched};
use model::{
    Change, Hidden, Intent, IntentEnd, IntentId, IntentState, LaunchRequest, Machine, MachineState,
    MicroUsd, Node, NodeEvent, NodeId, NodeReason, NodeState, Offer, Pool, Refusal, RefusalScope,
    Timestamp,
};
use planner::{Plan, Retirement};

use crate::explain::until;
use crate::problem::{is_open, leaving_demand, with_demand};
use crate::step::Step;
use crate::{Config, Reply, nodes};

/// Takes of a plan what still holds: launches unless machines were ordered since, retirements of
/// nodes that are still idle.
pub(crate) fn admit(step: &mut Step<'_>, plan: Plan) -> Reply {
    if plan.based_on >= step.world.observed.fleet_changed {
        for request in plan.launches {
            order(step, request);
        }
    }
    for retirement in plan.retirements {
        retire_idle(step, &retirement);
    }
    Reply::Done
}

/// Stores an intent: its launch is sent when it is durable.
fn order(step: &mut Step<'_>, request: LaunchRequest) {
    let world = &*step.world;
    let paused = world.observed.launches_paused.as_ref();
    if paused.is_some_and(|(until, _)| *until > step.now) {
        return;
    }
    let offers: Vec<_> =
        request.offers.into_iter().filter(|offer| is_open(world, &offer.pool, step.now)).collect();
    let owned = world.index.instances.len();
    let coming: u32 = world.durable.intents.values().map(Intent::open_machines).sum();
    let machines = u32::try_from(owned).unwrap_or(u32::MAX).saturating_add(coming);
    let count = request.count.min(step.config.limits.max_nodes.saturating_sub(machines));
    if offers.is_empty() || count == 0 {
        return;
    }
    let id = step.new_intent_id();
    let machines = if count == 1 { "1 machine".to_owned() } else { format!("{count} machines") };
    step.keep(id, format!("{machines} ordered: {}", request.reason));
    step.world.observed.fleet_changed = step.world.durable.head.seq + 1;
    step.emit(Change::Intent(Box::new(Intent {
        id,
        request: LaunchRequest { offers, count, reason: request.reason },
        state: IntentState::Requested,
        since: step.now,
        opened: step.now,
        born: 0,
    })));
}

fn retire_idle(step: &mut Step<'_>, retirement: &Retirement) {
    let id = retirement.node;
    let Some(node) = step.world.durable.nodes.get(&id) else { return };
    let load = step.world.index.loads.get(&id);
    let idle = load.is_none_or(|load| load.tasks.is_empty() && load.held.is_empty());
    if node.state == NodeState::Ready && node.instance().is_some() && idle {
        step.keep(id, format!("retired: {}", retirement.words));
        step.world.observed.fleet_changed = step.world.durable.head.seq + 1;
        nodes::change(step, id, NodeEvent::Retire(retirement.reason));
    }
}

/// Buys for what leaves nodes, now: a small launch inside the step that hears the notices. All that
/// leaves counts, whenever it was heard, for what was ordered before counts, too. When others wait,
/// the planner is at it already.
pub(crate) fn replace(step: &mut Step<'_>) {
    if !std::mem::take(&mut step.has_notices) || !step.world.index.queue.is_empty() {
        return;
    }
    let demand = leaving_demand(step.world, step.now);
    let mut problem = with_demand(step.world, step.config, step.now, demand);
    problem.frozen = Some("only replacing".into());
    for request in planner::plan(&problem).launches {
        order(step, request);
    }
}

/// The cloud answered a launch.
pub(crate) fn launched(
    step: &mut Step<'_>,
    id: IntentId,
    answer: Result<Launched, CloudError>,
) -> Reply {
    let Some(intent) = step.world.durable.intents.get(&id).cloned() else { return Reply::NotFound };
    match answer {
        Ok(launched) => {
            for machine in &launched.machines {
                birth(step, id, machine);
            }
            close_short(step, id, launched.refusal);
        }
        Err(CloudError::Wrong(message)) => {
            let message: Arc<str> = message.into();
            close_short(step, id, Some(Refusal { scope: RefusalScope::Configuration, message }));
        }
        Err(CloudError::Throttled { wait_ms }) => {
            pause(step, wait_ms, THROTTLED);
            going_on(step, intent);
        }
        Err(CloudError::Retry(_)) => going_on(step, intent),
    }
    Reply::Done
}

/// No clear answer: the same request is sent again.
fn going_on(step: &mut Step<'_>, intent: Intent) {
    if intent.state == IntentState::Requested {
        let state = IntentState::Launching;
        step.emit(Change::Intent(Box::new(Intent { state, since: step.now, ..intent })));
    }
}

fn birth(step: &mut Step<'_>, id: IntentId, machine: &Machine) {
    if step.world.index.instances.contains_key(&machine.instance) {
        return;
    }
    if let Some(intent) = step.world.durable.intents.get(&id).cloned() {
        nodes::seen(step, &intent, machine);
    }
}

/// An answered intent is over: a shortfall is closed and planned anew (DESIGN §4.4).
fn close_short(step: &mut Step<'_>, id: IntentId, refusal: Option<Refusal>) {
    let Some(intent) = step.world.durable.intents.get(&id).cloned() else { return };
    let refusal = refusal.unwrap_or_else(|| Refusal {
        scope: RefusalScope::Unknown,
        message: "the cloud gave fewer machines without a word".into(),
    });
    let (born, count) = (intent.born, intent.request.count);
    step.keep(id, format!("closed with {born} of {count} machines: {}", refusal.message));
    step.world.observed.fleet_changed = step.world.durable.head.seq + 1;
    heed(step, &intent, &refusal);
    let state = IntentState::Closed(IntentEnd::LaunchFailed(refusal));
    step.emit(Change::Intent(Box::new(Intent { state, since: step.now, ..intent })));
}

/// What a refusal concerns is not asked again for a while.
fn heed(step: &mut Step<'_>, intent: &Intent, refusal: &Refusal) {
    match &refusal.scope {
        RefusalScope::Pools(pools) => {
            for pool in pools {
                hide(step, pool, &refusal.message);
            }
        }
        // Nobody was named: the pools of the request wait, each on its own count.
        RefusalScope::Unknown => {
            for offer in &intent.request.offers {
                hide(step, &offer.pool, &refusal.message);
            }
        }
        RefusalScope::Quota(option) => {
            let at = step.now.later_by(HOLD_QUOTA_MS);
            let words = until(at, step.now);
            step.keep(option, format!("none is bought {words}: {}", refusal.message));
            step.world.observed.held_options.insert(*option, at);
        }
        RefusalScope::Throttle => pause(step, THROTTLE_MS, THROTTLED),
        RefusalScope::Configuration => pause(step, MISCONFIGURED_MS, &refusal.message),
    }
}

const THROTTLED: &str = "the cloud wants fewer requests for a while";
/// Quotas are raised by people.
const HOLD_QUOTA_MS: u64 = 600_000;
/// A bucket of EC2 refills within seconds.
const THROTTLE_MS: u64 = 5_000;
/// A wrong request stays wrong until somebody mends it.
const MISCONFIGURED_MS: u64 = 300_000;

fn hide(step: &mut Step<'_>, pool: &Pool, why: &str) {
    let before = step.world.observed.hidden_pools.get(pool).copied();
    // Two refusals within one back-off are one.
    if before.is_some_and(|before| before.until > step.now) {
        return;
    }
    let refusals = before.map_or(0, |before| before.refusals).saturating_add(1);
    let wait = step.config.hide_pool_ms << (refusals - 1).min(10);
    let at = step.now.later_by(wait.min(Config::MAX_HIDE_MS));
    let times =
        if refusals == 1 { String::new() } else { format!(", refusal {refusals} in a row") };
    step.keep(pool, format!("not asked {}{times}: {why}", until(at, step.now)));
    step.world.observed.hidden_pools.insert(pool.clone(), Hidden { until: at, refusals });
}

fn pause(step: &mut Step<'_>, ms: u64, why: &str) {
    let at = step.now.later_by(ms);
    let paused = step.world.observed.launches_paused.as_ref();
    // A pause that goes on for the same reason is told once.
    if paused.is_none_or(|(until, reason)| *until <= step.now || **reason != *why) {
        step.keep("launches", format!("nothing is bought {}: {why}", until(at, step.now)));
    }
    step.world.observed.launches_paused = Some((at, why.into()));
}

/// Compares all machines of ours with what we know, both ways.
pub(crate) fn listed(step: &mut Step<'_>, machines: &[Machine], asked: Timestamp) -> Reply {
    for machine in machines {
        match machine.state {
            MachineState::Running => running(step, machine),
            MachineState::Reclaimed(at) => ended(step, machine, NodeReason::Reclaimed, at),
            MachineState::Ended(at) => ended(step, machine, NodeReason::Ended, at),
        }
    }
    missing(step, machines, asked);
    end_orphans(step, machines);
    step.world.observed.listed = Some(asked);
    Reply::Done
}

fn running(step: &mut Step<'_>, machine: &Machine) {
    let known = step.world.index.instances.contains_key(&machine.instance);
    let open = machine.intent.is_some_and(|id| step.world.durable.intents.contains_key(&id));
    if known || !open {
        return;
    }
    if let Some(id) = machine.intent {
        birth(step, id, machine);
    }
}

fn ended(step: &mut Step<'_>, machine: &Machine, reason: NodeReason, at: Timestamp) {
    if let Some(id) = step.world.index.instances.get(&machine.instance).copied() {
        nodes::gone(step, id, reason, Some(at));
    }
}

/// Only nodes older than a listing may be called gone, after two listings.
fn missing(step: &mut Step<'_>, machines: &[Machine], asked: Timestamp) {
    let listed: std::collections::BTreeSet<_> =
        machines.iter().map(|machine| &machine.instance).collect();
    let absent: Vec<NodeId> = step
        .world
        .durable
        .nodes
        .values()
        .filter(|node| node.launched < asked)
        .filter(|node| node.instance().is_some_and(|instance| !listed.contains(instance)))
        .map(|node| node.id)
        .collect();
    step.world.observed.missing.retain(|id, _| absent.contains(id));
    for id in absent {
        match step.world.observed.missing.get(&id) {
            Some(first) if *first < asked => nodes::gone(step, id, NodeReason::Ended, None),
            Some(_) => {}
            None => {
                step.world.observed.missing.insert(id, asked);
            }
        }
    }
}

/// Machines with our tag and no open intent are ended, unless there are suspiciously many.
fn end_orphans(step: &mut Step<'_>, machines: &[Machine]) {
    let old = |machine: &&Machine| {
        step.now.since(machine.launched) > step.config.orphan_grace_ms
            && machine.state == MachineState::Running
            && !step.world.index.instances.contains_key(&machine.instance)
    };
    let orphans: Vec<Machine> = machines.iter().filter(old).cloned().collect();
    let seen_before = std::mem::take(&mut step.world.observed.orphans);
    for orphan in &orphans {
        let since = seen_before.get(&orphan.instance).copied().unwrap_or(step.now);
        step.world.observed.orphans.insert(orphan.instance.clone(), since);
    }
    if orphans.len() > MAX_ORPHANS.max(machines.len() / 20) {
        let words = format!("{} machines have no open intent: too many to end", orphans.len());
        step.note("orphans", words);
        return;
    }
    // Re-read before ending: only what the listing before this one showed, too.
    for orphan in orphans.iter().filter(|orphan| seen_before.contains_key(&orphan.instance)) {
        end_orphan(step, orphan);
    }
}

/// More than so many orphans, and more than a twentieth, is our mistake rather than the cloud's.
const MAX_ORPHANS: usize = 3;

/// Born to be ended: so its retirement is stored first, and its bill is booked.
fn end_orphan(step: &mut Step<'_>, machine: &Machine) {
    let Some(intent) = machine.intent else {
        step.note(&machine.instance, "has our tag but no intent that we can read; left alone");
        return;
    };
    let id = step.new_node_id();
    step.keep(id, format!("{} has no open intent: ended as an orphan", machine.instance));
    let offer = step.world.observed.offers.iter().find(|offer| offer.pool == machine.pool);
    let offer = offer.cloned().unwrap_or_else(|| Offer::unknown(machine.pool.clone()));
    let instance = machine.instance.clone();
    step.emit(Change::Node(Box::new(Node {
        id,
        capacity: offer.capacity,
        origin: model::NodeOrigin::Cloud { instance, intent, offer },
        state: NodeState::Retiring,
        since: step.now,
        reason: NodeReason::NeverJoined,
        launched: machine.launched,
        joined: None,
        session: None,
        deadline: None,
        booked: MicroUsd(0),
    })));
}
