//! What a commit means to somebody who listens: a pure function, so that the same commit gives the
//! same events at every replica, from memory as from the log.

use std::collections::BTreeSet;

use api::event::{Event, EventId, EventKind};
use model::{
    After, AttemptId, Change, GroupId, Intent, IntentEnd, IntentState, JobId, JobPatch, JobSpec,
    JobStatus, Node, NodeOrigin, Notice, Phase, Placement, RetriedGroup, Task, TaskId, TaskState,
    TaskStatus, Timestamp,
};

/// The events of a commit, in order. An event's ordinal is part of its id: whatever is told of a
/// change from a later version on must stand behind what is told of it now.
pub(crate) fn events_of(seq: u64, at: Timestamp, changes: &[Change]) -> Vec<Event> {
    let mut teller = Teller { at, started: BTreeSet::new() };
    let mut events: Vec<Event> = changes.iter().filter_map(|change| teller.tell(change)).collect();
    for (ordinal, event) in (0..).zip(&mut events) {
        event.id = Some(EventId { seq, ordinal }.to_string());
    }
    events
}

struct Teller {
    at: Timestamp,
    /// Attempts of which this commit has told that they started.
    started: BTreeSet<AttemptId>,
}

impl Teller {
    fn tell(&mut self, change: &Change) -> Option<Event> {
        Some(match change {
            Change::JobSubmitted { job, spec, taken_in, .. } => {
                let status = if *taken_in { JobStatus::Waiting } else { JobStatus::Submitted };
                Event { detail: named(spec), ..self.of_job(EventKind::JobSubmitted, *job, status) }
            }
            Change::JobTakenIn { job, .. } => {
                self.of_job(EventKind::JobTakenIn, *job, JobStatus::Waiting)
            }
            Change::JobPatched { job, patch, .. } => {
                Event { detail: Some(fields(patch)), ..self.about(EventKind::JobPatched, *job) }
            }
            Change::JobRetried { job, spec, groups, .. } => {
                let event = self.of_job(EventKind::JobRetried, *job, JobStatus::Waiting);
                Event {
                    detail: Some(format!("tasks that run again: {}", again(spec, groups))),
                    ..event
                }
            }
            Change::JobStopping { job, cause } => {
                let event = self.of_job(EventKind::JobStopping, *job, JobStatus::Stopping);
                Event { cause: Some(*cause), ..event }
            }
            Change::JobSettled { job, status, .. } => {
                self.of_job(EventKind::JobSettled, *job, *status)
            }
            Change::TaskRetried { task, .. } => {
                self.of_task(EventKind::TaskRetried, *task, TaskStatus::Waiting)
            }
            Change::Due { task } => self.of_task(EventKind::TaskDue, *task, TaskStatus::Waiting),
            Change::Placed { attempt, task } => self.placed(*attempt, task)?,
            Change::Bound { attempt, task } => self.bound(*attempt, task)?,
            Change::Ended { attempt, placement, end, after, .. } => {
                let (status, cause) = what_became(after);
                let event = self.of_attempt(EventKind::TaskEnded, *attempt, placement, status);
                Event { end: Some(*end), cause, ..event }
            }
            Change::FreshCancelled { group, from, to } => self.cancelled(*group, *from, *to),
            Change::RetryCancelled { task } => {
                let event = self.cancelled(task.group_id(), task.index, task.index + 1);
                Event { task: Some(*task), ..event }
            }
            Change::Node(node) => self.node(node),
            Change::Intent(intent) => self.launch(intent),
            Change::NoticeKept(Notice { instance, deadline, .. }) => Event {
                deadline: Some(*deadline),
                detail: Some(instance.to_string()),
                ..Event::new(EventKind::NoticeKept, self.at)
            },
            Change::NoticeDone { .. } | Change::Ledger(_) | Change::InboxDone { .. } => {
                return None;
            }
        })
    }

    fn about(&self, kind: EventKind, job: JobId) -> Event {
        Event { job: Some(job), ..Event::new(kind, self.at) }
    }

    fn of_job(&self, kind: EventKind, job: JobId, status: JobStatus) -> Event {
        Event { job_status: Some(status), ..self.about(kind, job) }
    }

    fn of_task(&self, kind: EventKind, task: TaskId, status: TaskStatus) -> Event {
        Event { task: Some(task), task_status: Some(status), ..self.about(kind, task.job) }
    }

    fn of_attempt(
        &self,
        kind: EventKind,
        attempt: AttemptId,
        placement: &Placement,
        status: TaskStatus,
    ) -> Event {
        let (number, node) = (Some(attempt.attempt), Some(placement.node));
        Event { attempt: number, node, ..self.of_task(kind, attempt.task, status) }
    }

    fn placed(&self, attempt: AttemptId, task: &Task) -> Option<Event> {
        let placement = task.placement()?;
        let held = placement.phase == Phase::Held;
        let status = TaskStatus::from(&task.state);
        let detail = held.then(|| "prefetched: it starts when there is room".to_owned());
        Some(Event {
            detail,
            ..self.of_attempt(EventKind::TaskAssigned, attempt, placement, status)
        })
    }

    /// A start can be told from what else happens to a placed task by its time alone: it is this
    /// commit's, and told once.
    fn bound(&mut self, attempt: AttemptId, task: &Task) -> Option<Event> {
        let placement = task.placement()?;
        let starts = placement.started == Some(self.at) && self.started.insert(attempt);
        let kind = match placement.phase {
            _ if starts => EventKind::TaskStarted,
            Phase::Leaving { .. } => EventKind::TaskLeaving,
            Phase::Stopping | Phase::StoppingHeld => EventKind::TaskStopping,
            Phase::Held | Phase::Admitted => EventKind::TaskStarted,
        };
        let deadline = match placement.phase {
            Phase::Leaving { deadline } => Some(deadline),
            _ => None,
        };
        let status = TaskStatus::from(&task.state);
        Some(Event { deadline, ..self.of_attempt(kind, attempt, placement, status) })
    }

    fn cancelled(&self, group: GroupId, from: u32, to: u32) -> Event {
        Event {
            group: Some(group.group),
            from: Some(from),
            to: Some(to),
            task_status: Some(TaskStatus::Cancelled),
            ..self.about(EventKind::TasksCancelled, group.job)
        }
    }

    fn node(&self, node: &Node) -> Event {
        let (intent, name) = match &node.origin {
            NodeOrigin::Static { name } => (None, name.to_string()),
            NodeOrigin::Cloud { intent, instance, .. } => (Some(*intent), instance.to_string()),
        };
        Event {
            node: Some(node.id),
            intent,
            state: Some(node.state.to_string()),
            reason: Some(node.reason),
            deadline: node.deadline,
            detail: Some(name),
            ..Event::new(EventKind::Node, self.at)
        }
    }

    fn launch(&self, intent: &Intent) -> Event {
        let (count, born) = (intent.request.count, intent.born);
        let (state, words) = match &intent.state {
            IntentState::Requested => ("requested", intent.request.reason.to_string()),
            IntentState::Launching => ("launching", format!("{born} of {count} machines are born")),
            IntentState::Closed(IntentEnd::Filled) => {
                ("launched", format!("{born} of {count} machines are born"))
            }
            IntentState::Closed(IntentEnd::LaunchFailed(refusal)) => {
                ("launch-failed", refusal.message.to_string())
            }
            IntentState::Closed(IntentEnd::Expired) => {
                ("launch-failed", "no clear answer came in time".to_owned())
            }
        };
        Event {
            intent: Some(intent.id),
            state: Some(state.to_owned()),
            detail: Some(words),
            ..Event::new(EventKind::Launch, self.at)
        }
    }
}

fn named(spec: &JobSpec) -> Option<String> {
    Some(spec.name.to_string()).filter(|name| !name.is_empty())
}

/// The names of the fields that change.
fn fields(patch: &JobPatch) -> String {
    let JobPatch { name, labels, priority, max_running, on_task_failure, deadline, after } = patch;
    let named = [
        ("name", name.is_some()),
        ("labels", labels.is_some()),
        ("priority", priority.is_some()),
        ("max_running", max_running.is_some()),
        ("on_task_failure", on_task_failure.is_some()),
        ("deadline", deadline.is_some()),
        ("after", after.is_some()),
    ];
    let changed: Vec<&str> =
        named.into_iter().filter(|(_, changes)| *changes).map(|(name, _)| name).collect();
    changed.join(", ")
}

/// Tasks of a job that comes back that are not settled any more.
fn again(spec: &JobSpec, groups: &[RetriedGroup]) -> u64 {
    let settled = groups.iter().map(|group| {
        let failed = |task: &&Task| matches!(task.state, TaskState::Failed(_));
        let failed = group.tasks.values().filter(failed).count() as u64;
        u64::from(group.succeeded.len()) + u64::from(group.cancelled.len()) + failed
    });
    spec.tasks().saturating_sub(settled.sum())
}

fn what_became(after: &After) -> (TaskStatus, Option<model::Cause>) {
    match after {
        After::Succeeded => (TaskStatus::Succeeded, None),
        After::Cancelled => (TaskStatus::Cancelled, None),
        After::Keep(task) => {
            let cause = match task.state {
                TaskState::Failed(cause) => Some(cause),
                TaskState::Ready | TaskState::Backoff { .. } | TaskState::Placed(_) => None,
            };
            (TaskStatus::from(&task.state), cause)
        }
    }
}

#[cfg(test)]
mod tests;
