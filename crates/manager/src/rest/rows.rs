//! What the database keeps -> what GETs answer.

use api::view::{
    AttemptView, CostView, Explanation, GroupView, JobDetail, JobView, NodeView, OfferView,
    ResultView, TaskView,
};
use control::cause_words;
use model::{
    AttemptEnd, Clamp, Intent, IntentState, JobSpec, JobStatus, MicroUsd, Node, NodeOrigin, Offer,
    Resources, TaskStatus, Timestamp, World, format_duration,
};
use std::sync::Arc;
use store::{AttemptRecord, CostSums, JobRecord, NodeRecord, ResultRecord, TaskRecord};

pub(super) fn job(record: JobRecord) -> JobView {
    JobView {
        id: record.id,
        namespace: record.namespace.to_string(),
        name: record.name,
        status: record.status,
        submitted_at: record.submitted,
        settled_at: record.settled,
        revision: record.revision.clamped(),
        labels: record.labels,
        tasks: record.tasks,
    }
}

pub(super) fn job_detail(detail: store::JobDetail, now: Timestamp) -> JobDetail {
    let deadline_at = detail.spec.deadline.map(|deadline| deadline.of(detail.job.submitted));
    let (status, settled) = (detail.job.status, detail.job.settled);
    let deadline_met = deadline_at.and_then(|at| in_time(status, settled, at, now));
    let groups = detail.groups.into_iter();
    JobDetail {
        job: job(detail.job),
        spec: without_items(&detail.spec),
        groups: groups.map(|group| GroupView { name: group.name, tasks: group.tasks }).collect(),
        cost_micro_usd: detail.cost,
        deadline_at,
        deadline_met,
    }
}

/// Whether a deadline was met; `None` while it still may be.
pub(super) fn in_time(
    status: JobStatus,
    settled: Option<Timestamp>,
    deadline: Timestamp,
    now: Timestamp,
) -> Option<bool> {
    match settled {
        Some(settled) => Some(status == JobStatus::Succeeded && settled <= deadline),
        None => (now > deadline).then_some(false),
    }
}

fn without_items(spec: &JobSpec) -> JobSpec {
    let groups = spec.groups.iter().map(|group| {
        if group.items.is_empty() { Arc::clone(group) } else { Arc::new(group.without_items()) }
    });
    JobSpec {
        name: spec.name.clone(),
        namespace: spec.namespace.clone(),
        priority: spec.priority,
        labels: spec.labels.clone(),
        on_task_failure: spec.on_task_failure,
        max_running: spec.max_running,
        deadline: spec.deadline,
        after: spec.after.clone(),
        groups: groups.collect(),
    }
}

pub(super) fn task(record: TaskRecord) -> TaskView {
    TaskView {
        id: record.id,
        status: record.status,
        cause: record.cause,
        attempt: record.attempt,
        node: record.node,
        exit_code: record.exit_code,
        counters: record.counters,
    }
}

pub(super) fn attempt(record: AttemptRecord) -> AttemptView {
    AttemptView {
        id: record.id,
        node: record.node,
        assigned_at: record.assigned,
        started_at: record.started,
        ended_at: record.ended,
        run_ms: record.run_ms,
        end: record.end,
        exit_code: record.exit_code,
        signal: record.signal,
        settles: record.settles,
        message: record.message,
        outputs: record.outputs,
    }
}

pub(super) fn result(record: ResultRecord) -> ResultView {
    ResultView {
        task: record.id.task,
        attempt: record.id.attempt,
        end: record.end,
        exit_code: record.exit_code,
        stdout: record.stdout,
        stderr: record.stderr,
    }
}

/// What only the leader knows of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Observed {
    pub(super) is_suspect: bool,
    pub(super) reserved: Resources,
}

pub(super) fn node(record: NodeRecord, observed: Observed) -> NodeView {
    let NodeRecord { node, running, held } = record;
    let Node { id, state, reason, since, deadline, .. } = node;
    let name = match &node.origin {
        NodeOrigin::Static { name } => name.to_string(),
        NodeOrigin::Cloud { instance, .. } => instance.to_string(),
    };
    NodeView {
        id: id.to_string(),
        state: if observed.is_suspect { "suspect".to_owned() } else { state.to_string() },
        reason: Some(reason),
        since,
        name: Some(name),
        pool: node.offer().map(|offer| offer.pool.clone()),
        price_micro_usd_hour: node.price(),
        capacity: node.capacity,
        reserved: observed.reserved,
        running,
        held,
        deadline,
    }
}

/// Machines that are asked for; of which pool, the cloud has yet to say.
pub(super) fn intent(intent: &Intent) -> NodeView {
    let first = intent.request.offers.first();
    NodeView {
        id: intent.id.to_string(),
        state: match intent.state {
            IntentState::Requested => "requested",
            IntentState::Launching => "launching",
            IntentState::Closed(_) => "launch-failed",
        }
        .to_owned(),
        reason: None,
        since: intent.since,
        name: None,
        pool: first.map(|offer| offer.pool.clone()),
        price_micro_usd_hour: first.map_or(MicroUsd(0), |offer| offer.price),
        capacity: first.map(|offer| offer.capacity).unwrap_or_default(),
        reserved: Resources::default(),
        running: 0,
        held: 0,
        deadline: None,
    }
}

/// Why a task is settled as it is, with its attempts: World has forgotten it.
pub(super) fn settled_task(task: &TaskRecord, attempts: &[AttemptRecord]) -> Explanation {
    let stands = match task.status {
        TaskStatus::Succeeded => "has succeeded".to_owned(),
        TaskStatus::Failed => "has failed".to_owned(),
        TaskStatus::Cancelled => "was cancelled".to_owned(),
        other => format!("is {other}"),
    };
    let summary = match task.cause {
        Some(cause) => format!("{stands}: {}", cause_words(cause)),
        None => stands,
    };
    let details = attempts.iter().map(attempt_words).collect();
    Explanation { subject: task.id.to_string(), summary, details }
}

fn attempt_words(attempt: &AttemptRecord) -> String {
    let (number, node) = (attempt.id.attempt, attempt.node);
    let how = match (attempt.end, attempt.exit_code, attempt.signal) {
        (AttemptEnd::Succeeded, ..) => "succeeded".to_owned(),
        (AttemptEnd::Failed, Some(code), _) => format!("exited with code {code}"),
        (AttemptEnd::Failed, None, Some(signal)) => format!("was ended by signal {signal}"),
        (AttemptEnd::Failed, None, None) => "failed".to_owned(),
        (AttemptEnd::TimedOut, ..) => "ran longer than its time-out".to_owned(),
        (AttemptEnd::Interrupted, ..) => "was interrupted by a notice".to_owned(),
        (AttemptEnd::NodeLost, ..) => "was lost with its node".to_owned(),
        (AttemptEnd::Cancelled, ..) => "was cancelled".to_owned(),
        (AttemptEnd::Returned, ..) => "was given back before it started".to_owned(),
    };
    let ran = match attempt.run_ms {
        0 => String::new(),
        ms => format!(" after {}", format_duration(ms)),
    };
    let message = attempt.message.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
    format!("attempt {number} on {node} {how}{ran}{message}")
}

/// Why a job that World does not have stands where it stands.
pub(super) fn settled_job(job: &JobRecord) -> Explanation {
    let at = job.settled.map(|at| format!(" at {at}")).unwrap_or_default();
    let summary = match job.status {
        JobStatus::Submitted => "waits in its table until other jobs are settled".to_owned(),
        JobStatus::Succeeded => format!("has succeeded{at}"),
        JobStatus::Failed => format!("has failed{at}"),
        JobStatus::Cancelled => format!("was cancelled{at}"),
        other => format!("is {other}"),
    };
    let tasks = job.tasks;
    let counts = [
        (tasks.succeeded, "succeeded"),
        (tasks.failed, "failed"),
        (tasks.cancelled, "were cancelled"),
    ];
    let counts: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0 && job.status.is_settled())
        .map(|(count, how)| format!("{count} of {} tasks {how}", tasks.total))
        .collect();
    let why = job.stopping.map(|cause| cause_words(cause).to_owned());
    let details = why.into_iter().chain(counts).collect();
    Explanation { subject: job.id.to_string(), summary, details }
}

/// What is sold, and what of it is not asked for at this moment.
pub(super) fn offers(world: &World, now: Timestamp) -> Vec<OfferView> {
    let withheld = control::withheld(world, now);
    let view = |offer: &Offer| {
        // The last of what keeps it from being bought decides.
        let concerned = withheld.iter().filter(|item| item.concerns(offer));
        let last = concerned.max_by_key(|item| item.until);
        OfferView {
            offer: offer.clone(),
            withheld_until: last.map(|item| item.until),
            withheld_why: last.map(|item| item.why.clone()),
        }
    };
    world.observed.offers.iter().map(view).collect()
}

pub(super) fn cost(sums: CostSums) -> CostView {
    CostView {
        total_micro_usd: sums.total(),
        task_micro_usd: sums.task,
        waste_micro_usd: sums.waste,
        boot_micro_usd: sums.boot,
        idle_micro_usd: sums.idle,
        open_micro_usd: sums.open,
        on_demand_micro_usd: sums.on_demand,
        instances: sums.instances,
    }
}
