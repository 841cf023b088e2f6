//! The attempts that this node has, and what they take of it. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use model::{AttemptId, InventoryItem, Outcome};
use node::{Admission, Load, Regulator, Want, Work};

/// An attempt that is not acknowledged as ended.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) work: Work,
    pub(crate) item: Option<Arc<str>>,
    /// The number of its folder, from its start to its end.
    pub(crate) folder: Option<u32>,
    pub(crate) stage: Stage,
}

/// Where an attempt stands.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It waits for room.
    Waiting {
        /// Whether it reserves its room already.
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
pub(crate) struct Active {
    /// Once it is known.
    pub(crate) pid: Option<u32>,
    pub(crate) since: Instant,
    /// Whether its start ticks are spooled.
    pub(crate) identified: bool,
    /// Whether it is our own child, without a spawner.
    pub(crate) fostered: bool,
    /// Whether its start is spooled.
    pub(crate) started: bool,
    pub(crate) ending: Option<Ending>,
}

impl Active {
    pub(crate) fn new(since: Instant) -> Self {
        Self { pid: None, since, identified: false, fostered: false, started: false, ending: None }
    }
}

/// We want it to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) why: Outcome,
    pub(crate) kill_at: Instant,
}

/// All attempts.
pub(crate) struct Table {
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
    pub(crate) fn new(regulator: Regulator) -> Self {
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

    pub(crate) fn get(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&attempt)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().map(|(id, attempt)| (*id, attempt))
    }

    pub(crate) fn insert_waiting(
        &mut self,
        id: AttemptId,
        work: Work,
        item: Option<Arc<str>>,
        held: bool,
    ) {
        let attempt = Attempt { work, item, folder: None, stage: Stage::Waiting { held } };
        if held {
            self.held.push_back(id);
        } else {
            self.reserved.add(&want(&attempt));
            self.admitted.push_back(id);
        }
        self.attempts.insert(id, attempt);
    }

    /// One whose end is in the spool already.
    pub(crate) fn insert_ended(&mut self, id: AttemptId, work: Work) {
        self.attempts.insert(id, Attempt { work, item: None, folder: None, stage: Stage::Ended });
    }

    /// A prefetch is a prefetch no longer: it reserves its room.
    pub(crate) fn admit_held(&mut self, id: AttemptId) {
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
    pub(crate) fn next_to_start(&self) -> Option<AttemptId> {
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
    pub(crate) fn activate(&mut self, id: AttemptId, active: Active) {
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

    pub(crate) fn active_mut(&mut self, id: AttemptId) -> Option<&mut Active> {
        match &mut self.attempts.get_mut(&id)?.stage {
            Stage::Active(active) => Some(active),
            Stage::Waiting { .. } | Stage::Finishing | Stage::Ended => None,
        }
    }

    /// Those that have a process.
    pub(crate) fn active(&self) -> impl Iterator<Item = (AttemptId, &Attempt, &Active)> {
        self.active.iter().filter_map(|id| match self.attempts.get(id) {
            Some(attempt @ Attempt { stage: Stage::Active(active), .. }) => {
                Some((*id, attempt, active))
            }
            _ => None,
        })
    }

    /// Its process is over, and its room free.
    pub(crate) fn finish(&mut self, id: AttemptId) -> Option<Active> {
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

    pub(crate) fn set_folder(&mut self, id: AttemptId, folder: Option<u32>) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.folder = folder;
        }
    }

    /// Its end is about to be spooled, whatever it was; answers its folder, which is free then.
    pub(crate) fn end(&mut self, id: AttemptId) -> Option<u32> {
        self.leave_queue(id);
        self.finish(id);
        let attempt = self.attempts.get_mut(&id)?;
        attempt.stage = Stage::Ended;
        attempt.folder.take()
    }

    /// The leader knows its end.
    pub(crate) fn forget(&mut self, id: AttemptId) {
        self.attempts.remove(&id);
    }

    pub(crate) fn waiting(&self) -> Vec<AttemptId> {
        self.admitted.iter().chain(&self.held).copied().collect()
    }

    /// Whether nothing waits, runs or is being kept.
    pub(crate) fn all_ended(&self) -> bool {
        self.attempts.values().all(|attempt| matches!(attempt.stage, Stage::Ended))
    }

    pub(crate) fn running(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn queued(&self) -> usize {
        self.admitted.len() + self.held.len()
    }

    /// All that the leader has to know of: not those whose end it is told in the same poll.
    pub(crate) fn inventory(&self, told: &BTreeSet<AttemptId>) -> Vec<InventoryItem> {
        let item = |(id, attempt): (&AttemptId, &Attempt)| InventoryItem {
            attempt: *id,
            started: !matches!(attempt.stage, Stage::Waiting { .. }),
        };
        self.attempts.iter().filter(|(id, _)| !told.contains(id)).map(item).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{JobId, JobSpec, Namespace, Resources, TaskId};

    use super::*;

    fn work(cpu: &str) -> Work {
        let document = serde_json::json!({
            "group": [{"command": ["true"], "resources": {"cpu": cpu, "memory": "1MiB"}}]
        });
        let spec = JobSpec::parse(&document).unwrap();
        Work { namespace: Namespace::default(), spec: spec.groups[0].clone() }
    }

    fn id(index: u32) -> AttemptId {
        TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1)
    }

    fn table() -> Table {
        let machine = Resources { cpu_millis: 1000, memory_mib: 100, disk_mib: 0, gpus: 0 };
        Table::new(Regulator::Resources(machine))
    }

    fn start(table: &mut Table) -> Option<u32> {
        let next = table.next_to_start()?;
        table.activate(next, Active::new(Instant::now()));
        Some(next.task.index)
    }

    #[test]
    fn prefetches_start_in_order_and_never_take_reserved_room() {
        let mut table = table();
        table.insert_waiting(id(0), work("500m"), None, true);
        table.insert_waiting(id(1), work("500m"), None, false);
        table.insert_waiting(id(2), work("1"), None, false);
        table.insert_waiting(id(3), work("100m"), None, true);
        assert_eq!(start(&mut table), Some(1));
        // The second admitted one has to wait for the first, and the prefetches wait for it.
        assert_eq!(start(&mut table), None);
        table.end(id(1));
        assert_eq!(start(&mut table), Some(2));
        assert_eq!(start(&mut table), None);
        table.end(id(2));
        assert_eq!(start(&mut table), Some(0));
        assert_eq!(start(&mut table), Some(3));
        table.end(id(0));
        table.end(id(3));
        assert_eq!((table.running, table.reserved), (Load::default(), Load::default()));
        assert!(table.all_ended() && table.iter().count() == 4);
    }

    #[test]
    fn every_way_out_gives_the_room_back() {
        let mut table = table();
        for (index, held) in [(0, false), (1, true), (2, false)] {
            table.insert_waiting(id(index), work("300m"), None, held);
        }
        table.admit_held(id(1));
        assert_eq!(table.reserved.tasks, 3);
        assert_eq!(start(&mut table), Some(0));
        table.end(id(2));
        table.end(id(1));
        assert!(table.finish(id(0)).is_some());
        assert!(table.finish(id(0)).is_none());
        table.end(id(0));
        assert_eq!((table.running, table.reserved), (Load::default(), Load::default()));
        assert_eq!(table.inventory(&BTreeSet::from([id(1)])).len(), 2);
        for index in 0..3 {
            table.forget(id(index));
        }
        assert_eq!(table.iter().count(), 0);
    }
}
