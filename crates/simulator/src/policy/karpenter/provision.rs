//! Pods that wait, the window, and planned nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use model::Resources;

use super::offers::NodePool;
use super::{KarpenterLike, is_timed};
use crate::arena::Desk;
use crate::jobs::TaskKey;

/// The window closes when no pod has come for so long (operator/options, `BATCH_IDLE_DURATION`) ...
const IDLE_MS: u64 = 1_000;
/// ... or when it has been open for so long (`BATCH_MAX_DURATION`).
const MOST_MS: u64 = 10_000;

/// By falling cpu, then memory (scheduling/queue.go, `byCPUAndMemoryDescending`).
type Class = Reverse<(u32, u32, Resources)>;

/// Pods that no node had room for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pods: BTreeMap<Class, BTreeSet<TaskKey>>,
    opened_ms: u64,
    last_ms: u64,
}

/// A node that is planned.
#[derive(Debug)]
struct Claim {
    node_pool: NodePool,
    requests: Resources,
    pods: Vec<TaskKey>,
}

fn class(ask: Resources) -> Class {
    Reverse((ask.cpu_millis, ask.memory_mib, ask))
}

impl KarpenterLike {
    /// A pod goes to a node with room at once, as kube-scheduler does, or waits. One that fits no type
    /// is left where it is.
    pub(super) fn enqueue(&mut self, desk: &mut Desk, pod: TaskKey) {
        let Some(ask) = desk.tasks().get(&pod).map(|state| state.job.ask) else { return };
        if let Some(node) = self.nodes.open.first(&ask) {
            self.nodes.bind(desk, pod, node);
        } else if self.catalogue.node_pool(&ask).is_some() {
            let now = desk.now_ms();
            if self.pending.pods.is_empty() {
                self.pending.opened_ms = now;
            }
            self.pending.last_ms = now;
            self.pending.pods.entry(class(ask)).or_default().insert(pod);
        }
    }

    /// Once the window has closed: nodes for all that waits.
    pub(super) fn provision(&mut self, desk: &mut Desk) {
        if self.pending.pods.is_empty() {
            return;
        }
        let closes_ms = (self.pending.opened_ms + MOST_MS).min(self.pending.last_ms + IDLE_MS);
        if is_timed(desk) && closes_ms > desk.now_ms() {
            desk.wake_at(closes_ms);
            return;
        }
        for claim in self.plan(desk) {
            let offer = self.catalogue.launch(desk, claim.node_pool, claim.requests);
            let node = offer.and_then(|offer| desk.launch(offer.pool, offer.option()));
            let Some(node) = node else { continue };
            self.nodes.open(desk, node);
            for pod in claim.pods {
                self.nodes.bind(desk, pod, node);
            }
            self.disruption.launched(desk);
        }
    }

    /// Nodes with room first, then planned ones, those with fewest pods first.
    fn plan(&mut self, desk: &mut Desk) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for (Reverse((_, _, ask)), pods) in std::mem::take(&mut self.pending.pods) {
            // A planned node that has no room for one of a class has none for the next.
            let mut open: BTreeSet<(usize, usize)> =
                claims.iter().enumerate().map(|(at, claim)| (claim.pods.len(), at)).collect();
            for pod in pods {
                if let Some(node) = self.nodes.open.first(&ask) {
                    self.nodes.bind(desk, pod, node);
                    continue;
                }
                let planned = self.planned(&mut claims, &mut open, &ask);
                let Some(at) = planned.or_else(|| self.claim(&mut claims, &ask)) else { continue };
                let Some(claim) = claims.get_mut(at) else { continue };
                claim.requests += ask;
                claim.pods.push(pod);
                open.insert((claim.pods.len(), at));
            }
        }
        claims
    }

    fn planned(
        &self,
        claims: &mut [Claim],
        open: &mut BTreeSet<(usize, usize)>,
        ask: &Resources,
    ) -> Option<usize> {
        while let Some((_, at)) = open.pop_first() {
            let claim = claims.get(at)?;
            if self.catalogue.holds(claim.node_pool, &(claim.requests + *ask)) {
                return Some(at);
            }
        }
        None
    }

    fn claim(&self, claims: &mut Vec<Claim>, ask: &Resources) -> Option<usize> {
        let node_pool = self.catalogue.node_pool(ask)?;
        claims.push(Claim { node_pool, requests: Resources::default(), pods: Vec::new() });
        Some(claims.len() - 1)
    }
}
