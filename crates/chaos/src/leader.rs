//! A manager: it waits for the lease, leads, and decides by `control::step`. As
//! `manager::leader`: all that gathered while the last commit flew goes into one step, and nothing
//! leaves before it is durable.

use std::collections::{BTreeMap, BTreeSet};

use control::{Commands, Config, Decision, Input, Reply};
use model::{
    AttemptId, Change, InstanceId, Intent, IntentState, JobId, NodeId, NodeState, Timestamp, World,
};

use crate::calls::Calls;
use crate::disk::{Commit, Written};
use crate::machine::{Assignment, Poll, Told};
use crate::post::{Post, Waiting};
use crate::run::{Event, Run, Task};
use crate::{Fault, timestamp};

/// Life of a lease, and how long before its end a leader stops: the manager's own.
const LEASE_MS: u64 = 10_000;
const MARGIN_MS: u64 = 2_000;
/// Between two looks at a lease that another one holds.
const CAMPAIGN_MS: u64 = 500;
/// The wait of a poll.
const POLL_MS: u64 = 15_000;
/// A timer that is due again at once although nothing came of it would spin.
const LEAST_WAIT_MS: u64 = 10;

/// A process.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    pub(crate) is_alive: bool,
    /// It stands still until then.
    pub(crate) hung_until_ms: u64,
    /// What its wall clock is ahead of the time, and behind.
    pub(crate) skew_ms: i64,
    /// Counts processes and terms: what was on its way for an earlier one means nothing.
    pub(crate) era: u64,
    pub(crate) reign: Option<Box<Reign>>,
}

/// A term of it.
#[derive(Debug)]
pub(crate) struct Reign {
    pub(crate) term: u64,
    pub(crate) world: World,
    pub(crate) config: Config,
    clock: control::StepClock,
    /// Until when it may believe that it leads, by the time that passes everywhere alike.
    pub(crate) until_ms: u64,
    inbox: Vec<Input>,
    askers: Vec<Asker>,
    /// What a commit flies for.
    flying: Option<(Decision, Vec<Asker>)>,
    wake_ms: Option<u64>,
    step_ms: Option<u64>,
    posts: BTreeMap<NodeId, Post>,
    /// What executors see: durable.
    pub(crate) rows: Rows,
    pub(crate) calls: Calls,
}

/// What is durable and to be carried out.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) intents: Vec<Intent>,
    pub(crate) retiring: Vec<InstanceId>,
    pub(crate) take_in: u32,
    pub(crate) lookup: BTreeSet<JobId>,
}

/// Who waits for a reply.
#[derive(Debug)]
pub(crate) enum Asker {
    Nobody,
    Join {
        body: usize,
        call: u64,
    },
    Poll {
        body: usize,
        call: u64,
        poll: Box<Poll>,
        taken: u64,
    },
    /// Of notices, to be deleted from the queue.
    Notices(Vec<String>),
    /// An executor that waits for its turn.
    Launch,
    Retire,
    Inbox,
    Backlog,
    Lookup,
    /// A client's submit.
    Client(usize),
}

impl Manager {
    /// What it is doing, for coverage.
    pub(crate) fn state(&self) -> &'static str {
        match &self.reign {
            None => "standing-by",
            Some(reign) if reign.flying.is_some() => "committing",
            Some(reign) if !reign.inbox.is_empty() => "deciding",
            Some(_) => "leading",
        }
    }
}

impl Reign {
    /// Whether World is ahead of the disk.
    pub(crate) fn is_flying(&self) -> bool {
        self.flying.is_some()
    }

    /// The step's time, as the manager takes it.
    pub(crate) fn now(&mut self, now_ms: u64, skew_ms: i64) -> Timestamp {
        self.clock.now(timestamp(now_ms).plus_ms(skew_ms), now_ms)
    }
}

impl Run {
    pub(crate) fn start_manager(&mut self, manager: usize) {
        let Some(it) = self.managers.get_mut(manager) else { return };
        it.is_alive = true;
        it.era += 1;
        it.reign = None;
        self.later(manager, 1, Task::Campaign);
    }

    /// Puts a task of this process onto the heap.
    pub(crate) fn later(&mut self, manager: usize, in_ms: u64, task: Task) {
        let Some(it) = self.managers.get(manager) else { return };
        let era = it.era;
        self.heap.push(self.now_ms + in_ms, Event::Manager { manager, era, task });
    }

    pub(crate) fn manager_does(&mut self, manager: usize, era: u64, task: Task) {
        let Some(it) = self.managers.get(manager) else { return };
        if !it.is_alive || it.era != era {
            return;
        }
        if it.hung_until_ms > self.now_ms {
            self.heap.push(it.hung_until_ms, Event::Manager { manager, era, task });
            return;
        }
        if let Task::Campaign = task {
            return self.campaign(manager);
        }
        let Some(reign) = it.reign.as_ref() else { return };
        if reign.until_ms <= self.now_ms && !matches!(task, Task::Renewed(_)) {
            return self.depose(manager, "its lease ran out");
        }
        match task {
            Task::Campaign => {}
            Task::Renew => self.renew(manager),
            Task::Renewed(until) => self.renewed(manager, until),
            Task::Step => self.step(manager),
            Task::Committed(committed) => self.committed(manager, committed),
            Task::LaunchOn => self.launch_on(manager),
            Task::Launched(id, answer) => {
                self.ask(manager, Input::Launched { intent: id, answer }, Asker::Launch);
            }
            Task::RetireOn => self.retire_on(manager),
            Task::Retired(instances) => self.retired(manager, instances),
            Task::List => self.list(manager),
            Task::Offers => self.look_at_offers(manager),
            Task::Notices => self.receive(manager),
            Task::Acknowledge(receipts) => self.sky.acknowledge(&receipts),
            Task::Inbox => self.read_inbox(manager),
            Task::Backlog => self.read_backlog(manager),
            Task::Lookup => self.look_up(manager),
            Task::Plan => self.plan(manager),
            Task::Planned(plan) => self.planned(manager, plan),
            Task::PollOver(node, call) => self.poll_over(manager, node, call),
            Task::Input(input) => self.ask(manager, *input, Asker::Nobody),
        }
    }

    fn campaign(&mut self, manager: usize) {
        let term = self.disk.acquire(manager, LEASE_MS, self.now_ms);
        let Some(term) = term else { return self.later(manager, CAMPAIGN_MS, Task::Campaign) };
        let Some(it) = self.managers.get_mut(manager) else { return };
        it.era += 1;
        let mut world = World::new(self.disk.load());
        let wall = timestamp(self.now_ms).plus_ms(it.skew_ms);
        let mut clock = control::StepClock::begin(world.durable.head.now, wall, self.now_ms);
        let now = clock.now(wall, self.now_ms);
        world.observed.leader_since = now;
        let mut reign = Reign {
            term,
            config: Config { max_jobs: 8, ..Config::default() },
            clock,
            until_ms: self.now_ms + LEASE_MS - MARGIN_MS,
            inbox: Vec::new(),
            askers: Vec::new(),
            flying: None,
            wake_ms: Some(self.now_ms),
            step_ms: None,
            posts: BTreeMap::new(),
            rows: Rows::default(),
            calls: Calls::new(self.now_ms),
            world,
        };
        reign.rows.see(&reign.world, 0, BTreeSet::new());
        for node in reign.world.durable.nodes.values() {
            if !node.takes_work() && node.joined.is_some() {
                reign.posts.entry(node.id).or_default().drain(true);
            }
        }
        it.reign = Some(Box::new(reign));
        self.witness.leads(manager, self.now_ms);
        self.wish_step(manager, self.now_ms);
        self.later(manager, LEASE_MS / 4, Task::Renew);
        for (in_ms, task) in [
            (1, Task::Offers),
            (2, Task::List),
            (3, Task::Notices),
            (4, Task::Inbox),
            (5, Task::LaunchOn),
            (6, Task::RetireOn),
            (7, Task::Backlog),
            (8, Task::Lookup),
            (9, Task::Plan),
        ] {
            self.later(manager, in_ms, task);
        }
    }

    fn renew(&mut self, manager: usize) {
        let Some(reign) = self.managers.get(manager).and_then(|it| it.reign.as_ref()) else {
            return;
        };
        let renewed = self.disk.renew(manager, reign.term, LEASE_MS, self.now_ms);
        let until_ms = renewed.then_some(self.now_ms + LEASE_MS - MARGIN_MS);
        let lost = self.dice.happens(Fault::CommitUnanswered, "renewing", self.now_ms);
        if !lost {
            self.later(manager, 2, Task::Renewed(until_ms));
        }
        self.later(manager, LEASE_MS / 4, Task::Renew);
    }

    fn renewed(&mut self, manager: usize, until_ms: Option<u64>) {
        let reign = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut());
        match (reign, until_ms) {
            (Some(reign), Some(until_ms)) => reign.until_ms = until_ms,
            (Some(_), None) => self.depose(manager, "another one leads"),
            (None, _) => {}
        }
    }

    /// Drops World and the leadership; there is no way back but to load it again.
    pub(crate) fn depose(&mut self, manager: usize, why: &str) {
        let Some(it) = self.managers.get_mut(manager) else { return };
        let Some(reign) = it.reign.take() else { return };
        it.era += 1;
        self.disk.release(manager, reign.term);
        self.note(|| format!("manager {manager} leads no more: {why}"));
        for waiting in reign.posts.into_values().filter_map(|post| post.open) {
            self.answer(waiting.body, waiting.call, Told::Later);
        }
        for asker in reign.askers.into_iter().chain(reign.flying.into_iter().flat_map(|it| it.1)) {
            if let Asker::Join { body, call } | Asker::Poll { body, call, .. } = asker {
                self.answer(body, call, Told::Later);
            }
        }
        self.later(manager, CAMPAIGN_MS, Task::Campaign);
    }

    /// Hands an input to the next step of a leader.
    pub(crate) fn ask(&mut self, manager: usize, input: Input, asker: Asker) {
        self.ask_all(manager, vec![input], asker);
    }

    /// Several of one step; the asker hears of the last.
    pub(crate) fn ask_all(&mut self, manager: usize, inputs: Vec<Input>, asker: Asker) {
        let reign = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut());
        let Some(reign) = reign else { return };
        let others = inputs.len().saturating_sub(1);
        reign.inbox.extend(inputs);
        reign.askers.extend((0..others).map(|_| Asker::Nobody));
        reign.askers.push(asker);
        if reign.flying.is_none() {
            self.wish_step(manager, self.now_ms);
        }
    }

    fn wish_step(&mut self, manager: usize, at_ms: u64) {
        let at_ms = at_ms.max(self.now_ms);
        let Some(it) = self.managers.get_mut(manager) else { return };
        let era = it.era;
        let Some(reign) = it.reign.as_mut() else { return };
        if reign.step_ms.is_none_or(|step_ms| at_ms < step_ms) {
            reign.step_ms = Some(at_ms);
            self.heap.push(at_ms, Event::Manager { manager, era, task: Task::Step });
        }
    }

    fn step(&mut self, manager: usize) {
        let Some(it) = self.managers.get_mut(manager) else { return };
        let skew_ms = it.skew_ms;
        let Some(reign) = it.reign.as_mut() else { return };
        if reign.step_ms.is_none_or(|step_ms| step_ms > self.now_ms) {
            return;
        }
        reign.step_ms = None;
        let due = reign.wake_ms.is_some_and(|wake_ms| wake_ms <= self.now_ms);
        let nothing = !due && reign.inbox.is_empty();
        if nothing || reign.flying.is_some() {
            return;
        }
        let inputs = std::mem::take(&mut reign.inbox);
        let askers = std::mem::take(&mut reign.askers);
        reign.calls.heed(&inputs);
        let now = reign.now(self.now_ms, skew_ms);
        for input in &inputs {
            self.witness.hears(manager, input, self.now_ms);
        }
        let decision = control::step(&mut reign.world, &reign.config, inputs, now);
        let least_ms = if decision.changes.is_empty() { LEAST_WAIT_MS } else { 0 };
        let wait_ms = decision.wake.map(|wake| wake.since(now).max(least_ms));
        reign.wake_ms = wait_ms.map(|wait_ms| self.now_ms + wait_ms);
        let (term, seq) = (reign.term, reign.world.durable.head.seq);
        if decision.replan || !decision.changes.is_empty() {
            reign.calls.changed();
        }
        if let Some(violation) = decision.violations.first().cloned() {
            return self.breach(violation.invariant, violation.words);
        }
        if decision.changes.is_empty() {
            return self.release(manager, decision, askers);
        }
        let changes = decision.changes.clone();
        let era = it.era;
        reign.flying = Some((decision, askers));
        let commit = Box::new(Commit { term, seq, now, changes });
        let at_ms = self.between(1, 3);
        self.heap.push(at_ms, Event::Commit { manager, era, commit });
    }

    /// A commit reaches the database, whatever has become of who sent it.
    pub(crate) fn commit_arrives(&mut self, manager: usize, era: u64, commit: &Commit) {
        let state = self.managers.get(manager).map_or("standing-by", Manager::state);
        let committed = if self.dice.happens(Fault::CommitFails, state, self.now_ms) {
            Written::Failed
        } else {
            self.disk.commit(commit)
        };
        if committed == Written::Durable {
            self.note(|| format!("commit {} {} {:?}", commit.term, commit.seq, commit.changes));
            self.durable(manager, commit);
        }
        // The store reads the head when an answer is lost; that may fail, too.
        let unanswered = self.dice.happens(Fault::CommitUnanswered, state, self.now_ms);
        let (in_ms, told) = match unanswered {
            true if self.dice.how_much(Fault::CommitUnanswered, 0, 1) == 0 => {
                (3_000, Written::Failed)
            }
            true => (3_000, committed),
            false => (2, committed),
        };
        let task = Task::Committed(told);
        self.heap.push(self.now_ms + in_ms, Event::Manager { manager, era, task });
    }

    fn committed(&mut self, manager: usize, committed: Written) {
        match committed {
            Written::Durable => {}
            Written::Fenced => return self.depose(manager, "fenced"),
            Written::Failed => return self.depose(manager, "a commit failed"),
        }
        let reign = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut());
        if let Some((decision, askers)) = reign.and_then(|reign| reign.flying.take()) {
            self.release(manager, decision, askers);
        }
    }

    /// Lets out what a step decided: commands before replies, so that the answer to a poll carries
    /// what the same step decided for its node.
    fn release(&mut self, manager: usize, decision: Decision, askers: Vec<Asker>) {
        let Decision { changes, replies, commands, take_in, lookup, .. } = decision;
        let Some(reign) = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut()) else {
            return;
        };
        for change in &changes {
            reign.forget_what_ended(change);
        }
        for (node, commands) in commands {
            reign.deliver(node, commands, self.now_ms);
        }
        let concerns = |change: &Change| matches!(change, Change::Intent(_) | Change::Node(_));
        let asks = (reign.rows.take_in, &reign.rows.lookup) != (take_in, &lookup);
        if asks || changes.iter().any(concerns) {
            reign.rows.see(&reign.world, take_in, lookup);
        }
        let news: Vec<NodeId> = reign
            .posts
            .iter()
            .filter(|(_, post)| post.open.is_some() && post.has_news())
            .map(|(node, _)| *node)
            .collect();
        for (reply, asker) in replies.into_iter().zip(askers) {
            self.reply(manager, reply, asker);
        }
        for node in news {
            self.answer_open(manager, node);
        }
        let reign = self.managers.get(manager).and_then(|it| it.reign.as_ref());
        let Some(reign) = reign else { return };
        match (reign.inbox.is_empty(), reign.wake_ms) {
            (false, _) => self.wish_step(manager, self.now_ms),
            (true, Some(wake_ms)) => self.wish_step(manager, wake_ms),
            (true, None) => {}
        }
        self.call_on(manager);
    }

    fn reply(&mut self, manager: usize, reply: Reply, asker: Asker) {
        match (asker, reply) {
            (Asker::Nobody, _) => {}
            (Asker::Join { body, call }, Reply::Joined(node)) => {
                let reign = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut());
                let Some(reign) = reign else { return };
                reign.posts.entry(node).or_default().joined();
                let term = reign.term;
                self.gives_token(node, body);
                self.answer(body, call, Told::Joined { node, term });
            }
            (Asker::Join { body, call }, _) => self.answer(body, call, Told::Refused),
            (Asker::Poll { body, call, poll, taken }, Reply::Done) => {
                self.poll_taken(manager, Waiting { body, call, until_ms: 0 }, &poll, taken);
            }
            (Asker::Poll { body, call, .. }, Reply::Fenced | Reply::NotFound) => {
                self.answer(body, call, Told::Unknown);
            }
            (Asker::Poll { body, call, .. }, _) => self.answer(body, call, Told::Later),
            (Asker::Notices(receipts), _) => self.later(manager, 5, Task::Acknowledge(receipts)),
            (Asker::Client(order), Reply::Done) => self.accepted(order, None),
            (Asker::Client(_), _) => {}
            (asker, _) => self.executor_goes_on(manager, &asker),
        }
    }

    /// A digester joins or polls.
    pub(crate) fn take_call(
        &mut self,
        manager: usize,
        body: usize,
        call: u64,
        said: crate::machine::Said,
    ) {
        let Some(reign) = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut()) else {
            return;
        };
        match said {
            crate::machine::Said::Join { joiner, session, capacity, .. } => {
                let input = Input::Join { joiner, session, capacity };
                self.ask(manager, input, Asker::Join { body, call });
            }
            crate::machine::Said::Poll(mut poll) => {
                let ahead = poll.term_seen > reign.term;
                let post = reign.posts.entry(poll.node).or_default();
                if ahead {
                    return self.answer(body, call, Told::Later);
                }
                let of_this_term = poll.term_seen == reign.term;
                if of_this_term && post.gap(poll.session, poll.spool_offset) {
                    return self.answer(body, call, Told::Unknown);
                }
                if !post.arrives(poll.poll) || !of_this_term {
                    poll.inventory = None;
                }
                let transitions = std::mem::take(&mut poll.transitions);
                let taken = u64::try_from(transitions.len()).unwrap_or(0);
                let input = Input::Sync {
                    node: poll.node,
                    session: poll.session,
                    transitions,
                    inventory: poll.inventory.clone(),
                    notice: poll.notice,
                };
                self.ask(manager, input, Asker::Poll { body, call, poll, taken });
            }
        }
    }

    /// What a poll brought is durable: it is answered, now or when there is something to say.
    fn poll_taken(&mut self, manager: usize, waiting: Waiting, poll: &Poll, taken: u64) {
        let now_ms = self.now_ms;
        let Some(reign) = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut()) else {
            return;
        };
        let (term, node) = (reign.term, poll.node);
        let post = reign.posts.entry(node).or_default();
        let end = poll.spool_offset + taken;
        let of_this_term = poll.term_seen == term;
        let acked_offset = if of_this_term { post.taken(poll.session, end) } else { end };
        let begun = post.begin(poll.poll, poll.answered, poll.inventory.is_some());
        if !begun {
            return self.answer(waiting.body, waiting.call, Told::Later);
        }
        let mut answers = Vec::new();
        if let Some(old) = post.open.take() {
            let orders = crate::machine::Orders { drain: post.is_draining(), ..Default::default() };
            answers.push((old, Told::Orders { term, acked_offset, orders }));
        }
        let at_once = taken > 0 || poll.term_seen < term;
        if at_once || post.has_news() {
            let (acked_offset, orders) = post.take(now_ms);
            answers.push((waiting, Told::Orders { term, acked_offset, orders }));
        } else {
            post.open = Some(Waiting { until_ms: now_ms + POLL_MS, ..waiting });
            self.later(manager, POLL_MS, Task::PollOver(node, waiting.call));
        }
        for (to, told) in answers {
            self.answer(to.body, to.call, told);
        }
    }

    fn answer_open(&mut self, manager: usize, node: NodeId) {
        let now_ms = self.now_ms;
        let Some(reign) = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut()) else {
            return;
        };
        let term = reign.term;
        let Some(post) = reign.posts.get_mut(&node) else { return };
        if let Some(open) = post.open.take() {
            let (acked_offset, orders) = post.take(now_ms);
            self.answer(open.body, open.call, Told::Orders { term, acked_offset, orders });
        }
    }

    fn poll_over(&mut self, manager: usize, node: NodeId, call: u64) {
        let reign = self.managers.get(manager).and_then(|it| it.reign.as_ref());
        let open = reign.and_then(|reign| reign.posts.get(&node)?.open);
        if open.is_some_and(|open| open.call == call) {
            self.answer_open(manager, node);
        }
    }

    /// Whether a commit is what only a leader may write is the disk's business; what it means for
    /// the promises is the witness's.
    fn durable(&mut self, manager: usize, commit: &Commit) {
        let breach = self.witness.durable(manager, commit, &self.disk.world, self.now_ms);
        if let Some((invariant, words)) = breach {
            self.breach(invariant, words);
        }
        let (trouble_ms, refused) = (self.dice.trouble_ms(), self.sky.has_refused());
        let late = self.deadlines.durable(commit, trouble_ms, refused);
        if let Some((invariant, words)) = late {
            self.breach(invariant, words);
        }
    }
}

impl Reign {
    fn forget_what_ended(&mut self, change: &Change) {
        match change {
            Change::Ended { attempt, placement, result, .. } => {
                let known = self.world.durable.nodes.contains_key(&placement.node);
                let post = self.posts.entry(placement.node).or_default();
                post.forget(*attempt);
                if result.is_none() && known {
                    post.cancel(*attempt);
                }
            }
            Change::Node(node) if node.state == NodeState::Gone => {
                self.posts.remove(&node.id);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, node: NodeId, commands: Commands, now_ms: u64) {
        if !self.world.durable.nodes.contains_key(&node) {
            return;
        }
        let Commands { assign, cancel, retract, drain, notices } = commands;
        let assignments: Vec<Assignment> = assign
            .into_iter()
            .filter_map(|(attempt, held)| self.assignment(attempt, held))
            .collect();
        let post = self.posts.entry(node).or_default();
        assignments.into_iter().for_each(|assignment| post.assign(assignment));
        cancel.into_iter().for_each(|attempt| post.cancel(attempt));
        retract.into_iter().for_each(|attempt| post.retract(attempt));
        notices.into_iter().for_each(|notice| post.notice(notice, now_ms));
        drain.into_iter().for_each(|drain| post.drain(drain));
    }

    fn assignment(&self, attempt: AttemptId, held: bool) -> Option<Assignment> {
        let spec = self.world.group_spec(attempt.task.group_id())?.clone();
        Some(Assignment { attempt, held, spec })
    }
}

impl Rows {
    fn see(&mut self, world: &World, take_in: u32, lookup: BTreeSet<JobId>) {
        let open = |intent: &&Intent| !matches!(intent.state, IntentState::Closed(_));
        let retiring = world.durable.nodes.values().filter(|it| it.state == NodeState::Retiring);
        *self = Self {
            intents: world.durable.intents.values().filter(open).cloned().collect(),
            retiring: retiring.filter_map(|node| node.instance().cloned()).collect(),
            take_in,
            lookup,
        };
    }
}
