//! What comes after what: groups after groups of their job, jobs after jobs.
//!
//! Which jobs are settled is observed, for World forgets them. With nothing observed a job that
//! comes after others waits: right, only later.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::{Group, GroupId, Job, JobId, JobStatus, World};

impl Group {
    /// Whether each of its tasks has succeeded.
    pub fn has_succeeded(&self) -> bool {
        self.fresh.is_empty() && self.tasks.is_empty() && self.cancelled.is_empty()
    }

    /// Whether it is over, and not each of its tasks has succeeded.
    pub fn is_lost(&self) -> bool {
        self.unsettled() == 0 && !self.has_succeeded()
    }
}

impl Job {
    /// Whether a task of it has been on a node and was not cancelled since. Then the jobs that it
    /// comes after had succeeded, and are not asked for again: neither when one of them is retried,
    /// nor when this one is.
    pub fn has_begun(&self) -> bool {
        self.groups.iter().any(|group| !group.tasks.is_empty() || !group.succeeded.is_empty())
    }

    /// Groups of this job that a group waits for.
    pub fn awaited_groups(&self, group: u16) -> impl Iterator<Item = u16> + '_ {
        let after = self.spec.groups.get(usize::from(group)).map(|spec| &spec.after);
        let waits = |other: &u16| {
            self.groups.get(usize::from(*other)).is_some_and(|other| !other.has_succeeded())
        };
        after.into_iter().flatten().copied().filter(waits)
    }

    /// Groups that cannot run any more, for one that they come after is lost.
    pub fn doomed_groups(&self) -> Vec<u16> {
        let lost = |other: u16| self.groups.get(usize::from(other)).is_some_and(Group::is_lost);
        ordinals(self.groups.len())
            .filter(|ordinal| {
                self.spec.groups.get(usize::from(*ordinal)).is_some_and(|spec| {
                    !spec.after.is_empty()
                        && spec.after.iter().any(|other| lost(*other))
                        && self.groups[usize::from(*ordinal)].unsettled() > 0
                })
            })
            .collect()
    }
}

/// The ordinals of so many groups.
pub(crate) fn ordinals(groups: usize) -> impl Iterator<Item = u16> {
    (0..groups).filter_map(|ordinal| u16::try_from(ordinal).ok())
}

impl World {
    /// Whether a group waits for other groups or jobs.
    pub fn is_blocked(&self, id: GroupId) -> bool {
        let Some(job) = self.durable.jobs.get(&id.job) else { return false };
        self.index.blocked.contains(&id.job) || job.awaited_groups(id.group).next().is_some()
    }

    /// Jobs that a job waits for.
    pub fn awaited_jobs(&self, id: JobId) -> impl Iterator<Item = JobId> + '_ {
        let job = self.durable.jobs.get(&id).filter(|job| !job.has_begun());
        let succeeded =
            |other: &JobId| self.observed.settled.get(other) == Some(&JobStatus::Succeeded);
        let after = job.map(|job| job.spec.after.iter()).into_iter().flatten();
        after.copied().filter(move |other| !succeeded(other))
    }

    /// Jobs in World that come after this one.
    pub fn dependents(&self, id: JobId) -> Vec<JobId> {
        let all = (id, JobId::from_number(0))..=(id, JobId::from_number(u64::MAX));
        self.index.after.range(all).map(|(_, dependent)| *dependent).collect()
    }

    /// A job that others may come after is settled.
    pub fn observe_settled(&mut self, id: JobId, status: JobStatus) {
        let dependents = self.dependents(id);
        if dependents.is_empty() || self.durable.jobs.contains_key(&id) {
            return;
        }
        self.observed.settled.insert(id, status);
        self.observed.unknown.remove(&id);
        for dependent in dependents {
            self.requeue_job(dependent);
        }
    }

    /// A job has come into World: what it comes after is asked for, and what comes after it waits.
    pub(crate) fn enter_after(&mut self, id: JobId) {
        let Some(job) = self.durable.jobs.get(&id) else { return };
        for other in &job.spec.after {
            self.index.after.insert((*other, id));
            let is_known =
                self.observed.settled.contains_key(other) || self.durable.jobs.contains_key(other);
            if !is_known {
                self.observed.unknown.insert(*other);
            }
        }
        self.observed.unknown.remove(&id);
        if self.observed.settled.remove(&id).is_some() {
            for dependent in self.dependents(id) {
                self.requeue_job(dependent);
            }
        }
    }

    /// A job does not come after these any more: what nobody asks for is forgotten.
    pub(crate) fn leave_after(&mut self, id: JobId, after: &BTreeSet<JobId>) {
        self.index.blocked.remove(&id);
        for other in after {
            self.index.after.remove(&(*other, id));
            if self.dependents(*other).is_empty() {
                self.observed.settled.remove(other);
                self.observed.unknown.remove(other);
            }
        }
    }

    /// Enters a job's groups into the queue, or takes them out, as they stand.
    pub(crate) fn requeue_job(&mut self, id: JobId) {
        let Some(job) = self.durable.jobs.get(&id) else { return };
        let groups = job.groups.len();
        if self.awaited_jobs(id).next().is_some() {
            self.index.blocked.insert(id);
        } else {
            self.index.blocked.remove(&id);
        }
        for group in ordinals(groups) {
            self.requeue_group(GroupId { job: id, group });
        }
    }

    pub(crate) fn requeue_group(&mut self, id: GroupId) {
        let Some(job) = self.durable.jobs.get(&id.job) else { return };
        let Some(group) = job.groups.get(usize::from(id.group)) else { return };
        let key = (Reverse(job.spec.priority), id.job, id.group);
        let Some(need) = job.spec.groups.get(usize::from(id.group)).map(|spec| spec.resources)
        else {
            return;
        };
        if group.placeable() > 0 && !self.is_blocked(id) {
            self.index.queue.insert(key, need);
        } else {
            self.index.queue.remove(&key, &need);
        }
    }

    /// A group has succeeded: those that come after it may be next.
    pub(crate) fn requeue_followers(&mut self, id: GroupId) {
        let Some(job) = self.durable.jobs.get(&id.job) else { return };
        let follows = |ordinal: &u16| {
            let spec = job.spec.groups.get(usize::from(*ordinal));
            spec.is_some_and(|spec| spec.after.contains(&id.group))
        };
        let followers: Vec<u16> = ordinals(job.groups.len()).filter(follows).collect();
        for group in followers {
            self.requeue_group(GroupId { job: id.job, group });
        }
    }
}
