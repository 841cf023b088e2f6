//! Tasks that a plan has to place, by classes of equal asks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use market::recorded::MachineNo;
use model::{Clamp, Resources};

use super::front::Choice;
use crate::jobs::TaskKey;

/// Tasks that a plan may take for one another.
#[derive(Debug, Clone)]
pub(super) struct Class {
    /// What each needs.
    pub ask: Resources,
    /// Tasks of its job: how many a slow one slows down.
    pub gang: u32,
    /// Reservation price at the round's begin, micro-USD an hour.
    pub worth: i64,
    /// The same by what is still to be had.
    pub price: i64,
    /// How many are to be placed.
    pub count: u32,
    waiting: BTreeSet<TaskKey>,
    on: BTreeMap<MachineNo, BTreeSet<TaskKey>>,
}

impl Class {
    /// Whether one of them is on a machine.
    pub(super) fn is_on(&self, machine: MachineNo) -> bool {
        self.on.contains_key(&machine)
    }

    fn take(&mut self, machine: Option<MachineNo>) -> Option<TaskKey> {
        let here = machine.filter(|machine| self.on.contains_key(machine));
        let task = match here {
            Some(here) => self.take_off(here),
            None => self.waiting.pop_first().or_else(|| {
                let first = *self.on.first_key_value()?.0;
                self.take_off(first)
            }),
        };
        self.count -= u32::from(task.is_some());
        task
    }

    fn take_off(&mut self, machine: MachineNo) -> Option<TaskKey> {
        let tasks = self.on.get_mut(&machine)?;
        let task = tasks.pop_first();
        if tasks.is_empty() {
            self.on.remove(&machine);
        }
        task
    }
}

/// What distinguishes classes.
pub(super) type Kind = (Resources, u32);

/// Tasks to be placed; those of the highest reservation price come first.
#[derive(Debug, Clone, Default)]
pub(super) struct Loose {
    classes: Vec<Class>,
}

impl Loose {
    /// Of tasks with their kinds and where they are; `worth` tells the kinds' reservation prices.
    pub(super) fn new(
        tasks: impl Iterator<Item = (TaskKey, Kind, Option<MachineNo>)>,
        worth: impl Fn(&Kind) -> i64,
    ) -> Self {
        let mut classes: BTreeMap<Kind, Class> = BTreeMap::new();
        for (task, kind, machine) in tasks {
            let class = classes.entry(kind).or_insert_with(|| {
                let worth = worth(&kind);
                let (waiting, on) = (BTreeSet::new(), BTreeMap::new());
                let (ask, gang) = kind;
                Class { ask, gang, worth, price: worth, count: 0, waiting, on }
            });
            class.count += 1;
            match machine {
                Some(machine) => class.on.entry(machine).or_default().insert(task),
                None => class.waiting.insert(task),
            };
        }
        let mut loose = Self { classes: classes.into_values().collect() };
        loose.sort();
        loose
    }

    fn sort(&mut self) {
        self.classes.sort_by_key(|class| (Reverse(class.price), class.ask, class.gang));
    }

    /// All classes, the highest reservation price first.
    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Whether all is placed.
    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.count == 0)
    }

    /// Whether a task of a machine's is still to be placed.
    pub(super) fn is_on(&self, machine: MachineNo) -> bool {
        self.classes.iter().any(|class| class.is_on(machine))
    }

    /// All reservation prices together.
    pub(super) fn price(&self) -> i128 {
        let price = |class: &Class| i128::from(class.price) * i128::from(class.count);
        self.classes.iter().map(price).sum()
    }

    /// Takes tasks of a class for a machine: those that are there, then those that wait.
    pub(super) fn take(
        &mut self,
        class: usize,
        count: u32,
        machine: Option<MachineNo>,
    ) -> Vec<(TaskKey, i64)> {
        let Some(class) = self.classes.get_mut(class) else { return Vec::new() };
        let worth = class.worth;
        (0..count).map_while(|_| class.take(machine)).map(|task| (task, worth)).collect()
    }

    /// Reservation prices by what is still to be had. A class that nothing holds keeps its own.
    pub(super) fn reprice(&mut self, choices: &[Choice]) {
        self.classes.retain(|class| class.count > 0);
        for class in &mut self.classes {
            class.price = reservation(choices, &class.ask).unwrap_or(class.price);
        }
        self.sort();
    }
}

/// The reservation price of a task: that of the cheapest machine that holds it alone.
pub(super) fn reservation(choices: &[Choice], ask: &Resources) -> Option<i64> {
    choices.iter().find(|choice| choice.capacity.holds(ask)).map(|choice| choice.offer.price.0)
}

/// How well a task fits: its shares of a machine times what is free there, in 10^-12.
pub(super) fn alignment(ask: &Resources, free: &Resources, capacity: &Resources) -> u64 {
    let part = |ask: u32, free: u32, whole: u32| {
        let share = |part: u32| (u64::from(part) * 1_000_000).checked_div(u64::from(whole));
        share(ask).unwrap_or(0) * share(free).unwrap_or(0)
    };
    part(ask.cpu_millis, free.cpu_millis, capacity.cpu_millis)
        + part(ask.memory_mib, free.memory_mib, capacity.memory_mib)
        + part(ask.disk_mib, free.disk_mib, capacity.disk_mib)
        + part(ask.gpus, free.gpus, capacity.gpus)
}

/// How fast tasks run beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throughput {
    /// Of a task beside one other, in millionths of what it does alone.
    pub pair_ppm: u64,
}

pub(super) const PPM: u64 = 1_000_000;

impl Throughput {
    /// Of a task beside others: the product over pairs.
    pub(super) fn beside(self, others: u32) -> i128 {
        if self.pair_ppm == PPM {
            return i128::from(PPM);
        }
        let step = |ppm: u64| ppm * self.pair_ppm / PPM;
        i128::from((0..others.min(1_000)).fold(PPM, |ppm, _| step(ppm)))
    }

    /// The same with what it costs its job, whose tasks wait for the slowest one.
    pub(super) fn in_job(self, others: u32, tasks: u32) -> i128 {
        let ppm = i128::from(PPM);
        (ppm - i128::from(tasks) * (ppm - self.beside(others))).max(0)
    }

    /// Whether neighbours do not matter.
    pub(super) fn is_full(self) -> bool {
        self.pair_ppm == PPM
    }
}

/// A set's size, for [`Throughput::beside`].
pub(super) fn others(count: usize) -> u32 {
    count.saturating_sub(1).clamped()
}
