//! Packing policies on Alibaba's pods (openb) and SURF's jobs, over a market of all x86 types of
//! us-east-1: what each costs against no packing and against the linear bounds, and where its
//! idle money goes; then one-shot packings at the 20 busiest instants against theirs.
//!
//! `cargo run --release -p simulator --example packing -- [openb|openb-cpu|surf].. [on-demand|spot]..
//! [POLICY..] [--boot-s 120] [--changeover-s 10] [--no-instants]`
//!
//! - Market: on-demand prices of 2026-07-20, spot at the Spot Advisor's savings of 2025-06-28,
//!   1,000 machines a pool, nothing is taken back; by the second. With spot only the types that the
//!   advisor knows: what the newer ones cost on spot is not recorded.
//! - A boot takes 120 s: our own workers take about 60, Eva measured 130 to 197 from the call to a
//!   task.
//! - Each start takes a changeover of 10 s, about a container's; checkpoints are continuous, so
//!   that moving a task costs it that and no more.
//! - "bound": every task waits for whatever company it likes. "at arrival": the integral of the
//!   one-shot bound when every task begins as it comes. Both without boots.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use market::recorded::{Depth, Recording};
use model::{MicroUsd, Resources};
use simulator::import::{Each, Input, catalog, openb, surf};
use simulator::jobs::JobWork;
use simulator::policy::PolicyName;
use simulator::policy::bound::{Offer, OneShot, at_arrival, busiest, one_shot, over_time};
use simulator::result::Outcome;
use simulator::simulate;
use simulator::work::{Checkpoint, Work};

const POLICIES: [PolicyName; 6] = [
    PolicyName::NoPacking,
    PolicyName::FfdLowestPrice,
    PolicyName::Stratus,
    PolicyName::Eva,
    PolicyName::KarpenterLike,
    PolicyName::Ebbtide,
];
const WORKLOADS: [&str; 3] = ["openb", "openb-cpu", "surf"];
const MARKETS: [&str; 2] = ["on-demand", "spot"];
const SEED: u64 = 1;
const HOUR_MS: u64 = 3_600_000;
/// How long a one-shot packing is held: so long that what it takes to get there does not show.
const HELD_HOURS: u64 = 48;

struct Choice {
    workloads: Vec<&'static str>,
    markets: Vec<&'static str>,
    policies: Vec<PolicyName>,
    boot_ms: u64,
    each: Each,
    instants: bool,
}

fn main() {
    let choice = match chosen(std::env::args().skip(1)) {
        Ok(choice) => choice,
        Err(fault) => return complain(&fault),
    };
    for workload in &choice.workloads {
        let Some(jobs) = jobs(workload, &choice.each) else { return };
        for variant in &choice.markets {
            let Some(recording) = recording(variant, choice.boot_ms) else { return };
            whole(workload, variant, &recording, &jobs, &choice.policies);
        }
        if choice.instants {
            let Some(recording) = recording("on-demand", 0) else { return };
            instants(workload, &recording, &jobs, &choice.policies);
        }
    }
}

fn chosen(mut words: impl Iterator<Item = String>) -> Result<Choice, String> {
    let checkpoint = Checkpoint::Continuous;
    let each = Each { changeover_ms: 10_000, checkpoint, ..Each::default() };
    let mut choice = Choice {
        workloads: Vec::new(),
        markets: Vec::new(),
        policies: Vec::new(),
        boot_ms: 120_000,
        each,
        instants: true,
    };
    while let Some(word) = words.next() {
        let mut seconds = || {
            let next = words.next().and_then(|next| next.parse::<u64>().ok());
            next.map(|seconds| seconds * 1_000).ok_or_else(|| format!("{word} needs whole seconds"))
        };
        if let Some(workload) = WORKLOADS.into_iter().find(|known| *known == word) {
            choice.workloads.push(workload);
        } else if let Some(market) = MARKETS.into_iter().find(|known| *known == word) {
            choice.markets.push(market);
        } else if word == "--boot-s" {
            choice.boot_ms = seconds()?;
        } else if word == "--changeover-s" {
            choice.each.changeover_ms = seconds()?;
        } else if word == "--no-instants" {
            choice.instants = false;
        } else {
            choice.policies.push(word.parse()?);
        }
    }
    if choice.workloads.is_empty() {
        choice.workloads = WORKLOADS.to_vec();
    }
    if choice.markets.is_empty() {
        choice.markets = MARKETS.to_vec();
    }
    if choice.policies.is_empty() {
        choice.policies = POLICIES.to_vec();
    }
    Ok(choice)
}

/// Text of a file of the data set, unpacked.
fn data(path: &str) -> Option<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let file = PathBuf::from(root).join(path);
    let Ok(bytes) = fs::read(&file) else {
        complain(&format!("{path} is not in ../shared/data: nothing to do"));
        return None;
    };
    let mut text = String::new();
    let read = if path.ends_with(".gz") {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text)
    } else {
        (&bytes[..]).read_to_string(&mut text)
    };
    read.map(|_| text).map_err(|fault| complain(&format!("{path}: {fault}"))).ok()
}

fn jobs(workload: &str, each: &Each) -> Option<Vec<Arc<JobWork>>> {
    let read = if workload == "surf" {
        surf::read(&data("workload/surf_month_tasks.csv.gz")?, false, each)
    } else {
        let select = if workload == "openb" { openb::Select::All } else { openb::Select::CpuOnly };
        let options = openb::Options { select, ..openb::Options::default() };
        openb::read(&data("workload/alibaba-gpu-2023/openb_pod_list_default.csv")?, &options, each)
    };
    read.map(|read| read.value).map_err(|fault| complain(&fault.to_string())).ok()
}

fn recording(variant: &str, boot_ms: u64) -> Option<Arc<Recording>> {
    let paths = [
        "catalog/karpenter_instance_types.csv",
        "catalog/karpenter_on_demand_us-east-1_2026-07-20.csv",
        "spot/advisor/spot-advisor-data-2025-06-28.json.gz",
    ];
    let texts = paths.map(data);
    let mut inputs = Vec::new();
    for (name, text) in paths.into_iter().zip(&texts) {
        inputs.push(Input { name, text: text.as_deref()? });
    }
    let read = catalog::read(&inputs, &catalog::Options::default());
    let mut recording = read.map_err(|fault| complain(&fault.to_string())).ok()?.value;
    recording.boot_ms = boot_ms;
    if variant == "on-demand" {
        for pool in &mut recording.pools {
            pool.machines = Depth::Constant(0);
        }
    } else {
        recording.pools.retain(|pool| pool.machines != Depth::Constant(0));
    }
    Some(Arc::new(recording))
}

/// A workload from begin to end.
fn whole(
    workload: &str,
    variant: &str,
    recording: &Arc<Recording>,
    jobs: &[Arc<JobWork>],
    policies: &[PolicyName],
) {
    let bound = over_time(recording, jobs);
    let left_out = bound.jobs.iter().filter(|part| part.is_none()).count();
    let jobs: Vec<Arc<JobWork>> = jobs
        .iter()
        .zip(&bound.jobs)
        .filter(|(_, part)| part.is_some())
        .map(|it| it.0.clone())
        .collect();
    let (bound, arriving) = (bound.cost(), at_arrival(recording, &jobs).cost());
    say(&format!(
        "\n{workload}, {variant}: {} tasks ({left_out} that no type holds left out), bound {}, \
         at arrival {}",
        jobs.len(),
        usd(bound),
        usd(arriving),
    ));
    say(&format!(
        "{:<17}{:>12}{:>10}{:>8}{:>9}{:>7}{:>8}{:>8}{:>8}{:>9}{:>8}{:>8}",
        "policy",
        "USD",
        "/no-pack",
        "/bound",
        "/arrival",
        "boot%",
        "empty%",
        "frag%",
        "waste%",
        "starts",
        "undone",
        "took s"
    ));
    let mut alone: Option<MicroUsd> = None;
    for policy in policies {
        let (outcome, seconds) = timed(|| simulate(recording, &jobs, *policy, SEED));
        let cost = outcome.result.cost_micro_usd;
        if *policy == PolicyName::NoPacking {
            alone = Some(cost);
        }
        let waste = outcome.series.waste;
        let share = |of: MicroUsd| ratio(of, cost) * 100.0;
        say(&format!(
            "{:<17}{:>12}{:>10}{:>8.3}{:>9.3}{:>7.1}{:>8.1}{:>8.1}{:>8.1}{:>9}{:>8}{:>8.1}",
            policy.as_str(),
            usd(cost),
            alone.map_or_else(String::new, |alone| format!("{:.3}", ratio(cost, alone))),
            ratio(cost, bound),
            ratio(cost, arriving),
            share(waste.boot),
            share(waste.idle - waste.unreserved),
            share(waste.unreserved),
            share(outcome.result.wasted_micro_usd),
            starts(&outcome),
            undone(&outcome),
            seconds,
        ));
    }
}

/// What runs at the busiest instants, packed at once and held for long, on demand.
fn instants(
    workload: &str,
    recording: &Arc<Recording>,
    jobs: &[Arc<JobWork>],
    policies: &[PolicyName],
) {
    let offers: Vec<Offer> = recording
        .pools
        .iter()
        .map(|pool| Offer { capacity: pool.capacity, price: pool.on_demand })
        .collect();
    let found = busiest(jobs, 20, HOUR_MS);
    let bounds: Vec<OneShot> =
        found.iter().map(|instant| one_shot(&instant.asks, &offers)).collect();
    let tasks: Vec<u64> = found.iter().map(simulator::policy::bound::Instant::tasks).collect();
    let gap = bounds.iter().map(|it| ratio(it.at_most, it.at_least) - 1.0).fold(0.0, f64::max);
    say(&format!(
        "\n{workload}, one shot on demand at the {} busiest instants ({} to {} tasks; the bound is \
         exact to {:.1e})",
        found.len(),
        tasks.iter().min().unwrap_or(&0),
        tasks.iter().max().unwrap_or(&0),
        gap,
    ));
    say(&format!("{:<17}{:>10}{:>8}{:>8}{:>8}", "policy", "USD/h", "/bound", "best", "worst"));
    let sum = |each: &[MicroUsd]| each.iter().fold(MicroUsd(0), |sum, it| sum + *it);
    let least: Vec<MicroUsd> = bounds.iter().map(|it| it.at_least).collect();
    let row = |name: &str, cost: &[MicroUsd]| {
        let ratios = cost.iter().zip(&least).map(|(cost, least)| ratio(*cost, *least));
        let (best, worst) =
            ratios.fold((f64::MAX, 0.0_f64), |(best, worst), it| (best.min(it), worst.max(it)));
        let mean = ratio(sum(cost), sum(&least));
        let hourly = sum(cost).0 / i64::try_from(cost.len().max(1)).unwrap_or(1);
        say(&format!("{name:<17}{:>10}{mean:>8.3}{best:>8.3}{worst:>8.3}", usd(MicroUsd(hourly))));
    };
    row("linear bound", &least);
    for policy in policies {
        let cost = found.iter().map(|instant| {
            let jobs = held(&instant.asks);
            let outcome = simulate(recording, &jobs, *policy, SEED);
            let hours = i64::try_from(HELD_HOURS).unwrap_or(1);
            MicroUsd(outcome.result.cost_micro_usd.0 / hours)
        });
        row(policy.as_str(), &cost.collect::<Vec<MicroUsd>>());
    }
}

/// All come at once and stay.
fn held(asks: &[(Resources, u32)]) -> Vec<Arc<JobWork>> {
    let work_ms = HELD_HOURS * HOUR_MS;
    let work = Work { work_ms, changeover_ms: 0, checkpoint: Checkpoint::Continuous };
    let job = |(at, (ask, count)): (usize, &(Resources, u32))| {
        Arc::new(JobWork {
            id: at.to_string().into(),
            arrival_ms: 0,
            deadline_ms: None,
            count: *count,
            ask: *ask,
            work,
            checkpoint_milligib: 0,
        })
    };
    asks.iter().enumerate().map(job).collect()
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let begin = Instant::now();
    let result = run();
    (result, begin.elapsed().as_secs_f64())
}

fn starts(outcome: &Outcome) -> u64 {
    outcome.result.jobs.iter().map(|job| job.starts).sum()
}

fn undone(outcome: &Outcome) -> usize {
    let undone = outcome.result.jobs.iter().filter(|job| job.finished_s.is_none());
    undone.map(|job| &job.id).collect::<BTreeSet<_>>().len()
}

fn ratio(one: MicroUsd, other: MicroUsd) -> f64 {
    one.0 as f64 / (other.0.max(1)) as f64
}

fn usd(cost: MicroUsd) -> String {
    format!("{:.2}", cost.0 as f64 / 1e6)
}

#[expect(clippy::print_stdout, reason = "an example's result")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "an example's complaint")]
fn complain(line: &str) {
    eprintln!("{line}");
}
