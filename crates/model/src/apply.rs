//! What each [`Change`] does to [`World`].

use std::cmp::Reverse;
use std::sync::Arc;

use crate::after::ordinals;
use crate::{
    After, Change, GroupId, Intent, IntentState, Job, JobId, JobPatch, JobSpec, Node, NodeState,
    RetriedGroup, Task, TaskId, TaskState, Timestamp, World,
};

impl World {
    /// What the change does. A change about something that is not there does nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::JobSubmitted { job, spec, at, taken_in: true } => self.take_in(*job, spec, *at),
            Change::JobSubmitted { spec, taken_in: false, .. } => {
                self.durable.backlog.jobs += 1;
                for group in &spec.groups {
                    *self.durable.backlog.demand.entry(group.ask()).or_default() +=
                        u64::from(group.count);
                }
            }
            Change::JobTakenIn { job, spec, submitted } => {
                self.leave_backlog(spec);
                self.take_in(*job, spec, *submitted);
            }
            Change::JobPatched { job, patch, spec } => {
                self.patch_job(*job, patch, spec.as_ref());
            }
            Change::JobRetried { job, spec, submitted, groups } => {
                self.retry_job(*job, spec, *submitted, groups);
            }
            Change::TaskRetried { task, entry } => self.set_task(*task, After::Keep(*entry)),
            Change::JobStopping { job, cause } => {
                if let Some(job) = self.durable.jobs.get_mut(job) {
                    job.stopping = Some(*cause);
                }
            }
            Change::JobSettled { job, status, .. } => {
                self.forget_job(*job);
                self.observe_settled(*job, *status);
            }
            Change::Placed { attempt, task } | Change::Bound { attempt, task } => {
                self.set_task(attempt.task, After::Keep(*task));
            }
            Change::Ended { attempt, after, .. } => self.set_task(attempt.task, *after),
            Change::Due { task: id } => {
                if let Some(task) = self.task(*id).copied() {
                    self.set_task(*id, After::Keep(Task { state: TaskState::Ready, ..task }));
                }
            }
            Change::FreshCancelled { group: id, from, to } => {
                if let Some(group) = self.group_mut(*id) {
                    group.fresh.remove(*from, *to);
                    group.cancelled.insert(*from, *to);
                }
                self.requeue_group(*id);
            }
            Change::RetryCancelled { task } => self.set_task(*task, After::Cancelled),
            Change::Node(node) => self.set_node(node),
            Change::Intent(intent) => {
                if matches!(intent.state, IntentState::Closed(_)) {
                    self.durable.intents.remove(&intent.id);
                } else {
                    self.durable.intents.insert(intent.id, Intent::clone(intent));
                }
            }
            Change::NoticeKept(notice) => {
                let key = (notice.instance.clone(), notice.kind);
                self.durable.notices.insert(key, notice.clone());
            }
            Change::NoticeDone { instance, kind } => {
                self.durable.notices.remove(&(instance.clone(), *kind));
            }
            Change::Ledger(row) => {
                if let Some(node) = self.durable.nodes.get_mut(&row.node) {
                    node.booked += row.cost;
                }
            }
            Change::InboxDone { .. } => {}
        }
    }

    fn take_in(&mut self, id: JobId, spec: &Arc<JobSpec>, submitted: Timestamp) {
        self.observed.patched.remove(&id);
        self.durable.jobs.insert(id, Job::new(spec.clone(), submitted));
        self.enter_after(id);
        self.requeue_job(id);
    }

    /// One that waits in its table is not here: what is read of it from now on may be from before
    /// the patch, so its spec is remembered.
    fn patch_job(&mut self, id: JobId, patch: &JobPatch, spec: Option<&Arc<JobSpec>>) {
        let Some(job) = self.durable.jobs.get_mut(&id) else {
            self.observed.patched.extend(spec.map(|spec| (id, spec.clone())));
            return;
        };
        let before = job.spec.clone();
        job.spec = Arc::new(before.patched(patch));
        for (group, spec) in ordinals(job.groups.len()).zip(&before.groups) {
            let turn = (Reverse(before.priority), id, group);
            self.index.queue.remove(&turn, &spec.resources);
        }
        if let Some(after) = &patch.after {
            self.enter_after(id);
            self.leave_after(id, &(&before.after - after));
        }
        self.requeue_job(id);
    }

    fn retry_job(
        &mut self,
        id: JobId,
        spec: &Arc<JobSpec>,
        submitted: Timestamp,
        groups: &[RetriedGroup],
    ) {
        self.durable.jobs.insert(id, Job::retried(spec, submitted, groups));
        self.index_job(id);
    }

    fn leave_backlog(&mut self, spec: &JobSpec) {
        let backlog = &mut self.durable.backlog;
        backlog.jobs = backlog.jobs.saturating_sub(1);
        for group in &spec.groups {
            let ask = group.ask();
            if let Some(count) = backlog.demand.get_mut(&ask) {
                *count = count.saturating_sub(u64::from(group.count));
                if *count == 0 {
                    backlog.demand.remove(&ask);
                }
            }
        }
    }

    fn forget_job(&mut self, id: JobId) {
        let Some(job) = self.durable.jobs.remove(&id) else { return };
        for (group, spec) in ordinals(job.groups.len()).zip(&job.spec.groups) {
            let turn = (Reverse(job.spec.priority), id, group);
            self.index.queue.remove(&turn, &spec.resources);
            self.observed.runs.remove(&GroupId { job: id, group });
        }
        self.leave_after(id, &job.spec.after);
    }

    fn group_mut(&mut self, id: GroupId) -> Option<&mut crate::Group> {
        self.durable.jobs.get_mut(&id.job)?.groups.get_mut(usize::from(id.group))
    }

    /// Puts a task's entry, wherever it was before, into its new place.
    fn set_task(&mut self, id: TaskId, after: After) {
        let Some(job) = self.durable.jobs.get_mut(&id.job) else { return };
        let Some(spec) = job.spec.groups.get(usize::from(id.group)) else { return };
        let ask = spec.resources;
        // Only a job that comes after others is looked at as a whole here.
        let begun = (!job.spec.after.is_empty()).then(|| job.has_begun());
        let Some(group) = job.groups.get_mut(usize::from(id.group)) else { return };
        let before = group.tasks.remove(&id.index);
        match &before {
            Some(before) => {
                self.index.leave(id, before, &ask);
                group.failed -= u32::from(matches!(before.state, TaskState::Failed(_)));
                group.ready.remove(&id.index);
            }
            None => group.fresh.remove(id.index, id.index + 1),
        }
        match after {
            After::Keep(task) => {
                group.failed += u32::from(matches!(task.state, TaskState::Failed(_)));
                if matches!(task.state, TaskState::Ready) {
                    group.ready.insert(id.index);
                }
                group.tasks.insert(id.index, task);
                self.index.enter(id, &task, &ask);
            }
            After::Succeeded => group.succeeded.insert(id.index, id.index + 1),
            After::Cancelled => group.cancelled.insert(id.index, id.index + 1),
        }
        let has_succeeded = group.has_succeeded();
        let is_placeable = group.placeable() > 0;
        let waits = (begun.is_some() && self.index.blocked.contains(&id.job))
            || job.awaited_groups(id.group).next().is_some();
        let key = (Reverse(job.spec.priority), id.job, id.group);
        if is_placeable && !waits {
            self.index.queue.insert(key, ask);
        } else {
            self.index.queue.remove(&key, &ask);
        }
        let was_on = before.and_then(|before| Some(before.placement()?.node));
        let is_on = match after {
            After::Keep(task) => task.placement().map(|placement| placement.node),
            After::Succeeded | After::Cancelled => None,
        };
        if begun.is_some_and(|begun| begun != job.has_begun()) {
            self.requeue_job(id.job);
        } else if has_succeeded {
            self.requeue_followers(id.group_id());
        }
        for node in was_on.into_iter().chain(is_on.filter(|node| was_on != Some(*node))) {
            self.refit(node);
        }
    }

    fn set_node(&mut self, node: &Node) {
        if node.state == NodeState::Gone {
            self.durable.nodes.remove(&node.id);
            self.index.leave_node(node);
            self.observed.links.remove(&node.id);
            self.observed.idle.end(node.id);
            self.observed.missing.remove(&node.id);
            self.refit(node.id);
            return;
        }
        self.durable.nodes.insert(node.id, node.clone());
        self.index.loads.entry(node.id).or_default();
        self.index.enter_node(node);
        self.refit(node.id);
    }
}
