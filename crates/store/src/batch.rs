//! What one commit writes: the changes for the log, and each touched thing as a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    After, Ask, AttemptEnd, AttemptId, Change, Clamp, GroupId, Intent, IntentState, IntervalSet,
    JobId, JobSpec, LedgerRow, LogPart, Node, NodeId, Outcome, Phase, Placement, Task, TaskId,
    TaskResult, TaskState, Timestamp, Touched, World,
};

use crate::StoreError;
use crate::document::pack;
use crate::inbox::IdempotencyKey;
use crate::intervals;
use crate::rows::{
    AnswerRow, AttemptRow, GroupRow, InboxKey, IntentRow, JobRow, JobStateRow, LabelRow, NodeRow,
    NoticeKey, NoticeRow, SpendRow, SumRow, TaskKey, TaskRow,
};
use crate::words::Word;

/// One commit, ready to be sent, and to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub(crate) term: u64,
    pub(crate) seq: u64,
    pub(crate) now: Timestamp,
    pub(crate) log: Vec<u8>,
    pub(crate) rows: Rows,
    /// What could not be written as JSON: such a batch is refused as a whole.
    pub(crate) fault: Option<String>,
}

/// The rows of a commit, in the order in which they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) jobs: Vec<JobRow>,
    pub(crate) groups: Vec<GroupRow>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) ended_tasks: Vec<TaskKey>,
    pub(crate) attempts: Vec<AttemptRow>,
    pub(crate) spends: Vec<SpendRow>,
    pub(crate) job_states: Vec<JobStateRow>,
    pub(crate) labels: Vec<LabelRow>,
    pub(crate) sums: Vec<SumRow>,
    pub(crate) nodes: Vec<NodeRow>,
    pub(crate) intents: Vec<IntentRow>,
    pub(crate) notices: Vec<NoticeRow>,
    pub(crate) notices_done: Vec<NoticeKey>,
    pub(crate) answers: Vec<AnswerRow>,
    pub(crate) inbox_done: Vec<InboxKey>,
}

impl Batch {
    /// Of these changes, which `world` has already: its head is the one to be committed.
    pub fn collect(world: &World, changes: &[Change]) -> Self {
        let head = &world.durable.head;
        let (term, seq, now) = (head.term, head.seq, head.now);
        let collected = Collector::of(world, changes).run(changes);
        let (rows, log, fault) = match collected.and_then(|rows| Ok((rows, pack(&changes)?))) {
            Ok((rows, log)) => (rows, log, None),
            Err(fault) => (Rows::default(), Vec::new(), Some(fault.to_string())),
        };
        Self { term, seq, now, log, rows, fault }
    }

    /// Keeps the answers to requests that are settled by this commit, so that their repetition is
    /// answered alike. A key that another replica has kept meanwhile stays as it is.
    #[must_use]
    pub fn with_answers(mut self, keys: &[IdempotencyKey], at: Timestamp) -> Self {
        self.rows.answers.extend(keys.iter().map(|key| key.row(at)));
        self
    }

    /// The seq that this commit makes durable.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Bytes of the log's row.
    pub fn log_bytes(&self) -> usize {
        self.log.len()
    }

    pub(crate) fn prev(&self) -> u64 {
        self.seq.saturating_sub(1)
    }
}

/// A job that leaves World in these changes.
struct Settled<'c> {
    status: &'static str,
    at: Timestamp,
    groups: &'c [model::SettledGroup],
}

struct Collector<'c> {
    world: &'c World,
    touched: Touched,
    settled: BTreeMap<JobId, Settled<'c>>,
    submitted: Vec<(JobId, &'c Arc<JobSpec>, Timestamp)>,
    taken_in: BTreeSet<JobId>,
    stopping: BTreeMap<JobId, &'static str>,
    /// How the tasks of settled jobs ended up: World does not know any more.
    last: BTreeMap<TaskId, Option<Task>>,
    spent: BTreeMap<&'static str, i64>,
    /// Nodes that changed, or of whose bill more is booked; as the changes last had them.
    nodes: BTreeMap<NodeId, Option<&'c Node>>,
    rows: Rows,
}

impl<'c> Collector<'c> {
    fn of(world: &'c World, changes: &'c [Change]) -> Self {
        let mut settled = BTreeMap::new();
        for change in changes {
            if let Change::JobSettled { job, status, at, groups } = change {
                settled.insert(*job, Settled { status: status.word(), at: *at, groups });
            }
        }
        Self {
            world,
            touched: Touched::by(changes),
            settled,
            submitted: Vec::new(),
            taken_in: BTreeSet::new(),
            stopping: BTreeMap::new(),
            last: BTreeMap::new(),
            spent: BTreeMap::new(),
            nodes: BTreeMap::new(),
            rows: Rows::default(),
        }
    }

    fn run(mut self, changes: &'c [Change]) -> Result<Rows, StoreError> {
        for change in changes {
            self.add(change)?;
        }
        self.jobs()?;
        self.groups();
        self.tasks();
        self.nodes()?;
        let spent = self.spent.into_iter();
        self.rows.sums = spent.map(|(kind, micro_usd)| SumRow { kind, micro_usd }).collect();
        Ok(self.rows)
    }

    fn add(&mut self, change: &'c Change) -> Result<(), StoreError> {
        match change {
            Change::JobSubmitted { job, spec, at, taken_in } => {
                self.submitted.push((*job, spec, *at));
                if *taken_in {
                    self.taken_in.insert(*job);
                }
            }
            Change::JobTakenIn { job, .. } => {
                self.taken_in.insert(*job);
            }
            Change::JobStopping { job, cause } => {
                self.stopping.insert(*job, cause.word());
            }
            Change::JobSettled { .. }
            | Change::JobPatched { .. }
            | Change::JobRetried { .. }
            | Change::TaskRetried { .. } => {}
            Change::Placed { attempt, task } | Change::Bound { attempt, task } => {
                self.ends_as(attempt.task, Some(*task));
            }
            Change::Ended { attempt, placement, end, at, after, result } => {
                let row = attempt_row(*attempt, placement, *end, *at, after, result.as_deref())?;
                self.rows.attempts.push(row);
                let entry = match after {
                    After::Keep(task) => Some(*task),
                    After::Succeeded | After::Cancelled => None,
                };
                self.ends_as(attempt.task, entry);
            }
            Change::RetryCancelled { task } => self.ends_as(*task, None),
            Change::Due { .. } | Change::FreshCancelled { .. } => {}
            Change::Node(node) => {
                self.nodes.insert(node.id, Some(node));
            }
            Change::Intent(intent) => {
                self.rows.intents.retain(|row| row.id != intent.id.to_sql());
                self.rows.intents.push(intent_row(intent)?);
            }
            Change::NoticeKept(notice) => {
                let key = notice_key(notice.instance.as_str(), notice.kind.word());
                self.rows.notices_done.retain(|done| *done != key);
                self.rows
                    .notices
                    .retain(|row| row.instance != key.instance || row.kind != key.kind);
                let deadline_ms = notice.deadline.as_ms();
                let NoticeKey { instance, kind } = key;
                self.rows.notices.push(NoticeRow { instance, kind, deadline_ms });
            }
            Change::NoticeDone { instance, kind } => {
                let key = notice_key(instance.as_str(), kind.word());
                self.rows
                    .notices
                    .retain(|row| row.instance != key.instance || row.kind != key.kind);
                self.rows.notices_done.push(key);
            }
            Change::Ledger(row) => {
                self.nodes.entry(row.node).or_default();
                let row = spend_row(row);
                *self.spent.entry(row.kind).or_default() += row.micro_usd;
                self.rows.spends.push(row);
            }
            Change::InboxDone { rows } => {
                self.rows.inbox_done.extend(rows.iter().map(|row| InboxKey { number: *row }));
            }
        }
        Ok(())
    }

    fn ends_as(&mut self, id: TaskId, entry: Option<Task>) {
        if self.settled.contains_key(&id.job) {
            self.last.insert(id, entry);
        }
    }

    /// Jobs that came in these changes get a whole row, others what changes of theirs.
    fn jobs(&mut self) -> Result<(), StoreError> {
        let mut new = BTreeSet::new();
        for (id, spec, at) in std::mem::take(&mut self.submitted) {
            let state = self.job_state(id);
            let demand = (state.state == "backlog").then(|| demand(spec)).transpose()?;
            let row = job_row(id, spec, at, demand, &state)?;
            self.rows.labels.extend(label_rows(id, spec));
            self.rows.jobs.push(row);
            new.insert(id);
        }
        for id in &self.touched.jobs {
            if !new.contains(id) {
                self.rows.job_states.push(self.job_state(*id));
            }
        }
        Ok(())
    }

    fn job_state(&self, id: JobId) -> JobStateRow {
        let settled = self.settled.get(&id);
        let state = match settled {
            Some(_) => "settled",
            None if self.world.durable.jobs.contains_key(&id) => "active",
            None => "backlog",
        };
        JobStateRow {
            id: id.to_sql(),
            state,
            status: settled.map(|settled| settled.status),
            settled_ms: settled.map(|settled| settled.at.as_ms()),
            stopping: self.stopping.get(&id).copied(),
        }
    }

    fn groups(&mut self) {
        for id in &self.touched.groups {
            if let Some(group) = self.world.group(*id) {
                self.rows.groups.push(group_row(*id, &group.succeeded, &group.cancelled));
            }
        }
        for (job, settled) in &self.settled {
            for (ordinal, group) in settled.groups.iter().enumerate() {
                let id = GroupId { job: *job, group: u16::try_from(ordinal).unwrap_or(u16::MAX) };
                self.rows.groups.push(group_row(id, &group.succeeded, &group.cancelled));
            }
        }
    }

    /// A touched task that has an entry is written, one without is deleted.
    fn tasks(&mut self) {
        for id in &self.touched.tasks {
            let entry = match self.last.get(id) {
                Some(last) => *last,
                None => self.world.task(*id).copied(),
            };
            match entry {
                Some(task) => self.rows.tasks.push(task_row(*id, &task)),
                None => self.rows.ended_tasks.push(TaskKey {
                    job: id.job.to_sql(),
                    grp: i64::from(id.group),
                    idx: i64::from(id.index),
                }),
            }
        }
    }

    /// As World has them; one that is gone, as it was when it went.
    fn nodes(&mut self) -> Result<(), StoreError> {
        for (id, last) in &self.nodes {
            if let Some(node) = self.world.durable.nodes.get(id).or(*last) {
                self.rows.nodes.push(node_row(node)?);
            }
        }
        Ok(())
    }
}

/// Postgres keeps no NUL in text.
fn clean(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::corrupt)
}

/// What a job asks for, by ask: equal jobs have equal text, so that a backlog is summed by text.
fn demand(spec: &JobSpec) -> Result<String, StoreError> {
    let mut demand: BTreeMap<Ask, u64> = BTreeMap::new();
    for group in &spec.groups {
        *demand.entry(group.ask()).or_default() += u64::from(group.count);
    }
    json(&demand.into_iter().collect::<Vec<_>>())
}

fn job_row(
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

fn group_row(id: GroupId, succeeded: &IntervalSet, cancelled: &IntervalSet) -> GroupRow {
    GroupRow {
        job: id.job.to_sql(),
        grp: i64::from(id.group),
        succeeded: intervals::to_text(succeeded),
        cancelled: intervals::to_text(cancelled),
        succeeded_tasks: i64::from(succeeded.len()),
        cancelled_tasks: i64::from(cancelled.len()),
    }
}

fn task_row(id: TaskId, task: &Task) -> TaskRow {
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

fn attempt_row(
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

fn node_row(node: &Node) -> Result<NodeRow, StoreError> {
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

fn intent_row(intent: &Intent) -> Result<IntentRow, StoreError> {
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

fn notice_key(instance: &str, kind: &'static str) -> NoticeKey {
    NoticeKey { instance: clean(instance), kind }
}

fn spend_row(row: &LedgerRow) -> SpendRow {
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
