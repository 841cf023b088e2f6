//! Rows, made of what model has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    After, Ask, AttemptEnd, AttemptId, Clamp, GroupId, Intent, IntentState, IntervalSet, ItemsKey,
    JobId, JobSpec, LedgerRow, LogPart, Node, Outcome, Phase, Placement, Task, TaskId, TaskResult,
    TaskState, Timestamp,
};

use crate::StoreError;
use crate::document::pack;
use crate::intervals;
use crate::rows::{
    AfterRow, AttemptRow, GroupRow, IntentRow, ItemsUseRow, JobRow, JobStateRow, LabelRow, NodeRow,
    NoticeKey, PatchRow, SpendRow, TaskRow,
};
use crate::words::Word;

/// Postgres keeps no NUL in text.
pub(crate) fn clean(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::corrupt)
}

/// What a job asks for, by ask: equal jobs have equal text, so that a backlog is summed by text.
pub(crate) fn demand(spec: &JobSpec) -> Result<String, StoreError> {
    let mut demand: BTreeMap<Ask, u64> = BTreeMap::new();
    for group in &spec.groups {
        *demand.entry(group.ask()).or_default() += u64::from(group.count);
    }
    json(&demand.into_iter().collect::<Vec<_>>())
}

pub(crate) fn job_row(
    id: JobId,
    spec: &Arc<JobSpec>,
    at: Timestamp,
    demand: Option<String>,
    state: &JobStateRow,
) -> Result<JobRow, StoreError> {
    let shape: Vec<(&str, u32)> =
        spec.groups.iter().map(|group| (&*group.name, group.count)).collect();
    Ok(JobRow {
        id: id.to_sql(),
        namespace: spec.namespace.to_string(),
        name: clean(&spec.name),
        priority: i64::from(spec.priority),
        labels: json(&spec.labels)?,
        spec: pack(spec)?,
        shape: json(&shape)?,
        demand,
        tasks: spec.tasks().clamped(),
        state: state.state,
        status: state.status,
        submitted_ms: at.as_ms(),
        settled_ms: state.settled_ms,
        stopping: state.stopping,
    })
}

/// A job that a replica accepts for the leader.
pub(crate) fn inbox_job_row(
    id: JobId,
    spec: &Arc<JobSpec>,
    at: Timestamp,
) -> Result<JobRow, StoreError> {
    let state = JobStateRow {
        id: id.to_sql(),
        state: "inbox",
        status: None,
        settled_ms: None,
        stopping: None,
    };
    job_row(id, spec, at, None, &state)
}

pub(crate) fn label_rows(id: JobId, spec: &JobSpec) -> impl Iterator<Item = LabelRow> + '_ {
    spec.labels.iter().map(move |(name, value)| LabelRow {
        name: clean(name),
        value: clean(value),
        job: id.to_sql(),
    })
}

pub(crate) fn after_rows(id: JobId, spec: &JobSpec) -> impl Iterator<Item = AfterRow> + '_ {
    spec.after.iter().map(move |dep| AfterRow { job: id.to_sql(), dep: dep.to_sql() })
}

/// Each key once, however many groups read it.
pub(crate) fn items_rows(id: JobId, spec: &JobSpec) -> impl Iterator<Item = ItemsUseRow> + use<> {
    let keys: BTreeSet<ItemsKey> = spec.groups.iter().filter_map(|group| group.items_key).collect();
    keys.into_iter().map(move |key| ItemsUseRow { job: id.to_sql(), key: key.to_sql() })
}

pub(crate) fn patch_row(id: JobId, spec: &JobSpec, times: i64) -> Result<PatchRow, StoreError> {
    Ok(PatchRow {
        id: id.to_sql(),
        name: clean(&spec.name),
        priority: i64::from(spec.priority),
        labels: json(&spec.labels)?,
        spec: pack(spec)?,
        times,
    })
}

pub(crate) fn group_row(id: GroupId, succeeded: &IntervalSet, cancelled: &IntervalSet) -> GroupRow {
    GroupRow {
        job: id.job.to_sql(),
        grp: i64::from(id.group),
        succeeded: intervals::to_text(succeeded),
        cancelled: intervals::to_text(cancelled),
        succeeded_tasks: i64::from(succeeded.len()),
        cancelled_tasks: i64::from(cancelled.len()),
    }
}

pub(crate) fn task_row(id: TaskId, task: &Task) -> TaskRow {
    let placement = task.placement();
    let (state, until, cause) = match task.state {
        TaskState::Ready => ("ready", None, None),
        TaskState::Backoff { until } => ("backoff", Some(until), None),
        TaskState::Placed(_) => ("placed", None, None),
        TaskState::Failed(cause) => ("failed", None, Some(cause)),
    };
    let (phase, deadline) = match placement.map(|at| at.phase) {
        None => (None, None),
        Some(Phase::Held) => (Some("held"), None),
        Some(Phase::Admitted) => (Some("admitted"), None),
        Some(Phase::Leaving { deadline }) => (Some("leaving"), Some(deadline)),
        Some(Phase::Stopping) => (Some("stopping"), None),
        Some(Phase::StoppingHeld) => (Some("stopping-held"), None),
    };
    TaskRow {
        job: id.job.to_sql(),
        grp: i64::from(id.group),
        idx: i64::from(id.index),
        attempt: i64::from(task.attempt),
        state,
        until_ms: until.map(Timestamp::as_ms),
        node: placement.map(|at| at.node.to_sql()),
        assigned_ms: placement.map(|at| at.assigned.as_ms()),
        started_ms: placement.and_then(|at| at.started).map(Timestamp::as_ms),
        phase,
        deadline_ms: deadline.map(Timestamp::as_ms),
        cause: cause.map(Word::word),
        interrupted: i64::from(task.counters.interrupted),
        node_lost: i64::from(task.counters.node_lost),
        failed: i64::from(task.counters.failed),
        timed_out: i64::from(task.counters.timed_out),
        unexplained: i64::from(task.counters.unexplained),
    }
}

pub(crate) fn attempt_row(
    id: AttemptId,
    placement: &Placement,
    end: AttemptEnd,
    at: Timestamp,
    after: &After,
    result: Option<&TaskResult>,
) -> Result<AttemptRow, StoreError> {
    let settles = match after {
        After::Keep(task) => matches!(task.state, TaskState::Failed(_)),
        After::Succeeded | After::Cancelled => true,
    };
    let (exit_code, signal) = match result.map(|result| result.outcome) {
        Some(Outcome::Exited { code }) => (Some(code), None),
        Some(Outcome::Signalled { signal }) => (None, Some(signal)),
        _ => (None, None),
    };
    let outputs = match result {
        Some(result) if !result.outputs.is_empty() => Some(json(&result.outputs)?),
        _ => None,
    };
    let size = |part: fn(&TaskResult) -> &LogPart| {
        result.map_or(0, |result| part(result).size_bytes.clamped())
    };
    let text = |part: fn(&TaskResult) -> &LogPart| {
        result.and_then(|result| part(result).text.as_ref()).map(|text| text.as_bytes().to_vec())
    };
    Ok(AttemptRow {
        job: id.task.job.to_sql(),
        grp: i64::from(id.task.group),
        idx: i64::from(id.task.index),
        attempt: i64::from(id.attempt),
        node: placement.node.to_sql(),
        assigned_ms: placement.assigned.as_ms(),
        started_ms: placement.started.map(Timestamp::as_ms),
        ended_ms: at.as_ms(),
        run_ms: result.map_or(0, |result| result.run_ms.clamped()),
        ended_as: end.word(),
        exit_code: exit_code.map(i64::from),
        signal: signal.map(i64::from),
        settles,
        message: result.and_then(|result| result.message.as_ref()).map(|text| clean(text)),
        stdout_bytes: size(|result| &result.stdout),
        stdout: text(|result| &result.stdout),
        stderr_bytes: size(|result| &result.stderr),
        stderr: text(|result| &result.stderr),
        outputs,
    })
}

pub(crate) fn node_row(node: &Node) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        id: node.id.to_sql(),
        state: node.state.word(),
        reason: node.reason.word(),
        since_ms: node.since.as_ms(),
        launched_ms: node.launched.as_ms(),
        joined_ms: node.joined.map(Timestamp::as_ms),
        session: node.session.map(u64::cast_signed),
        deadline_ms: node.deadline.map(Timestamp::as_ms),
        booked_micro_usd: node.booked.0,
        cpu_millis: i64::from(node.capacity.cpu_millis),
        memory_mib: i64::from(node.capacity.memory_mib),
        disk_mib: i64::from(node.capacity.disk_mib),
        gpus: i64::from(node.capacity.gpus),
        origin: json(&node.origin)?,
    })
}

pub(crate) fn intent_row(intent: &Intent) -> Result<IntentRow, StoreError> {
    Ok(IntentRow {
        id: intent.id.to_sql(),
        is_open: !matches!(intent.state, IntentState::Closed(_)),
        request: json(&intent.request)?,
        state: json(&intent.state)?,
        since_ms: intent.since.as_ms(),
        opened_ms: intent.opened.as_ms(),
        born: i64::from(intent.born),
    })
}

pub(crate) fn notice_key(instance: &str, kind: &'static str) -> NoticeKey {
    NoticeKey { instance: clean(instance), kind }
}

pub(crate) fn spend_row(row: &LedgerRow) -> SpendRow {
    SpendRow {
        node: row.node.to_sql(),
        job: row.task.map(|task| task.job.to_sql()),
        grp: row.task.map(|task| i64::from(task.group)),
        idx: row.task.map(|task| i64::from(task.index)),
        kind: row.kind.word(),
        from_ms: row.from.as_ms(),
        to_ms: row.to.as_ms(),
        micro_usd: row.cost.0,
    }
}
