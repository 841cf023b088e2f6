//! A task and a market as an optimiser sees them: steps between which nothing changes, machines with
//! what each step costs, and how much time may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{Clamp, MicroUsd, PurchaseOption};

use crate::jobs::JobWork;

/// Money in a model: micro-USD an hour x milliseconds, divided by [`scale`].
pub(super) type Cost = i64;

/// More than anything costs, and far from the type's end.
pub(super) const NEVER: Cost = i64::MAX / 4;

/// What a step may be held for in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partial {
    /// Only whole: a tick is billed whole.
    No,
    /// Only whole, but the last machine ends with the task, between two decisions.
    Leaves,
    /// The last of all: machines end with the task, and with ticks otherwise.
    AtTheEnd,
    /// Any.
    Anywhere,
}

/// One kind of machine over all steps.
#[derive(Debug)]
pub(super) struct Machine {
    /// Which of the recording's pools.
    pub(super) pool: usize,
    /// How it is paid for.
    pub(super) option: PurchaseOption,
    /// Its zone's place among [`Model::zones`].
    pub(super) zone: usize,
    /// By step.
    pub(super) steps: Vec<Step>,
}

/// A machine in a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Whether it can be had and held.
    pub(super) is_there: bool,
    /// The whole step on one that is bought at its begin.
    pub(super) start: Cost,
    /// The whole step on one that was held before.
    pub(super) hold: Cost,
    /// A millisecond of it.
    pub(super) rate: Cost,
}

/// A task and a market.
#[derive(Debug)]
pub(super) struct Model {
    /// Begins of steps, and the end of the last.
    pub(super) bounds: Vec<u64>,
    /// Length of a whole step; the first and the last may be shorter.
    pub(super) step_ms: u64,
    /// Whether machines may be bought and ended at a step's begin.
    pub(super) decides: Vec<bool>,
    /// What a start takes.
    pub(super) delay_ms: u64,
    /// Time that may pass without work until the end of the last step, changeovers included.
    pub(super) spare_ms: u64,
    /// What may be held in part.
    pub(super) partial: Partial,
    /// All that fit.
    pub(super) machines: Vec<Machine>,
    /// Zones between which moving costs something; one when it never does.
    pub(super) zones: usize,
    /// What moving costs: from, to.
    pub(super) egress: Vec<Vec<Cost>>,
}

/// When steps begin, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The first moment at which something can be done.
    pub(super) from_ms: u64,
    /// The last moment of work.
    pub(super) to_ms: u64,
}

impl Model {
    /// Of a task that is to be done within a span; nothing when no pool holds it, or when the span
    /// is shorter than the work.
    pub(super) fn new(recording: &Recording, job: &JobWork, span: Span) -> Option<Self> {
        let fitting: Vec<(usize, &PoolTrace)> = recording
            .pools
            .iter()
            .enumerate()
            .filter(|(_, pool)| pool.capacity.holds(&job.ask))
            .collect();
        let decision = match recording.decide_at {
            DecideAt::Tick => recording.gap_ms,
            DecideAt::Event => 0,
        };
        let gaps = fitting.iter().map(|(_, pool)| pool.gap_ms);
        let step_ms = gaps.fold(decision, gcd).max(1);
        let spare_ms = span.to_ms.checked_sub(span.from_ms)?.checked_sub(job.work.work_ms)?;
        let bounds = bounds(span, step_ms);
        let moves = Moves::new(recording, job, &fitting);
        let scale = scale(&fitting, &moves, span);
        let begins = || bounds.iter().take(bounds.len().saturating_sub(1));
        let decides = begins().map(|at| decision == 0 || at.is_multiple_of(decision)).collect();
        let machines = offers(recording, &fitting, &moves)
            .into_iter()
            .map(|(pool, option)| Machine {
                pool,
                option,
                zone: moves.zone(recording, pool),
                steps: steps(recording, pool, option, &bounds, scale),
            })
            .collect::<Vec<_>>();
        let partial = match (recording.billing, recording.decide_at) {
            (Billing::Tick, DecideAt::Tick) if step_ms < decision => Partial::Leaves,
            (Billing::Tick, _) => Partial::No,
            (Billing::Second, DecideAt::Tick) => Partial::AtTheEnd,
            (Billing::Second, DecideAt::Event) => Partial::Anywhere,
        };
        let model = Self {
            bounds,
            step_ms,
            decides,
            delay_ms: job.work.changeover_ms,
            spare_ms,
            partial,
            zones: moves.zones.len().max(1),
            egress: moves.costs(scale),
            machines,
        };
        (!model.machines.is_empty()).then_some(model)
    }

    /// Steps.
    pub(super) fn steps(&self) -> usize {
        self.decides.len()
    }

    /// Length of a step.
    pub(super) fn len_ms(&self, step: usize) -> u64 {
        let at = |step: usize| self.bounds.get(step).copied().unwrap_or_default();
        at(step + 1).saturating_sub(at(step))
    }
}

/// The greatest common divisor; of nothing and something the latter.
pub(super) fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// The span's ends, and all multiples of a step's length between them.
fn bounds(span: Span, step_ms: u64) -> Vec<u64> {
    let first = (span.from_ms / step_ms + 1).saturating_mul(step_ms);
    let mut bounds = vec![span.from_ms];
    let mut at = first;
    while at < span.to_ms {
        bounds.push(at);
        at = at.saturating_add(step_ms);
    }
    bounds.push(span.to_ms);
    bounds
}

/// Which machines are worth a look: spot of every pool, on demand the cheapest of each zone and
/// length of ticks.
fn offers(
    recording: &Recording,
    fitting: &[(usize, &PoolTrace)],
    moves: &Moves,
) -> Vec<(usize, PurchaseOption)> {
    let mut cheapest: BTreeMap<(usize, u64), (MicroUsd, usize)> = BTreeMap::new();
    for (at, pool) in fitting {
        let gap_ms = match recording.billing {
            Billing::Tick => pool.gap_ms,
            Billing::Second => 0,
        };
        let offer = (pool.on_demand, *at);
        let entry = cheapest.entry((moves.zone(recording, *at), gap_ms)).or_insert(offer);
        *entry = offer.min(*entry);
    }
    let spot = fitting
        .iter()
        .filter(|(_, pool)| pool.machines != Depth::Constant(0))
        .map(|(at, _)| (*at, PurchaseOption::Spot));
    spot.chain(cheapest.into_values().map(|(_, at)| (at, PurchaseOption::OnDemand))).collect()
}

fn steps(
    recording: &Recording,
    pool: usize,
    option: PurchaseOption,
    bounds: &[u64],
    scale: i128,
) -> Vec<Step> {
    let Some(trace) = recording.pools.get(pool) else { return Vec::new() };
    let cost = |price: MicroUsd, ms: u64| -> Cost {
        (i128::from(price.0) * i128::from(ms) / scale).clamped()
    };
    let spans = bounds.iter().zip(bounds.iter().skip(1));
    let step = |(from, to): (&u64, &u64)| {
        let price = trace.price(option, *from);
        let is_there = option == PurchaseOption::OnDemand || trace.depth(*from) > 0;
        let (start, hold) = match recording.billing {
            Billing::Second => (cost(price, to - from), cost(price, to - from)),
            Billing::Tick => {
                let tick = cost(price, trace.gap_ms);
                (tick, if from.is_multiple_of(trace.gap_ms.max(1)) { tick } else { 0 })
            }
        };
        Step { is_there, start, hold, rate: cost(price, 1) }
    };
    spans.map(step).collect()
}

/// Zones, as far as they matter.
struct Moves {
    zones: Vec<Arc<str>>,
    prices: Vec<Vec<MicroUsd>>,
}

impl Moves {
    fn new(recording: &Recording, job: &JobWork, fitting: &[(usize, &PoolTrace)]) -> Self {
        let mut zones: Vec<Arc<str>> = fitting.iter().map(|(_, pool)| pool.zone.clone()).collect();
        zones.sort_unstable();
        zones.dedup();
        let row =
            |from: &Arc<str>| zones.iter().map(|to| job.egress(recording, from, to)).collect();
        let prices: Vec<Vec<MicroUsd>> = zones.iter().map(row).collect();
        let is_free = prices.iter().flatten().all(|price| price.0 == 0);
        if is_free {
            Self { zones: Vec::new(), prices: Vec::new() }
        } else {
            Self { zones, prices }
        }
    }

    fn zone(&self, recording: &Recording, pool: usize) -> usize {
        let name = recording.pools.get(pool).map(|pool| &pool.zone);
        self.zones.iter().position(|zone| Some(zone) == name).unwrap_or(0)
    }

    fn costs(&self, scale: i128) -> Vec<Vec<Cost>> {
        let cost = |price: &MicroUsd| (i128::from(price.0) * MS_PER_HOUR / scale).clamped();
        if self.prices.is_empty() {
            return vec![vec![0]];
        }
        self.prices.iter().map(|row| row.iter().map(cost).collect()).collect()
    }
}

const MS_PER_HOUR: i128 = 3_600_000;

/// 1 unless the dearest machine over the whole span, with a move a step, comes near [`NEVER`].
fn scale(fitting: &[(usize, &PoolTrace)], moves: &Moves, span: Span) -> i128 {
    let spot = |pool: &PoolTrace| match &pool.spot {
        Prices::Constant(price) => *price,
        Prices::PerTick(prices) => prices.iter().copied().max().unwrap_or_default(),
    };
    let dearest = fitting.iter().map(|(_, pool)| spot(pool).max(pool.on_demand).0).max();
    let longest = fitting.iter().map(|(_, pool)| pool.gap_ms).max().unwrap_or(1);
    let held = i128::from(span.to_ms.saturating_sub(span.from_ms).saturating_add(longest));
    let moved = moves.prices.iter().flatten().map(|price| price.0).max().unwrap_or(0);
    let moves = held / i128::from(longest.max(1)) + 1;
    let most =
        i128::from(dearest.unwrap_or(0)) * held * 2 + i128::from(moved) * MS_PER_HOUR * moves;
    most / i128::from(NEVER / 2) + 1
}
