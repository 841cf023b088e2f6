//! Log lines of a durable step. One line a thing; above a few in one step, those of single
//! attempts go to `debug`, where a task can still be followed from submit to settled.

use control::{Note, NoteKind, Violation};
use model::{Change, IntentEnd, IntentState, Node, NodeReason, NodeState, Phase};

use super::release::{job_of, settles};

/// Attempt lines of one step that go to `info`.
const FEW: usize = 20;

/// Writes one line for each change that a reader would ask after, and one for each note.
pub(super) fn write(term: u64, seq: u64, changes: &[Change], notes: &[Note]) {
    if changes.is_empty() && notes.is_empty() {
        return;
    }
    let span = tracing::info_span!("commit", term, seq);
    let _entered = span.enter();
    let attempts = changes.iter().filter(|change| is_of_attempt(change)).count();
    for change in changes {
        if is_of_attempt(change) {
            of_attempt(change, attempts <= FEW);
        } else {
            of_rest(change);
        }
    }
    for note in notes {
        match note.kind {
            NoteKind::Odd => tracing::warn!(subject = %note.subject, "{}", note.words),
            NoteKind::Kept | NoteKind::Passing => {
                tracing::debug!(subject = %note.subject, "{}", note.words);
            }
        }
    }
}

/// Writes a promise that the step broke: a fault of ours, never a user's.
pub(super) fn broken(term: u64, seq: u64, violation: &Violation) {
    let (invariant, subject) = (violation.invariant, violation.subject());
    tracing::error!(term, seq, %invariant, subject, "broken promise: {}", violation.words);
}

fn is_of_attempt(change: &Change) -> bool {
    matches!(change, Change::Placed { .. } | Change::Bound { .. } | Change::Ended { .. })
}

macro_rules! line {
    ($loud:expr, $($rest:tt)*) => {
        if $loud { tracing::info!($($rest)*) } else { tracing::debug!($($rest)*) }
    };
}

fn of_attempt(change: &Change, loud: bool) {
    match change {
        Change::Placed { attempt, task } => {
            let Some(at) = task.placement() else { return };
            let (job, task, node) = (job_of(*attempt), attempt.task, at.node);
            let held = at.phase == Phase::Held;
            line!(loud, %job, %task, %attempt, %node, held, "placed");
        }
        Change::Bound { attempt, task } => {
            let Some(at) = task.placement() else { return };
            let (job, task, node) = (job_of(*attempt), attempt.task, at.node);
            match at.phase {
                Phase::Leaving { deadline } => {
                    line!(loud, %job, %task, %attempt, %node, %deadline, "leaving");
                }
                Phase::Stopping | Phase::StoppingHeld => {
                    line!(loud, %job, %task, %attempt, %node, "stopping")
                }
                Phase::Held | Phase::Admitted => {
                    tracing::debug!(%job, %task, %attempt, %node, "started");
                }
            }
        }
        Change::Ended { attempt, placement, end, after, result, .. } => {
            let (job, task, node) = (job_of(*attempt), attempt.task, placement.node);
            let end = end.as_str();
            let run_ms = result.as_ref().map_or(0, |result| result.run_ms);
            if settles(after) {
                line!(loud, %job, %task, %attempt, %node, end, run_ms, "settled");
            } else {
                line!(loud, %job, %task, %attempt, %node, end, run_ms, "ended");
            }
        }
        _ => {}
    }
}

fn of_rest(change: &Change) {
    match change {
        Change::JobSubmitted { job, spec, taken_in, .. } => {
            tracing::info!(%job, name = %spec.name, tasks = spec.tasks(), taken_in, "submitted");
        }
        Change::JobTakenIn { job, spec, .. } => {
            tracing::debug!(%job, name = %spec.name, tasks = spec.tasks(), "taken in");
        }
        Change::JobPatched { job, .. } => tracing::info!(%job, "patched"),
        Change::JobRetried { job, .. } => tracing::info!(%job, "retried"),
        Change::TaskRetried { task, .. } => {
            tracing::debug!(job = %task.job, %task, "retried");
        }
        Change::JobStopping { job, cause } => tracing::info!(%job, ?cause, "stopping"),
        Change::JobSettled { job, status, .. } => tracing::info!(%job, %status, "settled"),
        Change::Due { task } => tracing::debug!(job = %task.job, %task, "due"),
        Change::FreshCancelled { group, from, to } => {
            tracing::debug!(job = %group.job, %group, from, to, "cancelled before placement");
        }
        Change::RetryCancelled { task } => {
            tracing::debug!(job = %task.job, %task, "cancelled between attempts");
        }
        Change::Node(node) => of_node(node),
        Change::Intent(intent) => of_intent(intent),
        Change::NoticeKept(notice) => {
            let (instance, kind, deadline) = (&notice.instance, notice.kind, notice.deadline);
            tracing::info!(%instance, ?kind, %deadline, "notice kept for an unknown instance");
        }
        Change::NoticeDone { instance, kind } => {
            tracing::debug!(%instance, ?kind, "kept notice done");
        }
        Change::Placed { .. }
        | Change::Bound { .. }
        | Change::Ended { .. }
        | Change::Ledger(_)
        | Change::InboxDone { .. } => {}
    }
}

fn of_node(node: &Node) {
    let (id, state, reason) = (node.id, node.state, node.reason);
    let instance = node.instance().map(tracing::field::display);
    match (node.deadline, state) {
        (Some(deadline), NodeState::Draining | NodeState::Booting)
            if reason == NodeReason::Notice =>
        {
            tracing::info!(node = %id, instance, %deadline, "notice");
        }
        _ => tracing::info!(node = %id, instance, %state, %reason, "node"),
    }
}

fn of_intent(intent: &model::Intent) {
    let (id, count, born) = (intent.id, intent.request.count, intent.born);
    match &intent.state {
        IntentState::Requested if born == 0 => {
            tracing::info!(intent = %id, count, reason = %intent.request.reason, "launch");
        }
        IntentState::Requested | IntentState::Launching => {
            tracing::debug!(intent = %id, count, born, "launching");
        }
        IntentState::Closed(IntentEnd::Filled) => {
            tracing::info!(intent = %id, count, "launched");
        }
        IntentState::Closed(IntentEnd::LaunchFailed(refusal)) => {
            let words = &refusal.message;
            tracing::warn!(intent = %id, count, born, scope = ?refusal.scope, %words, "refused");
        }
        IntentState::Closed(IntentEnd::Expired) => {
            tracing::warn!(intent = %id, count, born, "launch expired");
        }
    }
}

#[cfg(test)]
mod tests {
    use model::TaskState;

    /// The journal must tell a failed task from one that waits.
    #[test]
    fn a_failed_task_is_settled() {
        let task = model::Task {
            state: TaskState::Failed(model::Cause::Failed),
            attempt: 1,
            counters: model::Counters::default(),
        };
        assert!(super::settles(&model::After::Keep(task)));
        let ready = model::Task { state: TaskState::Ready, ..task };
        assert!(!super::settles(&model::After::Keep(ready)));
    }
}
