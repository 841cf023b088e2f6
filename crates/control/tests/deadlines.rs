//! A job that could be done in time on demand is done in time, whatever spot machines do.

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud::{Identity, Launched};
use control::{Config, Decision, Input, Joiner, Reply, problem, step};
use model::{
    AttemptId, Change, ClusterId, Durable, FORMAT, Head, InstanceId, IntentId, IntentState, JobId,
    JobSpec, LogPart, Machine, MachineState, MicroUsd, NodeId, NodeState, Notice, NoticeKind,
    Offer, Outcome, Pool, PurchaseOption, Refusal, RefusalScope, Resources, TaskId, TaskResult,
    Timestamp, Transition, World,
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const START: Timestamp = Timestamp::from_ms(1_790_000_000_000);
const MINUTE: u64 = 60_000;
const CAPACITY: Resources =
    Resources { cpu_millis: 4_000, memory_mib: 8_000, disk_mib: 0, gpus: 0 };
/// Far more than two starts: whoever looks only now and then is late.
const LOOK_MS: u64 = 30 * MINUTE;

/// What is tried.
#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    /// Work of each task, by group; a group comes after the one before it.
    groups: Vec<(u32, u64)>,
    /// Beside what on-demand needs at least.
    slack_ms: u64,
    says_expect: bool,
    /// Whether what a task has done outlives its machine.
    keeps_progress: bool,
    /// Mean life of a spot machine.
    life_ms: u64,
}

struct Bought {
    instance: InstanceId,
    intent: IntentId,
    option: PurchaseOption,
    boots: Timestamp,
    node: Option<NodeId>,
    /// When it is told that it goes, and when it goes.
    goes: Option<(Timestamp, Timestamp)>,
    told: bool,
}

struct Running {
    node: NodeId,
    since: Timestamp,
}

struct Run {
    world: World,
    config: Config,
    now: Timestamp,
    rng: ChaCha8Rng,
    case: Case,
    machines: Vec<Bought>,
    running: BTreeMap<AttemptId, Running>,
    done_ms: BTreeMap<TaskId, u64>,
    finished: Option<Timestamp>,
    wake: Option<Timestamp>,
    /// Spot machines are taken only before this.
    calm: Timestamp,
    bought: u64,
}

fn offer(option: PurchaseOption, price: i64) -> Offer {
    let pool = Pool { zone: "a".into(), instance_type: "m5.xlarge".into(), option };
    let (price, on_demand_price) = (MicroUsd(price), MicroUsd(192_000));
    Offer { pool, capacity: CAPACITY, price, on_demand_price, hazard_ppm_hour: 10_000 }
}

impl Run {
    fn new(case: Case) -> Self {
        let cluster = ClusterId::from_number(1);
        let head = Head { term: 1, seq: 0, now: START, format: FORMAT, cluster, seed: case.seed };
        let mut world = World::new(Durable::new(head));
        world.observed.leader_since = START;
        world.observed.offers =
            vec![offer(PurchaseOption::Spot, 70_000), offer(PurchaseOption::OnDemand, 192_000)];
        // Digesters here never go silent.
        let (node_lease_ms, lost_after_ms) = (u64::MAX / 4, u64::MAX / 4);
        let config = Config { node_lease_ms, lost_after_ms, ..Config::default() };
        let rng = ChaCha8Rng::seed_from_u64(case.seed);
        Self {
            world,
            config,
            now: START,
            rng,
            case,
            machines: Vec::new(),
            running: BTreeMap::new(),
            done_ms: BTreeMap::new(),
            finished: None,
            wake: None,
            calm: Timestamp::from_ms(i64::MAX),
            bought: 0,
        }
    }

    fn deadline_ms(&self) -> u64 {
        let work: u64 = self.case.groups.iter().map(|(_, work_ms)| work_ms).sum();
        work + self.case.groups.len() as u64 * self.config.start_reserve_ms + self.case.slack_ms
    }

    /// Runs to the end of the job, and answers when that was.
    fn finish(mut self) -> u64 {
        let groups = self.case.groups.iter().enumerate().map(|(at, (count, work_ms))| {
            let mut group = json!({
                "name": format!("g{at}"), "count": count, "command": ["true"],
                "resources": {"cpu": 2, "memory": "1GiB"},
            });
            if at > 0 {
                group["after"] = json!([format!("g{}", at - 1)]);
            }
            if self.case.says_expect {
                group["expect"] = format!("{work_ms}ms").into();
            }
            group
        });
        let groups: Vec<_> = groups.collect();
        let deadline_ms = self.deadline_ms();
        let document = json!({"deadline": format!("{deadline_ms}ms"), "group": groups});
        let spec = Arc::new(JobSpec::parse(&document).expect("a right document"));
        if !self.case.keeps_progress {
            // Before the first net is out, nothing that is lost matters.
            let need: u64 = self.case.groups.iter().map(|(_, work_ms)| work_ms).sum();
            let need = need + self.case.groups.len() as u64 * 2 * self.config.start_reserve_ms;
            self.calm = START.later_by(deadline_ms.saturating_sub(need));
        }
        self.decide(vec![Input::Submit { job: JobId::from_number(1), spec }]);
        let mut moments = 0;
        while self.finished.is_none() {
            self.pass();
            moments += 1;
            assert!(moments < 10_000, "it never ends: {:?}", self.case);
        }
        self.finished.expect("finished").since(START)
    }

    /// A step, and all that follows from it at once.
    fn decide(&mut self, inputs: Vec<Input>) -> Vec<Reply> {
        let decision = step(&mut self.world, &self.config, inputs, self.now);
        assert_eq!(decision.violations, Vec::new(), "at {}", self.now);
        self.wake = decision.wake;
        let mut inputs = self.obey(&decision);
        if inputs.is_empty() && (decision.replan || !decision.changes.is_empty()) {
            inputs.extend(self.plan());
        }
        if !inputs.is_empty() {
            self.decide(inputs);
        }
        decision.replies
    }

    fn plan(&self) -> Option<Input> {
        let plan = planner::plan(&problem(&self.world, &self.config, self.now));
        let idle = plan.launches.is_empty() && plan.retirements.is_empty();
        (!idle).then(|| Input::Plan(Box::new(plan)))
    }

    fn obey(&mut self, decision: &Decision) -> Vec<Input> {
        let mut inputs = Vec::new();
        for change in &decision.changes {
            match change {
                Change::Intent(intent)
                    if intent.state == IntentState::Requested && intent.born == 0 =>
                {
                    inputs.push(self.launch(intent));
                }
                Change::Node(node) if node.state == NodeState::Retiring => {
                    let instances = node.instance().cloned().into_iter().collect();
                    self.machines.retain(|machine| machine.node != Some(node.id));
                    inputs.push(Input::Retired { instances });
                }
                Change::Ended { attempt, .. } => {
                    self.running.remove(attempt);
                }
                Change::JobSettled { status, .. } => {
                    assert_eq!(*status, model::JobStatus::Succeeded);
                    self.finished = Some(self.now);
                }
                _ => {}
            }
        }
        for (node, commands) in &decision.commands {
            for (attempt, _) in &commands.assign {
                self.running.insert(*attempt, Running { node: *node, since: self.now });
                let transitions = vec![Transition::Started { attempt: *attempt }];
                inputs.push(self.sync(*node, transitions));
            }
        }
        inputs
    }

    fn sync(&self, node: NodeId, transitions: Vec<Transition>) -> Input {
        Input::Sync { node, session: 1, transitions, inventory: None, notice: None }
    }

    fn launch(&mut self, intent: &model::Intent) -> Input {
        let pool = intent.request.offers[0].pool.clone();
        let is_spot = pool.option == PurchaseOption::Spot;
        if is_spot && self.rng.random_ratio(1, 3) {
            let scope = RefusalScope::Pools(vec![pool]);
            let refusal = Some(Refusal { scope, message: "no capacity".into() });
            let answer = Ok(Launched { machines: Vec::new(), refusal });
            return Input::Launched { intent: intent.id, answer };
        }
        let machines = (0..intent.request.count).map(|_| {
            self.bought += 1;
            let instance = InstanceId::new(&format!("i-{}", self.bought));
            let boots = self.now.later_by(self.rng.random_range(1..self.config.start_reserve_ms));
            let life = self.rng.random_range(1..2 * self.case.life_ms);
            let goes = boots.later_by(life);
            let notice_ms = [0, 2 * MINUTE][self.rng.random_range(0..2)].min(life);
            let goes = (is_spot && goes < self.calm)
                .then(|| (goes.plus_ms(-i64::try_from(notice_ms).expect("small")), goes));
            self.machines.push(Bought {
                instance: instance.clone(),
                intent: intent.id,
                option: pool.option,
                boots,
                node: None,
                goes,
                told: false,
            });
            let (intent, launched) = (Some(intent.id), self.now);
            Machine { instance, intent, pool: pool.clone(), state: MachineState::Running, launched }
        });
        let answer = Ok(Launched { machines: machines.collect(), refusal: None });
        Input::Launched { intent: intent.id, answer }
    }

    fn ends(&self, attempt: &AttemptId, running: &Running) -> Timestamp {
        let done = self.done_ms.get(&attempt.task).copied().unwrap_or(0);
        let work = self.case.groups[usize::from(attempt.task.group)].1;
        running.since.later_by(work - done)
    }

    /// Goes on to the next moment at which something happens.
    fn pass(&mut self) {
        let wake = self.wake;
        let look = self.now.later_by(LOOK_MS - self.now.since(START) % LOOK_MS);
        let boots = self.machines.iter().filter(|one| one.node.is_none()).map(|one| one.boots);
        let goes = self.machines.iter().filter_map(|one| {
            let (told, goes) = one.goes?;
            Some(if one.told { goes } else { told.max(self.now) })
        });
        let ends = self.running.iter().map(|(attempt, running)| self.ends(attempt, running));
        let next = wake.into_iter().chain([look]).chain(boots).chain(goes).chain(ends).min();
        self.now = next.expect("a look").max(self.now);
        self.end_tasks();
        self.take_machines();
        self.boot_machines();
        self.decide(Vec::new());
        if self.now.since(START).is_multiple_of(LOOK_MS) {
            let plan = self.plan();
            self.decide(plan.into_iter().collect());
            self.now = self.now.plus_ms(1);
        }
    }

    fn end_tasks(&mut self) {
        let due: Vec<(AttemptId, NodeId, u64)> = self
            .running
            .iter()
            .filter(|(attempt, running)| self.ends(attempt, running) <= self.now)
            .map(|(attempt, running)| (*attempt, running.node, self.now.since(running.since)))
            .collect();
        for (attempt, node, run_ms) in due {
            let result = Box::new(TaskResult {
                outcome: Outcome::Exited { code: 0 },
                run_ms,
                stdout: LogPart::default(),
                stderr: LogPart::default(),
                outputs: Vec::new(),
                message: None,
            });
            self.decide(vec![self.sync(node, vec![Transition::Ended { attempt, result }])]);
        }
    }

    fn take_machines(&mut self) {
        for at in (0..self.machines.len()).rev() {
            let Some(machine) = self.machines.get_mut(at) else { continue };
            let Some((tells, goes)) = machine.goes else { continue };
            let instance = machine.instance.clone();
            if goes <= self.now {
                let node = self.machines.remove(at).node;
                self.lose(node);
                let kind = NoticeKind::StateChange;
                self.decide(vec![Input::Notice(Notice { instance, kind, deadline: self.now })]);
            } else if tells <= self.now && !machine.told {
                machine.told = true;
                let kind = NoticeKind::Interruption;
                self.decide(vec![Input::Notice(Notice { instance, kind, deadline: goes })]);
            }
        }
    }

    /// What ran on a machine that is gone has come as far as it has, or not.
    fn lose(&mut self, node: Option<NodeId>) {
        let lost = self.running.iter().filter(|(_, running)| Some(running.node) == node);
        for (attempt, running) in lost {
            let done = self.done_ms.entry(attempt.task).or_default();
            if self.case.keeps_progress {
                *done += self.now.since(running.since);
            }
        }
    }

    fn boot_machines(&mut self) {
        for at in 0..self.machines.len() {
            let Some(machine) = self.machines.get(at) else { continue };
            if machine.node.is_some() || machine.boots > self.now {
                continue;
            }
            let (instance, intent) = (machine.instance.clone(), machine.intent);
            let joiner = Joiner::Machine(Identity { instance: instance.clone(), intent });
            let join = Input::Join { joiner, session: 1, capacity: CAPACITY };
            // What it is given starts at once: it has to be known by then.
            let node = self.world.index.instances.get(&instance).copied();
            if let Some(machine) = self.machines.get_mut(at) {
                machine.node = node;
            }
            self.decide(vec![join]);
        }
    }

    fn options(&self) -> Vec<PurchaseOption> {
        self.machines.iter().map(|machine| machine.option).collect()
    }
}

prop_compose! {
    fn cases()(
        seed in any::<u64>(),
        groups in prop::collection::vec((1u32..4, 2 * MINUTE..120 * MINUTE), 1..3),
        slack_ms in prop_oneof![Just(0), 1..4 * MINUTE, 1..600 * MINUTE],
        says_expect in prop::bool::weighted(0.8),
        keeps_progress in any::<bool>(),
        life_ms in prop_oneof![10 * MINUTE..60 * MINUTE, 60 * MINUTE..600 * MINUTE],
    ) -> Case {
        Case { seed, groups, slack_ms, says_expect, keeps_progress, life_ms }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_could_be_in_time_on_demand_is_in_time(case in cases()) {
        let run = Run::new(case);
        let deadline_ms = run.deadline_ms();
        let took_ms = run.finish();
        prop_assert!(took_ms <= deadline_ms, "{} ms late", took_ms - deadline_ms);
    }
}

#[test]
fn with_time_to_spare_it_is_spot_and_without_on_demand() {
    let options = |slack_ms: u64, says_expect: bool| {
        let groups = vec![(1, 60 * MINUTE)];
        let (seed, life_ms) = (3, u64::MAX / 4);
        let case = Case { seed, groups, slack_ms, says_expect, keeps_progress: true, life_ms };
        let mut run = Run::new(case);
        let deadline = format!("{}ms", run.deadline_ms());
        let mut group = json!({"command": ["true"]});
        if says_expect {
            group["expect"] = "60m".into();
        }
        let document = json!({"deadline": deadline, "group": [group]});
        let spec = Arc::new(JobSpec::parse(&document).expect("a right document"));
        run.decide(vec![Input::Submit { job: JobId::from_number(1), spec }]);
        run.options()
    };
    assert_eq!(options(60 * MINUTE, true), [PurchaseOption::Spot]);
    assert_eq!(options(MINUTE, true), [PurchaseOption::OnDemand]);
    assert_eq!(options(60 * MINUTE, false), [PurchaseOption::OnDemand]);
}
