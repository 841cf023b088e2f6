//! Machines by when their last task ends and by what is free on them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use market::recorded::MachineNo;
use model::Resources;

/// What is known of a machine that takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rack {
    ends_ms: u64,
    free: Resources,
}

/// Machines that take tasks.
#[derive(Debug, Default)]
pub(super) struct Racks {
    all: BTreeMap<MachineNo, Rack>,
    /// Of those that have room for the least of asks: by the end of their last task.
    by_end: BTreeSet<(u64, MachineNo)>,
    /// And by the sum of what is free, the most first.
    by_room: BTreeSet<(Reverse<u64>, MachineNo)>,
    /// The least of each resource that any task has asked for.
    least: Option<Resources>,
}

/// Where a task goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// What it needs.
    pub ask: Resources,
    /// Now.
    pub now_ms: u64,
    /// When it would end if it began now.
    pub ends_ms: u64,
}

/// The bin of a time until the end: the whole part of its seconds' binary logarithm; what is less
/// than a second is in bin 0.
pub(super) fn bin(remaining_ms: u64) -> u32 {
    (remaining_ms / 1_000).max(1).ilog2()
}

/// Devices, cores and GiB, added up as Eva's Stratus does, in thousandths.
fn sum(amount: Resources) -> u64 {
    u64::from(amount.gpus) * 1_000
        + u64::from(amount.cpu_millis)
        + u64::from(amount.memory_mib) * 1_000 / 1_024
}

impl Racks {
    /// Puts a machine in, or says anew what is on it. Without a task it ends at 0.
    pub(super) fn set(&mut self, machine: MachineNo, ends_ms: u64, free: Resources) {
        self.remove(machine);
        let rack = Rack { ends_ms, free };
        self.all.insert(machine, rack);
        self.index(machine, rack);
    }

    /// Takes a machine out.
    pub(super) fn remove(&mut self, machine: MachineNo) {
        if let Some(rack) = self.all.remove(&machine) {
            self.by_end.remove(&(rack.ends_ms, machine));
            self.by_room.remove(&(Reverse(sum(rack.free)), machine));
        }
    }

    fn index(&mut self, machine: MachineNo, rack: Rack) {
        if self.least.is_some_and(|least| rack.free.holds(&least)) {
            self.by_end.insert((rack.ends_ms, machine));
            self.by_room.insert((Reverse(sum(rack.free)), machine));
        }
    }

    /// Says that such a task has come: machines that hold no task that ever came are passed over.
    pub(super) fn expect(&mut self, ask: Resources) {
        let least = self.least.map_or(ask, |least| Resources {
            cpu_millis: least.cpu_millis.min(ask.cpu_millis),
            memory_mib: least.memory_mib.min(ask.memory_mib),
            disk_mib: least.disk_mib.min(ask.disk_mib),
            gpus: least.gpus.min(ask.gpus),
        });
        if self.least != Some(least) {
            self.least = Some(least);
            let all: Vec<_> = self.all.iter().map(|(no, rack)| (*no, *rack)).collect();
            for (machine, rack) in all {
                self.index(machine, rack);
            }
        }
    }

    /// The machine for a task: of its own bin the one that ends closest to it; else of a higher bin
    /// the one with most room; else of a lower bin the one with most room.
    pub(super) fn pick(&self, wanted: &Wanted) -> Option<MachineNo> {
        self.of_its_bin(wanted).or_else(|| self.of_another_bin(wanted))
    }

    fn holds(&self, machine: MachineNo, wanted: &Wanted) -> bool {
        self.all.get(&machine).is_some_and(|rack| rack.free.holds(&wanted.ask))
    }

    fn of_its_bin(&self, wanted: &Wanted) -> Option<MachineNo> {
        let own = bin(wanted.ends_ms.saturating_sub(wanted.now_ms));
        let edge = |bin: u32| wanted.now_ms + 1_000 * (1_u64 << bin.min(40));
        let from_ms = if own == 0 { 0 } else { edge(own) };
        let first = MachineNo(0);
        let target = (wanted.ends_ms, first);
        let fits = |(_, no): &&(u64, MachineNo)| self.holds(*no, wanted);
        let above = self.by_end.range(target..(edge(own + 1), first)).find(fits);
        let below = self.by_end.range((from_ms, first)..target).rev().find(fits);
        // Of machines that end together the first one: going down, they are met in reverse.
        let below = below
            .and_then(|(end, last)| self.by_end.range((*end, first)..=(*end, *last)).find(fits));
        let distance = |(end, no): &&(u64, MachineNo)| (end.abs_diff(wanted.ends_ms), *no);
        above.into_iter().chain(below).min_by_key(distance).map(|(_, no)| *no)
    }

    fn of_another_bin(&self, wanted: &Wanted) -> Option<MachineNo> {
        let own = bin(wanted.ends_ms.saturating_sub(wanted.now_ms));
        let least = sum(wanted.ask);
        let mut down = None;
        for (Reverse(free), machine) in &self.by_room {
            if *free < least {
                break;
            }
            let Some(rack) = self.all.get(machine) else { continue };
            if !rack.free.holds(&wanted.ask) {
                continue;
            }
            if bin(rack.ends_ms.saturating_sub(wanted.now_ms)) > own {
                return Some(*machine);
            }
            down = down.or(Some(*machine));
        }
        down
    }
}
