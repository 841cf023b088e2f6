//! What the planner is asked: classes and counts.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

use model::{Ask, GroupId, Link, NodeId, Offer, Pool, Resources, TaskState, Timestamp, World};
use planner::{Demand, Full, OpenIntent, PlanNode, Problem};

use crate::{Config, deadline, jobs};

/// The planner's problem as World stands. Demand is what waits, what leaves, and the backlog.
pub fn problem(world: &World, config: &Config, now: Timestamp) -> Problem {
    let demand =
        demand(world, config, now).into_iter().map(|(ask, count)| Demand { ask, count }).collect();
    with_demand(world, config, now, demand)
}

/// The same with another demand.
pub(crate) fn with_demand(
    world: &World,
    config: &Config,
    now: Timestamp,
    demand: Vec<Demand>,
) -> Problem {
    let (nodes, full) = nodes(world, &demand, now);
    Problem {
        based_on: world.durable.head.seq,
        now,
        demand,
        nodes,
        full,
        intents: open_intents(world),
        offers: offers(world, now),
        limits: config.limits,
        frozen: frozen(world, now),
    }
}

fn demand(world: &World, config: &Config, now: Timestamp) -> BTreeMap<Ask, u64> {
    // What waits in the backlog counts once World has room for it: a machine bought or kept for it
    // before would stand idle, and hold the quota that World's jobs wait for, for ever (seeds 310 and
    // 1271 of `cargo xtask simulate`).
    let mut demand = match jobs::room_for_backlog(world, config) {
        0 => BTreeMap::new(),
        _ => world.durable.backlog.demand.clone(),
    };
    for (_, job, group) in world.index.queue.iter() {
        let id = GroupId { job: *job, group: *group };
        if let (Some(group), Some(spec)) = (world.group(id), world.group_spec(id)) {
            let ask = deadline::ask(world, id, spec, now);
            *demand.entry(ask).or_default() += u64::from(group.placeable());
        }
    }
    for load in world.index.leaving.iter().filter_map(|node| world.index.loads.get(node)) {
        for task in load.tasks.iter().chain(&load.held) {
            if let Some(spec) = world.group_spec(task.group_id()) {
                let ask = deadline::ask(world, task.group_id(), spec, now);
                *demand.entry(ask).or_default() += 1;
            }
        }
    }
    demand
}

/// What the tasks that leave nodes ask for.
pub(crate) fn leaving_demand(world: &World, now: Timestamp) -> Vec<Demand> {
    let mut demand: BTreeMap<Ask, u64> = BTreeMap::new();
    let loads = world.index.leaving.iter().filter_map(|node| world.index.loads.get(node));
    for task in loads.flat_map(|load| load.tasks.iter().chain(&load.held)) {
        let stays = world.task(*task).is_some_and(|task| match task.state {
            TaskState::Placed(at) => !at.phase.is_stopping(),
            TaskState::Ready | TaskState::Backoff { .. } | TaskState::Failed(_) => false,
        });
        if let Some(spec) = world.group_spec(task.group_id()).filter(|_| stays) {
            let ask = deadline::ask(world, task.group_id(), spec, now);
            *demand.entry(ask).or_default() += 1;
        }
    }
    demand.into_iter().map(|(ask, count)| Demand { ask, count }).collect()
}

fn nodes(world: &World, demand: &[Demand], now: Timestamp) -> (Vec<PlanNode>, Full) {
    // All three are in the order of ids: ten thousand look-ups each would be most of the work.
    let mut loads = Follow::of(&world.index.loads);
    let mut links = Follow::of(&world.observed.links);
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let (mut nodes, mut full) = (Vec::new(), Full::default());
    for node in world.durable.nodes.values() {
        let load = loads.at(node.id);
        let connected = matches!(links.at(node.id), Some(Link::Connected { .. }));
        let booting = node.state == model::NodeState::Booting && node.deadline.is_none();
        let takes_work = node.takes_work() && connected;
        let free = match load {
            Some(load) if load.alone => Resources::default(),
            Some(load) => node.capacity - load.reserved,
            None => node.capacity,
        };
        let tasks = load.map_or(0, |load| count(load.tasks.len()));
        let held = load.map_or(0, |load| count(load.held.len()));
        let busy = tasks > 0 || held > 0;
        if busy && !demand.iter().any(|it| free.holds(&it.ask.resources)) {
            full.add(node.offer(), &node.capacity, takes_work || booting);
            continue;
        }
        let since = if busy { None } else { world.observed.idle.since(node.id) };
        nodes.push(PlanNode {
            id: node.id,
            offer: node.offer().cloned(),
            capacity: node.capacity,
            free,
            booting,
            takes_work,
            idle_ms: since.map(|since| now.since(since)),
            tasks,
            held,
        });
    }
    (nodes, full)
}

/// Entries of a map, asked for in the order of their keys.
struct Follow<'w, T> {
    rest: Peekable<btree_map::Iter<'w, NodeId, T>>,
}

impl<'w, T> Follow<'w, T> {
    fn of(map: &'w BTreeMap<NodeId, T>) -> Self {
        Self { rest: map.iter().peekable() }
    }

    /// The entry of a key that is above all that were asked for.
    fn at(&mut self, id: NodeId) -> Option<&'w T> {
        while self.rest.next_if(|(key, _)| **key < id).is_some() {}
        self.rest.next_if(|(key, _)| **key == id).map(|(_, entry)| entry)
    }
}

fn open_intents(world: &World) -> Vec<OpenIntent> {
    world
        .durable
        .intents
        .values()
        .filter(|intent| intent.open_machines() > 0)
        .map(|intent| OpenIntent {
            offers: intent.request.offers.clone(),
            machines: intent.open_machines(),
        })
        .collect()
}

/// What can be bought, without what was refused a moment ago.
///
/// Both lists are in order, so that they are walked side by side: thousands of pools are compared by
/// their names, and on a bad day hundreds of them are hidden.
fn offers(world: &World, now: Timestamp) -> Vec<Offer> {
    let observed = &world.observed;
    let is_held = |pool: &Pool| observed.held_options.get(&pool.option).is_some_and(|it| *it > now);
    let mut hidden =
        observed.hidden_pools.iter().filter(|(_, hidden)| hidden.until > now).peekable();
    let mut open = Vec::with_capacity(observed.offers.len());
    for offer in &observed.offers {
        while hidden.next_if(|(pool, _)| **pool < offer.pool).is_some() {}
        let is_hidden = hidden.peek().is_some_and(|(pool, _)| **pool == offer.pool);
        if !is_hidden && !is_held(&offer.pool) {
            open.push(offer.clone());
        }
    }
    open
}

/// Whether a pool is neither hidden nor held for quota.
pub(crate) fn is_open(world: &World, pool: &Pool, now: Timestamp) -> bool {
    let observed = &world.observed;
    let hidden = observed.hidden_pools.get(pool).is_some_and(|hidden| hidden.until > now);
    let held = observed.held_options.get(&pool.option).is_some_and(|until| *until > now);
    !hidden && !held
}

/// Fail closed (DESIGN §4.8): no voluntary retirement while the observed state is stale or a storm
/// is on.
pub(crate) fn frozen(world: &World, now: Timestamp) -> Option<Arc<str>> {
    let all = world.index.instances.len();
    let leaving = world.index.leaving.iter().filter_map(|id| world.durable.nodes.get(id));
    let noticed = leaving.filter(|node| node.instance().is_some()).count();
    if all >= STORM_NODES && noticed * 5 > all {
        return Some(format!("a storm is on: {noticed} of {all} machines have a notice").into());
    }
    match world.observed.listed {
        Some(listed) if now.since(listed) <= Config::STALE_LISTING_MS => None,
        _ if all == 0 => None,
        _ => Some("the last listing of machines is too old".into()),
    }
}

/// More than a fifth of at least so many machines under notice is a storm.
const STORM_NODES: usize = 5;
