//! Attempts that begin, and attempts that are bound otherwise.

use model::{
    AttemptId, GroupId, NodeId, NodeState, Placement, Resources, Task, TaskId, TaskState, World,
};

use super::Invariant::{
    InterruptionIsFree, NeverOvercommitted, NeverTwiceAtOnce, NothingAfterNotice, SettledOnce,
    StaleChangesNothing,
};
use super::checks::Checks;

/// A node that a group's tasks are placed on, one after the other.
#[derive(Debug)]
pub(super) struct Target {
    node: NodeId,
    group: GroupId,
    ask: Resources,
    free: Resources,
    /// Something reserves.
    busy: bool,
    /// What reserves must be alone.
    alone: bool,
    /// Something is held.
    holding: bool,
}

impl Checks {
    pub(super) fn placed(&mut self, world: &World, attempt: AttemptId, task: &Task) {
        self.number(world, attempt, task);
        if let Some(at) = task.placement() {
            self.room(world, attempt, task, at);
        } else {
            self.broken(StaleChangesNothing, format_args!("{attempt} is placed nowhere"));
        }
    }

    /// The number of a new attempt follows on the last; the task has none that is valid.
    fn number(&mut self, world: &World, attempt: AttemptId, task: &Task) {
        let id = attempt.task;
        let Some(group) = world.group(id.group_id()) else {
            self.absent(world, id, "is placed");
            return;
        };
        let former = if group.fresh.contains(id.index) {
            0
        } else {
            match group.tasks.get(&id.index).map(|entry| (entry.state, entry.attempt)) {
                Some((TaskState::Ready | TaskState::Backoff { .. }, former)) => former,
                Some((TaskState::Placed(at), former)) => {
                    let words = format_args!(
                        "{attempt} is placed, and {} is on {}",
                        id.attempt(former),
                        at.node
                    );
                    return self.broken(NeverTwiceAtOnce, words);
                }
                Some((TaskState::Failed(_), _)) | None => {
                    return self.absent(world, id, "is placed");
                }
            }
        };
        if attempt.attempt != former + 1 || task.attempt != attempt.attempt {
            let entry = task.attempt;
            let words =
                format_args!("{attempt} is placed as {entry}, and the number before is {former}");
            self.broken(StaleChangesNothing, words);
        }
    }

    /// The node takes work and has room. What is held there was promised room first: the node starts
    /// it without asking.
    fn room(&mut self, world: &World, attempt: AttemptId, task: &Task, at: &Placement) {
        let (node, group) = (at.node, attempt.task.group_id());
        let known = self.last.take().filter(|last| last.node == node && last.group == group);
        let (mut target, sound) = match known {
            Some(known) => (known, true),
            None => {
                let sound = self.takes_work(world, attempt, node);
                let Some(target) = target(world, group, node) else { return };
                (target, sound)
            }
        };
        let alone = task.counters.runs_alone();
        if target.alone || (alone && (target.busy || target.holding || !at.phase.reserves())) {
            self.beside(world, attempt, node);
        }
        if at.phase.reserves() {
            let held = if target.holding { held(world, node) } else { Resources::default() };
            let Target { free, ask, .. } = target;
            if !free.holds(&ask) || !(free - held).holds(&ask) {
                let words = format_args!(
                    "{attempt} asks for ({ask}) of {node}, where ({free}) is free and ({held}) held"
                );
                self.broken(NeverOvercommitted, words);
            }
            target.free -= ask;
            target.busy = true;
            target.alone |= alone;
        } else {
            target.holding = true;
        }
        self.last = sound.then_some(target);
    }

    /// A fresh placement goes to a node that is ready, stays, and was heard of.
    fn takes_work(&mut self, world: &World, attempt: AttemptId, id: NodeId) -> bool {
        match world.durable.nodes.get(&id).map(|node| (node.state, node.deadline)) {
            Some((NodeState::Ready, None)) if world.is_connected(id) => return true,
            Some((NodeState::Ready, None)) => {
                let words = format_args!("{attempt} is placed on {id}, which is suspect");
                self.broken(NothingAfterNotice, words);
            }
            Some((_, Some(deadline))) => {
                let words =
                    format_args!("{attempt} is placed on {id}, which has to go at {deadline}");
                self.broken(NothingAfterNotice, words);
            }
            Some((state, None)) => {
                let words = format_args!("{attempt} is placed on {id}, which is {state}");
                self.broken(NothingAfterNotice, words);
            }
            None => {
                let words = format_args!("{attempt} is placed on {id}, which is not here");
                self.broken(NothingAfterNotice, words);
            }
        }
        false
    }

    #[cold]
    fn beside(&mut self, world: &World, attempt: AttemptId, node: NodeId) {
        let load = world.index.loads.get(&node);
        let (tasks, held) = load.map_or((0, 0), |load| (load.tasks.len(), load.held.len()));
        let words = format_args!(
            "{attempt} is placed on {node} beside {tasks} tasks and {held} held: one must be alone"
        );
        self.broken(NeverOvercommitted, words);
    }

    /// An attempt stays where it is, and costs its task nothing.
    ///
    /// What was held may come to reserve more than there is in one case: its node reports that it has
    /// started. That is a fact, and the report may have overtaken that of the end that made the
    /// room. Whoever places is the one to see to it that there is room for what is held. Nothing
    /// that the step decides itself may do that.
    pub(super) fn bound(&mut self, world: &World, attempt: AttemptId, task: &Task) {
        let node = task.placement().map(|at| at.node);
        let Some(before) = self.current(world, attempt, node, "is bound") else { return };
        if task.attempt != attempt.attempt {
            let words = format_args!("{attempt} is bound as {}", task.attempt);
            self.broken(StaleChangesNothing, words);
        }
        if task.counters != before.counters {
            let (was, is) = (before.counters, task.counters);
            let words = format_args!("{attempt} goes on, and {was:?} becomes {is:?}");
            self.broken(InterruptionIsFree, words);
        }
        let (Some(was), Some(at)) = (before.placement(), task.placement()) else { return };
        let begins = was.started.is_none() && at.started.is_some();
        if at.phase.reserves() && !was.phase.reserves() && !begins {
            let ask = world.group_spec(attempt.task.group_id()).map(|spec| spec.resources);
            let (ask, free, node) = (ask.unwrap_or_default(), world.free(at.node), at.node);
            if !free.holds(&ask) {
                let words =
                    format_args!("{attempt} reserves ({ask}) of {node}, where ({free}) is free");
                self.broken(NeverOvercommitted, words);
            }
        }
    }

    /// The entry of an attempt whose number is valid, on that node.
    pub(super) fn current<'w>(
        &mut self,
        world: &'w World,
        attempt: AttemptId,
        node: Option<NodeId>,
        what: &str,
    ) -> Option<&'w Task> {
        let Some(entry) = world.task(attempt.task) else {
            self.absent(world, attempt.task, what);
            return None;
        };
        match entry.state {
            TaskState::Placed(at) if entry.attempt == attempt.attempt && Some(at.node) == node => {
                return Some(entry);
            }
            TaskState::Placed(at) => {
                let (valid, there) = (entry.attempt, at.node);
                let node = node.map_or_else(|| "no node".to_owned(), |node| node.to_string());
                let words = format_args!("{attempt} {what} on {node}, and {valid} is on {there}");
                self.broken(StaleChangesNothing, words);
            }
            TaskState::Failed(_) => self.absent(world, attempt.task, what),
            TaskState::Ready | TaskState::Backoff { .. } => {
                let words = format_args!("{attempt} {what}, and no attempt is placed");
                self.broken(StaleChangesNothing, words);
            }
        }
        None
    }

    /// Something is done to a task that is settled, was never placed, or is not here.
    #[cold]
    pub(super) fn absent(&mut self, world: &World, id: TaskId, what: &str) {
        let Some(group) = world.group(id.group_id()) else {
            let words = format_args!("{id} {what}, and World has no such group");
            return self.broken(StaleChangesNothing, words);
        };
        let entry = group.tasks.get(&id.index).map(|entry| entry.state);
        if let Some(TaskState::Failed(cause)) = entry {
            self.broken(SettledOnce, format_args!("{id} {what}, and has failed by {cause:?}"));
        } else if group.succeeded.contains(id.index) {
            self.broken(SettledOnce, format_args!("{id} {what}, and has succeeded"));
        } else if group.cancelled.contains(id.index) {
            self.broken(SettledOnce, format_args!("{id} {what}, and is cancelled"));
        } else {
            let words = format_args!("{id} {what}, and was never placed");
            self.broken(StaleChangesNothing, words);
        }
    }
}

/// A node as it is before a placement.
fn target(world: &World, group: GroupId, id: NodeId) -> Option<Target> {
    let capacity = world.durable.nodes.get(&id)?.capacity;
    let ask = world.group_spec(group)?.resources;
    let mut target =
        Target { node: id, group, ask, free: capacity, busy: false, alone: false, holding: false };
    if let Some(load) = world.index.loads.get(&id) {
        target.free -= load.reserved;
        target.busy = !load.tasks.is_empty();
        target.alone = load.alone;
        target.holding = !load.held.is_empty();
    }
    Some(target)
}

/// What the attempts that a node holds ask for.
fn held(world: &World, node: NodeId) -> Resources {
    let Some(load) = world.index.loads.get(&node) else { return Resources::default() };
    let ask = |task: &TaskId| world.group_spec(task.group_id()).map(|spec| spec.resources);
    load.held.iter().filter_map(ask).fold(Resources::default(), |sum, ask| sum + ask)
}
