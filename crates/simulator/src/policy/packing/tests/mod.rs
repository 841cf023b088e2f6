//! Packing by hand, and what must hold whatever the market does.

pub(crate) mod random;

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

pub(crate) fn amount(cores: u32, memory_mib: u32, gpus: u32) -> Resources {
    Resources { cpu_millis: cores * 1_000, memory_mib, disk_mib: 0, gpus }
}

/// A pool that never changes: prices in micro-dollars a second.
pub(crate) fn pool(name: &str, capacity: Resources, prices: (i64, i64), depth: u32) -> PoolTrace {
    PoolTrace {
        zone: "us-east-1a".into(),
        instance_type: name.into(),
        capacity,
        on_demand: MicroUsd(prices.0 * 3_600),
        spot: Prices::Constant(MicroUsd(prices.1 * 3_600)),
        machines: Depth::Constant(depth),
        gap_ms: 600_000,
        hazard_ppm_hour: 0,
    }
}

pub(crate) fn constant(pools: Vec<PoolTrace>) -> Arc<Recording> {
    Arc::new(Recording {
        gap_ms: 600_000,
        notice_ms: 0,
        boot_ms: 60_000,
        billing: Billing::Second,
        decide_at: DecideAt::Event,
        egress: BTreeMap::new(),
        pools,
    })
}

/// A job of one task, times in seconds.
pub(crate) fn task(id: &str, arrival_s: u64, work_s: u64, ask: Resources) -> Arc<JobWork> {
    let checkpoint = Checkpoint::Continuous;
    Arc::new(JobWork {
        id: id.into(),
        arrival_ms: arrival_s * 1_000,
        deadline_ms: None,
        count: 1,
        ask,
        work: Work { work_ms: work_s * 1_000, changeover_ms: 0, checkpoint },
        checkpoint_milligib: 0,
    })
}

/// `id: from a start to its end in seconds, cost` of each job, and the whole cost.
pub(crate) fn ends_and_cost(result: &RunResult) -> (Vec<u64>, i64) {
    let ends = result.jobs.iter().map(|job| job.finished_s.map_or(0, |at| at.ms / 1_000));
    (ends.collect(), result.cost_micro_usd.0)
}

/// Small: 2 cores, 4,000 MiB, 20 micro-dollars a second on demand, 10 on spot. Large: 8 cores,
/// 16,000 MiB, 70 and 25. One spot machine of each. A boot takes 60 s, every task 600 s.
fn five() -> (Arc<Recording>, Vec<Arc<JobWork>>) {
    let small = pool("small", amount(2, 4_000, 0), (20, 10), 1);
    let large = pool("large", amount(8, 16_000, 0), (70, 25), 1);
    let (thin, thick) = (amount(1, 1_000, 0), amount(4, 8_000, 0));
    let jobs = vec![
        task("a", 0, 600, thin),
        task("b", 0, 600, thin),
        task("c", 0, 600, thick),
        task("d", 100, 600, thick),
        task("e", 700, 600, thin),
    ];
    (constant(vec![small, large]), jobs)
}

#[test]
fn no_packing_by_hand() {
    // Every machine boots for 60 s and works for 600 s: 660 s are billed.
    //   0 s: a takes the small spot machine, 660 x 10 = 6,600. b finds it sold; the next by price is
    //        small on demand (20), before large on spot (25): 13,200. c needs a large one: spot,
    //        16,500.
    // 100 s: d finds large spot sold: on demand, 46,200, until 760 s.
    // 660 s: a, b and c are done and their machines end.
    // 700 s: e has the small spot machine again: 6,600, until 1,360 s.
    let (market, jobs) = five();
    let result = simulate(&market, &jobs, PolicyName::NoPacking, 1).result;
    let cost = 6_600 + 13_200 + 16_500 + 46_200 + 6_600;
    assert_eq!(ends_and_cost(&result), (vec![660, 660, 660, 760, 1_360], cost));
}

#[test]
fn first_fit_decreasing_by_hand() {
    // The large type has the cheapest core and the cheapest MiB: 70 x 3,600 / 8 = 31,500 a core and
    // 15.75 a MiB on demand. Thin tasks are max(31,500, 15,750) large, thick ones 126,000.
    //   0 s: waiting, by size: c, a, b. Small on spot holds a and b: 36,000 / 63,000 = 0.57. Small
    //        on demand: 1.14. Large on spot holds all: 90,000 / 189,000 = 0.48. It is bought, and
    //        sold out. All three end at 660 s, and it with them: 660 x 25 = 16,500.
    // 100 s: 2 cores are free, d needs 4. Large on demand, from 160 s to 760 s.
    // 700 s: e fits beside d and begins at once; at 1,300 s the machine ends: 1,200 x 70 = 84,000.
    let (market, jobs) = five();
    let result = simulate(&market, &jobs, PolicyName::FfdLowestPrice, 1).result;
    assert_eq!(ends_and_cost(&result), (vec![660, 660, 660, 760, 1_300], 16_500 + 84_000));
}

#[test]
fn what_was_taken_goes_on_elsewhere() {
    // Spot is gone after 600 s. Thin tasks have done 540 s of 600 by then; each goes on on demand,
    // 60 s of boot and 60 s of work.
    let mut spot = pool("small", amount(2, 4_000, 0), (20, 10), 0);
    spot.machines = Depth::PerTick(vec![9, 0]);
    let thin = amount(1, 1_000, 0);
    let jobs = [task("a", 0, 600, thin), task("b", 0, 600, thin)];
    for (policy, machines) in [(PolicyName::NoPacking, 2), (PolicyName::FfdLowestPrice, 1)] {
        let result = simulate(&constant(vec![spot.clone()]), &jobs, policy, 1).result;
        let each = 600 * 10 + 120 * 20;
        assert_eq!(ends_and_cost(&result), (vec![720, 720], machines * each), "{policy}");
        assert_eq!(result.interruptions, u64::try_from(machines).expect("few"));
    }
}

#[test]
fn where_idle_money_goes() {
    // Small on demand, 20 a second. a has half of its cores and a quarter of its memory from 60 s to 660
    // s: 3/8 of 12,000. b comes at 400 s beside it and has as much until 1,000 s. 60 s of boot; while a
    // or b is there, 940 s, what neither has: 18,800 - 2 x 4,500.
    let market = constant(vec![pool("small", amount(2, 4_000, 0), (20, 10), 0)]);
    let thin = amount(1, 1_000, 0);
    let jobs = [task("a", 0, 600, thin), task("b", 400, 600, thin)];
    let outcome = simulate(&market, &jobs, PolicyName::FfdLowestPrice, 1);
    let waste = outcome.series.waste;
    assert_eq!((waste.boot.0, waste.idle.0, waste.unreserved.0), (1_200, 9_800, 9_800));
    // Without packing each has a machine of its own.
    let outcome = simulate(&market, &jobs, PolicyName::NoPacking, 1);
    let waste = outcome.series.waste;
    assert_eq!((waste.boot.0, waste.idle.0, waste.unreserved.0), (2_400, 15_000, 15_000));
}

#[test]
fn what_fits_nowhere_costs_nothing() {
    let jobs = [task("a", 0, 600, amount(3, 1_000, 0)), task("b", 0, 600, amount(1, 1_000, 0))];
    for policy in [PolicyName::NoPacking, PolicyName::FfdLowestPrice] {
        let market = constant(vec![pool("small", amount(2, 4_000, 0), (20, 10), 1)]);
        let result = simulate(&market, &jobs, policy, 1).result;
        assert_eq!(result.jobs[0].finished_s, None);
        assert_eq!(result.cost_micro_usd.0, 6_600);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn all_is_done_and_paid_for(case in random::case()) {
        random::check(PolicyName::NoPacking, &case)?;
        random::check(PolicyName::FfdLowestPrice, &case)?;
    }
}
