//! Stratus (SoCC 2018): tasks of like remaining run time share machines, so that machines are full
//! or empty.

mod racks;
mod scale;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use market::recorded::MachineNo;
use model::Resources;

use self::racks::{Racks, Wanted};
use self::scale::{Smallest, Waiting};
use crate::arena::{Desk, Held, News, TaskState};
use crate::jobs::TaskKey;
use crate::policy::Policy;
use crate::policy::eva::Front;
use crate::work::Checkpoint;

/// Stratus (SoCC 2018), as coded for the comparison in Eva (EuroSys 2025).
///
/// - **Bins**: a task's is the whole part of the binary logarithm of the seconds that it still has
///   to run, the changeover included; a machine's is the highest of its tasks'. Run times are known,
///   as in both papers' evaluation.
/// - **Packing**, by the tasks' order: of the same bin the machine that ends closest to the task;
///   else of a higher bin the one with most room; else of a lower bin the one with most room.
/// - **Scale-out** for what fits nowhere: the longest first, groups of the next 1, 2, 3, … tasks;
///   for each the type on which they use most of what constrains them there, in units of the
///   smallest type's, for its price. That compares amounts of different resources: of families
///   with little memory for their price it may take a large type that memory constrains over one a
///   third as dear that cores constrain, and does so with SURF's jobs. The rule is the paper's.
/// - **Scale-in**: a machine on which less than half of everything is used gives its tasks back to
///   packing and scale-out, unless it has one task and there is no cheaper machine for that. It is
///   asked when a task has left it and no other is in its changeover.
///
/// The papers buy on demand. Here a machine is bought spot where its pool has room and that is
/// cheaper; tasks of one that was taken back wait again and are packed at once. One that has got its
/// notice takes no more tasks, and keeps those that it has. Tasks that keep nothing when they are
/// stopped are not moved. A machine without a task ends at once.
#[derive(Debug, Default)]
pub(crate) struct Stratus {
    front: Front,
    smallest: Option<Smallest>,
    racks: Racks,
    waiting: BTreeSet<TaskKey>,
    machines: BTreeMap<TaskKey, MachineNo>,
    /// Machines that a task has left, and when they are looked at.
    shrunk: BTreeSet<(u64, MachineNo)>,
    empty: BTreeSet<MachineNo>,
}

impl Policy for Stratus {
    fn decide(&mut self, desk: &mut Desk) {
        self.front.heed(desk);
        for news in desk.news().to_vec() {
            self.heed(desk, news);
        }
        self.place(desk);
        self.scale_in(desk);
        for machine in std::mem::take(&mut self.empty) {
            self.end(desk, machine);
        }
        if let Some((at_ms, _)) = self.shrunk.first() {
            desk.wake_at(*at_ms);
        }
    }
}

/// When a task will end or would, if it began now.
fn ends_ms(task: &TaskState, now_ms: u64) -> u64 {
    let from_ms = task.attempt.map_or(now_ms, |attempt| attempt.start_ms);
    from_ms.saturating_add(task.job.work.runtime_ms(task.done_ms))
}

impl Stratus {
    fn heed(&mut self, desk: &Desk, news: News) {
        match news {
            News::Arrived(task) => self.wait(desk, task),
            News::Done(task) => {
                if let Some(machine) = self.machines.remove(&task) {
                    self.refresh(desk, machine);
                    self.shrunk.insert((desk.now_ms(), machine));
                }
            }
            News::Notice { machine, .. } => self.racks.remove(machine),
            News::Reclaimed(machine, tasks) => {
                self.racks.remove(machine);
                self.empty.remove(&machine);
                for task in tasks {
                    self.machines.remove(&task);
                    self.wait(desk, task);
                }
            }
            News::Booted(_) | News::Moved(_) => {}
        }
    }

    /// What no type holds is left where it is.
    fn wait(&mut self, desk: &Desk, key: TaskKey) {
        let Some(task) = desk.tasks().get(&key) else { return };
        let ask = task.job.ask;
        if desk.recording().pools.iter().any(|pool| pool.capacity.holds(&ask)) {
            self.racks.expect(ask);
            self.waiting.insert(key);
        }
    }

    /// Looks at a machine anew.
    fn refresh(&mut self, desk: &Desk, machine: MachineNo) {
        let Some(held) = desk.machines().get(&machine) else { return };
        if held.tasks.is_empty() {
            self.empty.insert(machine);
        } else {
            self.empty.remove(&machine);
        }
        if held.bought.deadline_ms.is_none() {
            let ends = held.tasks.iter().filter_map(|key| desk.tasks().get(key));
            let ends = ends.map(|task| ends_ms(task, desk.now_ms())).max();
            self.racks.set(machine, ends.unwrap_or(0), held.free);
        }
    }

    /// Packs what waits, and buys for the rest.
    fn place(&mut self, desk: &mut Desk) {
        self.pack(desk);
        // A pool that runs dry leaves what was meant for it: the next best is looked for.
        while !self.waiting.is_empty() && self.scale_out(desk) {}
    }

    fn pack(&mut self, desk: &mut Desk) {
        // Room only shrinks meanwhile: what did not fit anywhere does not fit later.
        let mut unheld: Vec<Resources> = Vec::new();
        for key in self.waiting.clone() {
            let Some(task) = desk.tasks().get(&key) else { continue };
            let (ask, now_ms) = (task.job.ask, desk.now_ms());
            if unheld.iter().any(|other| ask.holds(other)) {
                continue;
            }
            match self.racks.pick(&Wanted { ask, now_ms, ends_ms: ends_ms(task, now_ms) }) {
                Some(machine) => self.assign(desk, key, machine),
                None => unheld.push(ask),
            }
        }
    }

    fn assign(&mut self, desk: &mut Desk, key: TaskKey, machine: MachineNo) {
        if desk.assign(key, machine) {
            self.waiting.remove(&key);
            self.machines.insert(key, machine);
            self.refresh(desk, machine);
        }
    }

    /// Buys for what waits; false when that did nothing.
    fn scale_out(&mut self, desk: &mut Desk) -> bool {
        let smallest = *self.smallest.get_or_insert_with(|| Smallest::of(&desk.recording().pools));
        let waiting = self.waiting.iter().filter_map(|key| {
            let task = desk.tasks().get(key)?;
            let runtime_ms = task.job.work.runtime_ms(task.done_ms);
            Some(Waiting { task: *key, ask: task.job.ask, runtime_ms })
        });
        let groups = scale::groups(waiting.collect(), self.front.now(desk));
        let mut is_any = false;
        for group in groups {
            let sum = group.iter().fold(Resources::default(), |sum, it| sum + it.ask);
            let Some(offer) = smallest.best(&sum, self.front.now(desk)) else { continue };
            let Some(machine) = desk.launch(offer.pool, offer.option()) else { continue };
            self.front.touch(desk, offer.pool, offer.option());
            for it in group {
                self.assign(desk, it.task, machine);
            }
            is_any = true;
        }
        is_any
    }

    fn scale_in(&mut self, desk: &mut Desk) {
        let now_ms = desk.now_ms();
        while let Some((_, machine)) = self.shrunk.first().copied().filter(|it| it.0 <= now_ms) {
            self.shrunk.pop_first();
            let Some(held) = desk.machines().get(&machine) else { continue };
            let tasks = || held.tasks.iter().filter_map(|key| desk.tasks().get(key));
            let begins_ms = tasks().map(|task| task.changeover_left_ms(now_ms)).max();
            match begins_ms {
                Some(later_ms) if later_ms > 0 => {
                    self.shrunk.insert((now_ms + later_ms, machine));
                }
                Some(_) if tasks().all(can_move) => self.empty_out(desk, machine),
                Some(_) | None => {}
            }
        }
    }

    fn empty_out(&mut self, desk: &mut Desk, machine: MachineNo) {
        let Some(held) = desk.machines().get(&machine) else { return };
        if held.bought.deadline_ms.is_some() || !self.is_to_empty(desk, held) {
            return;
        }
        let tasks = held.tasks.clone();
        self.racks.remove(machine);
        for task in tasks {
            desk.stop(task);
            self.machines.remove(&task);
            self.waiting.insert(task);
        }
        self.end(desk, machine);
        self.place(desk);
    }

    fn is_to_empty(&mut self, desk: &Desk, held: &Held) -> bool {
        let Some(pool) = desk.recording().pools.get(held.bought.pool) else { return false };
        if !scale::is_underused(&pool.capacity, &held.free) {
            return false;
        }
        let only = held.tasks.first().filter(|_| held.tasks.len() == 1);
        let Some(only) = only.and_then(|key| desk.tasks().get(key)) else { return true };
        let price = desk.price(held.bought.pool, held.bought.option);
        let holds = |it: &&super::eva::Choice| it.capacity.holds(&only.job.ask);
        self.front.now(desk).iter().find(holds).is_some_and(|it| it.offer.price < price)
    }

    fn end(&mut self, desk: &mut Desk, machine: MachineNo) {
        let bought = desk.machines().get(&machine).map(|held| held.bought);
        self.racks.remove(machine);
        self.empty.remove(&machine);
        desk.end(machine);
        if let Some(bought) = bought {
            self.front.touch(desk, bought.pool, bought.option);
        }
    }
}

/// Whether a task that is stopped goes on where it was.
fn can_move(task: &TaskState) -> bool {
    task.job.work.checkpoint != Checkpoint::None
}
