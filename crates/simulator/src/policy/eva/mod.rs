//! Eva (EuroSys 2025): reservation prices decide which tasks share which machines, and what a
//! reconfiguration saves before the next one decides how much is moved.

mod front;
mod history;
mod loose;
mod plan;
mod provision;
mod round;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod trial;

use std::collections::{BTreeMap, BTreeSet};

use market::recorded::{DecideAt, MachineNo};

pub(crate) use self::front::{Choice, Front};
use self::history::History;
use self::loose::{PPM, Throughput};
use self::plan::Plan;
use self::round::{Chosen, Round};
use crate::arena::{Desk, News};
use crate::jobs::TaskKey;
use crate::policy::Policy;

/// Eva (EuroSys 2025), by its published code.
///
/// - A task's **reservation price** is that of the cheapest machine that holds it alone.
/// - Every 300 s a **round**: what waits is placed and what is dear is moved. Rounds before which
///   nothing has happened are left out. Where there are decisions at ticks only, it is at the first
///   tick after that.
/// - **Partial reconfiguration** places what waits and what is on machines whose tasks' reservation
///   prices do not reach their price: onto other machines first, the rest as full does.
/// - **Full reconfiguration** places everything: types by falling price, each filled by falling
///   reservation price, kept if that reaches its price, then the cheapest type that holds the same.
/// - **Full** is chosen if S·D̂ − M is more than partial's, in whole cents: S is what the
///   configuration saves against reservation prices, D̂ the expected time to the next full one
///   ([`History::lasts_ms`]), M what moving costs: here each moved task's own changeover at its
///   reservation price, its checkpoint's egress, and the boot of each new machine.
/// - Tasks in their changeover, and those that keep nothing when they are stopped, are not moved.
/// - **Throughput** beside others: Eva measures it and expects 0.95 a pair until it has. In our
///   markets neighbours do not slow each other down and tasks of a job do not wait for each other:
///   what it would measure is 1, and [`Eva::default`] begins with that. With less, a job of n tasks
///   values each at max(0, 1 − n(1 − throughput)) of its reservation price.
///
/// Eva buys on demand. Here a machine is bought spot where its pool has room and that is cheaper,
/// and reservation prices follow, so that a machine bought on demand is left when spot is worth the
/// move. Tasks of a machine that was taken back wait for the next round, like what arrives; one that
/// has got its notice takes no more tasks, and keeps those that it has. A machine without a task
/// ends at once, not at the next round.
#[derive(Debug)]
pub(crate) struct Eva {
    period_ms: u64,
    throughput: Throughput,
    front: Front,
    history: History,
    /// When the next round is, if something has happened since the last one.
    round_ms: Option<u64>,
    decided_ms: Option<u64>,
    waiting: BTreeSet<TaskKey>,
    machines: BTreeMap<TaskKey, MachineNo>,
    /// Tasks of each job that are not done.
    unfinished: BTreeMap<u32, u32>,
}

impl Default for Eva {
    fn default() -> Self {
        Self::new(300_000, PPM)
    }
}

impl Policy for Eva {
    fn decide(&mut self, desk: &mut Desk) {
        self.front.heed(desk);
        for news in desk.news().to_vec() {
            self.heed(desk, news);
        }
        let now_ms = desk.now_ms();
        if self.round_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.round_ms =
                self.round(desk).then(|| (now_ms / self.period_ms + 1) * self.period_ms);
        }
        if let Some(at_ms) = self.round_ms.filter(|_| !desk.tasks().is_empty()) {
            desk.wake_at(at_ms);
        }
        self.decided_ms = Some(now_ms);
    }
}

impl Eva {
    /// With a round every so often, and tasks so fast beside one other, in millionths.
    pub(crate) fn new(period_ms: u64, pair_ppm: u64) -> Self {
        Self {
            period_ms: period_ms.max(1),
            throughput: Throughput { pair_ppm: pair_ppm.min(PPM) },
            front: Front::default(),
            history: History::default(),
            round_ms: None,
            decided_ms: None,
            waiting: BTreeSet::new(),
            machines: BTreeMap::new(),
            unfinished: BTreeMap::new(),
        }
    }

    fn heed(&mut self, desk: &mut Desk, news: News) {
        match news {
            News::Arrived(task) => self.arrived(desk, task),
            News::Done(task) => self.done(desk, task),
            News::Reclaimed(_, tasks) => {
                for task in tasks {
                    self.machines.remove(&task);
                    self.waiting.insert(task);
                }
            }
            News::Moved(_) | News::Notice { .. } => {}
            News::Booted(_) => return,
        }
        // Where there are decisions at ticks only, it happened after the last one.
        let since_ms = match desk.recording().decide_at {
            DecideAt::Event => desk.now_ms(),
            DecideAt::Tick => self.decided_ms.map_or(0, |at_ms| at_ms + 1),
        };
        let next_ms = since_ms.div_ceil(self.period_ms) * self.period_ms;
        self.round_ms = self.round_ms.or(Some(next_ms));
    }

    /// What no type holds is left where it is.
    fn arrived(&mut self, desk: &Desk, key: TaskKey) {
        let Some(task) = desk.tasks().get(&key) else { return };
        if desk.recording().pools.iter().any(|pool| pool.capacity.holds(&task.job.ask)) {
            self.waiting.insert(key);
        }
        if self.unfinished.insert(key.job, task.job.count).is_none() {
            self.history.event(task.job.arrival_ms);
        }
    }

    fn done(&mut self, desk: &mut Desk, task: TaskKey) {
        if let Some(unfinished) = self.unfinished.get_mut(&task.job) {
            *unfinished = unfinished.saturating_sub(1);
            if *unfinished == 0 {
                self.history.event(desk.now_ms());
            }
        }
        if let Some(machine) = self.machines.remove(&task) {
            self.end_if_empty(desk, machine);
        }
    }

    fn end_if_empty(&mut self, desk: &mut Desk, machine: MachineNo) {
        let Some(held) = desk.machines().get(&machine) else { return };
        if held.tasks.is_empty() {
            let bought = held.bought;
            desk.end(machine);
            self.front.touch(desk, bought.pool, bought.option);
        }
    }

    /// A round; tells whether the next one may do what this one could not.
    fn round(&mut self, desk: &mut Desk) -> bool {
        if self.waiting.is_empty() && desk.machines().is_empty() {
            return false;
        }
        let lasts_ms = self.history.lasts_ms(desk.now_ms());
        let round = Round::new(desk, &mut self.front, &self.waiting, self.throughput);
        let is_settling = round.is_settling;
        let Chosen { plan, is_full } = round.choose(lasts_ms);
        if is_full {
            self.history.full();
        }
        self.carry_out(desk, plan);
        is_settling || !self.waiting.is_empty()
    }

    fn carry_out(&mut self, desk: &mut Desk, plan: Plan) {
        let mut left = BTreeSet::new();
        let stays = plan.kept.iter().map(|kept| (Some(kept.machine), &kept.come));
        for (machine, tasks) in stays.chain(plan.bins.iter().map(|bin| (bin.machine, &bin.tasks))) {
            for (task, _) in tasks {
                let from = self.machines.get(task).copied();
                if from.is_some() && from != machine && desk.stop(*task) {
                    left.extend(from);
                    self.machines.remove(task);
                    self.waiting.insert(*task);
                }
            }
        }
        for kept in plan.kept {
            self.assign(desk, &kept.come, kept.machine);
        }
        for bin in plan.bins {
            let machine = bin.machine.or_else(|| desk.launch(bin.pool, bin.option));
            self.front.touch(desk, bin.pool, bin.option);
            if let Some(machine) = machine {
                self.assign(desk, &bin.tasks, machine);
            }
        }
        for machine in left {
            self.end_if_empty(desk, machine);
        }
    }

    fn assign(&mut self, desk: &mut Desk, tasks: &[(TaskKey, i64)], machine: MachineNo) {
        for (task, _) in tasks {
            if desk.assign(*task, machine) {
                self.waiting.remove(task);
                self.machines.insert(*task, machine);
            }
        }
        self.end_if_empty(desk, machine);
    }
}
