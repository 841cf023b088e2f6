//! What replicas hand to the leader, and the jobs that wait for intake.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use model::{Clamp, JobId, JobSpec, Namespace, TaskId, Timestamp};

use crate::document::unpack;
use crate::load::narrow;
use crate::rows::{AnswerRow, InboxPost};
use crate::session::records;
use crate::sqlite::{self, Post, PostedRows};
use crate::to_rows::{after_rows, inbox_job_row, items_rows, label_rows};
use crate::{Db, Store, StoreError, postgres};

/// Rows of the inbox with which it is full, unless [`Store::with_inbox_rows`] says otherwise.
pub const INBOX_ROWS: u64 = 100_000;
/// How long the answer to a request with a key is kept (DESIGN §6).
pub(crate) const KEEP_ANSWERS_MS: i64 = 24 * 3_600_000;

/// A job that waits for intake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BacklogRow {
    /// Its id.
    pub id: JobId,
    /// What was asked.
    pub spec: Arc<JobSpec>,
    /// When.
    pub submitted: Timestamp,
}

/// What a replica hands to the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxMessage {
    /// A job is accepted.
    Submit {
        /// Its id, made by the replica.
        job: JobId,
        /// What was asked.
        spec: Arc<JobSpec>,
        /// When.
        at: Timestamp,
    },
    /// A user wants a job gone.
    StopJob {
        /// Which.
        job: JobId,
    },
    /// A user wants a task gone.
    StopTask {
        /// Which.
        task: TaskId,
    },
}

/// A message with the number under which it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    /// For [`Change::InboxDone`](model::Change::InboxDone).
    pub row: i64,
    /// The message.
    pub message: InboxMessage,
}

/// A request that may be repeated, and the answer that its repetition gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose it is.
    pub namespace: Namespace,
    /// As the client chose it.
    pub key: String,
    /// SHA-256 of the request's body.
    pub body_hash: [u8; 32],
    /// JSON.
    pub answer: String,
}

/// What became of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// It is durable.
    Accepted,
    /// It was accepted before; this was the answer.
    Replayed(String),
    /// The key was used with another body.
    KeyReused,
}

records! {
    BacklogRecord { id: i64, spec: Vec<u8>, submitted_ms: i64 }
    InboxRecord {
        number: i64, kind: String, job: i64, grp: Option<i64>, idx: Option<i64>, at_ms: i64,
        spec: Option<Vec<u8>>,
    }
    AnswerRecord { hash: String, answer: String }
}

impl IdempotencyKey {
    pub(crate) fn row(&self, at: Timestamp) -> AnswerRow {
        AnswerRow {
            namespace: self.namespace.to_string(),
            key: self.key.replace('\0', "\u{fffd}"),
            hash: hex(&self.body_hash),
            answer: self.answer.clone(),
            at_ms: at.as_ms(),
        }
    }

    fn verdict(&self, hash: &str, answer: String) -> Posted {
        if hash == hex(&self.body_hash) { Posted::Replayed(answer) } else { Posted::KeyReused }
    }
}

impl Store {
    /// Refuses posts while the inbox has so many rows; [`INBOX_ROWS`] by default.
    #[must_use]
    pub fn with_inbox_rows(mut self, rows: u64) -> Self {
        self.inbox_rows = rows;
        self
    }

    /// Jobs that wait for intake, in the order in which they are served; without those that come
    /// after a job that is not settled.
    pub async fn backlog(&self, limit: u32) -> Result<Vec<BacklogRow>, StoreError> {
        let sql = "SELECT id, spec, submitted_ms FROM jobs WHERE state = 'backlog' \
             AND (SELECT 1 FROM job_after a LEFT JOIN jobs d ON d.id = a.dep \
             WHERE a.job = jobs.id AND (d.state IS NULL OR d.state <> 'settled') LIMIT 1) IS NULL \
             ORDER BY priority DESC, id LIMIT $1";
        let rows: Vec<BacklogRecord> = self.all(sql, &[limit.into()]).await?;
        let row = |row: BacklogRecord| {
            let submitted = Timestamp::from_ms(row.submitted_ms);
            Ok(BacklogRow { id: JobId::from_sql(row.id), spec: unpack(&row.spec)?, submitted })
        };
        rows.into_iter().map(row).collect()
    }

    /// The oldest messages, whatever their numbers: a lower one may become visible later.
    pub async fn inbox(&self, limit: u32) -> Result<Vec<InboxRow>, StoreError> {
        let sql = "SELECT i.number, i.kind, i.job, i.grp, i.idx, i.at_ms, \
             CASE WHEN i.kind = 'submit' THEN j.spec END AS spec \
             FROM inbox i LEFT JOIN jobs j ON j.id = i.job ORDER BY i.number LIMIT $1";
        let rows: Vec<InboxRecord> = self.all(sql, &[limit.into()]).await?;
        rows.into_iter().map(InboxRecord::message).collect()
    }

    /// Accepts messages for the leader, all or none, under their request's key if it has one.
    ///
    /// # Errors
    /// [`StoreError::JobIdTaken`]: draw other ids and post again. [`StoreError::InboxFull`]: later.
    pub async fn post(
        &self,
        messages: &[InboxMessage],
        key: Option<&IdempotencyKey>,
    ) -> Result<Posted, StoreError> {
        self.post_at(messages, key, wall_clock()).await
    }

    /// As [`Store::post`], at a given time.
    pub async fn post_at(
        &self,
        messages: &[InboxMessage],
        key: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Posted, StoreError> {
        let (mut jobs, mut labels, mut inbox) = (Vec::new(), Vec::new(), Vec::new());
        let (mut after, mut items) = (Vec::new(), Vec::new());
        let mut first_job = None;
        for message in messages {
            if let InboxMessage::Submit { job, spec, at } = message {
                first_job.get_or_insert(*job);
                jobs.push(inbox_job_row(*job, spec, *at)?);
                labels.extend(label_rows(*job, spec));
                after.extend(after_rows(*job, spec));
                items.extend(items_rows(*job, spec));
            }
            inbox.push(message.row(now));
        }
        let answer = key.map(|key| key.row(now));
        let post = Post {
            jobs: &jobs,
            labels: &labels,
            after: &after,
            items: &items,
            inbox: &inbox,
            most: self.inbox_rows.cast_signed(),
            answer: answer.as_ref(),
            oldest_ms: now.as_ms() - KEEP_ANSWERS_MS,
        };
        self.count_trip();
        let kept = match &self.db {
            Db::Sqlite(db) => sqlite::post(db, &post).await,
            Db::Postgres(db) => postgres::post(db, &post).await,
        };
        match (kept, key, first_job) {
            (Ok(PostedRows::Kept(hash, answer)), Some(key), _) => Ok(key.verdict(&hash, answer)),
            (Ok(PostedRows::Full), _, _) => Err(StoreError::InboxFull { rows: self.inbox_rows }),
            (Ok(_), _, _) => Ok(Posted::Accepted),
            (Err(StoreError::Refused(sqlx::Error::Database(refusal))), _, Some(job))
                if refusal.is_unique_violation() =>
            {
                Err(StoreError::JobIdTaken(job))
            }
            (Err(error), _, _) => Err(error),
        }
    }

    /// What was answered to the request of this key before, if it was seen in the last 24 h.
    pub async fn replayed(&self, key: &IdempotencyKey) -> Result<Option<Posted>, StoreError> {
        let now = wall_clock();
        let sql = "SELECT hash, answer FROM idempotency \
             WHERE namespace = $1 AND key = $2 AND at_ms >= $3";
        let row = key.row(now);
        let oldest = now.as_ms() - KEEP_ANSWERS_MS;
        let values = [row.namespace.into(), row.key.into(), oldest.into()];
        let kept: Option<AnswerRecord> = self.first(sql, &values).await?;
        Ok(kept.map(|kept| key.verdict(&kept.hash, kept.answer)))
    }
}

impl InboxMessage {
    fn row(&self, now: Timestamp) -> InboxPost {
        let (kind, job, task, at) = match self {
            Self::Submit { job, at, .. } => ("submit", *job, None, *at),
            Self::StopJob { job } => ("stop-job", *job, None, now),
            Self::StopTask { task } => ("stop-task", task.job, Some(*task), now),
        };
        InboxPost {
            kind,
            job: job.to_sql(),
            grp: task.map(|task| i64::from(task.group)),
            idx: task.map(|task| i64::from(task.index)),
            at_ms: at.as_ms(),
        }
    }
}

impl InboxRecord {
    fn message(self) -> Result<InboxRow, StoreError> {
        let job = JobId::from_sql(self.job);
        let message = match (self.kind.as_str(), self.spec, self.grp, self.idx) {
            ("submit", Some(spec), _, _) => InboxMessage::Submit {
                job,
                spec: unpack(&spec)?,
                at: Timestamp::from_ms(self.at_ms),
            },
            ("stop-job", _, _, _) => InboxMessage::StopJob { job },
            ("stop-task", _, Some(group), Some(index)) => InboxMessage::StopTask {
                task: TaskId { job, group: narrow(group)?, index: narrow(index)? },
            },
            (kind, ..) => return Err(StoreError::Corrupt(format!("an inbox row `{kind}`"))),
        };
        Ok(InboxRow { row: self.number, message })
    }
}

/// This replica's clock: near enough for what is kept a day.
fn wall_clock() -> Timestamp {
    let since = UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_ms(since.as_millis().clamped())
}

pub(crate) fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unhex(text: &str) -> Result<[u8; 32], StoreError> {
    let bad = || StoreError::corrupt("a hash that is not 64 hex digits");
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(bad());
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(place * 2..place * 2 + 2).ok_or_else(bad)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
    }
    Ok(bytes)
}
