//! Postgres: every commit is one call of one function.

use std::time::Duration;

use serde::Serialize;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Arguments, ConnectOptions, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::StoreError;
use crate::batch::Batch;
use crate::open::{POSTGRES, migration_error, migrator};
use crate::rows::Row;
use crate::sqlite::{Post, PostedRows};
use crate::to_rows::json;

/// No statement of ours may hold anything for longer. The lease must be longer than this, so that
/// nothing that a leader began is still under way when its lease has run out.
pub const STATEMENT_TIMEOUT_MS: u64 = 4_000;
/// Waiting for a lock ends before the statement does.
pub const LOCK_TIMEOUT_MS: u64 = 3_000;
/// A transaction of a stopped process gives its locks back after this.
pub const IDLE_TIMEOUT_MS: u64 = 3_000;

/// A network that swallows what is sent gives no error: after this an answer is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(STATEMENT_TIMEOUT_MS + 500);

/// For what must not wait for GETs: the lease first of all.
const LEADING: u32 = 2;
/// For GETs, posts and the load.
const READING: u32 = 12;

#[derive(Debug)]
pub(crate) struct PostgresDb {
    options: PgConnectOptions,
    /// The commits' own connection, outside of all pools: a pool pings each connection that it gets
    /// back, a second round trip for each commit. Absent until the first, and after a failure.
    committing: Mutex<Option<PgConnection>>,
    pub(crate) leading: PgPool,
    pub(crate) pool: PgPool,
}

impl PostgresDb {
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions =
            url.parse().map_err(|_: sqlx::Error| StoreError::Url(without_password(url)))?;
        let options = options.application_name("ebbtide").statement_cache_capacity(256).options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS.to_string()),
            ("lock_timeout", LOCK_TIMEOUT_MS.to_string()),
            ("idle_in_transaction_session_timeout", IDLE_TIMEOUT_MS.to_string()),
            ("synchronous_commit", "on".to_owned()),
        ]);
        let pool = |most| {
            PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(Duration::from_secs(5))
                .test_before_acquire(false)
                // One that stood idle may be dead, for the server was restarted.
                .before_acquire(|connection, meta| {
                    Box::pin(async move {
                        if meta.idle_for > Duration::from_secs(1) {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .connect_with(options.clone())
        };
        let leading = pool(LEADING).await?;
        migrate(&options).await?;
        let pool = pool(READING).await?;
        Ok(Self { options, committing: Mutex::new(None), leading, pool })
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
        self.leading.close().await;
        if let Some(connection) = self.committing.lock().await.take() {
            // It is gone in any case.
            let _ = timeout(ANSWER_TIMEOUT, connection.close()).await;
        }
    }
}

/// Making an index takes as long as it takes.
async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let patient = options.clone().options([("statement_timeout", "0")]);
    let pool = PgPoolOptions::new().max_connections(1).connect_with(patient).await?;
    migrator(POSTGRES).run(&pool).await.map_err(migration_error)?;
    pool.close().await;
    Ok(())
}

fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// Rows as JSON, or NULL when there are none: the function then skips the table.
fn rare<R: Serialize>(rows: &[R]) -> Result<Option<String>, StoreError> {
    if rows.is_empty() { Ok(None) } else { json(rows).map(Some) }
}

/// Tables whose rows travel as JSON in a commit.
const RARE: usize = 13;

fn commit_arguments(batch: &Batch) -> Result<PgArguments, StoreError> {
    let rows = &batch.rows;
    let rare: [_; RARE] = [
        rare(&rows.job_states)?,
        rare(&rows.labels)?,
        rare(&rows.sums)?,
        rare(&rows.nodes)?,
        rare(&rows.intents)?,
        rare(&rows.notices)?,
        rare(&rows.notices_done)?,
        rare(&rows.answers)?,
        rare(&rows.retried)?,
        rare(&rows.unsettled)?,
        rare(&rows.after)?,
        rare(&rows.items)?,
        rare(&rows.explanations)?,
    ];
    let mut arguments = PgArguments::default();
    let mut bind = || {
        arguments.add(batch.term.cast_signed())?;
        arguments.add(batch.prev().cast_signed())?;
        arguments.add(batch.seq.cast_signed())?;
        arguments.add(batch.now.as_ms())?;
        arguments.add(&batch.log)?;
        Row::bind_columns(&rows.jobs, &mut arguments)?;
        Row::bind_columns(&rows.groups, &mut arguments)?;
        Row::bind_columns(&rows.tasks, &mut arguments)?;
        Row::bind_columns(&rows.ended_tasks, &mut arguments)?;
        Row::bind_columns(&rows.attempts, &mut arguments)?;
        Row::bind_columns(&rows.spends, &mut arguments)?;
        Row::bind_columns(&rows.patches, &mut arguments)?;
        for text in &rare {
            arguments.add(text)?;
        }
        Row::bind_columns(&rows.inbox_done, &mut arguments)
    };
    bind().map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

/// `SELECT name($1, …)` with casts for the JSON parameters, which travel as text.
fn call(name: &str, parameters: usize, json: std::ops::RangeInclusive<usize>) -> String {
    let placeholders: Vec<String> = (1..=parameters)
        .map(|number| {
            if json.contains(&number) {
                format!("CAST(${number}::TEXT AS JSON)")
            } else {
                format!("${number}")
            }
        })
        .collect();
    format!("SELECT * FROM {name}({})", placeholders.join(", "))
}

/// One round trip. False: fenced.
pub(crate) async fn commit(db: &PostgresDb, batch: &Batch) -> Result<bool, StoreError> {
    let arguments = commit_arguments(batch)?;
    let parameters = arguments.len();
    // Safe: made of a name and of placeholders.
    let sql =
        sqlx::AssertSqlSafe(call("ebb_commit", parameters, parameters - RARE..=parameters - 1));
    let mut place = db.committing.lock().await;
    // Out of its place while it is used: a connection of which an answer is missing is dropped.
    let mut connection = match place.take() {
        Some(connection) => connection,
        None => timeout(ANSWER_TIMEOUT, db.options.connect()).await.map_err(lost)??,
    };
    let answer = sqlx::query_as_with(sql, arguments).fetch_one(&mut connection);
    let (done,): (bool,) = timeout(ANSWER_TIMEOUT, answer).await.map_err(lost)??;
    *place = Some(connection);
    Ok(done)
}

fn lost(_: tokio::time::error::Elapsed) -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// One round trip.
pub(crate) async fn post(db: &PostgresDb, post: &Post<'_>) -> Result<PostedRows, StoreError> {
    let (labels, inbox) = (json(post.labels)?, json(post.inbox)?);
    let (after, items) = (rare(post.after)?, rare(post.items)?);
    let answer = post.answer;
    let mut arguments = PgArguments::default();
    let mut bind = || {
        Row::bind_columns(post.jobs, &mut arguments)?;
        arguments.add(&labels)?;
        arguments.add(&inbox)?;
        arguments.add(&after)?;
        arguments.add(&items)?;
        arguments.add(post.most)?;
        arguments.add(answer.map(|answer| &answer.namespace))?;
        arguments.add(answer.map(|answer| &answer.key))?;
        arguments.add(answer.map(|answer| &answer.hash))?;
        arguments.add(answer.map(|answer| &answer.answer))?;
        arguments.add(answer.map(|answer| answer.at_ms))?;
        arguments.add(post.oldest_ms)
    };
    bind().map_err(sqlx::Error::Encode)?;
    let parameters = arguments.len();
    let sql = sqlx::AssertSqlSafe(call("ebb_post", parameters, parameters - 10..=parameters - 7));
    let (hash, answer, is_full): (Option<String>, Option<String>, bool) =
        sqlx::query_as_with(sql, arguments).fetch_one(&db.pool).await?;
    Ok(match hash.zip(answer) {
        Some((hash, answer)) => PostedRows::Kept(hash, answer),
        None if is_full => PostedRows::Full,
        None => PostedRows::Written,
    })
}
