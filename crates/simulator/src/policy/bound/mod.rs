//! What a workload costs at the least: linear relaxations that no packing and no policy can beat.
//!
//! # One instant
//!
//! [`one_shot`] packs tasks onto machines that may be bought in fractions: minimise Σ price · y over
//! machines y ≥ 0 of each type and tasks x ≥ 0 of each class (equal asks) on each type that holds
//! them, so that every task is placed and for each type and resource Σ ask · x ≤ capacity · y. Pools
//! are taken as bottomless.
//!
//! Its dual is how the bound is *proved*: give each type a price split over its resources,
//! w ≥ 0 with Σ w ≤ 1. A task then costs at least the cheapest, over the types that hold it, of
//! price · Σ w · ask / capacity, because on any machine those sums are at most 1 for what fits
//! together. Any split gives a bound; [`simplex`] finds the best one in floating point, and the bound
//! is then computed from it in integers, rounded down. An inexact solution can therefore only make
//! the bound lower, never wrong; [`OneShot`] carries the fractional packing's cost as well, so that
//! the two show how near they are.
//!
//! Two reductions keep it small. A type is left out when another holds whatever it holds at no more
//! for each unit of each resource; it takes over that one's split. Thousands of classes are merged
//! for the solver only: the split is then applied to the true classes.
//!
//! # Over time
//!
//! [`over_time`] takes all work of a workload as if it came at once, splits at the best prices that
//! the record ever shows, and lets each task run when it is cheapest between its arrival and its
//! deadline, at the prices of each tick, for its work and one changeover. So tasks may wait for one
//! another in order to fill machines, which nothing that is paid for can improve on. A task that
//! cannot meet its deadline may run whenever it likes.
//!
//! [`at_arrival`] is the integral over time of the one-shot bound of what runs if every task begins
//! as it arrives. It is higher, and binds whoever runs tasks so: a workload without any slack.
//!
//! Neither counts boots, egress, billing steps, checkpoints that are written, or machines' whole
//! numbers. Machines' bills are rounded to micro-dollars, so that a run may undercut the bound by half
//! a micro-dollar a machine.

mod busiest;
mod kinds;
mod lp;
mod over_time;
mod simplex;
#[cfg(test)]
mod tests;

pub use busiest::{Instant, busiest};
pub use kinds::Offer;
pub use lp::{OneShot, one_shot};
pub use over_time::{Bound, at_arrival, over_time};

use std::sync::Arc;

use market::recorded::{Exact, Recorded, Recording};
use model::{Clamp, MicroUsd};

use crate::books::Books;
use crate::jobs::JobWork;
use crate::policy::PolicyName;
use crate::result::{Outcome, Seconds};

/// The bound as the result of a run in which nothing is idle and nothing is lost: each job costs its
/// share of the bound, its one changeover a task is the only waste.
///
/// [`over_time`]'s bound, or [`at_arrival`]'s if that is higher and no job has any slack.
pub(crate) fn run(recording: &Arc<Recording>, jobs: &[Arc<JobWork>], seed: u64) -> Outcome {
    let mut bound = over_time(recording, jobs);
    if jobs.iter().all(|job| !has_slack(job)) {
        let other = at_arrival(recording, jobs);
        if other.cost() > bound.cost() {
            bound = other;
        }
    }
    let market = Recorded::new(recording.clone());
    let mut outcome = Books::new(jobs).close(&market, PolicyName::Omniscient.as_str().into(), seed);
    let mut wasted = Exact::default();
    for ((job, result), part) in jobs.iter().zip(&mut outcome.result.jobs).zip(&bound.jobs) {
        let Some(part) = part else { continue };
        result.cost_micro_usd = part.cost;
        result.finished_s = Some(Seconds { ms: part.finished_ms });
        result.deadline_met = job.due_ms().is_none_or(|due| part.finished_ms <= due);
        result.starts = u64::from(job.count);
        wasted += changeover_share(job, part.cost);
    }
    outcome.result.cost_micro_usd = bound.cost();
    outcome.result.wasted_micro_usd = wasted.rounded();
    outcome
}

fn has_slack(job: &JobWork) -> bool {
    job.deadline_ms.is_none_or(|deadline| deadline > need_ms(job))
}

/// What a task has to be on a machine for: its work and one changeover.
fn need_ms(job: &JobWork) -> u64 {
    job.work.work_ms.saturating_add(job.work.changeover_ms)
}

fn changeover_share(job: &JobWork, cost: MicroUsd) -> Exact {
    const MS_PER_HOUR: i128 = 3_600_000;
    let need = i128::from(need_ms(job).max(1));
    Exact(i128::from(cost.0) * MS_PER_HOUR * i128::from(job.work.changeover_ms) / need)
}

/// From parts of a micro-dollar hour, in milliseconds, to micro-dollars, rounded down.
fn floored(parts: i128) -> MicroUsd {
    MicroUsd((parts / (kinds::WHOLE * 3_600_000)).clamped())
}
