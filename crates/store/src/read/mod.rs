//! What GETs read.

mod attempts;
mod dependencies;
mod explanations;
mod history;
mod jobs;
mod nodes;
mod overview;
mod retries;
mod tasks;

pub use attempts::{AttemptRecord, OutputRecord, ResultRecord};
pub use explanations::ExplanationRecord;
pub use history::{History, HistoryLimits, HistoryRead, PastGroup, PastJob, PastRuns};
pub use jobs::{GroupRecord, JobDetail, JobFilter, JobRecord};
pub use nodes::{CostSums, NodeRecord};
pub use overview::Overview;
pub use retries::{RetryOf, SettledJob};
pub use tasks::{TaskFilter, TaskRecord};

/// The longest page.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// A task's API status from its row.
pub(crate) const TASK_STATUS: &str = "CASE WHEN state = 'ready' THEN 'waiting' \
     WHEN state <> 'placed' THEN state WHEN phase = 'leaving' THEN 'leaving' \
     WHEN started_ms IS NOT NULL THEN 'running' ELSE 'assigned' END";
