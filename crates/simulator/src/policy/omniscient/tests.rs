//! The optimum against a search through all schedules, minute by minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, PurchaseOption, Resources};
use proptest::prelude::*;

use crate::jobs::JobWork;
use crate::policy::PolicyName;
use crate::result::RunResult;
use crate::simulate;
use crate::work::{Checkpoint, Work};

/// Everything is a multiple of it, and so are the best moments.
const UNIT_MS: u64 = 60_000;
/// That an hour, and a unit costs a micro-dollar.
const RATE: i64 = 60;
const ASK: Resources = Resources { cpu_millis: 1_000, memory_mib: 1_000, disk_mib: 0, gpus: 0 };

/// A small market, all in units.
#[derive(Debug, Clone)]
struct Small {
    billing: Billing,
    decide_at: DecideAt,
    gap: u64,
    pools: Vec<SmallPool>,
    /// There and back; nothing within a zone.
    egress: i64,
    arrival: u64,
    work: u64,
    limit: u64,
    changeover: u64,
}

#[derive(Debug, Clone)]
struct SmallPool {
    gap: u64,
    on_demand: i64,
    spot: Vec<i64>,
    depth: Vec<u32>,
}

fn pool() -> impl Strategy<Value = SmallPool> {
    let gap = prop_oneof![3 => Just(5_u64), 1 => Just(10)];
    let spot = proptest::collection::vec(1_i64..6, 1..6);
    let depth = proptest::collection::vec(0_u32..2, 1..7);
    (gap, 4_i64..12, spot, depth).prop_map(|(gap, on_demand, spot, depth)| SmallPool {
        gap,
        on_demand,
        spot,
        depth,
    })
}

fn small() -> impl Strategy<Value = Small> {
    let kinds = prop_oneof![
        Just((Billing::Tick, DecideAt::Tick)),
        Just((Billing::Tick, DecideAt::Event)),
        Just((Billing::Second, DecideAt::Tick)),
        Just((Billing::Second, DecideAt::Event)),
    ];
    let gap = prop_oneof![Just(5_u64), Just(10)];
    let pools = proptest::collection::vec(pool(), 1..3);
    let times = (0_u64..12, 1_u64..20, 0_u64..16, 0_u64..8);
    (kinds, gap, pools, 0_i64..40, times).prop_map(
        |((billing, decide_at), gap, pools, egress, (arrival, work, slack, changeover))| Small {
            billing,
            decide_at,
            gap,
            pools,
            egress,
            arrival,
            work,
            limit: work + changeover + slack,
            changeover,
        },
    )
}

impl Small {
    fn recording(&self) -> Arc<Recording> {
        let pools = self.pools.iter().zip(["a", "b"]).map(|(pool, zone)| PoolTrace {
            zone: zone.into(),
            instance_type: "m5.large".into(),
            capacity: ASK,
            on_demand: MicroUsd(pool.on_demand * RATE),
            spot: Prices::PerTick(pool.spot.iter().map(|it| MicroUsd(it * RATE)).collect()),
            machines: Depth::PerTick(pool.depth.clone()),
            gap_ms: pool.gap * UNIT_MS,
            hazard_ppm_hour: 0,
        });
        let row = |to: &str| BTreeMap::from([(Arc::from(to), MicroUsd(self.egress))]);
        Arc::new(Recording {
            gap_ms: self.gap * UNIT_MS,
            notice_ms: 0,
            boot_ms: 0,
            billing: self.billing,
            decide_at: self.decide_at,
            egress: BTreeMap::from([("a".into(), row("b")), ("b".into(), row("a"))]),
            pools: pools.collect(),
        })
    }

    fn job(&self, checkpoint: Checkpoint) -> Arc<JobWork> {
        let changeover_ms = self.changeover * UNIT_MS;
        Arc::new(JobWork {
            id: "a".into(),
            arrival_ms: self.arrival * UNIT_MS,
            deadline_ms: Some(self.limit * UNIT_MS),
            count: 1,
            ask: ASK,
            work: Work { work_ms: self.work * UNIT_MS, changeover_ms, checkpoint },
            checkpoint_milligib: 1_000,
        })
    }

    fn found(&self, checkpoint: Checkpoint) -> RunResult {
        let jobs = [self.job(checkpoint)];
        let result = simulate(&self.recording(), &jobs, PolicyName::Omniscient, 1).result;
        let of_jobs: i64 = result.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
        assert_eq!(of_jobs + result.idle_micro_usd.0, result.cost_micro_usd.0);
        result
    }

    /// When something may be decided at the begin of a unit.
    fn decides(&self, unit: u64) -> bool {
        self.decide_at == DecideAt::Event || unit.is_multiple_of(self.gap)
    }

    /// By ticks the last one is there whole.
    fn end(&self) -> u64 {
        let due = self.arrival + self.limit;
        match self.decide_at {
            DecideAt::Event => due,
            DecideAt::Tick => due.next_multiple_of(self.gap),
        }
    }

    fn price(&self, on: On, unit: u64) -> Option<i64> {
        let pool = &self.pools[on.pool];
        let tick = usize::try_from(unit / pool.gap).expect("small");
        match on.option {
            PurchaseOption::OnDemand => Some(pool.on_demand),
            PurchaseOption::Spot if pool.depth.get(tick).copied().unwrap_or(0) == 0 => None,
            PurchaseOption::Spot => pool.spot.get(tick).or_else(|| pool.spot.last()).copied(),
        }
    }

    /// The cost of holding a machine for a unit.
    fn cost(&self, on: On, unit: u64, is_new: bool) -> Option<i64> {
        let price = self.price(on, unit)?;
        let gap = self.pools[on.pool].gap;
        Some(match self.billing {
            Billing::Second => price,
            Billing::Tick if is_new || unit.is_multiple_of(gap) => {
                price * i64::try_from(gap).expect("small")
            }
            Billing::Tick => 0,
        })
    }

    /// The least cost over all schedules, by the arena's own rules; nothing when none is in time.
    fn searched(&self, keeps: bool) -> Option<i64> {
        let begin = State { on: None, zone: None, done: 0, delay: 0 };
        let mut states = BTreeMap::from([(begin, 0)]);
        let mut best: Option<i64> = None;
        for unit in self.arrival..self.end() {
            let mut next: BTreeMap<State, i64> = BTreeMap::new();
            for (state, paid) in states {
                for (after, cost) in self.successors(state, unit, keeps) {
                    let paid = paid + cost;
                    if after.done >= self.work {
                        best = Some(best.map_or(paid, |best: i64| best.min(paid)));
                    } else {
                        let entry = next.entry(after).or_insert(paid);
                        *entry = paid.min(*entry);
                    }
                }
            }
            states = next;
        }
        best
    }

    fn successors(&self, state: State, unit: u64, keeps: bool) -> Vec<(State, i64)> {
        let held = state.on.filter(|on| self.price(*on, unit).is_some());
        let mut all = Vec::new();
        if let Some(on) = held {
            let cost = self.cost(on, unit, false).expect("there");
            all.push((state.worked(), cost));
            if !self.decides(unit) {
                return all;
            }
        }
        let free = State { on: None, delay: 0, done: if keeps { state.done } else { 0 }, ..state };
        all.push((free, 0));
        if self.decides(unit) {
            for pool in 0..self.pools.len() {
                for option in [PurchaseOption::Spot, PurchaseOption::OnDemand] {
                    let on = On { pool, option };
                    let Some(cost) = self.cost(on, unit, true) else { continue };
                    let moved = state.zone.is_some_and(|zone| zone != pool);
                    let egress = if moved { self.egress } else { 0 };
                    let (on, zone, delay) = (Some(on), Some(pool), self.changeover);
                    all.push((State { on, zone, delay, ..free }.worked(), cost + egress));
                }
            }
        }
        all
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct On {
    pool: usize,
    option: PurchaseOption,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    on: Option<On>,
    zone: Option<usize>,
    done: u64,
    delay: u64,
}

impl State {
    fn worked(self) -> Self {
        match self.delay {
            0 => Self { done: self.done + 1, ..self },
            _ => Self { delay: self.delay - 1, ..self },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn equals_a_search_of_all_schedules(small in small()) {
        let result = small.found(Checkpoint::Continuous);
        if let Some(cost) = small.searched(true) {
            prop_assert_eq!(result.cost_micro_usd, MicroUsd(cost));
            let finished = result.jobs[0].finished_s.expect("done");
            prop_assert!(finished.ms <= small.end() * UNIT_MS);
        }
    }

    #[test]
    fn equals_a_search_of_unbroken_stretches(mut small in small()) {
        // The search may use all of the last tick, the policy only what is before the deadline.
        if small.decide_at == DecideAt::Tick {
            small.limit = (small.arrival + small.limit).next_multiple_of(small.gap) - small.arrival;
        }
        let result = small.found(Checkpoint::None);
        if let Some(cost) = small.searched(false) {
            prop_assert_eq!(result.cost_micro_usd, MicroUsd(cost));
            prop_assert!(result.jobs[0].deadline_met);
        }
    }

    #[test]
    fn periodic_checkpoints_cost_no_less(small in small(), period in 1_u64..6, cost in 0_u64..3) {
        let (period_ms, cost_ms) = (period * UNIT_MS, cost * UNIT_MS);
        let bound = small.found(Checkpoint::Periodic { period_ms, cost_ms });
        let jobs = [small.job(Checkpoint::Periodic { period_ms, cost_ms })];
        for policy in [PolicyName::Greedy, PolicyName::UniformProgress] {
            let result = simulate(&small.recording(), &jobs, policy, 1).result;
            if result.jobs[0].deadline_met {
                prop_assert!(bound.cost_micro_usd <= result.cost_micro_usd, "{policy}");
            }
        }
    }
}

fn usd(small: &Small) -> i64 {
    small.found(Checkpoint::Continuous).cost_micro_usd.0
}

/// Spot at 1 a minute in the middle three of five ticks of ten minutes, on-demand at 3; a changeover takes
/// five.
fn five_ticks(work: u64, limit: u64) -> Small {
    let depth = vec![0, 1, 1, 1, 0];
    let pool = SmallPool { gap: 10, on_demand: 3, spot: vec![1], depth };
    Small {
        billing: Billing::Second,
        decide_at: DecideAt::Event,
        gap: 10,
        pools: vec![pool],
        egress: 0,
        arrival: 0,
        work,
        limit,
        changeover: 5,
    }
}

#[test]
fn a_part_of_a_step_is_bought_where_it_is_dearest() {
    // 20 minutes of work and 5 of changeover, all on spot.
    assert_eq!(usd(&five_ticks(20, 50)), 25);
    // Spot gives 25 of 28 minutes. Before it 3 + 5 on demand, from the second minute on.
    assert_eq!(usd(&five_ticks(28, 40)), 30 + 24);
    // By ticks on-demand is held for the whole first one (30), and spot for 23 + 5 minutes.
    let by_ticks = Small { decide_at: DecideAt::Tick, ..five_ticks(28, 40) };
    assert_eq!(usd(&by_ticks), 30 + 28);
    // With another tick on-demand comes last, and ends with the task.
    let by_ticks = Small { decide_at: DecideAt::Tick, ..five_ticks(28, 50) };
    assert_eq!(usd(&by_ticks), 30 + 24);
    let whole = Small { billing: Billing::Tick, ..by_ticks };
    assert_eq!(usd(&whole), 30 + 30);
}

#[test]
fn what_cannot_be_in_time_is_done_as_early_as_possible() {
    // 28 + 5 minutes on demand from the begin on would be late by 3. Spot waits too long.
    let small = five_ticks(28, 30);
    let result = small.found(Checkpoint::Continuous);
    assert_eq!(result.cost_micro_usd, MicroUsd(3 * 33));
    assert_eq!(result.jobs[0].finished_s.expect("done").ms, 33 * UNIT_MS);
    assert!(!result.jobs[0].deadline_met);
}

#[test]
fn without_a_deadline_it_waits_for_what_is_cheap() {
    let small = five_ticks(25, 50);
    let job =
        Arc::new(JobWork { deadline_ms: None, ..JobWork::clone(&small.job(Checkpoint::None)) });
    let result = simulate(&small.recording(), &[job], PolicyName::Omniscient, 1).result;
    assert_eq!(result.cost_micro_usd, MicroUsd(30));
}

#[test]
fn a_boot_is_free_but_takes_its_time_once() {
    // Spot would do in time, had the first machine not to boot for two minutes: on-demand at the start
    // is needed for one of them.
    let small = five_ticks(25, 40);
    assert_eq!(usd(&small), 30);
    let booting =
        Arc::new(Recording { boot_ms: 2 * UNIT_MS, ..Recording::clone(&small.recording()) });
    let jobs = [small.job(Checkpoint::Continuous)];
    let cost = |policy| simulate(&booting, &jobs, policy, 1).result.cost_micro_usd;
    assert!(cost(PolicyName::Omniscient) <= cost(PolicyName::UniformProgress));
}

#[test]
fn tasks_that_cannot_share_are_summed() {
    let small = five_ticks(20, 50);
    let job = Arc::new(JobWork { count: 3, ..JobWork::clone(&small.job(Checkpoint::Continuous)) });
    let result = simulate(&small.recording(), &[job], PolicyName::Omniscient, 1).result;
    assert_eq!(result.cost_micro_usd, MicroUsd(3 * 25));
    assert_eq!(result.jobs[0].starts, 3);
}
