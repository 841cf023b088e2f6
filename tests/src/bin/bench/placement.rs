//! How many placements a second the scheduler decides.

use std::hint::black_box;
use std::time::{Duration, Instant};

use model::{NodeId, Resources};
use scheduler::{Candidate, Policy, Want, place};

use crate::machine::per_second;
use crate::report::Placements;

const AT_LEAST: Duration = Duration::from_millis(400);

pub(crate) fn measure() -> Vec<Placements> {
    let mut out = Vec::new();
    for nodes in [100, 1_000] {
        for policy in [Policy::BestFit, Policy::RoundRobin, Policy::EPvm] {
            // Ten a node in one call, or a hundred calls: the nodes are fresh in each round.
            let tasks = u32::try_from(nodes * 10).unwrap_or(u32::MAX);
            out.push(Placements {
                nodes,
                policy: policy.to_string(),
                many_tasks_a_call_per_s: rate(nodes, policy, 1, tasks),
                one_task_a_call_per_s: rate(nodes, policy, 100, 1),
            });
        }
    }
    out
}

fn rate(nodes: u64, policy: Policy, calls: u32, tasks: u32) -> u64 {
    let idle = candidates(nodes);
    let want = Want {
        resources: Resources { cpu_millis: 500, memory_mib: 1_024, disk_mib: 0, gpus: 0 },
        count: tasks,
        expect_ms: None,
        alone: false,
    };
    let (mut spent, mut placed) = (Duration::ZERO, 0);
    while spent < AT_LEAST {
        let mut nodes = idle.clone();
        let start = Instant::now();
        for _ in 0..calls {
            let picks = black_box(place(&mut nodes, &want, policy));
            placed += picks.iter().map(|pick| u64::from(pick.count)).sum::<u64>();
        }
        spent += start.elapsed();
    }
    per_second(placed, spent)
}

/// Four sizes of machine, a tenth of them static.
fn candidates(count: u64) -> Vec<Candidate> {
    (0..count)
        .map(|number| {
            let cores = 8 << (number % 4);
            let capacity = Resources {
                cpu_millis: cores * 1_000,
                memory_mib: cores * 4_096,
                disk_mib: 100_000,
                gpus: 0,
            };
            Candidate {
                node: NodeId::from_number(number),
                free: capacity,
                capacity,
                tasks: 0,
                paid: number % 10 > 0,
                hazard_ppm_hour: 0,
                life_left_ms: None,
            }
        })
        .collect()
}
