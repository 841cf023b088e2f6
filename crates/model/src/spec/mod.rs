//! What a user submits, parsed. A [`JobSpec`] cannot be wrong: [`JobSpec::parse`] reports every
//! fault at once and gives none otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ItemsKey, JobId, Namespace, PurchaseOption, Resources};

mod deadline;
mod fields;
mod graph;
mod parse;
mod patch;
mod reader;

pub use deadline::{Deadline, past_deadline};
pub use fields::DocumentPart;
pub use parse::items_keys;
pub use patch::JobPatch;

/// Limits on what may be asked, each far above use and far below harm.
pub mod limits {
    /// Groups of a job.
    pub const GROUPS: usize = 1_000;
    /// Tasks of a job: indices are 32 bits, and a page of results is still a page.
    pub const TASKS: u64 = 100_000_000;
    /// Bytes of a name.
    pub const NAME_BYTES: usize = 128;
    /// Labels of a job.
    pub const LABELS: usize = 64;
    /// Bytes of a label's key or value, of a zone, of an instance type.
    pub const LABEL_BYTES: usize = 256;
    /// Words of a command.
    pub const COMMAND_WORDS: usize = 4_096;
    /// Bytes of a command, an environment, an item: Linux gives one argument 128 KiB.
    pub const TEXT_BYTES: usize = 128 * 1024;
    /// Variables of an environment.
    pub const ENV: usize = 1_000;
    /// Patterns of outputs.
    pub const OUTPUTS: usize = 100;
    /// Longest duration: ten years.
    pub const DURATION_MS: u64 = 315_360_000_000;
    /// Jobs that a job may come after.
    pub const AFTER_JOBS: usize = 64;
    /// Faults that are listed: whoever made more of them is not helped by all.
    pub const FAULTS: usize = 100;
}

/// One thing wrong with a document, and where: the pointer is RFC 6901.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where, e.g. `/group/0/resources/cpu`.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// A job, as decided over and stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobSpec {
    /// For people; need not be unique.
    #[schema(value_type = String)]
    pub name: Arc<str>,
    /// Whom it belongs to.
    pub namespace: Namespace,
    /// Higher goes first; -1000 to 1000.
    pub priority: i16,
    /// For selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What a failed task does to its siblings.
    pub on_task_failure: OnTaskFailure,
    /// At most so many tasks on nodes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// When it should be done. Nothing is stopped when it is missed; what must run may be bought
    /// otherwise to meet it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// Jobs that must have succeeded before any of its tasks is placed. Should one end otherwise,
    /// this job is stopped with [`Cause::Dependency`](crate::Cause::Dependency).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<JobId>,
    /// Its groups, at least one.
    pub groups: Vec<Arc<GroupSpec>>,
}

/// What a failed task does to its siblings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTaskFailure {
    /// Nothing: they run to their ends.
    #[default]
    Continue,
    /// They are cancelled.
    Stop,
}

/// Tasks of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupSpec {
    /// Unique in its job.
    #[schema(value_type = String)]
    pub name: Arc<str>,
    /// How many tasks.
    pub count: u32,
    /// Ordinals of the job's groups that must have succeeded before a task of this one is placed.
    /// Should one be settled otherwise, this group's tasks are cancelled.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<u16>,
    /// One input text a task, in `$EBB_ITEM`; then `count` is their number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub items: Vec<Arc<str>>,
    /// The same, uploaded before by `POST /v1/items`: `items` is empty then, and the texts are read
    /// from the store when a task is handed to its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items_key: Option<ItemsKey>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment, beside the `EBB_` variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Absolute folder to start in; by default the attempt's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Patterns of files to keep, relative to the attempt's own folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// What one task needs.
    pub resources: Resources,
    /// What happens when it fails.
    pub restart: Restart,
    /// Ended when it runs longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What it usually takes, until history knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_ms: Option<u64>,
    /// Where it may run.
    pub constraints: Constraints,
}

/// What happens when a task fails on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restart {
    /// The failure after these fails the task. Interruptions are not counted.
    pub max_failures: u32,
    /// Wait before the second attempt; doubles with each failure.
    pub backoff_ms: u64,
    /// Codes that fail the task at once.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub no_retry_exit_codes: BTreeSet<i32>,
}

impl Default for Restart {
    fn default() -> Self {
        Self { max_failures: 3, backoff_ms: 5_000, no_retry_exit_codes: BTreeSet::new() }
    }
}

/// Where tasks of a group may run. Empty lists allow all.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub struct Constraints {
    /// How the machine may be paid for. Static nodes cost nothing and suit every job.
    pub purchase: Purchase,
    /// Availability zones.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = BTreeSet<String>)]
    pub zones: BTreeSet<Arc<str>>,
    /// Instance types.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = BTreeSet<String>)]
    pub instance_types: BTreeSet<Arc<str>>,
}

/// How the machine may be paid for.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Purchase {
    /// Spot only.
    #[default]
    Spot,
    /// On-demand only.
    OnDemand,
    /// Spot, and on-demand where no spot is to be had.
    SpotThenOnDemand,
}

impl Purchase {
    /// Whether a machine bought this way will do.
    pub fn allows(self, option: PurchaseOption) -> bool {
        match self {
            Self::Spot => option == PurchaseOption::Spot,
            Self::OnDemand => option == PurchaseOption::OnDemand,
            Self::SpotThenOnDemand => true,
        }
    }
}

/// What placement and planning need to know of a task: tasks of one ask are interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// What it needs.
    pub resources: Resources,
    /// Where it may run.
    pub constraints: Constraints,
}

impl GroupSpec {
    /// What its tasks ask for.
    pub fn ask(&self) -> Ask {
        Ask { resources: self.resources, constraints: self.constraints.clone() }
    }

    /// All but the items. Field by field, so that a million items are not cloned to be dropped.
    #[must_use]
    pub fn without_items(&self) -> Self {
        Self {
            name: self.name.clone(),
            count: self.count,
            items: Vec::new(),
            items_key: self.items_key,
            after: self.after.clone(),
            command: self.command.clone(),
            env: self.env.clone(),
            workdir: self.workdir.clone(),
            outputs: self.outputs.clone(),
            resources: self.resources,
            restart: self.restart.clone(),
            timeout_ms: self.timeout_ms,
            expect_ms: self.expect_ms,
            constraints: self.constraints.clone(),
        }
    }
}

impl JobSpec {
    /// How many tasks it has.
    pub fn tasks(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.count)).sum()
    }
}
