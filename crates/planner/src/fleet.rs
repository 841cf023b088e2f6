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
    /// By ordinal, those that are alike and follow each other as one: thousands of empty machines are
    /// one run.
    runs: Vec<Run>,
    /// Tasks by the ordinal of their order.
    pub(crate) tasks: BTreeMap<usize, u64>,
}

/// Machines that follow each other and differ in nothing but their ordinals.
#[derive(Debug, Clone)]
struct Run {
    /// The first of them.
    first: Candidate,
    machines: u32,
}

impl Run {
    /// The rest, without the first so many.
    fn after(&self, machines: u32) -> Self {
        let ordinal = self.first.node.number().saturating_add(machines.into());
        let first = Candidate { node: NodeId::from_number(ordinal), ..self.first.clone() };
        Self { first, machines: self.machines.saturating_sub(machines) }
    }

    /// So many of its machines, each with so many tasks of these more.
    fn filled(&self, machines: u32, want: &Want, tasks: u32) -> Self {
        let free = self.first.free - want.resources.scaled(tasks);
        let tasks = self.first.tasks.saturating_add(tasks);
        Self { first: Candidate { free, tasks, ..self.first.clone() }, machines }
    }
}

impl<'a> Group<'a> {
    pub(crate) fn of(offers: Vec<&'a Offer>, machines: u32) -> Self {
        let mut group = Self { offers, runs: Vec::new(), tasks: BTreeMap::new() };
        group.grow(machines);
        group
    }

    /// Adds machines.
    pub(crate) fn grow(&mut self, machines: u32) {
        let capacity = least(&self.offers);
        let hazard_ppm_hour =
            self.offers.iter().map(|offer| offer.hazard_ppm_hour).max().unwrap_or_default();
        let first = Candidate {
            node: NodeId::from_number(self.machines().into()),
            free: capacity,
            capacity,
            tasks: 0,
            paid: true,
            hazard_ppm_hour,
            life_left_ms: None,
        };
        push(&mut self.runs, Run { first, machines });
    }

    pub(crate) fn machines(&self) -> u32 {
        self.runs.iter().map(|run| run.machines).sum()
    }

    /// Machines on which nothing was placed.
    pub(crate) fn unused(&self) -> u32 {
        self.runs.iter().filter(|run| run.first.tasks == 0).map(|run| run.machines).sum()
    }

    /// Without the machines on which nothing was placed.
    pub(crate) fn drop_unused(&mut self) {
        self.runs.retain(|run| run.first.tasks > 0);
    }

    /// How much of the machines, in the mean, is packed; in percent.
    pub(crate) fn full_percent(&self) -> u64 {
        let shares = self.runs.iter().map(|Run { first, machines }| {
            let share = first.capacity.share_ppm(&(first.capacity - first.free));
            u64::from(share) * u64::from(*machines)
        });
        shares.sum::<u64>() / u64::from(self.machines().max(1)) / 10_000
    }

    /// Places what fits, if all of the offers will do.
    pub(crate) fn place(&mut self, ask: &Ask, count: u64) -> u64 {
        let allowed = || self.offers.iter().all(|offer| ask.constraints.allow_pool(&offer.pool));
        if count == 0 || !least(&self.offers).holds(&ask.resources) || !allowed() {
            return 0;
        }
        let want = want(ask, count);
        let shares = shares(&self.runs, &want);
        let mut runs = Vec::with_capacity(self.runs.len() + 2);
        for (run, tasks) in std::mem::take(&mut self.runs).into_iter().zip(&shares) {
            let room = run.first.room(&want);
            let full = tasks.checked_div(room).unwrap_or(0);
            let rest = tasks.checked_rem(room).unwrap_or(0);
            push(&mut runs, run.filled(full, &want, room));
            let run = run.after(full);
            if rest > 0 {
                push(&mut runs, run.filled(1, &want, rest));
            }
            push(&mut runs, run.after(u32::from(rest > 0)));
        }
        self.runs = runs;
        shares.iter().map(|tasks| u64::from(*tasks)).sum()
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

/// How many tasks each run gets. The best machine stays the best until it is full, and its like come
/// next: so runs are filled in the order in which the scheduler would pick their first machines.
fn shares(runs: &[Run], want: &Want) -> Vec<u32> {
    let mut firsts: Vec<Candidate> = runs
        .iter()
        .zip(0u64..)
        .filter(|(run, _)| run.first.room(want) > 0)
        .map(|(run, at)| Candidate { node: NodeId::from_number(at), ..run.first.clone() })
        .collect();
    let every = Want { count: u32::MAX, ..want.clone() };
    let mut left = want.count;
    let mut shares = vec![0; runs.len()];
    for pick in place(&mut firsts, &every, Policy::BestFit) {
        let at = usize::try_from(pick.node.number()).unwrap_or(usize::MAX);
        let (Some(run), Some(share)) = (runs.get(at), shares.get_mut(at)) else { continue };
        *share = pick.count.saturating_mul(run.machines).min(left);
        left -= *share;
    }
    shares
}

/// Appends a run; to the last one, if they are alike.
fn push(runs: &mut Vec<Run>, run: Run) {
    if run.machines == 0 {
        return;
    }
    if let Some(last) = runs.last_mut()
        && (last.first.free, last.first.capacity) == (run.first.free, run.first.capacity)
        && (last.first.tasks, last.first.hazard_ppm_hour)
            == (run.first.tasks, run.first.hazard_ppm_hour)
    {
        last.machines += run.machines;
        return;
    }
    runs.push(run);
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
