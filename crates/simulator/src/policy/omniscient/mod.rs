//! What somebody who knows the whole record would do: the least that a workload can cost.
//!
//! For one task with continuous checkpoints that is exact: [`optimum`] over a [`model`], where progress is the time
//! on machines less a changeover a start. For one that keeps nothing it is the cheapest unbroken
//! stretch ([`unbroken`]), exact as well. The schedule is then carried out at a desk
//! ([`script`]), so that its figures are booked like everybody's.
//!
//! By ticks a task has `ceil(deadline / tick)` of them, as in the authors' program: with a deadline
//! within a tick, an optimum that needs the rest of that tick is reported, and as late.
//!
//! Where an exact answer would be too dear, it is a true lower bound:
//! - Periodic checkpoints are taken for continuous ones.
//! - Boots but the first are taken for free: another machine can boot while the task still runs on
//!   the last one. All of their time is.
//! - A changeover that has no common measure with a tick is rounded down to one, as little as
//!   bounded memory allows.
//! - The minimum of 60 billed seconds is not looked at when choosing; it is paid.
//!
//! A task that cannot be done in time is done as early as possible.

mod model;
mod optimum;
mod script;
#[cfg(test)]
mod tests;
mod unbroken;

use std::sync::Arc;

use ::model::{Clamp, MicroUsd, Resources};
use market::recorded::{DecideAt, Depth, Prices, Recorded, Recording};

use self::model::{Model, Span, gcd};
use self::optimum::{Part, Stretch};
use self::script::Script;
use crate::arena;
use crate::books::Books;
use crate::jobs::JobWork;
use crate::policy::{PolicyName, bound};
use crate::result::Outcome;
use crate::work::Checkpoint;

/// Cells of all rows that one task's optimum may take. With more, the quantum grows.
const MOST_CELLS: u64 = 1 << 30;

/// The least that the workload can cost.
///
/// Of several tasks that cannot share a machine it is the sum of their optima; of others it is what
/// [`bound`] finds.
pub(crate) fn run(recording: &Arc<Recording>, jobs: &[Arc<JobWork>], seed: u64) -> Outcome {
    match jobs {
        [job] if job.count == 1 => alone(recording, job, seed),
        _ if are_apart(recording, jobs) => apart(recording, jobs, seed),
        _ => bound::run(recording, jobs, seed),
    }
}

/// Whether no machine holds two of the tasks.
fn are_apart(recording: &Recording, jobs: &[Arc<JobWork>]) -> bool {
    let asks = jobs.iter().map(|job| job.ask);
    let Some(least) = asks.reduce(|one, other| Resources {
        cpu_millis: one.cpu_millis.min(other.cpu_millis),
        memory_mib: one.memory_mib.min(other.memory_mib),
        disk_mib: one.disk_mib.min(other.disk_mib),
        gpus: one.gpus.min(other.gpus),
    }) else {
        return false;
    };
    recording.pools.iter().all(|pool| pool.capacity.times(&least) < 2)
}

fn apart(recording: &Arc<Recording>, jobs: &[Arc<JobWork>], seed: u64) -> Outcome {
    let market = Recorded::new(recording.clone());
    let mut sum = Books::new(jobs).close(&market, PolicyName::Omniscient.as_str().into(), seed);
    let all = &mut sum.result;
    for (job, result) in jobs.iter().zip(&mut all.jobs) {
        let one = Arc::new(JobWork { count: 1, ..JobWork::clone(job) });
        let one = alone(recording, &one, seed).result;
        let times = |cost: MicroUsd| MicroUsd(cost.0.saturating_mul(i64::from(job.count)));
        all.cost_micro_usd += times(one.cost_micro_usd);
        all.wasted_micro_usd += times(one.wasted_micro_usd);
        all.idle_micro_usd += times(one.idle_micro_usd);
        all.interruptions += one.interruptions * u64::from(job.count);
        let Some(of_one) = one.jobs.first() else { continue };
        result.finished_s = of_one.finished_s;
        result.deadline_met = of_one.deadline_met;
        result.cost_micro_usd = times(of_one.cost_micro_usd);
        result.starts = of_one.starts * u64::from(job.count);
    }
    sum
}

/// The optimum of one task, carried out.
fn alone(recording: &Arc<Recording>, job: &Arc<JobWork>, seed: u64) -> Outcome {
    let plan = plan(recording, job);
    let mut script = Script::new(plan.stretches);
    let jobs = [Arc::new(plan.job)];
    let name = PolicyName::Omniscient;
    let mut outcome = arena::run(&plan.recording, &jobs, name, seed, &mut script);
    outcome.result.on_demand_micro_usd = job.on_demand(recording);
    outcome
}

/// A schedule, with the market and the task for which it is one: what makes a bound of it is already
/// taken out of them.
struct Plan {
    recording: Arc<Recording>,
    job: JobWork,
    stretches: Vec<Stretch>,
}

fn plan(recording: &Arc<Recording>, job: &Arc<JobWork>) -> Plan {
    let is_one_piece = job.work.checkpoint == Checkpoint::None || job.work.work_ms == 0;
    let span = span(recording, job);
    if is_one_piece {
        let due_ms = job.due_ms().unwrap_or(span.to_ms);
        let stretch = unbroken::solve(recording, job, Span { to_ms: due_ms, ..span });
        let (recording, job) = (recording.clone(), JobWork::clone(job));
        return Plan { recording, job, stretches: stretch.into_iter().collect() };
    }
    let boot_ms = recording.boot_ms;
    let mut job = JobWork::clone(job);
    job.work.checkpoint = Checkpoint::Continuous;
    let recording = match boot_ms {
        0 => recording.clone(),
        _ => Arc::new(Recording { boot_ms: 0, ..Recording::clone(recording) }),
    };
    let solved = in_time(&recording, &job, span, boot_ms).or_else(|| {
        let needed = job.work.runtime_ms(0).saturating_add(boot_ms);
        let to_ms = whole_ticks(&recording, span.from_ms, span.from_ms.saturating_add(needed));
        best(&recording, &job, Span { to_ms, ..span }, boot_ms)
    });
    let stretches = solved.map(|solved| {
        job.work.changeover_ms = solved.changeover_ms;
        solved.stretches
    });
    Plan { recording, job, stretches: stretches.unwrap_or_default() }
}

/// When a task can be worked on. Without a deadline until the records are over and it could have
/// been done on demand.
fn span(recording: &Recording, job: &JobWork) -> Span {
    let from_ms = match recording.decide_at {
        DecideAt::Tick => recording.tick_at_or_after(job.arrival_ms),
        DecideAt::Event => job.arrival_ms,
    };
    let needed = job.work.runtime_ms(0).saturating_add(recording.boot_ms);
    let over_ms = changes_until(recording).max(from_ms).saturating_add(needed);
    Span { from_ms, to_ms: whole_ticks(recording, from_ms, job.due_ms().unwrap_or(over_ms)) }
}

/// After that nothing changes any more.
fn changes_until(recording: &Recording) -> u64 {
    let ends = recording.pools.iter().map(|pool| {
        let depths = match &pool.machines {
            Depth::Constant(_) => 0,
            Depth::PerTick(machines) => machines.len(),
        };
        let prices = match &pool.spot {
            Prices::Constant(_) => 0,
            Prices::PerTick(prices) => prices.len(),
        };
        let ticks: u64 = depths.max(prices).clamped();
        ticks.saturating_mul(pool.gap_ms)
    });
    ends.max().unwrap_or(0)
}

/// By ticks the end of the tick in which the span ends.
fn whole_ticks(recording: &Recording, from_ms: u64, to_ms: u64) -> u64 {
    match recording.decide_at {
        DecideAt::Tick => from_ms.max(recording.tick_at_or_after(to_ms)),
        DecideAt::Event => to_ms,
    }
}

struct Solved {
    cost: model::Cost,
    stretches: Vec<Stretch>,
    /// What a start was taken to need.
    changeover_ms: u64,
}

/// The optimum of a span; among equals one that is in time to the millisecond.
fn in_time(recording: &Recording, job: &JobWork, span: Span, boot_ms: u64) -> Option<Solved> {
    let solved = best(recording, job, span, boot_ms)?;
    let Some(due_ms) = job.due_ms().filter(|due| *due < span.to_ms) else { return Some(solved) };
    let strict = best(recording, job, Span { to_ms: due_ms, ..span }, boot_ms);
    Some(strict.filter(|strict| strict.cost <= solved.cost).unwrap_or(solved))
}

/// The optimum of a span, in which the first boot has passed before anything.
fn best(recording: &Recording, job: &JobWork, span: Span, boot_ms: u64) -> Option<Solved> {
    let model = Model::new(recording, job, span)?;
    let quantum_ms = quantum(&model);
    let spare_ms = model.spare_ms.checked_sub(boot_ms)?;
    let parts = parts(&model, spare_ms, quantum_ms);
    let solved = parts.into_iter().filter_map(|part| optimum::solve(&model, part));
    let (cost, stretches) = solved.min_by_key(|(cost, _)| *cost)?;
    let changeover_ms = model.delay_ms / quantum_ms * quantum_ms;
    Some(Solved { cost, stretches, changeover_ms })
}

/// Only whole steps are spent on nothing: a short one at an end is held, or left out.
fn parts(model: &Model, spare_ms: u64, quantum_ms: u64) -> Vec<Part> {
    let steps = model.steps();
    let last = steps.saturating_sub(1);
    let is_short = |step: usize| model.len_ms(step) != model.step_ms;
    let firsts: &[(usize, bool)] =
        if is_short(0) { &[(0, true), (1, false)] } else { &[(0, false)] };
    let ends: &[(usize, bool)] =
        if is_short(last) { &[(steps, true), (last, false)] } else { &[(steps, false)] };
    let mut parts = Vec::new();
    for (first, holds_first) in firsts.iter().copied() {
        for (end, holds_last) in ends.iter().copied() {
            let left_out = model.len_ms(0) * u64::from(first > 0)
                + model.len_ms(last) * u64::from(end < steps);
            let Some(spare_ms) = spare_ms.checked_sub(left_out).filter(|_| first < end) else {
                continue;
            };
            parts.push(Part { first, end, holds_first, holds_last, spare_ms, quantum_ms });
        }
    }
    parts
}

/// In what lost time is counted: the common measure of a step and a changeover, or the least part of
/// a step that keeps to [`MOST_CELLS`].
fn quantum(model: &Model) -> u64 {
    let common = gcd(model.step_ms, model.delay_ms).max(1);
    let states: u64 = (model.machines.len() + model.zones + 1).clamped();
    let steps: u64 = model.steps().clamped();
    let rows = states.saturating_mul(steps).saturating_mul(2);
    let least = model.spare_ms / (MOST_CELLS / rows.max(1)).max(1);
    if common >= least {
        return common;
    }
    let parts = 1..=model.step_ms.div_ceil(least.max(1)).max(1);
    let divisor = parts
        .rev()
        .find(|parts| model.step_ms.is_multiple_of(*parts) && model.step_ms / *parts >= least);
    model.step_ms / divisor.unwrap_or(1)
}
