//! What the API tells of a change (`GET /v1/events`, server-sent events).
//!
//! An event's id is `SEQ.N`: the commit that made it durable, and its place among that commit's
//! events. Ids grow; `Last-Event-ID` resumes after one, as long as the log still has it (410
//! otherwise: read the present state, then follow from `GET /v1/events` without an id).

use std::fmt;
use std::str::FromStr;

use model::{
    AttemptEnd, Cause, IntentId, JobId, JobStatus, NodeId, NodeReason, TaskCounts, TaskId,
    TaskStatus, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where in the log an event stands: `SEQ.N`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The commit.
    pub seq: u64,
    /// The ordinal among the commit's events, from 0.
    pub ordinal: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.ordinal)
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no event id like 1042.0");
        let (seq, ordinal) = text.split_once('.').ok_or_else(wrong)?;
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(seq) || !digits(ordinal) {
            return Err(wrong());
        }
        Ok(Self {
            seq: seq.parse().map_err(|_| wrong())?,
            ordinal: ordinal.parse().map_err(|_| wrong())?,
        })
    }
}

/// What happened; also the `event:` field of its message.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A job was accepted.
    JobSubmitted,
    /// A job that waited in its table was taken in.
    JobTakenIn,
    /// A user changed it.
    JobPatched,
    /// Tasks of it run again.
    JobRetried,
    /// It is to end early.
    JobStopping,
    /// It is settled.
    JobSettled,
    /// Its tasks counted by status; sent at most once a second to streams of one job, never stored,
    /// so without an id.
    JobProgress,
    /// A task was given to a node.
    TaskAssigned,
    /// Its attempt started.
    TaskStarted,
    /// Its node has to go.
    TaskLeaving,
    /// It was told to stop.
    TaskStopping,
    /// Its attempt ended; `status` says what became of the task.
    TaskEnded,
    /// It waits no longer for its next attempt.
    TaskDue,
    /// A user had it run again.
    TaskRetried,
    /// Tasks `from..to` of a group were cancelled before they ran.
    TasksCancelled,
    /// A node is born, or differs from before.
    Node,
    /// Machines were asked for, came, or were refused.
    Launch,
    /// A notice came for an instance that is not known yet.
    NoticeKept,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::JobSubmitted,
        Self::JobTakenIn,
        Self::JobPatched,
        Self::JobRetried,
        Self::JobStopping,
        Self::JobSettled,
        Self::JobProgress,
        Self::TaskAssigned,
        Self::TaskStarted,
        Self::TaskLeaving,
        Self::TaskStopping,
        Self::TaskEnded,
        Self::TaskDue,
        Self::TaskRetried,
        Self::TasksCancelled,
        Self::Node,
        Self::Launch,
        Self::NoticeKept,
    ];

    /// As in JSON, in queries and in `event:` fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobSubmitted => "job-submitted",
            Self::JobTakenIn => "job-taken-in",
            Self::JobPatched => "job-patched",
            Self::JobRetried => "job-retried",
            Self::JobStopping => "job-stopping",
            Self::JobSettled => "job-settled",
            Self::JobProgress => "job-progress",
            Self::TaskAssigned => "task-assigned",
            Self::TaskStarted => "task-started",
            Self::TaskLeaving => "task-leaving",
            Self::TaskStopping => "task-stopping",
            Self::TaskEnded => "task-ended",
            Self::TaskDue => "task-due",
            Self::TaskRetried => "task-retried",
            Self::TasksCancelled => "tasks-cancelled",
            Self::Node => "node",
            Self::Launch => "launch",
            Self::NoticeKept => "notice-kept",
        }
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no kind of event"))
    }
}

/// One event: the fields that its kind has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// `SEQ.N`; absent for what is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What happened.
    pub kind: EventKind,
    /// When, by the step's clock.
    pub at: Timestamp,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The number of its attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// Where the job stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_status: Option<JobStatus>,
    /// Where the task stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_status: Option<TaskStatus>,
    /// How the attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AttemptEnd>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The node's or the launch's new state, as in `GET /v1/nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why the node is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NodeReason>,
    /// When the node will be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Of `tasks-cancelled`: the group's ordinal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u16>,
    /// Of `tasks-cancelled`: the first index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// Of `tasks-cancelled`: after the last index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// Of `job-progress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCounts>,
    /// More, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Event {
    /// One of this kind, without any of the fields that it may have.
    pub fn new(kind: EventKind, at: Timestamp) -> Self {
        Self {
            id: None,
            kind,
            at,
            job: None,
            task: None,
            attempt: None,
            node: None,
            intent: None,
            job_status: None,
            task_status: None,
            end: None,
            cause: None,
            state: None,
            reason: None,
            deadline: None,
            group: None,
            from: None,
            to: None,
            tasks: None,
            detail: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_one_way() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.as_str().into()));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("Node".parse::<EventKind>().is_err());
    }

    #[test]
    fn ids_survive_text_and_order() {
        let id = EventId { seq: 1042, ordinal: 3 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id < EventId { seq: 1042, ordinal: 4 } && id < EventId { seq: 1043, ordinal: 0 });
        for bad in ["", "1", "1.", ".1", "+1.0", "1.-1", "1.2.3", "99999999999999999999999.0"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}
