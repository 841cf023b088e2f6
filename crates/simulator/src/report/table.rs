//! The figures that policies are compared by, a row for each.

use std::sync::Arc;

use model::{Clamp, MicroUsd};

use super::words::per_mille;
use crate::jobs::JobWork;
use crate::result::RunResult;

/// A policy's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which policy.
    pub policy: Arc<str>,
    /// All that was paid.
    pub cost: MicroUsd,
    /// What the work costs on demand.
    pub on_demand: MicroUsd,
    /// Cost, in thousandths of that; `None` when nothing fits the work.
    pub share_per_mille: Option<u64>,
    /// Paid without lasting progress.
    pub wasted: MicroUsd,
    /// Paid and used by no task.
    pub idle: MicroUsd,
    /// Machines that the market took back.
    pub interruptions: u64,
    /// Attempts.
    pub starts: u64,
    /// Jobs that met their deadline.
    pub met: u64,
    /// Jobs that have one.
    pub deadlines: u64,
    /// Jobs that were done.
    pub finished: u64,
    /// Jobs in all.
    pub jobs: u64,
    /// From arrival to the last task's end, on the mean of the jobs that were done.
    pub mean_completion_ms: Option<u64>,
}

impl Row {
    /// All jobs were done, those with a deadline in time.
    pub fn is_whole(&self) -> bool {
        self.finished == self.jobs && self.met == self.deadlines
    }

    /// Of a result, whose jobs are those of the workload in its order.
    pub fn of(result: &RunResult, jobs: &[Arc<JobWork>]) -> Self {
        let mut row = Self {
            policy: result.policy.clone(),
            cost: result.cost_micro_usd,
            on_demand: result.on_demand_micro_usd,
            share_per_mille: per_mille(result.cost_micro_usd, result.on_demand_micro_usd),
            wasted: result.wasted_micro_usd,
            idle: result.idle_micro_usd,
            interruptions: result.interruptions,
            starts: 0,
            met: 0,
            deadlines: 0,
            finished: 0,
            jobs: jobs.len().clamped(),
            mean_completion_ms: None,
        };
        let mut completion = 0_u128;
        for (job, done) in jobs.iter().zip(&result.jobs) {
            row.starts += done.starts;
            row.deadlines += u64::from(job.deadline_ms.is_some());
            row.met += u64::from(job.deadline_ms.is_some() && done.deadline_met);
            if let Some(at) = done.finished_s {
                row.finished += 1;
                completion += u128::from(at.ms.saturating_sub(job.arrival_ms));
            }
        }
        row.mean_completion_ms = completion.checked_div(row.finished.into()).map(Clamp::clamped);
        row
    }
}

/// A row for each result, in their order.
pub fn table<'r>(
    results: impl IntoIterator<Item = &'r RunResult>,
    jobs: &[Arc<JobWork>],
) -> Vec<Row> {
    results.into_iter().map(|result| Row::of(result, jobs)).collect()
}
