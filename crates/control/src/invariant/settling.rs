//! Attempts that end, and tasks and jobs that are settled or run again.

use model::{
    After, AttemptEnd, AttemptId, Cause, GroupId, JobId, JobStatus, Placement, Task, TaskId,
    TaskState, World,
};

use super::Invariant::{InterruptionIsFree, NeverTwiceAtOnce, SettledOnce, StaleChangesNothing};
use super::checks::Checks;

impl Checks {
    /// The attempt is the valid one; its number stays, and what is nobody's fault spends nothing.
    pub(super) fn ended(
        &mut self,
        world: &World,
        attempt: AttemptId,
        placement: &Placement,
        end: AttemptEnd,
        after: &After,
    ) {
        let Some(before) = self.current(world, attempt, Some(placement.node), "ended") else {
            return;
        };
        if let After::Keep(task) = after
            && task.attempt != attempt.attempt
        {
            let words = format_args!("{attempt} ended, and its number becomes {}", task.attempt);
            self.broken(StaleChangesNothing, words);
        }
        if matches!(end, AttemptEnd::Interrupted | AttemptEnd::NodeLost | AttemptEnd::Returned) {
            self.nobodys_fault(attempt, before, end, after);
        }
    }

    /// Only the third node that was lost without a reason fails a task.
    fn nobodys_fault(&mut self, attempt: AttemptId, before: &Task, end: AttemptEnd, after: &After) {
        let end = end.as_str();
        let After::Keep(task) = after else {
            let words = format_args!("{attempt} is {end}, and that settles it: {after:?}");
            return self.broken(InterruptionIsFree, words);
        };
        let (was, is) = (before.counters, task.counters);
        if (was.failed, was.timed_out) != (is.failed, is.timed_out) {
            let words = format_args!(
                "{attempt} is {end}: failed {} and timed out {} become {} and {}",
                was.failed, was.timed_out, is.failed, is.timed_out
            );
            self.broken(InterruptionIsFree, words);
        }
        if let TaskState::Failed(cause) = task.state
            && (cause != Cause::Poison || was.node_lost == is.node_lost)
        {
            let words = format_args!("{attempt} is {end}, and fails its task by {cause:?}");
            self.broken(InterruptionIsFree, words);
        }
    }

    /// None of them was placed or settled.
    pub(super) fn fresh_cancelled(&mut self, world: &World, id: GroupId, from: u32, to: u32) {
        let Some(group) = world.group(id) else {
            let words = format_args!("{id} loses {from}..{to}, and World has no such group");
            return self.broken(StaleChangesNothing, words);
        };
        let entry = || group.tasks.range(from..to.max(from)).next().map(|(index, _)| *index);
        let settled =
            group.succeeded.first_in(from, to).or_else(|| group.cancelled.first_in(from, to));
        if let Some(index) = settled.or_else(entry) {
            let task = TaskId { job: id.job, group: id.group, index };
            let words = format_args!(
                "{task} is cancelled with {from}..{to} as never placed, and was placed or settled"
            );
            self.broken(SettledOnce, words);
        }
    }

    /// It waits between two attempts.
    pub(super) fn retry_cancelled(&mut self, world: &World, id: TaskId) {
        match world.task(id).map(|entry| (entry.state, entry.attempt)) {
            Some((TaskState::Ready | TaskState::Backoff { .. }, _)) => {}
            Some((TaskState::Placed(at), number)) => {
                let (attempt, node) = (id.attempt(number), at.node);
                let words = format_args!("{attempt} is on {node}, and its task is cancelled");
                self.broken(SettledOnce, words);
            }
            Some((TaskState::Failed(_), _)) | None => self.absent(world, id, "is cancelled"),
        }
    }

    /// Only a failed task is asked for again, and its numbers go on.
    pub(super) fn task_retried(&mut self, world: &World, id: TaskId, entry: &Task) {
        let Some(before) = world.task(id) else {
            return self.absent(world, id, "is to run again");
        };
        if let TaskState::Placed(at) = before.state {
            let words = format_args!("{id} is to run again, and is on {}", at.node);
            self.broken(NeverTwiceAtOnce, words);
        }
        if entry.attempt < before.attempt {
            let (was, is) = (before.attempt, entry.attempt);
            let words = format_args!("{id} is to run again, and its number {was} becomes {is}");
            self.broken(StaleChangesNothing, words);
        }
    }

    /// It is here, and none of its tasks will run again.
    pub(super) fn job_settled(&mut self, world: &World, id: JobId, status: JobStatus) {
        match world.durable.jobs.get(&id).map(model::Job::unsettled) {
            Some(0) => {}
            Some(unsettled) => {
                let words = format_args!("{id} is {status} with {unsettled} unsettled tasks");
                self.broken(SettledOnce, words);
            }
            None => {
                let words = format_args!("{id} is {status}, and was settled or never taken in");
                self.broken(SettledOnce, words);
            }
        }
    }
}
