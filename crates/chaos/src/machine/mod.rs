//! A machine with its digester, its spawner, its processes and its disk: `node`'s decisions, in a
//! shell that can be killed at any moment.

mod digester;
mod disk;
mod lifecycle;
mod processes;
mod table;
#[cfg(test)]
mod tests;
mod uplink;

use std::sync::Arc;

use control::Joiner;
use model::{AttemptId, GroupSpec, InventoryItem, NodeId, NodeNotice, Resources, Transition};

use rand::RngExt;

use crate::Dice;
use digester::{Digester, Event, Fate, World};
use disk::Disk;
use processes::{Parent, Processes};

/// What happens to a machine.
#[derive(Debug, Clone)]
pub enum Happening {
    /// It has booted, with what is on its disk.
    Boots,
    /// The moment that it asked for has come.
    Wakes,
    /// A call of its digester is answered.
    Heard {
        /// Which.
        call: u64,
        /// How.
        told: Told,
    },
    /// Its metadata shows a notice.
    Metadata(NodeNotice),
    /// Its digester is killed, and started again after a while.
    DigesterKilled {
        /// How long after.
        back_in_ms: u64,
    },
    /// Its digester stands still.
    DigesterStopped {
        /// For how long.
        for_ms: u64,
    },
    /// Its spawner is killed.
    SpawnerKilled,
    /// All is over at once; what was not synced is lost, perhaps in the middle of a line.
    PowerCut,
}

/// What comes of it.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Its digester calls the manager.
    Calls {
        /// Its number, for the answer: later calls have higher ones.
        call: u64,
        /// What it says.
        said: Said,
    },
    /// It is to be woken.
    WakeAt(u64),
    /// A process of an attempt has started.
    Started(AttemptId),
    /// A process of an attempt is over.
    Over(AttemptId),
    /// Its digester's connections have closed.
    Closed {
        /// Of which session.
        session: u64,
        /// Of which node.
        node: NodeId,
    },
    /// It turns itself off: nobody wants it, or no manager was there for too long.
    PowersOff,
}

/// What a digester says to a manager.
#[derive(Debug, Clone)]
pub enum Said {
    /// It joins.
    Join {
        /// Who it is.
        joiner: Joiner,
        /// Its session.
        session: u64,
        /// What tasks may use.
        capacity: Resources,
        /// The highest term that it has heard of.
        term_seen: u64,
    },
    /// It polls.
    Poll(Box<Poll>),
}

/// A poll, as `POST /v1/nodes/{id}/sync` has it.
#[derive(Debug, Clone)]
pub struct Poll {
    /// Its node.
    pub node: NodeId,
    /// Its session.
    pub session: u64,
    /// Its number: a higher one ends it.
    pub poll: u64,
    /// The highest poll whose answer was read.
    pub answered: u64,
    /// The highest term that it has heard of.
    pub term_seen: u64,
    /// The offset of the first transition.
    pub spool_offset: u64,
    /// What changed.
    pub transitions: Vec<Transition>,
    /// All that it has, on the first poll of a process and of a term.
    pub inventory: Option<Vec<InventoryItem>>,
    /// A notice that it has seen itself.
    pub notice: Option<NodeNotice>,
}

/// What it is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// It has joined.
    Joined {
        /// As this node.
        node: NodeId,
        /// By this leader.
        term: u64,
    },
    /// What it is to do.
    Orders {
        /// By this leader.
        term: u64,
        /// Transitions below are durable.
        acked_offset: u64,
        /// What to do.
        orders: Orders,
    },
    /// Its node is unknown or bound to another session: it joins again.
    Unknown,
    /// Its join is refused for good.
    Refused,
    /// The one that it asked does not lead, or nobody answered: it asks again in a moment.
    Later,
}

/// What a node is to do.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Attempts to run.
    pub assign: Vec<Assignment>,
    /// Attempts to stop, or whose number is void.
    pub cancel: Vec<AttemptId>,
    /// Held attempts to give back.
    pub retract: Vec<AttemptId>,
    /// Whether it starts nothing more.
    pub drain: bool,
    /// What was announced for it.
    pub notices: Vec<NodeNotice>,
}

/// An attempt to run.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The fence.
    pub attempt: AttemptId,
    /// Whether it is a prefetch.
    pub held: bool,
    /// What to run.
    pub spec: Arc<GroupSpec>,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    who: Joiner,
    capacity: Resources,
    seed: u64,
    is_on: bool,
    /// Which start of the machine this is.
    boot: Arc<str>,
    boots: u64,
    sessions: u64,
    disk: Disk,
    processes: Processes,
    digester: Option<Box<Digester>>,
    back_at_ms: Option<u64>,
    stopped_until_ms: Option<u64>,
    /// The file in which a notice stands; a digester that begins reads it again.
    notice: Option<NodeNotice>,
    last_call: u64,
    node: Option<NodeId>,
    session: Option<u64>,
    wake_at_ms: Option<u64>,
}

impl Machine {
    /// One that is off, with an empty disk.
    pub fn new(who: Joiner, capacity: Resources, seed: u64) -> Self {
        Self {
            who,
            capacity,
            seed,
            is_on: false,
            boot: "".into(),
            boots: 0,
            sessions: 0,
            disk: Disk::default(),
            processes: Processes::default(),
            digester: None,
            back_at_ms: None,
            stopped_until_ms: None,
            notice: None,
            last_call: 0,
            node: None,
            session: None,
            wake_at_ms: None,
        }
    }

    /// Something happens to it.
    pub fn happen(&mut self, happening: Happening, now_ms: u64, dice: &mut Dice) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.wake_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.wake_at_ms = None;
        }
        if !self.is_on {
            if let Happening::Boots = happening {
                self.is_on = true;
                self.boots += 1;
                self.boot = format!("boot-{}", self.boots).into();
                self.begin(now_ms, dice, &mut out);
            }
        } else {
            // What was due before.
            self.processes.go_on(now_ms, dice, &mut out);
            self.hear_spawner();
            self.strike(happening, now_ms, dice, &mut out);
        }
        if self.is_on {
            self.go_on(now_ms, dice, &mut out);
        }
        self.expect(now_ms, &mut out);
        out
    }

    fn strike(
        &mut self,
        happening: Happening,
        now_ms: u64,
        dice: &mut Dice,
        out: &mut Vec<Effect>,
    ) {
        match happening {
            Happening::Boots | Happening::Wakes => {}
            Happening::Heard { call, told } => self.tell(Event::Heard(call, told)),
            Happening::Metadata(notice) => {
                self.notice = Some(notice);
                self.tell(Event::Notice(notice));
            }
            Happening::DigesterKilled { back_in_ms } => {
                if let Some(digester) = self.digester.take() {
                    close(&digester, out);
                    self.processes.digester_gone(now_ms, dice, out);
                    self.back_at_ms = Some(now_ms + back_in_ms.max(1));
                    self.stopped_until_ms = None;
                }
            }
            Happening::DigesterStopped { for_ms } => {
                if self.digester.is_some() {
                    self.stopped_until_ms = self.stopped_until_ms.max(Some(now_ms + for_ms));
                }
            }
            Happening::SpawnerKilled => {
                let heir = if self.digester.is_some() { Parent::Digester } else { Parent::Init };
                if self.processes.spawner_gone(heir)
                    && let Some(digester) = &mut self.digester
                {
                    digester.spawner_gone();
                }
            }
            Happening::PowerCut => {
                let exits = dice.plain().random_bool(0.5);
                self.disk.lose_power(dice.plain());
                self.power_off(exits, out);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        if let Some(digester) = &mut self.digester {
            digester.inbox.push_back(event);
        }
    }

    fn hear_spawner(&mut self) {
        if !self.processes.said.is_empty() {
            let said = std::mem::take(&mut self.processes.said);
            if let Some(digester) = &mut self.digester {
                digester.spawner_says(said);
            }
        }
    }

    /// A digester begins.
    fn begin(&mut self, now_ms: u64, dice: &mut Dice, out: &mut Vec<Effect>) {
        self.back_at_ms = None;
        self.sessions += 1;
        let new_session = mix(self.seed.wrapping_add(self.sessions)) >> 1;
        let mut world = self.world(now_ms, dice, out);
        let mut digester = Digester::begin(&mut world, new_session);
        digester.inbox.extend(self.notice.map(Event::Notice));
        self.session = Some(digester.spool.state().session());
        self.digester = Some(Box::new(digester));
    }

    fn world<'a>(
        &'a mut self,
        now_ms: u64,
        dice: &'a mut Dice,
        out: &'a mut Vec<Effect>,
    ) -> World<'a> {
        World {
            now_ms,
            disk: &mut self.disk,
            processes: &mut self.processes,
            dice,
            out,
            last_call: &mut self.last_call,
            who: &self.who,
            capacity: self.capacity,
            boot: &self.boot,
        }
    }

    /// All that can be done now is done.
    fn go_on(&mut self, now_ms: u64, dice: &mut Dice, out: &mut Vec<Effect>) {
        loop {
            self.processes.go_on(now_ms, dice, out);
            self.hear_spawner();
            if self.digester.is_none() && self.back_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                self.begin(now_ms, dice, out);
            }
            if self.stopped_until_ms.is_some_and(|at_ms| at_ms > now_ms) {
                return;
            }
            self.stopped_until_ms = None;
            let Some(mut digester) = self.digester.take() else { return };
            let fate = digester.go_on(&mut self.world(now_ms, dice, out));
            self.node = digester.node.or(self.node);
            if fate == Fate::PowersOff {
                close(&digester, out);
                self.processes.quit(now_ms, out);
                self.disk.sync();
                self.power_off(true, out);
                out.push(Effect::PowersOff);
                return;
            }
            self.digester = Some(digester);
            let due = self.processes.next_due_ms().is_some_and(|at_ms| at_ms <= now_ms);
            if !due && self.processes.said.is_empty() {
                return;
            }
        }
    }

    fn power_off(&mut self, exits: bool, out: &mut Vec<Effect>) {
        self.processes.power_off(exits, out);
        self.digester = None;
        self.back_at_ms = None;
        self.stopped_until_ms = None;
        self.notice = None;
        self.node = None;
        self.session = None;
        self.is_on = false;
    }

    /// Asks to be woken, unless it will be before.
    fn expect(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        if !self.is_on {
            self.wake_at_ms = None;
            return;
        }
        let digester = self.digester.as_ref().map(|it| it.next_due_ms());
        let digester = if digester.is_some() { self.stopped_until_ms.or(digester) } else { None };
        let due = [digester, self.back_at_ms, self.processes.next_due_ms()];
        let Some(at_ms) = due.into_iter().flatten().min() else { return };
        let at_ms = at_ms.max(now_ms + 1);
        if self.wake_at_ms.is_none_or(|set_ms| at_ms < set_ms) {
            self.wake_at_ms = Some(at_ms);
            out.push(Effect::WakeAt(at_ms));
        }
    }

    /// In a word: off, joining, idle, holding, running, leaving, hung or down.
    pub fn state(&self) -> &'static str {
        let Some(digester) = self.digester.as_ref().filter(|_| self.is_on) else {
            return if self.is_on { "down" } else { "off" };
        };
        if self.stopped_until_ms.is_some() {
            "hung"
        } else if digester.uplink.node().is_none() {
            "joining"
        } else if digester.going.is_some() || digester.draining {
            "leaving"
        } else if self.processes.live().next().is_some() {
            "running"
        } else if digester.table.is_waiting() {
            "holding"
        } else {
            "idle"
        }
    }

    /// Attempts whose processes live.
    pub fn running(&self) -> Vec<AttemptId> {
        self.processes.live().map(|(_, process)| process.attempt).collect()
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The node that it has joined as, since it has power.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// The session of its spool, since it has power.
    pub fn session(&self) -> Option<u64> {
        self.session
    }
}

fn close(digester: &Digester, out: &mut Vec<Effect>) {
    if let Some(node) = digester.uplink.node() {
        out.push(Effect::Closed { session: digester.spool.state().session(), node });
    }
}

/// A step of SplitMix64: numbers that follow one another give numbers that look like chance.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
