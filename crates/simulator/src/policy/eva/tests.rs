//! Eva against the log that its authors published, and against cases worked by hand.

use insta::assert_snapshot;
use market::recorded::{Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, Resources};
use proptest::prelude::*;

use super::Eva;
use super::trial::{amount, holds_up, job, jobs, market, markets, pool, trial};
use crate::jobs::JobWork;

const PERIOD_MS: u64 = 300_000;

/// The 21 types of the artifact: devices, cores (half the vCPUs) and GiB, micro-USD an hour.
fn artifact() -> Recording {
    let mut pools = Vec::new();
    for (name, gpus, price) in [
        ("p3.2xlarge", 1, 3_060_000),
        ("p3.8xlarge", 4, 12_240_000),
        ("p3.16xlarge", 8, 24_480_000),
    ] {
        pools.push(pool(name, amount(gpus, 4 * gpus, 61 * gpus), price));
    }
    for (size, cores) in [
        ("large", 1),
        ("xlarge", 2),
        ("2xlarge", 4),
        ("4xlarge", 8),
        ("8xlarge", 16),
        ("12xlarge", 24),
        ("16xlarge", 32),
        ("24xlarge", 48),
        ("48xlarge", 96),
    ] {
        let (c7i, r7i) = (89_250 * i64::from(cores), 132_300 * i64::from(cores));
        pools.push(pool(&format!("c7i.{size}"), amount(0, cores, 4 * cores), c7i));
        pools.push(pool(&format!("r7i.{size}"), amount(0, cores, 16 * cores), r7i));
    }
    market(200, pools)
}

/// The experiment of the artifact's README as its `log_physical.txt` tells it: a round every 60 s;
/// `sage`, two tasks of `resnet` and `a3c` come before the first. The log's plans:
///
/// - at 60.88: `{(-6, 'p3.8xlarge'): [0, 1, 2], (-7, 'c7i.2xlarge'): [3]}`
/// - `sage` (task 0) is done; at 601.05:
///   `{(1, 'c7i.2xlarge'): [3], (-10, 'p3.2xlarge'): [1], (-11, 'p3.2xlarge'): [2]}`
///
/// and no other change. Work, `init + fetch + build` as changeover and asks are those of the jobs'
/// `config.json`; machines boot in 200 s as in the log. Only `a3c` has its work lengthened, as it
/// was on the machine, so that it still runs at the second plan; and each task asks for the same on
/// every family.
#[test]
fn plans_what_the_artifact_logged() {
    let jobs = || {
        vec![
            job("sage", 17_680, 1, amount(1, 8, 50), (76, 171)),
            job("resnet", 27_730, 2, amount(1, 4, 24), (240, 91)),
            job("a3c", 37_730, 1, amount(0, 4, 8), (410, 21)),
        ]
    };
    let plans = |pair_ppm| trial(Eva::new(60_000, pair_ppm), 60_000, artifact(), jobs());
    // 0.95 is what the artifact expects of pairs that it has not seen, 1 what we do.
    assert_eq!(plans(950_000), plans(1_000_000));
    let (result, lines) = plans(950_000);
    // Ready at 260 s: sage is done at 260 + 171 + 76 = 507 s. At 540 s the two of resnet have done
    // 540 - 260 - 91 = 189 of 240 s; they go on at 740 s and are done at 740 + 91 + 51.
    assert_snapshot!(lines, @r"
    0.000:
    60.000: p3.8xlarge[sage resnet.0 resnet.1] c7i.2xlarge[a3c]
    507.000: p3.8xlarge[resnet.0 resnet.1] c7i.2xlarge[a3c]
    540.000: c7i.2xlarge[a3c] p3.2xlarge[resnet.0] p3.2xlarge[resnet.1]
    691.000: p3.2xlarge[resnet.0] p3.2xlarge[resnet.1]
    ");
    // p3.8xlarge 60-540 s: 1.632; c7i.2xlarge 60-691 s: 0.062574; twice p3.2xlarge 540-882 s:
    // 0.2907 each.
    assert_eq!(result.cost_micro_usd, MicroUsd(1_632_000 + 62_574 + 2 * 290_700));
}

const SMALL: Resources = Resources { cpu_millis: 2_000, memory_mib: 4_096, disk_mib: 0, gpus: 0 };

/// One hour's work on $10 alone, or four on a machine of $30.
fn four_on_one() -> Recording {
    market(60, vec![pool("small", SMALL, 10_000_000), pool("large", amount(0, 8, 16), 30_000_000)])
}

fn one_each_round(changeover_s: u64) -> Vec<JobWork> {
    let jobs = ["a", "b", "c", "d"].into_iter().zip(0..);
    let jobs = jobs.map(|(id, at)| job(id, at * PERIOD_MS, 1, SMALL, (3_600, changeover_s)));
    jobs.collect()
}

/// Each new task is worth a small machine of its own ($10 >= $10). Two on a large one are not ($20 <
/// $30), three are but save nothing.
/// At 900 s all four are worth $40 on a large one of $30, and it would save 10 dollars an hour. D̂ is the
/// time since the begin, as no full one was yet.
///
/// - changeover 120 s: full gains 10 x 900/3600 = 2.50, and moves four (4 x 10 x 120/3600 = 1.3333)
///   to a new large one (30 x 60/3600 = 0.50): 0.6667. Partial gains 0 and places one (0.3333) on a
///   new small one (0.1667): -0.50. So full.
/// - changeover 600 s: full 2.50 - 6.6667 - 0.50 = -4.6667, partial 0 - 1.6667 - 0.1667 = -1.8333.
///   So partial; and at 1,800 s, when all can be moved again: 5 - 7.1667 < 0.
///
/// After full: all begin at 960 s and work from 1,080 s. a had done 720 of 3,600 s, b 420, c 120: they
/// end at 3,960, 4,260, 4,560 s. Three on the large one are worth it ($30 >= $30), two are not: at
/// 4,500 s c and d go to small ones, c with 60 s left, until 4,500 + 60 + 120 + 60, d with 180 s left.
#[test]
fn configures_all_anew_when_that_pays_back() {
    let (result, lines) = trial(Eva::default(), PERIOD_MS, four_on_one(), one_each_round(120));
    assert_snapshot!(lines, @r"
    0.000: small[a]
    300.000: small[a] small[b]
    600.000: small[a] small[b] small[c]
    900.000: large[a b c d]
    3960.000: large[b c d]
    4260.000: large[c d]
    4500.000: small[c] small[d]
    4740.000: small[d]
    ");
    // small 900 s + 600 s + 300 s: 2.5 + 1.666667 + 0.833333; large 3,600 s: 30; small 240 s + 360 s:
    // 0.666667 + 1.
    assert_eq!(result.cost_micro_usd, MicroUsd(36_666_667));

    let (_, lines) = trial(Eva::default(), PERIOD_MS, four_on_one(), one_each_round(600));
    assert_snapshot!(lines, @r"
    0.000: small[a]
    300.000: small[a] small[b]
    600.000: small[a] small[b] small[c]
    900.000: small[a] small[b] small[c] small[d]
    4260.000: small[b] small[c] small[d]
    4560.000: small[c] small[d]
    4860.000: small[d]
    ");
}

/// A task of a job of n beside one other is worth max(0, 1 - n x 0.05) of its price when a pair runs
/// at 0.95: of 4, 0.8, so that two are worth 2 x 10 x 0.8 = $16 on a machine of $15; of 6, 0.7 and $14,
/// and so each has a machine of its own.
#[test]
fn tasks_of_large_jobs_are_worth_less_together() {
    let types = || vec![pool("one", SMALL, 10_000_000), pool("two", amount(0, 4, 8), 15_000_000)];
    let plan = |count, pair_ppm| {
        let jobs = vec![job("j", 0, count, SMALL, (600, 60))];
        trial(Eva::new(PERIOD_MS, pair_ppm), PERIOD_MS, market(0, types()), jobs).1
    };
    assert_eq!(plan(4, 950_000), "0.000: two[j.0 j.1] two[j.2 j.3]");
    assert_eq!(plan(6, 950_000), "0.000: one[j.0] one[j.1] one[j.2] one[j.3] one[j.4] one[j.5]");
    assert_eq!(plan(6, 1_000_000), "0.000: two[j.0 j.1] two[j.2 j.3] two[j.4 j.5]");
}

fn spot(mut pool: PoolTrace, micro_usd: i64, machines: &[u32]) -> PoolTrace {
    pool.spot = Prices::Constant(MicroUsd(micro_usd));
    pool.machines = Depth::PerTick(machines.to_vec());
    pool
}

/// Two tasks begin on demand at $10. From 600 s on there is one spot machine for $3: both tasks' price
/// is $3 now, neither machine is worth its $10. One task moves; the other one finds no spot machine any
/// more, is worth $10 again and stays where it is. At 1,200 s the spot machine is taken, and its task
/// goes on on demand at once, as a round falls there. j.1 is done at 300 + 60 + 1,800 s, j.0 at 2,280:
/// it did 240 s, 540 s, and 1,020 s from 1,260 s on.
#[test]
fn moves_to_spot_and_back() {
    let types = vec![spot(pool("small", SMALL, 10_000_000), 3_000_000, &[0, 1, 0])];
    let jobs = vec![job("j", 300_000, 2, SMALL, (1_800, 60))];
    let (_, lines) = trial(Eva::default(), PERIOD_MS, market(0, types), jobs);
    assert_snapshot!(lines, @r"
    0.000:
    300.000: small[j.0] small[j.1]
    600.000: small[j.1] small spot[j.0]
    1200.000: small[j.1] small[j.0]
    2160.000: small[j.0]
    ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn all_is_done_and_nothing_overcommitted(
        recording in markets(), jobs in jobs(), pair_ppm in prop::sample::select(&[950_000_u64, 1_000_000][..]),
    ) {
        holds_up(|| Eva::new(PERIOD_MS, pair_ppm), PERIOD_MS, &recording, &jobs)?;
    }
}
