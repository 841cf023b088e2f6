//! A node: why it was bought, why it is kept, why it goes.

use model::{Link, Node, NodeId, NodeOrigin, NodeReason, NodeState, Timestamp, World};

use super::{Explanation, span, tasks, until};
use crate::Config;
use crate::problem::frozen;

/// Why a node is there, and in its state; `None` when World does not have it.
pub fn explain_node(
    world: &World,
    config: &Config,
    id: NodeId,
    now: Timestamp,
) -> Option<Explanation> {
    let node = world.durable.nodes.get(&id)?;
    let mut details = facts(world, node, now);
    details.extend(bought(world, node));
    details.extend(kept(world, config, node, now));
    Some(Explanation { summary: summary(world, config, node, now), details })
}

fn summary(world: &World, config: &Config, node: &Node, now: Timestamp) -> String {
    let since = span(now.since(node.since));
    match node.state {
        NodeState::Booting => {
            let limit = node.since.later_by(config.boot_timeout_ms);
            format!("has been booting for {since}; it may take {}", until(limit, now))
        }
        NodeState::Ready => match world.observed.links.get(&node.id) {
            Some(Link::Connected { .. }) => format!("is ready and {}", use_of(world, node.id)),
            Some(Link::Suspect { since }) => format!(
                "is suspect: nothing was heard of it for {}, so it gets no new work",
                span(now.since(*since))
            ),
            None => "is ready, but has not been heard of since this manager leads".to_owned(),
        },
        NodeState::Draining => match (node.reason, node.deadline) {
            (NodeReason::Notice, Some(deadline)) => {
                format!("is draining: it will be taken; it is there {}", until(deadline, now))
            }
            (reason, _) => format!("is draining: {}", reason_words(reason)),
        },
        NodeState::Retiring => format!("is being ended: {}", reason_words(node.reason)),
        NodeState::Gone => format!("is gone: {}", reason_words(node.reason)),
    }
}

/// Why a node is in its state, as a clause.
pub(crate) fn reason_words(reason: NodeReason) -> &'static str {
    match reason {
        NodeReason::Seen => "it was seen for the first time",
        NodeReason::Joined => "its digester joined",
        NodeReason::Asked => "somebody asked for it",
        NodeReason::Notice => "the cloud announced that it takes it back",
        NodeReason::Idle => "it had nothing to do for long enough, and nothing that waits needs it",
        NodeReason::NeverJoined => "its digester never joined",
        NodeReason::Lost => "nothing was heard of it for too long",
        NodeReason::Reclaimed => "the cloud took it back",
        NodeReason::Ended => "the cloud says that it has ended",
    }
}

fn use_of(world: &World, id: NodeId) -> String {
    let load = world.index.loads.get(&id);
    let (running, held) = load.map_or((0, 0), |load| (load.tasks.len(), load.held.len()));
    match (running as u64, held as u64) {
        (0, 0) => "has nothing to do".to_owned(),
        (running, 0) => format!("has {}", tasks(running)),
        (running, held) => format!("has {} and holds {held} more that start next", tasks(running)),
    }
}

/// What a reader needs to know of any node.
pub(super) fn facts(world: &World, node: &Node, now: Timestamp) -> Vec<String> {
    let mut facts = Vec::new();
    facts.push(match &node.origin {
        NodeOrigin::Static { name } => {
            format!("{} is `{name}`, somebody's own machine ({})", node.id, node.capacity)
        }
        NodeOrigin::Cloud { instance, offer, .. } => format!(
            "{} is {instance} of {} ({}) at {} an hour",
            node.id, offer.pool, node.capacity, offer.price
        ),
    });
    let reserved = world.index.loads.get(&node.id).map(|load| load.reserved).unwrap_or_default();
    facts.push(format!("reserved there: {reserved}; free: {}", world.free(node.id)));
    if let Some(offer) = node.offer().filter(|offer| offer.hazard_ppm_hour > 0) {
        let hours = 1_000_000 / offer.hazard_ppm_hour.max(1);
        facts.push(format!("its pool is thought to interrupt a machine every {hours} hours"));
    }
    facts.extend(node.deadline.map(|deadline| format!("it is there {}", until(deadline, now))));
    facts
}

fn bought(world: &World, node: &Node) -> Option<String> {
    let NodeOrigin::Cloud { intent, .. } = &node.origin else { return None };
    Some(match world.durable.intents.get(intent) {
        Some(open) => format!("bought by {intent}: {}", open.request.reason),
        None => format!("bought by {intent} at {}", node.launched),
    })
}

/// Why a node that could be retired is not.
fn kept(world: &World, config: &Config, node: &Node, now: Timestamp) -> Option<String> {
    if node.state != NodeState::Ready {
        return None;
    }
    if let NodeOrigin::Static { .. } = node.origin {
        return Some("it costs nothing here and is never retired".to_owned());
    }
    let after = config.limits.idle_retire_ms;
    let Some(since) = world.observed.idle.since(node.id) else {
        return Some(format!(
            "kept for its tasks; once it has had nothing to do for {} it is retired",
            span(after)
        ));
    };
    let idle = format!("idle since {since}");
    let due = since.later_by(after);
    Some(if due > now {
        format!("{idle}; kept {}, in case more work comes", until(due, now))
    } else if let Some(why) = frozen(world, now) {
        format!("{idle}; kept, for nothing is retired now: {why}")
    } else if config.limits.min_nodes > 0 {
        let least = config.limits.min_nodes;
        format!("{idle}; kept for work that waits, or as one of the {least} that always stay")
    } else {
        format!("{idle}; kept for work that waits, or retired by the next plan")
    })
}
