//! What happens because time has passed.

use std::collections::BTreeSet;

use model::{
    Change, IntentEnd, IntentState, Link, Node, NodeEvent, NodeId, NodeOrigin, NodeReason,
    NodeState, TaskEvent, TaskId, Timestamp, World,
};

use crate::explain::reason_words;
use crate::step::Step;
use crate::sync::tasks_on;
use crate::{Config, deadline, nodes};

pub(crate) fn run(step: &mut Step<'_>) {
    backoffs(step);
    step.restless.extend(look(step.world, step.config));
    for id in step.world.observed.due.by(step.now) {
        if let Some(node) = step.world.durable.nodes.get(&id) {
            let due = due_of_node(step.world, step.config, node);
            if due.is_some_and(|due| due <= step.now) {
                node_due(step, id);
            }
        }
    }
    expire(step);
    deadline::run(step);
}

/// Looks at the nodes that have changed since it looked last: when they want attention next. Answers
/// which they were.
fn look(world: &mut World, config: &Config) -> BTreeSet<NodeId> {
    let stirred = std::mem::take(&mut world.observed.stirred);
    for id in &stirred {
        let node = world.durable.nodes.get(id);
        let at = node.and_then(|node| due_of_node(world, config, node));
        world.observed.due.set(*id, at);
    }
    stirred
}

/// The next moment at which [`run`] would do something.
pub(crate) fn next(world: &mut World, config: &Config) -> Option<Timestamp> {
    look(world, config);
    let backoff = world.index.backoffs.first().map(|(until, _)| *until);
    let node = world.observed.due.first();
    let notices = world.durable.notices.values().map(|notice| kept_until(notice.deadline));
    let intents = world.durable.intents.values().map(|intent| expires(intent.opened));
    let nets = deadline::next(world);
    backoff.into_iter().chain(node).chain(notices).chain(intents).chain(nets).min()
}

fn kept_until(deadline: Timestamp) -> Timestamp {
    deadline.later_by(Config::KEEP_NOTICE_MS)
}

fn expires(opened: Timestamp) -> Timestamp {
    opened.later_by(model::Intent::RESEND_MS)
}

fn backoffs(step: &mut Step<'_>) {
    while let Some((until, task)) = step.world.index.backoffs.first().copied() {
        if until > step.now {
            return;
        }
        if !step.task_event(task, TaskEvent::Due, None) {
            step.world.index.backoffs.remove(&(until, task));
        }
    }
}

/// When a node wants attention next.
fn due_of_node(world: &World, config: &Config, node: &Node) -> Option<Timestamp> {
    let load = world.index.loads.get(&node.id);
    let is_empty = load.is_none_or(|load| load.tasks.is_empty() && load.held.is_empty());
    match node.state {
        NodeState::Gone | NodeState::Retiring => None,
        NodeState::Booting => Some(node.since.later_by(config.boot_timeout_ms)),
        NodeState::Draining if is_empty && node.instance().is_some() => Some(node.since),
        NodeState::Ready | NodeState::Draining => {
            let leaving = node.deadline.filter(|_| !is_empty);
            let link = match world.observed.links.get(&node.id) {
                Some(Link::Connected { seen }) => Some(seen.later_by(config.node_lease_ms)),
                Some(Link::Suspect { since }) => {
                    let lost = since.later_by(config.lost_after_ms);
                    first_requeue(world, config, node.id, Some(*since))
                        .min(Some(lost))
                        .or(Some(lost))
                }
                None => {
                    let lost = world.observed.leader_since.later_by(config.lost_after_ms);
                    first_requeue(world, config, node.id, None)
                        .map_or(Some(lost), |at| Some(at.min(lost)))
                }
            };
            leaving.into_iter().chain(link).min()
        }
    }
}

/// When the first attempt of a silent node is re-queued.
fn first_requeue(
    world: &World,
    config: &Config,
    id: NodeId,
    since: Option<Timestamp>,
) -> Option<Timestamp> {
    let load = world.index.loads.get(&id)?;
    let tasks = load.tasks.iter().chain(&load.held);
    tasks.filter_map(|task| requeue_at(world, config, *task, since)).min()
}

/// After min(its own elapsed run time, the grace): short tasks move at once, long ones are not
/// thrown away. After a take-over (`since` is `None`) each has the full grace.
fn requeue_at(
    world: &World,
    config: &Config,
    task: TaskId,
    since: Option<Timestamp>,
) -> Option<Timestamp> {
    let placement = world.task(task)?.placement()?;
    Some(match since {
        None => world.observed.leader_since.later_by(config.reconnect_grace_ms),
        Some(since) => {
            let elapsed = since.since(placement.started.unwrap_or(placement.assigned));
            since.later_by(elapsed.min(config.reconnect_grace_ms))
        }
    })
}

fn node_due(step: &mut Step<'_>, id: NodeId) {
    let Some(node) = step.world.durable.nodes.get(&id).cloned() else { return };
    match node.state {
        NodeState::Gone | NodeState::Retiring => {}
        NodeState::Booting => {
            retire_or_forget(step, &node, NodeReason::NeverJoined);
        }
        NodeState::Ready | NodeState::Draining => {
            if node.deadline.is_some_and(|deadline| deadline <= step.now) {
                for task in tasks_on(step, id) {
                    step.task_event(task, TaskEvent::NodeGone { explained: true }, None);
                }
            }
            silence(step, &node);
            let load = step.world.index.loads.get(&id);
            let is_empty = load.is_none_or(|load| load.tasks.is_empty() && load.held.is_empty());
            if node.state == NodeState::Draining && is_empty && node.instance().is_some() {
                let why = reason_words(node.reason);
                step.keep(id, format!("retired: drained and empty; {why}"));
                nodes::change(step, id, NodeEvent::Retire(node.reason));
            }
        }
    }
}

/// A node that is not heard of becomes suspect, loses its attempts one by one, and is lost.
fn silence(step: &mut Step<'_>, node: &Node) {
    let now = step.now;
    let since = match step.world.observed.links.get(&node.id).copied() {
        Some(Link::Connected { seen }) if seen.later_by(step.config.node_lease_ms) <= now => {
            step.world.observe_link(node.id, Link::Suspect { since: now });
            step.note(node.id, "suspect: its lease has run out");
            Some(now)
        }
        Some(Link::Connected { .. }) => return,
        Some(Link::Suspect { since }) => Some(since),
        None => None,
    };
    for task in tasks_on(step, node.id) {
        let at = requeue_at(step.world, step.config, task, since);
        if at.is_some_and(|at| at <= now) {
            let explained = node.deadline.is_some();
            step.task_event(task, TaskEvent::NodeGone { explained }, None);
        }
    }
    let began = since.unwrap_or(step.world.observed.leader_since);
    if began.later_by(step.config.lost_after_ms) <= now {
        retire_or_forget(step, node, NodeReason::Lost);
    }
}

/// A machine of ours is ended; somebody's own is only forgotten.
fn retire_or_forget(step: &mut Step<'_>, node: &Node, reason: NodeReason) {
    match node.origin {
        NodeOrigin::Cloud { .. } => {
            for task in tasks_on(step, node.id) {
                step.task_event(task, TaskEvent::NodeGone { explained: false }, None);
            }
            step.keep(node.id, format!("retired: {}", reason_words(reason)));
            nodes::change(step, node.id, NodeEvent::Retire(reason));
        }
        NodeOrigin::Static { .. } => nodes::gone(step, node.id, reason, None),
    }
}

/// Intents without an answer for too long, and notices that nobody claimed.
fn expire(step: &mut Step<'_>) {
    let now = step.now;
    let intents = step.world.durable.intents.values();
    let intents = intents.filter(|intent| expires(intent.opened) <= now);
    for intent in intents.cloned().collect::<Vec<_>>() {
        let (born, count) = (intent.born, intent.request.count);
        let words =
            format!("closed with {born} of {count} machines: no clear answer in 10 minutes");
        step.keep(intent.id, words);
        let state = IntentState::Closed(IntentEnd::Expired);
        step.emit(Change::Intent(Box::new(model::Intent { state, since: now, ..intent })));
    }
    let notices = step.world.durable.notices.values();
    let notices = notices.filter(|notice| kept_until(notice.deadline) <= now);
    for notice in notices.cloned().collect::<Vec<_>>() {
        step.emit(Change::NoticeDone { instance: notice.instance, kind: notice.kind });
    }
}

/// Since when each machine of ours has had nothing to do: the planner retires by it.
pub(crate) fn observe_idle(step: &mut Step<'_>) {
    step.restless.extend(look(step.world, step.config));
    let World { durable, index, observed } = &mut *step.world;
    for id in std::mem::take(&mut step.restless) {
        let Some(node) = durable.nodes.get(&id).filter(|node| node.instance().is_some()) else {
            continue;
        };
        let load = index.loads.get(&id);
        let idle = node.state == NodeState::Ready
            && load.is_none_or(|load| load.tasks.is_empty() && load.held.is_empty());
        if idle {
            observed.idle.begin(id, step.now);
        } else {
            observed.idle.end(id);
        }
    }
}
