//! What the tables know of jobs that World has forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::RetriedJob;
use model::{
    After, Change, GroupId, JobId, JobSpec, JobStatus, RetriedGroup, SettledGroup, Task, TaskEvent,
    TaskId, TaskState, Timestamp,
};

/// Rows of jobs and of failed tasks.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    specs: BTreeMap<JobId, (Arc<JobSpec>, Timestamp)>,
    settled: BTreeMap<JobId, (JobStatus, Vec<SettledGroup>)>,
    failed: BTreeMap<TaskId, Task>,
}

impl Tables {
    /// A submit was posted.
    pub(super) fn submitted(&mut self, job: JobId, spec: &Arc<JobSpec>) {
        self.specs.insert(job, (spec.clone(), crate::timestamp(0)));
    }

    pub(super) fn keep(&mut self, change: &Change) {
        match change {
            Change::JobSubmitted { job, spec, at, .. } => {
                self.specs.insert(*job, (spec.clone(), *at));
            }
            Change::JobPatched { job, spec: Some(spec), .. } => {
                if let Some((kept, _)) = self.specs.get_mut(job) {
                    *kept = spec.clone();
                }
            }
            Change::JobSettled { job, status, groups, .. } => {
                self.settled.insert(*job, (*status, groups.clone()));
            }
            Change::JobRetried { job, groups, .. } => {
                self.settled.remove(job);
                for (group, of) in (0u16..).zip(groups) {
                    let ready = of.tasks.iter().filter(|(_, task)| task.state == TaskState::Ready);
                    for (index, _) in ready {
                        self.failed.remove(&TaskId { job: *job, group, index: *index });
                    }
                }
            }
            Change::TaskRetried { task, .. } => {
                self.failed.remove(task);
            }
            Change::Ended { attempt, after: After::Keep(task), .. }
                if matches!(task.state, TaskState::Failed(_)) =>
            {
                self.failed.insert(attempt.task, *task);
            }
            _ => {}
        }
    }

    /// How a job is settled, if it is.
    pub(crate) fn status(&self, id: JobId) -> Option<JobStatus> {
        self.settled.get(&id).map(|(status, _)| *status)
    }

    /// What was asked.
    pub(crate) fn spec(&self, id: JobId) -> Option<&Arc<JobSpec>> {
        self.specs.get(&id).map(|(spec, _)| spec)
    }

    /// A settled job with failed tasks, as it comes back.
    pub(crate) fn retried(&self, id: JobId) -> Option<RetriedJob> {
        let (_, kept) = self.settled.get(&id)?;
        let (spec, submitted) = self.specs.get(&id)?.clone();
        let mut again = 0;
        let mut groups = Vec::new();
        for (group, kept) in (0u16..).zip(kept) {
            let (succeeded, cancelled) = (kept.succeeded.clone(), kept.cancelled.clone());
            let mut out = RetriedGroup { succeeded, cancelled, ..RetriedGroup::default() };
            let restart = &spec.groups.get(usize::from(group))?.restart;
            let id = GroupId { job: id, group };
            let task = |index| TaskId { job: id.job, group, index };
            for (of, entry) in self.failed.range(task(0)..=task(u32::MAX)) {
                let next = entry.on(TaskEvent::Retry, restart, submitted).map(|step| step.after);
                if let Some(After::Keep(next)) = next {
                    again += 1;
                    out.tasks.insert(of.index, next);
                }
            }
            groups.push(out);
        }
        (again > 0).then_some(RetriedJob { spec, submitted, groups })
    }
}
