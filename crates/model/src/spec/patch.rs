//! What may be changed of a job after its submission.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deadline::parse_deadline;
use super::fields::DocumentPart;
use super::parse::{
    DEFAULT_NAME, parse_after, parse_max_running, parse_on_task_failure, parse_priority,
};
use super::reader::Reader;
use super::{Deadline, Fault, JobSpec, OnTaskFailure, limits};
use crate::JobId;

/// What a user may change of a job after its submission (`PATCH /v1/jobs/{id}`): fields that are
/// `None` stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPatch {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// All labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Higher goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// `Some(None)` takes the limit away.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub max_running: Option<Option<u32>>,
    /// What a failed task does to its siblings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_task_failure: Option<OnTaskFailure>,
    /// When it should be done, counted from its submission still; `Some(None)` takes that away.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub deadline: Option<Option<Deadline>>,
    /// All jobs that it comes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<BTreeSet<JobId>>,
}

/// `Some(None)` as null, `None` as nothing.
mod maybe {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    #[expect(clippy::option_option, reason = "a field that is not there is not one that is null")]
    pub(super) fn serialize<T: Copy + Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(to)
    }

    #[expect(clippy::option_option, reason = "a field that is not there is not one that is null")]
    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(from).map(Some)
    }
}

impl JobPatch {
    /// Whether it changes nothing of a job.
    pub fn is_idle(&self, spec: &JobSpec) -> bool {
        spec.patched(self) == *spec
    }
}

impl JobSpec {
    /// Reads a JSON merge patch (RFC 7396) over the job document: fields that are not there stay,
    /// null stands for the default, labels are merged key by key. Whether the jobs of `after` exist
    /// and make no cycle is for the caller to see.
    ///
    /// # Errors
    /// Every fault of the patch at once; never an empty list.
    pub fn merge_patch(&self, patch: &Value) -> Result<JobPatch, Vec<Fault>> {
        let mut faults = Vec::new();
        let read = Reader::new(patch, &mut faults)
            .object(DocumentPart::Patch.table(), |fields| self.read_patch(fields));
        match read {
            Some(Some(patch)) if faults.is_empty() => Ok(patch),
            _ => Err(faults),
        }
    }

    fn read_patch(&self, mut fields: Reader<'_, '_>) -> Option<JobPatch> {
        let name = field(&mut fields, "name", DEFAULT_NAME.into(), |field| field.name());
        let labels = field(&mut fields, "labels", BTreeMap::new(), |field| {
            merge_labels(&self.labels, field)
        });
        let priority = field(&mut fields, "priority", 0, parse_priority);
        let max_running =
            field(&mut fields, "max_running", None, |field| parse_max_running(field).map(Some));
        let on_task_failure =
            field(&mut fields, "on_task_failure", OnTaskFailure::default(), parse_on_task_failure);
        let deadline =
            field(&mut fields, "deadline", None, |field| parse_deadline(field).map(Some));
        let after = field(&mut fields, "after", BTreeSet::new(), parse_after);
        Some(JobPatch {
            name: name?,
            labels: labels?,
            priority: priority?,
            max_running: max_running?,
            on_task_failure: on_task_failure?,
            deadline: deadline?,
            after: after?,
        })
    }

    /// With what a patch changes.
    #[must_use]
    pub fn patched(&self, patch: &JobPatch) -> Self {
        let mut spec = self.clone();
        let JobPatch { name, labels, priority, max_running, on_task_failure, deadline, after } =
            patch;
        if let Some(name) = name {
            spec.name = name.clone();
        }
        if let Some(labels) = labels {
            spec.labels.clone_from(labels);
        }
        spec.priority = priority.unwrap_or(spec.priority);
        spec.max_running = max_running.unwrap_or(spec.max_running);
        spec.on_task_failure = on_task_failure.unwrap_or(spec.on_task_failure);
        spec.deadline = deadline.unwrap_or(spec.deadline);
        if let Some(after) = after {
            spec.after.clone_from(after);
        }
        spec
    }
}

/// A field's new value: `Some(None)` when it is not there, the default for null, `None` with a fault.
#[expect(clippy::option_option, reason = "a field that is not there is not one with a fault")]
fn field<T>(
    fields: &mut Reader<'_, '_>,
    name: &str,
    default: T,
    read: impl FnOnce(Reader<'_, '_>) -> Option<T>,
) -> Option<Option<T>> {
    match fields.field(name) {
        None => Some(None),
        Some(field) if field.is_null() => Some(Some(default)),
        Some(field) => read(field).map(Some),
    }
}

/// Labels after a merge: null takes one away.
fn merge_labels(
    before: &BTreeMap<String, String>,
    mut field: Reader<'_, '_>,
) -> Option<BTreeMap<String, String>> {
    let changes = field.changes(limits::LABELS, limits::LABEL_BYTES)?;
    let mut labels = before.clone();
    for (key, value) in changes {
        match value {
            Some(text) => labels.insert(key, text),
            None => labels.remove(&key),
        };
    }
    if labels.len() > limits::LABELS {
        field.fault(format!(
            "makes {} labels; at most {} are allowed",
            labels.len(),
            limits::LABELS
        ));
        return None;
    }
    Some(labels)
}
