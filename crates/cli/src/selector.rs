//! How a command names jobs, tasks and nodes: an id, a unique prefix of one, `last`, `label=value`.

use std::str::FromStr;

use api::view::JobView;
use model::{JobId, TaskId};

use crate::error::Failure;

/// Names jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobSelector {
    /// A whole id.
    Id(JobId),
    /// The beginning of an id, with `job_`.
    Prefix(String),
    /// The one submitted last.
    Last,
    /// All that bear this label.
    Label(String, String),
}

impl FromStr for JobSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "last" {
            return Ok(Self::Last);
        }
        if let Some((key, value)) = text.split_once('=') {
            return if key.is_empty() {
                Err(format!("`{text}` has no label before the `=`"))
            } else {
                Ok(Self::Label(key.to_owned(), value.to_owned()))
            };
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        id_prefix("job_", text).map(Self::Prefix).ok_or_else(|| {
            format!(
                "`{text}` names no job: write an id, the beginning of one, `last` or label=value"
            )
        })
    }
}

/// The text as the beginning of an id, its kind added if it is missing.
fn id_prefix(kind: &str, text: &str) -> Option<String> {
    const LONGEST: usize = 13;
    let digits = text.strip_prefix(kind).unwrap_or(text);
    let good = !digits.is_empty()
        && digits.len() <= LONGEST
        && digits.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    good.then(|| format!("{kind}{digits}"))
}

/// Names jobs, or one task of a job: `JOB.0.17`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    /// Jobs.
    Job(JobSelector),
    /// A task: its job, the group's ordinal, the index.
    Task(JobSelector, u16, u32),
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('.') || text.contains('=') {
            return text.parse().map(Self::Job);
        }
        let parts: Vec<_> = text.split('.').collect();
        match parts[..] {
            [job, group, index] => match (group.parse(), index.parse()) {
                (Ok(group), Ok(index)) => Ok(Self::Task(job.parse()?, group, index)),
                _ => Err(format!("`{text}` names no task: write JOB.GROUP.INDEX, like last.0.17")),
            },
            _ => Err(format!("`{text}` names no task: write JOB.GROUP.INDEX, like last.0.17")),
        }
    }
}

/// A task of a job.
pub(crate) fn task_of(job: JobId, group: u16, index: u32) -> TaskId {
    TaskId { job, group, index }
}

/// The jobs of a list that the selector names, the newest first; never none.
pub(crate) fn pick(selector: &JobSelector, jobs: &[JobView]) -> Result<Vec<JobId>, Failure> {
    let mut ids: Vec<_> = match selector {
        JobSelector::Id(id) => return Ok(vec![*id]),
        JobSelector::Last => jobs.iter().map(|job| job.id).max().into_iter().collect(),
        JobSelector::Prefix(prefix) => jobs
            .iter()
            .map(|job| job.id)
            .filter(|id| id.to_string().starts_with(prefix.as_str()))
            .collect(),
        JobSelector::Label(key, value) => {
            jobs.iter().filter(|job| job.labels.get(key) == Some(value)).map(|job| job.id).collect()
        }
    };
    ids.sort_unstable_by(|a, b| b.cmp(a));
    match (&selector, ids.len()) {
        (_, 0) => Err(Failure::not_found(nothing(selector)).next("ebb status")),
        (JobSelector::Prefix(prefix), count @ 2..) => {
            let some: Vec<_> = ids.iter().take(3).map(ToString::to_string).collect();
            let cause =
                format!("{count} jobs begin with `{prefix}`, {} among them", some.join(", "));
            Err(Failure::usage(cause).next("the same with more of the id"))
        }
        _ => Ok(ids),
    }
}

fn nothing(selector: &JobSelector) -> String {
    match selector {
        JobSelector::Id(id) => format!("there is no job {id}"),
        JobSelector::Prefix(prefix) => format!("no job begins with `{prefix}`"),
        JobSelector::Last => "there is no job yet".to_owned(),
        JobSelector::Label(key, value) => format!("no job bears the label {key}={value}"),
    }
}

/// The text as the beginning of a node's id, if it can be one.
pub(crate) fn node_prefix(text: &str) -> Option<String> {
    id_prefix("node_", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn job(text: &str) -> Result<JobSelector, String> {
        text.parse()
    }

    #[test]
    fn each_form_is_told_apart() {
        let id = JobId::from_number(7);
        assert_eq!(job(&id.to_string()), Ok(JobSelector::Id(id)));
        assert_eq!(job("job_00"), Ok(JobSelector::Prefix("job_00".into())));
        assert_eq!(job("00a"), Ok(JobSelector::Prefix("job_00a".into())));
        assert_eq!(job("last"), Ok(JobSelector::Last));
        assert_eq!(job("team=a=b"), Ok(JobSelector::Label("team".into(), "a=b".into())));
        for bad in ["", "job_", "=x", "node_0", "Job", "a/b", "job_00000000000000"] {
            assert!(job(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_is_a_job_with_two_numbers() {
        assert_eq!("last.0.17".parse(), Ok(Selector::Task(JobSelector::Last, 0, 17)));
        assert_eq!("last".parse(), Ok(Selector::Job(JobSelector::Last)));
        assert_eq!(
            "v=1.2.3".parse(),
            Ok(Selector::Job(JobSelector::Label("v".into(), "1.2.3".into())))
        );
        for bad in ["last.0", "last.0.1.2", "last.x.1", "last.0.-1", ".0.1"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn picking_is_exact_about_none_and_many() {
        let jobs = [samples::job(33), samples::job(34), samples::job(1)];
        let pick = |text: &str| {
            pick(&job(text).expect("a selector"), &jobs).map_err(|failure| failure.to_string())
        };
        assert_eq!(pick("last"), Ok(vec![JobId::from_number(34)]));
        assert_eq!(pick("0000000000001"), Ok(vec![JobId::from_number(1)]));
        assert_eq!(pick("team=render").map(|ids| ids.len()), Ok(3));
        insta::assert_snapshot!(pick("job_00000000000").unwrap_err(), @r"
        error: 3 jobs begin with `job_00000000000`, job_0000000000012, job_0000000000011, job_0000000000001 among them
          next: the same with more of the id
        ");
        insta::assert_snapshot!(pick("zz").unwrap_err(), @r"
        error: no job begins with `job_zz`
          next: ebb status
        ");
        insta::assert_snapshot!(pick("team=x").unwrap_err(), @r"
        error: no job bears the label team=x
          next: ebb status
        ");
    }
}
