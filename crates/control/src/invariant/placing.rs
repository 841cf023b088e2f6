//! Attempts that begin, and attempts that are bound otherwise.

use model::{
    AttemptId, GroupId, Node, NodeId, NodeState, Placement, Resources, Task, TaskId, TaskState,
    World,
};

use super::Invariant::{
    InterruptionIsFree, NeverOvercommitted, NeverTwiceAtOnce, NothingAfterNotice, SettledOnce,
    StaleChangesNothing,
};
use super::checks::Checks;

/// A node that takes work, which a group's tasks are placed on one after the other.
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

/// The tasks `next..end` of a group were never placed.
#[derive(Debug)]
pub(super) struct Fresh {
    group: GroupId,
    next: u32,
    end: u32,
}

impl Checks {
    pub(super) fn placed(&mut self, world: &World, attempt: AttemptId, task: &Task) {
        let Some(at) = task.placement() else {
            return self.broken(StaleChangesNothing, format_args!("{attempt} is placed nowhere"));
        };
        let group = attempt.task.group_id();
        if !self.is_next(group, attempt, task) {
            self.number(world, attempt, task);
        }
        let known = self.target.as_mut().filter(|last| last.node == at.node && last.group == group);
        if !known.is_some_and(|target| target.takes(task, at)) {
            self.room(world, attempt, task, at);
        }
    }

    /// Whether it is the first attempt of a task that is known to be fresh.
    fn is_next(&mut self, group: GroupId, attempt: AttemptId, task: &Task) -> bool {
        let index = attempt.task.index;
        let within =
            |fresh: &&mut Fresh| fresh.group == group && (fresh.next..fresh.end).contains(&index);
        let Some(fresh) = self.fresh.as_mut().filter(within) else { return false };
        fresh.next = index + 1;
        attempt.attempt == 1 && task.attempt == 1
    }

    /// The number of a new attempt follows on the last; the task has none that is valid.
    fn number(&mut self, world: &World, attempt: AttemptId, task: &Task) {
        let id = attempt.task;
        let Some(group) = world.group(id.group_id()) else {
            return self.absent(world, id, "is placed");
        };
        let former = if let Some(end) = group.fresh.end_of(id.index) {
            self.fresh = Some(Fresh { group: id.group_id(), next: id.index + 1, end });
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
        self.target = None;
        let (id, group) = (at.node, attempt.task.group_id());
        let Some(node) = world.durable.nodes.get(&id) else {
            let words = format_args!("{attempt} is placed on {id}, which is not here");
            return self.broken(NothingAfterNotice, words);
        };
        let sound = self.takes_work(world, attempt, node);
        let Some(spec) = world.group_spec(group) else { return };
        let mut target = Target::of(world, node, group, spec.resources);
        if !target.takes(task, at) {
            self.no_room(world, attempt, task, at, &target);
        } else if sound {
            self.target = Some(target);
        }
    }

    /// A fresh placement goes to a node that is ready, stays, and was heard of.
    fn takes_work(&mut self, world: &World, attempt: AttemptId, node: &Node) -> bool {
        let id = node.id;
        // In own words: what `Node::takes_work` says is what is judged here.
        if node.state != NodeState::Ready || node.deadline.is_some() {
            let state = node.state;
            let until = node.deadline.map_or_else(String::new, |at| format!(" and goes at {at}"));
            let words = format_args!("{attempt} is placed on {id}, which is {state}{until}");
            self.broken(NothingAfterNotice, words);
            return false;
        }
        let connected = world.is_connected(id);
        if !connected {
            let words = format_args!("{attempt} is placed on {id}, which is suspect");
            self.broken(NothingAfterNotice, words);
        }
        connected
    }

    /// Says why a node had no room, unless what is held there leaves it.
    #[cold]
    fn no_room(
        &mut self,
        world: &World,
        attempt: AttemptId,
        task: &Task,
        at: &Placement,
        target: &Target,
    ) {
        let node = at.node;
        let alone = task.counters.runs_alone();
        if target.alone || (alone && (target.busy || target.holding || !at.phase.reserves())) {
            self.beside(world, attempt, node);
        }
        let Target { free, ask, .. } = *target;
        let held = if target.holding { held(world, node) } else { Resources::default() };
        if at.phase.reserves() && !(free.holds(&ask) && (free - held).holds(&ask)) {
            let words = format_args!(
                "{attempt} asks for ({ask}) of {node}, where ({free}) is free and ({held}) held"
            );
            self.broken(NeverOvercommitted, words);
        }
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
                let words =
                    format_args!("{attempt} {what} on {node}, and number {valid} is on {there}");
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
        } else if group.fresh.contains(id.index) {
            let words = format_args!("{id} {what}, and was never placed");
            self.broken(StaleChangesNothing, words);
        } else {
            let words = format_args!("{id} {what}, and its group has no such task");
            self.broken(StaleChangesNothing, words);
        }
    }
}

impl Target {
    /// A node as it is before a placement.
    fn of(world: &World, node: &Node, group: GroupId, ask: Resources) -> Self {
        let (mut free, mut busy, mut alone, mut holding) = (node.capacity, false, false, false);
        if let Some(load) = world.index.loads.get(&node.id) {
            free -= load.reserved;
            busy = !load.tasks.is_empty();
            alone = load.alone;
            holding = !load.held.is_empty();
        }
        Self { node: node.id, group, ask, free, busy, alone, holding }
    }

    /// Whether there is room for one more, and nobody there has to be alone. Where something is held,
    /// its sum has to be looked at first.
    fn takes(&mut self, task: &Task, at: &Placement) -> bool {
        let alone = task.counters.runs_alone();
        if self.alone {
            return false;
        }
        if !at.phase.reserves() {
            self.holding = true;
            return !alone;
        }
        let lonely = !self.busy || !alone;
        if self.holding || !lonely || !self.free.holds(&self.ask) {
            return false;
        }
        self.free -= self.ask;
        self.busy = true;
        self.alone = alone;
        true
    }
}

/// What the attempts that a node holds ask for.
fn held(world: &World, node: NodeId) -> Resources {
    let Some(load) = world.index.loads.get(&node) else { return Resources::default() };
    let ask = |task: &TaskId| world.group_spec(task.group_id()).map(|spec| spec.resources);
    load.held.iter().filter_map(ask).fold(Resources::default(), |sum, ask| sum + ask)
}
