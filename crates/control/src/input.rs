//! What the shell hands to a step.

use std::sync::Arc;

use cloud::{CloudError, Identity, Launched};
use model::{
    InstanceId, IntentId, InventoryItem, JobId, JobPatch, JobSpec, JobStatus, Machine, NodeId,
    NodeNotice, Notice, Offer, Resources, RetriedGroup, TaskId, Timestamp, Transition,
};
use planner::Plan;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A job was posted.
    Submit {
        /// Its id, made by the replica that took it.
        job: JobId,
        /// What was asked.
        spec: Arc<JobSpec>,
    },
    /// Jobs that waited in their table, as [`Decision::take_in`](crate::Decision) asked.
    TakeIn {
        /// In the order in which they are served.
        jobs: Vec<BacklogJob>,
    },
    /// A user wants a job gone.
    StopJob {
        /// Which.
        job: JobId,
    },
    /// A user wants a task gone.
    StopTask {
        /// Which.
        task: TaskId,
    },
    /// A user changes what may be changed of a job. Whoever sends it has read the job, and sends
    /// one at a time.
    PatchJob {
        /// Which.
        job: JobId,
        /// What changes.
        patch: Box<JobPatch>,
        /// All of the spec after it.
        spec: Arc<JobSpec>,
    },
    /// A user wants tasks that did not succeed to run again.
    RetryJob {
        /// Which job.
        job: JobId,
        /// Of a settled job: how it comes back, as its tables have it. `None` for one that is in
        /// World: then its failed tasks are retried.
        settled: Option<Box<RetriedJob>>,
    },
    /// Jobs that others come after are settled: the answer to [`Decision::lookup`](crate::Decision).
    DependenciesSettled(Vec<(JobId, JobStatus)>),
    /// These inbox rows are the other inputs of this step.
    InboxDone {
        /// Their ids.
        rows: Vec<i64>,
    },
    /// A digester wants to join; who it is was proved.
    Join {
        /// Who it is.
        joiner: Joiner,
        /// Its session.
        session: u64,
        /// What tasks may use of it.
        capacity: Resources,
    },
    /// A digester's poll.
    Sync {
        /// The node.
        node: NodeId,
        /// Its session.
        session: u64,
        /// What changed, in order.
        transitions: Vec<Transition>,
        /// All unsettled attempts that it has, on the first poll of a process and of a term.
        inventory: Option<Vec<InventoryItem>>,
        /// A notice that it has seen itself.
        notice: Option<NodeNotice>,
    },
    /// The last connection of a digester's session closed.
    Closed {
        /// The node.
        node: NodeId,
        /// The session.
        session: u64,
    },
    /// The cloud says something of a machine.
    Notice(Notice),
    /// The cloud answered a launch.
    Launched {
        /// Which.
        intent: IntentId,
        /// How.
        answer: Result<Launched, CloudError>,
    },
    /// The cloud has ended these machines.
    Retired {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// All machines of ours.
    Listed {
        /// As the cloud sees them.
        machines: Vec<Machine>,
        /// When it was asked: younger nodes may be missing.
        asked: Timestamp,
    },
    /// What can be bought now.
    Offers(Vec<Offer>),
    /// The planner's answer.
    Plan(Box<Plan>),
    /// A person wants a node empty.
    Drain {
        /// Which.
        node: NodeId,
    },
    /// A person takes that back.
    Undrain {
        /// Which.
        node: NodeId,
    },
}

/// Who joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joiner {
    /// A machine that we launched.
    Machine(Identity),
    /// Somebody's own machine.
    Static {
        /// Unique in the cluster.
        name: Arc<str>,
    },
}

/// A settled job of which tasks are to run again.
#[derive(Debug, Clone)]
pub struct RetriedJob {
    /// What was asked.
    pub spec: Arc<JobSpec>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Its groups, by ordinal.
    pub groups: Vec<RetriedGroup>,
}

/// A job from its table.
#[derive(Debug, Clone)]
pub struct BacklogJob {
    /// Its id.
    pub id: JobId,
    /// What was asked.
    pub spec: Arc<JobSpec>,
    /// When.
    pub submitted: Timestamp,
}
