//! Choices worked by hand, and what holds in any market.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, Resources};
use proptest::prelude::*;

use crate::jobs::JobWork;
use crate::policy::PolicyName;
use crate::result::RunResult;
use crate::simulate;
use crate::work::{Checkpoint, Work};

const ASK: Resources = Resources { cpu_millis: 1_000, memory_mib: 1_000, disk_mib: 0, gpus: 0 };
const HOUR_MS: u64 = 3_600_000;

fn pool(zone: &str, on_demand: i64, spot: Prices, depth: &[u32], gap_ms: u64) -> PoolTrace {
    PoolTrace {
        zone: zone.into(),
        instance_type: "m5.large".into(),
        capacity: ASK,
        on_demand: MicroUsd(on_demand),
        spot,
        machines: Depth::PerTick(depth.to_vec()),
        gap_ms,
        hazard_ppm_hour: 0,
    }
}

fn recording(gap_ms: u64, pools: Vec<PoolTrace>) -> Recording {
    let row = |to: &str| BTreeMap::from([(to.into(), MicroUsd(20_000))]);
    Recording {
        gap_ms,
        notice_ms: 0,
        boot_ms: 0,
        billing: Billing::Tick,
        decide_at: DecideAt::Tick,
        egress: BTreeMap::from([
            ("us-east-1".into(), row("us-west-2")),
            ("us-west-2".into(), row("us-east-1")),
        ]),
        pools,
    }
}

fn job(work_ms: u64, deadline_ms: Option<u64>) -> JobWork {
    let checkpoint = Checkpoint::Continuous;
    JobWork {
        id: "a".into(),
        arrival_ms: 0,
        deadline_ms,
        count: 1,
        ask: ASK,
        work: Work { work_ms, changeover_ms: 0, checkpoint },
        checkpoint_milligib: 10_000,
    }
}

fn run(market: Recording, job: JobWork) -> RunResult {
    run_as(PolicyName::SkyNomad, market, job)
}

fn run_as(policy: PolicyName, market: Recording, job: JobWork) -> RunResult {
    let result = simulate(&Arc::new(market), &[Arc::new(job)], policy, 1).result;
    let jobs: i64 = result.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    assert_eq!(jobs + result.idle_micro_usd.0, result.cost_micro_usd.0);
    result
}

/// Ticks of an hour; on-demand $4; East at $1 is down in tick 1; West at $1.50, $3 from tick 3 on.
/// Five hours of work within ten, no changeover, 10 GB at two cents.
///
/// | tick | worth of an hour | has | East | West | so |
/// |---|---|---|---|---|---|
/// | 0 | 4 | 0 | 4 - 1 = 3 | 4 - 1.5 = 2.5 | East; a probe finds West: 2.5 cents |
/// | 1 | 4 (4/9)/(5/10) = 3.56 | 0 | 3.56 - 1 = 2.56 | 3.56 - 1.5 - 0.2/9 = 2.03 | East refuses, West |
/// | 2 | 4 (3/8)/(5/10) = 3 | 3 - 1.5 = 1.5 | 3 - 1 - 0.2/1.58 = 1.87 | | less than 1.5 + 0.5 + 0.002 + 3/20 more: stays; a probe finds East: 1.67 cents |
/// | 3 | 4 (2/7)/(5/10) = 2.29 | 2.29 - 3 = -0.71 | 2.29 - 1 - 0.2/2.54 = 1.21 | | East |
/// | 4 | 4 (1/6)/(5/10) = 1.33 | 0.33 | | below 0 | stays |
///
/// East has been lost once, after an hour: one more life there lasts 1 + e^-1/(1 - e^-1) = 1.58 hours.
/// In tick 3 it has also been seen to be there for an hour without a loss, so half of the lives end at
/// that age: 1/(1 - e^-0.5) = 2.54 hours more.
#[test]
fn five_ticks_by_hand() {
    let dollars = |usd: &[i64]| usd.iter().map(|tenths| MicroUsd(tenths * 100_000)).collect();
    let constant = Prices::Constant(MicroUsd(1_000_000));
    let moving = Prices::PerTick(dollars(&[15, 15, 15, 30, 30]));
    let pools = vec![
        pool("us-east-1a", 4_000_000, constant, &[1, 0, 1, 1, 1, 1, 1, 1, 1, 1], HOUR_MS),
        pool("us-west-2a", 4_000_000, moving, &[1; 10], HOUR_MS),
    ];
    let result = run(recording(HOUR_MS, pools), job(5 * HOUR_MS, Some(10 * HOUR_MS)));
    let job = &result.jobs[0];
    assert_eq!((job.starts, job.finished_s.expect("done").ms), (3, 5 * HOUR_MS));
    // Three hours in the East, two in the West, two moves, two probes.
    assert_eq!(job.cost_micro_usd, MicroUsd(3_000_000 + 3_000_000 + 400_000));
    assert_eq!(result.idle_micro_usd, MicroUsd(25_000 + 16_667));
}

/// Two hours of work within six, no spot: in tick 0 an hour is worth the $4 that it costs, which is no
/// gain; in tick 1 it is worth 4 (2/5)/(2/6) = $4.80.
#[test]
fn behind_schedule_it_pays_for_on_demand() {
    let spot = Prices::Constant(MicroUsd(1_000_000));
    let pools = vec![pool("us-east-1a", 4_000_000, spot, &[0; 6], HOUR_MS)];
    let result = run(recording(HOUR_MS, pools), job(2 * HOUR_MS, Some(6 * HOUR_MS)));
    assert_eq!(result.jobs[0].finished_s.expect("done").ms, 3 * HOUR_MS);
    assert_eq!(result.cost_micro_usd, MicroUsd(8_000_000));
}

/// An hour of changeover, one of work, three in all. Spot is bought in tick 0; in tick 1 on-demand
/// needs the two hours that are left, and the net takes it, though spot would last.
#[test]
fn the_net_takes_on_demand() {
    let spot = Prices::Constant(MicroUsd(1_000_000));
    let pools = vec![pool("us-east-1a", 4_000_000, spot, &[1; 3], HOUR_MS)];
    let mut job = job(HOUR_MS, Some(3 * HOUR_MS));
    job.work.changeover_ms = HOUR_MS;
    let result = run(recording(HOUR_MS, pools), job);
    assert_eq!(result.jobs[0].finished_s.expect("done").ms, 3 * HOUR_MS);
    assert_eq!(result.cost_micro_usd, MicroUsd(1_000_000 + 8_000_000));
}

#[test]
fn without_a_deadline_it_ends_too() {
    for decide_at in [DecideAt::Tick, DecideAt::Event] {
        let spot = Prices::Constant(MicroUsd(0));
        let pools = vec![pool("us-east-1a", 4_000_000, spot, &[0, 0, 1, 0], HOUR_MS)];
        let market = Recording { decide_at, ..recording(HOUR_MS, pools) };
        let result = run(market, job(2 * HOUR_MS, None));
        assert!(result.jobs[0].finished_s.is_some());
    }
}

#[test]
fn what_fits_nowhere_is_given_up() {
    let spot = Prices::Constant(MicroUsd(1_000_000));
    let pools = vec![pool("us-east-1a", 4_000_000, spot, &[1], HOUR_MS)];
    let ask = Resources { gpus: 1, ..ASK };
    let job = JobWork { ask, ..job(HOUR_MS, None) };
    assert_eq!(run(recording(HOUR_MS, pools), job).cost_micro_usd, MicroUsd(0));
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    prop_oneof![
        Just(Checkpoint::Continuous),
        Just(Checkpoint::None),
        (1_u64..200, 0_u64..20).prop_map(|(period, cost)| Checkpoint::Periodic {
            period_ms: period * 1_000,
            cost_ms: cost * 1_000,
        }),
    ]
}

fn any_pool(zone: &'static str) -> impl Strategy<Value = PoolTrace> {
    let depth = prop::collection::vec(0_u32..3, 1..40);
    let price = prop::collection::vec(0_i64..2_000_000, 1..40);
    (depth, price, 0_i64..5_000_000).prop_map(move |(depth, price, on_demand)| {
        let spot = Prices::PerTick(price.into_iter().map(MicroUsd).collect());
        pool(zone, on_demand, spot, &depth, 100_000)
    })
}

proptest! {
    /// Whatever the market does, tasks that have the time end in time, by all policies that look at
    /// deadlines. Prices of nothing and lives of no length break nothing.
    #[test]
    fn deadlines_are_met(
        east in any_pool("us-east-1a"), west in any_pool("us-west-2a"), boot in 0_u64..30,
        work in 1_u64..1_500, changeover in 0_u64..150, spare in 0_u64..3_000, count in 1_u32..4,
        checkpoint in checkpoint(), by_tick in any::<bool>(), notice in 0_u64..150,
        policy in prop::sample::select(vec![
            PolicyName::SkyNomad, PolicyName::Greedy, PolicyName::UniformProgress,
            PolicyName::UniformProgressPlain,
        ]),
    ) {
        let gap_ms = 100_000;
        let (decide_at, billing, boot_ms) = match by_tick {
            true => (DecideAt::Tick, Billing::Tick, 0),
            false => (DecideAt::Event, Billing::Second, boot * 1_000),
        };
        let market = Recording {
            decide_at, billing, boot_ms, notice_ms: notice * 1_000,
            ..recording(gap_ms, vec![east, west])
        };
        let work = Work { work_ms: work * 1_000, changeover_ms: changeover * 1_000, checkpoint };
        let needed = (boot_ms + work.runtime_ms(0)).next_multiple_of(gap_ms);
        let job = JobWork { work, count, ..job(0, Some(needed + spare * 1_000)) };
        let result = run_as(policy, market, job);
        prop_assert!(result.jobs[0].deadline_met, "{:?}", result);
    }
}
