//! What one commit writes: the changes for the log, and each touched thing as a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    After, Change, GroupId, JobId, JobSpec, Node, NodeId, Task, TaskId, TaskState, Timestamp,
    Touched, World,
};

use crate::StoreError;
use crate::document::pack;
use crate::inbox::IdempotencyKey;
use crate::rows::{
    AfterRow, AnswerRow, AttemptRow, ExplanationRow, GroupRow, InboxKey, IntentRow, ItemsUseRow,
    JobKey, JobRow, JobStateRow, LabelRow, NodeRow, NoticeKey, NoticeRow, PatchRow, SpendRow,
    SumRow, TaskKey, TaskRow, UnsettledRow,
};
use crate::to_rows::{
    after_rows, attempt_row, clean, demand, group_row, intent_row, items_rows, job_row, label_rows,
    node_row, notice_key, patch_row, spend_row, task_row,
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
    pub(crate) unsettled: Vec<UnsettledRow>,
    pub(crate) spends: Vec<SpendRow>,
    pub(crate) patches: Vec<PatchRow>,
    /// Of `patches`.
    pub(crate) patched: Vec<JobKey>,
    /// All of what changes of jobs that come back.
    pub(crate) retried: Vec<JobStateRow>,
    /// Of `retried`.
    pub(crate) back: Vec<JobKey>,
    pub(crate) job_states: Vec<JobStateRow>,
    pub(crate) labels: Vec<LabelRow>,
    pub(crate) after: Vec<AfterRow>,
    pub(crate) items: Vec<ItemsUseRow>,
    pub(crate) sums: Vec<SumRow>,
    pub(crate) nodes: Vec<NodeRow>,
    pub(crate) intents: Vec<IntentRow>,
    pub(crate) notices: Vec<NoticeRow>,
    pub(crate) notices_done: Vec<NoticeKey>,
    pub(crate) answers: Vec<AnswerRow>,
    pub(crate) explanations: Vec<ExplanationRow>,
    pub(crate) inbox_done: Vec<InboxKey>,
}

/// What the leader did and why, for somebody who asks later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What it is about: an id, as text.
    pub subject: String,
    /// What was done, and why.
    pub words: String,
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

    /// Keeps explanations of what is decided in this commit, in their order.
    #[must_use]
    pub fn with_explanations(mut self, explanations: &[Explanation]) -> Self {
        let (at_ms, seq) = (self.now.as_ms(), self.seq.cast_signed());
        let first = self.rows.explanations.len();
        let numbered = (first..).map(|place| i64::try_from(place).unwrap_or(i64::MAX));
        let row = |(ordinal, explanation): (i64, &Explanation)| ExplanationRow {
            at_ms,
            seq,
            ordinal,
            subject: clean(&explanation.subject),
            words: clean(&explanation.words),
        };
        self.rows.explanations.extend(numbered.zip(explanations).map(row));
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
    /// Jobs whose state or its reason changes.
    moved: BTreeSet<JobId>,
    /// How often a user changed them, and their specs after it.
    patched: BTreeMap<JobId, (i64, Option<&'c Arc<JobSpec>>)>,
    retried: BTreeSet<JobId>,
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
            match change {
                Change::JobSettled { job, status, at, groups } => {
                    settled.insert(*job, Settled { status: status.word(), at: *at, groups });
                }
                Change::JobRetried { job, .. } => {
                    settled.remove(job);
                }
                _ => {}
            }
        }
        Self {
            world,
            touched: Touched::by(changes),
            settled,
            submitted: Vec::new(),
            moved: BTreeSet::new(),
            patched: BTreeMap::new(),
            retried: BTreeSet::new(),
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
        self.patches()?;
        self.groups();
        self.tasks();
        self.nodes()?;
        let spent = self.spent.into_iter();
        self.rows.sums = spent.map(|(kind, micro_usd)| SumRow { kind, micro_usd }).collect();
        Ok(self.rows)
    }

    fn add(&mut self, change: &'c Change) -> Result<(), StoreError> {
        match change {
            Change::JobSubmitted { job, spec, at, .. } => self.submitted.push((*job, spec, *at)),
            Change::JobTakenIn { job, .. } | Change::JobSettled { job, .. } => {
                self.moved.insert(*job);
            }
            Change::JobPatched { job, spec, .. } => {
                let (times, last) = self.patched.entry(*job).or_default();
                *times += 1;
                *last = spec.as_ref();
            }
            Change::JobRetried { job, spec, groups, .. } => {
                self.retried.insert(*job);
                // It comes back as World has it, though somebody patched its row meanwhile.
                self.patched.entry(*job).or_default().1 = Some(spec);
                self.stopping.remove(job);
                for (ordinal, group) in groups.iter().enumerate() {
                    let ordinal = u16::try_from(ordinal).unwrap_or(u16::MAX);
                    for (index, task) in &group.tasks {
                        self.comes_back(TaskId { job: *job, group: ordinal, index: *index }, task);
                    }
                }
            }
            Change::TaskRetried { task, entry } => self.comes_back(*task, entry),
            Change::JobStopping { job, cause } => {
                self.moved.insert(*job);
                self.stopping.insert(*job, cause.word());
            }
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

    /// None of its attempts so far settles it any more, if it is to run again.
    fn comes_back(&mut self, id: TaskId, entry: &Task) {
        self.ends_as(id, Some(*entry));
        if !matches!(entry.state, TaskState::Failed(_)) {
            self.rows.unsettled.push(UnsettledRow {
                job: id.job.to_sql(),
                grp: i64::from(id.group),
                idx: i64::from(id.index),
                attempt: i64::from(entry.attempt),
            });
        }
    }

    /// Jobs that came in these changes get a whole row, others what changes of theirs.
    fn jobs(&mut self) -> Result<(), StoreError> {
        let mut new = BTreeSet::new();
        for (id, spec, at) in std::mem::take(&mut self.submitted) {
            let state = self.job_state(id);
            let demand = (state.state == "backlog").then(|| demand(spec)).transpose()?;
            let row = job_row(id, spec, at, demand, &state)?;
            if !self.patched.contains_key(&id) {
                self.rows.labels.extend(label_rows(id, spec));
                self.rows.after.extend(after_rows(id, spec));
            }
            self.rows.items.extend(items_rows(id, spec));
            self.rows.jobs.push(row);
            new.insert(id);
        }
        for id in self.moved.iter().filter(|id| !new.contains(id) && !self.retried.contains(id)) {
            self.rows.job_states.push(self.job_state(*id));
        }
        self.rows.retried = self.retried.iter().map(|id| self.job_state(*id)).collect();
        self.rows.back = self.retried.iter().map(|id| JobKey { id: id.to_sql() }).collect();
        Ok(())
    }

    /// World's spec is what a load must give; a job that is not in World has the change's.
    fn patches(&mut self) -> Result<(), StoreError> {
        for (id, (times, last)) in &self.patched {
            let in_world = self.world.durable.jobs.get(id).map(|job| &job.spec);
            let spec = in_world.or(*last).ok_or_else(|| {
                StoreError::Corrupt(format!("the patch of {id} came without its spec"))
            })?;
            self.rows.patches.push(patch_row(*id, spec, *times)?);
            self.rows.patched.push(JobKey { id: id.to_sql() });
            self.rows.labels.extend(label_rows(*id, spec));
            self.rows.after.extend(after_rows(*id, spec));
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
