//! Small runs whose figures are worked out by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, PurchaseOption, Resources};

use super::{Audit, Start, StartNode, audited, logged};
use crate::jobs::JobWork;
use crate::result::RunResult;
use crate::work::{Checkpoint, Work};

const ASK: Resources = Resources { cpu_millis: 1_000, memory_mib: 1_000, disk_mib: 0, gpus: 0 };

/// Pools of one-task machines at ten micro-dollars a second, on demand thrice that.
fn recording(depths: &[&[u32]], decide_at: DecideAt) -> Recording {
    let pools = depths.iter().zip(["us-east-1a", "us-west-2b"]).map(|(depth, zone)| PoolTrace {
        zone: zone.into(),
        instance_type: "m5.large".into(),
        capacity: ASK,
        on_demand: MicroUsd(108_000),
        spot: Prices::Constant(MicroUsd(36_000)),
        machines: Depth::PerTick(depth.to_vec()),
        gap_ms: 600_000,
        hazard_ppm_hour: 0,
    });
    let billing = match decide_at {
        DecideAt::Tick => Billing::Tick,
        DecideAt::Event => Billing::Second,
    };
    Recording {
        gap_ms: 600_000,
        notice_ms: 0,
        boot_ms: 0,
        billing,
        decide_at,
        egress: BTreeMap::new(),
        pools: pools.collect(),
    }
}

fn job(count: u32, work_ms: u64, checkpoint: Checkpoint) -> Arc<JobWork> {
    Arc::new(JobWork {
        id: "a".into(),
        arrival_ms: 0,
        deadline_ms: None,
        count,
        ask: ASK,
        work: Work { work_ms, changeover_ms: 120_000, checkpoint },
        checkpoint_milligib: 0,
    })
}

fn run(recording: Recording, jobs: &[Arc<JobWork>]) -> (RunResult, Audit) {
    let (outcome, audit) = audited(&Arc::new(recording), jobs, &Start::default(), 7);
    let result = outcome.result;
    assert_eq!(audit.faults, Vec::<String>::new());
    let of_jobs: i64 = result.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    assert_eq!(of_jobs + result.idle_micro_usd.0, result.cost_micro_usd.0);
    (result, audit)
}

#[test]
fn by_ticks_a_loss_is_replaced_in_the_same_instant() {
    // Lost at 600 s after 480 s of work; the other pool's machine starts at 600 s: changeover 120 s,
    // the last 420 s of 900 s: done at 1,140 s. Two ticks at 6,000.
    let market = recording(&[&[1, 0, 0], &[0, 1, 1]], DecideAt::Tick);
    let (result, audit) = run(market, &[job(1, 900_000, Checkpoint::Continuous)]);
    assert_eq!(result.jobs[0].finished_s.expect("done").ms, 1_140_000);
    assert_eq!(result.jobs[0].starts, 2);
    assert_eq!(result.cost_micro_usd, MicroUsd(12_000));
    assert_eq!(result.interruptions, 1);
    assert_eq!((audit.succeeded, audit.unsettled_jobs), (1, 0));
}

#[test]
fn by_events_everything_takes_its_time() {
    let market = recording(&[&[1, 0, 0], &[1, 1, 1]], DecideAt::Event);
    let (result, audit) = run(market, &[job(1, 900_000, Checkpoint::Continuous)]);
    let done_ms = result.jobs[0].finished_s.expect("done").ms;
    // One launch call to begin with, and another after the loss.
    let undisturbed_ms = 120_000 + 900_000;
    let late_ms = done_ms - undisturbed_ms;
    let replaced = result.interruptions == 1;
    let (least, most) = if replaced { (122_000, 130_000) } else { (1_000, 2_100) };
    assert!((least..most).contains(&late_ms), "{late_ms}");
    assert_eq!((audit.succeeded, audit.unsettled_jobs), (1, 0));
}

#[test]
fn a_notice_is_heeded() {
    // Two minutes' notice at 480 s: the task would need far longer, so it is told to end at once,
    // writes its checkpoint in two seconds, and goes on elsewhere. Nothing is lost but that and a
    // changeover, and the machine is given back before it is taken.
    let mut market = recording(&[&[1, 0, 0, 0], &[0, 0, 0, 0]], DecideAt::Event);
    market.notice_ms = 120_000;
    let checkpoint = Checkpoint::Periodic { period_ms: 10_000_000, cost_ms: 2_000 };
    let (result, _) = run(market, &[job(1, 900_000, checkpoint)]);
    assert_eq!((result.jobs[0].starts, result.interruptions), (2, 1));
    let changeovers = 120_000 * 10 + 120_000 * 30;
    assert_eq!(result.wasted_micro_usd, MicroUsd((changeovers + 2_000 * 10) / 1_000));
}

#[test]
fn what_cannot_go_on_ends() {
    for decide_at in [DecideAt::Event, DecideAt::Tick] {
        let mut work = job(1, 900_000, Checkpoint::None);
        let spot = Arc::get_mut(&mut work).expect("alone");
        spot.ask.gpus = 1;
        let (result, audit) = run(recording(&[&[1, 0, 0]], decide_at), &[work]);
        assert_eq!(result.jobs[0].finished_s, None);
        assert_eq!((result.cost_micro_usd, audit.unsettled_jobs), (MicroUsd(0), 1));
    }
}

#[test]
fn machines_that_are_there_are_used() {
    let own = StartNode { capacity: ASK, bought: None };
    let paid = StartNode { bought: Some((0, PurchaseOption::Spot)), ..own };
    let market = Arc::new(recording(&[&[1; 9]], DecideAt::Event));
    let jobs = [job(2, 300_000, Checkpoint::None)];
    let start = Start { nodes: vec![own, paid], limits: None };
    let (outcome, audit) = audited(&market, &jobs, &start, 7);
    assert_eq!(audit.faults, Vec::<String>::new());
    let done_ms = outcome.result.jobs[0].finished_s.expect("done").ms;
    assert!((420_000..420_100).contains(&done_ms), "{done_ms}");
    // By the second begun: 421 s at ten.
    assert_eq!(outcome.result.cost_micro_usd, MicroUsd(4_210));
}

#[test]
fn many_tasks_settle_once_each() {
    for decide_at in [DecideAt::Event, DecideAt::Tick] {
        let depths: [&[u32]; 2] =
            [&[3, 0, 2, 3, 0, 1, 3, 3, 3, 3], &[2, 2, 2, 0, 4, 1, 1, 1, 1, 1]];
        let mut market = recording(&depths, decide_at);
        market.notice_ms = 60_000;
        let jobs = [job(30, 900_000, Checkpoint::None), job(20, 700_000, Checkpoint::Continuous)];
        let (result, audit) = run(market, &jobs);
        assert_eq!((audit.succeeded, audit.unsuccessful, audit.unsettled_jobs), (50, 0, 0));
        assert!(result.jobs.iter().all(|job| job.finished_s.is_some()));
        assert!(result.interruptions > 0);
    }
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let market = Arc::new(recording(&[&[3, 1, 3, 3, 3], &[1, 2, 1, 0, 3]], DecideAt::Event));
    let jobs = [job(20, 200_000, Checkpoint::Continuous)];
    let one = logged(&market, &jobs, 1);
    assert_eq!(one, logged(&market, &jobs, 1));
    assert_ne!(one.1.log, logged(&market, &jobs, 2).1.log);
    assert!(one.1.log.len() > 20);
}
