//! The cheapest single stretch: all there is for a task that keeps nothing when it is cut off.

use market::recorded::{Bill, DecideAt, Exact, PoolTrace, Recording};
use model::PurchaseOption;

use super::model::Span;
use super::optimum::Stretch;
use crate::jobs::JobWork;

/// The cheapest stretch within a span that is as long as the work; without one, that which ends first.
pub(super) fn solve(recording: &Recording, job: &JobWork, span: Span) -> Option<Stretch> {
    let whole = job.work.runtime_ms(0).saturating_add(recording.boot_ms);
    let bill = Bill::new(recording);
    let mut best: Option<((bool, Exact, u64), Stretch)> = None;
    for (at, pool) in recording.pools.iter().enumerate() {
        if !pool.capacity.holds(&job.ask) {
            continue;
        }
        for option in [PurchaseOption::Spot, PurchaseOption::OnDemand] {
            for from_ms in begins(recording, pool, option, span, whole) {
                let to_ms = from_ms.saturating_add(whole);
                let billed = recording.billed(at, (from_ms, to_ms));
                let is_late = to_ms > span.to_ms;
                let cost = bill.of(recording, at, option, billed);
                let cost = if is_late { Exact(i128::from(to_ms)) } else { cost };
                let rank = (is_late, cost, to_ms);
                if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                    best = Some((rank, Stretch { pool: at, option, from_ms, to_ms }));
                }
            }
        }
    }
    best.map(|(_, stretch)| stretch)
}

/// Where a stretch can begin so that nothing cuts it off: at a tick, or so that it ends at one. What
/// costs is linear between these.
fn begins(
    recording: &Recording,
    pool: &PoolTrace,
    option: PurchaseOption,
    span: Span,
    whole_ms: u64,
) -> Vec<u64> {
    let gap = match recording.decide_at {
        DecideAt::Tick => recording.gap_ms.max(1),
        DecideAt::Event => pool.gap_ms.max(1),
    };
    let last = span.to_ms.max(span.from_ms.saturating_add(whole_ms));
    let ticks = (span.from_ms.div_ceil(gap)..=last / gap).map(|tick| tick.saturating_mul(gap));
    let mut begins: Vec<u64> = ticks.clone().collect();
    if recording.decide_at == DecideAt::Event {
        begins.extend(ticks.filter_map(|end| end.checked_sub(whole_ms)));
        begins.push(span.from_ms);
        begins.extend(span.to_ms.checked_sub(whole_ms));
    }
    begins.retain(|from| *from >= span.from_ms);
    begins.sort_unstable();
    begins.dedup();
    if option == PurchaseOption::Spot {
        let mut holds = Holds::new(pool);
        begins.retain(|from| holds.until(*from) >= from.saturating_add(whole_ms));
    }
    begins
}

/// How long a machine of a pool lasts, asked in the order of time.
struct Holds<'p> {
    pool: &'p PoolTrace,
    /// The end of the last answer's run.
    until_ms: u64,
}

impl<'p> Holds<'p> {
    fn new(pool: &'p PoolTrace) -> Self {
        Self { pool, until_ms: 0 }
    }

    /// When a machine that is bought then is taken back; then, when there is none.
    fn until(&mut self, from_ms: u64) -> u64 {
        if self.pool.depth(from_ms) == 0 {
            return from_ms;
        }
        if from_ms < self.until_ms {
            return self.until_ms;
        }
        let Some(end) = self.pool.end_ms() else { return u64::MAX };
        let gap = self.pool.gap_ms.max(1);
        let mut at = (from_ms / gap + 1).saturating_mul(gap);
        while at < end && self.pool.depth(at) > 0 {
            at = at.saturating_add(gap);
        }
        self.until_ms = at;
        at
    }
}
