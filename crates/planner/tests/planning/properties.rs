//! What holds for every plan.

use model::{Ask, Clamp, Constraints, MicroUsd, Offer, Pool, Purchase, PurchaseOption, Resources};
use planner::{Limits, OpenIntent, PlanNode, Problem, check, plan};
use proptest::prelude::*;

use crate::build::{applied, node, problem};

const ZONES: [&str; 3] = ["a", "b", "c"];
const TYPES: [(&str, u32, u32, u32, i64); 6] = [
    ("small", 1_000, 1_024, 0, 10),
    ("medium", 4_000, 8_192, 0, 37),
    ("large", 16_000, 32_768, 0, 160),
    ("huge", 64_000, 131_072, 0, 600),
    ("memory", 4_000, 32_768, 0, 55),
    ("gpu", 8_000, 61_440, 2, 900),
];

fn offer() -> impl Strategy<Value = Offer> {
    (0..TYPES.len(), 0..ZONES.len(), any::<bool>(), 50i64..200, 0u32..600_000).prop_map(
        |(kind, zone, is_spot, percent, hazard)| {
            let (name, cpu_millis, memory_mib, gpus, cents) = TYPES[kind];
            let price = cents * 100 * percent;
            let option = if is_spot { PurchaseOption::Spot } else { PurchaseOption::OnDemand };
            Offer {
                pool: Pool { zone: ZONES[zone].into(), instance_type: name.into(), option },
                capacity: Resources { cpu_millis, memory_mib, disk_mib: 10_000, gpus },
                price: MicroUsd(if is_spot { price } else { price * 3 }),
                on_demand_price: MicroUsd(price * 3),
                hazard_ppm_hour: if is_spot { hazard } else { 0 },
            }
        },
    )
}

/// Offers of different pools.
fn offers() -> impl Strategy<Value = Vec<Offer>> {
    prop::collection::vec(offer(), 0..14).prop_map(|mut offers| {
        offers.sort_by(|one, other| one.pool.cmp(&other.pool));
        offers.dedup_by(|one, other| one.pool == other.pool);
        offers
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let purchase =
        prop::sample::select(vec![Purchase::Spot, Purchase::OnDemand, Purchase::SpotThenOnDemand]);
    let names = TYPES.map(|(name, ..)| name.into()).to_vec();
    let types = prop_oneof![
        3 => Just(Default::default()),
        1 => prop::collection::btree_set(prop::sample::select(names), 1..4),
    ];
    let zones = prop_oneof![
        3 => Just(Default::default()),
        1 => prop::collection::btree_set(prop::sample::select(ZONES.map(Into::into).to_vec()), 1..3),
    ];
    (0u32..40, 0u32..80, 0u32..12_000, 0u32..12, purchase, zones, types).prop_map(
        |(cpu, memory, disk_mib, gpus, purchase, zones, instance_types)| Ask {
            resources: Resources {
                cpu_millis: cpu * 250,
                memory_mib: memory * 200,
                disk_mib,
                gpus: gpus.saturating_sub(9),
            },
            constraints: Constraints { purchase, zones, instance_types },
        },
    )
}

fn a_node() -> impl Strategy<Value = PlanNode> {
    let idle = prop::option::of(0u64..120_000);
    let used = 0u32..=100;
    (prop::option::of(offer()), used, any::<bool>(), any::<bool>(), idle, 0u32..2).prop_map(
        |(offer, used, booting, takes_work, idle_ms, held)| {
            let mut node = node(0, offer);
            let capacity = node.capacity;
            node.free = if idle_ms.is_some() || booting {
                capacity
            } else {
                resources_percent(&capacity, 100 - used)
            };
            node.tasks = u32::from(node.free != capacity);
            PlanNode { booting, takes_work, idle_ms, held, ..node }
        },
    )
}

fn resources_percent(whole: &Resources, percent: u32) -> Resources {
    Resources {
        cpu_millis: whole.cpu_millis / 100 * percent,
        memory_mib: whole.memory_mib / 100 * percent,
        disk_mib: whole.disk_mib / 100 * percent,
        gpus: whole.gpus * percent / 100,
    }
}

fn intent() -> impl Strategy<Value = OpenIntent> {
    (prop::collection::vec(offer(), 1..3), 1u32..4)
        .prop_map(|(offers, machines)| OpenIntent { offers, machines })
}

fn limits(tight: bool) -> impl Strategy<Value = Limits> {
    let (nodes, cpu, cents) = if tight {
        (0u32..30, 0u64..150, 0i64..3_000)
    } else {
        (100_000..100_001, 100_000_000..100_000_001, 100_000_000..100_000_001)
    };
    (nodes, cpu, cents, 0u32..4).prop_map(|(max_nodes, cores, cents, min_nodes)| Limits {
        max_nodes,
        max_cpu_millis: cores * 1_000,
        max_usd_per_hour: MicroUsd(cents * 10_000),
        idle_retire_ms: 60_000,
        min_nodes,
    })
}

fn a_problem(tight: bool) -> impl Strategy<Value = Problem> {
    (
        prop::collection::vec((ask(), 0u64..60), 0..8),
        prop::collection::vec(a_node(), 0..6),
        prop::collection::vec(intent(), 0..3),
        offers(),
        limits(tight),
        prop_oneof![4 => Just(None), 1 => Just(Some("a storm is on".into()))],
    )
        .prop_map(|(demand, mut nodes, intents, offers, limits, frozen)| {
            for (at, node) in nodes.iter_mut().enumerate() {
                node.id = model::NodeId::from_number(at.clamped());
            }
            Problem { nodes, intents, limits, frozen, ..problem(&demand, offers) }
        })
}

fn any_problem() -> impl Strategy<Value = Problem> {
    prop_oneof![a_problem(true), a_problem(false)]
}

fn suits(ask: &Ask, offer: &Offer) -> bool {
    offer.capacity.holds(&ask.resources) && ask.constraints.allow_pool(&offer.pool)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_plan_passes_the_linter(problem in any_problem()) {
        let plan = plan(&problem);
        prop_assert_eq!(check(&problem, &plan), Vec::<String>::new(), "{}", plan);
    }

    #[test]
    fn the_plan_of_an_applied_plan_is_empty(problem in any_problem()) {
        let first = plan(&problem);
        let second = plan(&applied(&problem, &first));
        prop_assert_eq!(&second.launches, &Vec::new(), "first:\n{}second:\n{}", first, second);
        prop_assert_eq!(&second.retirements, &Vec::new(), "first:\n{}second:\n{}", first, second);
    }

    #[test]
    fn what_some_offer_suits_is_covered_when_limits_are_wide(problem in a_problem(false)) {
        let plan = plan(&problem);
        for said in &plan.report.asks {
            let some = problem.offers.iter().any(|offer| suits(&said.ask, offer));
            prop_assert!(said.refused == 0 || !some, "{}", plan);
            prop_assert_eq!(said.refused > 0, said.why.is_some());
        }
    }

    #[test]
    fn limits_hold(problem in a_problem(true)) {
        let plan = plan(&problem);
        let had = problem.nodes.iter().filter_map(|node| node.offer.as_ref());
        let mut machines: Vec<(u64, u32, i64)> =
            had.map(|offer| (1, offer.capacity.cpu_millis, offer.price.0)).collect();
        let launched = plan.launches.iter().map(|launch| (&launch.offers, launch.count));
        let ordered = problem.intents.iter().map(|intent| (&intent.offers, intent.machines));
        machines.extend(ordered.chain(launched).map(|(offers, count)| {
            let cpu = offers.iter().map(|offer| offer.capacity.cpu_millis).max().unwrap_or(0);
            let price = offers.iter().map(|offer| offer.price.0).max().unwrap_or(0);
            (u64::from(count), cpu, price)
        }));
        let nodes: u64 = machines.iter().map(|(count, ..)| count).sum();
        let cpu: u64 = machines.iter().map(|(count, cpu, _)| count * u64::from(*cpu)).sum();
        let price: i128 =
            machines.iter().map(|(count, _, price)| i128::from(*count) * i128::from(*price)).sum();
        let limits = &problem.limits;
        prop_assert!(
            plan.launches.is_empty()
                || (nodes <= limits.max_nodes.into()
                    && cpu <= limits.max_cpu_millis
                    && price <= limits.max_usd_per_hour.0.into()),
            "{}", plan
        );
    }

    #[test]
    fn the_order_of_what_is_given_changes_nothing(
        (problem, demand, nodes, offers) in any_problem().prop_flat_map(|problem| {
            let demand = Just(problem.demand.clone()).prop_shuffle();
            let nodes = Just(problem.nodes.clone()).prop_shuffle();
            let offers = Just(problem.offers.clone()).prop_shuffle();
            (Just(problem), demand, nodes, offers)
        }),
    ) {
        let shuffled = Problem { demand, nodes, offers, ..problem.clone() };
        prop_assert_eq!(plan(&problem), plan(&shuffled));
    }

    /// What is busy and has no room for anybody may be summed up.
    #[test]
    fn full_machines_matter_by_their_sum(problem in any_problem()) {
        let mut summed = problem.clone();
        summed.nodes.retain(|node| {
            let has_room = problem.demand.iter().any(|it| node.free.holds(&it.ask.resources));
            let full = node.tasks + node.held > 0 && !has_room;
            if full {
                let useful = node.takes_work || node.booting;
                summed.full.add(node.offer.as_ref(), &node.capacity, useful);
            }
            !full
        });
        let plan = plan(&problem);
        prop_assert_eq!(&plan, &planner::plan(&summed));
        prop_assert_eq!(check(&summed, &plan), Vec::<String>::new(), "{}", plan);
    }
}
