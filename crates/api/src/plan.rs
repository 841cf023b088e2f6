//! `POST /v1/plan`: what a job would cost and how long it would take.

use model::{MicroUsd, Pool, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a job would cost and how long it would take, if it were submitted now. Nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// The job's name.
    pub name: String,
    /// How many tasks it has.
    pub tasks: u64,
    /// Groups that no machine here or on offer could run, and why; then nothing else is known.
    pub why_not: Vec<PlanObstacle>,
    /// What it would cost: its share of its machines and of what they are idle. Absent when no run
    /// came to the job's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<CostRange>,
    /// From now until its last task has ended; of the same runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<TimeRange>,
    /// When it should be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
    /// The chance that it is done by then: of all runs, those that were, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_chance_ppm: Option<u32>,
    /// Of all machine time that was bought in the runs, what was spot, in millionths; the rest was
    /// on demand. Absent when none was bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_share_ppm: Option<u32>,
    /// Machines that are taken back in the median run.
    pub interruptions: u64,
    /// What would be ordered first, for all that waits, this job included.
    pub launches: Vec<PlanLaunch>,
    /// What its tasks are thought to run, by group.
    pub run_times: Vec<PlanRunTime>,
    /// Simulated runs, each with seeds of its own.
    pub runs: u32,
    /// Of these, those that came to the job's end.
    pub done: u32,
    /// What else was assumed, in sentences.
    pub assumed: Vec<String>,
}

/// Why a group cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanObstacle {
    /// The group's name.
    pub group: String,
    /// In a sentence.
    pub why: String,
}

/// Money: of ten runs one is below `low`, five are below `median`, one is above `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostRange {
    /// The 10th percentile.
    pub low: MicroUsd,
    /// The 50th.
    pub median: MicroUsd,
    /// The 90th.
    pub high: MicroUsd,
}

/// Lengths of time: of ten runs one is below `low`, five are below `median`, one is above `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeRange {
    /// The 10th percentile.
    pub low: u64,
    /// The 50th.
    pub median: u64,
    /// The 90th.
    pub high: u64,
}

/// Machines that would be ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanLaunch {
    /// How many.
    pub machines: u32,
    /// Of one of these, the preferred first.
    pub pools: Vec<Pool>,
    /// What one of the preferred costs an hour.
    pub price_micro_usd_hour: MicroUsd,
    /// Why.
    pub reason: String,
}

/// What a task of a group is thought to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanRunTime {
    /// The group's name.
    pub group: String,
    /// How long.
    pub run_ms: u64,
    /// Who says so.
    pub source: RunTimeSource,
    /// How many tasks of settled jobs of this name it is the mean of, for `history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
}

/// Who says how long a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunTimeSource {
    /// The job's `expect`.
    Expect,
    /// Settled jobs of the same name.
    History,
}
