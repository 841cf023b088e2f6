//! What the leader decides over: durable (the log and the tables, unsettled things only), derived
//! from that (indexes), and observed (rebuilt after a take-over, never logged).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::idle::{Due, Idle};
use crate::queue::Queue;
use crate::room::{self, Room};
use crate::{
    Ask, Cause, ClusterId, Constraints, GroupId, GroupSpec, InstanceId, Intent, IntentId,
    IntervalSet, JobId, JobSpec, MicroUsd, Node, NodeId, NodeOrigin, Notice, NoticeKind, Offer,
    Pool, PurchaseOption, Resources, RetriedGroup, Task, TaskId, TaskState, Timestamp,
};

/// The one row that orders everything (DESIGN §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Bumped by each take-over.
    pub term: u64,
    /// Of the last commit.
    pub seq: u64,
    /// The step clock: never runs backwards.
    pub now: Timestamp,
    /// Of changes, spool and sync.
    pub format: u32,
    /// Tagged on every machine.
    pub cluster: ClusterId,
    /// From which each step's randomness comes.
    pub seed: u64,
}

/// The format of changes, spool and sync that this build writes.
pub const FORMAT: u32 = 1;

/// Everything that a step decides over.
#[derive(Debug, Clone)]
pub struct World {
    /// The log and the tables.
    pub durable: Durable,
    /// What follows from it.
    pub index: Index,
    /// What was seen since this leader began.
    pub observed: Observed,
}

/// What is kept: `load(commit(changes)) == apply(changes)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Order, clock and seed.
    pub head: Head,
    /// Jobs that are taken in and unsettled.
    pub jobs: BTreeMap<JobId, Job>,
    /// Jobs that wait in their table.
    pub backlog: Backlog,
    /// Machines that are not gone.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Launches that are not closed.
    pub intents: BTreeMap<IntentId, Intent>,
    /// Notices for instances that have no node yet.
    pub notices: BTreeMap<(InstanceId, NoticeKind), Notice>,
}

/// A job that is taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What was asked.
    pub spec: Arc<JobSpec>,
    /// When.
    pub submitted: Timestamp,
    /// Why it is being stopped.
    pub stopping: Option<Cause>,
    /// Its groups, by ordinal.
    pub groups: Vec<Group>,
}

/// A group's tasks: interval sets for what needs no more than a number, entries for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Never placed.
    pub fresh: IntervalSet,
    /// Settled with success.
    pub succeeded: IntervalSet,
    /// Settled without having been asked to run on.
    pub cancelled: IntervalSet,
    /// Placed, retrying or failed.
    pub tasks: BTreeMap<u32, Task>,
    /// Of `tasks`, those to be placed at once. Follows from them.
    pub ready: BTreeSet<u32>,
    /// Of `tasks`, those that failed. Follows from them.
    pub failed: u32,
}

/// Jobs that wait in their table, summed: what the planner needs of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many jobs.
    pub jobs: u64,
    /// Tasks by what they ask for.
    pub demand: BTreeMap<Ask, u64>,
}

/// What follows from [`Durable`]; rebuilt by [`World::new`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// What is on each node.
    pub loads: BTreeMap<NodeId, NodeLoad>,
    /// Groups that have something to place, in the order in which they are served.
    pub queue: Queue,
    /// Nodes whose room may be given to new work.
    pub room: Room,
    /// Nodes that hold prefetched attempts.
    pub holding: BTreeSet<NodeId>,
    /// Nodes that will be taken.
    pub leaving: BTreeSet<NodeId>,
    /// Static nodes by their names.
    pub names: BTreeMap<Arc<str>, NodeId>,
    /// Ends of waits.
    pub backoffs: BTreeSet<(Timestamp, TaskId)>,
    /// Nodes by the cloud's name for them.
    pub instances: BTreeMap<InstanceId, NodeId>,
    /// Tasks on nodes, by job.
    pub placed: BTreeMap<JobId, u32>,
    /// Jobs that jobs in World come after, each with one that does.
    pub after: BTreeSet<(JobId, JobId)>,
    /// Jobs that wait for others. Follows from what is observed, too: [`Observed::settled`].
    pub blocked: BTreeSet<JobId>,
}

/// What is on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// Of admitted, leaving and stopping attempts.
    pub reserved: Resources,
    /// Those attempts' tasks.
    pub tasks: BTreeSet<TaskId>,
    /// Prefetched attempts' tasks: they reserve nothing.
    pub held: BTreeSet<TaskId>,
    /// A task that must be alone is here.
    pub alone: bool,
}

/// What was seen since this leader began. The step is right with it empty.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// When this leader began: every node has a full grace from here.
    pub leader_since: Timestamp,
    /// What can be bought, in the order of pools.
    pub offers: Vec<Offer>,
    /// The connection of each node.
    pub links: BTreeMap<NodeId, Link>,
    /// How long tasks of a group run.
    pub runs: BTreeMap<GroupId, RunStats>,
    /// Since when a machine of ours has had nothing to do.
    pub idle: Idle,
    /// Nodes whose load, state or connection has changed since the step looked at them last.
    pub stirred: BTreeSet<NodeId>,
    /// When nodes want attention next, as far as the step has looked.
    pub due: Due,
    /// Pools that refused, and until when they are not asked.
    pub hidden_pools: BTreeMap<Pool, Hidden>,
    /// Purchase options that are held back for quota, until when.
    pub held_options: BTreeMap<PurchaseOption, Timestamp>,
    /// No launch at all before this: throttled, or the configuration is wrong.
    pub launches_paused: Option<(Timestamp, Arc<str>)>,
    /// Instances that a listing lacked, and since when.
    pub missing: BTreeMap<NodeId, Timestamp>,
    /// Instances of our cluster with no open intent, and since when.
    pub orphans: BTreeMap<InstanceId, Timestamp>,
    /// When the last listing was taken, for fail-closed.
    pub listed: Option<Timestamp>,
    /// When machines were last ordered or given up: a plan based on an earlier seq is void.
    pub fleet_changed: u64,
    /// Of the jobs that jobs in World come after, those that are settled, and how.
    pub settled: BTreeMap<JobId, JobStatus>,
    /// Of the same jobs, those that are neither in World nor known to be settled.
    pub unknown: BTreeSet<JobId>,
    /// Groups of jobs with a deadline: when their waiting tasks ask for on-demand machines only.
    pub nets: BTreeMap<GroupId, Net>,
    /// Of these, the moments that have not come.
    pub nets_due: BTreeSet<(Timestamp, GroupId)>,
    /// Whether all jobs were looked at for them.
    pub nets_read: bool,
    /// Jobs in their table that were changed: what is read of them may be from before.
    pub patched: BTreeMap<JobId, Arc<JobSpec>>,
}

/// What keeps a group's tasks from missing their job's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    /// From here on its waiting tasks ask for on-demand machines only.
    pub at: Timestamp,
    /// When the job should be done.
    pub deadline: Timestamp,
    /// What a task and what comes after it need until then; `None` = not known, and `at` is the
    /// job's submission.
    pub need_ms: Option<u64>,
}

/// A pool that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    /// Not asked before.
    pub until: Timestamp,
    /// Refusals in a row.
    pub refusals: u32,
}

/// The connection of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A poll is open, or one came a moment ago.
    Connected {
        /// The last sign.
        seen: Timestamp,
    },
    /// No sign: no new work; attempts are re-queued one by one as their grace ends.
    Suspect {
        /// Since when.
        since: Timestamp,
    },
}

/// How long tasks of a group run: an integer moving mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunStats {
    /// How many ended.
    pub count: u32,
    /// The mean, weight 1/8 to the newest.
    pub mean_us: u64,
}

impl RunStats {
    /// With one more run of `run_ms`.
    #[must_use]
    pub fn with(self, run_ms: u64) -> Self {
        let run_us = run_ms.saturating_mul(1000);
        let mean_us =
            if self.count == 0 { run_us } else { (self.mean_us * 7).saturating_add(run_us) / 8 };
        Self { count: self.count.saturating_add(1), mean_us }
    }
}

impl Group {
    /// A group of which nothing was placed.
    pub fn new(spec: &GroupSpec) -> Self {
        Self::restored(spec.count, IntervalSet::default(), IntervalSet::default(), BTreeMap::new())
    }

    /// From its settled sets and its entries: what is in none of them was never placed.
    pub fn restored(
        count: u32,
        succeeded: IntervalSet,
        cancelled: IntervalSet,
        tasks: BTreeMap<u32, Task>,
    ) -> Self {
        let mut fresh = IntervalSet::span(0, count);
        for (from, to) in succeeded.spans().chain(cancelled.spans()) {
            fresh.remove(from, to);
        }
        for index in tasks.keys() {
            fresh.remove(*index, index + 1);
        }
        let ready = tasks
            .iter()
            .filter(|(_, task)| matches!(task.state, TaskState::Ready))
            .map(|(index, _)| *index)
            .collect();
        let failed =
            tasks.values().filter(|task| matches!(task.state, TaskState::Failed(_))).count();
        Self {
            fresh,
            succeeded,
            cancelled,
            tasks,
            ready,
            failed: u32::try_from(failed).unwrap_or(u32::MAX),
        }
    }

    /// Tasks to be placed at once.
    pub fn placeable(&self) -> u32 {
        self.fresh.len() + u32::try_from(self.ready.len()).unwrap_or(u32::MAX)
    }

    /// Tasks that will run again.
    pub fn unsettled(&self) -> u32 {
        let entries = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        self.fresh.len() + entries.saturating_sub(self.failed)
    }
}

impl Job {
    /// Just taken in.
    pub fn new(spec: Arc<JobSpec>, submitted: Timestamp) -> Self {
        let groups = spec.groups.iter().map(|group| Group::new(group)).collect();
        Self { spec, submitted, stopping: None, groups }
    }

    /// Settled before, and back with tasks that are to run again.
    pub fn retried(spec: &Arc<JobSpec>, submitted: Timestamp, groups: &[RetriedGroup]) -> Self {
        let restored = spec.groups.iter().enumerate().map(|(ordinal, of_spec)| {
            let group = groups.get(ordinal).cloned().unwrap_or_default();
            let RetriedGroup { succeeded, cancelled, tasks } = group;
            Group::restored(of_spec.count, succeeded, cancelled, tasks)
        });
        Self { groups: restored.collect(), spec: spec.clone(), submitted, stopping: None }
    }

    /// Tasks that will run again.
    pub fn unsettled(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.unsettled())).sum()
    }

    /// How it is settled, if none of its tasks is unsettled (DESIGN §6: it fails when a task has
    /// failed).
    pub fn settles_as(&self) -> Option<JobStatus> {
        if self.unsettled() > 0 {
            return None;
        }
        let any = |test: fn(&Group) -> bool| self.groups.iter().any(test);
        Some(if any(|group| group.failed > 0) {
            JobStatus::Failed
        } else if self.stopping.is_some() || any(|group| !group.cancelled.is_empty()) {
            JobStatus::Cancelled
        } else {
            JobStatus::Succeeded
        })
    }
}

/// A job's status as the API says it (DESIGN §6).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    /// Accepted; waits for intake.
    Submitted,
    /// Taken in; none of its tasks is on a node.
    Waiting,
    /// A task is on a node.
    Running,
    /// Being stopped.
    Stopping,
    /// Settled.
    Succeeded,
    /// Settled.
    Failed,
    /// Settled.
    Cancelled,
}

impl JobStatus {
    /// Whether it will never change again.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// As the API and the tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Durable {
    /// A new cluster.
    pub fn new(head: Head) -> Self {
        Self {
            head,
            jobs: BTreeMap::new(),
            backlog: Backlog::default(),
            nodes: BTreeMap::new(),
            intents: BTreeMap::new(),
            notices: BTreeMap::new(),
        }
    }
}

impl World {
    /// From what was loaded; the indexes are computed, nothing is observed.
    pub fn new(durable: Durable) -> Self {
        let mut index = Index::default();
        for (id, node) in &durable.nodes {
            index.loads.insert(*id, NodeLoad::default());
            index.enter_node(node);
        }
        let mut world = Self { durable, index, observed: Observed::default() };
        let jobs: Vec<JobId> = world.durable.jobs.keys().copied().collect();
        for id in jobs {
            world.index_job(id);
        }
        let nodes: Vec<NodeId> = world.durable.nodes.keys().copied().collect();
        for id in nodes {
            world.refit(id);
        }
        world
    }

    /// Enters all of a job's tasks into the indexes.
    pub(crate) fn index_job(&mut self, id: JobId) {
        let Some(job) = self.durable.jobs.get(&id) else { return };
        for (ordinal, group) in job.groups.iter().enumerate() {
            let ordinal = u16::try_from(ordinal).unwrap_or(u16::MAX);
            let Some(spec) = job.spec.groups.get(usize::from(ordinal)) else { continue };
            for (index, task) in &group.tasks {
                let task_id = TaskId { job: id, group: ordinal, index: *index };
                self.index.enter(task_id, task, &spec.resources);
            }
        }
        self.enter_after(id);
        self.requeue_job(id);
    }

    /// A task's entry.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.group(id.group_id())?.tasks.get(&id.index)
    }

    /// A group.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.durable.jobs.get(&id.job)?.groups.get(usize::from(id.group))
    }

    /// A group's spec.
    pub fn group_spec(&self, id: GroupId) -> Option<&Arc<GroupSpec>> {
        self.durable.jobs.get(&id.job)?.spec.groups.get(usize::from(id.group))
    }

    /// What is free on a node, for reservations.
    pub fn free(&self, id: NodeId) -> Resources {
        let Some(node) = self.durable.nodes.get(&id) else { return Resources::default() };
        match self.index.loads.get(&id) {
            Some(load) if load.alone => Resources::default(),
            Some(load) => node.capacity - load.reserved,
            None => node.capacity,
        }
    }

    /// Whether a node was heard of lately enough to be given work.
    pub fn is_connected(&self, id: NodeId) -> bool {
        matches!(self.observed.links.get(&id), Some(Link::Connected { .. }))
    }
}

impl World {
    /// A node's connection, as it is from now on.
    pub fn observe_link(&mut self, id: NodeId, link: Link) {
        self.observed.links.insert(id, link);
        self.observed.stirred.insert(id);
    }

    /// A node, or what is on it, has changed.
    pub(crate) fn refit(&mut self, id: NodeId) {
        let node = self.durable.nodes.get(&id);
        let load = self.index.loads.get(&id);
        let shape = node.zip(load).and_then(|(node, load)| room::shape(node, load));
        self.index.room.set(id, shape);
        if load.is_some_and(|load| !load.held.is_empty()) {
            self.index.holding.insert(id);
        } else {
            self.index.holding.remove(&id);
        }
        self.observed.stirred.insert(id);
    }
}

impl Index {
    /// Enters what a node is found by.
    pub(crate) fn enter_node(&mut self, node: &Node) {
        match &node.origin {
            NodeOrigin::Cloud { instance, .. } => {
                self.instances.insert(instance.clone(), node.id);
            }
            NodeOrigin::Static { name } => {
                self.names.insert(name.clone(), node.id);
            }
        }
        if node.deadline.is_some() {
            self.leaving.insert(node.id);
        } else {
            self.leaving.remove(&node.id);
        }
    }

    /// A node is no more.
    pub(crate) fn leave_node(&mut self, node: &Node) {
        match &node.origin {
            NodeOrigin::Cloud { instance, .. } => {
                self.instances.remove(instance);
            }
            // Another one may bear the name by now.
            NodeOrigin::Static { name } => {
                if self.names.get(name) == Some(&node.id) {
                    self.names.remove(name);
                }
            }
        }
        self.leaving.remove(&node.id);
        self.loads.remove(&node.id);
    }

    /// Enters a task's entry.
    pub(crate) fn enter(&mut self, id: TaskId, task: &Task, ask: &Resources) {
        match task.state {
            TaskState::Backoff { until } => {
                self.backoffs.insert((until, id));
            }
            TaskState::Placed(at) => {
                *self.placed.entry(id.job).or_default() += 1;
                let load = self.loads.entry(at.node).or_default();
                if at.phase.reserves() {
                    load.tasks.insert(id);
                    load.reserved += *ask;
                    load.alone |= task.counters.runs_alone();
                } else {
                    load.held.insert(id);
                }
            }
            TaskState::Ready | TaskState::Failed(_) => {}
        }
    }

    /// Takes a task's entry out again.
    pub(crate) fn leave(&mut self, id: TaskId, task: &Task, ask: &Resources) {
        match task.state {
            TaskState::Backoff { until } => {
                self.backoffs.remove(&(until, id));
            }
            TaskState::Placed(at) => {
                if let Some(count) = self.placed.get_mut(&id.job) {
                    *count -= 1;
                    if *count == 0 {
                        self.placed.remove(&id.job);
                    }
                }
                let Some(load) = self.loads.get_mut(&at.node) else { return };
                if !at.phase.reserves() {
                    load.held.remove(&id);
                } else if load.tasks.remove(&id) {
                    load.reserved -= *ask;
                    load.alone &= !load.tasks.is_empty();
                }
            }
            TaskState::Ready | TaskState::Failed(_) => {}
        }
    }
}

impl Constraints {
    /// Whether a node will do: static ones suit all but those that name a zone or a type.
    pub fn allow(&self, node: &Node) -> bool {
        match node.offer() {
            Some(offer) => self.allow_pool(&offer.pool),
            None => self.zones.is_empty() && self.instance_types.is_empty(),
        }
    }

    /// Whether a machine of this pool will do.
    pub fn allow_pool(&self, pool: &Pool) -> bool {
        self.purchase.allows(pool.option)
            && (self.zones.is_empty() || self.zones.contains(&pool.zone))
            && (self.instance_types.is_empty() || self.instance_types.contains(&pool.instance_type))
    }
}

/// What a machine's life costs: by the second begun, at least [`MIN_BILLED_MS`], at one price.
pub fn bill(price: MicroUsd, launched: Timestamp, ended: Timestamp) -> MicroUsd {
    let seconds_ms = ended.since(launched).div_ceil(1000) * 1000;
    price.per_hour(seconds_ms.max(MIN_BILLED_MS), 1_000_000)
}

/// EC2 bills Linux machines by the second with a minimum of one minute
/// (AWS: "Amazon EC2 billing and purchasing options").
pub const MIN_BILLED_MS: u64 = 60_000;
