//! What goes on under a digester and without it: processes, the spawner that is their parent, the
//! exits that it keeps, and the orders on their way to it.

use std::collections::{BTreeMap, VecDeque};

use model::{AttemptId, GroupSpec};
use node::{Exit, ExitStatus};
use rand::RngExt;

use super::Effect;
use crate::{Dice, Fault};

/// How long a process runs that does not say so.
const RUN_MS: u64 = 1_000;
/// An order is on its way for so long.
const ORDER_MS: u64 = 1;
/// Without a digester for so long, a spawner ends the tasks and itself.
const ORPHAN_MS: u64 = 600_000;
const SEGMENTATION_FAULT: i32 = 11;
const KILLED: i32 = 9;
const TERMINATED: i32 = 15;

/// To the spawner.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Spawn(Vec<Launch>),
    Signal { attempts: Vec<AttemptId>, kill: bool },
    Forget(Vec<AttemptId>),
}

/// One process to start.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) attempt: AttemptId,
    pub(super) spec: std::sync::Arc<GroupSpec>,
}

/// From the spawner.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Spawned(AttemptId, u32),
    Exited(AttemptId, Exit),
}

/// What a new connection is told: what runs, by pid and age, and what ended and was not forgotten.
#[derive(Debug, Default)]
pub(super) struct Hello {
    pub(super) running: Vec<(AttemptId, u32, u64)>,
    pub(super) exited: Vec<(AttemptId, Exit)>,
}

/// Who learns how a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    Spawner,
    /// Since the spawner died.
    Digester,
    /// Since both did: nobody will.
    Init,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) attempt: AttemptId,
    pub(super) since_ms: u64,
    pub(super) parent: Parent,
    /// Its end, once it has come and its parent has not looked.
    pub(super) over: Option<ExitStatus>,
    /// Whether the spawner has signalled it.
    signalled: bool,
    /// Whether it has been told to end.
    told: bool,
    /// One that hangs has none.
    ends_at_ms: Option<u64>,
    ends: ExitStatus,
}

/// All that runs beside the digester.
#[derive(Debug, Default)]
pub(super) struct Processes {
    all: BTreeMap<u32, Process>,
    pub(super) spawner: bool,
    exits: BTreeMap<AttemptId, Exit>,
    orders: VecDeque<(u64, Order)>,
    /// To the digester, if it is there.
    pub(super) said: Vec<Said>,
    alone_since_ms: Option<u64>,
    last_pid: u32,
}

impl Processes {
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, &Process)> {
        self.all.iter().filter(|(_, it)| it.over.is_none()).map(|(pid, it)| (*pid, it))
    }

    pub(super) fn get(&self, pid: u32) -> Option<&Process> {
        self.all.get(&pid)
    }

    /// When something ends or an order arrives.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let ends = self.live().filter_map(|(_, it)| it.ends_at_ms).min();
        let order = self.orders.front().map(|(at_ms, _)| *at_ms);
        let orphan = self.alone_since_ms.map(|since_ms| since_ms + ORPHAN_MS);
        [ends, order, orphan].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn go_on(&mut self, now_ms: u64, dice: &mut Dice, out: &mut Vec<Effect>) {
        while self.next_due_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let over: Vec<u32> = self
                .live()
                .filter(|(_, it)| it.ends_at_ms.is_some_and(|at_ms| at_ms <= now_ms))
                .map(|(pid, _)| pid)
                .collect();
            for pid in over {
                let ends = self.all.get(&pid).map_or(ExitStatus::Code(0), |it| it.ends);
                self.end(pid, ends, now_ms, out);
            }
            while self.orders.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms)
                && let Some((_, order)) = self.orders.pop_front()
            {
                self.obey(order, now_ms, dice, out);
            }
            if self.alone_since_ms.is_some_and(|since_ms| since_ms + ORPHAN_MS <= now_ms) {
                self.quit(now_ms, out);
            }
        }
    }

    pub(super) fn order(&mut self, order: Order, now_ms: u64) {
        if self.spawner {
            self.orders.push_back((now_ms + ORDER_MS, order));
        }
    }

    fn obey(&mut self, order: Order, now_ms: u64, dice: &mut Dice, out: &mut Vec<Effect>) {
        match order {
            Order::Spawn(launches) => {
                for launch in launches {
                    self.spawn(&launch, now_ms, dice, out);
                }
            }
            Order::Signal { attempts, kill } => {
                for attempt in attempts {
                    let pid = self.of_spawner(attempt);
                    if let Some(process) = pid.and_then(|pid| self.all.get_mut(&pid)) {
                        process.signalled = true;
                    }
                    if let Some(pid) = pid {
                        self.signal(pid, kill, now_ms, dice, out);
                    }
                }
            }
            Order::Forget(attempts) => {
                for attempt in attempts {
                    self.exits.remove(&attempt);
                }
            }
        }
    }

    fn of_spawner(&self, attempt: AttemptId) -> Option<u32> {
        self.all
            .iter()
            .find(|(_, it)| it.attempt == attempt && it.parent == Parent::Spawner)
            .map(|(pid, _)| *pid)
    }

    fn spawn(&mut self, launch: &Launch, now_ms: u64, dice: &mut Dice, out: &mut Vec<Effect>) {
        self.last_pid += 1;
        let run_ms = launch.spec.env.get("RUN_MS").and_then(|text| text.parse().ok());
        let run_ms: u64 = run_ms.unwrap_or(RUN_MS);
        let (mut ends_at_ms, mut ends) = (Some(now_ms + run_ms), ExitStatus::Code(0));
        if dice.happens(Fault::ProcessFails, "starting", now_ms) {
            let kinds = if launch.spec.timeout_ms.is_some() { 3 } else { 2 };
            ends_at_ms = Some(now_ms + dice.how_much(Fault::ProcessFails, 0, run_ms));
            match dice.how_much(Fault::ProcessFails, 0, kinds) {
                0 => ends = ExitStatus::Code(1),
                1 => ends = ExitStatus::Code(2),
                2 => ends = ExitStatus::Signal(SEGMENTATION_FAULT),
                _ => ends_at_ms = None,
            }
        }
        let process = Process {
            attempt: launch.attempt,
            since_ms: now_ms,
            parent: Parent::Spawner,
            over: None,
            signalled: false,
            told: false,
            ends_at_ms,
            ends,
        };
        self.all.insert(self.last_pid, process);
        out.push(Effect::Started(launch.attempt));
        self.said.push(Said::Spawned(launch.attempt, self.last_pid));
    }

    /// A signal reaches a process.
    pub(super) fn signal(
        &mut self,
        pid: u32,
        kill: bool,
        now_ms: u64,
        dice: &mut Dice,
        out: &mut Vec<Effect>,
    ) {
        if kill {
            return self.end(pid, ExitStatus::Signal(KILLED), now_ms, out);
        }
        let Some(process) = self.all.get_mut(&pid).filter(|it| it.over.is_none() && !it.told)
        else {
            return;
        };
        process.told = true;
        if dice.happens(Fault::ProcessStubborn, "running", now_ms) {
            process.ends_at_ms = None;
            return;
        }
        let at_ms = now_ms + dice.plain().random_range(10..=500);
        if process.ends_at_ms.is_none_or(|ends_at_ms| at_ms < ends_at_ms) {
            process.ends_at_ms = Some(at_ms);
            process.ends = match dice.plain().random_range(0..4) {
                0 => ExitStatus::Code(0),
                1 => ExitStatus::Code(1),
                _ => ExitStatus::Signal(TERMINATED),
            };
        }
    }

    fn end(&mut self, pid: u32, status: ExitStatus, now_ms: u64, out: &mut Vec<Effect>) {
        let Some(process) = self.all.get_mut(&pid).filter(|it| it.over.is_none()) else { return };
        out.push(Effect::Over(process.attempt));
        process.over = Some(status);
        match process.parent {
            Parent::Digester => return,
            Parent::Init => {}
            Parent::Spawner => {
                let run_ms = now_ms.saturating_sub(process.since_ms);
                let (attempt, signalled) = (process.attempt, process.signalled);
                let exit = Exit { status, run_ms, signalled, alone: true };
                self.exits.insert(attempt, exit);
                self.said.push(Said::Exited(attempt, exit));
            }
        }
        self.all.remove(&pid);
    }

    /// The digester takes the exit of a child of its own.
    pub(super) fn reap(&mut self, pid: u32) {
        if self.all.get(&pid).is_some_and(|it| it.over.is_some()) {
            self.all.remove(&pid);
        }
    }

    /// A digester connects to the spawner that is there, or to one that it starts.
    pub(super) fn hello(&mut self, now_ms: u64) -> Hello {
        self.spawner = true;
        self.alone_since_ms = None;
        self.said.clear();
        let running = self
            .live()
            .filter(|(_, it)| it.parent == Parent::Spawner)
            .map(|(pid, it)| (it.attempt, pid, now_ms.saturating_sub(it.since_ms)));
        Hello {
            running: running.collect(),
            exited: self.exits.iter().map(|(attempt, exit)| (*attempt, *exit)).collect(),
        }
    }

    /// The digester is gone. What it had written to the socket arrives; of what it had not, nobody
    /// will know.
    pub(super) fn digester_gone(&mut self, now_ms: u64, dice: &mut Dice, out: &mut Vec<Effect>) {
        let arrive = dice.plain().random_range(0..=self.orders.len());
        let orders: Vec<Order> = self.orders.drain(..).map(|(_, order)| order).collect();
        for order in orders.into_iter().take(arrive) {
            self.obey(order, now_ms, dice, out);
        }
        self.said.clear();
        self.alone_since_ms = self.spawner.then_some(now_ms);
        for process in self.all.values_mut() {
            if process.parent == Parent::Digester {
                process.parent = Parent::Init;
            }
        }
        self.all.retain(|_, it| it.over.is_none());
    }

    /// The spawner is killed: its children come to the digester, if that lives. Answers whether there
    /// was one.
    pub(super) fn spawner_gone(&mut self, heir: Parent) -> bool {
        self.orders.clear();
        self.alone_since_ms = None;
        for process in self.all.values_mut() {
            if process.parent == Parent::Spawner {
                process.parent = heir;
            }
        }
        std::mem::replace(&mut self.spawner, false)
    }

    /// The spawner ends its children, keeps how they ended, and ends itself.
    pub(super) fn quit(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        self.orders.clear();
        self.alone_since_ms = None;
        for process in self.all.values_mut() {
            process.signalled = true;
        }
        let children = |it: &Process| it.parent == Parent::Spawner;
        let pids: Vec<u32> =
            self.all.iter().filter(|(_, it)| children(it)).map(|(pid, _)| *pid).collect();
        for pid in pids {
            self.end(pid, ExitStatus::Signal(KILLED), now_ms, out);
        }
        self.spawner = false;
    }

    /// The machine is off. `exits`: whether the file of exits is still there.
    pub(super) fn power_off(&mut self, exits: bool, out: &mut Vec<Effect>) {
        out.extend(self.live().map(|(_, it)| Effect::Over(it.attempt)));
        let exits = if exits { std::mem::take(&mut self.exits) } else { BTreeMap::new() };
        *self = Self { exits, ..Self::default() };
    }
}
