//! A digester's poll: its reports, and the comparison of what it has with what it should have.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AttemptId, InventoryItem, Link, NodeId, NodeNotice, Outcome, Phase, Placement, TaskEvent,
    TaskId, TaskResult, Transition,
};

use crate::step::Step;
use crate::{Reply, notices};

pub(crate) fn sync(
    step: &mut Step<'_>,
    node: NodeId,
    session: u64,
    transitions: Vec<Transition>,
    inventory: Option<Vec<InventoryItem>>,
    notice: Option<NodeNotice>,
) -> Reply {
    match step.world.durable.nodes.get(&node) {
        None => return Reply::NotFound,
        Some(known) if known.session != Some(session) => return Reply::Fenced,
        Some(_) => {}
    }
    step.world.observe_link(node, Link::Connected { seen: step.now });
    report(step, node, transitions);
    if let Some(inventory) = inventory {
        compare(step, node, &inventory);
    }
    if let Some(notice) = notice {
        notices::from_node(step, node, notice);
    }
    Reply::Done
}

/// Whether `attempt` is the valid number of its task, here.
fn is_current(step: &Step<'_>, node: NodeId, attempt: AttemptId) -> Option<Placement> {
    let task = step.world.task(attempt.task)?;
    let placement = task.placement()?;
    (task.attempt == attempt.attempt && placement.node == node).then_some(*placement)
}

/// Takes reports in their order; those that bear an old number change nothing.
fn report(step: &mut Step<'_>, node: NodeId, transitions: Vec<Transition>) {
    // A start whose end is in the same report needs no change of its own.
    let ended: BTreeSet<AttemptId> = transitions
        .iter()
        .filter(|transition| matches!(transition, Transition::Ended { .. }))
        .map(Transition::attempt)
        .collect();
    let mut void: BTreeMap<Void, (AttemptId, u32)> = BTreeMap::new();
    for transition in transitions {
        let attempt = transition.attempt();
        if is_current(step, node, attempt).is_none() {
            void.entry(why_void(step, attempt)).or_insert((attempt, 0)).1 += 1;
            continue;
        }
        match transition {
            Transition::Started { .. } if ended.contains(&attempt) => {}
            Transition::Started { .. } => {
                step.task_event(attempt.task, TaskEvent::Started, None);
            }
            Transition::Ended { result, .. } => end(step, attempt, result),
        }
    }
    for (why, (first, count)) in void {
        let words = format!("{count} reports are void, {first} the first: {}", why.as_str());
        match why {
            Void::Late => step.note(node, words),
            Void::Elsewhere | Void::NeverGiven | Void::NoSuchTask => step.odd(node, words),
        }
    }
}

/// Why a report changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Void {
    /// Its number was valid once, or may have been: what the network does by itself.
    Late,
    /// The attempt is another node's.
    Elsewhere,
    /// No attempt has this number yet.
    NeverGiven,
    /// The job has no such task.
    NoSuchTask,
}

impl Void {
    fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Elsewhere => "another node's attempt",
            Self::NeverGiven => "a number that was never given",
            Self::NoSuchTask => "no such task",
        }
    }
}

fn why_void(step: &Step<'_>, attempt: AttemptId) -> Void {
    let task = attempt.task;
    // A job that is not here may be settled.
    let Some(job) = step.world.durable.jobs.get(&task.job) else { return Void::Late };
    let ordinal = usize::from(task.group);
    let Some((group, spec)) = job.groups.get(ordinal).zip(job.spec.groups.get(ordinal)) else {
        return Void::NoSuchTask;
    };
    if task.index >= spec.count {
        return Void::NoSuchTask;
    }
    match step.world.task(task) {
        None if group.fresh.contains(task.index) => Void::NeverGiven,
        None => Void::Late,
        Some(entry) if attempt.attempt > entry.attempt => Void::NeverGiven,
        Some(entry) if attempt.attempt == entry.attempt && entry.placement().is_some() => {
            Void::Elsewhere
        }
        Some(_) => Void::Late,
    }
}

fn end(step: &mut Step<'_>, attempt: AttemptId, result: Box<TaskResult>) {
    let outcome = result.outcome;
    if matches!(outcome, Outcome::Exited { .. }) {
        let stats = step.world.observed.runs.entry(attempt.task.group_id()).or_default();
        *stats = stats.with(result.run_ms);
        step.stale_nets.insert(attempt.task.job);
    }
    step.task_event(attempt.task, TaskEvent::Ended(outcome), Some(result));
}

/// What the node should have and lacks is sent again or given up; what it has and should not is
/// cancelled.
fn compare(step: &mut Step<'_>, node: NodeId, inventory: &[InventoryItem]) {
    let has: BTreeMap<AttemptId, bool> =
        inventory.iter().map(|item| (item.attempt, item.started)).collect();
    for (attempt, started) in &has {
        match is_current(step, node, *attempt) {
            None => step.tell(node).cancel.push(*attempt),
            Some(placement) => {
                if *started {
                    step.task_event(attempt.task, TaskEvent::Started, None);
                }
                if placement.phase.is_stopping() {
                    step.tell(node).cancel.push(*attempt);
                }
            }
        }
    }
    for task in tasks_on(step, node) {
        let Some(entry) = step.world.task(task).copied() else { continue };
        let attempt = task.attempt(entry.attempt);
        let Some(placement) = entry.placement().copied() else { continue };
        if has.contains_key(&attempt) {
            continue;
        }
        let arrived = placement.started.is_some() || placement.phase.is_stopping();
        if arrived {
            // It had it and has it no more: its folder was wiped. Nobody's fault.
            step.task_event(task, TaskEvent::Ended(Outcome::Vanished), None);
        } else {
            let held = placement.phase == Phase::Held;
            step.tell(node).assign.push((attempt, held));
        }
    }
    let draining = step.world.durable.nodes.get(&node).is_some_and(|node| !node.takes_work());
    step.tell(node).drain = Some(draining);
}

/// All tasks that are assigned to a node, held ones included.
pub(crate) fn tasks_on(step: &Step<'_>, node: NodeId) -> Vec<TaskId> {
    let Some(load) = step.world.index.loads.get(&node) else { return Vec::new() };
    load.tasks.iter().chain(&load.held).copied().collect()
}
