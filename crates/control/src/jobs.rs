//! Intake, stop and settlement of jobs.

use std::sync::Arc;

use model::{
    Cause, Change, GroupId, JobId, JobPatch, JobSpec, OnTaskFailure, TaskEvent, TaskId, TaskState,
    World,
};

use crate::step::Step;
use crate::{BacklogJob, Config, Reply, after, deadline};

/// Takes a job in, or lets it wait in its table when World is full or others wait already.
pub(crate) fn submit(step: &mut Step<'_>, job: JobId, spec: Arc<JobSpec>) -> Reply {
    if step.world.durable.jobs.contains_key(&job) {
        return Reply::Done;
    }
    let (running, blocked) = counts(step.world);
    let most = step.config.max_jobs;
    let has_room = running < most && (spec.after.is_empty() || blocked < most);
    let taken_in = step.world.durable.backlog.jobs == 0 && has_room;
    step.emit(Change::JobSubmitted { job, spec, at: step.now, taken_in });
    step.stale_nets.insert(job);
    after::heed(step, job);
    Reply::Done
}

/// Jobs that may run, and jobs that wait for others. These count apart: what they wait for must
/// find room, however many they are.
fn counts(world: &World) -> (usize, usize) {
    let blocked = world.index.blocked.len();
    (world.durable.jobs.len().saturating_sub(blocked), blocked)
}

/// Changes what may be changed of a job.
pub(crate) fn patch(
    step: &mut Step<'_>,
    id: JobId,
    patch: Box<JobPatch>,
    spec: Arc<JobSpec>,
) -> Reply {
    if let Some(job) = step.world.durable.jobs.get(&id)
        && patch.after.as_ref().is_some_and(|after| *after != job.spec.after)
        && job.has_begun()
    {
        let why = format!("{id} has begun: what it comes after does not matter any more");
        return Reply::Refused(why);
    }
    step.emit(Change::JobPatched { job: id, patch, spec: Some(spec) });
    step.touched_jobs.insert(id);
    step.stale_nets.insert(id);
    after::heed(step, id);
    Reply::Done
}

/// Takes jobs of the backlog in; of one that was changed since it was read, what is known of it.
pub(crate) fn take_in(step: &mut Step<'_>, jobs: Vec<BacklogJob>) -> Reply {
    for BacklogJob { id, spec, submitted } in jobs {
        if !step.world.durable.jobs.contains_key(&id) {
            let spec = step.world.observed.patched.get(&id).cloned().unwrap_or(spec);
            step.emit(Change::JobTakenIn { job: id, spec, submitted });
            step.stale_nets.insert(id);
            after::heed(step, id);
        }
    }
    Reply::Done
}

/// How many jobs of the backlog there is room for; asked only when half is free, so that the
/// table is read in large pieces.
pub(crate) fn room_for_backlog(world: &World, config: &Config) -> u32 {
    let (running, blocked) = counts(world);
    if world.durable.backlog.jobs == 0 || running * 2 > config.max_jobs {
        return 0;
    }
    // What is handed over comes after settled jobs only, but World has yet to look these up.
    let most = config.max_jobs.saturating_mul(MOST_IN_WORLD).saturating_sub(running + blocked);
    u32::try_from(most.min(config.max_jobs - running)).unwrap_or(u32::MAX)
}

/// Times `max_jobs`: those that may run, as many that were submitted to wait for others, and two
/// rounds of intake that are being looked up.
const MOST_IN_WORLD: usize = 4;

/// Ends a job early: what was never placed is cancelled at once, what runs is told to stop.
pub(crate) fn stop(step: &mut Step<'_>, id: JobId, cause: Cause) -> Reply {
    let Some(job) = step.world.durable.jobs.get(&id) else { return Reply::NotFound };
    if job.stopping.is_some() {
        return Reply::Done;
    }
    step.emit(Change::JobStopping { job: id, cause });
    step.touched_jobs.insert(id);
    let groups = step.world.durable.jobs.get(&id).map_or(0, |job| job.groups.len());
    for ordinal in 0..groups {
        stop_group(step, GroupId { job: id, group: u16::try_from(ordinal).unwrap_or(u16::MAX) });
    }
    Reply::Done
}

pub(crate) fn stop_group(step: &mut Step<'_>, id: GroupId) {
    let Some(group) = step.world.group(id) else { return };
    let spans: Vec<_> = group.fresh.spans().collect();
    let entries: Vec<u32> = group.tasks.keys().copied().collect();
    for (from, to) in spans {
        step.emit(Change::FreshCancelled { group: id, from, to });
    }
    for index in entries {
        stop_entry(step, TaskId { job: id.job, group: id.group, index });
    }
}

/// Ends one task early.
pub(crate) fn stop_task(step: &mut Step<'_>, id: TaskId) -> Reply {
    let Some(group) = step.world.group(id.group_id()) else { return Reply::NotFound };
    if group.fresh.contains(id.index) {
        let (group, from) = (id.group_id(), id.index);
        step.emit(Change::FreshCancelled { group, from, to: from + 1 });
        step.touched_jobs.insert(id.job);
    } else if group.tasks.contains_key(&id.index) {
        stop_entry(step, id);
    } else if !group.succeeded.contains(id.index) && !group.cancelled.contains(id.index) {
        return Reply::NotFound;
    }
    Reply::Done
}

fn stop_entry(step: &mut Step<'_>, id: TaskId) {
    let Some(task) = step.world.task(id).copied() else { return };
    if step.task_event(id, TaskEvent::Stop, None)
        && let TaskState::Placed(placement) = task.state
    {
        step.tell(placement.node).cancel.push(id.attempt(task.attempt));
    }
}

/// Settles the jobs that this step has emptied; a failed task first stops its siblings where the
/// job says so, and what comes after a lost group or job is cancelled with it.
pub(crate) fn settle_touched(step: &mut Step<'_>) {
    while let Some(id) = step.touched_jobs.pop_first() {
        let Some(job) = step.world.durable.jobs.get(&id) else { continue };
        let failed = job.groups.iter().any(|group| group.failed > 0);
        if failed && job.stopping.is_none() && job.spec.on_task_failure == OnTaskFailure::Stop {
            stop(step, id, Cause::SiblingFailed);
            continue;
        }
        after::cancel_doomed(step, id);
        let Some(job) = step.world.durable.jobs.get(&id) else { continue };
        if let Some(status) = job.settles_as() {
            let (at, groups) = (step.now, job.settled_groups());
            step.note(id, format!("settled: {status}"));
            step.emit(Change::JobSettled { job: id, status, at, groups });
            deadline::forget(step.world, id);
            for dependent in step.world.dependents(id) {
                after::heed(step, dependent);
            }
        }
    }
}
