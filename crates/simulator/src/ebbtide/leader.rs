//! The leader: all that gathered while the last commit flew goes into one step; what the step decided
//! leaves when it is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::{BacklogJob, Commands, Config, Decision, Input, Reply};
use model::{
    After, Change, InstanceId, IntentId, IntentState, JobId, JobSpec, MicroUsd, Node, NodeId,
    NodeOrigin, NodeReason, NodeState, Offer, Resources, Timestamp, World,
};

use super::heap::Event;
use super::latency::Takes;
use super::run::Run;
use super::{millis, timestamp};

/// Who waits for the reply to an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// Nobody.
    None,
    /// A digester that joins.
    Join(usize),
    /// The executor that sends launches, one after another.
    Launch,
    /// The executor that ends machines.
    Retire,
    /// The executor that reads the backlog.
    Backlog,
}

/// The leader's own.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) world: World,
    pub(super) config: Config,
    inbox: Vec<Input>,
    askers: Vec<Asker>,
    /// Jobs that wait in their table.
    backlog: BTreeMap<JobId, (Arc<JobSpec>, Timestamp)>,
    /// Of the backlog's table, what a read under way is for.
    reading: bool,
    take_in: u32,
    /// A commit flies.
    pub(super) busy: bool,
    /// The next timer.
    wake_ms: Option<u64>,
    /// When a step is on the heap.
    step_ms: Option<u64>,
}

/// A timer that is due again at once although nothing came of it would spin: the manager's own wait.
const LEAST_WAIT_MS: u64 = 10;
/// Backlog jobs of one step, as in the manager.
const BACKLOG_JOBS: usize = 5_000;

impl Leader {
    pub(super) fn new(world: World, config: Config) -> Self {
        Self {
            world,
            config,
            inbox: Vec::new(),
            askers: Vec::new(),
            backlog: BTreeMap::new(),
            reading: false,
            take_in: 0,
            busy: false,
            wake_ms: None,
            step_ms: None,
        }
    }

    /// A machine is there before the run begins: joined, as a cold start would load it.
    pub(super) fn bear(
        &mut self,
        id: NodeId,
        instance: InstanceId,
        intent: IntentId,
        offer: Offer,
        session: u64,
        capacity: Resources,
    ) {
        let now = timestamp(0);
        let node = Node {
            id,
            origin: NodeOrigin::Cloud { instance, intent, offer },
            capacity,
            state: NodeState::Ready,
            since: now,
            reason: NodeReason::Joined,
            launched: now,
            joined: Some(now),
            session: Some(session),
            deadline: None,
            booked: MicroUsd(0),
        };
        self.world.apply(&Change::Node(Box::new(node)));
    }

    /// Whether all that it was told is settled.
    pub(super) fn is_done(&self) -> bool {
        self.world.durable.jobs.is_empty() && self.backlog.is_empty() && self.inbox.is_empty()
    }
}

impl Run {
    /// Hands an input to the next step.
    pub(super) fn tell(&mut self, input: Input) {
        self.ask(input, Asker::None);
    }

    /// The same for somebody who waits for the reply.
    pub(super) fn ask(&mut self, input: Input, asker: Asker) {
        self.leader.inbox.push(input);
        self.leader.askers.push(asker);
        if !self.leader.busy {
            self.wish_step(self.now_ms);
        }
    }

    fn wish_step(&mut self, at_ms: u64) {
        let at_ms = at_ms.max(self.now_ms);
        if self.leader.step_ms.is_none_or(|step_ms| at_ms < step_ms) {
            self.leader.step_ms = Some(at_ms);
            self.heap.push(at_ms, Event::Step);
        }
    }

    /// Decides over what gathered, or over a timer that is due.
    pub(super) fn step(&mut self) {
        if self.leader.step_ms != Some(self.now_ms) {
            return;
        }
        self.leader.step_ms = None;
        let due = self.leader.wake_ms.is_some_and(|wake_ms| wake_ms <= self.now_ms);
        let idle = !due && self.leader.inbox.is_empty();
        if self.leader.busy || idle {
            return;
        }
        let inputs = std::mem::take(&mut self.leader.inbox);
        let askers = std::mem::take(&mut self.leader.askers);
        self.planning.heed(&inputs);
        let now = timestamp(self.now_ms);
        let leader = &mut self.leader;
        let decision = control::step(&mut leader.world, &leader.config, inputs, now);
        self.planning.saw(&decision);
        self.audit.step(&self.leader.world, now, &decision);
        let least_ms = if decision.changes.is_empty() { LEAST_WAIT_MS } else { 0 };
        let wake_ms = decision.wake.map(millis).filter(|wake_ms| *wake_ms < super::HORIZON_MS);
        self.leader.wake_ms = wake_ms.map(|wake_ms| wake_ms.max(self.now_ms + least_ms));
        if decision.changes.is_empty() {
            self.release(decision, askers);
        } else {
            self.leader.busy = true;
            let durable_ms = self.now_ms + self.latency.of(Takes::Commit);
            self.heap.push(durable_ms, Event::Committed(Box::new(decision), askers));
        }
    }

    /// A step is durable.
    pub(super) fn committed(&mut self, decision: Decision, askers: Vec<Asker>) {
        self.leader.busy = false;
        self.release(decision, askers);
    }

    /// Lets out what a step decided.
    fn release(&mut self, decision: Decision, askers: Vec<Asker>) {
        let Decision { changes, replies, mut commands, take_in, .. } = decision;
        for (reply, asker) in replies.into_iter().zip(askers) {
            self.answer(reply, asker);
        }
        for change in &changes {
            self.let_out(change, &mut commands);
        }
        for (node, commands) in commands {
            let known = self.leader.world.durable.nodes.contains_key(&node);
            if let Some(worker) = self.nodes.get(&node).copied().filter(|_| known) {
                let at_ms = self.now_ms + self.latency.of(Takes::Network);
                self.heap.push(at_ms, Event::Commands(worker, Box::new(commands)));
            }
        }
        self.leader.take_in = take_in;
        self.read_backlog();
        self.call_on();
        if !self.leader.inbox.is_empty() {
            self.wish_step(self.now_ms);
        } else if let Some(wake_ms) = self.leader.wake_ms {
            self.wish_step(wake_ms);
        }
        self.plan_on();
    }

    fn answer(&mut self, reply: Reply, asker: Asker) {
        match (asker, reply) {
            (Asker::None, _) => {}
            (Asker::Join(worker), Reply::Joined(node)) => self.joined(worker, node),
            (Asker::Join(_), reply) => self.audit.fault(format!("a join was answered {reply:?}")),
            (Asker::Launch, _) => self.cloud.launching = false,
            (Asker::Retire, _) => self.cloud.ending = false,
            (Asker::Backlog, _) => self.leader.reading = false,
        }
    }

    fn let_out(&mut self, change: &Change, commands: &mut BTreeMap<NodeId, Commands>) {
        match change {
            Change::Ended { attempt, placement, after, result, .. } => {
                // Not by the node's word: should it be heard of again, its number there is void.
                if result.is_none() {
                    commands.entry(placement.node).or_default().cancel.push(*attempt);
                }
                if matches!(after, After::Succeeded) {
                    self.tasks.settled(attempt.task);
                }
            }
            Change::JobSettled { job, .. } => self.tasks.forget(*job),
            Change::JobSubmitted { job, spec, at, taken_in: false } => {
                self.leader.backlog.insert(*job, (spec.clone(), *at));
            }
            Change::JobTakenIn { job, .. } => {
                self.leader.backlog.remove(job);
            }
            Change::Intent(intent) => {
                if matches!(intent.state, IntentState::Closed(_)) {
                    self.cloud.forget(intent.id);
                } else {
                    self.cloud.want(intent.id);
                }
            }
            Change::Node(node) if node.state == NodeState::Retiring => {
                if let Some(instance) = node.instance() {
                    self.cloud.retiring.insert(instance.clone());
                }
            }
            Change::Node(node) if node.state == NodeState::Gone => {
                self.nodes.remove(&node.id);
            }
            _ => {}
        }
    }

    /// Hands jobs of the backlog to the step as it asks for them.
    fn read_backlog(&mut self) {
        let leader = &mut self.leader;
        if leader.take_in > 0 && !leader.backlog.is_empty() && !leader.reading {
            leader.reading = true;
            let at_ms = self.now_ms + self.latency.of(Takes::Read);
            self.heap.push(at_ms, Event::Backlog);
        }
    }

    /// They were read.
    pub(super) fn backlog_read(&mut self) {
        let most = usize::try_from(self.leader.take_in).unwrap_or(usize::MAX).min(BACKLOG_JOBS);
        let jobs = self.leader.backlog.iter().take(most).map(|(id, (spec, submitted))| {
            BacklogJob { id: *id, spec: spec.clone(), submitted: *submitted }
        });
        let input = Input::TakeIn { jobs: jobs.collect() };
        self.ask(input, Asker::Backlog);
    }

    /// Jobs in World, and in the backlog.
    pub(super) fn unsettled_jobs(&self) -> BTreeSet<JobId> {
        let world = self.leader.world.durable.jobs.keys();
        world.chain(self.leader.backlog.keys()).copied().collect()
    }
}
