//! History: attempts that have ended, their streams and their outputs.

use std::sync::Arc;

use model::{
    AttemptEnd, AttemptId, Clamp, JobId, LogPart, Namespace, NodeId, OutputFile, TaskId, Timestamp,
};

use super::MAX_PAGE;
use crate::load::narrow;
use crate::session::records;
use crate::words::Word;
use crate::{Store, StoreError};

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The fence.
    pub id: AttemptId,
    /// Where it was.
    pub node: NodeId,
    /// When it was assigned.
    pub assigned: Timestamp,
    /// When the manager learned that it had started.
    pub started: Option<Timestamp>,
    /// When the manager learned that it had ended.
    pub ended: Timestamp,
    /// How long its process ran.
    pub run_ms: u64,
    /// How it ended.
    pub end: AttemptEnd,
    /// Its exit code, if it has one.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether it settled its task.
    pub settles: bool,
    /// The node's words on what went wrong.
    pub message: Option<String>,
    /// Its outputs.
    pub outputs: Vec<OutputFile>,
}

/// What an attempt that has ended wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRecord {
    /// The attempt.
    pub id: AttemptId,
    /// Whose job it is: part of the keys of what is in the object store.
    pub namespace: Namespace,
    /// How it ended.
    pub end: AttemptEnd,
    /// Its exit code, if it has one.
    pub exit_code: Option<i32>,
    /// Whether it settled its task.
    pub settles: bool,
    /// Standard output.
    pub stdout: LogPart,
    /// Standard error.
    pub stderr: LogPart,
}

/// An output file of a settled task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRecord {
    /// The attempt that made it: part of its key.
    pub id: AttemptId,
    /// Which file.
    pub file: OutputFile,
}

records! {
    AttemptRow {
        job: i64, grp: i64, idx: i64, attempt: i64, node: i64, assigned_ms: i64,
        started_ms: Option<i64>, ended_ms: i64, run_ms: i64, ended_as: String,
        exit_code: Option<i64>, signal: Option<i64>, settles: bool, message: Option<String>,
        outputs: Option<String>,
    }
    ResultRow {
        namespace: String, job: i64, grp: i64, idx: i64, attempt: i64, ended_as: String,
        exit_code: Option<i64>, settles: bool, stdout_bytes: i64, stdout: Option<Vec<u8>>,
        stderr_bytes: i64, stderr: Option<Vec<u8>>,
    }
    OutputRow { job: i64, grp: i64, idx: i64, attempt: i64, outputs: String }
}

const RESULTS: &str = "SELECT (SELECT namespace FROM jobs WHERE id = $1) AS namespace, job, grp, idx, \
     attempt, ended_as, exit_code, settles, stdout_bytes, stdout, stderr_bytes, stderr \
     FROM attempts WHERE job = $1";

impl Store {
    /// A task's attempts that have ended, the oldest first; at most 1,000.
    pub async fn attempts(&self, id: TaskId) -> Result<Vec<AttemptRecord>, StoreError> {
        let sql = "SELECT job, grp, idx, attempt, node, assigned_ms, started_ms, ended_ms, run_ms, \
             ended_as, exit_code, signal, settles, message, outputs FROM attempts \
             WHERE job = $1 AND grp = $2 AND idx = $3 ORDER BY attempt LIMIT $4";
        let values = [id.job.to_sql().into(), id.group.into(), id.index.into(), MAX_PAGE.into()];
        let rows: Vec<AttemptRow> = self.all(sql, &values).await?;
        rows.into_iter().map(AttemptRow::attempt).collect()
    }

    /// What a task's settling attempt wrote, or, while it is unsettled, its latest ended one.
    pub async fn result(&self, id: TaskId) -> Result<Option<ResultRecord>, StoreError> {
        let sql = format!(
            "{RESULTS} AND grp = $2 AND idx = $3 ORDER BY settles DESC, attempt DESC LIMIT 1"
        );
        let values = [id.job.to_sql().into(), id.group.into(), id.index.into()];
        let row: Option<ResultRow> = self.first(sqlx::AssertSqlSafe(sql), &values).await?;
        row.map(ResultRow::result).transpose()
    }

    /// What one attempt wrote, if it has ended.
    pub async fn attempt_result(&self, id: AttemptId) -> Result<Option<ResultRecord>, StoreError> {
        let sql = format!("{RESULTS} AND grp = $2 AND idx = $3 AND attempt = $4");
        let task = id.task;
        let values =
            [task.job.to_sql().into(), task.group.into(), task.index.into(), id.attempt.into()];
        let row: Option<ResultRow> = self.first(sqlx::AssertSqlSafe(sql), &values).await?;
        row.map(ResultRow::result).transpose()
    }

    /// What the settling attempts of a job wrote, in the order of its tasks; `after` is the last of
    /// the page before, as (group, index).
    pub async fn results(
        &self,
        job: JobId,
        after: Option<(u16, u32)>,
        limit: u32,
    ) -> Result<Vec<ResultRecord>, StoreError> {
        let sql = format!(
            "{RESULTS} AND (grp, idx) > ($2, $3) AND settles ORDER BY grp, idx, attempt LIMIT $4"
        );
        let (group, index) = cursor(after);
        let values = [job.to_sql().into(), group.into(), index.into(), limit.min(MAX_PAGE).into()];
        let rows: Vec<ResultRow> = self.all(sqlx::AssertSqlSafe(sql), &values).await?;
        rows.into_iter().map(ResultRow::result).collect()
    }

    /// Outputs of a job's settled tasks, in their order: those of up to `tasks` tasks after the
    /// one given. All of a task's files are on one page.
    pub async fn outputs(
        &self,
        job: JobId,
        after: Option<(u16, u32)>,
        tasks: u32,
    ) -> Result<Vec<OutputRecord>, StoreError> {
        let sql = "SELECT job, grp, idx, attempt, outputs FROM attempts WHERE job = $1 \
             AND (grp, idx) > ($2, $3) AND settles AND outputs IS NOT NULL \
             ORDER BY grp, idx, attempt LIMIT $4";
        let (group, index) = cursor(after);
        let values = [job.to_sql().into(), group.into(), index.into(), tasks.min(MAX_PAGE).into()];
        let rows: Vec<OutputRow> = self.all(sql, &values).await?;
        let mut outputs = Vec::new();
        for row in rows {
            let id = attempt_id(row.job, row.grp, row.idx, row.attempt)?;
            let files: Vec<OutputFile> =
                serde_json::from_str(&row.outputs).map_err(StoreError::corrupt)?;
            outputs.extend(files.into_iter().map(|file| OutputRecord { id, file }));
        }
        Ok(outputs)
    }
}

/// Before all, without a cursor.
fn cursor(after: Option<(u16, u32)>) -> (i64, i64) {
    after.map_or((-1, -1), |(group, index)| (i64::from(group), i64::from(index)))
}

fn attempt_id(job: i64, group: i64, index: i64, attempt: i64) -> Result<AttemptId, StoreError> {
    let task = TaskId { job: JobId::from_sql(job), group: narrow(group)?, index: narrow(index)? };
    Ok(task.attempt(narrow(attempt)?))
}

impl AttemptRow {
    fn attempt(self) -> Result<AttemptRecord, StoreError> {
        let outputs = match &self.outputs {
            Some(outputs) => serde_json::from_str(outputs).map_err(StoreError::corrupt)?,
            None => Vec::new(),
        };
        Ok(AttemptRecord {
            id: attempt_id(self.job, self.grp, self.idx, self.attempt)?,
            node: NodeId::from_sql(self.node),
            assigned: Timestamp::from_ms(self.assigned_ms),
            started: self.started_ms.map(Timestamp::from_ms),
            ended: Timestamp::from_ms(self.ended_ms),
            run_ms: self.run_ms.clamped(),
            end: AttemptEnd::read(&self.ended_as)?,
            exit_code: self.exit_code.map(narrow).transpose()?,
            signal: self.signal.map(narrow).transpose()?,
            settles: self.settles,
            message: self.message,
            outputs,
        })
    }
}

impl ResultRow {
    fn result(self) -> Result<ResultRecord, StoreError> {
        Ok(ResultRecord {
            id: attempt_id(self.job, self.grp, self.idx, self.attempt)?,
            namespace: self.namespace.parse().map_err(StoreError::corrupt)?,
            end: AttemptEnd::read(&self.ended_as)?,
            exit_code: self.exit_code.map(narrow).transpose()?,
            settles: self.settles,
            stdout: part(self.stdout_bytes, self.stdout)?,
            stderr: part(self.stderr_bytes, self.stderr)?,
        })
    }
}

fn part(size: i64, text: Option<Vec<u8>>) -> Result<LogPart, StoreError> {
    let text = text.map(String::from_utf8).transpose().map_err(StoreError::corrupt)?;
    Ok(LogPart { size_bytes: size.clamped(), text: text.map(Arc::from) })
}
