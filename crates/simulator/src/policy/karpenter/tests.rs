//! Karpenter by hand, and what must hold whatever the market does.

use std::sync::Arc;

use market::recorded::{Depth, PoolTrace, Recording};
use proptest::prelude::*;

use crate::jobs::JobWork;
use crate::policy::PolicyName;
use crate::policy::packing::tests::{amount, constant, ends_and_cost, pool, random, task};
use crate::result::RunResult;
use crate::simulate;

fn run(market: &Arc<Recording>, jobs: &[Arc<JobWork>]) -> RunResult {
    simulate(market, jobs, PolicyName::KarpenterLike, 1).result
}

#[test]
fn five_by_hand() {
    // Small: 2 cores, 4,000 MiB, 20 micro-dollars a second on demand, 10 on spot. Large: 8 cores, 16,000
    // MiB, 70 and 25. One spot machine of each. A boot takes 60 s, every task 600 s. a, b, e want 1
    // core and 1,000 MiB, c and d 4 cores and 8,000 MiB.
    //   0 s: a, b and c come. The window closes after a second without a pod.
    //   1 s: c, a and b (by falling cpu) make one planned node of 6 cores, which only the large type
    //        holds. Spot: from 61 s they run, until 661 s.
    // 101 s: d came at 100 s; 2 cores are free, it needs 4. Large spot is sold: on demand, from 161 s.
    // 310 s: the first node is old enough. c would fit on the second, a and b then want a small one; but
    //        spot is not replaced by spot without 15 cheaper types.
    // 670 s: the first look after the first node became empty, carried out 15 s later: 684 x 25 = 17,100.
    // 685 s: now large spot is to be had for 25 instead of the second node's 70: to be looked at again
    //        at 700 s. Meanwhile e comes and goes to the second node at once. d and e still fit a large
    //        one. It boots until 760 s; then they are moved. The second node: 659 x 70 = 46,130.
    // 761 s: d is done. e has 540 s of its 600 left at 760 s: 1,300 s. The third node: 600 x 25 = 15,000.
    let small = pool("small", amount(2, 4_000, 0), (20, 10), 1);
    let large = pool("large", amount(8, 16_000, 0), (70, 25), 1);
    let (thin, thick) = (amount(1, 1_000, 0), amount(4, 8_000, 0));
    let jobs = [
        task("a", 0, 600, thin),
        task("b", 0, 600, thin),
        task("c", 0, 600, thick),
        task("d", 100, 600, thick),
        task("e", 700, 600, thin),
    ];
    let result = run(&constant(vec![small, large]), &jobs);
    let cost = 17_100 + 46_130 + 15_000;
    assert_eq!(ends_and_cost(&result), (vec![661, 661, 661, 761, 1_300], cost));
    let starts: Vec<u64> = result.jobs.iter().map(|job| job.starts).collect();
    assert_eq!(starts, [1, 1, 1, 2, 2]);
}

#[test]
fn a_node_whose_pods_fit_elsewhere_ends() {
    // Boxes of 4 cores, on demand only, for 20 a second. p and r (2 cores each) share the first from 1 s,
    // q has the second from 21 s. r is done at 461 s. At 470 s the older node is the first candidate
    // (less of its life is left), and p fits beside q; at 485 s it moves: 424 s of 2,000 are done.
    let thick = amount(2, 1_000, 0);
    let jobs = [task("p", 0, 2_000, thick), task("r", 0, 400, thick), task("q", 20, 2_000, thick)];
    let result = run(&constant(vec![pool("box", amount(4, 4_000, 0), (20, 10), 0)]), &jobs);
    let cost = (485 - 1) * 20 + (2_081 - 21) * 20;
    assert_eq!(ends_and_cost(&result), (vec![2_061, 461, 2_081], cost));
}

/// Types k0, k1, .. for 10, 11, .. a second on spot; at first only the last has any.
fn ladder(types: usize) -> Arc<Recording> {
    let rung = |nth: usize| -> PoolTrace {
        let price = 10 + i64::try_from(nth).expect("few");
        let mut rung = pool(&format!("k{nth}"), amount(2, 4_000, 0), (100, price), 0);
        let first = if nth + 1 == types { 9 } else { 0 };
        rung.machines = Depth::PerTick([vec![first], vec![9; 9]].concat());
        rung
    };
    constant((0..types).map(rung).collect())
}

#[test]
fn spot_is_replaced_by_spot_only_when_15_types_are_cheaper() {
    // With 16 types: the last, for 25, from 1 s; the task runs from 61 s. At 600 s the others have
    // machines, 15 of which are cheaper; at 615 s the cheapest is bought, at 675 s the task has 2,386 s
    // left and moves.
    let jobs = [task("a", 0, 3_000, amount(1, 1_000, 0))];
    let result = run(&ladder(16), &jobs);
    let cost = (675 - 1) * 25 + (3_061 - 615) * 10;
    assert_eq!(ends_and_cost(&result), (vec![3_061], cost));
    // With 15, only 14 are.
    let result = run(&ladder(15), &jobs);
    assert_eq!(ends_and_cost(&result), (vec![3_061], (3_061 - 1) * 24));
}

#[test]
fn a_notice_drains_at_once_and_is_replaced_after_the_fact() {
    // Told at 480 s of the reclaim at 600 s: the node ends, with 419 s of 600 done. The window closes at
    // 481 s; on demand from 541 s, 181 s are left.
    let mut only = pool("small", amount(2, 4_000, 0), (20, 10), 0);
    only.machines = Depth::PerTick(vec![1, 0]);
    let mut market = Arc::unwrap_or_clone(constant(vec![only]));
    market.notice_ms = 120_000;
    let jobs = [task("a", 0, 600, amount(1, 1_000, 0))];
    let result = run(&Arc::new(market), &jobs);
    let cost = (480 - 1) * 10 + (722 - 481) * 20;
    assert_eq!(ends_and_cost(&result), (vec![722], cost));
}

#[test]
fn deep_pools_before_cheap_ones() {
    // Of 4, 5 and 10 machines those with at least 5 are deep; the cheaper of them is taken.
    let ask = amount(2, 4_000, 0);
    let pools = vec![
        pool("shallow", ask, (100, 10), 4),
        pool("half", ask, (100, 12), 5),
        pool("deep", ask, (100, 14), 10),
    ];
    let result = run(&constant(pools), &[task("a", 0, 600, amount(1, 1_000, 0))]);
    assert_eq!(ends_and_cost(&result), (vec![661], 660 * 12));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn all_is_done_and_paid_for(case in random::case()) {
        random::check(PolicyName::KarpenterLike, &case)?;
    }
}
