//! A node of the run: the digester's table and its queues. What it admits and what a notice means to
//! it is decided by the crate `node`, as on a real one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use market::recorded::Bought;
use model::{
    AttemptId, InstanceId, IntentId, NodeId, NodeNotice, Outcome, Pool, Resources, Transition,
};
use node::{Admission, Load, Regulator, Runner, Want};

use crate::jobs::TaskKey;

/// A machine with its digester.
#[derive(Debug)]
pub(super) struct Worker {
    /// What was bought; none for a static machine, which costs nothing.
    pub(super) bought: Option<Instance>,
    /// What it has.
    pub(super) capacity: Resources,
    /// It has booted and wants to join.
    pub(super) joining: bool,
    /// Its node, once it has joined.
    pub(super) node: Option<NodeId>,
    /// Takes no new work.
    pub(super) draining: bool,
    /// It has to go.
    pub(super) going: Option<Going>,
    /// A notice that it has seen and the manager was not told of by it.
    pub(super) untold: Option<NodeNotice>,
    /// What it has to report.
    pub(super) unsaid: Vec<Transition>,
    /// Whether a report is on its way.
    pub(super) speaks: bool,
    table: Table,
}

/// A machine of the cloud.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    /// As the market knows it.
    pub(super) bought: Bought,
    /// The cloud's name for it.
    pub(super) id: InstanceId,
    /// The intent on its tag.
    pub(super) intent: IntentId,
    /// What was bought.
    pub(super) pool: Pool,
}

/// A node that has to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Going {
    /// When it heard of it.
    pub(super) told_ms: u64,
    /// When the machine goes.
    pub(super) deadline_ms: u64,
    /// When whoever still runs is told to end.
    pub(super) stop_ms: u64,
    /// From there to the kill.
    pub(super) grace_ms: u64,
}

/// A process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Active {
    /// Whose.
    pub(super) task: TaskKey,
    /// When it started.
    pub(super) since_ms: u64,
    /// What was done of the task's work by then.
    pub(super) done_ms: u64,
    /// When it will be over.
    pub(super) ends_ms: u64,
    /// It was told to end: why, and how long before its end.
    pub(super) ending: Option<(Outcome, u64)>,
}

#[derive(Debug)]
struct Entry {
    want: Want,
    expect_ms: Option<u64>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Waiting { held: bool },
    Active(Active),
}

/// Attempts that are not over.
#[derive(Debug)]
struct Table {
    regulator: Regulator,
    attempts: BTreeMap<AttemptId, Entry>,
    admitted: VecDeque<AttemptId>,
    held: VecDeque<AttemptId>,
    running: Load,
    reserved: Load,
}

impl Worker {
    /// A machine that nothing runs on.
    pub(super) fn new(bought: Option<Instance>, capacity: Resources) -> Self {
        let table = Table {
            regulator: Regulator::Resources(capacity),
            attempts: BTreeMap::new(),
            admitted: VecDeque::new(),
            held: VecDeque::new(),
            running: Load::default(),
            reserved: Load::default(),
        };
        Self {
            bought,
            capacity,
            joining: false,
            node: None,
            draining: false,
            going: None,
            untold: None,
            unsaid: Vec::new(),
            speaks: false,
            table,
        }
    }

    /// Where it is; none for a static one.
    pub(super) fn zone(&self) -> Option<Arc<str>> {
        self.bought.as_ref().map(|instance| instance.pool.zone.clone())
    }

    /// It is handed an attempt. False when it has it already.
    pub(super) fn take(
        &mut self,
        id: AttemptId,
        resources: Resources,
        expect_ms: Option<u64>,
        held: bool,
    ) -> bool {
        let table = &mut self.table;
        if let Some(entry) = table.attempts.get_mut(&id) {
            if !held && matches!(entry.stage, Stage::Waiting { held: true }) {
                entry.stage = Stage::Waiting { held: false };
                table.reserved.add(&entry.want);
                table.held.retain(|other| *other != id);
                table.admitted.push_back(id);
            }
            return false;
        }
        let want = Want { resources };
        if held {
            table.held.push_back(id);
        } else {
            table.reserved.add(&want);
            table.admitted.push_back(id);
        }
        table.attempts.insert(id, Entry { want, expect_ms, stage: Stage::Waiting { held } });
        true
    }

    /// The next that may start now: the admitted in order, then prefetches in order, which never take
    /// room that is reserved.
    pub(super) fn next_to_start(&self) -> Option<AttemptId> {
        if self.draining || self.going.is_some() {
            return None;
        }
        let table = &self.table;
        let fits = |load: &Load, id: &AttemptId| {
            table.attempts.get(id).is_some_and(|entry| {
                table.regulator.admit(load, &entry.want) == Admission::Admitted
            })
        };
        if let Some(first) = table.admitted.front() {
            return fits(&table.running, first).then_some(*first);
        }
        table.held.front().filter(|first| fits(&table.reserved, first)).copied()
    }

    /// It runs.
    pub(super) fn activate(&mut self, id: AttemptId, active: Active) {
        self.leave_queue(id);
        let table = &mut self.table;
        let Some(entry) = table.attempts.get_mut(&id) else { return };
        entry.stage = Stage::Active(active);
        table.running.add(&entry.want);
        table.reserved.add(&entry.want);
    }

    fn leave_queue(&mut self, id: AttemptId) {
        let table = &mut self.table;
        let Some(entry) = table.attempts.get(&id) else { return };
        let Stage::Waiting { held } = entry.stage else { return };
        let queue = if held { &mut table.held } else { &mut table.admitted };
        if queue.front() == Some(&id) {
            queue.pop_front();
        } else {
            queue.retain(|other| *other != id);
        }
        if !held {
            table.reserved.remove(&entry.want);
        }
    }

    /// Its process, if it has one.
    pub(super) fn active(&self, id: AttemptId) -> Option<&Active> {
        match &self.table.attempts.get(&id)?.stage {
            Stage::Active(active) => Some(active),
            Stage::Waiting { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn active_mut(&mut self, id: AttemptId) -> Option<&mut Active> {
        match &mut self.table.attempts.get_mut(&id)?.stage {
            Stage::Active(active) => Some(active),
            Stage::Waiting { .. } => None,
        }
    }

    /// Its process is over.
    pub(super) fn finish(&mut self, id: AttemptId) -> Option<Active> {
        let active = *self.active(id)?;
        let entry = self.table.attempts.remove(&id)?;
        self.table.running.remove(&entry.want);
        self.table.reserved.remove(&entry.want);
        Some(active)
    }

    /// A waiting attempt goes back; false when it does not wait.
    pub(super) fn give_back(&mut self, id: AttemptId) -> bool {
        let waits = |entry: &Entry| matches!(entry.stage, Stage::Waiting { .. });
        if !self.table.attempts.get(&id).is_some_and(waits) {
            return false;
        }
        self.leave_queue(id);
        self.table.attempts.remove(&id);
        self.unsaid.push(Transition::ended_without_trace(id, Outcome::Returned));
        true
    }

    /// Attempts that have not started.
    pub(super) fn waiting(&self) -> Vec<AttemptId> {
        self.table.admitted.iter().chain(&self.table.held).copied().collect()
    }

    /// Attempts that run.
    pub(super) fn running(&self) -> Vec<AttemptId> {
        let runs = |entry: &Entry| matches!(entry.stage, Stage::Active(_));
        let running = self.table.attempts.iter().filter(|(_, entry)| runs(entry));
        running.map(|(id, _)| *id).collect()
    }

    /// What the notice policy has to know of those that run.
    pub(super) fn runners(&self, now_ms: u64) -> Vec<Runner> {
        let runner = |(id, entry): (&AttemptId, &Entry)| match entry.stage {
            Stage::Active(active) => Some(Runner {
                attempt: *id,
                elapsed_ms: now_ms.saturating_sub(active.since_ms),
                expect_ms: entry.expect_ms,
            }),
            Stage::Waiting { .. } => None,
        };
        self.table.attempts.iter().filter_map(runner).collect()
    }

    /// All that it has, for the first poll.
    pub(super) fn inventory(&self) -> Vec<model::InventoryItem> {
        let item = |(id, entry): (&AttemptId, &Entry)| model::InventoryItem {
            attempt: *id,
            started: matches!(entry.stage, Stage::Active(_)),
        };
        self.table.attempts.iter().map(item).collect()
    }
}
