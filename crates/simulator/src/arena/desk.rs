//! What a policy sees and does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use market::recorded::{Bought, Ended, Event, MachineNo, Recorded, Recording};
use model::{MicroUsd, PurchaseOption, Resources};

use crate::books::{Books, Stay};
use crate::jobs::{JobWork, TaskKey};
use crate::work::Cut;

/// A task that has arrived and is not done.
#[derive(Debug, Clone)]
pub struct TaskState {
    /// Its job.
    pub job: Arc<JobWork>,
    /// Work that need not be done again.
    pub done_ms: u64,
    /// Where it is, if it is anywhere.
    pub attempt: Option<Attempt>,
    /// Attempts so far.
    pub starts: u32,
    /// Where its checkpoint lies.
    pub zone: Option<Arc<str>>,
}

/// A task on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The machine.
    pub machine: MachineNo,
    /// When its changeover begins or began: later than now while the machine boots.
    pub start_ms: u64,
}

impl TaskState {
    /// Work left at a moment, what its attempt has done by then counted.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        let work = &self.job.work;
        let run = self.attempt.map_or(0, |attempt| now_ms.saturating_sub(attempt.start_ms));
        let worked = work.course(self.done_ms, run, Cut::Told { notice_ms: u64::MAX });
        work.work_ms.saturating_sub(self.done_ms).saturating_sub(worked.lasting_ms)
    }

    /// What is left of its attempt's changeover at a moment.
    pub fn changeover_left_ms(&self, now_ms: u64) -> u64 {
        let Some(attempt) = self.attempt else { return 0 };
        let end = attempt.start_ms.saturating_add(self.job.work.changeover_ms);
        end.saturating_sub(now_ms)
    }
}

/// A machine of the policy's.
#[derive(Debug, Clone)]
pub struct Held {
    /// What was bought.
    pub bought: Bought,
    /// When it takes work.
    pub ready_ms: u64,
    /// Whose tasks are on it.
    pub tasks: BTreeSet<TaskKey>,
    /// What is not reserved.
    pub free: Resources,
    /// Since when it has had no task.
    pub idle_since_ms: Option<u64>,
}

/// What has happened since the last decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A task has come.
    Arrived(TaskKey),
    /// A task is done.
    Done(TaskKey),
    /// A machine takes work from now on.
    Booted(MachineNo),
    /// A machine will be taken back.
    Notice {
        /// Which.
        machine: MachineNo,
        /// When.
        deadline_ms: u64,
    },
    /// A machine was taken back; these tasks were on it and wait.
    Reclaimed(MachineNo, Vec<TaskKey>),
    /// A pool's price or depth has changed.
    Moved(usize),
}

/// A policy's desk.
#[derive(Debug)]
pub struct Desk {
    pub(super) market: Recorded,
    pub(super) books: Books,
    pub(super) tasks: BTreeMap<TaskKey, TaskState>,
    pub(super) machines: BTreeMap<MachineNo, Held>,
    /// Those without a task.
    pub(super) idle: BTreeSet<MachineNo>,
    pub(super) news: Vec<News>,
    /// When tasks will be done, unless they are disturbed.
    pub(super) finishes: BTreeSet<(u64, TaskKey)>,
    /// When machines will have booted.
    pub(super) boots: BTreeSet<(u64, MachineNo)>,
    /// When the policy wants to be asked again.
    pub(super) wakes: BTreeSet<u64>,
    /// When the policy bought, assigned, stopped or ended anything last.
    pub(super) acted_ms: u64,
    /// When a task was done last.
    pub(super) done_ms: u64,
}

impl Desk {
    /// Now, from the begin of the run.
    pub fn now_ms(&self) -> u64 {
        self.market.now_ms()
    }

    /// The market. A policy that is not omniscient looks at the present tick only.
    pub fn recording(&self) -> &Arc<Recording> {
        self.market.recording()
    }

    /// Spot machines that a pool would give now.
    pub fn room(&self, pool: usize) -> u32 {
        self.market.room(pool)
    }

    /// A pool's price an hour now.
    pub fn price(&self, pool: usize, option: PurchaseOption) -> MicroUsd {
        self.market.price(pool, option)
    }

    /// Tasks that have arrived and are not done.
    pub fn tasks(&self) -> &BTreeMap<TaskKey, TaskState> {
        &self.tasks
    }

    /// Machines.
    pub fn machines(&self) -> &BTreeMap<MachineNo, Held> {
        &self.machines
    }

    /// Machines without a task.
    pub fn idle(&self) -> &BTreeSet<MachineNo> {
        &self.idle
    }

    /// What has happened since the last decision.
    pub fn news(&self) -> &[News] {
        &self.news
    }

    /// The machine that a task is on.
    pub fn machine_of(&self, task: TaskKey) -> Option<&Held> {
        let attempt = self.tasks.get(&task)?.attempt?;
        self.machines.get(&attempt.machine)
    }

    /// Buys a machine; `None` when the pool has none left.
    pub fn launch(&mut self, pool: usize, option: PurchaseOption) -> Option<MachineNo> {
        let capacity = self.recording().pools.get(pool)?.capacity;
        let no = self.market.launch(pool, option)?;
        let bought = *self.market.machine(no)?;
        let now = self.now_ms();
        let ready_ms = now.saturating_add(self.recording().boot_ms);
        if ready_ms > now {
            self.boots.insert((ready_ms, no));
        }
        let idle_since_ms = Some(now);
        let (tasks, free) = (BTreeSet::new(), capacity);
        self.acted_ms = now;
        self.idle.insert(no);
        self.machines.insert(no, Held { bought, ready_ms, tasks, free, idle_since_ms });
        Some(no)
    }

    /// Puts a waiting task on a machine; false when it does not fit, or is on one already. It begins
    /// when the machine has booted.
    pub fn assign(&mut self, key: TaskKey, no: MachineNo) -> bool {
        let now = self.now_ms();
        let recording = self.market.recording().clone();
        let (Some(task), Some(held)) = (self.tasks.get_mut(&key), self.machines.get_mut(&no))
        else {
            return false;
        };
        if task.attempt.is_some() || !held.free.holds(&task.job.ask) {
            return false;
        }
        self.acted_ms = now;
        self.idle.remove(&no);
        held.tasks.insert(key);
        held.free -= task.job.ask;
        held.idle_since_ms = None;
        let start_ms = now.max(held.ready_ms);
        task.attempt = Some(Attempt { machine: no, start_ms });
        let done_at = start_ms.saturating_add(task.job.work.runtime_ms(task.done_ms));
        self.finishes.insert((done_at, key));
        let Some(pool) = recording.pools.get(held.bought.pool) else { return true };
        task.starts += 1;
        self.books.start(key);
        if let Some(zone) = task.zone.replace(pool.zone.clone()) {
            let cost = task.job.egress(&recording, &zone, &pool.zone);
            self.books.egress(&self.market, key, cost);
        }
        true
    }

    /// Takes a task off its machine, with its checkpoint written; false when it is on none.
    pub fn stop(&mut self, key: TaskKey) -> bool {
        self.acted_ms = self.now_ms();
        self.detach(key, Cut::Told { notice_ms: u64::MAX }).is_some()
    }

    /// Ends a machine; its tasks wait again, with their checkpoints written.
    pub fn end(&mut self, no: MachineNo) {
        let tasks = self.machines.get(&no).map(|held| held.tasks.clone()).unwrap_or_default();
        for task in tasks {
            self.stop(task);
        }
        if let Some(ended) = self.market.end(no) {
            self.acted_ms = ended.at_ms;
            self.close(&ended);
        }
    }

    /// Asks to be asked again at a moment, if nothing happens before.
    pub fn wake_at(&mut self, at_ms: u64) {
        if at_ms > self.now_ms() {
            self.wakes.insert(at_ms);
        }
    }

    /// Ends a task's attempt now; its job is charged.
    pub(super) fn detach(&mut self, key: TaskKey, cut: Cut) -> Option<()> {
        let now = self.now_ms();
        let task = self.tasks.get_mut(&key)?;
        let attempt = task.attempt.take()?;
        let work = task.job.work;
        let done_at = attempt.start_ms.saturating_add(work.runtime_ms(task.done_ms));
        self.finishes.remove(&(done_at, key));
        let ran_ms = now.saturating_sub(attempt.start_ms);
        let course = work.course(task.done_ms, ran_ms, cut);
        task.done_ms += course.lasting_ms;
        let held = self.machines.get_mut(&attempt.machine)?;
        held.tasks.remove(&key);
        held.free += task.job.ask;
        if held.tasks.is_empty() {
            held.idle_since_ms = Some(now);
            self.idle.insert(attempt.machine);
        }
        let capacity = self.market.recording().pools.get(held.bought.pool)?.capacity;
        let share_ppm = capacity.share_ppm(&task.job.ask);
        let from_ms = attempt.start_ms.min(now);
        let stay = Stay { task: key, from_ms, to_ms: now, share_ppm, course };
        self.books.stay(&self.market, &held.bought, &stay);
        Some(())
    }

    pub(super) fn close(&mut self, ended: &Ended) {
        self.idle.remove(&ended.machine.no);
        if let Some(held) = self.machines.remove(&ended.machine.no) {
            self.boots.remove(&(held.ready_ms, ended.machine.no));
        }
        self.books.ended(&self.market, ended);
    }

    /// The market has gone on.
    pub(super) fn heed(&mut self, event: Event) {
        match event {
            Event::Moved { pool } => self.news.push(News::Moved(pool)),
            Event::Notice { machine, deadline_ms } => {
                if let Some(held) = self.machines.get_mut(&machine) {
                    held.bought.deadline_ms = Some(deadline_ms);
                }
                self.news.push(News::Notice { machine, deadline_ms });
            }
            Event::Reclaimed(ended) => {
                let no = ended.machine.no;
                let tasks = self.machines.get(&no).map(|held| held.tasks.clone());
                let tasks: Vec<TaskKey> = tasks.unwrap_or_default().into_iter().collect();
                let cut = match ended.machine.deadline_ms {
                    Some(_) => Cut::Told { notice_ms: self.recording().notice_ms },
                    None => Cut::Sudden,
                };
                for task in &tasks {
                    self.detach(*task, cut);
                }
                self.close(&ended);
                self.news.push(News::Reclaimed(no, tasks));
            }
        }
    }
}
