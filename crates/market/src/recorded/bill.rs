//! Exact money: integrals of prices over time, rounded once.

use model::{Clamp, MicroUsd, PurchaseOption};

use super::{Billing, PoolTrace, Prices, Recording};

/// Price x time, unrounded: micro-USD an hour x milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(pub i128);

impl Exact {
    /// Of that, so many millionths; rounded towards zero at 10^-6 of the unit, which is nothing.
    #[must_use]
    pub fn share(self, ppm: u32) -> Self {
        Self(self.0 * i128::from(ppm) / 1_000_000)
    }

    /// In micro-dollars, to the nearest.
    pub fn rounded(self) -> MicroUsd {
        const MS_PER_HOUR: i128 = 3_600_000;
        MicroUsd((self.0 + MS_PER_HOUR / 2).div_euclid(MS_PER_HOUR).clamped())
    }
}

impl std::ops::Add for Exact {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}
impl std::ops::AddAssign for Exact {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}
impl std::ops::Sub for Exact {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

/// Sums of a recording's prices, so that any stretch of time is priced in one subtraction.
#[derive(Debug, Clone)]
pub struct Bill {
    /// Per pool with a price a tick: the sum of prices before each tick.
    sums: Vec<Vec<i128>>,
}

/// EC2 bills 60 seconds at least.
const LEAST_MS: u64 = 60_000;

impl Bill {
    /// Of a recording.
    pub fn new(recording: &Recording) -> Self {
        let sums = recording.pools.iter().map(|pool| match &pool.spot {
            Prices::Constant(_) => Vec::new(),
            Prices::PerTick(prices) => {
                let mut sum = 0;
                let before = prices.iter().map(|price| {
                    let before = sum;
                    sum += i128::from(price.0);
                    before
                });
                before.collect()
            }
        });
        Self { sums: sums.collect() }
    }

    /// What the time from `from_ms` to `to_ms` costs, not rounded to what is billed.
    pub fn of(
        &self,
        recording: &Recording,
        pool: usize,
        option: PurchaseOption,
        (from_ms, to_ms): (u64, u64),
    ) -> Exact {
        let Some(trace) = recording.pools.get(pool) else { return Exact::default() };
        match (option, &trace.spot) {
            (PurchaseOption::OnDemand, _) => flat(trace.on_demand, from_ms, to_ms),
            (PurchaseOption::Spot, Prices::Constant(price)) => flat(*price, from_ms, to_ms),
            (PurchaseOption::Spot, Prices::PerTick(_)) => {
                Exact(self.until(trace, pool, to_ms) - self.until(trace, pool, from_ms))
            }
        }
    }

    fn until(&self, trace: &PoolTrace, pool: usize, at_ms: u64) -> i128 {
        let Some(sums) = self.sums.get(pool).filter(|sums| !sums.is_empty()) else { return 0 };
        let gap = trace.gap_ms.max(1);
        let last = u64::try_from(sums.len() - 1).unwrap_or(u64::MAX);
        let tick = trace.tick(at_ms).min(last);
        let before = sums.get(usize::try_from(tick).unwrap_or(usize::MAX)).copied().unwrap_or(0);
        let within = i128::from(at_ms - tick * gap);
        before * i128::from(gap) + i128::from(trace.spot.at(tick).0) * within
    }
}

fn flat(price: MicroUsd, from_ms: u64, to_ms: u64) -> Exact {
    Exact(i128::from(price.0) * i128::from(to_ms.saturating_sub(from_ms)))
}

impl Recording {
    /// The time that is billed for a machine that was held from `from_ms` to `to_ms`.
    pub fn billed(&self, pool: usize, (from_ms, to_ms): (u64, u64)) -> (u64, u64) {
        match self.billing {
            Billing::Second => {
                let held = to_ms.saturating_sub(from_ms).div_ceil(1_000).saturating_mul(1_000);
                (from_ms, from_ms.saturating_add(held.max(LEAST_MS)))
            }
            Billing::Tick => {
                let gap = self.pools.get(pool).map_or(self.gap_ms, |pool| pool.gap_ms).max(1);
                let first = from_ms / gap * gap;
                let last = to_ms.div_ceil(gap).saturating_mul(gap);
                (first, last.max(first.saturating_add(gap)))
            }
        }
    }
}
