//! Who gets what: waiting tasks onto free resources, then prefetch behind them.
//!
//! Groups are served by priority, then age. Consecutive groups with the same ask are placed
//! together, so that the scheduler works on classes, not on tasks.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use model::{
    Ask, Constraints, GroupId, GroupSpec, JobId, Node, NodeId, Phase, Purchase, Shape, TaskEvent,
    TaskId, Timestamp, World,
};
use scheduler::{Candidate, Policy, Want};

use crate::step::Step;
use crate::{Config, deadline, nodes};

/// Places what fits and prefetches; true when the step's bound was met with more to place.
pub(crate) fn run(step: &mut Step<'_>) -> bool {
    let mut budget = step.config.max_placements;
    place_waiting(step, &mut budget);
    prefetch(step, &mut budget);
    give_back_stale(step);
    budget == 0
}

/// Groups of one ask that follow each other in the queue.
struct Class {
    ask: Ask,
    expect_ms: Option<u64>,
    alone: bool,
    groups: Vec<(GroupId, u32)>,
}

fn place_waiting(step: &mut Step<'_>, budget: &mut u32) {
    let mut full: BTreeSet<Ask> = BTreeSet::new();
    let mut served = None;
    // The queue is read piece by piece, so that a step on a full cluster does not read it all.
    while *budget > 0 && any_room(step.world) {
        let before = served;
        let classes = classes(step.world, step.now, &mut served);
        if served == before {
            return;
        }
        for class in classes {
            if *budget == 0 || full.contains(&class.ask) {
                continue;
            }
            let count: u32 = class.groups.iter().map(|(_, count)| *count).sum::<u32>().min(*budget);
            let placed = place_class(step, &class, count);
            *budget -= placed;
            if placed < count {
                full.insert(class.ask);
            }
        }
    }
}

/// Whether a node has room for any of what waits.
fn any_room(world: &World) -> bool {
    let fits = |shape: &Shape| world.index.queue.needs().any(|need| shape.free.holds(need));
    any_core(world)
        && world
            .index
            .room
            .shapes()
            .any(|(shape, nodes)| fits(shape) && nodes.iter().any(|node| world.is_connected(*node)))
}

/// Whether a node that may be given work has any of its cores free.
fn any_core(world: &World) -> bool {
    world.index.room.shapes().any(|(shape, nodes)| {
        shape.free.cpu_millis > 0 && nodes.iter().any(|node| world.is_connected(*node))
    })
}

/// Groups of the queue that are read at once.
const PIECE: usize = 256;
type Served = (Reverse<i16>, JobId, u16);

/// The next piece of what there is to place, in the order in which it is served.
fn classes(world: &World, now: Timestamp, served: &mut Option<Served>) -> Vec<Class> {
    let mut out: Vec<Class> = Vec::new();
    let from = served.map_or(Bound::Unbounded, Bound::Excluded);
    for key in world.index.queue.range((from, Bound::Unbounded)).take(PIECE) {
        *served = Some(*key);
        let id = GroupId { job: key.1, group: key.2 };
        let Some(spec) = world.group_spec(id) else { continue };
        let (shared, alone) = placeable(world, id);
        let purchase = deadline::purchase(world, id, spec, now);
        for (count, alone) in [(alone, true), (shared, false)] {
            if count > 0 {
                let expect_ms = expect_ms(world, id, spec);
                add_to_class(&mut out, (id, count), spec, purchase, alone, expect_ms);
            }
        }
    }
    out
}

fn add_to_class(
    out: &mut Vec<Class>,
    tasks: (GroupId, u32),
    spec: &Arc<GroupSpec>,
    purchase: Purchase,
    alone: bool,
    expect_ms: Option<u64>,
) {
    if let Some(last) = out.last_mut()
        && last.alone == alone
        && last.expect_ms == expect_ms
        && last.ask.resources == spec.resources
        && last.ask.constraints.purchase == purchase
        && last.ask.constraints.zones == spec.constraints.zones
        && last.ask.constraints.instance_types == spec.constraints.instance_types
    {
        last.groups.push(tasks);
        return;
    }
    let constraints = Constraints { purchase, ..spec.constraints.clone() };
    let ask = Ask { resources: spec.resources, constraints };
    out.push(Class { ask, expect_ms, alone, groups: vec![tasks] });
}

/// How many tasks of a group may be placed now: those that may share a node, and those that must
/// be alone.
fn placeable(world: &World, id: GroupId) -> (u32, u32) {
    let Some(group) = world.group(id) else { return (0, 0) };
    let alone = group
        .ready
        .iter()
        .filter(|index| group.tasks.get(index).is_some_and(|task| task.counters.runs_alone()))
        .count();
    let alone = u32::try_from(alone).unwrap_or(u32::MAX);
    let room = room_of_job(world, id.job);
    let alone_now = alone.min(room);
    ((group.placeable() - alone).min(room - alone_now), alone_now)
}

pub(crate) fn room_of_job(world: &World, id: JobId) -> u32 {
    let Some(job) = world.durable.jobs.get(&id) else { return 0 };
    match job.spec.max_running {
        None => u32::MAX,
        Some(most) => most.saturating_sub(world.index.placed.get(&id).copied().unwrap_or(0)),
    }
}

/// What a task of the group usually takes: history, else the user's word.
pub(crate) fn expect_ms(world: &World, id: GroupId, spec: &GroupSpec) -> Option<u64> {
    match world.observed.runs.get(&id) {
        Some(runs) if runs.count >= 3 => Some(runs.mean_us / 1000),
        _ => spec.expect_ms,
    }
}

fn place_class(step: &mut Step<'_>, class: &Class, count: u32) -> u32 {
    let want = Want {
        resources: class.ask.resources,
        count,
        expect_ms: class.expect_ms,
        alone: class.alone,
    };
    let mut candidates = candidates(step, &class.ask.constraints, &want);
    let picks = scheduler::place(&mut candidates, &want, step.config.policy);
    let mut groups = class.groups.iter().copied();
    let mut current = groups.next();
    let mut placed = 0;
    for pick in &picks {
        for _ in 0..pick.count {
            while current
                .is_some_and(|(id, left)| left == 0 || room_of_job(step.world, id.job) == 0)
            {
                current = groups.next();
            }
            let Some((id, left)) = current.as_mut() else { break };
            if assign(step, *id, pick.node, false, class.alone) {
                placed += 1;
            }
            *left -= 1;
        }
    }
    if placed > 0 {
        let nodes = picks.len();
        let words =
            format!("{placed} of {count} placed on {nodes} nodes by {:?}", step.config.policy);
        step.note(describe(&class.ask), words);
    }
    placed
}

fn describe(ask: &Ask) -> String {
    format!("({})", ask.resources)
}

/// Gives the group's next task to a node. Retries go first: they have waited longest.
fn assign(step: &mut Step<'_>, id: GroupId, node: NodeId, held: bool, alone: bool) -> bool {
    let Some(group) = step.world.group(id) else { return false };
    let is_alone =
        |index: &&u32| group.tasks.get(index).is_some_and(|task| task.counters.runs_alone());
    let retry = group.ready.iter().find(|index| is_alone(index) == alone).copied();
    let (index, attempt) = match (retry, group.fresh.first()) {
        (Some(index), _) => {
            let task = TaskId { job: id.job, group: id.group, index };
            if !step.task_event(task, TaskEvent::Place { node, held }, None) {
                return false;
            }
            (index, step.world.task(task).map_or(1, |task| task.attempt))
        }
        (None, Some(index)) if !alone => {
            let attempt = TaskId { job: id.job, group: id.group, index }.attempt(1);
            let task = model::Task::first(node, held, step.now);
            step.emit(model::Change::Placed { attempt, task });
            (index, 1)
        }
        (None, _) => return false,
    };
    let attempt = TaskId { job: id.job, group: id.group, index }.attempt(attempt);
    step.tell(node).assign.push((attempt, held));
    true
}

/// Nodes that may be given such work. Of those that differ in nothing but their ids no more than could
/// be picked: the first ones. E-PVM reckons with the number of machines, and so gets all.
fn candidates(step: &Step<'_>, constraints: &Constraints, want: &Want) -> Vec<Candidate> {
    let world = &*step.world;
    let all = step.config.policy == Policy::EPvm;
    let most = if all { usize::MAX } else { usize::try_from(want.count).unwrap_or(usize::MAX) };
    let has_room =
        |shape: &Shape| shape.free.holds(&want.resources) && (shape.tasks == 0 || !want.alone);
    let suits = |id: &&NodeId| {
        world.is_connected(**id)
            && world.durable.nodes.get(*id).is_some_and(|node| constraints.allow(node))
    };
    let shapes = world.index.room.shapes().filter(|(shape, _)| all || has_room(shape));
    let of_shape = |(shape, nodes): (&Shape, &'_ BTreeSet<NodeId>)| {
        let one = |id: &NodeId| Candidate {
            node: *id,
            free: shape.free,
            capacity: shape.capacity,
            tasks: shape.tasks,
            paid: shape.paid,
            hazard_ppm_hour: shape.hazard_ppm_hour,
            life_left_ms: None,
        };
        nodes.iter().filter(suits).take(most).map(one).collect::<Vec<_>>()
    };
    shapes.flat_map(of_shape).collect()
}

pub(crate) fn may_work(world: &World, node: &Node) -> bool {
    node.takes_work() && world.is_connected(node.id)
}

pub(crate) fn candidate(world: &World, node: &Node, now: Timestamp) -> Candidate {
    let load = world.index.loads.get(&node.id);
    Candidate {
        node: node.id,
        free: world.free(node.id),
        capacity: node.capacity,
        tasks: load.map_or(0, |load| u32::try_from(load.tasks.len()).unwrap_or(u32::MAX)),
        paid: node.offer().is_some(),
        hazard_ppm_hour: node.offer().map_or(0, |offer| offer.hazard_ppm_hour),
        life_left_ms: node.deadline.map(|deadline| deadline.since(now)),
    }
}

/// Gives nodes their next short tasks in hand, so that no slot waits for a commit (DESIGN §7).
fn prefetch(step: &mut Step<'_>, budget: &mut u32) {
    let queue: Vec<GroupId> = step
        .world
        .index
        .queue
        .iter()
        .take(MAX_PREFETCH_GROUPS)
        .map(|(_, job, group)| GroupId { job: *job, group: *group })
        .collect();
    for id in queue {
        let Some(spec) = step.world.group_spec(id).cloned() else { continue };
        let per_slot = held_per_slot(step.world, step.config, id);
        if per_slot == 0 {
            continue;
        }
        let constraints = deadline::constraints(step.world, id, &spec, step.now);
        let ids: Vec<NodeId> = step
            .world
            .durable
            .nodes
            .values()
            .filter(|node| may_work(step.world, node) && constraints.allow(node))
            .map(|node| node.id)
            .collect();
        for node in ids {
            prefetch_on(step, id, &spec, node, per_slot, budget);
        }
    }
}

/// Only the head of the queue is prefetched: what is behind it is not next.
const MAX_PREFETCH_GROUPS: usize = 16;

fn prefetch_on(
    step: &mut Step<'_>,
    id: GroupId,
    spec: &GroupSpec,
    node: NodeId,
    per_slot: u32,
    budget: &mut u32,
) {
    let Some(load) = step.world.index.loads.get(&node) else { return };
    if load.alone || load.tasks.is_empty() {
        return;
    }
    let held = u32::try_from(load.held.len()).unwrap_or(u32::MAX);
    let capacity = step
        .world
        .durable
        .nodes
        .get(&node)
        .map_or(0, |node| node.capacity.times(&spec.resources).min(MAX_SLOTS));
    let want = capacity.saturating_mul(per_slot).saturating_sub(held).min(*budget);
    for _ in 0..want.min(placeable(step.world, id).0) {
        if !assign(step, id, node, true, false) {
            return;
        }
        *budget -= 1;
    }
}

/// A task that asks for nothing fits any number of times; a machine still has so many slots.
const MAX_SLOTS: u32 = 512;

/// As many as run in the horizon, if it is known that they are short.
fn held_per_slot(world: &World, config: &Config, id: GroupId) -> u32 {
    let Some(runs) = world.observed.runs.get(&id).filter(|runs| runs.count >= 3) else { return 0 };
    let fit = config.hold_horizon_us / runs.mean_us.max(1);
    u32::try_from(fit).unwrap_or(u32::MAX).min(config.hold_per_slot)
}

/// Held attempts that waited long behind something, while another node has room, go back.
fn give_back_stale(step: &mut Step<'_>) {
    if step.world.index.holding.is_empty() || !any_core(step.world) {
        return;
    }
    let first = |id: &NodeId| step.world.index.loads.get(id)?.held.first().copied();
    let holding = step.world.index.holding.iter();
    let stale: Vec<NodeId> =
        holding.filter(|id| first(id).is_some_and(|task| is_stale(step, task))).copied().collect();
    for id in stale {
        nodes::retract_all(step, id);
    }
}

fn is_stale(step: &Step<'_>, task: TaskId) -> bool {
    let placement = step.world.task(task).and_then(|task| task.placement().copied());
    placement.is_some_and(|placement| {
        placement.phase == Phase::Held
            && step.now.since(placement.assigned) >= step.config.held_patience_ms
    })
}
