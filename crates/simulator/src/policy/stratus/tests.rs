//! Stratus case by case, worked by hand.

use insta::assert_snapshot;
use market::recorded::{MachineNo, PoolTrace};
use model::{MicroUsd, Resources};
use proptest::prelude::*;

use super::Stratus;
use super::racks::{Racks, Wanted, bin};
use super::scale::{Smallest, Waiting, groups, is_underused};
use crate::jobs::TaskKey;
use crate::policy::eva::Choice;
use crate::policy::eva::trial::{amount, holds_up, job, jobs, market, markets, pool, trial};
use crate::policy::packing::Offer;

#[test]
fn bins_are_binary_logarithms_of_seconds() {
    for (remaining_ms, in_bin) in [
        (0, 0),
        (1_999, 0),
        (2_000, 1),
        (3_999, 1),
        (4_000, 2),
        (1_023_999, 9),
        (1_024_000, 10),
        (86_400_000, 16),
    ] {
        assert_eq!(bin(remaining_ms), in_bin, "{remaining_ms}");
    }
}

/// A task of 100 s at 1,000 s: bin 6, 64 s to 128 s. Machines by number: 0 ends in 70 s and 1 in 120 s
/// (bin 6), 2 and 3 in 200 s (bin 7), 4 in 30 s (bin 4), 5 in 10 s (bin 3), 6 has no task (bin 0).
#[test]
fn packs_by_bin_then_up_then_down() {
    let (now_ms, ask) = (1_000_000, amount(0, 1, 1));
    let mut racks = Racks::default();
    racks.expect(ask);
    let free = [1, 1, 2, 4, 2, 3, 1].map(|cores| amount(0, cores, 8));
    let ends_s = [1_070, 1_120, 1_200, 1_200, 1_030, 1_010, 0];
    for (no, (free, end_s)) in (0..).zip(free.into_iter().zip(ends_s)) {
        racks.set(MachineNo(no), end_s * 1_000, free);
    }
    let wanted = Wanted { ask, now_ms, ends_ms: 1_100_000 };
    let mut order = Vec::new();
    while let Some(machine) = racks.pick(&wanted) {
        order.push(machine.0);
        racks.remove(machine);
    }
    // Of its bin: 1 is 20 s away, 0 is 30 s. Up: 3 has 4 cores free, 2 has 2. Down: 5 has 3, 4 has 2,
    // and the empty one 1.
    assert_eq!(order, [1, 0, 3, 2, 5, 4, 6]);
}

#[test]
fn what_does_not_fit_is_passed_over() {
    let mut racks = Racks::default();
    racks.expect(amount(0, 1, 1));
    racks.expect(amount(1, 2, 2));
    // Most is free on 0, but no GPU; 1 has one, and too few cores; 2 is right.
    racks.set(MachineNo(0), 9_000_000, amount(0, 90, 900));
    racks.set(MachineNo(1), 9_000_000, amount(1, 1, 800));
    racks.set(MachineNo(2), 9_000_000, amount(1, 2, 2));
    let wanted = Wanted { ask: amount(1, 2, 2), now_ms: 0, ends_ms: 4_000 };
    assert_eq!(racks.pick(&wanted), Some(MachineNo(2)));
}

fn choices(types: &[(i64, Resources)]) -> Vec<Choice> {
    let all = types.iter().enumerate().map(|(pool, (price, capacity))| {
        let offer = Offer { price: MicroUsd(*price), is_spot: false, pool };
        Choice { offer, capacity: *capacity }
    });
    all.collect()
}

/// Ten tasks of 2 cores, the largest machine has 8: groups of 1, 2, 3 and then 4 at most, the longest
/// first; of equal ones the first.
#[test]
fn groups_are_the_next_longest() {
    let types = choices(&[(10, amount(0, 2, 8)), (20, amount(0, 4, 16)), (40, amount(0, 8, 32))]);
    let runtimes_s = [5, 90, 80, 70, 60, 50, 40, 30, 20, 10, 90];
    let waiting = (0..).zip(runtimes_s).map(|(job, runtime_s)| Waiting {
        task: TaskKey { job, index: 0 },
        ask: amount(0, 2, 1),
        runtime_ms: runtime_s * 1_000,
    });
    let groups = groups(waiting.collect(), &types);
    let jobs: Vec<Vec<u32>> =
        groups.iter().map(|group| group.iter().map(|it| it.task.job).collect()).collect();
    assert_eq!(jobs, [vec![1], vec![10, 2], vec![3, 4, 5], vec![6, 7, 8, 9], vec![0]]);
}

/// The smallest type has 2 cores and 4 GiB. Tasks of 4 cores and 8 GiB together:
///
/// - 4 cores, 16 GiB for $18: cores constrain (4/4), 2 units / 18 = 0.1111;
/// - 4 cores, 8 GiB for $17: cores as well (of equal ones the first), 2 / 17 = 0.1176;
/// - 8 cores, 16 GiB for $30: 2 / 30 = 0.0667.
///
/// Of 2 cores and 12 GiB: 4 cores and 16 GiB for $18 (12/16 > 2/4): 3 units / 18 = 0.1667; 8 cores and
/// 16 GiB for $30: 3 / 30. Of 7 cores and 12 GiB only the last holds them.
#[test]
fn scale_out_takes_what_is_used_best_for_its_price() {
    let types = [
        (10_000_000, amount(0, 2, 4)),
        (17_000_000, amount(0, 4, 8)),
        (18_000_000, amount(0, 4, 16)),
        (30_000_000, amount(0, 8, 16)),
    ];
    let pools: Vec<_> = types.iter().map(|(price, it)| pool("any", *it, *price)).collect();
    let (smallest, types) = (Smallest::of(&pools), choices(&types));
    let best = |sum| smallest.best(&sum, &types).map(|offer| offer.pool);
    assert_eq!(best(amount(0, 2, 4)), Some(0));
    assert_eq!(best(amount(0, 4, 8)), Some(1));
    assert_eq!(best(amount(0, 2, 12)), Some(2));
    assert_eq!(best(amount(0, 7, 12)), Some(3));
    assert_eq!(best(amount(0, 9, 12)), None);
}

#[test]
fn less_than_half_of_everything_is_under_used() {
    let capacity = amount(0, 8, 32);
    assert!(is_underused(&capacity, &amount(0, 5, 17)));
    assert!(!is_underused(&capacity, &amount(0, 4, 17)));
    assert!(!is_underused(&capacity, &amount(0, 5, 16)));
    assert!(!is_underused(&amount(2, 8, 32), &amount(1, 7, 31)));
}

fn small_and_large() -> Vec<PoolTrace> {
    vec![pool("small", amount(0, 2, 4), 10_000_000), pool("large", amount(0, 8, 16), 35_000_000)]
}

/// Five tasks of 2 cores come at 0; 2 cores cost $10, 8 cost $35. Nothing boots or changes over.
///
/// - Scale-out: [a] (1,000 s); [b 900 s, c 600 s]; [d 300 s, e 100 s]. A single one is best on the
///   small type (1/10 > 1/35); two fit on the large one only.
/// - 100 s: e is done. d alone uses a quarter of its machine, and there is a cheaper one: it is packed
///   again. It has 200 s, bin 7; the machine of b and c has 800 s, bin 9, and room: up-pack.
/// - 300 s: d is done. b and c use half: they stay.
/// - 600 s: c is done. b alone: a small one is bought.
/// - 900 s and 1,000 s: b and a are done. a's machine was as small as can be.
#[test]
fn five_tasks() {
    let runs = [("e", 100), ("d", 300), ("c", 600), ("b", 900), ("a", 1_000)];
    let jobs = runs.map(|(id, work_s)| job(id, 0, 1, amount(0, 2, 4), (work_s, 0)));
    let (result, lines) = trial(Stratus::default(), 1, market(0, small_and_large()), jobs.to_vec());
    assert_snapshot!(lines, @r"
    0.000: small[a] large[c b] large[e d]
    100.000: small[a] large[d c b]
    300.000: small[a] large[c b]
    600.000: small[a] small[b]
    900.000: small[a]
    ");
    // small 1,000 s: 2.777778; large 600 s: 5.833333; large 100 s: 0.972222; small 300 s: 0.833333.
    assert_eq!(result.cost_micro_usd, MicroUsd(10_416_666));
}

/// The same with a changeover of 60 s, and x of 1 core and 100 s, which comes at 159 s: 160 s, bin 7,
/// like the 201 s of d and e. e is done at 160 s; d and x use 3 of 8 cores, but x changes over until
/// 219 s. Then d has 141 s of its work left and 201 s to run, x 160 s: both go to the machine of b and
/// c, which have 741 s. They are done at 420 s and 379 s; at 660 s c is, and b goes to a small machine
/// with 300 s left, until 660 + 60 + 300 s.
#[test]
fn who_changes_over_is_left_in_peace() {
    let runs = [("e", 100), ("d", 300), ("c", 600), ("b", 900), ("a", 1_000)];
    let mut jobs = runs.map(|(id, work_s)| job(id, 0, 1, amount(0, 2, 4), (work_s, 60))).to_vec();
    jobs.push(job("x", 159_000, 1, amount(0, 1, 1), (100, 60)));
    let (_, lines) = trial(Stratus::default(), 1, market(0, small_and_large()), jobs);
    assert_snapshot!(lines, @r"
    0.000: small[a] large[c b] large[e d]
    159.000: small[a] large[c b] large[e d x]
    160.000: small[a] large[c b] large[d x]
    219.000: small[a] large[d c b x]
    379.000: small[a] large[d c b]
    420.000: small[a] large[c b]
    660.000: small[a] small[b]
    1020.000: small[a]
    ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn all_is_done_and_nothing_overcommitted(recording in markets(), jobs in jobs()) {
        holds_up(Stratus::default, 1, &recording, &jobs)?;
    }
}
