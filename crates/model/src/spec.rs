//! What a user submits, parsed. A [`JobSpec`] cannot be wrong: [`JobSpec::parse`] reports every
//! fault at once and gives none otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::spec_reader::Reader;
use crate::{
    ItemsKey, JobId, Namespace, PurchaseOption, Resources, parse_cpu_millis, parse_duration_ms,
    parse_mebibytes,
};

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
    /// Depth of a submitted document.
    pub const DEPTH: usize = 32;
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

    /// Reads the document of DESIGN §6, however it was written (TOML, YAML or JSON).
    ///
    /// # Errors
    /// Every fault of the document at once, in the order of its fields; never an empty list.
    pub fn parse(document: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let spec = Reader::new(document, &mut faults).object(&JOB_FIELDS, parse_job);
        match spec {
            Some(Some(spec)) if faults.is_empty() => Ok(spec),
            _ => Err(faults),
        }
    }
}

const NOT_BUILT: &str = "is not built yet; leave it out";
/// Field names, and for those of DESIGN §6 that are not built, that they are not.
type Fields = [(&'static str, Option<&'static str>)];

const JOB_FIELDS: [(&str, Option<&str>); 14] = [
    ("name", None),
    ("kind", None),
    ("namespace", None),
    ("priority", None),
    ("labels", None),
    ("on_task_failure", None),
    ("max_running", None),
    ("group", None),
    ("deadline", Some(NOT_BUILT)),
    ("max_duration", Some(NOT_BUILT)),
    ("after", Some(NOT_BUILT)),
    ("max_cost_usd", Some(NOT_BUILT)),
    ("instruction", Some(NOT_BUILT)),
    ("checkpoint", Some(NOT_BUILT)),
];
const GROUP_FIELDS: [(&str, Option<&str>); 26] = [
    ("name", None),
    ("count", None),
    ("items", None),
    ("command", None),
    ("env", None),
    ("workdir", None),
    ("outputs", None),
    ("resources", None),
    ("restart", None),
    ("timeout", None),
    ("expect", None),
    ("purchase", None),
    ("zones", None),
    ("instance_types", None),
    ("after", Some(NOT_BUILT)),
    ("image", Some(NOT_BUILT)),
    ("items_file", Some("is for `ebb submit`, which sends the lines as `items`")),
    ("items_key", Some(NOT_BUILT)),
    ("instruction", Some(NOT_BUILT)),
    ("inputs", Some(NOT_BUILT)),
    ("ports", Some(NOT_BUILT)),
    ("health", Some(NOT_BUILT)),
    ("families", Some(NOT_BUILT)),
    ("labels", Some(NOT_BUILT)),
    ("on_disconnect", Some(NOT_BUILT)),
    ("checkpoint", Some(NOT_BUILT)),
];
const RESOURCE_FIELDS: &Fields = &[("cpu", None), ("memory", None), ("disk", None), ("gpus", None)];
const RESTART_FIELDS: &Fields =
    &[("max_failures", None), ("backoff", None), ("no_retry_exit_codes", None)];

/// What a group without `resources` gets: one core is what a process takes by itself.
const DEFAULT_RESOURCES: Resources =
    Resources { cpu_millis: 1000, memory_mib: 256, disk_mib: 0, gpus: 0 };

fn parse_job(mut job: Reader<'_, '_>) -> Option<JobSpec> {
    let name = job.field("name").map_or_else(|| Some("job".into()), |field| field.name());
    job.field("kind").and_then(|field| {
        field.one_of(&[
            ("batch", Ok(())),
            ("service", Err("services are not built yet: write \"batch\"")),
        ])
    });
    let namespace = job.field("namespace").map_or_else(
        || Some(Namespace::default()),
        |field| field.parsed(|text| text.parse().map_err(|fault: crate::BadId| fault.to_string())),
    );
    let priority = job
        .field("priority")
        .map_or(Some(0), |field| field.integer(-1000, 1000).and_then(|n| i16::try_from(n).ok()));
    let labels = job.field("labels").map_or_else(
        || Some(BTreeMap::new()),
        |field| field.text_map(limits::LABELS, limits::LABEL_BYTES),
    );
    let on_task_failure =
        job.field("on_task_failure").map_or(Some(OnTaskFailure::Continue), |field| {
            field.one_of(&[
                ("continue", Ok(OnTaskFailure::Continue)),
                ("stop", Ok(OnTaskFailure::Stop)),
            ])
        });
    let max_running = job.field("max_running").map_or(Some(None), |field| {
        field.integer(1, i64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok()).map(Some)
    });
    let groups = parse_groups(&mut job);
    Some(JobSpec {
        name: name?,
        namespace: namespace?,
        priority: priority?,
        labels: labels?,
        on_task_failure: on_task_failure?,
        max_running: max_running?,
        after: BTreeSet::new(),
        groups: groups?,
    })
}

fn parse_groups(job: &mut Reader<'_, '_>) -> Option<Vec<Arc<GroupSpec>>> {
    let Some(list) = job.field("group") else {
        job.fault("a job needs at least one `group`");
        return None;
    };
    let groups = list.list(1, limits::GROUPS, |ordinal, entry| {
        entry.object(&GROUP_FIELDS, |group| parse_group(ordinal, group)).flatten()
    })?;
    let mut names = BTreeSet::new();
    let mut unique = true;
    for (ordinal, group) in groups.iter().enumerate() {
        if !names.insert(group.name.clone()) {
            unique = false;
            job.fault_at(
                &format!("/group/{ordinal}/name"),
                format!("another group is named `{}` already", group.name),
            );
        }
    }
    let tasks: u64 = groups.iter().map(|group| u64::from(group.count)).sum();
    if tasks > limits::TASKS {
        unique = false;
        job.fault_at(
            "/group",
            format!("{tasks} tasks are more than the {} that a job may have", limits::TASKS),
        );
    }
    unique.then(|| groups.into_iter().map(Arc::new).collect())
}

fn parse_group(ordinal: usize, mut group: Reader<'_, '_>) -> Option<GroupSpec> {
    let name = group
        .field("name")
        .map_or_else(|| Some(format!("group-{ordinal}").into()), |field| field.name());
    let (count, items) = parse_count(&mut group);
    let command = match group.field("command") {
        Some(field) => field.words(),
        None => {
            group.fault("`command` is missing: the program and its arguments, as a list");
            None
        }
    };
    let env = group.field("env").map_or_else(|| Some(BTreeMap::new()), |field| field.env());
    let workdir = group.field("workdir").map_or(Some(None), |field| {
        field
            .parsed(|text| {
                if text.starts_with('/') {
                    Ok(text.to_owned())
                } else {
                    Err("must be absolute".into())
                }
            })
            .map(Some)
    });
    let outputs = group.field("outputs").map_or_else(|| Some(Vec::new()), |field| field.patterns());
    let resources = group.field("resources").map_or(Some(DEFAULT_RESOURCES), |field| {
        field.object(RESOURCE_FIELDS, parse_resources).flatten()
    });
    let restart = group.field("restart").map_or_else(
        || Some(Restart::default()),
        |field| field.object(RESTART_FIELDS, parse_restart).flatten(),
    );
    let timeout_ms = group.field("timeout").map_or(Some(None), |field| field.duration(1).map(Some));
    let expect_ms = group.field("expect").map_or(Some(None), |field| field.duration(1).map(Some));
    let constraints = parse_constraints(&mut group);
    Some(GroupSpec {
        name: name?,
        count: count?,
        items: items?,
        items_key: None,
        after: BTreeSet::new(),
        command: command?,
        env: env?,
        workdir: workdir?,
        outputs: outputs?,
        resources: resources?,
        restart: restart?,
        timeout_ms: timeout_ms?,
        expect_ms: expect_ms?,
        constraints: constraints?,
    })
}

type Items = Vec<Arc<str>>;

fn parse_count(group: &mut Reader<'_, '_>) -> (Option<u32>, Option<Items>) {
    let most = i64::try_from(limits::TASKS).unwrap_or(i64::MAX);
    let count = group
        .field("count")
        .map(|field| field.integer(1, most).and_then(|count| u32::try_from(count).ok()));
    let items = group.field("items").map(|field| {
        let most = usize::try_from(limits::TASKS).unwrap_or(usize::MAX);
        field.list(1, most, |_, entry| entry.text(limits::TEXT_BYTES).map(Arc::from))
    });
    match (count, items) {
        (None, None) => (Some(1), Some(Vec::new())),
        (Some(count), None) => (count, Some(Vec::new())),
        (None, Some(items)) => {
            let count = items.as_ref().and_then(|items| u32::try_from(items.len()).ok());
            (count, items)
        }
        (Some(_), Some(_)) => {
            group.fault("`count` and `items` exclude each other: items make one task each");
            (None, None)
        }
    }
}

fn parse_resources(mut ask: Reader<'_, '_>) -> Option<Resources> {
    let cpu_millis = ask
        .field("cpu")
        .map_or(Some(DEFAULT_RESOURCES.cpu_millis), |field| field.quantity(parse_cpu_millis));
    let memory_mib = ask
        .field("memory")
        .map_or(Some(DEFAULT_RESOURCES.memory_mib), |field| field.parsed(parse_mebibytes));
    let disk_mib = ask.field("disk").map_or(Some(0), |field| field.parsed(parse_mebibytes));
    let gpus = ask
        .field("gpus")
        .map_or(Some(0), |field| field.integer(0, 1024).and_then(|n| u32::try_from(n).ok()));
    Some(Resources {
        cpu_millis: cpu_millis?,
        memory_mib: memory_mib?,
        disk_mib: disk_mib?,
        gpus: gpus?,
    })
}

fn parse_restart(mut restart: Reader<'_, '_>) -> Option<Restart> {
    let default = Restart::default();
    let max_failures = restart.field("max_failures").map_or(Some(default.max_failures), |field| {
        field.integer(0, 10_000).and_then(|n| u32::try_from(n).ok())
    });
    let backoff_ms =
        restart.field("backoff").map_or(Some(default.backoff_ms), |field| field.duration(0));
    let no_retry_exit_codes = restart.field("no_retry_exit_codes").map_or_else(
        || Some(BTreeSet::new()),
        |field| {
            field
                .list(0, 256, |_, code| code.integer(1, 255).and_then(|n| i32::try_from(n).ok()))
                .map(BTreeSet::from_iter)
        },
    );
    Some(Restart {
        max_failures: max_failures?,
        backoff_ms: backoff_ms?,
        no_retry_exit_codes: no_retry_exit_codes?,
    })
}

fn parse_constraints(group: &mut Reader<'_, '_>) -> Option<Constraints> {
    let purchase = group.field("purchase").map_or(Some(Purchase::Spot), |field| {
        field.one_of(&[
            ("spot", Ok(Purchase::Spot)),
            ("on-demand", Ok(Purchase::OnDemand)),
            ("spot-then-on-demand", Ok(Purchase::SpotThenOnDemand)),
        ])
    });
    let mut names = |key| {
        group.field(key).map_or_else(
            || Some(BTreeSet::new()),
            |field| {
                field
                    .list(1, 1_000, |_, name| name.text(limits::LABEL_BYTES).map(Arc::from))
                    .map(BTreeSet::from_iter)
            },
        )
    };
    let (zones, instance_types) = (names("zones"), names("instance_types"));
    Some(Constraints { purchase: purchase?, zones: zones?, instance_types: instance_types? })
}

impl Reader<'_, '_> {
    fn duration(self, least_ms: u64) -> Option<u64> {
        self.parsed(|text| {
            let ms = parse_duration_ms(text)?;
            if (least_ms..=limits::DURATION_MS).contains(&ms) {
                Ok(ms)
            } else {
                Err(format!("`{text}` is outside {least_ms} ms to ten years"))
            }
        })
    }
}
