//! `GET /v1/export`: a manager's state and history, for `ebb simulate --from-export`.

use model::{ClusterId, JobId, JobStatus, MicroUsd, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The format that this build writes and reads.
pub const FORMAT: u32 = 1;

/// A manager's state and history. Seconds in `market` and `jobs` are from `from` on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExportView {
    /// 1.
    pub format: u32,
    /// Whose.
    pub cluster: ClusterId,
    /// From when.
    pub from: Timestamp,
    /// Until when; what was submitted or paid at this time is not in it.
    pub to: Timestamp,
    /// A market file of `ebb simulate`.
    #[schema(value_type = Object)]
    pub market: Box<RawValue>,
    /// A jobs file of `ebb simulate`: what was settled of what was submitted in this time, by group.
    #[schema(value_type = Vec<Object>)]
    pub jobs: Box<RawValue>,
    /// What came of it.
    pub seen: ExportSeen,
    /// What is not known, and what was taken for it, in sentences.
    pub assumed: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportSeen {
    /// All that was booked in this time.
    pub cost_micro_usd: MicroUsd,
    /// Of that, attempts that ended by themselves.
    pub task_micro_usd: MicroUsd,
    /// Attempts that were lost or interrupted.
    pub waste_micro_usd: MicroUsd,
    /// From launch to join.
    pub boot_micro_usd: MicroUsd,
    /// The rest of machines that have ended.
    pub idle_micro_usd: MicroUsd,
    /// Beside it, what machines that still run have cost and is not booked yet.
    pub open_micro_usd: MicroUsd,
    /// Machines that were taken back in this time.
    pub interruptions: u64,
    /// Jobs that were submitted in this time, the oldest first.
    pub jobs: Vec<ExportJob>,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportJob {
    /// Its id; in `jobs` its groups are `ID.GROUP`.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// Whether it succeeded by its deadline; absent without one, or while it still may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_met: Option<bool>,
    /// What its attempts cost, whenever they ended.
    pub cost_micro_usd: MicroUsd,
    /// Attempts that have ended.
    pub attempts: u64,
}
