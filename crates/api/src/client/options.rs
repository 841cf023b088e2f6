//! What lists can be narrowed by.

use model::{JobId, JobStatus, NodeId, TaskStatus};

use crate::event::{EventId, EventKind};
use crate::sync::Stream;

/// Pairs of a query.
type Pairs = Vec<(&'static str, String)>;

/// `GET /v1/jobs`.
#[derive(Debug, Clone, Default)]
pub struct JobsQuery {
    /// Only those that stand so.
    pub status: Option<JobStatus>,
    /// Only those with this label, `KEY=VALUE`.
    pub label: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Items of a page, at most 1,000.
    pub limit: Option<u32>,
}

/// `GET /v1/jobs/{id}/tasks`, `outputs`, `results`.
#[derive(Debug, Clone, Default)]
pub struct TasksQuery {
    /// Only those that stand so; for `tasks`.
    pub status: Option<TaskStatus>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Items of a page, at most 1,000.
    pub limit: Option<u32>,
}

/// `GET /v1/nodes`.
#[derive(Debug, Clone, Default)]
pub struct NodesQuery {
    /// Also nodes that are gone, and launches that failed.
    pub all: bool,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Nodes of a page, at most 1,000.
    pub limit: Option<u32>,
}

/// `GET /v1/tasks/{id}/logs`.
#[derive(Debug, Clone, Default)]
pub struct LogsQuery {
    /// Which stream; standard output by default.
    pub stream: Option<Stream>,
    /// Of this attempt; by default the settling one, else the latest.
    pub attempt: Option<u32>,
    /// Whether to wait for what is not yet written; until the attempt ends.
    pub follow: bool,
}

/// `GET /v1/events`.
#[derive(Debug, Clone, Default)]
pub struct EventsQuery {
    /// Only those of this job, with its progress; such a stream ends when the job is settled.
    pub job: Option<JobId>,
    /// Only those of this node.
    pub node: Option<NodeId>,
    /// Only these kinds; all when empty.
    pub kinds: Vec<EventKind>,
    /// From after this one; by default from now on.
    pub after: Option<EventId>,
}

fn pair<T: ToString>(key: &'static str, value: Option<&T>) -> Option<(&'static str, String)> {
    value.map(|value| (key, value.to_string()))
}

impl JobsQuery {
    pub(super) fn pairs(&self) -> Pairs {
        [
            pair("status", self.status.as_ref()),
            pair("label", self.label.as_ref()),
            pair("cursor", self.cursor.as_ref()),
            pair("limit", self.limit.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl TasksQuery {
    pub(super) fn pairs(&self) -> Pairs {
        [
            pair("status", self.status.as_ref()),
            pair("cursor", self.cursor.as_ref()),
            pair("limit", self.limit.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl NodesQuery {
    pub(super) fn pairs(&self) -> Pairs {
        let all = self.all.then(|| ("all", "true".to_owned()));
        let paging = [pair("cursor", self.cursor.as_ref()), pair("limit", self.limit.as_ref())];
        all.into_iter().chain(paging.into_iter().flatten()).collect()
    }
}

impl EventsQuery {
    /// Without the place to begin, which is a header.
    pub(super) fn pairs(&self) -> Pairs {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| word(*kind)).collect();
        let kinds = (!kinds.is_empty()).then(|| ("kind", kinds.join(",")));
        let filters = [pair("job", self.job.as_ref()), pair("node", self.node.as_ref())];
        filters.into_iter().flatten().chain(kinds).collect()
    }
}

/// As in JSON.
fn word(kind: EventKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

impl LogsQuery {
    pub(super) fn pairs(&self) -> Pairs {
        let stream = self.stream.map(|stream| ("stream", stream.as_str().to_owned()));
        let follow = self.follow.then(|| ("follow", "1".to_owned()));
        stream.into_iter().chain(pair("attempt", self.attempt.as_ref())).chain(follow).collect()
    }
}
