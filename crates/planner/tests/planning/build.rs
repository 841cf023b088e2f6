//! Problems to plan, in few words.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    Ask, Constraints, MicroUsd, NodeId, Offer, Pool, Purchase, PurchaseOption, Resources, Timestamp,
};
use planner::{Demand, Full, Limits, OpenIntent, Plan, PlanNode, Problem};

pub(crate) fn resources(cpu_millis: u32, memory_mib: u32) -> Resources {
    Resources { cpu_millis, memory_mib, disk_mib: 0, gpus: 0 }
}

/// A spot offer of so many cores with 2 GiB each, at this many cents an hour.
pub(crate) fn spot(zone: &str, name: &str, cores: u32, cents: i64) -> Offer {
    Offer {
        pool: Pool { zone: zone.into(), instance_type: name.into(), option: PurchaseOption::Spot },
        capacity: resources(cores * 1_000, cores * 2_048),
        price: MicroUsd(cents * 10_000),
        on_demand_price: MicroUsd(cents * 30_000),
        hazard_ppm_hour: 0,
    }
}

pub(crate) fn on_demand(zone: &str, name: &str, cores: u32, cents: i64) -> Offer {
    let mut offer = spot(zone, name, cores, cents);
    offer.pool.option = PurchaseOption::OnDemand;
    offer.on_demand_price = offer.price;
    offer
}

pub(crate) fn ask(cpu_millis: u32, memory_mib: u32, purchase: Purchase) -> Ask {
    let constraints = Constraints { purchase, ..Constraints::default() };
    Ask { resources: resources(cpu_millis, memory_mib), constraints }
}

pub(crate) fn in_zones(ask: Ask, zones: &[&str]) -> Ask {
    let zones: BTreeSet<Arc<str>> = zones.iter().map(|zone| Arc::from(*zone)).collect();
    Ask { constraints: Constraints { zones, ..ask.constraints }, ..ask }
}

/// A node that takes work and has been idle for a minute.
pub(crate) fn node(number: u64, offer: Option<Offer>) -> PlanNode {
    let capacity = offer.as_ref().map_or_else(|| resources(4_000, 8_192), |offer| offer.capacity);
    PlanNode {
        id: NodeId::from_number(number),
        offer,
        capacity,
        free: capacity,
        booting: false,
        takes_work: true,
        idle_ms: Some(60_000),
        tasks: 0,
        held: 0,
    }
}

pub(crate) fn problem(demand: &[(Ask, u64)], offers: Vec<Offer>) -> Problem {
    Problem {
        based_on: 7,
        now: Timestamp::from_ms(0),
        demand: demand
            .iter()
            .map(|(ask, count)| Demand { ask: ask.clone(), count: *count })
            .collect(),
        nodes: Vec::new(),
        full: Full::default(),
        intents: Vec::new(),
        offers,
        limits: Limits {
            max_nodes: 1_000,
            max_cpu_millis: 10_000_000,
            max_usd_per_hour: MicroUsd(1_000_000_000),
            idle_retire_ms: 60_000,
            min_nodes: 0,
        },
        frozen: None,
    }
}

/// The problem once the plan is carried out, as far as the planner caused it: launches are open
/// intents, and what is retired takes no work while it ends.
pub(crate) fn applied(problem: &Problem, plan: &Plan) -> Problem {
    let mut after = problem.clone();
    let intents = plan.launches.iter();
    after.intents.extend(
        intents.map(|launch| OpenIntent { offers: launch.offers.clone(), machines: launch.count }),
    );
    for node in &mut after.nodes {
        if plan.retirements.iter().any(|retirement| retirement.node == node.id) {
            node.takes_work = false;
            node.idle_ms = None;
        }
    }
    after
}
