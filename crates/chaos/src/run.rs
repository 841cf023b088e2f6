//! The run: one heap, one clock, one thread, and whatever happens next.

use std::collections::BTreeMap;

use cloud::{CloudError, Launched};
use control::{Input, Invariant};
use model::{InstanceId, Intent, IntentId, NodeId};
use rand::RngExt;
use simulator::heap::{Heap, Ranked};

use crate::bodies::Body;
use crate::deadlines::Deadlines;
use crate::disk::{Commit, Disk, Written};
use crate::leader::Manager;
use crate::machine::{Happening, Said};
use crate::people::People;
use crate::sky::Sky;
use crate::witness::Witness;
use crate::{Breach, Dice, Outcome, Plan};

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// To a machine.
    Body(usize, Happening),
    /// A call of a digester reaches a manager.
    Call {
        body: usize,
        /// Of the join that it bears.
        token: u64,
        call: u64,
        manager: usize,
        said: Said,
    },
    /// A digester's connection is seen to close.
    Closed {
        manager: usize,
        session: u64,
        node: NodeId,
    },
    /// A machine of ours that was told to end has ended.
    Ended(InstanceId),
    /// The market does something by itself.
    Sky,
    /// Something that was on its way to the cloud or to the database arrives there.
    Commit {
        manager: usize,
        era: u64,
        commit: Box<Commit>,
    },
    Launch {
        manager: usize,
        era: u64,
        intent: Box<Intent>,
    },
    Retire {
        manager: usize,
        era: u64,
        instances: Vec<InstanceId>,
    },
    /// To a manager.
    Manager {
        manager: usize,
        era: u64,
        task: Task,
    },
    /// People do something.
    People,
    /// A client has had no answer and asks again, or asks for the first time.
    Submit(usize),
    /// A notice that was late.
    LateNotice(model::Notice),
    /// A fault strikes somewhere.
    Strike,
    /// The quota is as it was.
    Quota,
    /// A killed manager starts again.
    Start(usize),
    /// Nothing fails from here on.
    Heal,
}

/// What a manager does, if it is still the same process under the same term.
#[derive(Debug)]
pub(crate) enum Task {
    Campaign,
    Renew,
    Renewed(Option<u64>),
    Step,
    Committed(Written),
    LaunchOn,
    Launched(IntentId, Result<Launched, CloudError>),
    RetireOn,
    Retired(Vec<InstanceId>),
    List,
    Offers,
    Notices,
    Acknowledge(Vec<String>),
    Inbox,
    Backlog,
    Lookup,
    Plan,
    Planned(Option<Box<planner::Plan>>),
    PollOver(NodeId, u64),
    Input(Box<Input>),
}

impl Ranked for Event {
    fn rank(&self) -> u8 {
        match self {
            Self::Manager { task: Task::Step, .. } => 1,
            _ => 0,
        }
    }
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) now_ms: u64,
    pub(crate) heap: Heap<Event>,
    pub(crate) dice: Dice,
    pub(crate) disk: Disk,
    pub(crate) managers: Vec<Manager>,
    pub(crate) sky: Sky,
    pub(crate) bodies: Vec<Body>,
    /// Whose polls are heard: the body and its join.
    pub(crate) tokens: BTreeMap<NodeId, (usize, u64)>,
    pub(crate) people: People,
    pub(crate) witness: Witness,
    pub(crate) deadlines: Deadlines,
    pub(crate) seed: u64,
    /// When the faults end.
    pub(crate) heal_ms: u64,
    pub(crate) healed: bool,
    /// When the market's next turn is on the heap.
    pub(crate) sky_ms: Option<u64>,
    log: Option<Vec<String>>,
    events: u64,
}

/// From the end of all faults until everything must have settled: the longest back-off of a task (an
/// hour), of a pool (half an hour), and what people asked for on top.
const BOUND_MS: u64 = 6 * 3_600_000;
/// A run that does not come to its end is stuck, too: in a loop without time.
const MOST_EVENTS: u64 = 6_000_000;

/// Runs a plan to its end, or to the first broken promise.
pub fn run(plan: &Plan) -> Outcome {
    let mut run = Run::new(plan);
    run.begin();
    let end_ms = run.heal_ms + BOUND_MS;
    while !run.is_over() {
        let Some((at_ms, event)) = run.heap.pop() else { break };
        if at_ms > end_ms || run.events > MOST_EVENTS {
            run.stuck();
            break;
        }
        run.now_ms = at_ms;
        run.events += 1;
        run.note(|| format!("{event:?}"));
        run.happen(event);
    }
    run.close()
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let mut dice = Dice::new(plan);
        // From ten minutes to a day, each length as likely as its double.
        let doublings = dice.plain().random_range(0..8);
        let heal_ms = (dice.plain().random_range(600_000..1_200_000) << doublings).min(86_400_000);
        let managers = dice.plain().random_range(1..4);
        Self {
            now_ms: 0,
            heap: Heap::default(),
            disk: Disk::new(plan.seed),
            managers: (0..managers).map(|_| Manager::default()).collect(),
            sky: Sky::new(plan.seed, &mut dice),
            bodies: Vec::new(),
            tokens: BTreeMap::new(),
            people: People::new(&mut dice, heal_ms),
            witness: Witness::default(),
            deadlines: Deadlines::default(),
            seed: plan.seed,
            heal_ms,
            healed: false,
            sky_ms: None,
            log: plan.log.then(Vec::new),
            events: 0,
            dice,
        }
    }

    fn begin(&mut self) {
        for manager in 0..self.managers.len() {
            self.start_manager(manager);
        }
        for _ in 0..self.dice.plain().random_range(0..4) {
            self.static_body();
        }
        self.people_begin();
        self.next_strike();
        self.heap.push(self.heal_ms, Event::Heal);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Body(body, happening) => self.body_happens(body, happening),
            Event::Call { body, token, call, manager, said } => {
                self.call_arrives((body, token), call, manager, said);
            }
            Event::Closed { manager, session, node } => self.closed(manager, session, node),
            Event::Ended(instance) => self.machine_ends(&instance),
            Event::Sky => self.sky_moves(),
            Event::Commit { manager, era, commit } => self.commit_arrives(manager, era, &commit),
            Event::Launch { manager, era, intent } => self.launch_arrives(manager, era, &intent),
            Event::Retire { manager, era, instances } => {
                self.retire_arrives(manager, era, &instances);
            }
            Event::Manager { manager, era, task } => self.manager_does(manager, era, task),
            Event::People => self.people_act(),
            Event::Submit(order) => self.submit(order),
            Event::LateNotice(notice) => self.notice_by_queue(notice),
            Event::Strike => self.strike(),
            Event::Quota => self.sky.set_quota(None),
            Event::Start(manager) => self.start_manager(manager),
            Event::Heal => self.heal(),
        }
    }

    /// Something was seen that should not be.
    pub(crate) fn breach(&mut self, invariant: Invariant, words: impl Into<String>) {
        let at_ms = self.now_ms;
        self.witness.breach.get_or_insert_with(|| Breach { invariant, at_ms, words: words.into() });
    }

    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
        let now_ms = self.now_ms;
        if let Some(log) = &mut self.log {
            log.push(format!("{now_ms:>9} {}", words()));
        }
    }

    fn heal(&mut self) {
        self.dice.heal();
        self.healed = true;
        self.sky.set_quota(None);
        for body in &mut self.bodies {
            (body.mute_until_ms, body.deaf_until_ms) = (0, 0);
        }
    }

    fn is_over(&self) -> bool {
        if self.witness.breach.is_some() {
            return true;
        }
        self.healed
            && self.people.is_done()
            && self.disk.unsettled().is_none()
            && self.sky.running().next().is_none()
    }

    /// Names what is stuck and why, by what anybody would ask.
    fn stuck(&mut self) {
        let why = self.why_stuck();
        match self.disk.unsettled() {
            Some(what) => self.breach(Invariant::Liveness, format!("{what} is not settled: {why}")),
            None => self.breach(Invariant::NoLeakedMachine, format!("a machine runs on: {why}")),
        }
    }

    fn why_stuck(&self) -> String {
        let leads = self.managers.iter().find_map(|manager| manager.reign.as_ref());
        let Some(reign) = leads else { return "nobody leads".to_owned() };
        let (world, config) = (&reign.world, &reign.config);
        let (durable, now) = (&world.durable, world.durable.head.now);
        let of_job = durable.jobs.keys().next();
        let of_job = of_job.and_then(|id| control::explain_job(world, config, *id, now));
        let of_node = durable.nodes.keys().next();
        let of_node = of_node.and_then(|id| control::explain_node(world, config, *id, now));
        let told = |it: Option<control::Explanation>| {
            it.map_or_else(String::new, |it| format!("{} {}", it.summary, it.details.join(" ")))
        };
        let problem = control::problem(world, config, now);
        let plan = planner::plan(&problem);
        format!(
            "the first of {} jobs {}; the first of {} nodes {}; {} things are withheld; the next plan \
             buys {} and retires {}, {}",
            durable.jobs.len(),
            told(of_job),
            durable.nodes.len(),
            told(of_node),
            control::withheld(world, now).len(),
            plan.launches.len(),
            plan.retirements.len(),
            problem.frozen.as_deref().unwrap_or("not frozen"),
        )
    }

    fn close(mut self) -> Outcome {
        if self.witness.breach.is_none() {
            self.final_checks();
        }
        Outcome {
            breach: self.witness.breach,
            fired: self.dice.fired().clone(),
            simulated_ms: self.now_ms,
            events: self.events,
            tasks: self.people.tasks(),
            machines: self.sky.launched(),
            log: self.log.unwrap_or_default(),
        }
    }

    fn final_checks(&mut self) {
        let lost = self.people.accepted().find(|job| self.disk.tables.status(*job).is_none());
        if let Some(job) = lost {
            self.breach(Invariant::AcceptedIsDurable, format!("{job} was accepted and is nowhere"));
        }
        let wrong = self.witness.wrong_bill();
        if let Some(words) = wrong {
            self.breach(Invariant::LedgerIsBill, words);
        }
    }

    /// A moment from now, drawn.
    pub(crate) fn between(&mut self, least_ms: u64, most_ms: u64) -> u64 {
        self.now_ms + self.dice.plain().random_range(least_ms..=most_ms)
    }
}
