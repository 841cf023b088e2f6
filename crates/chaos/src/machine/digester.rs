//! The one task that owns all state, as `digester::service`: takes events in, and after each batch of
//! them writes the spool, orders processes and speaks to the manager, in that order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use control::Joiner;
use model::{AttemptId, NodeId, NodeNotice, Resources, TaskResult, Transition};
use node::{Record, Regulator};
use rand::RngExt;

use super::disk::{Disk, Open};
use super::processes::{self, Launch, Order, Processes};
use super::table::Table;
use super::uplink::{Due, Heard, News, Uplink};
use super::{Effect, Poll, Said, Told};
use crate::Dice;

/// Time-outs, kills and children of its own are looked at so often.
const TICK_MS: u64 = 100;
/// A process that ran for so long is identified in the spool.
pub(super) const IDENTIFY_AFTER_MS: u64 = 200;
/// Transitions of one poll.
const MAX_TRANSITIONS: usize = 2_000;
/// Between TERM and KILL.
pub(super) const GRACE_MS: u64 = 5_000;
/// Without a manager for so long, it stops its tasks and ends itself.
const ORPHAN_MS: u64 = 600_000;

/// All around a digester.
pub(super) struct World<'a> {
    pub(super) now_ms: u64,
    pub(super) disk: &'a mut Disk,
    pub(super) processes: &'a mut Processes,
    pub(super) dice: &'a mut Dice,
    pub(super) out: &'a mut Vec<Effect>,
    pub(super) last_call: &'a mut u64,
    pub(super) who: &'a Joiner,
    pub(super) capacity: Resources,
    pub(super) boot: &'a Arc<str>,
}

impl World<'_> {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.dice.plain().random_range(least..=most)
    }
}

/// What comes to the one task.
#[derive(Debug)]
pub(super) enum Event {
    /// The spawner of that generation says something.
    Spawner(u64, processes::Said),
    /// Its connection closed.
    SpawnerGone(u64),
    /// A call is answered.
    Heard(u64, Told),
    /// The machine's metadata show a notice.
    Notice(NodeNotice),
}

/// What it waits for without hearing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// For a spawner.
    Connecting { until_ms: u64, boots: bool },
    /// For an event.
    Idle,
    /// For the disk, before what it has to say leaves.
    Syncing { until_ms: u64 },
    /// For its tasks to end, and itself with them.
    Ending { until_ms: u64 },
}

/// The machine has to go.
#[derive(Debug)]
pub(super) struct Going {
    /// What is told to the manager; nothing if it knows.
    pub(super) notice: Option<NodeNotice>,
    pub(super) deadline_ms: u64,
    /// When whoever still runs is told to end.
    pub(super) stop_at_ms: u64,
    pub(super) grace_ms: u64,
    pub(super) stopped: bool,
}

/// Whether a digester goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    GoesOn,
    PowersOff,
}

#[derive(Debug)]
pub(super) struct Digester {
    pub(super) table: Table,
    pub(super) spool: Open,
    pub(super) uplink: Uplink,
    pub(super) node: Option<NodeId>,
    pub(super) inbox: VecDeque<Event>,
    pub(super) draining: bool,
    pub(super) going: Option<Going>,
    /// To be spooled.
    pub(super) records: Vec<Record>,
    /// Started since the last flush; one that has ended by then is reported once, as ended.
    pub(super) fresh: Vec<AttemptId>,
    /// Exits that the spawner may forget once the records are spooled.
    pub(super) settled: Vec<AttemptId>,
    /// Attempts acknowledged lately: a command that comes late starts none of them again.
    pub(super) recent: Recent,
    /// What is being kept, and until when.
    pub(super) uploads: Vec<(u64, AttemptId, Box<TaskResult>)>,
    pub(super) fostering: bool,
    pub(super) folders: u32,
    launches: Vec<Launch>,
    generation: u64,
    phase: Phase,
    begun_ms: u64,
    ticked_ms: u64,
}

impl Digester {
    /// Its process begins: it reads the spool and looks for a spawner.
    pub(super) fn begin(w: &mut World<'_>, new_session: u64) -> Self {
        let until_ms = w.now_ms + w.between(1, 30);
        Self {
            table: Table::new(Regulator::Resources(w.capacity)),
            spool: w.disk.open(new_session),
            uplink: Uplink::new(w.now_ms),
            node: None,
            inbox: VecDeque::new(),
            draining: false,
            going: None,
            records: Vec::new(),
            fresh: Vec::new(),
            settled: Vec::new(),
            recent: Recent::default(),
            uploads: Vec::new(),
            fostering: false,
            folders: 0,
            launches: Vec::new(),
            generation: 0,
            phase: Phase::Connecting { until_ms, boots: true },
            begun_ms: w.now_ms,
            ticked_ms: w.now_ms,
        }
    }

    /// The spawner says something, if it is heard.
    pub(super) fn spawner_says(&mut self, said: Vec<processes::Said>) {
        if !self.is_connecting() {
            let generation = self.generation;
            self.inbox.extend(said.into_iter().map(|said| Event::Spawner(generation, said)));
        }
    }

    pub(super) fn spawner_gone(&mut self) {
        if !self.is_connecting() {
            self.inbox.push_back(Event::SpawnerGone(self.generation));
        }
    }

    fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting { .. })
    }

    /// When it has something to do by itself.
    pub(super) fn next_due_ms(&self) -> u64 {
        match self.phase {
            Phase::Connecting { until_ms, .. }
            | Phase::Syncing { until_ms }
            | Phase::Ending { until_ms } => until_ms,
            Phase::Idle => {
                let uploads = self.uploads.iter().map(|(at_ms, ..)| *at_ms).min();
                let due = [uploads, self.uplink.next_due_ms()];
                due.into_iter().flatten().fold(self.tick_due_ms(), u64::min)
            }
        }
    }

    /// The next tick that has something to look at.
    fn tick_due_ms(&self) -> u64 {
        let mut due_ms = self.uplink.last_contact_ms() + ORPHAN_MS;
        if self.fostering {
            due_ms = self.ticked_ms;
        }
        if let Some(going) = self.going.as_ref().filter(|going| !going.stopped) {
            due_ms = due_ms.min(going.stop_at_ms);
        }
        for (_, entry, active) in self.table.active() {
            let limit = entry.work.spec.timeout_ms.map(|limit_ms| active.since_ms + limit_ms);
            let ending = active.ending.map(|ending| ending.kill_at_ms).or(limit);
            due_ms = ending.map_or(due_ms, |at_ms| due_ms.min(at_ms));
            if !active.identified && active.pid.is_some() {
                due_ms = due_ms.min(active.since_ms + IDENTIFY_AFTER_MS + 1);
            }
        }
        let since_ms = due_ms.max(self.ticked_ms + 1).saturating_sub(self.begun_ms);
        self.begun_ms + since_ms.div_ceil(TICK_MS) * TICK_MS
    }

    /// Does all that can be done now.
    pub(super) fn go_on(&mut self, w: &mut World<'_>) -> Fate {
        loop {
            match self.phase {
                Phase::Connecting { until_ms, .. }
                | Phase::Syncing { until_ms }
                | Phase::Ending { until_ms }
                    if w.now_ms < until_ms =>
                {
                    return Fate::GoesOn;
                }
                Phase::Connecting { boots, .. } => {
                    let hello = w.processes.hello(w.now_ms);
                    if boots {
                        self.take_over_from_spool(w);
                    }
                    self.phase = Phase::Idle;
                    self.reconcile(&hello, w);
                    if self.turn(w) == Fate::PowersOff {
                        return Fate::PowersOff;
                    }
                }
                Phase::Syncing { .. } => {
                    w.disk.sync();
                    self.phase = Phase::Idle;
                    self.leave(w);
                }
                Phase::Ending { .. } => return Fate::PowersOff,
                Phase::Idle if self.inbox.is_empty() && self.next_due_ms() > w.now_ms => {
                    return Fate::GoesOn;
                }
                Phase::Idle => {
                    if self.turn(w) == Fate::PowersOff {
                        return Fate::PowersOff;
                    }
                }
            }
        }
    }

    /// Takes a batch of events in; then all that follows from them goes out.
    fn turn(&mut self, w: &mut World<'_>) -> Fate {
        while let Some(event) = self.inbox.pop_front() {
            if self.on_event(event, w) == Fate::PowersOff {
                return Fate::PowersOff;
            }
            if self.is_connecting() {
                return Fate::GoesOn;
            }
        }
        self.uplink.wake(w.now_ms, w.dice.plain());
        let kept: Vec<_> = self.uploads.extract_if(.., |(at_ms, ..)| *at_ms <= w.now_ms).collect();
        for (_, attempt, result) in kept {
            self.end(attempt, result);
        }
        if self.tick_due_ms() <= w.now_ms {
            self.ticked_ms = w.now_ms;
            self.on_tick(w);
            if self.is_orphan(w) {
                return Fate::GoesOn;
            }
        }
        self.flush(w);
        Fate::GoesOn
    }

    fn on_event(&mut self, event: Event, w: &mut World<'_>) -> Fate {
        match event {
            Event::Spawner(generation, said) if generation == self.generation => {
                self.on_said(said, w);
            }
            Event::SpawnerGone(generation) if generation == self.generation => {
                self.generation += 1;
                let until_ms = w.now_ms + w.between(5, 50);
                self.phase = Phase::Connecting { until_ms, boots: false };
            }
            Event::Spawner(..) | Event::SpawnerGone(_) => {}
            Event::Notice(notice) => self.on_notice(notice, true, w),
            Event::Heard(call, told) => {
                match self.uplink.heard(call, told, w.now_ms, w.dice.plain()) {
                    Heard::Nothing => {}
                    Heard::Joined(node) => self.node = Some(node),
                    Heard::Unwanted => return Fate::PowersOff,
                    Heard::Answer(acked_offset, orders) => self.on_answer(acked_offset, orders, w),
                }
            }
        }
        Fate::GoesOn
    }

    /// Without a manager for too long: nobody will ask for the results, and the machine may cost
    /// money.
    fn is_orphan(&mut self, w: &mut World<'_>) -> bool {
        if w.now_ms.saturating_sub(self.uplink.last_contact_ms()) < ORPHAN_MS {
            return false;
        }
        let running: Vec<AttemptId> = self.table.active().map(|(attempt, ..)| attempt).collect();
        let wait_ms = if running.is_empty() { 0 } else { GRACE_MS };
        self.stop(running, model::Outcome::Evicted, GRACE_MS, w);
        self.spool_pending(w);
        self.phase = Phase::Ending { until_ms: w.now_ms + wait_ms };
        true
    }

    /// What happened since the last flush goes out: to the disk, to the processes, to the manager.
    fn flush(&mut self, w: &mut World<'_>) {
        self.start_what_fits(w);
        self.spool_pending(w);
        if w.disk.needs_sync() {
            let until_ms = w.now_ms + w.between(1, 5);
            self.phase = Phase::Syncing { until_ms };
        } else {
            self.leave(w);
        }
    }

    fn leave(&mut self, w: &mut World<'_>) {
        if !self.launches.is_empty() {
            w.processes.order(Order::Spawn(std::mem::take(&mut self.launches)), w.now_ms);
        }
        if !self.settled.is_empty() {
            w.processes.order(Order::Forget(std::mem::take(&mut self.settled)), w.now_ms);
        }
        self.speak(w);
    }

    pub(super) fn spool_pending(&mut self, w: &mut World<'_>) {
        for attempt in std::mem::take(&mut self.fresh) {
            if let Some(active) = self.table.active_mut(attempt)
                && !active.started
            {
                active.started = true;
                self.records.push(Record::Started { attempt });
            }
        }
        self.spool.append(w.disk, &self.records);
        self.records.clear();
    }

    fn start_what_fits(&mut self, w: &mut World<'_>) {
        if self.going.is_some() || self.draining {
            return;
        }
        while let Some(attempt) = self.table.next_to_start() {
            let launch = self.launch(attempt, w);
            self.launches.extend(launch);
        }
    }

    fn speak(&mut self, w: &mut World<'_>) {
        // Twice: a poll with transitions may leave room for none to be waiting, and the reverse.
        for _ in 0..2 {
            let news = News {
                transitions: !self.spool.state().unacked().is_empty(),
                notice: self.going.as_ref().is_some_and(|going| going.notice.is_some()),
            };
            let said = match self.uplink.due(w.now_ms, news) {
                Due::Nothing => return,
                Due::Join => self.join(w),
                Due::Poll { node, inventory } => self.report(node, inventory, w),
            };
            w.out.push(Effect::Calls { call: *w.last_call, said });
        }
    }

    fn join(&mut self, w: &mut World<'_>) -> Said {
        *w.last_call += 1;
        self.uplink.join(*w.last_call, w.now_ms);
        Said::Join {
            joiner: w.who.clone(),
            session: self.spool.state().session(),
            capacity: w.capacity,
            term_seen: self.uplink.term,
        }
    }

    fn report(&mut self, node: NodeId, inventory: bool, w: &mut World<'_>) -> Said {
        let spool = self.spool.state();
        let transitions: Vec<Transition> =
            spool.unacked().iter().take(MAX_TRANSITIONS).cloned().collect();
        let inventory = inventory.then(|| {
            let told = transitions.iter().filter_map(|transition| match transition {
                Transition::Ended { attempt, .. } => Some(*attempt),
                Transition::Started { .. } => None,
            });
            self.table.inventory(&told.collect::<BTreeSet<_>>())
        });
        let notice = self.going.as_ref().filter(|_| self.uplink.wants_notice()).and_then(|going| {
            let remaining_ms = going.deadline_ms.saturating_sub(w.now_ms);
            going.notice.map(|notice| NodeNotice { remaining_ms, ..notice })
        });
        *w.last_call += 1;
        let (some, told) = (!transitions.is_empty(), notice.is_some());
        let poll = self.uplink.poll(*w.last_call, some, inventory.is_some(), told, w.now_ms);
        Said::Poll(Box::new(Poll {
            node,
            session: spool.session(),
            poll,
            answered: self.uplink.answered,
            term_seen: self.uplink.term,
            spool_offset: spool.acked(),
            transitions,
            inventory,
            notice,
        }))
    }
}

/// The attempts that were acknowledged last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<AttemptId>,
    all: BTreeSet<AttemptId>,
}

impl Recent {
    /// More than are assigned to a node while an answer is on its way.
    const MOST: usize = 4_096;

    pub(super) fn add(&mut self, attempt: AttemptId) {
        if self.order.len() >= Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        self.order.push_back(attempt);
        self.all.insert(attempt);
    }

    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.all.contains(&attempt)
    }
}
