//! SQLite: one file, one process, one writer, a few readers.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::batch::{Batch, Rows};
use crate::open::{SQLITE, migration_error, migrator};
use crate::rows::{AnswerRow, InboxPost, JobRow, JobStateRow, Row};
use crate::{StoreError, rows};

/// Reads do not wait for each other, and a GET is short.
const READERS: u32 = 4;
/// Values of one statement: SQLite's own limit is 32,766.
const MAX_VALUES: usize = 30_000;
/// Rows of one statement. Each count is a statement of its own in the cache, so there are few.
const CHUNKS: [usize; 4] = [256, 32, 4, 1];

#[derive(Debug)]
pub(crate) struct SqliteDb {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    /// Locked as long as this store lives.
    _lock: File,
}

impl SqliteDb {
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(false)
            .statement_cache_capacity(256);
        // A checkpoint costs two more fsyncs: not after every fourth megabyte.
        let writing = options.clone().create_if_missing(true).pragma("wal_autocheckpoint", "8000");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(writing)
            .await?;
        migrator(SQLITE).run(&writer).await.map_err(migration_error)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        Ok(Self { writer, readers, _lock: lock })
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|source| StoreError::File { path: lock_path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StoreError::File { path: lock_path, source }),
    }
}

/// One transaction. False: fenced.
pub(crate) async fn commit(db: &SqliteDb, batch: &Batch) -> Result<bool, StoreError> {
    let mut transaction = db.writer.begin_with("BEGIN IMMEDIATE").await?;
    let moved = sqlx::query(
        "UPDATE head SET seq = $1, now_ms = $2, log_bytes = log_bytes + $5 \
         WHERE term = $3 AND seq = $4",
    )
    .bind(batch.seq.cast_signed())
    .bind(batch.now.as_ms())
    .bind(batch.term.cast_signed())
    .bind(batch.prev().cast_signed())
    .bind(i64::try_from(batch.log.len()).unwrap_or(i64::MAX))
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() != 1 {
        transaction.rollback().await?;
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO log (seq, at_ms, changes, total_bytes) \
         VALUES ($1, $2, $3, (SELECT log_bytes FROM head))",
    )
    .bind(batch.seq.cast_signed())
    .bind(batch.now.as_ms())
    .bind(&batch.log)
    .execute(&mut *transaction)
    .await?;
    write_rows(&mut transaction, &batch.rows).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn write_rows(to: &mut SqliteConnection, rows: &Rows) -> Result<(), StoreError> {
    insert_jobs(to, &rows.jobs).await?;
    put(to, "INSERT OR REPLACE INTO job_groups", "", &rows.groups).await?;
    each_chunk(to, RETRY_TASKS.0, RETRY_TASKS.1, &rows.back).await?;
    put(to, "INSERT OR REPLACE INTO tasks", "", &rows.tasks).await?;
    each_chunk(to, END_TASKS.0, END_TASKS.1, &rows.ended_tasks).await?;
    put(to, "INSERT INTO attempts", "", &rows.attempts).await?;
    put(to, "INSERT INTO ledger", "", &rows.spends).await?;
    each_chunk(to, UNSETTLE.0, UNSETTLE.1, &rows.unsettled).await?;
    retry_jobs(to, &rows.retried).await?;
    each_chunk(to, UPDATE_JOBS.0, UPDATE_JOBS.1, &rows.job_states).await?;
    each_chunk(to, PATCH_JOBS.0, PATCH_JOBS.1, &rows.patches).await?;
    each_chunk(to, END_LABELS.0, END_LABELS.1, &rows.patched).await?;
    each_chunk(to, END_AFTER.0, END_AFTER.1, &rows.patched).await?;
    put(to, "INSERT OR IGNORE INTO job_labels", "", &rows.labels).await?;
    put(to, "INSERT OR IGNORE INTO job_after", "", &rows.after).await?;
    put(to, "INSERT OR IGNORE INTO job_items", "", &rows.items).await?;
    let added = "ON CONFLICT (kind) DO UPDATE SET micro_usd = micro_usd + excluded.micro_usd";
    put(to, "INSERT INTO ledger_sums", added, &rows.sums).await?;
    put(to, "INSERT OR REPLACE INTO nodes", "", &rows.nodes).await?;
    put(to, "INSERT OR REPLACE INTO intents", "", &rows.intents).await?;
    put(to, "INSERT OR REPLACE INTO notices", "", &rows.notices).await?;
    each_chunk(to, END_NOTICES.0, END_NOTICES.1, &rows.notices_done).await?;
    put(to, "INSERT OR IGNORE INTO idempotency", "", &rows.answers).await?;
    put(to, "INSERT INTO explanations", "", &rows.explanations).await?;
    each_chunk(to, END_INBOX.0, END_INBOX.1, &rows.inbox_done).await?;
    Ok(())
}

/// What comes before and after the rows. By way of a named list, for SQLite scans the whole table
/// for keys in bare `VALUES`.
type Around = (&'static str, &'static str);

const END_TASKS: Around = (
    "WITH ended (job, grp, idx) AS (VALUES ",
    ") DELETE FROM tasks WHERE (job, grp, idx) IN (SELECT job, grp, idx FROM ended)",
);
const END_NOTICES: Around = (
    "WITH ended (instance, kind) AS (VALUES ",
    ") DELETE FROM notices WHERE (instance, kind) IN (SELECT instance, kind FROM ended)",
);
const END_INBOX: Around = ("DELETE FROM inbox WHERE number IN (VALUES ", ")");
const UPDATE_JOBS: Around = (
    "WITH u (id, state, status, settled_ms, stopping) AS (VALUES ",
    ") UPDATE jobs SET state = u.state, status = u.status, settled_ms = u.settled_ms, \
     stopping = COALESCE(u.stopping, jobs.stopping), demand = NULL FROM u WHERE jobs.id = u.id",
);

/// A job that comes back has no entries but those that it is given.
const RETRY_TASKS: Around = ("DELETE FROM tasks WHERE job IN (VALUES ", ")");
const RETRY_JOBS: Around = (
    "WITH u (id, state, status, settled_ms, stopping) AS (VALUES ",
    ") UPDATE jobs SET state = u.state, status = u.status, settled_ms = u.settled_ms, \
     stopping = u.stopping FROM u WHERE jobs.id = u.id",
);
const PATCH_JOBS: Around = (
    "WITH u (id, name, priority, labels, spec, times) AS (VALUES ",
    ") UPDATE jobs SET name = u.name, priority = u.priority, labels = u.labels, spec = u.spec, \
     revision = jobs.revision + u.times FROM u WHERE jobs.id = u.id",
);
const END_LABELS: Around = ("DELETE FROM job_labels WHERE job IN (VALUES ", ")");
const END_AFTER: Around = ("DELETE FROM job_after WHERE job IN (VALUES ", ")");
const UNSETTLE: Around = (
    "WITH u (job, grp, idx, attempt) AS (VALUES ",
    ") UPDATE attempts SET settles = 0 FROM u WHERE attempts.job = u.job \
     AND attempts.grp = u.grp AND attempts.idx = u.idx AND attempts.attempt <= u.attempt",
);

/// A job that is in the inbox already is taken over from there; any other is an id drawn twice.
async fn insert_jobs(to: &mut SqliteConnection, jobs: &[JobRow]) -> Result<(), StoreError> {
    let taken_over = "ON CONFLICT (id) DO UPDATE SET demand = excluded.demand, \
         state = excluded.state, status = excluded.status, settled_ms = excluded.settled_ms, \
         stopping = excluded.stopping WHERE jobs.state = 'inbox'";
    let written = put(to, "INSERT INTO jobs", taken_over, jobs).await?;
    if usize::try_from(written).ok() == Some(jobs.len()) {
        Ok(())
    } else {
        Err(StoreError::Refused(sqlx::Error::Protocol("a job id is taken".into())))
    }
}

/// World has a job that comes back: it must not be one whose row is forgotten.
async fn retry_jobs(to: &mut SqliteConnection, jobs: &[JobStateRow]) -> Result<(), StoreError> {
    let written = each_chunk(to, RETRY_JOBS.0, RETRY_JOBS.1, jobs).await?;
    if usize::try_from(written).ok() == Some(jobs.len()) {
        Ok(())
    } else {
        let gone = "a job that is retried is not there";
        Err(StoreError::Refused(sqlx::Error::Protocol(gone.into())))
    }
}

pub(crate) async fn put<R: Row>(
    to: &mut SqliteConnection,
    verb: &str,
    after: &str,
    rows: &[R],
) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let before = format!("{verb} ({}) VALUES ", R::COLUMNS.join(", "));
    each_chunk(to, &before, after, rows).await
}

/// One statement for each chunk of rows: `before (?, ?), (?, ?) after`.
async fn each_chunk<R: Row>(
    to: &mut SqliteConnection,
    before: &str,
    after: &str,
    mut rows: &[R],
) -> Result<u64, StoreError> {
    let mut written = 0;
    let width = R::COLUMNS.len();
    while !rows.is_empty() {
        let fits = |size: &usize| *size <= rows.len() && *size * width <= MAX_VALUES;
        let size = CHUNKS.into_iter().find(fits).unwrap_or(1);
        let (chunk, rest) = rows.split_at(size);
        let mut values = SqliteArguments::default();
        for row in chunk {
            row.bind_values(&mut values).map_err(sqlx::Error::Encode)?;
        }
        // Safe: made of our own table and column names and of question marks.
        let sql = AssertSqlSafe(statement(before, after, width, size)).into_sql_str();
        let query = sqlx::query_with(sql, values);
        written += query.execute(&mut *to).await?.rows_affected();
        rows = rest;
    }
    Ok(written)
}

fn statement(before: &str, after: &str, width: usize, size: usize) -> String {
    let one = format!("({})", vec!["?"; width].join(", "));
    format!("{before}{}{after}", vec![one.as_str(); size].join(", "))
}

/// What a replica posts; see [`crate::Store::post`].
pub(crate) struct Post<'p> {
    pub(crate) jobs: &'p [JobRow],
    pub(crate) labels: &'p [rows::LabelRow],
    pub(crate) after: &'p [rows::AfterRow],
    pub(crate) items: &'p [rows::ItemsUseRow],
    pub(crate) inbox: &'p [InboxPost],
    /// Rows of the inbox with which it is full.
    pub(crate) most: i64,
    pub(crate) answer: Option<&'p AnswerRow>,
    pub(crate) oldest_ms: i64,
}

/// What became of a post in the database.
pub(crate) enum PostedRows {
    /// They are written.
    Written,
    /// Nothing is: hash and answer were kept under the key before.
    Kept(String, String),
    /// Nothing is: the inbox is full.
    Full,
}

/// Whether there are so many rows in the inbox. They leave it in about the order of their numbers:
/// while their span is short, nothing need be counted.
const IS_FULL: &str = "SELECT (SELECT MAX(number) FROM inbox) - (SELECT MIN(number) FROM inbox) \
     + 1 >= $1 AND (SELECT COUNT(*) FROM (SELECT 1 FROM inbox LIMIT $1)) >= $1";

/// One transaction.
pub(crate) async fn post(db: &SqliteDb, post: &Post<'_>) -> Result<PostedRows, StoreError> {
    let mut transaction = db.writer.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(answer) = post.answer {
        sqlx::query("DELETE FROM idempotency WHERE namespace = $1 AND key = $2 AND at_ms < $3")
            .bind(&answer.namespace)
            .bind(&answer.key)
            .bind(post.oldest_ms)
            .execute(&mut *transaction)
            .await?;
        let kept: Option<(String, String)> = sqlx::query_as(
            "SELECT hash, answer FROM idempotency WHERE namespace = $1 AND key = $2",
        )
        .bind(&answer.namespace)
        .bind(&answer.key)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some((hash, answer)) = kept {
            transaction.rollback().await?;
            return Ok(PostedRows::Kept(hash, answer));
        }
        put(&mut transaction, "INSERT INTO idempotency", "", std::slice::from_ref(answer)).await?;
    }
    let (full,): (Option<bool>,) =
        sqlx::query_as(IS_FULL).bind(post.most).fetch_one(&mut *transaction).await?;
    if full == Some(true) {
        transaction.rollback().await?;
        return Ok(PostedRows::Full);
    }
    put(&mut transaction, "INSERT INTO jobs", "", post.jobs).await?;
    put(&mut transaction, "INSERT OR IGNORE INTO job_labels", "", post.labels).await?;
    put(&mut transaction, "INSERT OR IGNORE INTO job_after", "", post.after).await?;
    put(&mut transaction, "INSERT OR IGNORE INTO job_items", "", post.items).await?;
    put(&mut transaction, "INSERT INTO inbox", "", post.inbox).await?;
    transaction.commit().await?;
    Ok(PostedRows::Written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_looked_up_not_scanned_for() {
        let folder = tempfile::tempdir().unwrap();
        let db = SqliteDb::open(&folder.path().join("ebb.db")).await.unwrap();
        let hot = [
            (END_TASKS, 3, "tasks"),
            (END_NOTICES, 2, "notices"),
            (END_INBOX, 1, "inbox"),
            (UPDATE_JOBS, 5, "jobs"),
            (RETRY_TASKS, 1, "tasks"),
            (RETRY_JOBS, 5, "jobs"),
            (PATCH_JOBS, 6, "jobs"),
            (END_LABELS, 1, "job_labels"),
            (END_AFTER, 1, "job_after"),
            (UNSETTLE, 4, "attempts"),
        ];
        for ((before, after), width, table) in hot {
            for size in CHUNKS {
                let sql = format!("EXPLAIN QUERY PLAN {}", statement(before, after, width, size));
                let plan: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&db.readers).await.unwrap();
                let steps: Vec<&str> = plan.iter().map(|step| step.3.as_str()).collect();
                assert!(
                    steps.iter().any(|step| step.starts_with(&format!("SEARCH {table}"))),
                    "{steps:?}"
                );
                assert!(!steps.contains(&format!("SCAN {table}").as_str()), "{steps:?}");
            }
        }
    }
}
