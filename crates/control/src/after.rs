//! What comes after a lost group or job is cancelled with it (DESIGN §6: both need success).

use model::{Cause, GroupId, JobId, JobStatus};

use crate::step::Step;
use crate::{Reply, jobs};

/// Jobs that others come after are settled, as their rows say: the answer to
/// [`Decision::lookup`](crate::Decision).
pub(crate) fn settled(step: &mut Step<'_>, settled: Vec<(JobId, JobStatus)>) -> Reply {
    for (id, status) in settled {
        // What World knows by now is younger than what was read.
        if status.is_settled() && step.world.observed.unknown.contains(&id) {
            step.world.observe_settled(id, status);
            for dependent in step.world.dependents(id) {
                heed(step, dependent);
            }
        }
    }
    Reply::Done
}

/// Stops a job that has not begun when one that it comes after did not succeed.
pub(crate) fn heed(step: &mut Step<'_>, id: JobId) {
    let Some(job) = step.world.durable.jobs.get(&id) else { return };
    if job.stopping.is_some() {
        return;
    }
    let known = &step.world.observed.settled;
    let lost = step.world.awaited_jobs(id).find_map(|other| Some((other, *known.get(&other)?)));
    if let Some((other, status)) = lost {
        step.note(id, format!("cancelled: it comes after {other}, which is settled: {status}"));
        jobs::stop(step, id, Cause::Dependency);
    }
}

/// Cancels groups of a job that come after a lost one, and so on down the line.
pub(crate) fn cancel_doomed(step: &mut Step<'_>, id: JobId) {
    loop {
        let Some(job) = step.world.durable.jobs.get(&id) else { return };
        let doomed = job.doomed_groups();
        if doomed.is_empty() {
            return;
        }
        for group in doomed {
            step.note(id, format!("group {group} is cancelled: one that it comes after is lost"));
            jobs::stop_group(step, GroupId { job: id, group });
        }
    }
}
