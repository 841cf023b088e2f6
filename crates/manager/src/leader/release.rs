//! What a durable step lets out: replies, commands to nodes, rows for the executors, log lines.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant as StdInstant;

use api::sync::{Assignment, GroupWork};
use control::{Commands, Decision, Reply, Violation};
use model::{
    After, AttemptId, Change, Clamp, GroupId, GroupSpec, InstanceId, Intent, JobId, NodeId,
    NodeState, TaskState, Timestamp, World,
};
use tokio::sync::{oneshot, watch};

use super::campaign::concerns_executors;
use super::{Lead, journal};
use crate::feed::Feed;
use crate::metrics::{EndLabels, Metrics};
use crate::nodes::{Orders, Work};

/// Durable rows that somebody outside has to be told of. Level, not edge: who missed one state
/// sees the next.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// The step's time when these were let out, and when that was.
    at: (Timestamp, StdInstant),
    /// Launches that are not closed.
    pub(crate) intents: Vec<Intent>,
    /// Machines to be ended.
    pub(crate) retiring: Vec<InstanceId>,
    /// How many jobs of the backlog the step would like to be handed.
    pub(crate) take_in: u32,
    /// Jobs whose rows the step would like to be looked up.
    pub(crate) lookup: BTreeSet<JobId>,
}

impl Rows {
    /// The leader's time, which its rows were written by: a wall clock may be elsewhere.
    pub(crate) fn now(&self) -> Timestamp {
        let (at, since) = self.at;
        at.later_by(since.elapsed().as_millis().clamped())
    }

    fn of(world: &World, now: Timestamp, take_in: u32, lookup: BTreeSet<JobId>) -> Self {
        let retiring = |node: &&model::Node| node.state == NodeState::Retiring;
        Self {
            at: (now, StdInstant::now()),
            intents: world.durable.intents.values().cloned().collect(),
            retiring: world
                .durable
                .nodes
                .values()
                .filter(retiring)
                .filter_map(|node| node.instance().cloned())
                .collect(),
            take_in,
            lookup,
        }
    }
}

/// Lets durable things out.
pub(super) struct Releaser {
    lead: Arc<Lead>,
    metrics: Arc<Metrics>,
    feed: Arc<Feed>,
    rows: watch::Sender<Rows>,
    /// What the last step broke: what stays broken is told once.
    broken: Vec<Violation>,
    /// Specs without their items, made once for each group that is placed.
    works: HashMap<GroupId, Work>,
}

/// Whoever waits, and for how many of the replies.
type Askers = Vec<(usize, Option<oneshot::Sender<Vec<Reply>>>)>;

impl Releaser {
    pub(super) fn new(
        world: &World,
        lead: Arc<Lead>,
        metrics: Arc<Metrics>,
        feed: Arc<Feed>,
    ) -> (Self, watch::Receiver<Rows>) {
        let (rows, watched) =
            watch::channel(Rows::of(world, world.observed.leader_since, 0, BTreeSet::new()));
        (Self { lead, metrics, feed, rows, broken: Vec::new(), works: HashMap::new() }, watched)
    }

    /// Lets a step out. Commands go before replies, so that the answer to a poll carries what the
    /// same step decided for its node.
    pub(super) fn release(
        &mut self,
        world: &World,
        decision: Decision,
        askers: Askers,
        now: Timestamp,
    ) {
        let Decision {
            changes,
            replies,
            commands,
            take_in,
            lookup,
            notes,
            violations,
            wake: _,
            replan: _,
        } = decision;
        let seq = world.durable.head.seq;
        journal::write(self.lead.term, seq, &changes, &notes);
        self.tell_violations(seq, violations);
        self.metrics.queue.set(i64::try_from(askers.len()).unwrap_or(i64::MAX));
        for change in &changes {
            self.forget_what_ended(world, change);
        }
        for (node, commands) in commands {
            // One that is gone since has nobody to read them.
            if !world.durable.nodes.contains_key(&node) {
                continue;
            }
            let orders = self.orders(world, node, commands);
            self.lead.hub.deliver(node, orders);
        }
        let asks = {
            let last = self.rows.borrow();
            (last.take_in, &last.lookup) != (take_in, &lookup)
        };
        if asks || changes.iter().any(concerns_executors) {
            self.rows.send_replace(Rows::of(world, now, take_in, lookup));
        }
        if !changes.is_empty() {
            let head = &world.durable.head;
            self.feed.publish(head.seq, head.now, changes);
        }
        let mut replies = replies.into_iter();
        for (count, asker) in askers {
            let of_asker: Vec<Reply> = replies.by_ref().take(count).collect();
            if let Some(asker) = asker {
                // Who hung up needs no reply.
                let _ = asker.send(of_asker);
            }
        }
        tracing::trace!(term = self.lead.term, %now, "released");
    }

    /// Counts and logs what the step broke, once for as long as it stays so.
    fn tell_violations(&mut self, seq: u64, violations: Vec<Violation>) {
        for violation in violations.iter().filter(|violation| !self.broken.contains(violation)) {
            self.metrics.broken(violation.invariant, 1);
            journal::broken(self.lead.term, seq, violation);
        }
        self.broken = violations;
    }

    fn forget_what_ended(&mut self, world: &World, change: &Change) {
        match change {
            Change::Ended { attempt, placement, end, after, result, .. } => {
                self.lead.hub.forget_attempt(placement.node, *attempt);
                // Not by the node's word: should it be heard of again, its number there is void.
                if result.is_none() && world.durable.nodes.contains_key(&placement.node) {
                    let orders = Orders { cancel: vec![*attempt], ..Orders::default() };
                    self.lead.hub.deliver(placement.node, orders);
                }
                self.metrics.attempts_ended.get_or_create(&EndLabels { end: end.as_str() }).inc();
                if let Some(status) = settled_as(after) {
                    self.metrics.settled(status, 1);
                }
            }
            Change::FreshCancelled { from, to, .. } => {
                self.metrics.settled("cancelled", u64::from(to - from));
            }
            Change::RetryCancelled { .. } => self.metrics.settled("cancelled", 1),
            Change::JobSettled { job, .. } => self.works.retain(|group, _| group.job != *job),
            Change::Node(node) if node.state == NodeState::Gone => {
                self.lead.hub.forget_node(node.id);
            }
            _ => {}
        }
    }

    /// Commands with what the node needs to carry them out.
    fn orders(&mut self, world: &World, node: NodeId, commands: Commands) -> Orders {
        let Commands { assign, cancel, retract, drain, notices } = commands;
        let assign = assign
            .into_iter()
            .filter_map(|(attempt, held)| {
                let assignment = self.assignment(world, attempt, held);
                if assignment.is_none() {
                    tracing::error!(%attempt, %node, "placed without a spec; not assigned");
                }
                assignment
            })
            .collect();
        Orders { assign, cancel, retract, drain, notices }
    }

    fn assignment(
        &mut self,
        world: &World,
        attempt: AttemptId,
        held: bool,
    ) -> Option<(Assignment, Work)> {
        let group = attempt.task.group_id();
        let job = world.durable.jobs.get(&group.job)?;
        let spec = job.spec.groups.get(usize::from(group.group))?;
        let item = usize::try_from(attempt.task.index).ok().and_then(|index| spec.items.get(index));
        let work = self.works.entry(group).or_insert_with(|| {
            let namespace = job.spec.namespace.clone();
            Arc::new(GroupWork { namespace, spec: without_items(spec) })
        });
        Some((Assignment { attempt, held, item: item.cloned() }, Arc::clone(work)))
    }
}

fn without_items(spec: &Arc<GroupSpec>) -> Arc<GroupSpec> {
    if spec.items.is_empty() { Arc::clone(spec) } else { Arc::new(spec.without_items()) }
}

/// How the task is settled by this, if it is.
fn settled_as(after: &After) -> Option<&'static str> {
    match after {
        After::Succeeded => Some("succeeded"),
        After::Cancelled => Some("cancelled"),
        After::Keep(task) => matches!(task.state, TaskState::Failed(_)).then_some("failed"),
    }
}

/// Whether the task is settled by this.
pub(super) fn settles(after: &After) -> bool {
    settled_as(after).is_some()
}

/// The job of a change, where it has one; for log lines.
pub(super) fn job_of(attempt: AttemptId) -> JobId {
    attempt.task.job
}
