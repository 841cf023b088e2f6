//! What GETs answer: canonical units, RFC 3339 times, money in micro-dollars.

use std::collections::BTreeMap;

pub use model::TaskCounts;
use model::{
    AttemptEnd, AttemptId, Cause, Counters, ItemsKey, JobId, JobSpec, JobStatus, LogPart, MicroUsd,
    NodeId, NodeReason, Offer, OutputFile, Pool, Resources, TaskId, TaskStatus, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The things.
    pub items: Vec<T>,
    /// For `?cursor=`; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// 201 of `POST /v1/jobs`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The job.
    pub id: JobId,
    /// How many tasks it has.
    pub tasks: u64,
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When it settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// How often a user changed it; its ETag, for `If-Match` of the next change.
    #[serde(default)]
    pub revision: u32,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its tasks by status.
    pub tasks: TaskCounts,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobDetail {
    /// As in the list.
    #[serde(flatten)]
    pub job: JobView,
    /// What was asked, in canonical units; items left out.
    pub spec: JobSpec,
    /// Its groups.
    pub groups: Vec<GroupView>,
    /// What its attempts cost so far.
    pub cost_micro_usd: MicroUsd,
    /// When it should be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
    /// Whether it succeeded by then; absent while it still may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_met: Option<bool>,
}

/// A group of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// Its tasks by status.
    pub tasks: TaskCounts,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// Why it is settled without success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The number of its latest attempt; 0 when it was never placed.
    pub attempt: u32,
    /// Where that is or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The exit code of its latest ended attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How its attempts ended.
    pub counters: Counters,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// The fence.
    pub id: AttemptId,
    /// Where it was.
    pub node: NodeId,
    /// When it was assigned.
    pub assigned_at: Timestamp,
    /// When the manager learned that it had started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the manager learned that it had ended.
    pub ended_at: Timestamp,
    /// How long its process ran.
    pub run_ms: u64,
    /// How it ended.
    pub end: AttemptEnd,
    /// Its exit code, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did that was not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether it settled its task.
    pub settles: bool,
    /// The node's words on what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputFile>,
}

/// An output file of a settled task: `GET /v1/tasks/{task}/outputs/{path}` gives its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputView {
    /// The task.
    pub task: TaskId,
    /// The path below the task's folder.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
}

/// A node, or machines that are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its id; of what is not yet born, its intent's.
    pub id: String,
    /// `requested, launching, booting, ready, suspect, draining, retiring, gone, launch-failed`.
    pub state: String,
    /// Why it is in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NodeReason>,
    /// Since when.
    pub since: Timestamp,
    /// The cloud's name for it, or the name that a static node gave itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was bought; absent for a static node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// Price an hour.
    pub price_micro_usd_hour: MicroUsd,
    /// What tasks can use of it.
    pub capacity: Resources,
    /// What is reserved.
    pub reserved: Resources,
    /// Attempts that run or are reserved.
    pub running: u32,
    /// Attempts that are prefetched.
    pub held: u32,
    /// When it will be taken, if a notice said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

/// Why something is as it is, in words (`/explain`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// What is explained.
    pub subject: String,
    /// One sentence.
    pub summary: String,
    /// The reasons, most important first.
    pub details: Vec<String>,
}

/// What can be bought: `GET /v1/offers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfferView {
    /// What it is and costs.
    #[serde(flatten)]
    pub offer: Offer,
    /// Not asked of the cloud before, for it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld_until: Option<Timestamp>,
    /// Why, as a clause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld_why: Option<String>,
}

/// `GET /v1/cost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostView {
    /// All that was bought, machines that still run included.
    pub total_micro_usd: MicroUsd,
    /// Attempts that ended by themselves.
    pub task_micro_usd: MicroUsd,
    /// Attempts that were lost or interrupted.
    pub waste_micro_usd: MicroUsd,
    /// From launch to join.
    pub boot_micro_usd: MicroUsd,
    /// The rest of the machines that are gone.
    pub idle_micro_usd: MicroUsd,
    /// Not booked yet: machines that still run.
    pub open_micro_usd: MicroUsd,
    /// The same machines at their on-demand price.
    pub on_demand_micro_usd: MicroUsd,
    /// Machines that were launched.
    pub instances: u64,
}

/// What a settled task's settling attempt has left: `GET /v1/jobs/{id}/results`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResultView {
    /// The task.
    pub task: TaskId,
    /// The number of the attempt that settled it.
    pub attempt: u32,
    /// How that attempt ended.
    pub end: AttemptEnd,
    /// Its exit code, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Its standard output, where it is short; otherwise ask `/v1/tasks/{id}/logs`.
    pub stdout: LogPart,
    /// Its standard error, alike.
    pub stderr: LogPart,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenPurpose {
    /// All of REST.
    User,
    /// Machines that join as nodes.
    Join,
    /// The syncs of one node.
    Node,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `user` or `join`.
    pub purpose: TokenPurpose,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// How often a join token works; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// How long it works; a join token for a day by default, a user's until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_ms: Option<u64>,
}

/// 201 of `POST /v1/tokens`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    /// The secret; shown once.
    pub token: String,
    /// All the rest.
    #[serde(flatten)]
    pub view: TokenView,
}

impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenMade").field("view", &self.view).finish_non_exhaustive()
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// For `DELETE /v1/tokens/{id}`.
    pub id: String,
    /// What it is for.
    pub purpose: TokenPurpose,
    /// For people.
    pub name: String,
    /// The node of a node's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// How often it still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// Until when it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which tasks of a job run again: `POST /v1/jobs/{id}/retry`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryWhich {
    /// Those that failed.
    #[default]
    Failed,
    /// Those that were cancelled.
    Cancelled,
    /// All that did not succeed.
    Unsuccessful,
}

/// `POST /v1/jobs/{id}/retry`; an empty body is `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Which tasks; a job that is not settled has only its failed ones retried.
    #[serde(default)]
    pub tasks: RetryWhich,
}

/// 202 of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retried {
    /// The job.
    pub id: JobId,
    /// How many of its tasks run again.
    pub tasks: u64,
}

/// 201 of `POST /v1/items`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemsStored {
    /// For a group's `items_key`.
    pub key: ItemsKey,
    /// How many texts.
    pub count: u32,
    /// Their length, without JSON around them.
    pub size_bytes: u64,
}
