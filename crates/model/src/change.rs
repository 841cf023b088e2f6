//! What the leader commits, what it does to [`World`], and which rows it leaves behind.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    After, AttemptEnd, AttemptId, Cause, Group, GroupId, InstanceId, Intent, IntentState,
    IntervalSet, Job, JobId, JobPatch, JobSpec, JobStatus, LedgerRow, Node, NodeState, Notice,
    NoticeKind, Placement, Task, TaskId, TaskResult, TaskState, Timestamp, World,
};

/// One fact that a step adds. Applied in memory at once, committed in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A job is accepted.
    JobSubmitted {
        /// Its id.
        job: JobId,
        /// What was asked.
        spec: Arc<JobSpec>,
        /// When.
        at: Timestamp,
        /// Whether it is taken in at once, or waits in its table.
        taken_in: bool,
    },
    /// A job that waited in its table is taken in.
    JobTakenIn {
        /// Its id.
        job: JobId,
        /// What was asked.
        spec: Arc<JobSpec>,
        /// When it was submitted.
        submitted: Timestamp,
    },
    /// A user changed what may be changed of an unsettled job.
    JobPatched {
        /// Its id.
        job: JobId,
        /// What changed, as it is now.
        patch: Box<JobPatch>,
        /// All of the job's spec after it, for its row: World does not have a job that waits in its
        /// table. Not in the log.
        #[serde(skip)]
        spec: Option<Arc<JobSpec>>,
    },
    /// Tasks of a settled job are to run again: it comes back to World.
    JobRetried {
        /// Its id.
        job: JobId,
        /// What was asked.
        spec: Arc<JobSpec>,
        /// When it was submitted.
        submitted: Timestamp,
        /// Its groups, by ordinal, with the tasks that are to run again among `tasks` or in no set.
        groups: Vec<RetriedGroup>,
    },
    /// A failed task of an unsettled job is to run again.
    TaskRetried {
        /// Which.
        task: TaskId,
        /// Its entry from now on.
        entry: Task,
    },
    /// A job is to end early.
    JobStopping {
        /// Its id.
        job: JobId,
        /// Why.
        cause: Cause,
    },
    /// None of its tasks is unsettled; it leaves World.
    JobSettled {
        /// Its id.
        job: JobId,
        /// How.
        status: JobStatus,
        /// When.
        at: Timestamp,
        /// Its groups' settled sets, by ordinal ([`Job::settled_groups`]), for their rows: World
        /// has forgotten them. Not in the log, for a replay has them.
        #[serde(skip)]
        groups: Vec<SettledGroup>,
    },
    /// A task is given to a node under a new number.
    Placed {
        /// The fence.
        attempt: AttemptId,
        /// The task's entry.
        task: Task,
    },
    /// A placed task is bound otherwise: started, leaving, stopping.
    Bound {
        /// The fence.
        attempt: AttemptId,
        /// The task's entry.
        task: Task,
    },
    /// An attempt ended.
    Ended {
        /// The fence.
        attempt: AttemptId,
        /// Where it was.
        placement: Placement,
        /// How.
        end: AttemptEnd,
        /// When.
        at: Timestamp,
        /// What becomes of the task.
        after: After,
        /// What it left behind; kept in the attempts' table, not in the log.
        #[serde(skip)]
        result: Option<Box<TaskResult>>,
    },
    /// A wait is over.
    Due {
        /// The task.
        task: TaskId,
    },
    /// Tasks `from..to` of a group that were never placed are cancelled.
    FreshCancelled {
        /// The group.
        group: GroupId,
        /// The first.
        from: u32,
        /// After the last.
        to: u32,
    },
    /// A task between two attempts is cancelled.
    RetryCancelled {
        /// The task.
        task: TaskId,
    },
    /// A node is born or differs from before; one that is gone leaves World.
    Node(Box<Node>),
    /// A launch is decided, goes on, or is closed; then it leaves World.
    Intent(Box<Intent>),
    /// A notice for an instance that has no node yet is kept.
    NoticeKept(Notice),
    /// A kept notice has met its node, or is too old.
    NoticeDone {
        /// The machine.
        instance: InstanceId,
        /// What was announced.
        kind: NoticeKind,
    },
    /// Money was spent.
    Ledger(LedgerRow),
    /// Inbox rows became inputs of this commit.
    InboxDone {
        /// Their ids.
        rows: Vec<i64>,
    },
}

/// What a group of a settled job comes down to; its failed tasks have entries beside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettledGroup {
    /// Settled with success.
    pub succeeded: IntervalSet,
    /// Cancelled.
    pub cancelled: IntervalSet,
}

/// A group of a settled job of which tasks are to run again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetriedGroup {
    /// Settled with success.
    pub succeeded: IntervalSet,
    /// Cancelled, and to stay so.
    pub cancelled: IntervalSet,
    /// Entries: failed ones that stay so, and [`TaskState::Ready`] ones whose number goes on from
    /// their last attempt.
    pub tasks: BTreeMap<u32, Task>,
}

impl Job {
    /// The settled sets of its groups, for [`Change::JobSettled`].
    pub fn settled_groups(&self) -> Vec<SettledGroup> {
        let sets = |group: &crate::Group| SettledGroup {
            succeeded: group.succeeded.clone(),
            cancelled: group.cancelled.clone(),
        };
        self.groups.iter().map(sets).collect()
    }
}

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
            Change::JobPatched { job, patch, .. } => self.patch_job(*job, patch),
            Change::JobRetried { job, spec, submitted, groups } => {
                self.retry_job(*job, spec, *submitted, groups);
            }
            Change::TaskRetried { task, entry } => self.set_task(*task, After::Keep(*entry)),
            Change::JobStopping { job, cause } => {
                if let Some(job) = self.durable.jobs.get_mut(job) {
                    job.stopping = Some(*cause);
                }
            }
            Change::JobSettled { job, .. } => self.forget_job(*job),
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
        self.durable.jobs.insert(id, Job::new(spec.clone(), submitted));
        for (ordinal, _) in spec.groups.iter().enumerate() {
            self.requeue_group(GroupId { job: id, group: u16::try_from(ordinal).unwrap_or(0) });
        }
    }

    /// One that waits in its table is not here: its row is all that changes.
    fn patch_job(&mut self, id: JobId, patch: &JobPatch) {
        let Some(job) = self.durable.jobs.get_mut(&id) else { return };
        let before = Reverse(job.spec.priority);
        job.spec = Arc::new(job.spec.patched(patch));
        for ordinal in (0..job.groups.len()).filter_map(|ordinal| u16::try_from(ordinal).ok()) {
            self.index.queue.remove(&(before, id, ordinal));
            self.requeue_group(GroupId { job: id, group: ordinal });
        }
    }

    fn retry_job(
        &mut self,
        id: JobId,
        spec: &Arc<JobSpec>,
        submitted: Timestamp,
        groups: &[RetriedGroup],
    ) {
        let restored = spec.groups.iter().enumerate().map(|(ordinal, of_spec)| {
            let group = groups.get(ordinal).cloned().unwrap_or_default();
            let RetriedGroup { succeeded, cancelled, tasks } = group;
            Group::restored(of_spec.count, succeeded, cancelled, tasks)
        });
        let groups = restored.collect();
        let job = Job { spec: spec.clone(), submitted, stopping: None, groups };
        self.durable.jobs.insert(id, job);
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
        for (ordinal, _) in job.groups.iter().enumerate() {
            let group = u16::try_from(ordinal).unwrap_or(0);
            self.index.queue.remove(&(Reverse(job.spec.priority), id, group));
            self.observed.runs.remove(&GroupId { job: id, group });
        }
    }

    fn group_mut(&mut self, id: GroupId) -> Option<&mut crate::Group> {
        self.durable.jobs.get_mut(&id.job)?.groups.get_mut(usize::from(id.group))
    }

    /// Puts a task's entry, wherever it was before, into its new place.
    fn set_task(&mut self, id: TaskId, after: After) {
        let Some(job) = self.durable.jobs.get_mut(&id.job) else { return };
        let Some(spec) = job.spec.groups.get(usize::from(id.group)) else { return };
        let ask = spec.resources;
        let Some(group) = job.groups.get_mut(usize::from(id.group)) else { return };
        match group.tasks.remove(&id.index) {
            Some(before) => {
                self.index.leave(id, &before, &ask);
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
        let key = (Reverse(job.spec.priority), id.job, id.group);
        if group.placeable() > 0 {
            self.index.queue.insert(key);
        } else {
            self.index.queue.remove(&key);
        }
    }

    fn requeue_group(&mut self, id: GroupId) {
        let Some(job) = self.durable.jobs.get(&id.job) else { return };
        let Some(group) = job.groups.get(usize::from(id.group)) else { return };
        let key = (Reverse(job.spec.priority), id.job, id.group);
        if group.placeable() > 0 {
            self.index.queue.insert(key);
        } else {
            self.index.queue.remove(&key);
        }
    }

    fn set_node(&mut self, node: &Node) {
        if node.state == NodeState::Gone {
            self.durable.nodes.remove(&node.id);
            self.index.loads.remove(&node.id);
            self.observed.links.remove(&node.id);
            self.observed.idle_since.remove(&node.id);
            self.observed.missing.remove(&node.id);
            if let Some(instance) = node.instance() {
                self.index.instances.remove(instance);
            }
            return;
        }
        self.durable.nodes.insert(node.id, node.clone());
        self.index.loads.entry(node.id).or_default();
        if let Some(instance) = node.instance() {
            self.index.instances.insert(instance.clone(), node.id);
        }
    }
}

/// What one commit touches: the log keeps the changes, the tables get each touched thing as it
/// stands in World after them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Jobs whose row changes.
    pub jobs: BTreeSet<JobId>,
    /// Groups whose settled sets change.
    pub groups: BTreeSet<GroupId>,
    /// Tasks whose entry is written or deleted.
    pub tasks: BTreeSet<TaskId>,
}

impl Touched {
    /// Of these changes.
    pub fn by(changes: &[Change]) -> Self {
        let mut touched = Self::default();
        for change in changes {
            match change {
                Change::JobSubmitted { job, .. }
                | Change::JobTakenIn { job, .. }
                | Change::JobPatched { job, .. }
                | Change::JobStopping { job, .. }
                | Change::JobSettled { job, .. } => {
                    touched.jobs.insert(*job);
                }
                Change::Placed { attempt, .. } | Change::Bound { attempt, .. } => {
                    touched.tasks.insert(attempt.task);
                }
                Change::Ended { attempt, after, .. } => {
                    touched.tasks.insert(attempt.task);
                    if matches!(after, After::Succeeded | After::Cancelled) {
                        touched.groups.insert(attempt.task.group_id());
                    }
                }
                Change::JobRetried { job, groups, .. } => {
                    touched.jobs.insert(*job);
                    for (ordinal, group) in groups.iter().enumerate() {
                        let id = GroupId { job: *job, group: u16::try_from(ordinal).unwrap_or(0) };
                        touched.groups.insert(id);
                        let task =
                            |index: &u32| TaskId { job: *job, group: id.group, index: *index };
                        touched.tasks.extend(group.tasks.keys().map(task));
                    }
                }
                Change::Due { task } | Change::TaskRetried { task, .. } => {
                    touched.tasks.insert(*task);
                }
                Change::RetryCancelled { task } => {
                    touched.tasks.insert(*task);
                    touched.groups.insert(task.group_id());
                }
                Change::FreshCancelled { group, .. } => {
                    touched.groups.insert(*group);
                }
                Change::Node(_)
                | Change::Intent(_)
                | Change::NoticeKept(_)
                | Change::NoticeDone { .. }
                | Change::Ledger(_)
                | Change::InboxDone { .. } => {}
            }
        }
        touched
    }
}
