//! Bounds of a whole workload over a record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use market::recorded::{Depth, PoolTrace, Prices, Recording};
use model::{Clamp, MicroUsd, PurchaseOption, Resources};

use super::busiest::{busiest, instant, turns};
use super::kinds::{Offer, cheapest, share};
use super::lp::Splits;
use super::{floored, need_ms};
use crate::jobs::JobWork;

/// What a workload costs at the least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// By job, in the workload's order; `None` for one that no type holds.
    pub jobs: Vec<Option<Part>>,
}

/// A job's part of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Of all its tasks.
    pub cost: MicroUsd,
    /// When the last of the moments that it was priced at is over.
    pub finished_ms: u64,
}

impl Bound {
    /// Of all jobs.
    pub fn cost(&self) -> MicroUsd {
        self.jobs.iter().flatten().fold(MicroUsd(0), |sum, part| sum + part.cost)
    }
}

/// The bound when each task may wait for the cheapest moments before its deadline. See the module.
pub fn over_time(recording: &Recording, jobs: &[Arc<JobWork>]) -> Bound {
    let market = Market::new(recording);
    let classes = market.classes(jobs);
    let rates = market.rates(&classes, &Splits::best(&classes, &market.kinds));
    let part = |job: &Arc<JobWork>| {
        let class = class_of(&classes, &job.ask)?;
        let need_ms = need_ms(job);
        let until_ms = job.due_ms().filter(|due| job.arrival_ms.saturating_add(need_ms) <= *due);
        let (parts, finished_ms) = market.least(&rates, class, (job.arrival_ms, until_ms), need_ms);
        Some(Part { cost: times(floored(parts), job.count), finished_ms })
    };
    Bound { jobs: jobs.iter().map(part).collect() }
}

/// The bound when each task begins as it arrives and is never interrupted. See the module.
pub fn at_arrival(recording: &Recording, jobs: &[Arc<JobWork>]) -> Bound {
    let market = Market::new(recording);
    let classes = market.classes(jobs);
    let systems = market.systems(jobs, &classes);
    let mut sweep = Sweep {
        running: vec![0; classes.len()],
        totals: vec![0; systems.len()],
        spent: vec![0; classes.len()],
        interval: 0,
        now_ms: 0,
    };
    let mut parts: Vec<Option<Part>> = jobs
        .iter()
        .map(|job| {
            class_of(&classes, &job.ask)?;
            Some(Part { cost: MicroUsd(0), finished_ms: job.arrival_ms })
        })
        .collect();
    let mut spent_before: BTreeMap<usize, i128> = BTreeMap::new();
    for (at_ms, comes, at) in turns(jobs) {
        let Some(job) = jobs.get(at) else { continue };
        let Some(class) = class_of(&classes, &job.ask) else { continue };
        sweep.go_on(&market, &systems, at_ms);
        let spent = sweep.spent.get(class).copied().unwrap_or(0);
        if comes {
            sweep.turn(&systems, class, i128::from(job.count));
            spent_before.insert(at, spent);
        } else {
            sweep.turn(&systems, class, -i128::from(job.count));
            let each = floored(spent - spent_before.remove(&at).unwrap_or(0));
            if let Some(part) = parts.get_mut(at).and_then(Option::as_mut) {
                *part = Part { cost: times(each, job.count), finished_ms: at_ms };
            }
        }
    }
    Bound { jobs: parts }
}

fn times(each: MicroUsd, count: u32) -> MicroUsd {
    MicroUsd(each.0.saturating_mul(i64::from(count)))
}

fn class_of(classes: &[(Resources, u64)], ask: &Resources) -> Option<usize> {
    classes.binary_search_by_key(ask, |(ask, _)| *ask).ok()
}

/// By class and interval, what a task of it costs at the least: micro-USD an hour, in parts of
/// [`super::kinds::WHOLE`].
type Rates = Vec<Vec<i128>>;

/// Rates that are kept at once, at most.
const MOST_RATES: usize = 4_000_000;
/// Instants whose best splits are tried on all others.
const MOST_SYSTEMS: usize = 40;
const HOUR_MS: u64 = 3_600_000;

/// A recording as the bounds see it.
struct Market<'r> {
    recording: &'r Recording,
    /// Each capacity at the best price that it ever has.
    kinds: Vec<Offer>,
    /// Of each pool, from when on spot machines cost what; `None` = there are none.
    spot: Vec<Vec<(u64, Option<MicroUsd>)>>,
    /// When anything changes, 0 first. The last interval goes on for ever.
    breaks: Vec<u64>,
}

impl<'r> Market<'r> {
    fn new(recording: &'r Recording) -> Self {
        let spot: Vec<_> = recording.pools.iter().map(spot_steps).collect();
        let breaks: BTreeSet<u64> = spot.iter().flatten().map(|(at_ms, _)| *at_ms).collect();
        let offers = recording.pools.iter().zip(&spot).flat_map(|(pool, steps)| {
            let spot = steps.iter().filter_map(|(_, price)| *price).min();
            let best = spot.map_or(pool.on_demand, |price| price.min(pool.on_demand));
            [Offer { capacity: pool.capacity, price: best }]
        });
        let kinds = cheapest(offers);
        let breaks = std::iter::once(0).chain(breaks).collect::<BTreeSet<u64>>();
        Self { recording, kinds, spot, breaks: breaks.into_iter().collect() }
    }

    /// The classes that fit somewhere, by ask, with how long their tasks need in all.
    fn classes(&self, jobs: &[Arc<JobWork>]) -> Vec<(Resources, u64)> {
        let mut classes: BTreeMap<Resources, u64> = BTreeMap::new();
        for job in jobs {
            let all = classes.entry(job.ask).or_default();
            *all = all.saturating_add(u64::from(job.count).saturating_mul(need_ms(job)));
        }
        classes
            .into_iter()
            .filter(|(ask, _)| self.kinds.iter().any(|kind| kind.capacity.holds(ask)))
            .collect()
    }

    fn rates(&self, classes: &[(Resources, u64)], splits: &Splits) -> Rates {
        let rates = classes.iter().map(|(ask, _)| {
            let shares = self.recording.pools.iter().map(|pool| {
                let by = |kind: &Offer| kind.capacity.cmp(&pool.capacity);
                let at = self.kinds.binary_search_by(by).ok()?;
                share(&pool.capacity, splits.splits.get(at)?, ask)
            });
            self.rates_of(&shares.collect::<Vec<Option<i128>>>())
        });
        rates.collect()
    }

    /// Of one class, by interval: the cheapest pool, whose share of each pool is given.
    fn rates_of(&self, shares: &[Option<i128>]) -> Vec<i128> {
        let rate = |price: MicroUsd, share: i128| i128::from(price.0) * share;
        let pools = self.recording.pools.iter().zip(shares).zip(&self.spot);
        let pools = pools.filter_map(|((pool, share), spot)| Some((pool, (*share)?, spot)));
        let on_demand = pools.clone().map(|(pool, share, _)| rate(pool.on_demand, share)).min();
        let mut rates = vec![on_demand.unwrap_or(0); self.breaks.len()];
        for (_, share, steps) in pools {
            for (nth, (from_ms, price)) in steps.iter().enumerate() {
                let Some(price) = price else { continue };
                let first = self.breaks.partition_point(|at_ms| at_ms < from_ms);
                let next = steps.get(nth + 1).map(|(at_ms, _)| *at_ms);
                let end = next.map_or(self.breaks.len(), |next| {
                    self.breaks.partition_point(|at_ms| *at_ms < next)
                });
                for at in rates.get_mut(first..end).into_iter().flatten() {
                    *at = rate(*price, share).min(*at);
                }
            }
        }
        rates
    }

    /// What the cheapest `need_ms` within a window cost a task, and when the last of them is over.
    fn least(
        &self,
        rates: &Rates,
        class: usize,
        (from_ms, until_ms): (u64, Option<u64>),
        need_ms: u64,
    ) -> (i128, u64) {
        let rates = rates.get(class).map_or(&[][..], Vec::as_slice);
        let until_ms = until_ms.unwrap_or(u64::MAX);
        let first = self.breaks.partition_point(|at_ms| *at_ms <= from_ms).saturating_sub(1);
        let end = self.breaks.partition_point(|at_ms| *at_ms < until_ms);
        let mut stretches: Vec<(i128, u64, u64)> = (first..end)
            .filter_map(|at| {
                let begin = self.breaks.get(at)?.max(&from_ms);
                let end = self.breaks.get(at + 1).map_or(until_ms, |next| until_ms.min(*next));
                Some((*rates.get(at)?, *begin, end))
            })
            .collect();
        stretches.sort_unstable();
        let (mut left_ms, mut cost, mut finished_ms) = (need_ms, 0, from_ms);
        for (rate, begin, end) in stretches {
            if left_ms == 0 {
                break;
            }
            let taken = left_ms.min(end - begin);
            left_ms -= taken;
            cost += rate * i128::from(taken);
            finished_ms = finished_ms.max(begin + taken);
        }
        (cost, finished_ms)
    }

    /// Rates by the best splits of all work together, and of some moments: the busiest, and others
    /// spread over all.
    fn systems(&self, jobs: &[Arc<JobWork>], classes: &[(Resources, u64)]) -> Vec<Rates> {
        let each = self.breaks.len().max(1) * classes.len().max(1);
        let most = (MOST_RATES / each).clamp(1, MOST_SYSTEMS);
        let mut instants = busiest(jobs, most.div_ceil(2), HOUR_MS);
        let turns = turns(jobs);
        let step = turns.len().div_ceil((most / 2).max(1)).max(1);
        let spread = turns.iter().step_by(step).take(most / 2);
        instants.extend(spread.map(|(at_ms, _, _)| instant(jobs, *at_ms)));
        let all = self.rates(classes, &Splits::best(classes, &self.kinds));
        let systems = instants.into_iter().filter_map(|instant| {
            let asks = instant.asks.into_iter().map(|(ask, count)| (ask, u64::from(count)));
            let running: Vec<(Resources, u64)> =
                asks.filter(|(ask, _)| class_of(classes, ask).is_some()).collect();
            let splits = (!running.is_empty()).then(|| Splits::best(&running, &self.kinds))?;
            Some(self.rates(classes, &splits))
        });
        std::iter::once(all).chain(systems).collect()
    }
}

/// Prices of a pool's spot machines over time; only what changes.
fn spot_steps(pool: &PoolTrace) -> Vec<(u64, Option<MicroUsd>)> {
    let depths = match &pool.machines {
        Depth::Constant(_) => 0,
        Depth::PerTick(machines) => machines.len(),
    };
    let prices = match &pool.spot {
        Prices::Constant(_) => 0,
        Prices::PerTick(prices) => prices.len(),
    };
    let last: u64 = depths.max(prices).clamped();
    let mut steps: Vec<(u64, Option<MicroUsd>)> = Vec::new();
    for tick in 0..=last {
        let at_ms = tick.saturating_mul(pool.gap_ms);
        let price = (pool.depth(at_ms) > 0).then(|| pool.price(PurchaseOption::Spot, at_ms));
        if steps.last().is_none_or(|(_, before)| *before != price) {
            steps.push((at_ms, price));
        }
    }
    steps
}

/// What runs, and what it has cost so far, by class.
struct Sweep {
    running: Vec<i128>,
    /// By system of splits: what all that runs costs now.
    totals: Vec<i128>,
    /// By class: what a task of it would have cost from the begin until now.
    spent: Vec<i128>,
    interval: usize,
    now_ms: u64,
}

impl Sweep {
    /// The system that proves most now prices all tasks until something changes.
    fn go_on(&mut self, market: &Market<'_>, systems: &[Rates], at_ms: u64) {
        while self.now_ms < at_ms {
            let next = market.breaks.get(self.interval + 1).copied();
            let until_ms = next.map_or(at_ms, |next| next.min(at_ms));
            let best = (0..systems.len()).max_by_key(|at| self.totals.get(*at));
            if let Some(rates) = best.and_then(|at| systems.get(at)) {
                let lasted = i128::from(until_ms - self.now_ms);
                for (spent, rates) in self.spent.iter_mut().zip(rates) {
                    *spent += rates.get(self.interval).copied().unwrap_or(0) * lasted;
                }
            }
            self.now_ms = until_ms;
            if next == Some(until_ms) {
                self.interval += 1;
                for (total, rates) in self.totals.iter_mut().zip(systems) {
                    let now = self.running.iter().zip(rates).map(|(running, rates)| {
                        running * rates.get(self.interval).copied().unwrap_or(0)
                    });
                    *total = now.sum();
                }
            }
        }
    }

    fn turn(&mut self, systems: &[Rates], class: usize, count: i128) {
        if let Some(running) = self.running.get_mut(class) {
            *running += count;
        }
        for (total, rates) in self.totals.iter_mut().zip(systems) {
            let rate = rates.get(class).and_then(|rates| rates.get(self.interval));
            *total += count * rate.copied().unwrap_or(0);
        }
    }
}
