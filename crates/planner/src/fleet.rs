//! Demand placed on machines that exist or are ordered, by the scheduler's own fit and score.
//!
//! Ready nodes come first, then booting ones, then orders one by one, the oldest first: an idle
//! node that is of use is never called surplus because a machine that is still to be paid for
//! could serve as well, and orders appended by a plan take nothing that was placed before them.

use std::collections::{BTreeMap, BTreeSet};

use model::{Ask, Clamp, NodeId, Offer, Resources};
use scheduler::{Candidate, Policy, Want, place};

use crate::problem::Order;
use crate::{PlanNode, Problem};

/// Machines that exist or were ordered before.
pub(crate) struct Fleet<'a> {
    pub(crate) ready: Stage<'a>,
    booting: Stage<'a>,
    ordered: Vec<Group<'a>>,
}

/// Where the demand for one ask went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) ready: u64,
    pub(crate) booting: u64,
    pub(crate) ordered: u64,
}

impl Placed {
    pub(crate) fn sum(self) -> u64 {
        self.ready + self.booting + self.ordered
    }
}

impl<'a> Fleet<'a> {
    /// The machines of a problem, but for those that are about to be retired.
    pub(crate) fn of(problem: &'a Problem, without: &BTreeSet<NodeId>) -> Self {
        let mut nodes: Vec<&PlanNode> =
            problem.nodes.iter().filter(|node| !without.contains(&node.id)).collect();
        nodes.sort_by_key(|node| node.id);
        let stage = |test: fn(&PlanNode) -> bool| Stage::of(&nodes, test);
        Self {
            ready: stage(|node| node.takes_work && !node.booting),
            booting: stage(|node| node.booting),
            ordered: problem
                .intents
                .iter()
                .filter(|intent| !intent.offers.is_empty())
                .map(|intent| Group::of(intent.offers.iter().collect(), intent.machines))
                .collect(),
        }
    }

    /// Places as much of the demand as fits.
    pub(crate) fn place(&mut self, order: &Order<'_>) -> Placed {
        let ready = self.ready.place(order.ask, order.count);
        let booting = self.booting.place(order.ask, order.count - ready);
        let mut ordered = 0;
        for group in &mut self.ordered {
            ordered += group.place(order.ask, order.count - ready - booting - ordered);
        }
        Placed { ready, booting, ordered }
    }
}

/// Existing nodes among which the scheduler picks. Ids are ordinals, here and in [`Group`].
pub(crate) struct Stage<'a> {
    pub(crate) nodes: Vec<&'a PlanNode>,
    pub(crate) candidates: Vec<Candidate>,
}

impl<'a> Stage<'a> {
    fn of(nodes: &[&'a PlanNode], test: fn(&PlanNode) -> bool) -> Self {
        let nodes: Vec<&PlanNode> = nodes.iter().copied().filter(|node| test(node)).collect();
        let candidates = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| Candidate {
                node: NodeId::from_number(at.clamped()),
                free: node.free,
                capacity: node.capacity,
                tasks: node.tasks,
                paid: node.offer.is_some(),
                hazard_ppm_hour: node.offer.as_ref().map_or(0, |offer| offer.hazard_ppm_hour),
                life_left_ms: None,
            })
            .collect();
        Self { nodes, candidates }
    }

    fn place(&mut self, ask: &Ask, count: u64) -> u64 {
        if count == 0 {
            return 0;
        }
        let want = want(ask, count);
        let mut allowed: Vec<Candidate> = self
            .candidates
            .iter()
            .zip(&self.nodes)
            .filter(|(candidate, node)| candidate.room(&want) > 0 && allows(ask, node))
            .map(|(candidate, _)| candidate.clone())
            .collect();
        let placed = place_all(&mut allowed, &want);
        for candidate in allowed {
            let at = usize::try_from(candidate.node.number()).unwrap_or(usize::MAX);
            if let Some(slot) = self.candidates.get_mut(at) {
                *slot = candidate;
            }
        }
        placed
    }
}

/// Static nodes suit every ask but those that name a zone or a type, as in
/// [`model::Constraints::allow`].
fn allows(ask: &Ask, node: &PlanNode) -> bool {
    match &node.offer {
        Some(offer) => ask.constraints.allow_pool(&offer.pool),
        None => ask.constraints.zones.is_empty() && ask.constraints.instance_types.is_empty(),
    }
}

/// Ordered machines, each of which will be one of the same offers.
#[derive(Debug, Clone)]
pub(crate) struct Group<'a> {
    /// The preferred one first; never empty.
    pub(crate) offers: Vec<&'a Offer>,
    pub(crate) candidates: Vec<Candidate>,
    /// Tasks by the ordinal of their order.
    pub(crate) tasks: BTreeMap<usize, u64>,
}

impl<'a> Group<'a> {
    pub(crate) fn of(offers: Vec<&'a Offer>, machines: u32) -> Self {
        let mut group = Self { offers, candidates: Vec::new(), tasks: BTreeMap::new() };
        group.grow(machines);
        group
    }

    /// Adds machines.
    pub(crate) fn grow(&mut self, machines: u32) {
        let capacity = least(&self.offers);
        let hazard_ppm_hour =
            self.offers.iter().map(|offer| offer.hazard_ppm_hour).max().unwrap_or_default();
        let first = self.candidates.len();
        self.candidates.extend((0..usize::try_from(machines).unwrap_or_default()).map(|at| {
            Candidate {
                node: NodeId::from_number((first + at).clamped()),
                free: capacity,
                capacity,
                tasks: 0,
                paid: true,
                hazard_ppm_hour,
                life_left_ms: None,
            }
        }));
    }

    pub(crate) fn machines(&self) -> u32 {
        self.candidates.len().clamped()
    }

    /// Places what fits, if all of the offers will do.
    pub(crate) fn place(&mut self, ask: &Ask, count: u64) -> u64 {
        let allowed = || self.offers.iter().all(|offer| ask.constraints.allow_pool(&offer.pool));
        if count == 0 || !least(&self.offers).holds(&ask.resources) || !allowed() {
            return 0;
        }
        place_all(&mut self.candidates, &want(ask, count))
    }

    /// [`Group::place`], and remembers for which order.
    pub(crate) fn serve(&mut self, ordinal: usize, ask: &Ask, count: u64) -> u64 {
        let placed = self.place(ask, count);
        if placed > 0 {
            *self.tasks.entry(ordinal).or_default() += placed;
        }
        placed
    }
}

/// What a machine has, whichever of the offers it will be.
fn least(offers: &[&Offer]) -> Resources {
    let capacities = offers.iter().map(|offer| offer.capacity);
    capacities
        .reduce(|one, other| Resources {
            cpu_millis: one.cpu_millis.min(other.cpu_millis),
            memory_mib: one.memory_mib.min(other.memory_mib),
            disk_mib: one.disk_mib.min(other.disk_mib),
            gpus: one.gpus.min(other.gpus),
        })
        .unwrap_or_default()
}

fn want(ask: &Ask, count: u64) -> Want {
    Want { resources: ask.resources, count: count.clamped(), expect_ms: None, alone: false }
}

fn place_all(candidates: &mut [Candidate], want: &Want) -> u64 {
    place(candidates, want, Policy::BestFit).iter().map(|pick| u64::from(pick.count)).sum()
}
