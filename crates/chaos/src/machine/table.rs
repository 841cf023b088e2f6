//! The attempts that a node has, and what they take of it. As `digester::table`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{AttemptId, InventoryItem, Outcome};
use node::{Admission, Load, Regulator, Want, Work};

/// An attempt that is not acknowledged as ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) work: Work,
    pub(super) stage: Stage,
}

/// Where an attempt stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits for room.
    Waiting {
        /// Whether it reserves none yet.
        held: bool,
    },
    /// It has a process, or is about to have one.
    Active(Active),
    /// Its process is over; what it left is being kept.
    Finishing,
    /// Its end is spooled.
    Ended,
}

/// The process of an attempt.
#[derive(Debug)]
pub(super) struct Active {
    /// Once it is known.
    pub(super) pid: Option<u32>,
    pub(super) since_ms: u64,
    /// Whether its start ticks are spooled.
    pub(super) identified: bool,
    /// Whether it is the digester's own child, without a spawner.
    pub(super) fostered: bool,
    /// Whether its start is spooled.
    pub(super) started: bool,
    pub(super) ending: Option<Ending>,
}

impl Active {
    pub(super) fn new(since_ms: u64) -> Self {
        Self {
            pid: None,
            since_ms,
            identified: false,
            fostered: false,
            started: false,
            ending: None,
        }
    }
}

/// It is wanted to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) why: Outcome,
    pub(super) kill_at_ms: u64,
}

/// All attempts.
#[derive(Debug)]
pub(super) struct Table {
    regulator: Regulator,
    attempts: BTreeMap<AttemptId, Attempt>,
    active: BTreeSet<AttemptId>,
    admitted: VecDeque<AttemptId>,
    held: VecDeque<AttemptId>,
    /// Of those that are active.
    running: Load,
    /// Of those that are active or admitted.
    reserved: Load,
}

fn want(attempt: &Attempt) -> Want {
    Want { resources: attempt.work.spec.resources }
}

impl Table {
    pub(super) fn new(regulator: Regulator) -> Self {
        Self {
            regulator,
            attempts: BTreeMap::new(),
            active: BTreeSet::new(),
            admitted: VecDeque::new(),
            held: VecDeque::new(),
            running: Load::default(),
            reserved: Load::default(),
        }
    }

    pub(super) fn get(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&attempt)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().map(|(id, attempt)| (*id, attempt))
    }

    pub(super) fn insert_waiting(&mut self, id: AttemptId, work: Work, held: bool) {
        let attempt = Attempt { work, stage: Stage::Waiting { held } };
        if held {
            self.held.push_back(id);
        } else {
            self.reserved.add(&want(&attempt));
            self.admitted.push_back(id);
        }
        self.attempts.insert(id, attempt);
    }

    /// One whose end is in the spool already.
    pub(super) fn insert_ended(&mut self, id: AttemptId, work: Work) {
        self.attempts.insert(id, Attempt { work, stage: Stage::Ended });
    }

    /// A prefetch is a prefetch no longer: it reserves its room.
    pub(super) fn admit_held(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if !matches!(attempt.stage, Stage::Waiting { held: true }) {
            return;
        }
        attempt.stage = Stage::Waiting { held: false };
        let want = want(attempt);
        self.held.retain(|other| *other != id);
        self.admitted.push_back(id);
        self.reserved.add(&want);
    }

    /// The next that may start now: the admitted in order, then prefetches in order, which never
    /// take room that is reserved.
    pub(super) fn next_to_start(&self) -> Option<AttemptId> {
        let fits = |load: &Load, id: &AttemptId| {
            self.attempts.get(id).is_some_and(|attempt| {
                self.regulator.admit(load, &want(attempt)) == Admission::Admitted
            })
        };
        if let Some(first) = self.admitted.front() {
            return fits(&self.running, first).then_some(*first);
        }
        self.held.front().filter(|first| fits(&self.reserved, first)).copied()
    }

    /// From waiting to active.
    pub(super) fn activate(&mut self, id: AttemptId, active: Active) {
        self.leave_queue(id);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let want = want(attempt);
        attempt.stage = Stage::Active(active);
        self.active.insert(id);
        self.running.add(&want);
        self.reserved.add(&want);
    }

    /// Takes a waiting one out of its queue, and back its room.
    fn leave_queue(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let Stage::Waiting { held } = attempt.stage else { return };
        let want = want(attempt);
        let queue = if held { &mut self.held } else { &mut self.admitted };
        if queue.front() == Some(&id) {
            queue.pop_front();
        } else {
            queue.retain(|other| *other != id);
        }
        if !held {
            self.reserved.remove(&want);
        }
    }

    pub(super) fn active_mut(&mut self, id: AttemptId) -> Option<&mut Active> {
        match &mut self.attempts.get_mut(&id)?.stage {
            Stage::Active(active) => Some(active),
            Stage::Waiting { .. } | Stage::Finishing | Stage::Ended => None,
        }
    }

    /// Those that have a process.
    pub(super) fn active(&self) -> impl Iterator<Item = (AttemptId, &Attempt, &Active)> {
        self.active.iter().filter_map(|id| match self.attempts.get(id) {
            Some(attempt @ Attempt { stage: Stage::Active(active), .. }) => {
                Some((*id, attempt, active))
            }
            _ => None,
        })
    }

    /// Its process is over, and its room free.
    pub(super) fn finish(&mut self, id: AttemptId) -> Option<Active> {
        let attempt = self.attempts.get_mut(&id)?;
        if !matches!(attempt.stage, Stage::Active(_)) {
            return None;
        }
        let Stage::Active(active) = std::mem::replace(&mut attempt.stage, Stage::Finishing) else {
            return None;
        };
        self.active.remove(&id);
        self.running.remove(&want(attempt));
        self.reserved.remove(&want(attempt));
        Some(active)
    }

    /// Its end is about to be spooled, whatever it was.
    pub(super) fn end(&mut self, id: AttemptId) {
        self.leave_queue(id);
        self.finish(id);
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.stage = Stage::Ended;
        }
    }

    /// The leader knows its end.
    pub(super) fn forget(&mut self, id: AttemptId) {
        self.attempts.remove(&id);
    }

    pub(super) fn waiting(&self) -> Vec<AttemptId> {
        self.admitted.iter().chain(&self.held).copied().collect()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !(self.admitted.is_empty() && self.held.is_empty())
    }

    /// All that the leader has to know of: not those whose end it is told in the same poll.
    pub(super) fn inventory(&self, told: &BTreeSet<AttemptId>) -> Vec<InventoryItem> {
        let item = |(id, attempt): (&AttemptId, &Attempt)| InventoryItem {
            attempt: *id,
            started: !matches!(attempt.stage, Stage::Waiting { .. }),
        };
        self.attempts.iter().filter(|(id, _)| !told.contains(id)).map(item).collect()
    }
}
