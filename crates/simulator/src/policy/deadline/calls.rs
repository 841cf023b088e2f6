//! At whom to look: by ticks at everybody; by events at those whose lot may have changed.
//!
//! When a pool moves, that is everybody. Otherwise it is who has come, whose alarm rings, and, as
//! long as a pool has room that one of ours has left, who is not on spot. A run of many tasks would
//! else look at all of them whenever one is done.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use market::recorded::{Bought, DecideAt, MachineNo};
use model::PurchaseOption;

use super::rules::Mode;
use crate::arena::{Desk, News};
use crate::jobs::TaskKey;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// When a task's alarm rings. One a task: an earlier one sets the later again.
    alarms: BTreeMap<TaskKey, u64>,
    rings: BTreeSet<(u64, TaskKey)>,
    /// Tasks that are not on spot.
    off_spot: BTreeSet<TaskKey>,
}

/// One decision's calls, in the order of tasks.
#[derive(Debug)]
pub(super) struct Round {
    /// Who has a reason of its own, from the back.
    called: Vec<TaskKey>,
    /// Spot pools that ours have left.
    freed: BTreeSet<usize>,
    last: Option<TaskKey>,
}

impl Round {
    /// A machine is about to be ended.
    pub(super) fn left(&mut self, desk: &Desk, no: MachineNo) {
        if let Some(held) = desk.machines().get(&no) {
            self.freed(&held.bought);
        }
    }

    /// A machine has been ended.
    pub(super) fn freed(&mut self, machine: &Bought) {
        if machine.option == PurchaseOption::Spot {
            self.freed.insert(machine.pool);
        }
    }
}

impl Calls {
    /// Whom to call now.
    pub(super) fn round(&mut self, desk: &Desk) -> Round {
        let is_by_ticks = desk.recording().decide_at == DecideAt::Tick;
        let mut called = BTreeSet::new();
        let mut moves = is_by_ticks;
        for news in desk.news() {
            match news {
                News::Arrived(task) => _ = called.insert(*task),
                News::Reclaimed(_, tasks) => called.extend(tasks),
                News::Done(task) => self.forget(*task),
                News::Moved(_) => moves = true,
                News::Booted(_) | News::Notice { .. } => {}
            }
        }
        while self.rings.first().is_some_and(|(at_ms, _)| *at_ms <= desk.now_ms()) {
            let Some((_, task)) = self.rings.pop_first() else { break };
            self.alarms.remove(&task);
            called.insert(task);
        }
        if moves {
            called = desk.tasks().keys().copied().collect();
        }
        let called = called.into_iter().rev().collect();
        Round { called, freed: BTreeSet::new(), last: None }
    }

    /// The next one, after all before it have decided.
    pub(super) fn next(&self, desk: &Desk, round: &mut Round) -> Option<TaskKey> {
        let has_room = round.freed.iter().any(|pool| desk.room(*pool) > 0);
        let after = round.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut others = self.off_spot.range((after, Bound::Unbounded)).copied();
        let other = others.next().filter(|_| has_room);
        let called = round.called.last().copied();
        let next = [called, other].into_iter().flatten().min()?;
        if called == Some(next) {
            round.called.pop();
        }
        round.last = Some(next);
        Some(next)
    }

    /// What a task has decided, and when it is to be asked again at the latest.
    pub(super) fn note(&mut self, desk: &mut Desk, task: TaskKey, mode: Mode, at_ms: Option<u64>) {
        if mode == Mode::Spot {
            self.off_spot.remove(&task);
        } else {
            self.off_spot.insert(task);
        }
        let Some(at_ms) = at_ms else { return };
        // One that was set before an earlier one is set again when that rings.
        let set = self.alarms.get(&task).copied().unwrap_or(u64::MAX);
        if at_ms < set {
            self.rings.remove(&(set, task));
            self.rings.insert((at_ms, task));
            self.alarms.insert(task, at_ms);
            desk.wake_at(at_ms);
        }
    }

    fn forget(&mut self, task: TaskKey) {
        self.off_spot.remove(&task);
        if let Some(at_ms) = self.alarms.remove(&task) {
            self.rings.remove(&(at_ms, task));
        }
    }
}
