//! Jobs with the counts of their tasks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use model::{
    Cause, Clamp, JobId, JobSpec, JobStatus, MicroUsd, Namespace, TaskCounts, TaskStatus, Timestamp,
};

use super::{MAX_PAGE, TASK_STATUS};
use crate::document::unpack;
use crate::load::narrow;
use crate::session::{Value, records};
use crate::words::Word;
use crate::{Store, StoreError};

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Higher goes first.
    pub priority: i16,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was accepted.
    pub submitted: Timestamp,
    /// When it settled.
    pub settled: Option<Timestamp>,
    /// Why it is, or was, stopped.
    pub stopping: Option<Cause>,
    /// How often a user changed it.
    pub revision: u64,
    /// Whether it is still in the inbox: no leader has seen it.
    pub in_inbox: bool,
    /// Its tasks.
    pub tasks: TaskCounts,
}

/// A group of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its name.
    pub name: String,
    /// Its tasks.
    pub tasks: TaskCounts,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDetail {
    /// As in the list.
    pub job: JobRecord,
    /// What was asked.
    pub spec: Arc<JobSpec>,
    /// Its groups, by ordinal.
    pub groups: Vec<GroupRecord>,
    /// What the ledger holds of its attempts.
    pub cost: MicroUsd,
}

/// Which jobs; the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this namespace only.
    pub namespace: Option<Namespace>,
    /// In this status only.
    pub status: Option<JobStatus>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// Older than this one: the last of the page before.
    pub before: Option<JobId>,
    /// At most so many, and at most 1,000.
    pub limit: u32,
}

records! {
    JobRow {
        id: i64, namespace: String, name: String, labels: String, priority: i64, tasks: i64,
        status: String, submitted_ms: i64, settled_ms: Option<i64>, stopping: Option<String>,
        revision: i64, in_inbox: bool, succeeded: i64, cancelled: i64, tally: Option<String>,
    }
    DetailRow { shape: String, spec: Vec<u8>, cost: i64 }
    GroupRow { grp: i64, succeeded_tasks: i64, cancelled_tasks: i64 }
    CountRow { grp: i64, status: String, tasks: i64 }
    NumberRow { number: i64 }
}

/// Of a job in its own row and those of its tasks.
pub(super) const STATUS: &str = "CASE WHEN j.state = 'settled' THEN j.status WHEN j.state <> 'active' \
     THEN 'submitted' WHEN j.stopping IS NOT NULL THEN 'stopping' \
     WHEN EXISTS (SELECT 1 FROM tasks t WHERE t.job = j.id AND t.state = 'placed') \
     THEN 'running' ELSE 'waiting' END";

/// A page's columns: the counts of rows are packed into one text, `running:3,failed:1`.
fn select() -> String {
    format!(
        "SELECT j.id, j.namespace, j.name, j.labels, j.priority, j.tasks, {STATUS} AS status, \
         j.submitted_ms, j.settled_ms, j.stopping, j.revision, j.state = 'inbox' AS in_inbox, \
         (SELECT CAST(COALESCE(SUM(g.succeeded_tasks), 0) AS BIGINT) FROM job_groups g \
          WHERE g.job = j.id) AS succeeded, \
         (SELECT CAST(COALESCE(SUM(g.cancelled_tasks), 0) AS BIGINT) FROM job_groups g \
          WHERE g.job = j.id) AS cancelled, \
         (SELECT string_agg(c.status || ':' || c.n, ',') FROM (SELECT {TASK_STATUS} AS status, \
          COUNT(*) AS n FROM tasks t WHERE t.job = j.id GROUP BY 1) c) AS tally FROM jobs j"
    )
}

impl Store {
    /// A page of jobs, the newest first.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        let (mut sql, mut values) = (select(), Vec::new());
        let mut wheres = Vec::new();
        if let Some(before) = filter.before {
            values.push(before.to_sql().into());
            wheres.push(format!("j.id < ${}", values.len()));
        }
        if let Some(namespace) = &filter.namespace {
            values.push(namespace.as_str().into());
            wheres.push(format!("j.namespace = ${}", values.len()));
        }
        for (name, value) in &filter.labels {
            values.push(Value::Text(name.replace('\0', "")));
            values.push(Value::Text(value.replace('\0', "")));
            let (name, value) = (values.len() - 1, values.len());
            wheres.push(format!(
                "j.id IN (SELECT l.job FROM job_labels l WHERE l.name = ${name} AND l.value = ${value})"
            ));
        }
        if let Some(status) = filter.status {
            wheres.push(status_condition(status));
        }
        if !wheres.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&wheres.join(" AND "));
        }
        values.push(filter.limit.min(MAX_PAGE).into());
        // Writing to a String cannot fail.
        let _ = write!(sql, " ORDER BY j.id DESC LIMIT ${}", values.len());
        // Safe: text of ours; what users gave is in `values`.
        let rows: Vec<JobRow> = self.all(sqlx::AssertSqlSafe(sql), &values).await?;
        rows.into_iter().map(JobRow::job).collect()
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Result<Option<JobDetail>, StoreError> {
        let key = [id.to_sql().into()];
        let mut snapshot = self.snapshot().await?;
        let sql = format!("{} WHERE j.id = $1", select());
        let rows: Vec<JobRow> = snapshot.all(sqlx::AssertSqlSafe(sql), &key).await?;
        let Some(row) = rows.into_iter().next() else {
            snapshot.end().await?;
            return Ok(None);
        };
        let sql = "SELECT shape, spec, (SELECT CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) \
             FROM ledger WHERE job = $1) AS cost FROM jobs WHERE id = $1";
        let details: Vec<DetailRow> = snapshot.all(sql, &key).await?;
        let sql = "SELECT grp, succeeded_tasks, cancelled_tasks FROM job_groups WHERE job = $1";
        let settled: Vec<GroupRow> = snapshot.all(sql, &key).await?;
        let sql = format!(
            "SELECT grp, {TASK_STATUS} AS status, COUNT(*) AS tasks FROM tasks WHERE job = $1 \
             GROUP BY 1, 2"
        );
        let counts: Vec<CountRow> = snapshot.all(sqlx::AssertSqlSafe(sql), &key).await?;
        snapshot.end().await?;
        let Some(detail) = details.into_iter().next() else { return Ok(None) };
        let groups = groups(&detail.shape, &settled, &counts)?;
        let (spec, cost) = (unpack(&detail.spec)?, MicroUsd(detail.cost));
        Ok(Some(JobDetail { job: row.job()?, spec, groups, cost }))
    }

    /// Jobs that are accepted and not settled.
    pub async fn unsettled_jobs(&self) -> Result<u64, StoreError> {
        let sql = "SELECT (SELECT COUNT(*) FROM jobs WHERE state = 'active') \
             + (SELECT COUNT(*) FROM jobs WHERE state = 'backlog') \
             + (SELECT COUNT(*) FROM inbox WHERE kind = 'submit') AS number";
        let row: Option<NumberRow> = self.first(sql, &[]).await?;
        Ok(row.map_or(0, |row| row.number.clamped()))
    }
}

/// In words that the partial indexes understand.
fn status_condition(status: JobStatus) -> String {
    if status.is_settled() {
        format!("j.state = 'settled' AND j.status = '{}'", status.word())
    } else if status == JobStatus::Submitted {
        "j.state IN ('inbox', 'backlog')".to_owned()
    } else {
        format!("j.state = 'active' AND {STATUS} = '{}'", status.word())
    }
}

fn groups(
    shape: &str,
    settled: &[GroupRow],
    counts: &[CountRow],
) -> Result<Vec<GroupRecord>, StoreError> {
    let shape: Vec<(String, u32)> = serde_json::from_str(shape).map_err(StoreError::corrupt)?;
    let mut groups: Vec<GroupRecord> = shape
        .into_iter()
        .map(|(name, count)| GroupRecord { name, tasks: TaskCounts::all_waiting(u64::from(count)) })
        .collect();
    let place = |group: i64| usize::try_from(group).map_err(StoreError::corrupt);
    for row in settled {
        if let Some(group) = groups.get_mut(place(row.grp)?) {
            group.tasks.move_waiting(TaskStatus::Succeeded, row.succeeded_tasks.clamped());
            group.tasks.move_waiting(TaskStatus::Cancelled, row.cancelled_tasks.clamped());
        }
    }
    for row in counts {
        if let Some(group) = groups.get_mut(place(row.grp)?) {
            group.tasks.move_waiting(TaskStatus::read(&row.status)?, row.tasks.clamped());
        }
    }
    Ok(groups)
}

impl JobRow {
    fn job(self) -> Result<JobRecord, StoreError> {
        let mut tasks = TaskCounts::all_waiting(self.tasks.clamped());
        tasks.move_waiting(TaskStatus::Succeeded, self.succeeded.clamped());
        tasks.move_waiting(TaskStatus::Cancelled, self.cancelled.clamped());
        for part in self.tally.iter().flat_map(|tally| tally.split(',')) {
            let counted =
                part.split_once(':').and_then(|(status, n)| Some((status, n.parse().ok()?)));
            let Some((status, number)) = counted else {
                return Err(StoreError::Corrupt(format!("`{part}` is not a count")));
            };
            tasks.move_waiting(TaskStatus::read(status)?, number);
        }
        Ok(JobRecord {
            id: JobId::from_sql(self.id),
            namespace: self.namespace.parse().map_err(StoreError::corrupt)?,
            name: self.name,
            labels: serde_json::from_str(&self.labels).map_err(StoreError::corrupt)?,
            priority: narrow(self.priority)?,
            status: JobStatus::read(&self.status)?,
            submitted: Timestamp::from_ms(self.submitted_ms),
            settled: self.settled_ms.map(Timestamp::from_ms),
            stopping: self.stopping.as_deref().map(Cause::read).transpose()?,
            revision: self.revision.clamped(),
            in_inbox: self.in_inbox,
            tasks,
        })
    }
}
