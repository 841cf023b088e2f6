//! How long a plan takes: few asks and many tasks, and many asks, over 400 offers.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use model::{
    Ask, Constraints, MicroUsd, Offer, Pool, Purchase, PurchaseOption, Resources, Timestamp,
};
use planner::{Demand, Full, Limits, Problem, plan};

/// 400 spot pools: 80 types of 8 sizes and 10 families, in 5 zones.
fn offers() -> Vec<Offer> {
    let mut offers = Vec::new();
    for zone in ["a", "b", "c", "d", "e"] {
        for family in 0..10u32 {
            for size in 0..8u32 {
                let cores = 1 << size;
                let price = i64::from(cores) * i64::from(10_000 + family * 700 + size * 13);
                offers.push(Offer {
                    pool: Pool {
                        zone: zone.into(),
                        instance_type: format!("f{family}.{cores}").into(),
                        option: PurchaseOption::Spot,
                    },
                    capacity: Resources {
                        cpu_millis: cores * 1_000,
                        memory_mib: cores * 1_024 * (1 + family),
                        disk_mib: 100_000,
                        gpus: 0,
                    },
                    price: MicroUsd(price),
                    on_demand_price: MicroUsd(price * 3),
                    hazard_ppm_hour: family * 20_000,
                });
            }
        }
    }
    offers
}

fn problem(asks: u32, tasks: u64) -> Problem {
    let demand = (0..asks)
        .map(|number| Demand {
            ask: Ask {
                resources: Resources {
                    cpu_millis: 250 * (1 + number % 40),
                    memory_mib: 300 * (1 + number * 7 % 60),
                    disk_mib: 0,
                    gpus: 0,
                },
                constraints: Constraints { purchase: Purchase::Spot, ..Constraints::default() },
            },
            count: tasks / u64::from(asks),
        })
        .collect();
    Problem {
        based_on: 1,
        now: Timestamp::from_ms(0),
        demand,
        nodes: Vec::new(),
        full: Full::default(),
        intents: Vec::new(),
        offers: offers(),
        limits: Limits {
            max_nodes: 10_000,
            max_cpu_millis: 1_000_000_000,
            max_usd_per_hour: MicroUsd(1_000_000_000_000),
            idle_retire_ms: 60_000,
            min_nodes: 0,
        },
        frozen: None,
    }
}

fn plans(c: &mut Criterion) {
    for asks in [4, 200] {
        let problem = problem(asks, 20_000);
        c.bench_function(&format!("plan/20000 tasks of {asks} asks, 400 offers"), |bencher| {
            bencher.iter(|| black_box(plan(&problem)));
        });
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
