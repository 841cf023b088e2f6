//! The life of a task and of its attempts, as enums with one `on(event, now)`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{NodeId, Restart, Timestamp};

/// A task that has an entry in its group: placed, retrying or failed. One that was never placed,
/// has succeeded or was cancelled is a number in an interval set (DESIGN §4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Where it stands.
    pub state: TaskState,
    /// The number of its latest attempt, from 1.
    pub attempt: u32,
    /// How its attempts ended so far.
    pub counters: Counters,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// To be placed again, at once.
    Ready,
    /// To be placed again, not before `until`.
    Backoff {
        /// The end of the wait.
        until: Timestamp,
    },
    /// On a node.
    Placed(Placement),
    /// Settled: its budget is spent.
    Failed(Cause),
}

/// An attempt on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// When it was assigned.
    pub assigned: Timestamp,
    /// When the manager learned that it had started.
    pub started: Option<Timestamp>,
    /// How it is bound to the node.
    pub phase: Phase,
}

/// How an attempt is bound to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Prefetched: reserves nothing until it starts, and is moved only by a retract.
    Held,
    /// Its resources are reserved.
    Admitted,
    /// Its node has a notice; the number stays valid until it reports, or until the deadline.
    Leaving {
        /// When the node goes.
        deadline: Timestamp,
    },
    /// The user wants it gone.
    Stopping,
    /// The user wants it gone, and it was held: it reserves nothing unless it turns out to have
    /// started.
    StoppingHeld,
}

impl Phase {
    /// Whether its resources are reserved.
    pub fn reserves(self) -> bool {
        match self {
            Self::Admitted | Self::Leaving { .. } | Self::Stopping => true,
            Self::Held | Self::StoppingHeld => false,
        }
    }

    /// Whether the user wants it gone.
    pub fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping | Self::StoppingHeld)
    }
}

/// How a task's attempts ended, and so what they cost it. Only `failed` and `timed_out` spend the
/// retry budget (DESIGN §4.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counters {
    /// Ended by a notice, after they had started.
    pub interrupted: u16,
    /// Lost with their node, after they had started.
    pub node_lost: u16,
    /// Failed on their own.
    pub failed: u16,
    /// Exceeded their time-out.
    pub timed_out: u16,
    /// Of `node_lost`, those for which neither a notice nor the cloud gave a reason.
    pub unexplained: u16,
}

impl Counters {
    /// Unexplained losses after which the task runs alone.
    pub const ALONE_AT: u16 = 2;
    /// Unexplained losses after which the task is poison.
    pub const POISON_AT: u16 = 3;

    /// Whether its next attempt must have a node for itself.
    pub fn runs_alone(&self) -> bool {
        self.unexplained >= Self::ALONE_AT
    }
}

/// Why a task, and then its job, is settled without success.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its own failures spent the budget.
    Failed,
    /// Its last failure was a time-out.
    TimedOut,
    /// It exited with a code that says not to retry.
    NoRetry,
    /// Three nodes died under it without any other reason.
    Poison,
    /// The user stopped it.
    Stopped,
    /// A task of its job failed and `on_task_failure` is `stop`.
    SiblingFailed,
    /// A job or group that it comes after did not succeed.
    Dependency,
}

/// How a process ended, as its node reports it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Outcome {
    /// By itself, with a code.
    Exited {
        /// 0 is success.
        code: i32,
    },
    /// By a signal that was not ours.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// We ended it: its time-out passed.
    TimedOut,
    /// We ended it: its output exceeded the cap.
    OutputLimit,
    /// We ended it: its node has to go.
    Evicted,
    /// We ended it: the user wanted that.
    Stopped,
    /// It never started and goes back.
    Returned,
    /// It could not be started: no such command, no such folder.
    NotStarted,
    /// It is gone and nobody holds its exit code: digester and spawner both died.
    Vanished,
}

/// How an attempt ended, as history keeps it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// With exit code 0; this settles the task.
    Succeeded,
    /// On its own.
    Failed,
    /// By its time-out.
    TimedOut,
    /// By a notice.
    Interrupted,
    /// With its node.
    NodeLost,
    /// By the user.
    Cancelled,
    /// It never started.
    Returned,
}

impl AttemptEnd {
    /// As tables keep it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Interrupted => "interrupted",
            Self::NodeLost => "node-lost",
            Self::Cancelled => "cancelled",
            Self::Returned => "returned",
        }
    }
}

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// The scheduler gives it to a node.
    Place {
        /// The node.
        node: NodeId,
        /// Whether it is a prefetch.
        held: bool,
    },
    /// The node says that it started.
    Started,
    /// The node says that it ended.
    Ended(Outcome),
    /// Its node has a notice.
    Notice {
        /// When the node goes.
        deadline: Timestamp,
    },
    /// Its node is gone.
    NodeGone {
        /// Whether a notice or the cloud explains it.
        explained: bool,
    },
    /// The user wants it gone.
    Stop,
    /// Its wait is over.
    Due,
    /// The user wants a failed task tried again: its budget is whole again.
    Retry,
}

/// What becomes of a task after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// It keeps its entry.
    Keep(Task),
    /// Settled: succeeded.
    Succeeded,
    /// Settled: cancelled.
    Cancelled,
}

/// The answer of [`Task::on`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskStep {
    /// What becomes of the task.
    pub after: After,
    /// How its attempt ended, if it did.
    pub ended: Option<AttemptEnd>,
}

/// The longest wait between two attempts: a task that fails at each try is tried all day, not
/// all month.
pub const MAX_BACKOFF_MS: u64 = 300_000;

impl Task {
    /// The entry of a task at its first placement.
    pub fn first(node: NodeId, held: bool, now: Timestamp) -> Self {
        Self { state: placed(node, held, now), attempt: 1, counters: Counters::default() }
    }

    /// Its attempt's place, while it has one.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.state {
            TaskState::Placed(placement) => Some(placement),
            TaskState::Ready | TaskState::Backoff { .. } | TaskState::Failed(_) => None,
        }
    }

    /// What the event makes of it; `None` when it means nothing in this state.
    pub fn on(&self, event: TaskEvent, restart: &Restart, now: Timestamp) -> Option<TaskStep> {
        match (self.state, event) {
            (TaskState::Ready, TaskEvent::Place { node, held }) => Some(keep(Self {
                state: placed(node, held, now),
                attempt: self.attempt + 1,
                counters: self.counters,
            })),
            (TaskState::Backoff { .. }, TaskEvent::Due) => Some(keep(self.with(TaskState::Ready))),
            (TaskState::Ready | TaskState::Backoff { .. }, TaskEvent::Stop) => {
                Some(TaskStep { after: After::Cancelled, ended: None })
            }
            (TaskState::Failed(_), TaskEvent::Retry) => {
                let counters =
                    Counters { failed: 0, timed_out: 0, unexplained: 0, ..self.counters };
                Some(keep(Self { state: TaskState::Ready, counters, ..*self }))
            }
            (TaskState::Placed(at), event) => self.on_placed(at, event, restart, now),
            (TaskState::Failed(_), _) | (TaskState::Ready, _) | (TaskState::Backoff { .. }, _) => {
                None
            }
        }
    }

    fn on_placed(
        &self,
        at: Placement,
        event: TaskEvent,
        restart: &Restart,
        now: Timestamp,
    ) -> Option<TaskStep> {
        let phase = |phase| Some(keep(self.with(TaskState::Placed(Placement { phase, ..at }))));
        match event {
            TaskEvent::Place { .. } | TaskEvent::Due | TaskEvent::Retry => None,
            TaskEvent::Started if at.started.is_some() => None,
            TaskEvent::Started => {
                let phase = match at.phase {
                    Phase::Held => Phase::Admitted,
                    Phase::StoppingHeld => Phase::Stopping,
                    phase => phase,
                };
                let begun = Placement { started: Some(now), phase, ..at };
                Some(keep(self.with(TaskState::Placed(begun))))
            }
            TaskEvent::Notice { deadline } => match at.phase {
                Phase::Leaving { deadline: earlier } if earlier <= deadline => None,
                // What is held goes back, and does not leave.
                Phase::Held | Phase::Stopping | Phase::StoppingHeld => None,
                Phase::Admitted | Phase::Leaving { .. } => phase(Phase::Leaving { deadline }),
            },
            TaskEvent::Stop if at.phase.is_stopping() => None,
            TaskEvent::Stop if at.phase == Phase::Held => phase(Phase::StoppingHeld),
            TaskEvent::Stop => phase(Phase::Stopping),
            TaskEvent::NodeGone { explained } => Some(self.lost(at, explained)),
            TaskEvent::Ended(outcome) => Some(self.ended(at, outcome, restart, now)),
        }
    }

    /// Its node took it along.
    fn lost(&self, at: Placement, explained: bool) -> TaskStep {
        let mut counters = self.counters;
        if at.phase.is_stopping() {
            return TaskStep { after: After::Cancelled, ended: Some(AttemptEnd::Cancelled) };
        }
        if at.started.is_none() {
            let ended = Some(AttemptEnd::Returned);
            return TaskStep { after: After::Keep(self.with(TaskState::Ready)), ended };
        }
        if matches!(at.phase, Phase::Leaving { .. }) {
            return self.interrupted();
        }
        counters.node_lost = counters.node_lost.saturating_add(1);
        if !explained {
            counters.unexplained = counters.unexplained.saturating_add(1);
        }
        let poison = counters.unexplained >= Counters::POISON_AT;
        let state = if poison { TaskState::Failed(Cause::Poison) } else { TaskState::Ready };
        let after = After::Keep(Self { state, counters, ..*self });
        TaskStep { after, ended: Some(AttemptEnd::NodeLost) }
    }

    /// A notice took it.
    fn interrupted(&self) -> TaskStep {
        let mut counters = self.counters;
        counters.interrupted = counters.interrupted.saturating_add(1);
        let after = After::Keep(Self { state: TaskState::Ready, counters, ..*self });
        TaskStep { after, ended: Some(AttemptEnd::Interrupted) }
    }

    fn ended(
        &self,
        at: Placement,
        outcome: Outcome,
        restart: &Restart,
        now: Timestamp,
    ) -> TaskStep {
        let stopping = at.phase.is_stopping();
        match outcome {
            Outcome::Exited { code: 0 } => {
                TaskStep { after: After::Succeeded, ended: Some(AttemptEnd::Succeeded) }
            }
            _ if stopping => {
                TaskStep { after: After::Cancelled, ended: Some(AttemptEnd::Cancelled) }
            }
            Outcome::Returned => TaskStep {
                after: After::Keep(self.with(TaskState::Ready)),
                ended: Some(AttemptEnd::Returned),
            },
            Outcome::Evicted | Outcome::Stopped => self.interrupted(),
            Outcome::Vanished => {
                // The machine lives: this is its software's doing, and no mark against the task.
                let mut counters = self.counters;
                counters.node_lost = counters.node_lost.saturating_add(1);
                let after = After::Keep(Self { state: TaskState::Ready, counters, ..*self });
                TaskStep { after, ended: Some(AttemptEnd::NodeLost) }
            }
            Outcome::TimedOut => {
                let mut counters = self.counters;
                counters.timed_out = counters.timed_out.saturating_add(1);
                self.own_fault(counters, Cause::TimedOut, AttemptEnd::TimedOut, restart, now)
            }
            Outcome::Exited { code } if restart.no_retry_exit_codes.contains(&code) => {
                let mut counters = self.counters;
                counters.failed = counters.failed.saturating_add(1);
                let state = TaskState::Failed(Cause::NoRetry);
                let after = After::Keep(Self { state, counters, ..*self });
                TaskStep { after, ended: Some(AttemptEnd::Failed) }
            }
            // A machine that shuts down signals all its processes, and some answer with a code.
            Outcome::Exited { .. } | Outcome::Signalled { .. }
                if matches!(at.phase, Phase::Leaving { .. }) =>
            {
                self.interrupted()
            }
            Outcome::Exited { .. }
            | Outcome::Signalled { .. }
            | Outcome::OutputLimit
            | Outcome::NotStarted => {
                let mut counters = self.counters;
                counters.failed = counters.failed.saturating_add(1);
                self.own_fault(counters, Cause::Failed, AttemptEnd::Failed, restart, now)
            }
        }
    }

    /// Spends one of the budget: back-off doubles with each, up to [`MAX_BACKOFF_MS`].
    fn own_fault(
        &self,
        counters: Counters,
        cause: Cause,
        end: AttemptEnd,
        restart: &Restart,
        now: Timestamp,
    ) -> TaskStep {
        let spent = u32::from(counters.failed) + u32::from(counters.timed_out);
        let state = if spent > restart.max_failures {
            TaskState::Failed(cause)
        } else {
            let doublings = (spent - 1).min(20);
            let wait =
                (restart.backoff_ms << doublings).min(MAX_BACKOFF_MS.max(restart.backoff_ms));
            if wait == 0 {
                TaskState::Ready
            } else {
                TaskState::Backoff { until: now.later_by(wait) }
            }
        };
        TaskStep { after: After::Keep(Self { state, counters, ..*self }), ended: Some(end) }
    }

    fn with(&self, state: TaskState) -> Self {
        Self { state, ..*self }
    }
}

fn keep(task: Task) -> TaskStep {
    TaskStep { after: After::Keep(task), ended: None }
}

fn placed(node: NodeId, held: bool, now: Timestamp) -> TaskState {
    let phase = if held { Phase::Held } else { Phase::Admitted };
    TaskState::Placed(Placement { node, assigned: now, started: None, phase })
}

/// A task's status as the API says it (DESIGN §6).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TaskStatus {
    /// To be placed.
    Waiting,
    /// To be placed, later.
    Backoff,
    /// On a node, not yet known to run.
    Assigned,
    /// Running.
    Running,
    /// Running on a node that has to go.
    Leaving,
    /// Settled.
    Succeeded,
    /// Settled.
    Failed,
    /// Settled.
    Cancelled,
}

impl TaskStatus {
    /// Whether it will never change again.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl From<&TaskState> for TaskStatus {
    fn from(state: &TaskState) -> Self {
        match state {
            TaskState::Ready => Self::Waiting,
            TaskState::Backoff { .. } => Self::Backoff,
            TaskState::Failed(_) => Self::Failed,
            TaskState::Placed(at) => match at.phase {
                Phase::Leaving { .. } => Self::Leaving,
                _ if at.started.is_some() => Self::Running,
                Phase::Held | Phase::Admitted | Phase::Stopping | Phase::StoppingHeld => {
                    Self::Assigned
                }
            },
        }
    }
}

impl TaskStatus {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Backoff => "backoff",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Leaving => "leaving",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an attempt left behind, as its node reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskResult {
    /// How its process ended.
    pub outcome: Outcome,
    /// How long it ran.
    pub run_ms: u64,
    /// What it wrote to standard output.
    pub stdout: LogPart,
    /// What it wrote to standard error.
    pub stderr: LogPart,
    /// Its outputs, uploaded under keys that contain the attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputFile>,
    /// The node's own words on what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub message: Option<Arc<str>>,
}

/// One stream of an attempt. Small text travels in the report; the rest is in the object store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogPart {
    /// Its length.
    pub size_bytes: u64,
    /// The whole of it, if it is UTF-8 of at most [`LogPart::INLINE_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub text: Option<Arc<str>>,
}

impl LogPart {
    /// Above this a stream is uploaded: one row of the attempts' table stays within one page.
    pub const INLINE_BYTES: u64 = 2048;
}

/// A file that outlives its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputFile {
    /// Relative to the attempt's own folder: `out/a` for `$EBB_OUTPUT_DIR/a`.
    #[schema(value_type = String)]
    pub path: Arc<str>,
    /// Its length.
    pub size_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Task>() <= 128, "{}", size_of::<Task>());
    }
}
