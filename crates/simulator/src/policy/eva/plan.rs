//! A configuration: which tasks on which machines, what it saves and what it costs to get there.

use market::recorded::MachineNo;
use model::{PurchaseOption, Resources};

use super::loose::{PPM, Throughput, others};
use crate::arena::Desk;
use crate::jobs::TaskKey;

/// A machine that goes on with what is on it, and what comes to it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Which.
    pub machine: MachineNo,
    /// Its price, micro-USD an hour.
    pub price: i64,
    /// What it has.
    pub capacity: Resources,
    /// What is free of it.
    pub free: Resources,
    /// Reservation prices of its tasks.
    pub worth: i128,
    /// Its tasks.
    pub count: usize,
    /// Tasks to be put on it, with their reservation prices.
    pub come: Vec<(TaskKey, i64)>,
}

/// A machine that is filled from empty: one that is there, or a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bin {
    /// Which; `None` for one to be bought.
    pub machine: Option<MachineNo>,
    /// Its pool.
    pub pool: usize,
    /// How it is paid for.
    pub option: PurchaseOption,
    /// Its price, micro-USD an hour.
    pub price: i64,
    /// Its tasks, with their reservation prices.
    pub tasks: Vec<(TaskKey, i64)>,
}

/// A configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Machines that keep what they have.
    pub kept: Vec<Kept>,
    /// All others.
    pub bins: Vec<Bin>,
}

impl Plan {
    /// What it saves an hour: all tasks' reservation prices, less where they slow each other down,
    /// minus all machines' prices. In millionths of a micro-USD.
    fn saving(&self, throughput: Throughput) -> i128 {
        let saving = |worth: i128, count: usize, price: i64| {
            worth * throughput.beside(others(count)) - i128::from(price) * i128::from(PPM)
        };
        let kept = self.kept.iter().filter(|kept| kept.count > 0);
        let kept: i128 = kept.map(|kept| saving(kept.worth, kept.count, kept.price)).sum();
        let bins = self.bins.iter().map(|bin| {
            let worth = bin.tasks.iter().map(|(_, worth)| i128::from(*worth)).sum();
            saving(worth, bin.tasks.len(), bin.price)
        });
        kept + bins.sum::<i128>()
    }

    /// What getting there costs: each moved task's changeover at its reservation price and what its
    /// checkpoint pays to change zones, each new machine's boot. In micro-USD an hour x ms.
    fn migration(&self, desk: &Desk) -> i128 {
        let pools = &desk.recording().pools;
        let moved = |key: &TaskKey, worth: i64, machine: Option<MachineNo>, pool: usize| {
            let Some(task) = desk.tasks().get(key) else { return 0 };
            if machine.is_some() && task.attempt.map(|attempt| attempt.machine) == machine {
                return 0;
            }
            let zones = task.zone.as_ref().zip(pools.get(pool).map(|pool| &pool.zone));
            let egress = zones
                .map_or(0, |(from, to)| i128::from(task.job.egress(desk.recording(), from, to).0));
            let changeover_ms = i128::from(task.job.work.changeover_ms);
            i128::from(worth) * changeover_ms + egress * MS_PER_HOUR
        };
        let pool = |machine| desk.machines().get(&machine).map_or(0, |held| held.bought.pool);
        let kept = self.kept.iter().flat_map(|kept| {
            let (machine, pool) = (kept.machine, pool(kept.machine));
            kept.come.iter().map(move |(task, worth)| moved(task, *worth, Some(machine), pool))
        });
        let boot_ms = i128::from(desk.recording().boot_ms);
        let bins = self.bins.iter().map(|bin| {
            let tasks = bin.tasks.iter();
            let tasks = tasks.map(|(task, worth)| moved(task, *worth, bin.machine, bin.pool));
            let boot = if bin.machine.is_none() { i128::from(bin.price) * boot_ms } else { 0 };
            tasks.sum::<i128>() + boot
        });
        kept.sum::<i128>() + bins.sum::<i128>()
    }

    /// What it saves, less what it costs to get there, if it lasts so long. In whole cents: Eva
    /// does not move anything for less.
    pub(super) fn gain_cents(&self, desk: &Desk, throughput: Throughput, lasts_ms: u64) -> i128 {
        const CENT: i128 = 10_000 * MS_PER_HOUR;
        let saving = self.saving(throughput) * i128::from(lasts_ms) / i128::from(PPM);
        (saving - self.migration(desk) + CENT / 2).div_euclid(CENT)
    }
}

const MS_PER_HOUR: i128 = 3_600_000;
