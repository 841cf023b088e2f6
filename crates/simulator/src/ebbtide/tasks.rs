//! The workload as the cluster sees it, and as the simulator knows it: how far each task is.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    Constraints, Deadline, GroupSpec, IdMaker, JobId, JobSpec, OnTaskFailure, Purchase, Restart,
    TaskId,
};

use super::timestamp;
use crate::jobs::{JobWork, TaskKey};

/// How far a task is that was interrupted, or is done and not yet settled.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Work that need not be done again.
    pub(super) done_ms: u64,
    /// Where its checkpoint lies.
    pub(super) zone: Option<Arc<str>>,
    /// It is done. It may run again all the same: when its report comes too late.
    pub(super) finished: bool,
}

/// The workload.
#[derive(Debug)]
pub(super) struct Tasks {
    jobs: Vec<Arc<JobWork>>,
    ordinals: BTreeMap<JobId, u32>,
    progress: BTreeMap<TaskKey, Progress>,
    ids: IdMaker,
    command: Vec<String>,
    /// Tasks that are not done.
    pub(super) unfinished: u64,
}

impl Tasks {
    /// Nothing has arrived.
    pub(super) fn new(jobs: &[Arc<JobWork>]) -> Self {
        Self {
            jobs: jobs.to_vec(),
            ordinals: BTreeMap::new(),
            progress: BTreeMap::new(),
            ids: IdMaker::default(),
            command: vec!["work".to_owned()],
            unfinished: jobs.iter().map(|job| u64::from(job.count)).sum(),
        }
    }

    /// A job of the workload.
    pub(super) fn job(&self, ordinal: u32) -> Option<&Arc<JobWork>> {
        self.jobs.get(usize::try_from(ordinal).ok()?)
    }

    /// A job arrives: its id and what is submitted.
    pub(super) fn submit(&mut self, ordinal: u32, now_ms: u64) -> Option<(JobId, JobSpec)> {
        let job = self.job(ordinal)?.clone();
        let id = JobId::from_number(self.ids.next(timestamp(now_ms), 0));
        self.ordinals.insert(id, ordinal);
        Some((id, self.spec(&job)))
    }

    /// Spot until time runs out where there is a deadline; else spot, and on-demand where none is to
    /// be had.
    fn spec(&self, job: &JobWork) -> JobSpec {
        let purchase = match job.deadline_ms {
            Some(_) => Purchase::Spot,
            None => Purchase::SpotThenOnDemand,
        };
        let group = GroupSpec {
            name: job.id.clone(),
            count: job.count,
            after: Default::default(),
            items: Vec::new(),
            items_key: None,
            command: self.command.clone(),
            env: BTreeMap::new(),
            workdir: None,
            outputs: Vec::new(),
            resources: job.ask,
            restart: Restart::default(),
            timeout_ms: None,
            expect_ms: Some(job.work.changeover_ms.saturating_add(job.work.work_ms)),
            constraints: Constraints { purchase, ..Constraints::default() },
        };
        JobSpec {
            name: job.id.clone(),
            namespace: Default::default(),
            priority: 0,
            labels: BTreeMap::new(),
            on_task_failure: OnTaskFailure::Continue,
            max_running: None,
            deadline: job.deadline_ms.map(Deadline::AfterMs),
            after: Default::default(),
            groups: vec![Arc::new(group)],
        }
    }

    /// Whose a task is.
    pub(super) fn key(&self, id: TaskId) -> Option<(TaskKey, &Arc<JobWork>)> {
        let ordinal = *self.ordinals.get(&id.job)?;
        Some((TaskKey { job: ordinal, index: id.index }, self.job(ordinal)?))
    }

    /// How far a task is.
    pub(super) fn progress(&self, key: TaskKey) -> Progress {
        self.progress.get(&key).cloned().unwrap_or_default()
    }

    /// An attempt of it is over.
    pub(super) fn set_progress(&mut self, key: TaskKey, progress: Progress) {
        self.progress.insert(key, progress);
    }

    /// The leader knows that it is done.
    pub(super) fn settled(&mut self, id: TaskId) {
        if let Some((key, _)) = self.key(id) {
            self.progress.remove(&key);
        }
    }

    /// The leader has settled a job; reports of it may still come late, and mean nothing.
    pub(super) fn forget(&mut self, id: JobId) {
        self.ordinals.remove(&id);
    }
}
