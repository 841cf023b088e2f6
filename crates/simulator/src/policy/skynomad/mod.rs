//! SkyNomad (NSDI 2027): the action of the highest utility, with lifetimes learnt on the way.
//!
//! Each task has a machine of its own and is decided for itself. At each decision it scores a spot and
//! an on-demand machine of every pool that fits, and waiting ([`utility`]): progress is worth more the
//! further the task is behind, a machine costs its price, a move costs its changeover and the egress
//! of its checkpoint, both spread over the time that the machine is expected to live ([`lore`]). It
//! tries the actions that are worth more than what it has, the best first, and then probes pools that
//! it knows nothing of. A net takes an on-demand machine when the deadline leaves time for nothing
//! else ([`mind`]).
//!
//! Rules and constants are those of the authors' own simulator in the configuration of their figure of
//! the three V100 zones: progress valued by the ratio of rates, no ceiling on lifetimes but the
//! deadline, virtual availability. What that simulator does and the paper does not say is kept, for
//! the sake of its figures:
//! - knowledge begins with the task: nothing from before its arrival is used;
//! - what has a utility below waiting's is not given up, but the task forgets where it came from, and
//!   probes the pool that it is in too;
//! - a spot machine that is given up for another one is no sample, unless a probe had found its pool
//!   before: then it counts as lost;
//! - a refusal of a pool that was believed to be there counts as two losses;
//! - probing the pool of the on-demand machine that it holds ages the pool by the price of the tick.
//!
//! What the books here have and theirs do not: the last tick held; and all of a tick in which the task
//! probes the pool that it holds, of which theirs charge a minute. A probe costs a minute of spot in
//! both ([`Desk::probe`]); it is free in theirs where the task holds on-demand.

mod lore;
mod mind;
#[cfg(test)]
mod tests;
mod utility;

use std::collections::BTreeMap;

use market::recorded::MachineNo;

use crate::arena::{Desk, News};
use crate::jobs::TaskKey;
use crate::policy::Policy;
use mind::Mind;

/// SkyNomad (NSDI 2027).
#[derive(Debug, Default)]
pub(crate) struct SkyNomad {
    minds: BTreeMap<TaskKey, Mind>,
}

impl Policy for SkyNomad {
    fn decide(&mut self, desk: &mut Desk) {
        for news in desk.news() {
            if let News::Done(task) = news {
                self.minds.remove(task);
            }
        }
        let idle = desk.machines().iter().filter(|(_, held)| held.tasks.is_empty());
        for machine in idle.map(|(no, _)| *no).collect::<Vec<MachineNo>>() {
            desk.end(machine);
        }
        for key in desk.tasks().keys().copied().collect::<Vec<TaskKey>>() {
            self.minds.entry(key).or_default().decide(desk, key);
        }
    }
}
