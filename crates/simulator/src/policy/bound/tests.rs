//! The bounds by hand, against packings, and against what policies pay.

use std::sync::Arc;

use market::recorded::{Depth, Prices, Recording};
use model::{MicroUsd, Resources};
use proptest::prelude::*;

use super::{Offer, at_arrival, busiest, one_shot, over_time};
use crate::jobs::JobWork;
use crate::policy::PolicyName;
use crate::policy::packing::tests::{amount, constant, pool, random, task};
use crate::simulate;

fn offer(cores: u32, gib: u32, gpus: u32, price: i64) -> Offer {
    Offer { capacity: amount(cores, gib * 1_024, gpus), price: MicroUsd(price) }
}

/// Never above, and below by rounding only: a micro-dollar a task, and some billionths.
fn is_just_below(found: MicroUsd, right: i64) -> bool {
    found.0 <= right && found.0 >= right - 2 - right / 100_000_000
}

#[test]
fn one_shot_by_hand() {
    // Five tasks: a, b of 3 cores, 4 GiB; c, d of 1 core, 12 GiB; e of 6 cores, 24 GiB. Small machines
    // (4 cores, 16 GiB) for 200,000, large ones (8 cores, 64 GiB) for 440,000; only those hold e.
    // A packing: a and c fill a small machine, b and d another; e is on .75 of a large one, by its
    // cores: 2 x 200,000 + 330,000 = 730,000.
    // The proof that none is cheaper: split a small machine's price into 190,000 for its cores and
    // 10,000 for its memory, a large one's all for its cores. On the small one a costs .75 x 190,000 +
    // .25 x 10,000 = 145,000 and c 47,500 + 7,500 = 55,000; on the large one 3/8 and 1/8 of 440,000,
    // 165,000 and 55,000; e 330,000. At the least: 2 x 145,000 + 2 x 55,000 + 330,000 = 730,000.
    let asks = [
        (amount(3, 4 * 1_024, 0), 2),
        (amount(1, 12 * 1_024, 0), 2),
        (amount(6, 24 * 1_024, 0), 1),
    ];
    let found = one_shot(&asks, &[offer(4, 16, 0, 200_000), offer(8, 64, 0, 440_000)]);
    assert!(is_just_below(found.at_least, 730_000), "{found:?}");
    assert!((730_000..=730_001).contains(&found.at_most.0), "{found:?}");
    assert_eq!(found.unfit, 0);
}

#[test]
fn what_fits_nowhere_is_counted() {
    let asks = [(amount(1, 1_024, 1), 3), (amount(1, 1_024, 0), 4)];
    let found = one_shot(&asks, &[offer(4, 16, 0, 200_000)]);
    assert_eq!(found.unfit, 3);
    assert!(is_just_below(found.at_least, 200_000), "{found:?}");
}

#[test]
fn a_gpu_machine_takes_cpu_tasks_beside() {
    // 8 GPU tasks fill the GPUs and an eighth of the cores of one machine; the rest of it is free for
    // 56 thin tasks, and 8 more need a machine of their own.
    let asks = [(amount(1, 1_024, 1), 8), (amount(1, 1_024, 0), 64)];
    let offers = [offer(64, 64, 8, 10_000_000), offer(8, 8, 0, 400_000)];
    assert!(is_just_below(one_shot(&asks, &offers).at_least, 10_400_000));
}

#[test]
fn the_cheapest_moments_before_the_deadline() {
    // On demand 20 a second; spot 10, then 4, 8 and none, by ticks of 600 s. 60 s of changeover and
    // 900 s of work on half a machine: 960 s.
    let mut only = pool("small", amount(2, 4_000, 0), (20, 10), 0);
    only.machines = Depth::PerTick(vec![1, 1, 1]);
    only.spot = Prices::PerTick([10, 4, 8].map(|price| MicroUsd(price * 3_600)).to_vec());
    let market = constant(vec![only]);
    let job = |deadline_s: Option<u64>| {
        let mut job = Arc::unwrap_or_clone(task("a", 0, 900, amount(1, 1_000, 0)));
        job.work.changeover_ms = 60_000;
        job.deadline_ms = deadline_s.map(|deadline_s| deadline_s * 1_000);
        job
    };
    for (deadline_s, cost, finished_s) in [
        // 600 s at 4 and 360 s at 8, half of each.
        (None, 1_200 + 1_440, 1_560),
        (Some(1_800), 1_200 + 1_440, 1_560),
        // 600 s at 4 and 360 s at 10.
        (Some(1_200), 1_200 + 1_800, 1_200),
        // 500 s at 4 and 460 s at 10.
        (Some(1_100), 1_000 + 2_300, 1_100),
        // No way to make it: any time will do.
        (Some(900), 1_200 + 1_440, 1_560),
    ] {
        let bound = over_time(&market, &[Arc::new(job(deadline_s))]);
        assert!(is_just_below(bound.cost(), cost), "{deadline_s:?}: {bound:?}");
        let part = bound.jobs[0].expect("fits");
        assert_eq!(part.finished_ms, finished_s * 1_000, "{deadline_s:?}");
    }
    // Two such tasks fill a machine's cores; half of its memory is worth nothing.
    let mut two = job(Some(960));
    two.count = 2;
    let at_once = at_arrival(&market, &[Arc::new(two)]);
    assert!(is_just_below(at_once.cost(), 600 * 10 + 360 * 4), "{at_once:?}");
}

#[test]
fn running_at_arrival_costs_more_than_waiting_for_company() {
    // One task is all cores, the other all memory; they could share a machine, but do not meet.
    let market = constant(vec![pool("small", amount(2, 4_000, 0), (20, 10), 0)]);
    let mut jobs =
        vec![task("a", 0, 600, amount(2, 0, 0)), task("b", 600, 600, amount(0, 4_000, 0))];
    assert!(is_just_below(over_time(&market, &jobs).cost(), 12_000));
    assert!(is_just_below(at_arrival(&market, &jobs).cost(), 24_000));
    // Without slack that is what omniscient answers.
    let answer = |jobs: &[Arc<JobWork>]| super::run(&market, jobs, 1).result;
    assert!(is_just_below(answer(&jobs).cost_micro_usd, 12_000));
    for job in &mut jobs {
        let mut tight = JobWork::clone(job);
        tight.deadline_ms = Some(600_000);
        *job = Arc::new(tight);
    }
    let result = answer(&jobs);
    assert!(is_just_below(result.cost_micro_usd, 24_000));
    assert!(result.jobs.iter().all(|job| job.deadline_met && job.starts == 1));
}

#[test]
fn the_busiest_moments() {
    let thin = amount(1, 1_000, 0);
    let jobs = [task("a", 0, 600, thin), task("b", 100, 100, thin), task("c", 550, 600, thin)];
    let found = busiest(&jobs, 2, 0);
    let seen: Vec<(u64, u64)> = found.iter().map(|it| (it.at_ms / 1_000, it.tasks())).collect();
    assert_eq!(seen, [(100, 2), (550, 2)]);
    let apart = busiest(&jobs, 9, 300_000);
    let seen: Vec<(u64, u64)> = apart.iter().map(|it| (it.at_ms / 1_000, it.tasks())).collect();
    assert_eq!(seen, [(100, 2), (550, 2)]);
    assert_eq!(busiest(&jobs, 9, 0).len(), 5);
}

fn asks_and_offers() -> impl Strategy<Value = (Vec<(Resources, u32)>, Vec<Offer>)> {
    let amount = |cores: std::ops::Range<u32>, gib: std::ops::Range<u32>| {
        (cores, gib, prop_oneof![3 => Just(0_u32), 1 => 1_u32..5])
            .prop_map(|(cores, gib, gpus)| amount(cores, gib * 1_024, gpus))
    };
    let asks = prop::collection::vec((amount(1..9, 1..33), 1_u32..50), 1..12);
    let offers = prop::collection::vec((amount(1..65, 1..257), 1_000_i64..5_000_000), 1..10);
    (asks, offers).prop_map(|(asks, offers)| {
        let offer = |(capacity, price)| Offer { capacity, price: MicroUsd(price) };
        (asks, offers.into_iter().map(offer).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn what_is_proved_is_what_is_packed((asks, offers) in asks_and_offers()) {
        let found = one_shot(&asks, &offers);
        let (least, most) = (found.at_least.0, found.at_most.0);
        prop_assert!(least <= most, "{:?}", found);
        prop_assert!(most - least <= 2 + most / 1_000_000, "{:?}", found);
    }

    #[test]
    fn no_policy_pays_less(case in random::case()) {
        let (recording, jobs): (&Arc<Recording>, &Vec<Arc<JobWork>>) = (&case.0, &case.1);
        let bound = over_time(recording, jobs).cost();
        let slow: i64 = jobs.iter().map(|job| i64::from(job.count)).sum();
        for policy in [
            PolicyName::NoPacking,
            PolicyName::FfdLowestPrice,
            PolicyName::KarpenterLike,
            PolicyName::Stratus,
            PolicyName::Eva,
        ] {
            let result = random::check(policy, &case)?;
            // Half a micro-dollar of rounding a machine, and there is a start on each.
            let starts: u64 = result.jobs.iter().map(|job| job.starts).sum();
            let rounding = i64::try_from(starts).unwrap_or(0) + slow;
            prop_assert!(
                bound.0 <= result.cost_micro_usd.0 + rounding,
                "{} pays {}, bound {}", policy, result.cost_micro_usd, bound
            );
        }
    }

    #[test]
    fn ebbtide_pays_no_less(case in random::case()) {
        let (recording, jobs) = (&case.0, &case.1);
        let result = simulate(recording, jobs, PolicyName::Ebbtide, 1).result;
        if result.jobs.iter().all(|job| job.finished_s.is_some()) {
            let bound = over_time(recording, jobs).cost();
            let starts: u64 = result.jobs.iter().map(|job| job.starts).sum();
            let rounding = i64::try_from(starts).unwrap_or(0) * 2;
            prop_assert!(
                bound.0 <= result.cost_micro_usd.0 + rounding,
                "{} paid, bound {}", result.cost_micro_usd, bound
            );
            prop_assert!(result.idle_micro_usd.0 >= 0);
        }
    }

    #[test]
    fn waiting_is_never_dearer(case in random::case()) {
        let (recording, jobs) = (&case.0, &case.1);
        let (waits, begins) = (over_time(recording, jobs), at_arrival(recording, jobs));
        let rounding: i64 = jobs.iter().map(|job| i64::from(job.count)).sum();
        prop_assert!(waits.cost().0 <= begins.cost().0 + rounding, "{:?} {:?}", waits, begins);
    }
}

#[test]
fn omniscient_adds_up() {
    let market = constant(vec![pool("small", amount(2, 4_000, 0), (20, 10), 1)]);
    let jobs = [task("a", 0, 600, amount(1, 1_000, 0)), task("b", 5, 700, amount(9, 1_000, 0))];
    let result = simulate(&market, &jobs, PolicyName::Omniscient, 3).result;
    let jobs: i64 = result.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    assert_eq!(jobs + result.idle_micro_usd.0, result.cost_micro_usd.0);
    assert_eq!(result.jobs[1].finished_s, None);
}
