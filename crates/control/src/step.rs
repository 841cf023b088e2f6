//! The step itself: inputs, timers, settlement, placement.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AttemptId, Change, IntentId, JobId, NodeId, Outcome, TaskEvent, TaskId, TaskResult, Timestamp,
    World,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::invariant::Checks;
use crate::{Commands, Config, Decision, Input, Note, NoteKind, Reply};
use crate::{after, capacity, jobs, ledger, nodes, notices, place, retry, sync, timers};

/// Decides over what happened. `now` must not be before `world.durable.head.now`.
pub fn step(world: &mut World, config: &Config, inputs: Vec<Input>, now: Timestamp) -> Decision {
    let seed = world.durable.head.seed;
    let seq = world.durable.head.seq + 1;
    let mut step = Step {
        world,
        config,
        now,
        changes: Vec::new(),
        checks: Checks::default(),
        commands: BTreeMap::new(),
        notes: Vec::new(),
        touched_jobs: BTreeSet::new(),
        stale_nets: BTreeSet::new(),
        restless: BTreeSet::new(),
        has_notices: false,
        billed_until: None,
        replan: false,
        node_ids: child_rng(seed, seq, 1),
        intent_ids: child_rng(seed, seq, 2),
    };
    let replies = inputs.into_iter().map(|input| step.take(input)).collect();
    capacity::replace(&mut step);
    timers::run(&mut step);
    jobs::settle_touched(&mut step);
    let more = place::run(&mut step);
    timers::observe_idle(&mut step);
    let wake = if more { Some(now) } else { timers::next(step.world, config) };
    let take_in = jobs::room_for_backlog(step.world, config);
    let Step { world, changes, checks, commands, notes, replan, .. } = step;
    if !changes.is_empty() {
        world.durable.head.seq = seq;
        world.durable.head.now = now;
    }
    let lookup = world.observed.unknown.clone();
    let violations = checks.close(world, now);
    Decision { changes, replies, commands, wake, replan, take_in, lookup, violations, notes }
}

/// One child stream for each kind of id, so that one more draw of one shifts nothing of the other.
fn child_rng(seed: u64, seq: u64, kind: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&seq.to_le_bytes());
    bytes[16..24].copy_from_slice(&kind.to_le_bytes());
    ChaCha8Rng::from_seed(bytes)
}

/// What the parts of a step share.
pub(crate) struct Step<'w> {
    pub(crate) world: &'w mut World,
    pub(crate) config: &'w Config,
    pub(crate) now: Timestamp,
    pub(crate) notes: Vec<Note>,
    /// Jobs of which a task was settled, or that are empty of unsettled ones.
    pub(crate) touched_jobs: BTreeSet<JobId>,
    /// Jobs of which something changed that [`deadline`](crate::deadline) computes from.
    pub(crate) stale_nets: BTreeSet<JobId>,
    /// Nodes that may have become idle, or have ceased to be.
    pub(crate) restless: BTreeSet<NodeId>,
    /// Nodes have to go since this step.
    pub(crate) has_notices: bool,
    /// While a node is taken out whose machine ended before now: when it did.
    pub(crate) billed_until: Option<Timestamp>,
    /// For [`Decision::replan`].
    pub(crate) replan: bool,
    changes: Vec<Change>,
    checks: Checks,
    commands: BTreeMap<NodeId, Commands>,
    node_ids: ChaCha8Rng,
    intent_ids: ChaCha8Rng,
}

impl Step<'_> {
    fn take(&mut self, input: Input) -> Reply {
        match input {
            Input::Submit { job, spec } => jobs::submit(self, job, spec),
            Input::TakeIn { jobs } => jobs::take_in(self, jobs),
            Input::StopJob { job } => jobs::stop(self, job, model::Cause::Stopped),
            Input::StopTask { task } => jobs::stop_task(self, task),
            Input::PatchJob { job, patch, spec } => jobs::patch(self, job, patch, spec),
            Input::RetryJob { job, settled } => retry::retry(self, job, settled),
            Input::DependenciesSettled(settled) => after::settled(self, settled),
            Input::InboxDone { rows } => {
                self.emit(Change::InboxDone { rows });
                Reply::Done
            }
            Input::Join { joiner, session, capacity } => {
                nodes::join(self, joiner, session, capacity)
            }
            Input::Sync { node, session, transitions, inventory, notice } => {
                sync::sync(self, node, session, transitions, inventory, notice)
            }
            Input::Closed { node, session } => nodes::closed(self, node, session),
            Input::Notice(notice) => notices::from_cloud(self, notice),
            Input::Launched { intent, answer } => capacity::launched(self, intent, answer),
            Input::Retired { instances } => nodes::retired(self, &instances),
            Input::Listed { machines, asked } => capacity::listed(self, &machines, asked),
            Input::Offers(mut offers) => {
                offers.sort_by(|one, other| one.pool.cmp(&other.pool));
                self.world.observed.offers = offers;
                Reply::Done
            }
            Input::Plan(plan) => capacity::admit(self, *plan),
            Input::Drain { node } => nodes::drain(self, node, true),
            Input::Undrain { node } => nodes::drain(self, node, false),
        }
    }

    /// Adds a change; World has it at once. A promise that it breaks is told, and changes nothing.
    pub(crate) fn emit(&mut self, change: Change) {
        self.checks.before(self.world, &change);
        self.world.apply(&change);
        self.changes.push(change);
    }

    /// What a node is told when this step is durable.
    pub(crate) fn tell(&mut self, node: NodeId) -> &mut Commands {
        self.commands.entry(node).or_default()
    }

    /// Until when machine time is booked.
    pub(crate) fn billed_until(&self) -> Timestamp {
        self.billed_until.unwrap_or(self.now)
    }

    /// A decision in words.
    pub(crate) fn note(&mut self, subject: impl ToString, words: impl Into<String>) {
        let (subject, kind) = (subject.to_string(), NoteKind::Passing);
        self.notes.push(Note { subject, kind, words: words.into() });
    }

    /// A launch, a retirement or a refusal in words, for somebody who asks when World has forgotten
    /// it.
    pub(crate) fn keep(&mut self, subject: impl ToString, words: impl Into<String>) {
        let (subject, kind) = (subject.to_string(), NoteKind::Kept);
        self.notes.push(Note { subject, kind, words: words.into() });
    }

    /// What cannot be, and yet somebody says so.
    pub(crate) fn odd(&mut self, subject: impl ToString, words: String) {
        self.notes.push(Note { subject: subject.to_string(), kind: NoteKind::Odd, words });
    }

    /// A node id that no other node has; it grows with time.
    pub(crate) fn new_node_id(&mut self) -> NodeId {
        loop {
            let id = NodeId::from_number(drawn(self.now, self.node_ids.next_u64()));
            if !self.world.durable.nodes.contains_key(&id) {
                return id;
            }
        }
    }

    /// An intent id that no other intent has.
    pub(crate) fn new_intent_id(&mut self) -> IntentId {
        loop {
            let id = IntentId::from_number(drawn(self.now, self.intent_ids.next_u64()));
            if !self.world.durable.intents.contains_key(&id) {
                return id;
            }
        }
    }

    /// Carries an event of a task out, whatever it means in the task's state: the one place where
    /// attempts end, are booked, and jobs are marked for settlement. False when it meant nothing.
    pub(crate) fn task_event(
        &mut self,
        id: TaskId,
        event: TaskEvent,
        result: Option<Box<TaskResult>>,
    ) -> bool {
        let Some(task) = self.world.task(id).copied() else { return false };
        let Some(spec) = self.world.group_spec(id.group_id()).cloned() else { return false };
        let Some(next) = task.on(event, &spec.restart, self.now) else { return false };
        let attempt = id.attempt(task.attempt);
        match (next.ended, task.placement()) {
            (Some(end), Some(placement)) => {
                let placement = with_start(*placement, result.as_deref(), self.now);
                ledger::book_attempt(self, attempt, &placement, end, spec.resources);
                let (at, after) = (self.now, next.after);
                self.emit(Change::Ended { attempt, placement, end, at, after, result });
                self.touched_jobs.insert(id.job);
            }
            _ => self.emit_unended(attempt, event, next.after),
        }
        true
    }

    fn emit_unended(&mut self, attempt: AttemptId, event: TaskEvent, after: model::After) {
        match (after, event) {
            (model::After::Keep(task), TaskEvent::Place { .. }) => {
                self.emit(Change::Placed { attempt: attempt.task.attempt(task.attempt), task });
            }
            (model::After::Keep(_), TaskEvent::Due) => {
                self.emit(Change::Due { task: attempt.task });
            }
            (model::After::Keep(entry), TaskEvent::Retry) => {
                self.emit(Change::TaskRetried { task: attempt.task, entry });
            }
            (model::After::Keep(task), _) => self.emit(Change::Bound { attempt, task }),
            (model::After::Cancelled | model::After::Succeeded, _) => {
                self.emit(Change::RetryCancelled { task: attempt.task });
                self.touched_jobs.insert(attempt.task.job);
            }
        }
    }
}

/// A process that ended has started, even if both were reported at once.
fn with_start(
    mut placement: model::Placement,
    result: Option<&TaskResult>,
    now: Timestamp,
) -> model::Placement {
    if let Some(result) = result
        && placement.started.is_none()
        && !matches!(result.outcome, Outcome::Returned | Outcome::NotStarted)
    {
        let run_ms = i64::try_from(result.run_ms).unwrap_or(i64::MAX);
        placement.started = Some(now.plus_ms(-run_ms).max(placement.assigned));
    }
    placement
}

/// 43 bits of milliseconds, 20 of noise.
fn drawn(now: Timestamp, noise: u64) -> u64 {
    let ms = u64::try_from(now.as_ms()).unwrap_or(0);
    (ms << 20) | (noise & 0xf_ffff)
}
