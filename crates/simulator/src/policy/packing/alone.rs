//! Each task alone.

use std::collections::{BTreeMap, BTreeSet};

use market::recorded::MachineNo;

use super::Shelf;
use crate::arena::{Desk, News};
use crate::jobs::TaskKey;
use crate::policy::Policy;

/// Each task alone on the machine that is cheapest at that moment among those that hold it: spot
/// while its pool has room, else the next cheapest, on-demand included. The machine ends with its
/// task; a task whose machine was taken back goes on on a new one. This is the "No-Packing" that
/// Eva (EuroSys 2025) compares with, let loose on spot markets.
#[derive(Debug, Default)]
pub(crate) struct NoPacking {
    shelf: Shelf,
    machines: BTreeMap<TaskKey, MachineNo>,
}

impl Policy for NoPacking {
    fn decide(&mut self, desk: &mut Desk) {
        self.shelf.heed(desk);
        let mut waiting = BTreeSet::new();
        for news in desk.news().to_vec() {
            match news {
                News::Arrived(task) => {
                    waiting.insert(task);
                }
                News::Done(task) => {
                    if let Some(machine) = self.machines.remove(&task) {
                        desk.end(machine);
                    }
                }
                News::Reclaimed(_, tasks) => waiting.extend(tasks),
                News::Booted(_) | News::Notice { .. } | News::Moved(_) => {}
            }
        }
        for task in waiting {
            self.place(desk, task);
        }
    }
}

impl NoPacking {
    /// What finds no machine fits none, and never will.
    fn place(&mut self, desk: &mut Desk, task: TaskKey) {
        let Some(ask) = desk.tasks().get(&task).map(|state| state.job.ask) else { return };
        let offer = self.shelf.cheapest(desk, ask);
        let Some(offer) = offer else { return };
        if let Some(machine) = desk.launch(offer.pool, offer.option()) {
            desk.assign(task, machine);
            self.machines.insert(task, machine);
        }
    }
}
