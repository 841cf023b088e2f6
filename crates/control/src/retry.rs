//! Tasks that did not succeed run again because a user says so.

use model::{
    Change, GroupSpec, IntervalSet, Job, JobId, RetriedGroup, TaskEvent, TaskId, TaskState,
};

use crate::step::Step;
use crate::{Reply, RetriedJob, after};

/// Lets failed tasks of an unsettled job run again, or a settled job come back.
pub(crate) fn retry(step: &mut Step<'_>, id: JobId, settled: Option<Box<RetriedJob>>) -> Reply {
    match (step.world.durable.jobs.get(&id), settled) {
        (Some(job), _) if job.stopping.is_some() => {
            Reply::Refused(format!("{id} is being stopped: retry it when it is settled"))
        }
        (Some(_), _) => retry_failed(step, id),
        (None, Some(settled)) => come_back(step, id, *settled),
        (None, None) => Reply::NotFound,
    }
}

fn retry_failed(step: &mut Step<'_>, id: JobId) -> Reply {
    let Some(job) = step.world.durable.jobs.get(&id) else { return Reply::NotFound };
    let failed: Vec<TaskId> = (0u16..)
        .zip(&job.groups)
        .flat_map(|(group, of)| {
            let failed = move |(index, task): (&u32, &model::Task)| {
                let failed = matches!(task.state, TaskState::Failed(_));
                failed.then_some(TaskId { job: id, group, index: *index })
            };
            of.tasks.iter().filter_map(failed)
        })
        .collect();
    let mut retried = 0;
    for task in failed {
        retried += u64::from(step.task_event(task, TaskEvent::Retry, None));
    }
    step.touched_jobs.insert(id);
    Reply::Retried(retried)
}

fn come_back(step: &mut Step<'_>, id: JobId, settled: RetriedJob) -> Reply {
    let RetriedJob { spec, submitted, mut groups } = settled;
    groups.resize(spec.groups.len(), RetriedGroup::default());
    free_followers(&spec.groups, &mut groups);
    let mut job = Job::retried(&spec, submitted, &groups);
    // What comes after a group that stays lost stays cancelled.
    loop {
        let doomed = job.doomed_groups();
        if doomed.is_empty() {
            break;
        }
        for ordinal in doomed.into_iter().map(usize::from) {
            give_up(&mut groups[ordinal], spec.groups[ordinal].count);
        }
        job = Job::retried(&spec, submitted, &groups);
    }
    let tasks = job.unsettled();
    if tasks > 0 {
        step.emit(Change::JobRetried { job: id, spec, submitted, groups });
        step.stale_nets.insert(id);
        step.touched_jobs.insert(id);
        after::heed(step, id);
    }
    Reply::Retried(tasks)
}

/// A group that was cancelled because one that it comes after was lost comes back with that one:
/// none of its tasks has ever been placed.
fn free_followers(specs: &[std::sync::Arc<GroupSpec>], groups: &mut [RetriedGroup]) {
    let can_succeed = |group: &RetriedGroup| {
        let failed = |task: &model::Task| matches!(task.state, TaskState::Failed(_));
        group.cancelled.is_empty() && !group.tasks.values().any(failed)
    };
    let has_succeeded = |group: &RetriedGroup, count: u32| group.succeeded.len() == count;
    loop {
        let mut freed = false;
        for (ordinal, spec) in specs.iter().enumerate() {
            if groups[ordinal].cancelled.is_empty() {
                continue;
            }
            let others = || spec.after.iter().map(|other| usize::from(*other));
            let waited = others().any(|other| !has_succeeded(&groups[other], specs[other].count));
            if waited && others().all(|other| can_succeed(&groups[other])) {
                groups[ordinal].cancelled = IntervalSet::default();
                freed = true;
            }
        }
        if !freed {
            return;
        }
    }
}

fn give_up(group: &mut RetriedGroup, count: u32) {
    group.tasks.retain(|_, task| matches!(task.state, TaskState::Failed(_)));
    let mut cancelled = IntervalSet::span(0, count);
    for (from, to) in group.succeeded.spans() {
        cancelled.remove(from, to);
    }
    for index in group.tasks.keys() {
        cancelled.remove(*index, index + 1);
    }
    group.cancelled = cancelled;
}
