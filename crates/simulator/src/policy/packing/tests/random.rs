//! Random markets and workloads, and what any packing must keep to.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, Resources};
use proptest::prelude::*;

use crate::arena::{self, Desk};
use crate::jobs::JobWork;
use crate::policy::{Policy, PolicyName, at_desk};
use crate::result::RunResult;
use crate::work::{Checkpoint, Work};

/// A market and a workload.
pub(crate) type Case = (Arc<Recording>, Vec<Arc<JobWork>>);

const GAP_MS: u64 = 300_000;

prop_compose! {
    fn pool()(
        cores in 1_u32..17, memory_gib in 1_u32..65, gpus in prop_oneof![3 => Just(0_u32), 1 => 1_u32..5],
        on_demand in 30_000_i64..3_000_000, zone in 0_usize..2,
        prices in prop::collection::vec(10_000_i64..2_000_000, 1..12),
        depths in prop::collection::vec(0_u32..4, 1..12),
        is_constant in any::<bool>(),
    ) -> PoolTrace {
        let prices: Vec<MicroUsd> = prices.into_iter().map(MicroUsd).collect();
        PoolTrace {
            zone: ["us-east-1a", "us-east-1b"][zone].into(),
            instance_type: format!("m{cores}.{memory_gib}x{gpus}").into(),
            capacity: Resources {
                cpu_millis: cores * 1_000, memory_mib: memory_gib * 1_024, disk_mib: 0, gpus,
            },
            on_demand: MicroUsd(on_demand),
            spot: if is_constant { Prices::Constant(prices[0]) } else { Prices::PerTick(prices) },
            machines: if is_constant {
                Depth::Constant(depths[0])
            } else {
                Depth::PerTick(depths)
            },
            gap_ms: GAP_MS,
            hazard_ppm_hour: 0,
        }
    }
}

prop_compose! {
    fn job()(
        arrival_ms in 0_u64..3_000_000, count in 1_u32..4, cpu_millis in 100_u32..16_000,
        memory_mib in 100_u32..60_000, gpus in prop_oneof![4 => Just(0_u32), 1 => 1_u32..4],
        work_ms in 1_000_u64..2_000_000, changeover_ms in 0_u64..60_000, kind in 0..3,
    ) -> JobWork {
        let checkpoint = match kind {
            0 => Checkpoint::Continuous,
            1 => Checkpoint::None,
            _ => Checkpoint::Periodic { period_ms: 100_000, cost_ms: 5_000 },
        };
        JobWork {
            id: "".into(),
            arrival_ms,
            deadline_ms: None,
            count,
            ask: Resources { cpu_millis, memory_mib, disk_mib: 0, gpus },
            work: Work { work_ms, changeover_ms, checkpoint },
            checkpoint_milligib: 0,
        }
    }
}

prop_compose! {
    /// The last pool holds every task.
    pub(crate) fn case()(
        mut pools in prop::collection::vec(pool(), 0..5),
        mut holds_all in pool(),
        jobs in prop::collection::vec(job(), 1..12),
        boot_ms in prop_oneof![Just(0_u64), Just(60_000)],
        notice_ms in prop_oneof![Just(0_u64), Just(120_000)],
        billing in prop_oneof![Just(Billing::Second), Just(Billing::Tick)],
        decide_at in prop_oneof![3 => Just(DecideAt::Event), 1 => Just(DecideAt::Tick)],
    ) -> Case {
        holds_all.capacity =
            Resources { cpu_millis: 16_000, memory_mib: 65_536, disk_mib: 0, gpus: 4 };
        pools.push(holds_all);
        let recording = Recording {
            gap_ms: GAP_MS, notice_ms, boot_ms, billing, decide_at, egress: BTreeMap::new(), pools,
        };
        let named = |(at, job): (usize, JobWork)| {
            Arc::new(JobWork { id: at.to_string().into(), ..job })
        };
        (Arc::new(recording), jobs.into_iter().enumerate().map(named).collect())
    }
}

/// Looks over a policy's shoulder.
struct Watched {
    policy: Box<dyn Policy>,
    fault: Option<String>,
}

impl Policy for Watched {
    fn decide(&mut self, desk: &mut Desk) {
        self.policy.decide(desk);
        for held in desk.machines().values() {
            let capacity = desk.recording().pools[held.bought.pool].capacity;
            let used = held.tasks.iter().filter_map(|task| desk.tasks().get(task));
            let used = used.fold(Resources::default(), |sum, task| sum + task.job.ask);
            if !capacity.holds(&used) {
                self.fault = Some(format!("{used} on {capacity}"));
            }
        }
    }
}

/// Everything is done, nothing is overcommitted, and the bill adds up.
pub(crate) fn check(name: PolicyName, case: &Case) -> Result<RunResult, TestCaseError> {
    let (recording, jobs) = case;
    let mut watched = Watched { policy: at_desk(name, 1), fault: None };
    let outcome = arena::run(recording, jobs, name, 1, &mut watched);
    let (result, waste) = (outcome.result, outcome.series.waste);
    prop_assert_eq!(watched.fault, None);
    for job in &result.jobs {
        prop_assert!(job.finished_s.is_some(), "{} {} is never done", name, job.id);
    }
    let jobs_cost: i64 = result.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    prop_assert_eq!(jobs_cost + result.idle_micro_usd.0, result.cost_micro_usd.0);
    prop_assert_eq!(waste.boot + waste.idle, result.idle_micro_usd);
    prop_assert!(waste.unreserved <= waste.idle);
    Ok(result)
}
