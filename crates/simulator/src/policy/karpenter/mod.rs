//! As Karpenter provisions, drains and consolidates.
//!
//! Read from kubernetes-sigs/karpenter @2266468 and aws/karpenter-provider-aws @1d92708; each constant
//! names its place there. What is kept:
//!
//! - **Provisioning** ([`provision`]): pods that no node has room for wait for the batching window to
//!   close; then, by falling cpu and memory, each goes to the first node with room (those that boot
//!   included), else to the planned node with fewest pods, else to a new planned node. A planned node
//!   stands for every type that still holds all that it has; so it grows as far as the largest type.
//! - **Launch** ([`offers`]): of the 60 cheapest types that hold a planned node's pods, spot before
//!   on-demand, spot offers dearer than the cheapest on-demand one left out, no metal where anything
//!   else holds them. Spot by `price-capacity-optimized`, on-demand by `lowest-price`.
//! - **Interruption**: with a notice the node is drained and ended at once, without one it is missed when
//!   it is gone. Either way its pods go back to the beginning, and only then are they provisioned for.
//!   After a notice the pool is avoided for three minutes.
//! - **Consolidation** ([`disrupt`]): empty nodes end; a node whose pods fit elsewhere ends; a node is
//!   replaced by one that is cheaper, which boots first; spot by spot only when 15 types are cheaper,
//!   by one of these.
//!
//! What is not: kube-scheduler's spreading (first fit by age instead, the order in which Karpenter's own
//! simulation takes nodes of one kind), consolidation of several nodes into one, expiry after 720 h,
//! drift, grace periods (draining takes no time), daemons' overhead, weights, and all limits. By ticks
//! nothing waits: windows, polls and validation take no time.
//!
//! Moving a task is stopping it, with a checkpoint if it writes any, and starting it again.

mod disrupt;
mod offers;
mod provision;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use market::recorded::{DecideAt, MachineNo};

use self::disrupt::Disruption;
use self::offers::Catalogue;
use self::provision::Pending;
use crate::arena::{Desk, News};
use crate::jobs::TaskKey;
use crate::policy::Policy;
use crate::policy::packing::Rooms;

/// After a notice its (type, zone) is not asked for spot for so long
/// (pkg/cache/unavailableofferings.go, `UnavailableOfferingsTTL` = 3 min).
const HIDDEN_MS: u64 = 180_000;

/// Karpenter's choice and consolidation. See the module.
#[derive(Debug, Default)]
pub(crate) struct KarpenterLike {
    catalogue: Catalogue,
    pending: Pending,
    disruption: Disruption,
    nodes: Nodes,
}

/// Nodes, and the pods on them.
#[derive(Debug, Default)]
struct Nodes {
    /// Those that take pods: neither told to leave nor about to be replaced.
    open: Rooms,
    /// Those of `open` without a pod.
    empty: BTreeSet<MachineNo>,
    /// Where pods are.
    pods: BTreeMap<TaskKey, MachineNo>,
}

impl Policy for KarpenterLike {
    fn decide(&mut self, desk: &mut Desk) {
        self.catalogue.heed(desk);
        // By ticks much has happened since: nodes are looked after before any pod is bound to one.
        let mut pods = Vec::new();
        for news in desk.news().to_vec() {
            match news {
                News::Arrived(pod) => pods.push(pod),
                News::Done(pod) => {
                    if let Some(node) = self.nodes.pods.remove(&pod) {
                        self.nodes.refresh(desk, node);
                        self.disruption.look();
                    }
                }
                News::Notice { machine, .. } => pods.extend(self.drain(desk, machine)),
                News::Reclaimed(machine, evicted) => {
                    self.lost(desk, machine);
                    pods.extend(evicted);
                }
                News::Booted(_) | News::Moved(_) => self.disruption.look(),
            }
        }
        for pod in pods {
            self.nodes.pods.remove(&pod);
            self.enqueue(desk, pod);
        }
        self.provision(desk);
        self.disrupt(desk);
    }
}

impl KarpenterLike {
    /// Told to leave: its pods are evicted and it is ended at once.
    fn drain(&mut self, desk: &mut Desk, node: MachineNo) -> BTreeSet<TaskKey> {
        let Some(held) = desk.machines().get(&node) else { return BTreeSet::new() };
        let (pods, pool) = (held.tasks.clone(), held.bought.pool);
        desk.end(node);
        self.catalogue.hide(pool, desk.now_ms().saturating_add(HIDDEN_MS));
        self.lost(desk, node);
        pods
    }

    fn lost(&mut self, desk: &mut Desk, node: MachineNo) {
        self.nodes.close(node);
        self.disruption.lost(desk, &mut self.nodes, node);
        self.disruption.look();
    }
}

impl Nodes {
    /// What is on it has changed; or it takes pods from now on.
    fn open(&mut self, desk: &Desk, node: MachineNo) {
        if let Some(held) = desk.machines().get(&node) {
            self.open.set(node, held.free);
            if held.tasks.is_empty() {
                self.empty.insert(node);
            } else {
                self.empty.remove(&node);
            }
        }
    }

    fn refresh(&mut self, desk: &Desk, node: MachineNo) {
        if self.open.free(node).is_some() {
            self.open(desk, node);
        }
    }

    /// It takes no more pods.
    fn close(&mut self, node: MachineNo) {
        self.open.remove(node);
        self.empty.remove(&node);
    }

    /// Puts a pod on a node; the node is not closed by that.
    fn bind(&mut self, desk: &mut Desk, pod: TaskKey, node: MachineNo) {
        if desk.assign(pod, node) {
            self.pods.insert(pod, node);
        }
        self.refresh(desk, node);
    }
}

/// Whether windows, polls and validation take time.
fn is_timed(desk: &Desk) -> bool {
    desk.recording().decide_at == DecideAt::Event
}
