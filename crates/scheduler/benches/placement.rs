//! Placements a second, decision only (DESIGN §7): tasks of one ask over idle nodes, in one call
//! and in calls of one task each.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::{Clamp, NodeId, Resources};
use scheduler::{Candidate, Policy, Want, place};

fn nodes(count: u64) -> Vec<Candidate> {
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

fn want(count: u32) -> Want {
    let resources = Resources { cpu_millis: 500, memory_mib: 1_024, disk_mib: 0, gpus: 0 };
    Want { resources, count, expect_ms: None, alone: false }
}

fn placement(c: &mut Criterion) {
    for count in [100u64, 1_000] {
        let mut group = c.benchmark_group(format!("placement/{count} nodes"));
        let idle = nodes(count);
        let tasks: u32 = (count * 10).clamped();
        for policy in [Policy::BestFit, Policy::RoundRobin, Policy::EPvm] {
            group.throughput(Throughput::Elements(tasks.into()));
            group.bench_function(format!("{policy}, {tasks} tasks in a call"), |bencher| {
                bencher.iter_batched_ref(
                    || idle.clone(),
                    |nodes| black_box(place(nodes, &want(tasks), policy)),
                    BatchSize::SmallInput,
                );
            });
            group.throughput(Throughput::Elements(100));
            group.bench_function(format!("{policy}, 100 calls of a task"), |bencher| {
                bencher.iter_batched_ref(
                    || idle.clone(),
                    |nodes| {
                        for _ in 0..100 {
                            black_box(place(nodes, &want(1), policy));
                        }
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, placement);
criterion_main!(benches);
