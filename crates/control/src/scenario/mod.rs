//! Random histories: a seed drives [`step`](crate::step) through submits, reports true, late and
//! doubled, notices, losses, launches, stops, patches and retries, as a cluster of small machines
//! would.
//!
//! For the property tests of this crate and of the store; the simulator proper has real traces.

mod users;

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud::{CloudError, Identity, Launched};
use model::{
    AttemptId, ClusterId, Durable, Head, InstanceId, Intent, InventoryItem, JobId, JobSpec,
    LogPart, Machine, MachineState, MicroUsd, NodeId, NodeNotice, Notice, NoticeKind, Offer,
    Outcome, Pool, PurchaseOption, Refusal, RefusalScope, Resources, TaskId, TaskResult, Timestamp,
    Transition, World,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{BacklogJob, Commands, Config, Decision, Input, Joiner, Reply, problem, step};

/// A history under way.
pub struct Scenario {
    /// The leader's.
    pub world: World,
    /// Small numbers, so that all edges are met soon.
    pub config: Config,
    /// The step clock.
    pub now: Timestamp,
    rng: ChaCha8Rng,
    nodes: BTreeMap<NodeId, Digester>,
    machines: BTreeMap<InstanceId, Machine>,
    backlog: Vec<BacklogJob>,
    old_reports: Vec<(NodeId, u64, Transition)>,
    tables: users::Tables,
    jobs: u64,
    instances: u64,
}

/// A node's own view.
struct Digester {
    session: u64,
    has: BTreeMap<AttemptId, Had>,
    /// Reports of what it was told to end.
    told: Vec<Transition>,
    /// Answers that were lost: they are repeated with the next.
    lost: Vec<Commands>,
}

/// An attempt on a node.
#[derive(Clone, Copy)]
struct Had {
    started: bool,
    held: bool,
    ask: Resources,
}

impl Digester {
    fn new(session: u64) -> Self {
        Self { session, has: BTreeMap::new(), told: Vec::new(), lost: Vec::new() }
    }

    fn obey(&mut self, commands: &Commands, world: &World) {
        for (attempt, held) in &commands.assign {
            let Some(spec) = world.group_spec(attempt.task.group_id()) else { continue };
            let had = Had { started: false, held: *held, ask: spec.resources };
            self.has.entry(*attempt).or_insert(had);
        }
        for attempt in commands.cancel.iter().chain(&commands.retract) {
            let outcome = match self.has.get(attempt) {
                Some(had) if !had.started => Outcome::Returned,
                Some(_) if commands.cancel.contains(attempt) => Outcome::Stopped,
                Some(_) | None => continue,
            };
            self.has.remove(attempt);
            self.told.push(Transition::ended_without_trace(*attempt, outcome));
        }
    }

    /// A held attempt starts only in room that nobody was promised.
    fn may_start(&self, attempt: &AttemptId) -> bool {
        let Some(had) = self.has.get(attempt) else { return false };
        let promised = self.has.values().filter(|had| had.started || !had.held);
        let promised = promised.fold(Resources::default(), |sum, had| sum + had.ask);
        !had.started && (!had.held || (CAPACITY - promised).holds(&had.ask))
    }
}

const CAPACITY: Resources =
    Resources { cpu_millis: 4_000, memory_mib: 8_000, disk_mib: 0, gpus: 0 };

const START: Timestamp = Timestamp::from_ms(1_790_000_000_000);

impl Scenario {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        let cluster = ClusterId::from_number(seed);
        let head = Head { term: 1, seq: 0, now: START, format: model::FORMAT, cluster, seed };
        let mut config = Config { max_jobs: 6, hold_per_slot: 3, ..Config::default() };
        config.limits.max_nodes = 6;
        config.limits.idle_retire_ms = 3_000;
        config.boot_timeout_ms = 20_000;
        config.lost_after_ms = 30_000;
        let mut world = World::new(Durable::new(head));
        world.observed.offers = offers();
        world.observed.leader_since = START;
        Self {
            world,
            config,
            now: START,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: BTreeMap::new(),
            machines: BTreeMap::new(),
            backlog: Vec::new(),
            old_reports: Vec::new(),
            tables: users::Tables::default(),
            jobs: 0,
            instances: 0,
        }
    }

    /// One more step of the history.
    pub fn advance(&mut self) -> Decision {
        self.now = self.now.plus_ms(self.rng.random_range(0..3_000));
        let mut inputs = Vec::new();
        for _ in 0..self.rng.random_range(0..4) {
            inputs.extend(self.input());
        }
        self.step(inputs)
    }

    /// A take-over: what is durable is loaded, what was observed is gone.
    pub fn take_over(&mut self, durable: Durable) {
        let offers = std::mem::take(&mut self.world.observed.offers);
        self.world = World::new(durable);
        self.world.observed.offers = offers;
        self.world.observed.leader_since = self.now;
        // Nothing that was read before is under way any more.
        for job in &mut self.backlog {
            if let Some(spec) = self.tables.spec(job.id) {
                job.spec = spec.clone();
            }
        }
    }

    fn step(&mut self, inputs: Vec<Input>) -> Decision {
        let joins: Vec<Option<u64>> = inputs
            .iter()
            .map(|input| match input {
                Input::Join { session, .. } => Some(*session),
                _ => None,
            })
            .collect();
        let decision = step(&mut self.world, &self.config, inputs, self.now);
        for (reply, session) in decision.replies.iter().zip(joins) {
            if let (Reply::Joined(node), Some(session)) = (reply, session) {
                self.nodes.entry(*node).or_insert_with(|| Digester::new(session));
            }
        }
        for (node, commands) in &decision.commands {
            let Some(digester) = self.nodes.get_mut(node) else { continue };
            digester.lost.push(commands.clone());
            if self.rng.random_ratio(19, 20) {
                for commands in std::mem::take(&mut digester.lost) {
                    digester.obey(&commands, &self.world);
                }
            }
        }
        for change in &decision.changes {
            self.tables.keep(change);
            if let model::Change::JobSubmitted { job, spec, at, taken_in: false } = change {
                self.backlog.push(BacklogJob { id: *job, spec: spec.clone(), submitted: *at });
            }
        }
        decision
    }

    fn input(&mut self) -> Option<Input> {
        match self.rng.random_range(0..100) {
            0..8 => Some(self.submit()),
            8..11 => self.stop(),
            11..14 => self.patch(),
            14..17 => self.retry(),
            17..19 => self.dependencies(),
            19..60 => self.sync(),
            60..63 => {
                self.with_node(|node, digester| Input::Closed { node, session: digester.session })
            }
            63..66 => self.notice(),
            66..74 => self.launched(),
            74..80 => Some(self.listed()),
            80..88 => self.plan(),
            88..96 => self.join(),
            96..98 => self.with_node(|node, _| Input::Drain { node }),
            98 => self.with_node(|node, _| Input::Undrain { node }),
            _ => self.take_in(),
        }
    }

    fn submit(&mut self) -> Input {
        self.jobs += 1;
        let spec = job_spec(&mut self.rng, self.jobs);
        Input::Submit { job: JobId::from_number(self.jobs), spec: Arc::new(spec) }
    }

    fn stop(&mut self) -> Option<Input> {
        let job = self.some_job()?;
        if self.rng.random_ratio(1, 2) {
            return Some(Input::StopJob { job });
        }
        let index = self.rng.random_range(0..12);
        Some(Input::StopTask { task: TaskId { job, group: 0, index } })
    }

    fn some_job(&mut self) -> Option<JobId> {
        let at = self.rng.random_range(0..self.world.durable.jobs.len().max(1));
        self.world.durable.jobs.keys().nth(at).copied()
    }

    fn with_node(&mut self, make: impl FnOnce(NodeId, &Digester) -> Input) -> Option<Input> {
        let at = self.rng.random_range(0..self.nodes.len().max(1));
        self.nodes.iter().nth(at).map(|(node, digester)| make(*node, digester))
    }

    fn sync(&mut self) -> Option<Input> {
        let at = self.rng.random_range(0..self.nodes.len().max(1));
        let node = *self.nodes.keys().nth(at)?;
        let mut transitions = self.reports(node)?;
        let digester = self.nodes.get(&node)?;
        let session = digester.session;
        if self.rng.random_ratio(1, 8) {
            let old = self.old_reports.iter().filter(|(of, _, _)| *of == node);
            transitions.extend(old.map(|(_, _, transition)| transition.clone()).take(3));
        }
        let inventory = self.rng.random_ratio(1, 6).then(|| inventory(digester));
        let notice = self
            .rng
            .random_ratio(1, 40)
            .then_some(NodeNotice { kind: NoticeKind::Interruption, remaining_ms: 4_000 });
        Some(Input::Sync { node, session, transitions, inventory, notice })
    }

    /// Starts and ends some of what the node has.
    fn reports(&mut self, node: NodeId) -> Option<Vec<Transition>> {
        let digester = self.nodes.get_mut(&node)?;
        let mut out = std::mem::take(&mut digester.told);
        let attempts: Vec<AttemptId> = digester.has.keys().copied().collect();
        for attempt in attempts {
            let started = digester.has.get(&attempt).is_some_and(|had| had.started);
            if digester.may_start(&attempt) && self.rng.random_ratio(2, 3) {
                digester.has.entry(attempt).and_modify(|had| had.started = true);
                out.push(Transition::Started { attempt });
            } else if self.rng.random_ratio(1, 2) {
                digester.has.remove(&attempt);
                let outcome = outcome(&mut self.rng, started);
                out.push(Transition::Ended { attempt, result: Box::new(result(outcome)) });
            }
        }
        self.old_reports.extend(out.iter().map(|report| (node, digester.session, report.clone())));
        Some(out)
    }

    fn notice(&mut self) -> Option<Input> {
        let unknown = InstanceId::new("i-not-yet-known");
        let at = self.rng.random_range(0..=self.machines.len());
        let instance = self.machines.keys().nth(at).cloned().unwrap_or(unknown);
        let gone = self.rng.random_ratio(1, 2);
        if gone && let Some(machine) = self.machines.get_mut(&instance) {
            machine.state = MachineState::Reclaimed(self.now);
            let node = self.world.index.instances.get(&instance).copied();
            node.and_then(|node| self.nodes.remove(&node));
        }
        let kind = if gone { NoticeKind::StateChange } else { NoticeKind::Interruption };
        let deadline = self.now.plus_ms(if gone { 0 } else { 5_000 });
        Some(Input::Notice(Notice { instance, kind, deadline }))
    }

    fn launched(&mut self) -> Option<Input> {
        let intent = self.world.durable.intents.values().next()?.clone();
        let answer = match self.rng.random_range(0..10) {
            0 => Err(CloudError::Retry("timed out".into())),
            1 => Ok(refused(&intent)),
            _ => Ok(self.machines_of(&intent)),
        };
        Some(Input::Launched { intent: intent.id, answer })
    }

    fn machines_of(&mut self, intent: &Intent) -> Launched {
        let machines: Vec<Machine> = (0..intent.request.count)
            .map(|_| {
                self.instances += 1;
                Machine {
                    instance: InstanceId::new(&format!("i-{:04}", self.instances)),
                    intent: Some(intent.id),
                    pool: intent.request.offers[0].pool.clone(),
                    state: MachineState::Running,
                    launched: self.now,
                }
            })
            .collect();
        for machine in &machines {
            self.machines.insert(machine.instance.clone(), machine.clone());
        }
        Launched { machines, refusal: None }
    }

    fn listed(&mut self) -> Input {
        let retiring = self.world.durable.nodes.values();
        let retiring: Vec<InstanceId> = retiring
            .filter(|node| node.state == model::NodeState::Retiring)
            .filter_map(|node| node.instance().cloned())
            .collect();
        if !retiring.is_empty() {
            for instance in &retiring {
                self.machines.remove(instance);
                let node = self.world.index.instances.get(instance).copied();
                node.and_then(|node| self.nodes.remove(&node));
            }
            return Input::Retired { instances: retiring };
        }
        Input::Listed { machines: self.machines.values().cloned().collect(), asked: self.now }
    }

    fn plan(&mut self) -> Option<Input> {
        let problem = problem(&self.world, &self.config, self.now);
        Some(Input::Plan(Box::new(planner::plan(&problem))))
    }

    fn join(&mut self) -> Option<Input> {
        let at = self.rng.random_range(0..self.machines.len() + 1);
        let joiner = match self.machines.values().nth(at) {
            Some(machine) if machine.state == MachineState::Running => {
                let intent = machine.intent?;
                Joiner::Machine(Identity { instance: machine.instance.clone(), intent })
            }
            _ => Joiner::Static { name: format!("static-{}", at % 2).into() },
        };
        let session = match &joiner {
            Joiner::Machine(_) => 7,
            Joiner::Static { .. } => self.rng.next_u64() % 3,
        };
        Some(Input::Join { joiner, session, capacity: CAPACITY })
    }

    fn take_in(&mut self) -> Option<Input> {
        let waits = !self.backlog.is_empty();
        waits.then(|| Input::TakeIn { jobs: vec![self.backlog.remove(0)] })
    }
}

fn inventory(digester: &Digester) -> Vec<InventoryItem> {
    let items = digester.has.iter();
    items.map(|(attempt, had)| InventoryItem { attempt: *attempt, started: had.started }).collect()
}

fn outcome(rng: &mut ChaCha8Rng, started: bool) -> Outcome {
    if !started {
        return if rng.random_ratio(1, 2) { Outcome::Returned } else { Outcome::NotStarted };
    }
    match rng.random_range(0..12) {
        0 => Outcome::Exited { code: 1 },
        1 => Outcome::Exited { code: 2 },
        2 => Outcome::Signalled { signal: 11 },
        3 => Outcome::TimedOut,
        4 => Outcome::Evicted,
        5 => Outcome::Vanished,
        _ => Outcome::Exited { code: 0 },
    }
}

fn result(outcome: Outcome) -> TaskResult {
    let text = LogPart { size_bytes: 3, text: Some("ok\n".into()) };
    TaskResult {
        outcome,
        run_ms: 20,
        stdout: text,
        stderr: LogPart::default(),
        outputs: Vec::new(),
        message: None,
    }
}

fn refused(intent: &Intent) -> Launched {
    let pools = intent.request.offers.iter().take(1).map(|offer| offer.pool.clone()).collect();
    let refusal = Refusal { scope: RefusalScope::Pools(pools), message: "no capacity".into() };
    Launched { machines: Vec::new(), refusal: Some(refusal) }
}

fn job_spec(rng: &mut ChaCha8Rng, number: u64) -> JobSpec {
    let group = |rng: &mut ChaCha8Rng, ordinal: u32| {
        let after: Vec<String> = (0..ordinal)
            .filter(|_| rng.random_ratio(1, 2))
            .map(|other| format!("g{other}"))
            .collect();
        let purchase = ["spot", "on-demand", "spot-then-on-demand"][rng.random_range(0..3)];
        serde_json::json!({
            "name": format!("g{ordinal}"),
            "after": after,
            "count": rng.random_range(1..12),
            "command": ["true"],
            "resources": {"cpu": format!("{}m", 250 * rng.random_range(1..9)), "memory": "64MiB"},
            "restart": {"max_failures": rng.random_range(0..3), "backoff": "1s", "no_retry_exit_codes": [2]},
            "purchase": purchase,
        })
    };
    let groups: Vec<_> = (0..rng.random_range(1..4)).map(|ordinal| group(rng, ordinal)).collect();
    let mut document = serde_json::json!({
        "name": format!("job {number}"),
        "priority": rng.random_range(-1..2),
        "on_task_failure": if rng.random_ratio(1, 4) { "stop" } else { "continue" },
        "group": groups,
    });
    if rng.random_ratio(1, 4) {
        document["max_running"] = rng.random_range(1..5).into();
    }
    if number.is_multiple_of(3) {
        document["deadline"] = "5m".into();
        document["group"][0]["expect"] = "1m".into();
    }
    if number > 1 && rng.random_ratio(1, 4) {
        document["after"] = users::earlier(rng, number).into();
    }
    JobSpec::parse(&document).unwrap_or_else(|faults| unreachable!("{faults:?}"))
}

fn offers() -> Vec<Offer> {
    let offer = |zone: &str, option, price| Offer {
        pool: Pool { zone: zone.into(), instance_type: "m5.xlarge".into(), option },
        capacity: CAPACITY,
        price: MicroUsd(price),
        on_demand_price: MicroUsd(192_000),
        hazard_ppm_hour: 10_000,
    };
    let mut offers = vec![
        offer("a", PurchaseOption::Spot, 70_000),
        offer("b", PurchaseOption::Spot, 75_000),
        offer("a", PurchaseOption::OnDemand, 192_000),
    ];
    offers.sort_by(|one, other| one.pool.cmp(&other.pool));
    offers
}
