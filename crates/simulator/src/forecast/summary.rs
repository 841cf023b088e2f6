//! Many runs in few figures.

use model::{Clamp, MicroUsd, PurchaseOption};

use super::{Came, Question};
use crate::result::Outcome;

/// The 10th, 50th and 90th of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread<T> {
    /// One in ten runs is below.
    pub low: T,
    /// Half of them are.
    pub median: T,
    /// One in ten is above.
    pub high: T,
}

/// What many runs came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// How many runs.
    pub runs: u32,
    /// Of these, how many did the whole job.
    pub done: u32,
    /// What the job costs: its share of its machines, and of what is idle; of runs that did it.
    pub cost: Option<Spread<MicroUsd>>,
    /// How long it takes from now, of the same runs.
    pub took_ms: Option<Spread<u64>>,
    /// Of all runs, those that were in time, in millionths.
    pub in_time_ppm: Option<u32>,
    /// Of all machine time that was bought, what was spot, in millionths. None when nothing was.
    pub spot_ppm: Option<u32>,
    /// Machines that were taken back, of the median run.
    pub interruptions: u64,
}

impl Forecast {
    pub(super) fn of(question: &Question, runs: Vec<Came>) -> Self {
        let done: Vec<&Came> = runs.iter().filter(|came| came.took_ms.is_some()).collect();
        let in_time = |deadline_ms: u64| {
            let met = |came: &&Came| came.took_ms.is_some_and(|took_ms| took_ms <= deadline_ms);
            ppm(runs.iter().filter(met).count().clamped(), runs.len().clamped()).unwrap_or(0)
        };
        let spot_ms: u64 = runs.iter().map(|came| came.spot_ms).sum();
        let on_demand_ms: u64 = runs.iter().map(|came| came.on_demand_ms).sum();
        let interruptions = spread(runs.iter().map(|came| came.interruptions).collect());
        Self {
            runs: runs.len().clamped(),
            done: done.len().clamped(),
            cost: spread(done.iter().map(|came| came.cost).collect()),
            took_ms: spread(done.iter().filter_map(|came| came.took_ms).collect()),
            in_time_ppm: question.deadline_ms.map(in_time),
            spot_ppm: ppm(spot_ms, spot_ms.saturating_add(on_demand_ms)),
            interruptions: interruptions.map_or(0, |spread| spread.median),
        }
    }
}

fn ppm(part: u64, whole: u64) -> Option<u32> {
    let ppm = (u128::from(part) * 1_000_000).checked_div(u128::from(whole))?;
    let ppm: u64 = ppm.clamped();
    Some(ppm.clamped())
}

/// By nearest rank.
pub(super) fn spread<T: Copy + Ord>(mut values: Vec<T>) -> Option<Spread<T>> {
    values.sort_unstable();
    let rank = |percent: usize| {
        let at = (values.len() * percent).div_ceil(100).max(1) - 1;
        values.get(at).copied()
    };
    Some(Spread { low: rank(10)?, median: rank(50)?, high: rank(90)? })
}

/// One run; `places` are the items that had arrived in it.
pub(super) fn came(
    question: &Question,
    places: &[usize],
    done_ms: &[Option<u64>],
    outcome: &Outcome,
) -> Came {
    let result = &outcome.result;
    let asked = |at: usize| question.items.get(at).is_some_and(|item| item.is_asked);
    let jobs = || places.iter().zip(&result.jobs);
    let own = jobs().filter(|(at, _)| asked(**at)).map(|(_, job)| job.cost_micro_usd);
    let own = own.fold(MicroUsd(0), |sum, cost| sum + cost);
    let all = result.jobs.iter().fold(MicroUsd(0), |sum, job| sum + job.cost_micro_usd);
    let mut took = (0..question.items.len()).filter(|at| asked(*at)).map(|at| done_ms[at]);
    let took_ms = took.try_fold(0, |latest: u64, done_ms| Some(latest.max(done_ms?)));
    let held = |option: PurchaseOption| {
        let rows = outcome.series.machines.iter().filter(|row| row.option == option);
        rows.flat_map(|row| &row.held_ms).copied().fold(0, u64::saturating_add)
    };
    Came {
        cost: own + share(result.idle_micro_usd, own, all),
        took_ms,
        spot_ms: held(PurchaseOption::Spot),
        on_demand_ms: held(PurchaseOption::OnDemand),
        interruptions: result.interruptions,
    }
}

/// Idle time is shared by what each used.
fn share(idle: MicroUsd, own: MicroUsd, all: MicroUsd) -> MicroUsd {
    let part = i128::from(idle.0) * i128::from(own.0);
    MicroUsd(part.checked_div(i128::from(all.0)).unwrap_or(0).clamped())
}
