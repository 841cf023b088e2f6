use std::sync::Arc;

use ::market::recorded::{Depth, PoolTrace, Prices, Recording, region};
use proptest::prelude::*;

use crate::files;
use crate::jobs::JobWork;

use super::*;

/// Nine zones of three regions for 45 days, as the recorded V100 zones.
fn nine_zones() -> MarketParams {
    let zones = ["us-east-1", "us-east-2", "us-west-2"]
        .iter()
        .flat_map(|region| ["a", "b", "c"].map(|letter| Arc::from(format!("{region}{letter}"))));
    let defaults = MarketParams::default();
    MarketParams {
        zones: zones.collect(),
        types: defaults.types[3..].to_vec(),
        gap_ms: 195_000,
        ticks: 20_158,
        availability_spread_permille: 0,
        ..defaults
    }
}

fn made(params: &MarketParams, seed: u64) -> Recording {
    super::market(params, seed).expect("sensible parameters")
}

fn depth(pool: &PoolTrace) -> &[u32] {
    match &pool.machines {
        Depth::PerTick(machines) => machines,
        Depth::Constant(_) => panic!("by tick"),
    }
}

/// Shares of ticks, and correlations of availability.
#[derive(Debug, Default)]
struct Seen {
    available: f64,
    same_region: f64,
    across: f64,
    any: f64,
}

fn seen(recording: &Recording) -> Seen {
    let ups: Vec<Vec<f64>> = recording
        .pools
        .iter()
        .map(|pool| depth(pool).iter().map(|left| f64::from(u8::from(*left > 0))).collect())
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mut same, mut across) = (Vec::new(), Vec::new());
    for (index, first) in ups.iter().enumerate() {
        for (other, second) in ups.iter().enumerate().skip(index + 1) {
            let (a, b) = (mean(first), mean(second));
            let both = first.iter().zip(second).map(|(x, y)| x * y).sum::<f64>();
            let covariance = both / first.len() as f64 - a * b;
            let correlation = covariance / (a * (1.0 - a) * b * (1.0 - b)).sqrt();
            let [zone, other] = [index, other].map(|at| region(&recording.pools[at].zone));
            if zone == other { same.push(correlation) } else { across.push(correlation) }
        }
    }
    let ticks = ups[0].len();
    let any = (0..ticks).filter(|tick| ups.iter().any(|up| up[*tick] > 0.5)).count();
    let all: Vec<f64> = ups.iter().map(|up| mean(up)).collect();
    Seen {
        available: mean(&all),
        same_region: mean(&same),
        across: mean(&across),
        any: any as f64 / ticks as f64,
    }
}

/// Lengths of the stretches with machines, in ticks, ascending.
fn runs(recording: &Recording) -> Vec<u64> {
    let mut runs = Vec::new();
    for pool in &recording.pools {
        let stretches = depth(pool).split(|left| *left == 0).map(|up| up.len() as u64);
        runs.extend(stretches.filter(|ticks| *ticks > 0));
    }
    runs.sort_unstable();
    runs
}

/// planning.md §1b: availability .644, correlation .43 in a region and .14 across, one of nine zones
/// available in 99.2 % of ticks; mean up 3.35 h, median 0.3 to 1.4 h, 45 to 81 % shorter than 1 h.
#[test]
fn nine_zones_are_like_the_recorded_ones() {
    let mut mean = Seen::default();
    let mut all = Vec::new();
    for seed in 0..8 {
        let recording = made(&nine_zones(), seed);
        let seen = seen(&recording);
        mean.available += seen.available / 8.0;
        mean.same_region += seen.same_region / 8.0;
        mean.across += seen.across / 8.0;
        mean.any += seen.any / 8.0;
        all.extend(runs(&recording));
    }
    assert!((0.60..0.69).contains(&mean.available), "{mean:?}");
    assert!((0.38..0.48).contains(&mean.same_region), "{mean:?}");
    assert!((0.09..0.19).contains(&mean.across), "{mean:?}");
    assert!((0.97..1.0).contains(&mean.any), "{mean:?}");
    all.sort_unstable();
    let minutes = |ticks: u64| ticks * 195 / 60;
    let mean = minutes(all.iter().sum::<u64>() / all.len() as u64);
    let median = minutes(all[all.len() / 2]);
    let short = all.partition_point(|ticks| minutes(*ticks) < 60) * 1_000 / all.len();
    let shown = format!("mean {mean} min, median {median} min, {short} permille below an hour");
    assert!((180..270).contains(&mean), "{shown}");
    assert!((18..84).contains(&median), "{shown}");
    assert!((450..810).contains(&short), "{shown}");
}

#[test]
fn pools_are_squeezed_to_any_count_and_lost_in_bulk() {
    let params = nine_zones();
    let mut counts = vec![0_u64; 17];
    let (mut bulk, mut falls) = (0, 0);
    for pool in (0..4).flat_map(|seed| made(&params, seed).pools) {
        for pair in depth(&pool).windows(2) {
            counts[pair[1] as usize] += 1;
            if pair[1] < pair[0] {
                falls += 1;
                bulk += u64::from(pair[0] == 16 && pair[1] == 0);
            }
        }
    }
    let up: u64 = counts[1..].iter().sum();
    let squeezed = counts[1..16].iter().sum::<u64>() * 1_000 / up;
    assert!((150..250).contains(&squeezed), "{squeezed}");
    assert!(counts.iter().all(|ticks| *ticks > 0), "{counts:?}");
    // Sixteen at once is the most frequent loss, and not the only one.
    assert!(bulk * 3 > falls && bulk < falls, "{bulk} of {falls}");
}

#[test]
fn prices_move_a_few_times_a_day_within_their_bounds() {
    let params = nine_zones();
    for pool in &made(&params, 2).pools {
        let Prices::PerTick(prices) = &pool.spot else { panic!("by tick") };
        let moves = prices.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((45..180).contains(&moves), "{moves} in 45 days");
        assert!(prices.iter().all(|price| price.0 > 0 && *price <= pool.on_demand));
        assert!(prices.iter().all(|price| price.0 % 100 == 0));
    }
    let still = MarketParams { price_moves_per_10_days: 0, ..params };
    assert!(matches!(made(&still, 2).pools[0].spot, Prices::Constant(_)));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let bytes = |seed| {
        let recording = made(&MarketParams { ticks: 200, ..MarketParams::default() }, seed);
        let jobs = super::jobs(&JobsParams::default(), seed).expect("jobs");
        files::market::write(&recording) + &files::jobs::write(&jobs)
    };
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
    // Nothing here may depend on the machine or on anybody's libm: these are for ever.
    let params = MarketParams { ticks: 24, gap_ms: 3_600_000, machines: 4, ..nine_zones() };
    let shown: Vec<String> = made(&params, 7)
        .pools
        .iter()
        .map(|pool| format!("{} {:?} {:?}", pool.zone, depth(pool), pool.spot.at(23)))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    us-east-1a [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 4, 4, 4, 4] MicroUsd(1196300)
    us-east-1b [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 4, 4, 4, 0] MicroUsd(1051400)
    us-east-1c [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 4, 4, 4] MicroUsd(1159700)
    us-east-2a [0, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 4, 0, 0, 0, 0] MicroUsd(1105200)
    us-east-2b [0, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 4, 0, 0, 0, 0] MicroUsd(1216800)
    us-east-2c [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0] MicroUsd(1062700)
    us-west-2a [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 0] MicroUsd(1045900)
    us-west-2b [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 3, 4, 4, 0] MicroUsd(1188500)
    us-west-2c [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0] MicroUsd(1073000)
    ");
    let params = JobsParams { jobs: 5, ..JobsParams::default() };
    insta::assert_snapshot!(files::jobs::write(&super::jobs(&params, 7).expect("jobs")), @r#"
    [
    {"id":"job-0","arrival_s":3488.956,"work_s":61.052,"deadline_s":376.108,"cpu_millis":1000,"memory_mib":2048,"changeover_s":60,"checkpoint":{"period_s":600,"cost_s":20},"checkpoint_gib":1},
    {"id":"job-1","arrival_s":18798.229,"work_s":15621.722,"cpu_millis":4000,"memory_mib":16384,"changeover_s":60,"checkpoint":{"period_s":600,"cost_s":20},"checkpoint_gib":1},
    {"id":"job-2","arrival_s":43551.247,"work_s":1714.384,"cpu_millis":4000,"memory_mib":16384,"changeover_s":60,"checkpoint":{"period_s":600,"cost_s":20},"checkpoint_gib":1},
    {"id":"job-3","arrival_s":61003.052,"work_s":1551.47,"deadline_s":3372.806,"cpu_millis":1000,"memory_mib":2048,"changeover_s":60,"checkpoint":{"period_s":600,"cost_s":20},"checkpoint_gib":1},
    {"id":"job-4","arrival_s":85627.392,"work_s":261.812,"deadline_s":1124.089,"cpu_millis":2000,"memory_mib":8192,"changeover_s":60,"checkpoint":{"period_s":600,"cost_s":20},"checkpoint_gib":1}
    ]
    "#);
}

#[test]
fn one_more_zone_or_job_shifts_no_other() {
    let small = made(&MarketParams { ticks: 500, ..MarketParams::default() }, 3);
    let mut params = MarketParams { ticks: 500, ..MarketParams::default() };
    params.zones.insert(0, "eu-west-1a".into());
    let large = made(&params, 3);
    assert_eq!(small.pools, large.pools[4..]);
    let params = JobsParams { arrivals: Arrivals::AtOnce, jobs: 100, ..JobsParams::default() };
    let few = super::jobs(&params, 3).expect("jobs");
    let many = super::jobs(&JobsParams { mean_work_ms: 1_000, ..params }, 3);
    for (few, many) in few.iter().zip(many.expect("jobs")) {
        assert_eq!((&few.id, few.ask, few.count), (&many.id, many.ask, many.count));
    }
}

#[test]
fn a_market_without_shortages_has_none() {
    let params = MarketParams {
        availability_permille: 1_000,
        availability_spread_permille: 0,
        squeezed_permille: 0,
        ..MarketParams::default()
    };
    let recording = made(&params, 1);
    assert!(recording.pools.iter().all(|pool| depth(pool).iter().all(|left| *left == 16)));
    assert_eq!(recording.pools[0].hazard_ppm_hour, 0);
}

#[test]
fn absurd_markets_are_refused_with_all_that_is_wrong() {
    let params = MarketParams {
        zones: vec!["a".into(), "a".into()],
        types: vec![TypeParams {
            instance_type: "".into(),
            capacity: model::Resources::default(),
            on_demand: model::MicroUsd(-1),
        }],
        gap_ms: 0,
        ticks: u32::MAX,
        machines: 0,
        availability_permille: 1_001,
        mean_up_ms: 0,
        same_region_permille: 0,
        saving_percent: 100,
        boot_ms: u64::MAX,
        ..MarketParams::default()
    };
    let faults = super::market(&params, 1).expect_err("must be refused");
    let lines: Vec<_> =
        faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    /zones: 2 zones x 1 types must be 1 to 10000 pools, and 10^8 ticks of all
    /zones: must be different names, none empty
    /types: must have different names, none empty
    /types/0: must have cpu and memory, and a price up to 1000000 USD
    /gap_ms: must be 1000 to 31622400000, is 0
    /ticks: must be 1 to 10000000, is 4294967295
    /machines: must be 1 to 1000000000, is 0
    /availability_permille: must be 10 to 1000, is 1001
    /saving_percent: must be 0 to 99, is 100
    /same_region_permille: correlations must not fall from across_regions to same_region to same_zone
    /mean_up_ms: must be 1000 to 3155760000000, is 0
    /boot_ms: must be 0 to 3155760000000, is 18446744073709551615
    ");
}

#[test]
fn absurd_workloads_are_refused_with_all_that_is_wrong() {
    let params = JobsParams {
        jobs: u32::MAX,
        span_ms: u64::MAX,
        arrivals: Arrivals::Diurnal { peak_permille: 0 },
        mean_work_ms: 0,
        work_bounds_ms: (5, 4),
        sizes: vec![Size { weight: 0, ask: model::Resources::default() }],
        arrays_permille: 1_001,
        largest_array: 1,
        slack: Some(Slack { of_jobs_permille: 2_000, least_permille: 3, most_permille: 2 }),
        ..JobsParams::default()
    };
    let faults = super::jobs(&params, 1).expect_err("must be refused");
    let lines: Vec<_> =
        faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    /jobs: must be 0 to 5000000, is 4294967295
    /span_ms: must be 0 to 3155760000000, is 18446744073709551615
    /arrivals/peak_permille: must be 1000 to 1000000, is 0
    /mean_work_ms: must be 1 to 3155760000000, is 0
    /work_bounds_ms: must be 1 <= least <= most <= 3155760000000, are 5 and 4
    /sizes: must have one with a weight at least
    /sizes/0: must need cpu, and of nothing more than 1000000000
    /arrays_permille: must be 0 to 1000, is 1001
    /largest_array: must be 2 at least, and times jobs 100000000 at most
    /slack/of_jobs_permille: must be 0 to 1000, is 2000
    /slack: must be 1 <= least_permille <= most_permille <= 1000000
    ");
}

fn workload(params: &JobsParams) -> Vec<Arc<JobWork>> {
    super::jobs(params, 5).expect("jobs")
}

#[test]
fn jobs_come_by_day_and_run_for_minutes_or_for_days() {
    let params = JobsParams {
        jobs: 20_000,
        span_ms: 10 * 86_400_000,
        arrivals: Arrivals::Diurnal { peak_permille: 4_000 },
        ..JobsParams::default()
    };
    let jobs = workload(&params);
    let by_day = |job: &&Arc<JobWork>| (10..22).contains(&(job.arrival_ms / 3_600_000 % 24));
    // Of a triangle from 1 to 4 the upper half has (2.5 + 4) / (1 + 4) / 2 = 65 %.
    let day = jobs.iter().filter(by_day).count() * 1_000 / jobs.len();
    assert!((635..665).contains(&day), "{day}");
    assert!(jobs.windows(2).all(|pair| pair[0].arrival_ms <= pair[1].arrival_ms));

    let mut works: Vec<u64> = jobs.iter().map(|job| job.work.work_ms).collect();
    works.sort_unstable();
    let mean = works.iter().sum::<u64>() / 20_000;
    // Cut off at two days, the mean of 1.26 h falls to 1.01 h, which is 3,620,000 ms.
    assert!((3_400_000..3_850_000).contains(&mean), "{mean}");
    assert!((120_000..300_000).contains(&works[10_000]), "{}", works[10_000]);
    assert!(works[0] >= 1_000 && works[19_999] <= 172_800_000);

    let gpus = jobs.iter().filter(|job| job.ask.gpus > 0).count();
    assert!((850..1_150).contains(&gpus), "{gpus}");
    let arrays: Vec<u32> = jobs.iter().map(|job| job.count).filter(|count| *count > 1).collect();
    assert!((1_800..2_200).contains(&arrays.len()), "{}", arrays.len());
    assert!(arrays.contains(&2) && arrays.contains(&64) && arrays.iter().all(|count| *count <= 64));
    let due: Vec<&Arc<JobWork>> = jobs.iter().filter(|job| job.deadline_ms.is_some()).collect();
    assert!((9_700..10_300).contains(&due.len()), "{}", due.len());
    for job in due {
        let alone = job.work.work_ms + job.work.changeover_ms;
        let permille = job.deadline_ms.unwrap_or(0) * 1_000 / alone;
        assert!((1_499..=4_000).contains(&permille), "{permille}");
    }
}

#[test]
fn arrivals_without_a_day_are_even() {
    let params = JobsParams { jobs: 20_000, ..JobsParams::default() };
    let jobs = workload(&params);
    let first = jobs.iter().filter(|job| job.arrival_ms < params.span_ms / 4).count();
    assert!((4_800..5_200).contains(&first), "{first}");
    let at_once = JobsParams { arrivals: Arrivals::AtOnce, lengths: Lengths::Equal, ..params };
    let jobs = workload(&at_once);
    assert!(jobs.iter().all(|job| job.arrival_ms == 0 && job.work.work_ms == 4_536_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is accepted is made, without a panic, and is a file of ours.
    #[test]
    fn what_is_accepted_is_a_file_of_ours(
        seed: u64, ticks in 0_u32..40, gap_ms in 0_u64..100_000_000, machines in 0_u32..5,
        availability_permille in 0_u32..1_002, availability_spread_permille in 0_u32..501,
        mean_up_ms in 0_u64..10_000_000_000, correlations: [u16; 3], reach_permille in 0_u32..1_002,
        squeezed in 0_u32..901,
        saving_percent in 0_u32..100, moves in 0_u32..100, step in 0_u32..501,
    ) {
        let mut correlations = correlations.map(|one| u32::from(one % 1_001));
        correlations.sort_unstable();
        let params = MarketParams {
            ticks, gap_ms, machines, availability_permille, availability_spread_permille, mean_up_ms,
            across_regions_permille: correlations[0], same_region_permille: correlations[1],
            same_zone_permille: correlations[2],
            reach_permille, squeezed_permille: squeezed,
            saving_percent,
            price_moves_per_10_days: moves, price_step_permille: step, ..MarketParams::default()
        };
        if let Ok(recording) = super::market(&params, seed) {
            prop_assert_eq!(files::market::parse(&files::market::write(&recording)), Ok(recording));
        }
    }

    #[test]
    fn accepted_workloads_are_files_of_ours(
        seed: u64, jobs in 0_u32..50, span_ms: u64, mean_work_ms: u64, least: u64, most: u64,
        arrays_permille in 0_u32..1_002, largest_array: u32, slack in 0_u32..2_000_000,
        peak_permille in 0_u32..1_000_001,
    ) {
        let century = files::limits::DURATION_MS + 2;
        let params = JobsParams {
            jobs, span_ms: span_ms % century, mean_work_ms: mean_work_ms % century,
            work_bounds_ms: (least % 10_000, most % century), arrays_permille,
            largest_array: largest_array >> (seed % 32),
            arrivals: Arrivals::Diurnal { peak_permille },
            slack: Some(Slack { of_jobs_permille: 500, least_permille: 1, most_permille: slack }),
            ..JobsParams::default()
        };
        if let Ok(jobs) = super::jobs(&params, seed) {
            prop_assert_eq!(files::jobs::parse(&files::jobs::write(&jobs)), Ok(jobs));
        }
    }
}
