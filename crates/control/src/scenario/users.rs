//! What users do to jobs that are there: patches, retries; and what the tables would know of jobs
//! that World has forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    After, Change, Counters, JobId, JobSpec, JobStatus, RetriedGroup, SettledGroup, Task,
    TaskEvent, TaskId, TaskState, Timestamp,
};
use rand::RngExt;
use serde_json::json;

use super::Scenario;
use crate::{Input, RetriedJob};

/// What the tables keep of jobs.
#[derive(Default)]
pub(super) struct Tables {
    /// Specs and times of all jobs.
    specs: BTreeMap<JobId, (Arc<JobSpec>, Timestamp)>,
    settled: BTreeMap<JobId, (JobStatus, Vec<SettledGroup>)>,
    failed: BTreeMap<TaskId, Task>,
    attempts: BTreeMap<TaskId, u32>,
}

impl Tables {
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
                for (group, index) in indices(groups) {
                    self.failed.remove(&TaskId { job: *job, group, index });
                }
            }
            Change::TaskRetried { task, .. } => {
                self.failed.remove(task);
            }
            Change::Placed { attempt, .. } => {
                self.attempts.insert(attempt.task, attempt.attempt);
            }
            Change::Ended { attempt, after: After::Keep(task), .. }
                if matches!(task.state, TaskState::Failed(_)) =>
            {
                self.failed.insert(attempt.task, *task);
            }
            _ => {}
        }
    }

    pub(super) fn status(&self, id: JobId) -> Option<JobStatus> {
        self.settled.get(&id).map(|(status, _)| *status)
    }

    pub(super) fn spec(&self, id: JobId) -> Option<&Arc<JobSpec>> {
        self.specs.get(&id).map(|(spec, _)| spec)
    }

    /// A settled job as it would come back.
    fn retried(&self, id: JobId, failed: bool, cancelled: bool) -> Option<RetriedJob> {
        let (_, kept) = self.settled.get(&id)?;
        let (spec, submitted) = self.specs.get(&id)?.clone();
        let group = |(group, kept): (u16, &SettledGroup)| {
            let mut out = RetriedGroup {
                succeeded: kept.succeeded.clone(),
                cancelled: kept.cancelled.clone(),
                ..RetriedGroup::default()
            };
            let task = |index| TaskId { job: id, group, index };
            let restart = &spec.groups[usize::from(group)].restart;
            for (of, entry) in self.failed.range(task(0)..=task(u32::MAX)) {
                let again = entry.on(TaskEvent::Retry, restart, submitted).map(|step| step.after);
                let entry = match again {
                    Some(After::Keep(again)) if failed => again,
                    _ => *entry,
                };
                out.tasks.insert(of.index, entry);
            }
            if cancelled {
                let freed = std::mem::take(&mut out.cancelled);
                for index in freed.iter() {
                    if let Some(attempt) = self.attempts.get(&task(index)).copied() {
                        let (state, counters) = (TaskState::Ready, Counters::default());
                        out.tasks.insert(index, Task { state, attempt, counters });
                    }
                }
            }
            out
        };
        let groups = (0u16..).zip(kept).map(group).collect();
        Some(RetriedJob { spec: spec.clone(), submitted, groups })
    }
}

fn indices(groups: &[RetriedGroup]) -> impl Iterator<Item = (u16, u32)> + '_ {
    let ready = |task: &Task| matches!(task.state, TaskState::Ready);
    (0u16..).zip(groups).flat_map(move |(group, of)| {
        let tasks = of.tasks.iter().filter(move |(_, task)| ready(task));
        tasks.map(move |(index, _)| (group, *index))
    })
}

impl Scenario {
    /// What whoever sees the rows would answer to [`Decision::lookup`](crate::Decision).
    pub(super) fn dependencies(&mut self) -> Option<Input> {
        let wanted = self.world.observed.unknown.iter();
        let settled: Vec<_> =
            wanted.filter_map(|job| Some((*job, self.tables.status(*job)?))).collect();
        (!settled.is_empty()).then_some(Input::DependenciesSettled(settled))
    }

    pub(super) fn patch(&mut self) -> Option<Input> {
        let waits = self.backlog.first().map(|job| job.id);
        let job = if self.rng.random_ratio(1, 3) { waits? } else { self.some_job()? };
        let spec = self.tables.spec(job)?.clone();
        let mut document = serde_json::Map::new();
        for field in ["priority", "max_running", "on_task_failure", "labels", "name", "after"] {
            if self.rng.random_ratio(2, 3) {
                continue;
            }
            let value = match field {
                _ if self.rng.random_ratio(1, 4) => serde_json::Value::Null,
                "priority" => self.rng.random_range(-2..3).into(),
                "max_running" => self.rng.random_range(1..5).into(),
                "on_task_failure" => "stop".into(),
                "labels" => json!({"round": self.jobs.to_string()}),
                "name" => format!("patched {}", self.jobs).into(),
                _ => json!(earlier(&mut self.rng, job.number())),
            };
            document.insert(field.to_owned(), value);
        }
        let patch = spec.merge_patch(&document.into());
        let patch = patch.unwrap_or_else(|faults| unreachable!("{faults:?}"));
        let spec = Arc::new(spec.patched(&patch));
        Some(Input::PatchJob { job, patch: Box::new(patch), spec })
    }

    pub(super) fn retry(&mut self) -> Option<Input> {
        let here = self.world.durable.jobs.iter();
        let failed = here
            .filter(|(_, job)| job.groups.iter().any(|group| group.failed > 0))
            .map(|(id, _)| *id);
        let failed: Vec<JobId> = failed.collect();
        if !failed.is_empty() && self.rng.random_ratio(1, 2) {
            let job = failed[self.rng.random_range(0..failed.len())];
            return Some(Input::RetryJob { job, settled: None });
        }
        let unsuccessful: Vec<JobId> = self
            .tables
            .settled
            .iter()
            .filter(|(_, (status, _))| *status != JobStatus::Succeeded)
            .map(|(id, _)| *id)
            .collect();
        if unsuccessful.is_empty() {
            return None;
        }
        let job = unsuccessful[self.rng.random_range(0..unsuccessful.len())];
        let which = self.rng.random_range(1..4);
        let settled = self.tables.retried(job, which & 1 > 0, which & 2 > 0)?;
        Some(Input::RetryJob { job, settled: Some(Box::new(settled)) })
    }
}

/// Up to two earlier jobs: never a cycle.
pub(super) fn earlier(rng: &mut rand_chacha::ChaCha8Rng, number: u64) -> Vec<String> {
    let jobs = rng.random_range(1..3);
    let one =
        |_| JobId::from_number(rng.random_range(number.saturating_sub(6)..number)).to_string();
    (0..jobs).map(one).collect()
}
