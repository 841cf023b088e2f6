//! The tables of Can't Be Late over 2,400 random starts: what each policy saves against on-demand, by
//! the share of the deadline that the work takes, and by the changeover.
//!
//! `cargo run --release -p simulator --example tables`. A star marks what differs from what
//! was printed. Omniscient has all of the tick in which its deadline falls, and is late there.

#[path = "../tests/it/samples.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod samples;

use std::sync::Arc;

use simulator::jobs::JobWork;
use simulator::policy::PolicyName;
use simulator::simulate;

use samples::{HOUR_MS, Sample, job, samples};

const POLICIES: [PolicyName; 4] = [
    PolicyName::Greedy,
    PolicyName::UniformProgressPlain,
    PolicyName::UniformProgress,
    PolicyName::Omniscient,
];

const WORK_MS: u64 = 48 * HOUR_MS;

/// In hundredths, and the printed savings in tenths of a per cent, by policy.
const BY_FRACTION: [(u64, [i64; 4]); 5] = [
    (95, [91, 113, 117, 259]),
    (90, [136, 195, 193, 300]),
    (80, [210, 272, 272, 347]),
    (70, [264, 321, 327, 390]),
    (60, [345, 366, 369, 438]),
];

/// In hundredths of an hour.
const BY_CHANGEOVER: [(u64, [i64; 4]); 5] = [
    (2, [263, 401, 392, 417]),
    (5, [254, 384, 369, 403]),
    (20, [210, 272, 272, 347]),
    (40, [168, 173, 191, 293]),
    (100, [102, 36, 63, 191]),
];

fn main() {
    let Some(samples) = samples() else { return };
    print("fraction  ours (printed): greedy, plain, uniform progress, omniscient; late");
    for (fraction, printed) in BY_FRACTION {
        let job = job(WORK_MS, (WORK_MS * 200 / fraction).div_ceil(2), HOUR_MS / 5);
        row(&format!("0.{fraction}"), &samples, &job, printed);
    }
    print("changeover");
    for (hundredths, printed) in BY_CHANGEOVER {
        let job = job(WORK_MS, 60 * HOUR_MS, HOUR_MS * hundredths / 100);
        row(&format!("{}.{:02} h", hundredths / 100, hundredths % 100), &samples, &job, printed);
    }
}

fn row(name: &str, samples: &[Sample], job: &Arc<JobWork>, printed: [i64; 4]) {
    let cells = POLICIES.into_iter().zip(printed).map(|(policy, printed)| {
        let (saved, late) = saved(samples, job, policy);
        let mark = if saved == printed { ' ' } else { '*' };
        let tenths = |it: i64| format!("{}.{}", it / 10, it % 10);
        format!("{:>5}{mark}({:>4}) late {late}", tenths(saved), tenths(printed))
    });
    print(&format!("{name:8}{}", cells.collect::<Vec<String>>().join("  ")));
}

/// Tenths of a per cent of on-demand, and deadlines missed.
fn saved(samples: &[Sample], job: &Arc<JobWork>, policy: PolicyName) -> (i64, usize) {
    let (mut cost, mut late) = (0, 0);
    for sample in samples {
        let result = simulate(&sample.market, std::slice::from_ref(job), policy, 1).result;
        cost += i128::from(result.cost_micro_usd.0);
        late += result.jobs.iter().filter(|job| !job.deadline_met).count();
    }
    // 48 hours at 3.06 USD each.
    let whole = 146_880_000 * i128::try_from(samples.len()).unwrap_or(1);
    let tenths = ((whole - cost) * 2_000 / whole + 1).div_euclid(2);
    (i64::try_from(tenths).unwrap_or(0), late)
}

#[expect(clippy::print_stdout, reason = "an example's output")]
fn print(line: &str) {
    println!("{line}");
}
