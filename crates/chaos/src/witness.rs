//! Who sees everything, and remembers what was promised.

use std::collections::{BTreeMap, BTreeSet};

use control::{Config, Input, Invariant, StepClock};
use model::{
    After, AttemptId, Change, InstanceId, JobId, MicroUsd, NodeId, NodeState, NoticeKind,
    RetriedGroup, Task, TaskId, TaskState, World, bill,
};

use crate::Breach;
use crate::disk::Commit;

/// What is to be true, whatever fails.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) breach: Option<Breach>,
    settled: BTreeSet<TaskId>,
    /// Attempts whose end nobody reported: they were lost with their node.
    lost: BTreeSet<AttemptId>,
    /// Processes that live, by task, with their machines.
    live: BTreeMap<TaskId, Vec<(AttemptId, usize)>>,
    /// When each manager began to lead.
    leads: BTreeMap<usize, u64>,
    /// What the leader has heard last of each node, and whether its connection closed since.
    heard: BTreeMap<NodeId, Heard>,
    /// What each manager has heard of machines that have to go, and not written yet.
    warned: BTreeMap<usize, Vec<InstanceId>>,
    /// Nodes whose notice is durable, whatever World makes of it.
    noticed: BTreeSet<NodeId>,
    booked: BTreeMap<NodeId, MicroUsd>,
    wrong_bill: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    manager: usize,
    at_ms: u64,
    closed: bool,
    /// When it told last of all that it has: what it lacks then is gone by its own word.
    told_all_ms: Option<u64>,
}

/// From a step to its commit, at the most.
const COMMIT_MS: u64 = 10;

type Found = Option<(Invariant, String)>;

impl Witness {
    /// A manager begins to lead.
    pub(crate) fn leads(&mut self, manager: usize, now_ms: u64) {
        self.leads.insert(manager, now_ms);
        self.warned.remove(&manager);
    }

    /// An input goes into a step.
    pub(crate) fn hears(&mut self, manager: usize, input: &Input, now_ms: u64) {
        match input {
            Input::Sync { node, inventory, .. } => {
                let before = self.heard.get(node).and_then(|heard| heard.told_all_ms);
                let told_all_ms = if inventory.is_some() { Some(now_ms) } else { before };
                let heard = Heard { manager, at_ms: now_ms, closed: false, told_all_ms };
                self.heard.insert(*node, heard);
            }
            Input::Closed { node, .. } => {
                let unheard = Heard { manager, at_ms: now_ms, closed: true, told_all_ms: None };
                self.heard.entry(*node).or_insert(unheard).closed = true;
            }
            Input::Notice(notice) if notice.kind == NoticeKind::Interruption => {
                self.warned.entry(manager).or_default().push(notice.instance.clone());
            }
            _ => {}
        }
    }

    /// A process starts.
    pub(crate) fn starts(&mut self, attempt: AttemptId, machine: usize) -> Found {
        let live = self.live.entry(attempt.task).or_default();
        // One that was given up may start late, on a node that was cut off, and settles nothing.
        let given_up = self.lost.contains(&attempt);
        let clash = live.iter().find(|(other, _)| !self.lost.contains(other)).copied();
        live.push((attempt, machine));
        let (other, on) = clash.filter(|_| !given_up)?;
        let words = format!(
            "{attempt} starts on machine {machine} while {other} runs on machine {on}, whose end \
             nobody called a loss"
        );
        Some((Invariant::NeverTwiceAtOnce, words))
    }

    /// A process is over.
    pub(crate) fn over(&mut self, attempt: AttemptId, machine: usize) {
        if let Some(live) = self.live.get_mut(&attempt.task) {
            live.retain(|one| *one != (attempt, machine));
            if live.is_empty() {
                self.live.remove(&attempt.task);
            }
        }
    }

    /// A commit is durable.
    pub(crate) fn durable(
        &mut self,
        manager: usize,
        commit: &Commit,
        world: &World,
        now_ms: u64,
    ) -> Found {
        let gone: BTreeSet<NodeId> = commit.changes.iter().filter_map(leaves).collect();
        let warned = self.warned.remove(&manager).unwrap_or_default();
        let warned = warned.iter().filter_map(|it| world.index.instances.get(it));
        self.noticed.extend(warned.copied());
        let mut found = None;
        for change in &commit.changes {
            let seen = match change {
                Change::Placed { attempt, task } => self.placed(*attempt, task),
                Change::Ended { .. } => self.ended(manager, change, &gone, world, now_ms),
                Change::RetryCancelled { task } => self.settle(*task, "cancelled"),
                Change::TaskRetried { task, .. } => {
                    self.settled.remove(task);
                    None
                }
                Change::JobRetried { job, groups, .. } => {
                    self.comes_back(*job, groups);
                    None
                }
                Change::FreshCancelled { group, from, to } => (*from..*to).find_map(|index| {
                    self.settle(TaskId { job: group.job, group: group.group, index }, "cancelled")
                }),
                Change::Ledger(row) => {
                    *self.booked.entry(row.node).or_default() += row.cost;
                    None
                }
                Change::Node(node) if node.state == NodeState::Gone => {
                    self.bill_closed(node);
                    None
                }
                _ => None,
            };
            found = found.or(seen);
        }
        found
    }

    /// Placements of a commit come after the notices of its step.
    fn placed(&self, attempt: AttemptId, task: &Task) -> Found {
        let node = task.placement()?.node;
        self.noticed.contains(&node).then(|| {
            let words = format!("{attempt} is placed on {node}, which was told that it has to go");
            (Invariant::NothingAfterNotice, words)
        })
    }

    /// What is in none of its sets is to run again.
    fn comes_back(&mut self, job: JobId, groups: &[RetriedGroup]) {
        self.settled.retain(|task| task.job != job);
        for (group, of) in (0u16..).zip(groups) {
            let failed =
                of.tasks.iter().filter(|(_, task)| matches!(task.state, TaskState::Failed(_)));
            let failed = failed.map(|(index, _)| *index);
            let settled = of.succeeded.iter().chain(of.cancelled.iter()).chain(failed);
            self.settled.extend(settled.map(|index| TaskId { job, group, index }));
        }
    }

    fn settle(&mut self, task: TaskId, how: &str) -> Found {
        let first = self.settled.insert(task);
        (!first)
            .then(|| (Invariant::SettledOnce, format!("{task} is {how} and was settled before")))
    }

    fn ended(
        &mut self,
        manager: usize,
        change: &Change,
        gone: &BTreeSet<NodeId>,
        world: &World,
        now_ms: u64,
    ) -> Found {
        let Change::Ended { attempt, placement, end, after, result, .. } = change else {
            return None;
        };
        let settles = match after {
            After::Succeeded | After::Cancelled => true,
            After::Keep(task) => matches!(task.state, TaskState::Failed(_)),
        };
        let twice = if settles { self.settle(attempt.task, end.as_str()) } else { None };
        if result.is_some() {
            return twice;
        }
        self.lost.insert(*attempt);
        let noticed =
            world.durable.nodes.get(&placement.node).is_some_and(|it| it.deadline.is_some());
        let by_cloud = gone.contains(&placement.node) || noticed;
        if twice.is_some() || by_cloud {
            return twice;
        }
        self.lost_too_early(manager, *attempt, placement.node, now_ms)
    }

    /// An attempt was taken from a node of which nothing is known but silence.
    fn lost_too_early(
        &self,
        manager: usize,
        attempt: AttemptId,
        node: NodeId,
        now_ms: u64,
    ) -> Found {
        let standard = Config::default();
        let since_ms = self.leads.get(&manager).copied().unwrap_or(0);
        let heard =
            self.heard.get(&node).filter(|it| it.manager == manager && it.at_ms >= since_ms);
        let by_word = heard.and_then(|heard| heard.told_all_ms);
        if by_word.is_some_and(|at_ms| at_ms + COMMIT_MS > now_ms) {
            return None;
        }
        let (silent_ms, closed, lease_ms) = match heard {
            Some(heard) => (now_ms - heard.at_ms, heard.closed, standard.node_lease_ms),
            None => (now_ms - since_ms, false, standard.reconnect_grace_ms),
        };
        let least_ms = lease_ms - lease_ms / StepClock::SLEW;
        (silent_ms < least_ms && !closed).then(|| {
            let words = format!(
                "{attempt} was taken from {node} {silent_ms} ms after it was heard of, and its \
                 connection was not closed"
            );
            (Invariant::LostOnlyAfterLease, words)
        })
    }

    fn bill_closed(&mut self, node: &model::Node) {
        let booked = self.booked.remove(&node.id).unwrap_or_default();
        let due = bill(node.price(), node.launched, node.since);
        if booked != due {
            let words = format!("{}: {booked} is booked and {due} is its bill", node.id);
            self.wrong_bill.get_or_insert(words);
        }
    }

    /// A bill that does not add up.
    pub(crate) fn wrong_bill(&self) -> Option<String> {
        let open = self.booked.iter().find(|(_, booked)| booked.0 != 0);
        let open = open.map(|(node, booked)| format!("{node} is not gone and {booked} is booked"));
        self.wrong_bill.clone().or(open)
    }
}

/// A node that is no more, or is being ended.
fn leaves(change: &Change) -> Option<NodeId> {
    match change {
        Change::Node(node) if matches!(node.state, NodeState::Gone | NodeState::Retiring) => {
            Some(node.id)
        }
        _ => None,
    }
}
