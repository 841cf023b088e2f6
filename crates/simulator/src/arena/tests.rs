//! The arena by a policy that is too simple to be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, PurchaseOption, Resources};

use crate::arena::{Desk, run};
use crate::jobs::{JobWork, TaskKey};
use crate::policy::{Policy, PolicyName};
use crate::result::RunResult;
use crate::work::{Checkpoint, Work};

const ASK: Resources = Resources { cpu_millis: 1_000, memory_mib: 1_000, disk_mib: 0, gpus: 0 };

/// One machine a task, spot of the first pool that has some; ended when it has nothing to do.
struct Simple;

impl Policy for Simple {
    fn decide(&mut self, desk: &mut Desk) {
        let idle = desk.machines().iter().filter(|(_, held)| held.tasks.is_empty());
        for machine in idle.map(|(no, _)| *no).collect::<Vec<_>>() {
            desk.end(machine);
        }
        let waiting = desk.tasks().iter().filter(|(_, task)| task.attempt.is_none());
        for task in waiting.map(|(key, _)| *key).collect::<Vec<TaskKey>>() {
            let pools = 0..desk.recording().pools.len();
            let bought = pools.into_iter().find_map(|at| desk.launch(at, PurchaseOption::Spot));
            if let Some(machine) = bought {
                assert!(desk.assign(task, machine));
            }
        }
    }
}

fn recording(depths: &[&[u32]], billing: Billing, decide_at: DecideAt) -> Arc<Recording> {
    let pools = depths.iter().zip(["us-east-1a", "us-west-2b"]).map(|(depth, zone)| PoolTrace {
        zone: zone.into(),
        instance_type: "m5.large".into(),
        capacity: ASK,
        on_demand: MicroUsd(100_000),
        spot: Prices::Constant(MicroUsd(36_000)),
        machines: Depth::PerTick(depth.to_vec()),
        gap_ms: 600_000,
        hazard_ppm_hour: 0,
    });
    let row = BTreeMap::from([("us-west-2b".into(), MicroUsd(20_000))]);
    Arc::new(Recording {
        gap_ms: 600_000,
        notice_ms: 0,
        boot_ms: 60_000,
        billing,
        decide_at,
        egress: BTreeMap::from([("us-east-1a".into(), row)]),
        pools: pools.collect(),
    })
}

fn job(work_ms: u64, checkpoint: Checkpoint) -> Arc<JobWork> {
    Arc::new(JobWork {
        id: "a".into(),
        arrival_ms: 0,
        deadline_ms: Some(3_600_000),
        count: 1,
        ask: ASK,
        work: Work { work_ms, changeover_ms: 120_000, checkpoint },
        checkpoint_milligib: 1_500,
    })
}

fn simple(recording: &Arc<Recording>, job: Arc<JobWork>) -> RunResult {
    let outcome = run(recording, &[job], PolicyName::Greedy, 1, &mut Simple).result;
    let jobs: i64 = outcome.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    assert_eq!(jobs + outcome.idle_micro_usd.0, outcome.cost_micro_usd.0);
    outcome
}

#[test]
fn by_the_second_and_at_any_time() {
    // Ten dollars a million seconds. Boot 60 s, changeover 120 s; taken at 600 s after 420 s of work.
    // In the other zone boot 60 s, changeover 120 s, the last 80 s of 500 s: ends at 860 s.
    let market = recording(&[&[1, 0, 0], &[1, 1, 1]], Billing::Second, DecideAt::Event);
    let result = simple(&market, job(500_000, Checkpoint::Continuous));
    let job = &result.jobs[0];
    assert_eq!((job.finished_s.expect("done").ms, job.starts), (860_000, 2));
    // 600 s and 260 s, and 1.5 GB at two cents.
    assert_eq!(result.cost_micro_usd, MicroUsd(6_000 + 2_600 + 30_000));
    assert_eq!(result.idle_micro_usd, MicroUsd(600 + 600));
    assert_eq!(result.wasted_micro_usd, MicroUsd(1_200 + 1_200));
    assert_eq!(result.interruptions, 1);
    // Work and one changeover at ten cents an hour: 620 s.
    assert_eq!(result.on_demand_micro_usd, MicroUsd(17_222));
}

#[test]
fn without_a_checkpoint_all_is_done_again() {
    let market = recording(&[&[1, 0, 0], &[1, 1, 1]], Billing::Second, DecideAt::Event);
    let result = simple(&market, job(500_000, Checkpoint::None));
    assert_eq!(result.jobs[0].finished_s.expect("done").ms, 600_000 + 60_000 + 620_000);
    assert_eq!(result.wasted_micro_usd, MicroUsd(1_200 + 4_200 + 1_200));
}

#[test]
fn by_ticks() {
    // Taken at 600 s, the other bought at the same moment; it ends at 860 s and is billed to 1,200 s.
    let market = recording(&[&[1, 0, 0], &[1, 1, 1]], Billing::Tick, DecideAt::Tick);
    let result = simple(&market, job(500_000, Checkpoint::Continuous));
    assert_eq!(result.cost_micro_usd, MicroUsd(6_000 + 6_000 + 30_000));
    assert_eq!(result.jobs[0].finished_s.expect("done").ms, 860_000);
}

#[test]
fn what_cannot_end_is_given_up() {
    for decide_at in [DecideAt::Event, DecideAt::Tick] {
        let market = recording(&[&[1, 0, 0]], Billing::Tick, decide_at);
        let result = simple(&market, job(500_000, Checkpoint::None));
        assert_eq!(result.jobs[0].finished_s, None);
        assert!(!result.jobs[0].deadline_met);
    }
}
