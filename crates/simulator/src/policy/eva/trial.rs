//! A desk whose policy is watched: what it did and when, and that it did nothing forbidden.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, MachineNo, PoolTrace, Prices, Recording};
use model::{MicroUsd, Resources};
use proptest::prelude::*;

use crate::arena::{Desk, run};
use crate::jobs::{JobWork, TaskKey};
use crate::policy::{Policy, PolicyName};
use crate::result::RunResult;
use crate::work::{Checkpoint, Work};

/// So many GPUs, cores and GiB.
pub(crate) fn amount(gpus: u32, cores: u32, gib: u32) -> Resources {
    Resources { cpu_millis: cores * 1_000, memory_mib: gib * 1_024, disk_mib: 0, gpus }
}

/// A type that is sold on demand only.
pub(crate) fn pool(name: &str, capacity: Resources, micro_usd: i64) -> PoolTrace {
    PoolTrace {
        zone: "us-east-1a".into(),
        instance_type: name.into(),
        capacity,
        on_demand: MicroUsd(micro_usd),
        spot: Prices::Constant(MicroUsd(micro_usd)),
        machines: Depth::Constant(0),
        gap_ms: 600_000,
        hazard_ppm_hour: 0,
    }
}

/// By the second and at any time.
pub(crate) fn market(boot_s: u64, pools: Vec<PoolTrace>) -> Recording {
    Recording {
        gap_ms: 600_000,
        notice_ms: 120_000,
        boot_ms: boot_s * 1_000,
        billing: Billing::Second,
        decide_at: DecideAt::Event,
        egress: BTreeMap::new(),
        pools,
    }
}

/// A job of tasks that lose nothing.
pub(crate) fn job(
    id: &str,
    arrival_ms: u64,
    count: u32,
    ask: Resources,
    work: (u64, u64),
) -> JobWork {
    let (work_s, changeover_s) = work;
    JobWork {
        id: id.into(),
        arrival_ms,
        deadline_ms: None,
        count,
        ask,
        work: Work {
            work_ms: work_s * 1_000,
            changeover_ms: changeover_s * 1_000,
            checkpoint: Checkpoint::Continuous,
        },
        checkpoint_milligib: 0,
    }
}

/// What a run came to, and one line for each moment at which it changed what runs where. Nothing may
/// wait after a decision at a multiple of `period_ms`.
pub(crate) fn trial(
    policy: impl Policy,
    period_ms: u64,
    recording: Recording,
    jobs: Vec<JobWork>,
) -> (RunResult, String) {
    let jobs: Vec<Arc<JobWork>> = jobs.into_iter().map(Arc::new).collect();
    let mut watch = Watch { policy, period_ms, told: BTreeMap::new(), lines: Vec::new() };
    let outcome = run(&Arc::new(recording), &jobs, PolicyName::Eva, 7, &mut watch).result;
    let cost: i64 = outcome.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    assert_eq!(cost + outcome.idle_micro_usd.0, outcome.cost_micro_usd.0);
    (outcome, watch.lines.join("\n"))
}

struct Watch<P> {
    policy: P,
    period_ms: u64,
    /// Tasks of machines that have got their notice.
    told: BTreeMap<MachineNo, Vec<TaskKey>>,
    lines: Vec<String>,
}

impl<P: Policy> Policy for Watch<P> {
    fn decide(&mut self, desk: &mut Desk) {
        self.policy.decide(desk);
        let mut line = String::new();
        for (no, held) in desk.machines() {
            let pool = &desk.recording().pools[held.bought.pool];
            let asks = held.tasks.iter().map(|key| desk.tasks()[key].job.ask);
            let used = asks.fold(Resources::default(), |sum, ask| sum + ask);
            assert!(pool.capacity.holds(&used), "machine {} is overcommitted", no.0);
            assert!(!held.tasks.is_empty(), "machine {} is bought for nothing", no.0);
            if held.bought.deadline_ms.is_some() {
                let tasks: Vec<TaskKey> = held.tasks.iter().copied().collect();
                let before = self.told.insert(*no, tasks.clone());
                let before = before.unwrap_or_else(|| tasks.clone());
                assert!(tasks.iter().all(|task| before.contains(task)), "put on a leaving machine");
            }
            let tasks = held.tasks.iter().map(|key| {
                let job = &desk.tasks()[key].job;
                if job.count == 1 {
                    job.id.to_string()
                } else {
                    format!("{}.{}", job.id, key.index)
                }
            });
            let tasks: Vec<String> = tasks.collect();
            let option =
                if held.bought.option == model::PurchaseOption::Spot { " spot" } else { "" };
            write!(line, " {}{option}[{}]", pool.instance_type, tasks.join(" ")).expect("a string");
        }
        let waits = desk.tasks().iter().find(|(_, task)| {
            let ask = task.job.ask;
            let fits = desk.recording().pools.iter().any(|pool| pool.capacity.holds(&ask));
            task.attempt.is_none() && fits
        });
        let is_round = desk.now_ms().is_multiple_of(self.period_ms);
        assert!(waits.is_none() || !is_round, "{waits:?} waits");
        let is_new = self
            .lines
            .last()
            .is_none_or(|last| last.split_once(':').map(|it| it.1) != Some(&*line));
        if is_new {
            let now_ms = desk.now_ms();
            self.lines.push(format!("{}.{:03}:{line}", now_ms / 1_000, now_ms % 1_000));
        }
    }
}

/// Any market with on-demand machines that hold any task of [`jobs`].
pub(crate) fn markets() -> impl Strategy<Value = Recording> {
    let spot = (prop::collection::vec(0_u32..4, 1..12), 1_i64..90);
    let pools = prop::collection::vec((1_u32..9, 1_u32..17, 0_u32..3, 10_i64..200, spot), 1..5);
    let rules = (prop::bool::ANY, prop::bool::ANY, 0_u64..200, 0_u64..200);
    (pools, rules).prop_map(|(pools, (is_tick, is_whole, boot_s, notice_s))| {
        let mut recording = market(if is_tick { 0 } else { boot_s }, Vec::new());
        recording.notice_ms = if is_tick { 0 } else { notice_s * 1_000 };
        recording.decide_at = if is_tick { DecideAt::Tick } else { DecideAt::Event };
        recording.billing = if is_whole { Billing::Tick } else { Billing::Second };
        let row = BTreeMap::from([("us-east-1b".into(), MicroUsd(10_000))]);
        recording.egress.insert("us-east-1a".into(), row);
        recording.pools.push(pool("largest", amount(2, 8, 16), 300_000));
        for (cores, gib, gpus, price, (depths, percent)) in pools {
            let mut it = pool("any", amount(gpus, cores, gib), price * 1_000);
            it.spot = Prices::Constant(MicroUsd(price * percent * 10));
            it.machines = Depth::PerTick(depths);
            it.zone = if gpus > 0 { "us-east-1b".into() } else { "us-east-1a".into() };
            recording.pools.push(it);
        }
        recording
    })
}

/// Any jobs.
pub(crate) fn jobs() -> impl Strategy<Value = Vec<JobWork>> {
    let one =
        ((0_u64..4_000, 1_u32..4, 1_u64..3_000, 0_u64..100, 0..3), (0_u32..3, 1_u32..9, 1_u32..17));
    prop::collection::vec(one, 1..14).prop_map(|all| {
        let all = all.into_iter().enumerate();
        let jobs = all.map(|(at, ((arrival_s, count, work_s, changeover_s, kind), ask))| {
            let (id, ask) = (format!("j{at}"), amount(ask.0, ask.1, ask.2));
            let mut it = job(&id, arrival_s * 1_000, count, ask, (work_s, changeover_s));
            it.checkpoint_milligib = 500;
            it.work.checkpoint = match kind {
                0 => Checkpoint::Continuous,
                1 => Checkpoint::None,
                _ => Checkpoint::Periodic { period_ms: 60_000, cost_ms: 5_000 },
            };
            it
        });
        jobs.collect()
    })
}

/// All is done, nothing is overcommitted, what would lose its work is not moved, the books are even, and
/// a second run is the same.
pub(crate) fn holds_up<P: Policy>(
    policy: impl Fn() -> P,
    period_ms: u64,
    recording: &Recording,
    jobs: &[JobWork],
) -> Result<(), TestCaseError> {
    let (result, lines) = trial(policy(), period_ms, recording.clone(), jobs.to_vec());
    for (done, job) in result.jobs.iter().zip(jobs) {
        prop_assert!(done.finished_s.is_some(), "{} is never done", job.id);
        let keeps_nothing = job.work.checkpoint == Checkpoint::None;
        if keeps_nothing && result.interruptions == 0 {
            prop_assert_eq!(done.starts, u64::from(job.count), "{} was moved", job.id);
        }
    }
    let again = trial(policy(), period_ms, recording.clone(), jobs.to_vec());
    prop_assert_eq!((result, lines), again);
    Ok(())
}
