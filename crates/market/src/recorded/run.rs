//! One run over a recording: machines that are bought, told to leave, taken back and ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Clamp, MicroUsd, PurchaseOption};

use super::{Bill, Depth, Exact, PoolTrace, Prices, Recording};

/// A machine's number, in the order of purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineNo(pub u64);

/// A machine that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bought {
    /// Its number.
    pub no: MachineNo,
    /// Which of the recording's pools.
    pub pool: usize,
    /// How it is paid for.
    pub option: PurchaseOption,
    /// When it was bought.
    pub launched_ms: u64,
    /// When it will be taken back: it has got its notice.
    pub deadline_ms: Option<u64>,
}

/// Who ended a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The market took it back.
    Reclaimed,
    /// Whoever bought it.
    Ours,
}

/// A machine that has ended, with its bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The machine as it was.
    pub machine: Bought,
    /// When.
    pub at_ms: u64,
    /// Who ended it.
    pub ending: Ending,
    /// The time that is billed.
    pub billed_ms: (u64, u64),
    /// Its bill, unrounded; [`Exact::rounded`] is what is paid.
    pub cost: Exact,
}

/// What happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A machine is told that it will be taken back.
    Notice {
        /// Which.
        machine: MachineNo,
        /// When it goes.
        deadline_ms: u64,
    },
    /// A machine was taken back.
    Reclaimed(Ended),
    /// A pool's price or depth is another from now on.
    Moved {
        /// Which of the recording's pools.
        pool: usize,
    },
}

/// A moment at which a pool changes, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at_ms: u64,
    kind: TurnKind,
    pool: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TurnKind {
    /// Its depth or price changes.
    Moves,
    /// Its depth will fall at `at_ms` + notice.
    Warns,
}

/// One run over a recording.
#[derive(Debug, Clone)]
pub struct Recorded {
    recording: Arc<Recording>,
    bill: Arc<Bill>,
    turns: Arc<[Turn]>,
    /// The first turn that has not come yet.
    next_turn: usize,
    now_ms: u64,
    machines: BTreeMap<MachineNo, Bought>,
    /// Running spot machines of each pool.
    sold: Vec<BTreeSet<MachineNo>>,
    launches: u64,
}

impl Recorded {
    /// A run from the recording's begin; what holds at 0 has come already.
    pub fn new(recording: Arc<Recording>) -> Self {
        let turns: Arc<[Turn]> = turns(&recording).into();
        let next_turn = turns.partition_point(|turn| turn.at_ms == 0);
        Self {
            bill: Arc::new(Bill::new(&recording)),
            turns,
            next_turn,
            now_ms: 0,
            machines: BTreeMap::new(),
            sold: vec![BTreeSet::new(); recording.pools.len()],
            launches: 0,
            recording,
        }
    }

    /// What was recorded.
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// The latest time that it was told.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// All machines that run.
    pub fn machines(&self) -> impl Iterator<Item = &Bought> {
        self.machines.values()
    }

    /// A machine that runs.
    pub fn machine(&self, no: MachineNo) -> Option<&Bought> {
        self.machines.get(&no)
    }

    /// Spot machines that a pool would still give now.
    pub fn room(&self, pool: usize) -> u32 {
        let depth = self.recording.pools.get(pool).map_or(0, |pool| pool.depth(self.now_ms));
        let sold: u32 = self.sold.get(pool).map_or(0, |sold| sold.len().clamped());
        depth.saturating_sub(sold)
    }

    /// A pool's price an hour now.
    pub fn price(&self, pool: usize, option: PurchaseOption) -> MicroUsd {
        let pool = self.recording.pools.get(pool);
        pool.map_or(MicroUsd(0), |pool| pool.price(option, self.now_ms))
    }

    /// Buys a machine; `None` when the pool has none left.
    pub fn launch(&mut self, pool: usize, option: PurchaseOption) -> Option<MachineNo> {
        self.recording.pools.get(pool)?;
        if option == PurchaseOption::Spot {
            if self.room(pool) == 0 {
                return None;
            }
            self.sold.get_mut(pool)?.insert(MachineNo(self.launches));
        }
        let no = MachineNo(self.launches);
        self.launches += 1;
        let launched_ms = self.now_ms;
        let bought = Bought { no, pool, option, launched_ms, deadline_ms: None };
        self.machines.insert(no, bought);
        Some(no)
    }

    /// Ends a machine now; `None` when it does not run.
    pub fn end(&mut self, no: MachineNo) -> Option<Ended> {
        self.close(no, Ending::Ours)
    }

    fn close(&mut self, no: MachineNo, ending: Ending) -> Option<Ended> {
        let machine = self.machines.remove(&no)?;
        if let Some(sold) = self.sold.get_mut(machine.pool) {
            sold.remove(&no);
        }
        let at_ms = self.now_ms;
        let billed_ms = self.recording.billed(machine.pool, (machine.launched_ms, at_ms));
        let cost = self.cost(machine.pool, machine.option, billed_ms);
        Some(Ended { machine, at_ms, ending, billed_ms, cost })
    }

    /// What a stretch of time of such a machine costs.
    pub fn cost(&self, pool: usize, option: PurchaseOption, stretch_ms: (u64, u64)) -> Exact {
        self.bill.of(&self.recording, pool, option, stretch_ms)
    }

    /// When something happens by itself next.
    pub fn next_event_ms(&self) -> Option<u64> {
        self.turns.get(self.next_turn).map(|turn| turn.at_ms)
    }

    /// Lets time pass until `now_ms`; answers what happened, in order. A caller that wants to act
    /// between two events stops at [`Recorded::next_event_ms`].
    #[must_use]
    pub fn advance(&mut self, now_ms: u64) -> Vec<Event> {
        self.turn(now_ms, |at_ms| at_ms <= now_ms)
    }

    /// The same without what happens at `now_ms` itself: [`Recorded::advance`] to the same moment
    /// tells of that. For what comes first when several things fall together.
    #[must_use]
    pub fn advance_before(&mut self, now_ms: u64) -> Vec<Event> {
        self.turn(now_ms, |at_ms| at_ms < now_ms)
    }

    fn turn(&mut self, now_ms: u64, is_due: impl Fn(u64) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(turn) = self.turns.get(self.next_turn).copied() {
            if !is_due(turn.at_ms) {
                break;
            }
            self.next_turn += 1;
            self.now_ms = self.now_ms.max(turn.at_ms);
            match turn.kind {
                TurnKind::Warns => self.warn(turn.pool, &mut events),
                TurnKind::Moves => {
                    self.shrink(turn.pool, &mut events);
                    events.push(Event::Moved { pool: turn.pool });
                }
            }
        }
        self.now_ms = self.now_ms.max(now_ms);
        events
    }

    /// The newest machines that the coming depth does not hold get their notice.
    fn warn(&mut self, pool: usize, events: &mut Vec<Event>) {
        let deadline_ms = self.now_ms.saturating_add(self.recording.notice_ms);
        for machine in self.surplus(pool, deadline_ms) {
            let Some(bought) = self.machines.get_mut(&machine) else { continue };
            if bought.deadline_ms.is_none() {
                bought.deadline_ms = Some(deadline_ms);
                events.push(Event::Notice { machine, deadline_ms });
            }
        }
    }

    /// When capacity falls below the machines that run, the newest end.
    fn shrink(&mut self, pool: usize, events: &mut Vec<Event>) {
        for no in self.surplus(pool, self.now_ms) {
            events.extend(self.close(no, Ending::Reclaimed).map(Event::Reclaimed));
        }
    }

    /// The newest first.
    fn surplus(&self, pool: usize, at_ms: u64) -> Vec<MachineNo> {
        let depth = self.recording.pools.get(pool).map_or(0, |pool| pool.depth(at_ms));
        let depth = usize::try_from(depth).unwrap_or(usize::MAX);
        let Some(sold) = self.sold.get(pool) else { return Vec::new() };
        sold.iter().rev().take(sold.len().saturating_sub(depth)).copied().collect()
    }
}

fn turns(recording: &Recording) -> Vec<Turn> {
    let mut turns = Vec::new();
    for (pool, trace) in recording.pools.iter().enumerate() {
        for tick in 1..=ticks(trace) {
            let at_ms = tick.saturating_mul(trace.gap_ms);
            let (before, after) = (trace.machines.at(tick - 1), trace.machines.at(tick));
            if before != after || trace.spot.at(tick - 1) != trace.spot.at(tick) {
                turns.push(Turn { at_ms, kind: TurnKind::Moves, pool });
            }
            if after < before && recording.notice_ms > 0 {
                let at_ms = at_ms.saturating_sub(recording.notice_ms);
                turns.push(Turn { at_ms, kind: TurnKind::Warns, pool });
            }
        }
    }
    turns.sort_unstable();
    turns
}

/// Ticks after which nothing changes any more.
fn ticks(trace: &PoolTrace) -> u64 {
    let depths = match &trace.machines {
        Depth::Constant(_) => 0,
        Depth::PerTick(machines) => machines.len(),
    };
    let prices = match &trace.spot {
        Prices::Constant(_) => 0,
        Prices::PerTick(prices) => prices.len(),
    };
    u64::try_from(depths.max(prices)).unwrap_or(u64::MAX)
}
