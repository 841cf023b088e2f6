//! What a digester and the leader say to each other (DESIGN §5): join, then one long poll after
//! another.
//!
//! A poll with transitions is answered as soon as they are durable, with whatever commands there
//! are; one without waits up to [`POLL_WAIT_MS`] for a command. A higher `poll` number ends the
//! older poll at once. Commands repeat until the digester says, by `answered`, which poll's answer
//! it has read; the digester ignores those it has and answers of lower terms.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AttemptId, GroupId, GroupSpec, NodeId, Resources};
pub use model::{InventoryItem, NodeNotice, Stats, Transition};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};

/// How long the leader keeps a poll that it has nothing for.
pub const POLL_WAIT_MS: u64 = 15_000;
/// Transitions of one poll; a digester with more sends them in several.
pub const MAX_TRANSITIONS: usize = 2_000;

/// `POST /v1/nodes/join`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Who it is.
    pub proof: Proof,
    /// Chosen by the digester at its first start and kept with its spool; the first join binds
    /// the node to it. 63 bits.
    #[schema(maximum = 9_223_372_036_854_775_807_u64)]
    pub session: u64,
    /// What tasks may use of the machine; some cpu and some memory at the least.
    #[schema(schema_with = capacity)]
    pub capacity: Resources,
    /// Of changes, spool and sync.
    pub format: u32,
}

/// [`Resources`] of which something is there.
fn capacity() -> RefOr<Schema> {
    let mut all =
        ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for (field, least) in [("cpu_millis", 1), ("memory_mib", 1), ("disk_mib", 0), ("gpus", 0)] {
        let number = ObjectBuilder::new().schema_type(Type::Integer);
        let number = number.minimum(Some(least)).maximum(Some(u32::MAX));
        all = all.property(field, number).required(field);
    }
    all.into()
}

/// How a digester proves that it may join.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Proof {
    /// A launched machine: the cloud's signed document.
    Identity {
        /// As the cloud's metadata service gives it.
        document: String,
    },
    /// Somebody's own machine: a join token and a name that is unique in the cluster.
    Token {
        /// From `ebb token`.
        token: String,
        /// Usually the host's.
        name: String,
    },
}

/// The answer to a join.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JoinAnswer {
    /// The node that it is.
    pub node: NodeId,
    /// Bearer token of its syncs.
    pub token: String,
    /// The leader's term.
    pub term: u64,
}

/// `POST /v1/nodes/{id}/sync`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// As in the join.
    #[schema(maximum = 9_223_372_036_854_775_807_u64)]
    pub session: u64,
    /// Grows with each poll of a session.
    pub poll: u64,
    /// The highest poll whose answer the digester has read.
    #[serde(default)]
    pub answered: u64,
    /// The highest term that it has seen.
    pub term_seen: u64,
    /// Spool offset of the first of `transitions`; they are numbered from there.
    pub spool_offset: u64,
    /// What changed, in order.
    #[serde(default)]
    pub transitions: Vec<Transition>,
    /// All unsettled attempts here: on the first poll of a process and of a term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Vec<InventoryItem>>,
    /// A notice that the node itself has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<NodeNotice>,
    /// What it has to spare.
    #[serde(default)]
    pub stats: Stats,
}

/// The answer to a sync.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct SyncAnswer {
    /// The leader's term.
    pub term: u64,
    /// Transitions below this spool offset are durable (or void) and may be forgotten.
    pub acked_offset: u64,
    /// Work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assign: Vec<Assignment>,
    /// The specs of `assign`'s groups, each once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, GroupWork>)]
    pub groups: BTreeMap<GroupId, GroupWork>,
    /// Attempts to stop, or whose number is no longer valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancel: Vec<AttemptId>,
    /// Held attempts to give back, unless they have started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retract: Vec<AttemptId>,
    /// Running attempts whose output somebody is reading now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<TailRequest>,
    /// Start nothing more.
    #[serde(default)]
    pub drain: bool,
    /// Notices that the manager has for this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<NodeNotice>,
}

/// One attempt to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Assignment {
    /// The fence.
    pub attempt: AttemptId,
    /// Whether it is a prefetch: it starts only when the regulator has room.
    #[serde(default)]
    pub held: bool,
    /// Its `$EBB_ITEM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub item: Option<Arc<str>>,
}

/// What all tasks of a group share. The items are left out of `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupWork {
    /// Whose job it is: part of the keys of outputs.
    pub namespace: model::Namespace,
    /// What to run.
    pub spec: Arc<GroupSpec>,
}

/// Somebody reads the output of a running attempt: the digester sends what there is past
/// `offset`, by `POST /v1/nodes/{id}/tail?attempt=&stream=&offset=` with the bytes as body.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    utoipa::IntoParams,
)]
#[into_params(parameter_in = Query)]
pub struct TailRequest {
    /// The attempt.
    pub attempt: AttemptId,
    /// Which stream.
    pub stream: Stream,
    /// What the reader has already.
    pub offset: u64,
}

/// An output stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As in queries and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Where everything of a job is in the object store.
pub fn job_key(namespace: &model::Namespace, job: model::JobId) -> String {
    format!("{namespace}/{job}")
}

/// Where an attempt's files are in the object store; the key contains the attempt, so that two
/// attempts never write one key (DESIGN §4.2).
pub fn attempt_key(namespace: &model::Namespace, attempt: AttemptId) -> String {
    let task = attempt.task;
    let job = job_key(namespace, task.job);
    format!("{job}/{}/{}/{}", task.group, task.index, attempt.attempt)
}

/// The key of an attempt's stream.
pub fn log_key(namespace: &model::Namespace, attempt: AttemptId, stream: Stream) -> String {
    format!("{}/{}", attempt_key(namespace, attempt), stream.as_str())
}

/// The key of an attempt's output file.
pub fn output_key(namespace: &model::Namespace, attempt: AttemptId, path: &str) -> String {
    format!("{}/outputs/{path}", attempt_key(namespace, attempt))
}
