//! Birth, join, drain and end of nodes.

use std::sync::Arc;

use cloud::Identity;
use model::{
    Change, InstanceId, Intent, IntentEnd, IntentState, Link, Machine, MicroUsd, Node, NodeEvent,
    NodeId, NodeOrigin, NodeReason, NodeState, Offer, Resources, TaskEvent, Timestamp, bill,
};

use crate::explain::reason_words;
use crate::step::Step;
use crate::sync::tasks_on;
use crate::{Joiner, Reply, ledger, notices};

/// Binds a digester's session to its node; a machine that nobody has seen yet is born by this.
pub(crate) fn join(
    step: &mut Step<'_>,
    joiner: Joiner,
    session: u64,
    capacity: Resources,
) -> Reply {
    let node = match joiner {
        Joiner::Machine(identity) => machine(step, &identity, session),
        Joiner::Static { name } => named(step, &name, session, capacity),
    };
    match node {
        Err(why) => Reply::Refused(why),
        Ok(id) => {
            let first = step.world.durable.nodes.get(&id).is_some_and(|node| node.joined.is_none());
            change(step, id, NodeEvent::Joined { session, capacity });
            if first {
                ledger::book_boot(step, id);
            }
            step.world.observe_link(id, Link::Connected { seen: step.now });
            Reply::Joined(id)
        }
    }
}

fn machine(step: &mut Step<'_>, identity: &Identity, session: u64) -> Result<NodeId, String> {
    if let Some(id) = step.world.index.instances.get(&identity.instance).copied() {
        let node = step.world.durable.nodes.get(&id);
        return match node.and_then(|node| node.session) {
            Some(other) if other != session => {
                Err(format!("{} is bound to another session", identity.instance))
            }
            _ => Ok(id),
        };
    }
    let intent = step.world.durable.intents.get(&identity.intent).cloned();
    let Some(intent) = intent else {
        return Err(format!("{} bears no open intent of ours", identity.instance));
    };
    let Some(offer) = intent.request.offers.first().cloned() else {
        return Err(format!("{} has no offer", intent.id));
    };
    // The pool that it really came of is known by the next listing; the price of the first offer
    // stands until then.
    Ok(born(step, &intent, identity.instance.clone(), offer, step.now))
}

fn named(
    step: &mut Step<'_>,
    name: &Arc<str>,
    session: u64,
    capacity: Resources,
) -> Result<NodeId, String> {
    let known = step.world.index.names.get(name);
    let known = known.and_then(|id| step.world.durable.nodes.get(id)).cloned();
    if let Some(node) = known {
        if node.session == Some(session) {
            return Ok(node.id);
        }
        if step.world.is_connected(node.id) {
            return Err(format!("a node named `{name}` is connected already; choose another name"));
        }
        gone(step, node.id, NodeReason::Lost, None);
    }
    let node = Node {
        id: step.new_node_id(),
        origin: NodeOrigin::Static { name: name.clone() },
        capacity,
        state: NodeState::Booting,
        since: step.now,
        reason: NodeReason::Seen,
        launched: step.now,
        joined: None,
        session: None,
        deadline: None,
        booked: MicroUsd(0),
    };
    let id = node.id;
    step.emit(Change::Node(Box::new(node)));
    Ok(id)
}

/// A machine of an open intent was seen for the first time.
pub(crate) fn seen(step: &mut Step<'_>, intent: &Intent, machine: &Machine) -> NodeId {
    let offer = intent.request.offers.iter().find(|offer| offer.pool == machine.pool);
    let offer = offer
        .or_else(|| intent.request.offers.first())
        .cloned()
        .unwrap_or_else(|| Offer::unknown(machine.pool.clone()));
    born(step, intent, machine.instance.clone(), offer, machine.launched)
}

fn born(
    step: &mut Step<'_>,
    intent: &Intent,
    instance: InstanceId,
    offer: Offer,
    launched: Timestamp,
) -> NodeId {
    let id = step.new_node_id();
    let (pool, price, reason) = (&offer.pool, offer.price, &intent.request.reason);
    let bought =
        format!("{instance} of {pool} at {price} an hour, bought by {}: {reason}", intent.id);
    step.keep(id, bought);
    step.emit(Change::Node(Box::new(Node {
        id,
        capacity: offer.capacity,
        origin: NodeOrigin::Cloud { instance: instance.clone(), intent: intent.id, offer },
        state: NodeState::Booting,
        since: step.now,
        reason: NodeReason::Seen,
        launched: launched.min(step.now),
        joined: None,
        session: None,
        deadline: None,
        booked: MicroUsd(0),
    })));
    let born = intent.born + 1;
    let filled = born >= intent.request.count;
    let state = if filled { IntentState::Closed(IntentEnd::Filled) } else { intent.state.clone() };
    let since = if filled { step.now } else { intent.since };
    step.emit(Change::Intent(Box::new(Intent { born, state, since, ..intent.clone() })));
    notices::meet(step, &instance);
    id
}

/// Carries an event of a node out. False when it meant nothing.
pub(crate) fn change(step: &mut Step<'_>, id: NodeId, event: NodeEvent) -> bool {
    let Some(node) = step.world.durable.nodes.get(&id) else { return false };
    match node.on(event, step.now) {
        Some(next) if next != *node => {
            step.emit(Change::Node(Box::new(next)));
            true
        }
        _ => false,
    }
}

/// The node is no more: its attempts are, too, and its bill is closed, at the time at which the cloud
/// says that the machine ended, if it says so.
pub(crate) fn gone(step: &mut Step<'_>, id: NodeId, reason: NodeReason, ended: Option<Timestamp>) {
    let Some(node) = step.world.durable.nodes.get(&id) else { return };
    let explained = node.deadline.is_some() || matches!(reason, NodeReason::Reclaimed);
    step.billed_until = ended.and_then(|at| end_of_bill(node, at, step.now));
    for task in tasks_on(step, id) {
        step.task_event(task, TaskEvent::NodeGone { explained }, None);
    }
    ledger::close_bill(step, id);
    step.keep(id, format!("gone: {}", reason_words(reason)));
    let until = step.billed_until();
    if let Some(node) = step.world.durable.nodes.get(&id)
        && let Some(next) = node.on(NodeEvent::Gone(reason), until)
    {
        step.emit(Change::Node(Box::new(next)));
    }
    step.billed_until = None;
}

/// When a machine's bill ends that is said to have ended at a time. Not before it joined, and not
/// before what is booked of it already: then clocks differ, and our own counts.
fn end_of_bill(node: &Node, ended: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let at = ended.max(node.joined.unwrap_or(node.launched));
    let covers = bill(node.price(), node.launched, at) >= node.booked;
    (at < now && covers).then_some(at)
}

/// The cloud has ended machines as we asked.
pub(crate) fn retired(step: &mut Step<'_>, instances: &[InstanceId]) -> Reply {
    for instance in instances {
        if let Some(id) = step.world.index.instances.get(instance).copied() {
            let reason = step.world.durable.nodes.get(&id).map(|node| node.reason);
            gone(step, id, reason.unwrap_or(NodeReason::Ended), None);
        }
    }
    Reply::Done
}

/// The digester's last connection closed: no new work until it is heard of again.
pub(crate) fn closed(step: &mut Step<'_>, id: NodeId, session: u64) -> Reply {
    let ours = step.world.durable.nodes.get(&id).is_some_and(|node| node.session == Some(session));
    if ours && step.world.is_connected(id) {
        step.world.observe_link(id, Link::Suspect { since: step.now });
    }
    Reply::Done
}

/// A person wants a node empty, or takes that back.
pub(crate) fn drain(step: &mut Step<'_>, id: NodeId, on: bool) -> Reply {
    if !step.world.durable.nodes.contains_key(&id) {
        return Reply::NotFound;
    }
    let event = if on { NodeEvent::Drain } else { NodeEvent::Undrain };
    if change(step, id, event) {
        step.tell(id).drain = Some(on);
        if on {
            retract_all(step, id);
        }
    }
    Reply::Done
}

/// Asks for all held attempts of a node.
pub(crate) fn retract_all(step: &mut Step<'_>, id: NodeId) {
    let Some(load) = step.world.index.loads.get(&id) else { return };
    let held: Vec<_> = load.held.iter().copied().collect();
    for task in held {
        if let Some(entry) = step.world.task(task) {
            let attempt = task.attempt(entry.attempt);
            step.tell(id).retract.push(attempt);
        }
    }
}
