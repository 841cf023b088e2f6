//! Consolidation: what is empty ends, what fits elsewhere ends, what can be cheaper is replaced.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use market::recorded::MachineNo;
use model::{PurchaseOption, Resources};

use super::offers::NodePool;
use super::{KarpenterLike, Nodes, is_timed};
use crate::arena::{Desk, Held};
use crate::jobs::TaskKey;
use crate::policy::packing::Offer;

/// Between two looks (disruption/controller.go, `pollingPeriod`).
const POLL_MS: u64 = 10_000;
/// From a decision until it is looked at again and carried out (disruption/consolidation.go,
/// `consolidationTTL`).
const VALIDATED_MS: u64 = 15_000;
/// How long a node must have been empty: the NodePool's `consolidateAfter`, 0 s by default.
const CONSOLIDATE_AFTER_MS: u64 = 0;
/// A node with pods is let alone for so long (disruption, 5 min since its launch).
const LEAST_AGE_MS: u64 = 300_000;
/// A node's pods weigh the less the nearer it is to this age (NodePool's `expireAfter`, 720 h).
const EXPIRE_MS: u64 = 720 * 3_600_000;
/// Of all nodes, in per cent, how many may be leaving at once (NodePool's default budget, 10 %,
/// rounded up).
const BUDGET_PERCENT: usize = 10;

/// The controller.
#[derive(Debug, Default)]
pub(super) struct Disruption {
    /// Something has changed since it last found nothing to do.
    is_stale: bool,
    /// What is to be done, if it still holds then.
    decided: Option<(u64, Command)>,
    /// Nodes that boot in the place of others.
    replacing: BTreeMap<MachineNo, MachineNo>,
    /// When nodes become old enough.
    ages: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
enum Command {
    /// Ends what is empty.
    End(Vec<MachineNo>),
    /// Moves a node's pods to others.
    Delete(MachineNo),
    /// Buys another in its place.
    Replace(MachineNo),
}

/// What can be done about a node.
enum Verdict {
    Nothing,
    /// All its pods fit elsewhere.
    Delete,
    /// What does not fits something cheaper.
    Replace(Offer),
}

impl Disruption {
    /// Something has changed.
    pub(super) fn look(&mut self) {
        self.is_stale = true;
    }

    /// A node has been launched: it will be old enough some day.
    pub(super) fn launched(&mut self, desk: &mut Desk) {
        self.look();
        let at_ms = desk.now_ms().saturating_add(LEAST_AGE_MS);
        self.ages.insert(at_ms);
        desk.wake_at(at_ms);
    }

    /// A node is gone. What was to replace it is a node like others; what it was to replace stays.
    pub(super) fn lost(&mut self, desk: &Desk, nodes: &mut Nodes, node: MachineNo) {
        if let Some(old) = self.replacing.remove(&node) {
            nodes.open(desk, old);
        }
        let new = self.replacing.iter().find(|(_, old)| **old == node).map(|(new, _)| *new);
        if let Some(new) = new {
            self.replacing.remove(&new);
            nodes.open(desk, new);
        }
    }

    fn budget(&self, desk: &Desk) -> usize {
        let allowed = (desk.machines().len() * BUDGET_PERCENT).div_ceil(100);
        allowed.saturating_sub(self.replacing.len())
    }
}

impl KarpenterLike {
    /// The controller's turn.
    pub(super) fn disrupt(&mut self, desk: &mut Desk) {
        self.hand_over(desk);
        let now = desk.now_ms();
        while self.disruption.ages.first().is_some_and(|at_ms| *at_ms <= now) {
            self.disruption.ages.pop_first();
            self.disruption.look();
        }
        // By ticks all that can be done is done now; each command leaves less to do.
        for _ in 0..=2 * desk.machines().len() {
            if let Some((at_ms, command)) = self.disruption.decided.take() {
                if at_ms > now {
                    desk.wake_at(at_ms);
                    self.disruption.decided = Some((at_ms, command));
                    return;
                }
                self.carry_out(desk, command);
                self.disruption.look();
            } else if !self.disruption.is_stale {
                return;
            } else if is_timed(desk) && !now.is_multiple_of(POLL_MS) {
                desk.wake_at(now.next_multiple_of(POLL_MS));
                return;
            }
            let Some(command) = self.command(desk) else {
                self.disruption.is_stale = false;
                return;
            };
            let validated_ms = if is_timed(desk) { VALIDATED_MS } else { 0 };
            self.disruption.decided = Some((now.saturating_add(validated_ms), command));
        }
    }

    /// The first that there is to do: one command at a time.
    fn command(&mut self, desk: &Desk) -> Option<Command> {
        let (now, budget) = (desk.now_ms(), self.disruption.budget(desk));
        if budget == 0 {
            return None;
        }
        let ended: Vec<MachineNo> = self
            .nodes
            .empty
            .iter()
            .filter(|node| desk.machines().get(node).is_some_and(|held| is_long_empty(held, now)))
            .take(budget)
            .copied()
            .collect();
        if !ended.is_empty() {
            return Some(Command::End(ended));
        }
        let mut candidates: Vec<(u64, MachineNo)> = desk
            .machines()
            .iter()
            .filter(|(_, held)| is_candidate(held, now))
            .map(|(node, held)| (disruption_cost(held, now), *node))
            .collect();
        candidates.sort_unstable();
        candidates.into_iter().find_map(|(_, node)| match self.verdict(desk, node) {
            Verdict::Nothing => None,
            Verdict::Delete => Some(Command::Delete(node)),
            Verdict::Replace(_) => Some(Command::Replace(node)),
        })
    }

    /// Schedules a node's pods as if it were not there.
    fn verdict(&mut self, desk: &Desk, node: MachineNo) -> Verdict {
        let Some(held) = desk.machines().get(&node) else { return Verdict::Nothing };
        let Some(own_room) = self.nodes.open.free(node) else { return Verdict::Nothing };
        self.nodes.open.set(node, Resources::default());
        let mut taken: Vec<(MachineNo, Resources)> = Vec::new();
        let mut rest: Vec<Resources> = Vec::new();
        for (_, ask) in by_size(desk, held) {
            // What has no room for one has none for its like.
            if rest.last() != Some(&ask)
                && let Some(other) = self.nodes.open.first(&ask)
                && let Some(free) = self.nodes.open.free(other)
            {
                taken.push((other, free));
                self.nodes.open.set(other, free - ask);
            } else {
                rest.push(ask);
            }
        }
        while let Some((other, free)) = taken.pop() {
            self.nodes.open.set(other, free);
        }
        self.nodes.open.set(node, own_room);
        if rest.is_empty() {
            return Verdict::Delete;
        }
        let requests = rest.iter().fold(Resources::default(), |sum, ask| sum + *ask);
        let node_pools = rest.iter().filter_map(|ask| self.catalogue.node_pool(ask));
        let node_pool = node_pools.max().unwrap_or(NodePool::Any);
        let option = held.bought.option;
        let offer = Offer {
            price: desk.price(held.bought.pool, option),
            is_spot: option == PurchaseOption::Spot,
            pool: held.bought.pool,
        };
        let cheaper = self.catalogue.cheaper(desk, node_pool, requests, &offer);
        cheaper.map_or(Verdict::Nothing, Verdict::Replace)
    }

    /// What no longer holds is dropped.
    fn carry_out(&mut self, desk: &mut Desk, command: Command) {
        match command {
            Command::End(nodes) => {
                for node in nodes {
                    if self.nodes.empty.contains(&node) {
                        self.nodes.close(node);
                        desk.end(node);
                    }
                }
            }
            Command::Delete(node) => {
                if matches!(self.verdict(desk, node), Verdict::Delete) {
                    self.nodes.close(node);
                    self.evict(desk, node);
                }
            }
            Command::Replace(node) => {
                let Verdict::Replace(offer) = self.verdict(desk, node) else { return };
                let Some(new) = desk.launch(offer.pool, offer.option()) else { return };
                self.nodes.close(node);
                self.disruption.replacing.insert(new, node);
                self.disruption.launched(desk);
                self.hand_over(desk);
            }
        }
    }

    /// Nodes that have booted take the pods of those in whose place they come.
    fn hand_over(&mut self, desk: &mut Desk) {
        let now = desk.now_ms();
        let is_ready =
            |new: &MachineNo| desk.machines().get(new).is_some_and(|it| it.ready_ms <= now);
        let ready: Vec<(MachineNo, MachineNo)> = self
            .disruption
            .replacing
            .iter()
            .filter(|(new, _)| is_ready(new))
            .map(|(new, old)| (*new, *old))
            .collect();
        for (new, old) in ready {
            self.disruption.replacing.remove(&new);
            self.nodes.open(desk, new);
            self.evict(desk, old);
        }
    }

    /// A node's pods go elsewhere, and it ends.
    fn evict(&mut self, desk: &mut Desk, node: MachineNo) {
        let Some(held) = desk.machines().get(&node) else { return };
        let pods = by_size(desk, held);
        desk.end(node);
        for (pod, _) in pods {
            self.nodes.pods.remove(&pod);
            self.enqueue(desk, pod);
        }
    }
}

fn is_long_empty(held: &Held, now: u64) -> bool {
    held.ready_ms <= now
        && held.idle_since_ms.is_some_and(|since| since.saturating_add(CONSOLIDATE_AFTER_MS) <= now)
}

fn is_candidate(held: &Held, now: u64) -> bool {
    !held.tasks.is_empty()
        && held.ready_ms <= now
        && held.bought.deadline_ms.is_none()
        && held.bought.launched_ms.saturating_add(LEAST_AGE_MS) <= now
}

/// Pods, each of which weighs 1, times what is left of the node's life
/// (utils/disruption/disruption.go).
fn disruption_cost(held: &Held, now: u64) -> u64 {
    let age_ms = now.saturating_sub(held.bought.launched_ms);
    let pods = u64::try_from(held.tasks.len()).unwrap_or(u64::MAX);
    pods.saturating_mul(EXPIRE_MS.saturating_sub(age_ms))
}

/// By falling cpu, then memory.
fn by_size(desk: &Desk, held: &Held) -> Vec<(TaskKey, Resources)> {
    let asks = held.tasks.iter().filter_map(|pod| Some((*pod, desk.tasks().get(pod)?.job.ask)));
    let mut pods: Vec<(TaskKey, Resources)> = asks.collect();
    pods.sort_unstable_by_key(|(pod, ask)| (Reverse((ask.cpu_millis, ask.memory_mib, *ask)), *pod));
    pods
}
