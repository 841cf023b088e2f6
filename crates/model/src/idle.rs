//! Moments by node, and nodes by moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::{NodeId, Timestamp};

/// A moment for each of some nodes, in both directions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Moments {
    of: BTreeMap<NodeId, Timestamp>,
    order: BTreeSet<(Timestamp, NodeId)>,
}

impl Moments {
    fn set(&mut self, id: NodeId, at: Timestamp) {
        if let Some(before) = self.of.insert(id, at) {
            if before == at {
                return;
            }
            self.order.remove(&(before, id));
        }
        self.order.insert((at, id));
    }

    fn remove(&mut self, id: NodeId) {
        if let Some(before) = self.of.remove(&id) {
            self.order.remove(&(before, id));
        }
    }
}

/// Since when nodes have had nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Idle(Moments);

impl Idle {
    /// A node has nothing to do: since now, unless it had nothing before.
    pub fn begin(&mut self, id: NodeId, now: Timestamp) {
        if !self.0.of.contains_key(&id) {
            self.0.set(id, now);
        }
    }

    /// A node has something to do, or is no more.
    pub fn end(&mut self, id: NodeId) {
        self.0.remove(id);
    }

    /// Since when a node has had nothing to do.
    pub fn since(&self, id: NodeId) -> Option<Timestamp> {
        self.0.of.get(&id).copied()
    }

    /// All of them, who has had nothing for longest first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, NodeId)> + '_ {
        self.0.order.iter().copied()
    }
}

/// When nodes want attention next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due(Moments);

impl Due {
    /// When a node wants attention; `None` when it never will as it stands.
    pub fn set(&mut self, id: NodeId, at: Option<Timestamp>) {
        match at {
            Some(at) => self.0.set(id, at),
            None => self.0.remove(id),
        }
    }

    /// The first moment at which one does.
    pub fn first(&self) -> Option<Timestamp> {
        self.0.order.first().map(|(at, _)| *at)
    }

    /// Those that do by now, by id.
    pub fn by(&self, now: Timestamp) -> BTreeSet<NodeId> {
        self.0.order.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }
}
