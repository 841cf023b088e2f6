//! Reads the job document of DESIGN §6.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::deadline::parse_deadline;
use super::fields::DocumentPart;
use super::reader::Reader;
use super::{
    Constraints, Fault, GroupSpec, JobSpec, OnTaskFailure, Purchase, Restart, graph, limits,
};
use crate::{
    ItemsKey, JobId, Namespace, Resources, parse_cpu_millis, parse_duration_ms, parse_mebibytes,
};

/// What a group without `resources` gets: one core is what a process takes by itself.
const DEFAULT_RESOURCES: Resources =
    Resources { cpu_millis: 1000, memory_mib: 256, disk_mib: 0, gpus: 0 };

/// The name of a job that has none.
pub(super) const DEFAULT_NAME: &str = "job";

/// What the reading of a group has to know of the rest.
struct Around<'a> {
    names: graph::Names,
    /// How many texts are stored under each key.
    items: &'a BTreeMap<ItemsKey, u32>,
}

impl JobSpec {
    /// As [`JobSpec::parse_with`], where no items are stored.
    ///
    /// # Errors
    /// Every fault of the document at once, in the order of its fields; never an empty list.
    pub fn parse(document: &Value) -> Result<Self, Vec<Fault>> {
        Self::parse_with(document, &BTreeMap::new())
    }

    /// Reads the document of DESIGN §6, however it was written (TOML, YAML or JSON). `items` are the
    /// numbers of texts under those of its [`items_keys`] that are stored.
    ///
    /// # Errors
    /// Every fault of the document at once, in the order of its fields; never an empty list.
    pub fn parse_with(
        document: &Value,
        items: &BTreeMap<ItemsKey, u32>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let spec = Reader::new(document, &mut faults)
            .object(DocumentPart::Job.table(), |job| parse_job(job, items));
        match spec {
            Some(Some(spec)) if faults.is_empty() => Ok(spec),
            _ => Err(faults),
        }
    }
}

/// The keys of uploaded items that a document names, for [`JobSpec::parse_with`]: as far as it can
/// be read.
pub fn items_keys(document: &Value) -> BTreeSet<ItemsKey> {
    let groups = document.get("group").and_then(Value::as_array);
    let groups = groups.into_iter().flatten().take(limits::GROUPS);
    groups.filter_map(|group| group.get("items_key")?.as_str()?.parse().ok()).collect()
}

fn parse_job(mut job: Reader<'_, '_>, items: &BTreeMap<ItemsKey, u32>) -> Option<JobSpec> {
    let name = job.field("name").map_or_else(|| Some(DEFAULT_NAME.into()), Reader::name);
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
    let priority = job.field("priority").map_or(Some(0), parse_priority);
    let labels = job.field("labels").map_or_else(
        || Some(BTreeMap::new()),
        |field| field.text_map(limits::LABELS, limits::LABEL_BYTES),
    );
    let on_task_failure = job
        .field("on_task_failure")
        .map_or_else(|| Some(OnTaskFailure::default()), parse_on_task_failure);
    let max_running =
        job.field("max_running").map_or(Some(None), |field| parse_max_running(field).map(Some));
    let deadline =
        job.field("deadline").map_or(Some(None), |field| parse_deadline(field).map(Some));
    let after = job.field("after").map_or_else(|| Some(BTreeSet::new()), parse_after);
    let groups = parse_groups(&mut job, items);
    Some(JobSpec {
        name: name?,
        namespace: namespace?,
        priority: priority?,
        labels: labels?,
        on_task_failure: on_task_failure?,
        max_running: max_running?,
        deadline: deadline?,
        after: after?,
        groups: groups?,
    })
}

pub(super) fn parse_priority(field: Reader<'_, '_>) -> Option<i16> {
    field.integer(-1000, 1000).and_then(|number| i16::try_from(number).ok())
}

pub(super) fn parse_max_running(field: Reader<'_, '_>) -> Option<u32> {
    field.integer(1, i64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
}

pub(super) fn parse_on_task_failure(field: Reader<'_, '_>) -> Option<OnTaskFailure> {
    field.one_of(&[("continue", Ok(OnTaskFailure::Continue)), ("stop", Ok(OnTaskFailure::Stop))])
}

/// Jobs that a job comes after. Whether there are such jobs, only the store knows.
pub(super) fn parse_after(field: Reader<'_, '_>) -> Option<BTreeSet<JobId>> {
    let job = |entry: Reader<'_, '_>| {
        entry.parsed(|text| text.parse().map_err(|fault: crate::BadId| fault.to_string()))
    };
    field.list(0, limits::AFTER_JOBS, |_, entry| job(entry)).map(BTreeSet::from_iter)
}

fn parse_groups(
    job: &mut Reader<'_, '_>,
    items: &BTreeMap<ItemsKey, u32>,
) -> Option<Vec<Arc<GroupSpec>>> {
    let Some(list) = job.field("group") else {
        job.fault("a job needs at least one `group`");
        return None;
    };
    let raw = list.entries();
    let around = Around { names: graph::Names::of(raw), items };
    let groups = list.list(1, limits::GROUPS, |ordinal, entry| {
        let read = |group: Reader<'_, '_>| parse_group(ordinal, group, &around);
        entry.object(DocumentPart::Group.table(), read).flatten()
    });
    let cycles = around.names.cycles(raw);
    for graph::Cycle { group, place, words } in &cycles {
        job.fault_at(&format!("/group/{group}/after/{place}"), words.as_str());
    }
    let groups = groups.filter(|_| cycles.is_empty())?;
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

fn parse_group(
    ordinal: usize,
    mut group: Reader<'_, '_>,
    around: &Around<'_>,
) -> Option<GroupSpec> {
    let name =
        group.field("name").map_or_else(|| Some(graph::default_name(ordinal).into()), Reader::name);
    let after = group.field("after").map_or_else(
        || Some(BTreeSet::new()),
        |field| parse_group_after(field, ordinal, &around.names),
    );
    let tasks = parse_tasks(&mut group, around.items);
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
        field.object(DocumentPart::Resources.table(), parse_resources).flatten()
    });
    let restart = group.field("restart").map_or_else(
        || Some(Restart::default()),
        |field| field.object(DocumentPart::Restart.table(), parse_restart).flatten(),
    );
    let timeout_ms = group.field("timeout").map_or(Some(None), |field| field.duration(1).map(Some));
    let expect_ms = group.field("expect").map_or(Some(None), |field| field.duration(1).map(Some));
    let constraints = parse_constraints(&mut group);
    let (name, after, Tasks { count, items, items_key }) = (name?, after?, tasks?);
    Some(GroupSpec {
        name,
        count,
        after,
        items,
        items_key,
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

/// Groups of the same job, by name.
fn parse_group_after(
    field: Reader<'_, '_>,
    ordinal: usize,
    names: &graph::Names,
) -> Option<BTreeSet<u16>> {
    let group = |mut entry: Reader<'_, '_>| {
        let name = entry.again().text(limits::NAME_BYTES)?;
        match names.ordinal(name) {
            None => entry.fault(format!("no group of this job is named `{name}`")),
            Some(own) if usize::from(own) == ordinal => {
                entry.fault("a group cannot come after itself");
            }
            Some(other) => return Some(other),
        }
        None
    };
    field.list(0, limits::GROUPS, |_, entry| group(entry)).map(BTreeSet::from_iter)
}

/// What makes the tasks of a group.
struct Tasks {
    count: u32,
    items: Vec<Arc<str>>,
    items_key: Option<ItemsKey>,
}

fn parse_tasks(group: &mut Reader<'_, '_>, stored: &BTreeMap<ItemsKey, u32>) -> Option<Tasks> {
    let counted = |count| Tasks { count, items: Vec::new(), items_key: None };
    let most = i64::try_from(limits::TASKS).unwrap_or(i64::MAX);
    let count = group.field("count").map(|field| {
        field.integer(1, most).and_then(|count| u32::try_from(count).ok()).map(counted)
    });
    let items = group.field("items").map(|field| {
        let most = usize::try_from(limits::TASKS).unwrap_or(usize::MAX);
        let items =
            field.list(1, most, |_, entry| entry.text(limits::TEXT_BYTES).map(Arc::from))?;
        let count = u32::try_from(items.len()).ok()?;
        Some(Tasks { count, items, items_key: None })
    });
    let uploaded = group.field("items_key").map(|field| parse_items_key(field, stored));
    match [count, items, uploaded].into_iter().flatten().collect::<Vec<_>>() {
        given if given.is_empty() => Some(counted(1)),
        mut given if given.len() == 1 => given.pop().flatten(),
        _ => {
            group.fault(
                "`count`, `items` and `items_key` exclude each other: items make one task each",
            );
            None
        }
    }
}

fn parse_items_key(mut field: Reader<'_, '_>, stored: &BTreeMap<ItemsKey, u32>) -> Option<Tasks> {
    let key: ItemsKey = field
        .again()
        .parsed(|text| text.parse().map_err(|fault: crate::BadId| fault.to_string()))?;
    match stored.get(&key) {
        Some(&count) if (1..=limits::TASKS).contains(&u64::from(count)) => {
            Some(Tasks { count, items: Vec::new(), items_key: Some(key) })
        }
        Some(count) => {
            field.fault(format!(
                "{count} items are stored under this key; a job may have 1 to {} tasks",
                limits::TASKS
            ));
            None
        }
        None => {
            field.fault("nothing is stored under this key: send the items to `/v1/items` first");
            None
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
                    .list(1, 1_000, |_, name| name.some_text(limits::LABEL_BYTES).map(Arc::from))
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
