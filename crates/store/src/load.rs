//! The cold start: tables and head in one snapshot, and the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    Ask, Backlog, Cause, Change, ClusterId, Counters, Durable, Group, GroupId, Head, InstanceId,
    Intent, IntentId, IntervalSet, Job, JobId, JobSpec, MicroUsd, Node, NodeId, NodeReason,
    NodeState, Notice, NoticeKind, Phase, Placement, Resources, Task, TaskState, Timestamp,
};

use crate::document::unpack;
use crate::intervals::from_text;
use crate::session::{Snapshot, records};
use crate::words::Word;
use crate::{Store, StoreError};

records! {
    HeadRow {
        term: i64, seq: i64, now_ms: i64, format: i64, cluster: i64, seed: i64,
    }
    JobRow { id: i64, spec: Vec<u8>, submitted_ms: i64, stopping: Option<String> }
    GroupRow { job: i64, grp: i64, succeeded: String, cancelled: String }
    DemandRow { demand: String, jobs: i64 }
    /// All of a task's entry.
    TaskRow {
        job: i64, grp: i64, idx: i64, attempt: i64, state: String, until_ms: Option<i64>,
        node: Option<i64>, assigned_ms: Option<i64>, started_ms: Option<i64>,
        phase: Option<String>, deadline_ms: Option<i64>, cause: Option<String>,
        interrupted: i64, node_lost: i64, failed: i64, timed_out: i64, unexplained: i64,
    }
    /// All of a node.
    NodeRow {
        id: i64, state: String, reason: String, since_ms: i64, launched_ms: i64,
        joined_ms: Option<i64>, session: Option<i64>, deadline_ms: Option<i64>,
        booked_micro_usd: i64, cpu_millis: i64, memory_mib: i64, disk_mib: i64, gpus: i64,
        origin: String,
    }
    IntentRow {
        id: i64, request: String, state: String, since_ms: i64, opened_ms: i64, born: i64,
    }
    NoticeRow { instance: String, kind: String, deadline_ms: i64 }
    BoundsRow { first: Option<i64>, last: Option<i64> }
    LogRow { seq: i64, at_ms: i64, changes: Vec<u8> }
}

/// A commit, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number.
    pub seq: u64,
    /// Its step's now.
    pub at: Timestamp,
    /// What it changed; what is not logged is empty.
    pub changes: Vec<Change>,
}

/// Of a page's documents, compressed: a job's spec may have megabytes of items.
const LOG_PAGE_BYTES: u32 = 4 * 1024 * 1024;

/// The columns of a task's entry.
pub(crate) const TASK_COLUMNS: &str = "job, grp, idx, attempt, state, until_ms, node, assigned_ms, \
     started_ms, phase, deadline_ms, cause, interrupted, node_lost, failed, timed_out, unexplained";
/// The columns of a node.
pub(crate) const NODE_COLUMNS: &str = "id, state, reason, since_ms, launched_ms, joined_ms, \
     session, deadline_ms, booked_micro_usd, cpu_millis, memory_mib, disk_mib, gpus, origin";

impl Store {
    /// What is kept of unsettled things, as of one moment.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] also when no replica has ever acquired the lease: there is no head.
    pub async fn load(&self) -> Result<Durable, StoreError> {
        let mut snapshot = self.snapshot().await?;
        snapshot.take_your_time().await?;
        let head = load_head(&mut snapshot).await?;
        let jobs = load_jobs(&mut snapshot).await?;
        let backlog = load_backlog(&mut snapshot).await?;
        let nodes = load_nodes(&mut snapshot).await?;
        let intents = load_intents(&mut snapshot).await?;
        let notices = load_notices(&mut snapshot).await?;
        snapshot.end().await?;
        Ok(Durable { head, jobs, backlog, nodes, intents, notices })
    }

    /// The first and the last commit that the log still has; `None` before the first of all.
    pub async fn log_bounds(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let sql = "SELECT (SELECT MIN(seq) FROM log) AS first, (SELECT MAX(seq) FROM log) AS last";
        let row: Option<BoundsRow> = self.first(sql, &[]).await?;
        let bounds = row.and_then(|row| row.first.zip(row.last));
        Ok(bounds.map(|(first, last)| (first.cast_unsigned(), last.cast_unsigned())))
    }

    /// Commits after `seq`, in order, at most `limit`; fewer when their documents are large, but at
    /// least one if there is any.
    pub async fn log(&self, seq: u64, limit: u32) -> Result<Vec<LogEntry>, StoreError> {
        // Only the documents of what is within the page are read.
        let sql = "SELECT log.seq, at_ms, changes FROM log JOIN (SELECT seq, \
             SUM(bytes) OVER (ORDER BY seq) - bytes AS bytes_before FROM (SELECT seq, \
             length(changes) AS bytes FROM log WHERE seq > $1 ORDER BY seq LIMIT $2) AS sizes) \
             AS page ON page.seq = log.seq WHERE bytes_before < $3 ORDER BY log.seq";
        let values = [seq.cast_signed().into(), limit.into(), LOG_PAGE_BYTES.into()];
        let rows: Vec<LogRow> = self.all(sql, &values).await?;
        let entry = |row: LogRow| {
            Ok(LogEntry {
                seq: row.seq.cast_unsigned(),
                at: Timestamp::from_ms(row.at_ms),
                changes: unpack(&row.changes)?,
            })
        };
        rows.into_iter().map(entry).collect()
    }
}

async fn load_head(snapshot: &mut Snapshot<'_>) -> Result<Head, StoreError> {
    let sql = "SELECT term, seq, now_ms, format, cluster, seed FROM head";
    let rows: Vec<HeadRow> = snapshot.all(sql, &[]).await?;
    let row = rows.into_iter().next().ok_or_else(|| StoreError::corrupt("there is no head"))?;
    Ok(Head {
        term: row.term.cast_unsigned(),
        seq: row.seq.cast_unsigned(),
        now: Timestamp::from_ms(row.now_ms),
        format: narrow(row.format)?,
        cluster: ClusterId::from_sql(row.cluster),
        seed: row.seed.cast_unsigned(),
    })
}

#[derive(Default)]
struct Parts {
    succeeded: IntervalSet,
    cancelled: IntervalSet,
    tasks: BTreeMap<u32, Task>,
}

async fn load_jobs(snapshot: &mut Snapshot<'_>) -> Result<BTreeMap<JobId, Job>, StoreError> {
    let mut parts: BTreeMap<GroupId, Parts> = BTreeMap::new();
    let sql = "SELECT g.job, g.grp, g.succeeded, g.cancelled FROM jobs j \
         JOIN job_groups g ON g.job = j.id WHERE j.state = 'active'";
    let take = |row: GroupRow| {
        let part = parts.entry(group_id(row.job, row.grp)?).or_default();
        part.succeeded = from_text(&row.succeeded)?;
        part.cancelled = from_text(&row.cancelled)?;
        Ok(())
    };
    snapshot.each(sql, &[], take).await?;
    let columns = TASK_COLUMNS.replace(", ", ", t.");
    let sql = format!(
        "SELECT t.{columns} FROM jobs j JOIN tasks t ON t.job = j.id WHERE j.state = 'active'"
    );
    let take = |row: TaskRow| {
        let part = parts.entry(group_id(row.job, row.grp)?).or_default();
        part.tasks.insert(narrow(row.idx)?, row.task()?);
        Ok(())
    };
    snapshot.each(sqlx::AssertSqlSafe(sql), &[], take).await?;
    let mut jobs = BTreeMap::new();
    let sql = "SELECT id, spec, submitted_ms, stopping FROM jobs WHERE state = 'active'";
    let take = |row: JobRow| {
        let id = JobId::from_sql(row.id);
        jobs.insert(id, restored_job(id, &row, &mut parts)?);
        Ok(())
    };
    snapshot.each(sql, &[], take).await?;
    Ok(jobs)
}

fn restored_job(
    id: JobId,
    row: &JobRow,
    parts: &mut BTreeMap<GroupId, Parts>,
) -> Result<Job, StoreError> {
    let spec: Arc<JobSpec> = unpack(&row.spec)?;
    let group = |(ordinal, spec): (usize, &Arc<model::GroupSpec>)| {
        let group = u16::try_from(ordinal).map_err(StoreError::corrupt)?;
        let part = parts.remove(&GroupId { job: id, group }).unwrap_or_default();
        Ok(Group::restored(spec.count, part.succeeded, part.cancelled, part.tasks))
    };
    let groups = spec.groups.iter().enumerate().map(group).collect::<Result<_, StoreError>>()?;
    let submitted = Timestamp::from_ms(row.submitted_ms);
    let stopping = row.stopping.as_deref().map(Cause::read).transpose()?;
    Ok(Job { spec, submitted, stopping, groups })
}

/// Equal jobs are one row here, however many wait.
async fn load_backlog(snapshot: &mut Snapshot<'_>) -> Result<Backlog, StoreError> {
    let mut backlog = Backlog::default();
    let sql = "SELECT demand, COUNT(*) AS jobs FROM jobs WHERE state = 'backlog' GROUP BY demand";
    let take = |row: DemandRow| {
        let jobs = row.jobs.cast_unsigned();
        backlog.jobs += jobs;
        let demand: Vec<(Ask, u64)> =
            serde_json::from_str(&row.demand).map_err(StoreError::corrupt)?;
        for (ask, count) in demand {
            *backlog.demand.entry(ask).or_default() += count * jobs;
        }
        Ok(())
    };
    snapshot.each(sql, &[], take).await?;
    Ok(backlog)
}

async fn load_nodes(snapshot: &mut Snapshot<'_>) -> Result<BTreeMap<NodeId, Node>, StoreError> {
    let mut nodes = BTreeMap::new();
    let sql = format!("SELECT {NODE_COLUMNS} FROM nodes WHERE state <> 'gone'");
    let take = |row: NodeRow| {
        let node = row.node()?;
        nodes.insert(node.id, node);
        Ok(())
    };
    snapshot.each(sqlx::AssertSqlSafe(sql), &[], take).await?;
    Ok(nodes)
}

async fn load_intents(
    snapshot: &mut Snapshot<'_>,
) -> Result<BTreeMap<IntentId, Intent>, StoreError> {
    let mut intents = BTreeMap::new();
    let sql = "SELECT id, request, state, since_ms, opened_ms, born FROM intents WHERE is_open";
    let take = |row: IntentRow| {
        let intent = row.intent()?;
        intents.insert(intent.id, intent);
        Ok(())
    };
    snapshot.each(sql, &[], take).await?;
    Ok(intents)
}

async fn load_notices(
    snapshot: &mut Snapshot<'_>,
) -> Result<BTreeMap<(InstanceId, NoticeKind), Notice>, StoreError> {
    let mut notices = BTreeMap::new();
    let take = |row: NoticeRow| {
        let instance = InstanceId::new(&row.instance);
        let kind = NoticeKind::read(&row.kind)?;
        let deadline = Timestamp::from_ms(row.deadline_ms);
        notices.insert((instance.clone(), kind), Notice { instance, kind, deadline });
        Ok(())
    };
    snapshot.each("SELECT instance, kind, deadline_ms FROM notices", &[], take).await?;
    Ok(notices)
}

/// A number of ours that SQL keeps wider.
pub(crate) fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| StoreError::Corrupt(format!("{number} is out of range")))
}

fn group_id(job: i64, group: i64) -> Result<GroupId, StoreError> {
    Ok(GroupId { job: JobId::from_sql(job), group: narrow(group)? })
}

fn needed<T>(value: Option<T>, column: &str) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Corrupt(format!("{column} is missing")))
}

impl TaskRow {
    pub(crate) fn task(&self) -> Result<Task, StoreError> {
        let state = match self.state.as_str() {
            "ready" => TaskState::Ready,
            "backoff" => {
                TaskState::Backoff { until: Timestamp::from_ms(needed(self.until_ms, "until_ms")?) }
            }
            "placed" => TaskState::Placed(self.placement()?),
            "failed" => TaskState::Failed(Cause::read(needed(self.cause.as_deref(), "cause")?)?),
            other => return Err(StoreError::Corrupt(format!("unknown task state `{other}`"))),
        };
        let counters = Counters {
            interrupted: narrow(self.interrupted)?,
            node_lost: narrow(self.node_lost)?,
            failed: narrow(self.failed)?,
            timed_out: narrow(self.timed_out)?,
            unexplained: narrow(self.unexplained)?,
        };
        Ok(Task { state, attempt: narrow(self.attempt)?, counters })
    }

    fn placement(&self) -> Result<Placement, StoreError> {
        let phase = match needed(self.phase.as_deref(), "phase")? {
            "held" => Phase::Held,
            "admitted" => Phase::Admitted,
            "stopping" => Phase::Stopping,
            "stopping-held" => Phase::StoppingHeld,
            "leaving" => Phase::Leaving {
                deadline: Timestamp::from_ms(needed(self.deadline_ms, "deadline_ms")?),
            },
            other => return Err(StoreError::Corrupt(format!("unknown phase `{other}`"))),
        };
        Ok(Placement {
            node: NodeId::from_sql(needed(self.node, "node")?),
            assigned: Timestamp::from_ms(needed(self.assigned_ms, "assigned_ms")?),
            started: self.started_ms.map(Timestamp::from_ms),
            phase,
        })
    }
}

impl NodeRow {
    pub(crate) fn node(&self) -> Result<Node, StoreError> {
        Ok(Node {
            id: NodeId::from_sql(self.id),
            origin: serde_json::from_str(&self.origin).map_err(StoreError::corrupt)?,
            capacity: Resources {
                cpu_millis: narrow(self.cpu_millis)?,
                memory_mib: narrow(self.memory_mib)?,
                disk_mib: narrow(self.disk_mib)?,
                gpus: narrow(self.gpus)?,
            },
            state: NodeState::read(&self.state)?,
            since: Timestamp::from_ms(self.since_ms),
            reason: NodeReason::read(&self.reason)?,
            launched: Timestamp::from_ms(self.launched_ms),
            joined: self.joined_ms.map(Timestamp::from_ms),
            session: self.session.map(i64::cast_unsigned),
            deadline: self.deadline_ms.map(Timestamp::from_ms),
            booked: MicroUsd(self.booked_micro_usd),
        })
    }
}

impl IntentRow {
    pub(crate) fn intent(&self) -> Result<Intent, StoreError> {
        Ok(Intent {
            id: IntentId::from_sql(self.id),
            request: serde_json::from_str(&self.request).map_err(StoreError::corrupt)?,
            state: serde_json::from_str(&self.state).map_err(StoreError::corrupt)?,
            since: Timestamp::from_ms(self.since_ms),
            opened: Timestamp::from_ms(self.opened_ms),
            born: narrow(self.born)?,
        })
    }
}
