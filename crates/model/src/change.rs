//! What the leader commits, what it does to [`World`], and which rows it leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    After, AttemptEnd, AttemptId, Cause, GroupId, InstanceId, Intent, IntervalSet, Job, JobId,
    JobPatch, JobSpec, JobStatus, LedgerRow, Node, Notice, NoticeKind, Placement, Task, TaskId,
    TaskResult, Timestamp,
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
