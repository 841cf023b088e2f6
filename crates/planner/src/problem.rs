//! What is to be planned.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Ask, MicroUsd, NodeId, Offer, Resources, Timestamp};

/// The world as the planner sees it: classes and counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The `seq` of the world that it was taken from.
    pub based_on: u64,
    /// When it was taken.
    pub now: Timestamp,
    /// What has no place: waiting, leaving and backlog, by what it asks for.
    pub demand: Vec<Demand>,
    /// Machines that exist, one by one.
    pub nodes: Vec<PlanNode>,
    /// Machines that exist and of which only the sum matters.
    pub full: Full,
    /// Machines that are ordered and not yet born; the oldest order first.
    pub intents: Vec<OpenIntent>,
    /// What can be bought now: without hidden pools and held purchase options.
    pub offers: Vec<Offer>,
    /// How much may be had.
    pub limits: Limits,
    /// Why nothing may be retired now (DESIGN §4.8).
    pub frozen: Option<Arc<str>>,
}

/// Interchangeable tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What each asks for.
    pub ask: Ask,
    /// How many they are.
    pub count: u64,
}

/// A machine that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanNode {
    /// Its id.
    pub id: NodeId,
    /// What was bought; none for a static node, which costs nothing and is never retired.
    pub offer: Option<Offer>,
    /// What it has.
    pub capacity: Resources,
    /// What is not reserved; nothing while a task runs alone there.
    pub free: Resources,
    /// It will take work once its digester has joined.
    pub booting: bool,
    /// It takes work now.
    pub takes_work: bool,
    /// How long it has had nothing to do. None when it has, or when it is being ended already.
    pub idle_ms: Option<u64>,
    /// Tasks that reserve something of it.
    pub tasks: u32,
    /// Prefetched tasks.
    pub held: u32,
}

/// Machines that have something to do and no room for any of the demand: nothing is placed there, and
/// none of them is retired. A large cluster at work is mostly these, and a plan looks at their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Full {
    /// Machines that were bought.
    pub bought: u32,
    /// Of them, those that boot or take work.
    pub useful: u32,
    /// What they have together.
    pub cpu_millis: u64,
    /// What they cost together an hour.
    pub price: MicroUsd,
    /// At least what each of them has of each resource, static ones included.
    pub largest: Resources,
}

impl Full {
    /// Counts a node in.
    pub fn add(&mut self, offer: Option<&Offer>, capacity: &Resources, useful: bool) {
        self.largest = at_least(self.largest, *capacity);
        if let Some(offer) = offer {
            self.bought = self.bought.saturating_add(1);
            self.useful = self.useful.saturating_add(u32::from(useful));
            let cpu_millis = offer.capacity.cpu_millis.into();
            self.cpu_millis = self.cpu_millis.saturating_add(cpu_millis);
            self.price += MicroUsd(offer.price.0.max(0));
        }
    }
}

/// Machines of one launch that are not yet born.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// Each machine will be one of these.
    pub offers: Vec<Offer>,
    /// How many.
    pub machines: u32,
}

/// How much may be had, in machines that are bought or ordered; static nodes are not counted. An
/// ordered machine counts as the dearest and as the largest that it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Machines.
    pub max_nodes: u32,
    /// Thousandths of a core.
    pub max_cpu_millis: u64,
    /// The sum of their prices an hour.
    pub max_usd_per_hour: MicroUsd,
    /// How long a machine has nothing to do before it is retired.
    pub idle_retire_ms: u64,
    /// Machines that stay although they have nothing to do.
    pub min_nodes: u32,
}

/// The demand for one ask.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) count: u64,
}

/// The demand in the order in which it is served: first-fit decreasing, by the resource of which
/// the ask takes most, measured by the largest machine there is.
pub(crate) fn orders(problem: &Problem) -> Vec<Order<'_>> {
    let mut counts: BTreeMap<&Ask, u64> = BTreeMap::new();
    for demand in problem.demand.iter().filter(|demand| demand.count > 0) {
        let count = counts.entry(&demand.ask).or_default();
        *count = count.saturating_add(demand.count);
    }
    let largest = largest(problem);
    let mut orders: Vec<Order<'_>> =
        counts.into_iter().map(|(ask, count)| Order { ask, count }).collect();
    orders.sort_by_cached_key(|order| Reverse(dominant_ppm(&order.ask.resources, &largest)));
    orders
}

fn largest(problem: &Problem) -> Resources {
    let offers = problem.offers.iter().map(|offer| offer.capacity);
    let nodes = problem.nodes.iter().map(|node| node.capacity);
    offers.chain(nodes).fold(problem.full.largest, at_least)
}

/// The larger of each.
fn at_least(one: Resources, other: Resources) -> Resources {
    Resources {
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        memory_mib: one.memory_mib.max(other.memory_mib),
        disk_mib: one.disk_mib.max(other.disk_mib),
        gpus: one.gpus.max(other.gpus),
    }
}

fn dominant_ppm(ask: &Resources, whole: &Resources) -> u64 {
    let ppm = |ask: u32, whole: u32| u64::from(ask) * 1_000_000 / u64::from(whole.max(1));
    ppm(ask.cpu_millis, whole.cpu_millis)
        .max(ppm(ask.memory_mib, whole.memory_mib))
        .max(ppm(ask.disk_mib, whole.disk_mib))
        .max(ppm(ask.gpus, whole.gpus))
}
