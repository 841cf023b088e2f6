//! Jobs, and which of the explanations a task gets.

use model::{Cause, GroupId, Job, JobId, TaskId, TaskState, Timestamp, World};

use super::placed::placed;
use super::waiting::Waiting;
use super::{Explanation, cause_words, counted, plain, span, tasks, until};
use crate::Config;

/// Why a task waits, runs where it runs, or is settled; `None` when World does not have it.
pub fn explain_task(
    world: &World,
    config: &Config,
    id: TaskId,
    now: Timestamp,
) -> Option<Explanation> {
    let job = world.durable.jobs.get(&id.job)?;
    let group = world.group(id.group_id())?;
    let waiting = || Waiting::of(world, config, id, now).map(|waiting| waiting.explain());
    let task = match group.tasks.get(&id.index) {
        None if group.succeeded.contains(id.index) => return Some(plain("has succeeded")),
        None if group.cancelled.contains(id.index) => {
            let why = cause_words(cancel_cause(job, id.group));
            return Some(plain(format!("was cancelled: {why}")));
        }
        None if group.fresh.contains(id.index) => return waiting(),
        None => return None,
        Some(task) => task,
    };
    let spec = world.group_spec(id.group_id())?;
    let spent = u64::from(task.counters.failed) + u64::from(task.counters.timed_out);
    match task.state {
        TaskState::Ready => waiting(),
        TaskState::Backoff { until: at } => {
            let most = spec.restart.max_failures;
            let detail = format!(
                "attempt {} failed; {} of its own so far, and it is tried again after up to {most}",
                task.attempt,
                counted(spent, "failure"),
            );
            let summary = format!("waits {} to be tried again", until(at, now));
            Some(Explanation { summary, details: vec![detail] })
        }
        TaskState::Failed(cause) => {
            let detail = format!(
                "it was tried {}; {} of its own, {} and {} by nobody's fault",
                counted(u64::from(task.attempt), "time"),
                counted(spent, "failure"),
                counted(u64::from(task.counters.interrupted), "interruption"),
                counted(u64::from(task.counters.node_lost), "lost machine"),
            );
            let again = "`ebb retry` lets it run again".to_owned();
            let summary = format!("has failed: {}", cause_words(cause));
            Some(Explanation { summary, details: vec![detail, again] })
        }
        TaskState::Placed(at) => Some(placed(world, config, id, &at, now)),
    }
}

/// Why tasks of a group were cancelled.
fn cancel_cause(job: &Job, group: u16) -> Cause {
    let lost = job.awaited_groups(group).any(|other| job.groups[usize::from(other)].is_lost());
    match job.stopping {
        Some(cause) => cause,
        None if lost => Cause::Dependency,
        None => Cause::Stopped,
    }
}

/// Where a job's tasks stand, and what the first waiting one of each group waits for.
pub fn explain_job(
    world: &World,
    config: &Config,
    id: JobId,
    now: Timestamp,
) -> Option<Explanation> {
    let job = world.durable.jobs.get(&id)?;
    let placed = u64::from(world.index.placed.get(&id).copied().unwrap_or(0));
    let unsettled = job.unsettled();
    let mut details = Vec::new();
    details
        .extend(job.stopping.map(|cause| format!("it is being stopped: {}", cause_words(cause))));
    let failed: u64 = job.groups.iter().map(|group| u64::from(group.failed)).sum();
    if failed > 0 {
        details.push(format!("failed for good so far: {}", tasks(failed)));
    }
    for (group, of) in (0u16..).zip(&job.groups) {
        let first = of.ready.first().copied().or_else(|| of.fresh.first());
        let Some(index) = first else { continue };
        let task = TaskId { job: id, group, index };
        let why = Waiting::of(world, config, task, now)?.explain();
        let name = name_of(world, task.group_id());
        let waiting = tasks(of.placeable().into());
        details.push(format!("group {name}: {waiting} to be placed; {task} {}", why.summary));
        // Groups that wait for the same say it once.
        let new: Vec<String> =
            why.details.into_iter().filter(|detail| !details.contains(detail)).collect();
        details.extend(new);
    }
    details.extend(next_attempt(world, id, now));
    let summary = match (job.spec.tasks(), unsettled - placed.min(unsettled)) {
        (1, 0) => "has its task on a node".to_owned(),
        (1, _) => "has a task that waits".to_owned(),
        (all, waiting) => format!(
            "has {}: {} settled, {placed} on nodes, {waiting} to be placed",
            tasks(all),
            all - unsettled.min(all),
        ),
    };
    Some(Explanation { summary, details })
}

/// Tasks that wait for their next attempt.
fn next_attempt(world: &World, id: JobId, now: Timestamp) -> Option<String> {
    let of_job = world.index.backoffs.iter().filter(|(_, task)| task.job == id);
    let count = of_job.clone().count() as u64;
    let (at, _) = of_job.min()?;
    Some(format!(
        "failed, and to be tried again: {}, the first in {}",
        tasks(count),
        span(at.since(now))
    ))
}

/// A group's name in backquotes.
pub(super) fn name_of(world: &World, id: GroupId) -> String {
    world.group_spec(id).map_or_else(|| id.group.to_string(), |spec| format!("`{}`", spec.name))
}
