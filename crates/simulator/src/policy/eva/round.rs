//! One round: both reconfigurations, and the choice between them.

use std::collections::{BTreeMap, BTreeSet};

use market::recorded::MachineNo;
use model::{PurchaseOption, Resources};

use super::front::{Choice, Front};
use super::loose::{Kind, Loose, PPM, Throughput, others, reservation};
use super::plan::{Kept, Plan};
use super::provision::{Emptied, fill, provision};
use crate::arena::{Desk, Held, TaskState};
use crate::jobs::TaskKey;
use crate::work::Checkpoint;

/// What a round has come to.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The configuration.
    pub plan: Plan,
    /// Whether it is the full one.
    pub is_full: bool,
}

/// A machine with its tasks.
#[derive(Debug)]
struct Seat {
    machine: MachineNo,
    pool: usize,
    option: PurchaseOption,
    price: i64,
    capacity: Resources,
    /// With their kinds, and whether they can be moved.
    tasks: Vec<(TaskKey, Kind, bool)>,
}

/// What a round looks at.
pub(super) struct Round<'d> {
    desk: &'d Desk,
    front: &'d Front,
    throughput: Throughput,
    worth: BTreeMap<Kind, i64>,
    seats: Vec<Seat>,
    waiting: Vec<(TaskKey, Kind)>,
    /// Whether a task is in its changeover, so that the next round may move what this one cannot.
    pub is_settling: bool,
}

impl<'d> Round<'d> {
    /// Machines that have got their notice have no part in it, and neither have their tasks.
    pub(super) fn new(
        desk: &'d Desk,
        front: &'d mut Front,
        waiting: &BTreeSet<TaskKey>,
        throughput: Throughput,
    ) -> Self {
        let choices = front.now(desk).to_vec();
        let (worth, seats) = (BTreeMap::new(), Vec::new());
        let mut round =
            Self { desk, front, throughput, worth, seats, waiting: Vec::new(), is_settling: false };
        for key in waiting {
            let Some(task) = desk.tasks().get(key) else { continue };
            let kind = round.kind(task, &choices);
            round.waiting.push((*key, kind));
        }
        for (machine, held) in desk.machines() {
            if held.bought.deadline_ms.is_none() {
                round.seat(*machine, held, &choices);
            }
        }
        round
    }

    /// A task's kind. Jobs' sizes distinguish only where neighbours matter.
    fn kind(&mut self, task: &TaskState, choices: &[Choice]) -> Kind {
        let gang = if self.throughput.is_full() { 1 } else { task.job.count };
        let kind = (task.job.ask, gang);
        self.worth.entry(kind).or_insert_with(|| reservation(choices, &kind.0).unwrap_or(0));
        kind
    }

    fn seat(&mut self, machine: MachineNo, held: &Held, choices: &[Choice]) {
        let (pool, option) = (held.bought.pool, held.bought.option);
        let Some(trace) = self.desk.recording().pools.get(pool) else { return };
        let price = self.desk.price(pool, option).0;
        let mut tasks = Vec::with_capacity(held.tasks.len());
        for key in &held.tasks {
            let Some(task) = self.desk.tasks().get(key) else { continue };
            let kind = self.kind(task, choices);
            let is_settling = task.changeover_left_ms(self.desk.now_ms()) > 0;
            self.is_settling |= is_settling;
            let can_move = !is_settling && task.job.work.checkpoint != Checkpoint::None;
            tasks.push((*key, kind, can_move));
        }
        let capacity = trace.capacity;
        self.seats.push(Seat { machine, pool, option, price, capacity, tasks });
    }

    fn worth(&self, kind: &Kind) -> i64 {
        self.worth.get(kind).copied().unwrap_or(0)
    }

    /// Partial if full does not gain more.
    pub(super) fn choose(&self, lasts_ms: u64) -> Chosen {
        let (partial, full) = (self.partial(), self.full());
        let gain = |plan: &Plan| plan.gain_cents(self.desk, self.throughput, lasts_ms);
        if gain(&full) > gain(&partial) {
            return Chosen { plan: full, is_full: true };
        }
        Chosen { plan: partial, is_full: false }
    }

    /// Only what waits is placed, and what is on machines that are not worth their price.
    pub(super) fn partial(&self) -> Plan {
        let (kept, emptied): (Vec<&Seat>, Vec<&Seat>) =
            self.seats.iter().partition(|seat| self.is_kept(seat));
        let kept = kept.into_iter().map(|seat| self.keep(seat, |_| true)).collect();
        let loose = emptied.iter().flat_map(|seat| {
            seat.tasks.iter().map(|(key, kind, _)| (*key, *kind, Some(seat.machine)))
        });
        self.place(kept, loose.collect(), &emptied)
    }

    fn is_kept(&self, seat: &Seat) -> bool {
        let worth: i128 = seat.tasks.iter().map(|(_, kind, _)| i128::from(self.worth(kind))).sum();
        let value = worth * self.throughput.beside(others(seat.tasks.len()));
        value >= i128::from(seat.price) * i128::from(PPM)
            || seat.tasks.iter().any(|(_, _, can_move)| !can_move)
    }

    /// All that can be moved is placed anew.
    pub(super) fn full(&self) -> Plan {
        let is_fixed = |seat: &&Seat| seat.tasks.iter().any(|(_, _, can_move)| !can_move);
        let (fixed, emptied): (Vec<&Seat>, Vec<&Seat>) = self.seats.iter().partition(is_fixed);
        let loose = self.seats.iter().flat_map(|seat| {
            let movable = seat.tasks.iter().filter(|(_, _, can_move)| *can_move);
            movable.map(|(key, kind, _)| (*key, *kind, Some(seat.machine)))
        });
        let kept = fixed.into_iter().map(|seat| self.keep(seat, |can_move| !can_move)).collect();
        self.place(kept, loose.collect(), &emptied)
    }

    fn keep(&self, seat: &Seat, stays: impl Fn(bool) -> bool) -> Kept {
        let stays = || seat.tasks.iter().filter(|(_, _, can_move)| stays(*can_move));
        let used = stays().fold(Resources::default(), |sum, (_, (ask, _), _)| sum + *ask);
        Kept {
            machine: seat.machine,
            price: seat.price,
            capacity: seat.capacity,
            free: seat.capacity - used,
            worth: stays().map(|(_, kind, _)| i128::from(self.worth(kind))).sum(),
            count: stays().count(),
            come: Vec::new(),
        }
    }

    fn place(
        &self,
        mut kept: Vec<Kept>,
        loose: Vec<(TaskKey, Kind, Option<MachineNo>)>,
        emptied: &[&Seat],
    ) -> Plan {
        let waiting = self.waiting.iter().map(|(key, kind)| (*key, *kind, None));
        let mut loose = Loose::new(waiting.chain(loose), |kind| self.worth(kind));
        if loose.is_empty() {
            return Plan { kept, bins: Vec::new() };
        }
        fill(&mut kept, &mut loose, self.throughput);
        let emptied = emptied.iter().map(|seat| Emptied {
            machine: seat.machine,
            pool: seat.pool,
            option: seat.option,
            price: seat.price,
            capacity: seat.capacity,
            tasks: seat.tasks.len(),
        });
        let choices = |taken: &BTreeMap<usize, u32>| self.front.without(self.desk, taken);
        let room = |pool| self.desk.room(pool);
        let bins = provision(&mut loose, emptied.collect(), self.throughput, &choices, &room);
        Plan { kept, bins }
    }
}
