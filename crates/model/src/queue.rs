//! Groups that have something to place, in the order in which they are served.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

use crate::{JobId, Resources};

/// A group's place: priority, then age, then the ordinal in its job.
pub type Turn = (Reverse<i16>, JobId, u16);

/// Groups that have something to place, and what their tasks need: so that a step sees at once whether
/// there is room for any of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    turns: BTreeSet<Turn>,
    /// By what a task needs: how many groups.
    needs: BTreeMap<Resources, u32>,
}

impl Queue {
    /// Enters a group; nothing when it is there.
    pub(crate) fn insert(&mut self, turn: Turn, need: Resources) {
        if self.turns.insert(turn) {
            *self.needs.entry(need).or_default() += 1;
        }
    }

    /// Takes a group out; nothing when it is not there.
    pub(crate) fn remove(&mut self, turn: &Turn, need: &Resources) {
        if self.turns.remove(turn)
            && let Some(groups) = self.needs.get_mut(need)
        {
            *groups -= 1;
            if *groups == 0 {
                self.needs.remove(need);
            }
        }
    }

    /// Whether nothing is to be placed.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// All groups, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter()
    }

    /// Some of them, in order.
    pub fn range(&self, range: impl RangeBounds<Turn>) -> impl Iterator<Item = &Turn> {
        self.turns.range(range)
    }

    /// What their tasks need, each once.
    pub fn needs(&self) -> impl Iterator<Item = &Resources> {
        self.needs.keys()
    }
}
