//! The fields of the job document, by part. Another crate's schema is compared with these.

const NOT_BUILT: &str = "is not built yet; leave it out";
/// Field names, and of those that are known but not taken, why not.
pub(crate) type Fields = [(&'static str, Option<&'static str>)];

/// A part of the job document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentPart {
    /// The whole.
    Job,
    /// An entry of `group`.
    Group,
    /// `resources` of a group.
    Resources,
    /// `restart` of a group.
    Restart,
    /// What may be changed of a job: [`JobSpec::merge_patch`](super::JobSpec::merge_patch).
    Patch,
}

impl DocumentPart {
    /// The names of the fields that it may have.
    pub fn fields(self) -> Vec<&'static str> {
        let taken =
            |(name, refusal): &(&'static str, Option<&str>)| refusal.is_none().then_some(*name);
        self.table().iter().filter_map(taken).collect()
    }

    /// Those, and the ones that are refused with a reason.
    pub(crate) fn table(self) -> &'static Fields {
        match self {
            Self::Job => JOB,
            Self::Group => GROUP,
            Self::Resources => RESOURCES,
            Self::Restart => RESTART,
            Self::Patch => PATCH,
        }
    }
}

const JOB: &Fields = &[
    ("name", None),
    ("kind", None),
    ("namespace", None),
    ("priority", None),
    ("labels", None),
    ("on_task_failure", None),
    ("max_running", None),
    ("deadline", None),
    ("after", None),
    ("group", None),
    ("max_duration", Some(NOT_BUILT)),
    ("max_cost_usd", Some(NOT_BUILT)),
    ("instruction", Some(NOT_BUILT)),
    ("checkpoint", Some(NOT_BUILT)),
];
const GROUP: &Fields = &[
    ("name", None),
    ("after", None),
    ("count", None),
    ("items", None),
    ("items_key", None),
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
    ("image", Some(NOT_BUILT)),
    ("items_file", Some("is for `ebb submit`, which sends the lines as `items` or `items_key`")),
    ("instruction", Some(NOT_BUILT)),
    ("inputs", Some(NOT_BUILT)),
    ("ports", Some(NOT_BUILT)),
    ("health", Some(NOT_BUILT)),
    ("families", Some(NOT_BUILT)),
    ("labels", Some(NOT_BUILT)),
    ("on_disconnect", Some(NOT_BUILT)),
    ("checkpoint", Some(NOT_BUILT)),
];
const RESOURCES: &Fields = &[("cpu", None), ("memory", None), ("disk", None), ("gpus", None)];
const RESTART: &Fields =
    &[("max_failures", None), ("backoff", None), ("no_retry_exit_codes", None)];

const FIXED: &str = "cannot be changed after submission";
const PATCH: &Fields = &[
    ("name", None),
    ("labels", None),
    ("priority", None),
    ("max_running", None),
    ("on_task_failure", None),
    ("deadline", None),
    ("after", None),
    ("kind", Some(FIXED)),
    ("namespace", Some(FIXED)),
    ("group", Some(FIXED)),
    ("max_duration", Some(FIXED)),
    ("max_cost_usd", Some(FIXED)),
    ("instruction", Some(FIXED)),
    ("checkpoint", Some(FIXED)),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_patch_knows_each_field_of_a_job() {
        let names = |part: DocumentPart| part.table().iter().map(|(name, _)| *name).collect();
        let (job, patch): (BTreeSet<_>, BTreeSet<_>) =
            (names(DocumentPart::Job), names(DocumentPart::Patch));
        assert_eq!(job, patch);
    }
}
