//! What a run came to.

use std::sync::Arc;

use model::MicroUsd;
use serde::{Serialize, Serializer};

use crate::series::Series;

/// Seconds in answers: whole ones as integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds {
    /// In milliseconds.
    pub ms: u64,
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.ms.is_multiple_of(1_000) {
            return to.serialize_u64(self.ms / 1_000);
        }
        // Milliseconds below 2^53 have a double of their own.
        to.serialize_f64(self.ms as f64 / 1_000.0)
    }
}

/// The result of one run (DESIGN §6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunResult {
    /// Which policy.
    pub policy: Arc<str>,
    /// Which seed.
    pub seed: u64,
    /// Every machine second or tick bought, egress included.
    pub cost_micro_usd: MicroUsd,
    /// The same work on demand: the cheapest type that fits, work and one changeover a task, no
    /// packing.
    pub on_demand_micro_usd: MicroUsd,
    /// Paid without lasting progress: changeovers, checkpoints, lost work.
    pub wasted_micro_usd: MicroUsd,
    /// Paid and used by no task: boots, gaps, tails.
    pub idle_micro_usd: MicroUsd,
    /// Machines that the market took back.
    pub interruptions: u64,
    /// By job, in the workload's order; their cost and what is idle add up to all cost.
    pub jobs: Vec<JobResult>,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobResult {
    /// Its id.
    pub id: Arc<str>,
    /// When its last task was done, from the begin of the run; null when it never was.
    pub finished_s: Option<Seconds>,
    /// Whether that was in time. A job without a deadline has only to be done.
    pub deadline_met: bool,
    /// Its share of machines, egress included.
    pub cost_micro_usd: MicroUsd,
    /// Attempts that began.
    pub starts: u64,
}

/// A result with what is needed to draw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In figures.
    pub result: RunResult,
    /// Over time.
    pub series: Series,
}
