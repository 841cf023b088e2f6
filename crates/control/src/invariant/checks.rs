//! Looks at each change before World has it, and at World when the step is over.
//!
//! A check reads what World has, and nothing that the step believes: a few look-ups a change, most of
//! them of what the change touches next. It never changes what the step does.

use std::fmt;

use model::{Change, JobId, World};

use super::placing::{Fresh, Target};
use super::{Invariant, Violation};

/// What the changes of a step break.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(super) found: Vec<Violation>,
    /// Where the change before this one has placed, and what. Both hold for as long as nothing but
    /// placements follows: these come many to a node, and many of a group.
    pub(super) target: Option<Target>,
    pub(super) fresh: Option<Fresh>,
}

/// What a notice took is queued again so long after its deadline, at the most.
const REQUEUE_MS: u64 = 1_000;

impl Checks {
    /// Looks at what a change breaks; World does not have it yet.
    pub(crate) fn before(&mut self, world: &World, change: &Change) {
        if let Change::Placed { attempt, task } = change {
            self.placed(world, *attempt, task);
            return;
        }
        self.target = None;
        self.fresh = None;
        match change {
            Change::Bound { attempt, task } => self.bound(world, *attempt, task),
            Change::Ended { attempt, placement, end, after, .. } => {
                self.ended(world, *attempt, placement, *end, after);
            }
            Change::FreshCancelled { group, from, to } => {
                self.fresh_cancelled(world, *group, *from, *to);
            }
            Change::RetryCancelled { task } => self.retry_cancelled(world, *task),
            Change::TaskRetried { task, entry } => self.task_retried(world, *task, entry),
            Change::JobSettled { job, status, .. } => self.job_settled(world, *job, *status),
            Change::JobSubmitted { job, taken_in: true, .. }
            | Change::JobTakenIn { job, .. }
            | Change::JobRetried { job, .. } => self.taken_in(world, *job),
            Change::Node(node) => self.node(world, node),
            Change::Intent(intent) => self.intent(world, intent),
            Change::Ledger(row) => self.ledger(world, row),
            Change::Placed { .. }
            | Change::JobSubmitted { .. }
            | Change::JobPatched { .. }
            | Change::JobStopping { .. }
            | Change::Due { .. }
            | Change::NoticeKept(_)
            | Change::NoticeDone { .. }
            | Change::InboxDone { .. } => {}
        }
    }

    /// What was found, with what is wrong when the step is over: a node whose deadline has passed
    /// has nothing any more, held attempts included.
    pub(crate) fn close(mut self, world: &World, now: model::Timestamp) -> Vec<Violation> {
        for id in &world.index.leaving {
            let Some(node) = world.durable.nodes.get(id) else { continue };
            let late = |deadline: &model::Timestamp| now.since(*deadline) > REQUEUE_MS;
            let Some(deadline) = node.deadline.filter(late) else { continue };
            let Some(load) = world.index.loads.get(id) else { continue };
            if let Some(first) = load.tasks.first().or_else(|| load.held.first()) {
                let count = load.tasks.len() + load.held.len();
                self.broken(
                    Invariant::RequeuedInTime,
                    format_args!(
                        "{id} had to go at {deadline}, and has {count} tasks, {first} the first"
                    ),
                );
            }
        }
        self.found
    }

    /// A job that comes to World takes the place of one that is there, with all its tasks.
    fn taken_in(&mut self, world: &World, id: JobId) {
        if let Some(job) = world.durable.jobs.get(&id) {
            let unsettled = job.unsettled();
            self.broken(
                Invariant::AcceptedIsDurable,
                format_args!("{id} is taken in, and is here with {unsettled} unsettled tasks"),
            );
        }
    }

    #[cold]
    pub(super) fn broken(&mut self, invariant: Invariant, words: fmt::Arguments<'_>) {
        self.found.push(Violation { invariant, words: words.to_string() });
    }
}
