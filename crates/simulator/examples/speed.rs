//! How fast the column `ebbtide` runs: simulated hours a second, tasks a second, peak memory.
//!
//! `cargo run --release -p simulator --example speed [small | large | million | spot | jobs]`; without a name
//! all of them, one after another, the peak being that of the process so far.

#![expect(clippy::print_stdout, reason = "what an example is for")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, Resources};
use simulator::ebbtide::{Audit, Start, audited};
use simulator::jobs::JobWork;
use simulator::result::Outcome;
use simulator::work::{Checkpoint, Work};

const HOUR_MS: u64 = 3_600_000;

/// Zones that give so many spot machines each; one of them loses a tenth each hour.
fn market(machines: u32, hours: u64) -> Arc<Recording> {
    let zone = |(ordinal, letter): (u32, char)| {
        let each = machines / 4;
        let full = if ordinal == 0 { each + machines - each * 4 } else { each };
        let depth = (0..hours).map(|hour| match hour % 4 == u64::from(ordinal) && hour > 0 {
            true => full - full / 10,
            false => full,
        });
        PoolTrace {
            zone: format!("us-east-1{letter}").into(),
            instance_type: "m5.xlarge".into(),
            capacity: Resources { cpu_millis: 4_000, memory_mib: 16_000, disk_mib: 0, gpus: 0 },
            on_demand: MicroUsd(192_000),
            spot: Prices::PerTick((0..24).map(|hour| MicroUsd(70_000 + hour * 100)).collect()),
            machines: Depth::PerTick(depth.collect()),
            gap_ms: HOUR_MS,
            hazard_ppm_hour: 10_000,
        }
    };
    Arc::new(Recording {
        gap_ms: HOUR_MS,
        notice_ms: 120_000,
        boot_ms: 60_000,
        billing: Billing::Second,
        decide_at: DecideAt::Event,
        egress: BTreeMap::new(),
        pools: (0..4).zip('a'..).map(zone).collect(),
    })
}

fn job(ordinal: u32, arrival_ms: u64, count: u32, work_ms: u64) -> Arc<JobWork> {
    Arc::new(JobWork {
        id: format!("job-{ordinal}").into(),
        arrival_ms,
        deadline_ms: None,
        count,
        ask: Resources { cpu_millis: 1_000, memory_mib: 3_000, disk_mib: 0, gpus: 0 },
        work: Work { work_ms, changeover_ms: 5_000, checkpoint: Checkpoint::Continuous },
        checkpoint_milligib: 0,
    })
}

fn report(name: &str, recording: &Arc<Recording>, jobs: &[Arc<JobWork>]) {
    let began = Instant::now();
    let (Outcome { result, .. }, audit) = audited(recording, jobs, &Start::default(), 1);
    let seconds = began.elapsed().as_secs_f64();
    let end_ms = result.jobs.iter().filter_map(|job| Some(job.finished_s?.ms)).max().unwrap_or(0);
    let Audit { steps, plans, succeeded, .. } = audit;
    println!(
        "{name}: {:.1} simulated h in {seconds:.2} s = {:.1} h/s; {succeeded} tasks = {:.0}/s; \
         {steps} steps, {plans} plans; cost ${:.2}; peak {} MiB",
        end_ms as f64 / 3_600_000.0,
        end_ms as f64 / 3_600_000.0 / seconds,
        succeeded as f64 / seconds,
        result.cost_micro_usd.0 as f64 / 1e6,
        peak_mib(),
    );
    assert!(audit.faults.is_empty(), "{:?}", audit.faults);
}

/// The most memory that this process had.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn main() {
    let only = std::env::args().nth(1);
    let wants = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wants("small") {
        // A job of an hour's tasks every hour for a month, on ten machines.
        let jobs: Vec<_> = (0..720)
            .map(|hour| job(hour, u64::from(hour) * HOUR_MS, 38, HOUR_MS - 60_000))
            .collect();
        report("10 nodes", &market(10, 800), &jobs);
    }
    if wants("large") {
        // The same a thousand times as large, for a day.
        let jobs: Vec<_> = (0..24)
            .map(|hour| job(hour, u64::from(hour) * HOUR_MS, 38_000, HOUR_MS - 60_000))
            .collect();
        report("10,000 nodes", &market(10_000, 48), &jobs);
    }
    if wants("million") {
        // All at once, and no deadline: on-demand machines without end are bought for it.
        report("one job of 1,000,000", &market(1_000, 400), &[job(0, 0, 1_000_000, 600_000)]);
    }
    if wants("spot") {
        // The same with a deadline far away: the spot machines that there are do it one after another.
        let mut patient = job(0, 0, 1_000_000, 600_000);
        if let Some(job) = Arc::get_mut(&mut patient) {
            job.deadline_ms = Some(390 * HOUR_MS);
        }
        report("one job of 1,000,000 on spot", &market(1_000, 400), &[patient]);
    }
    if wants("jobs") {
        let jobs: Vec<_> =
            (0..1_000).map(|at| job(at, u64::from(at) * 60_000, 1_000, 600_000)).collect();
        report("1,000 jobs of 1,000", &market(10_000, 400), &jobs);
    }
}
