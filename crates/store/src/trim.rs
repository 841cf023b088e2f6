//! Forgetting what is old, in batches so small that no commit waits for one.

use model::Timestamp;

use crate::inbox::KEEP_ANSWERS_MS;
use crate::{Store, StoreError};

/// Rows of one batch.
const BATCH: i64 = 500;

/// What one call of [`Store::trim`] deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Commits of the log.
    pub log: u64,
    /// Answers to requests with a key.
    pub answers: u64,
    /// Whether there may be more: call again.
    pub more: bool,
}

impl Store {
    /// Deletes one batch of commits older than `before`, and of answers older than 24 h at `now`.
    /// The newest commit is always kept.
    pub async fn trim(&self, before: Timestamp, now: Timestamp) -> Result<Trimmed, StoreError> {
        // Commits are in the order of time: the oldest ones are the first.
        let sql = "DELETE FROM log WHERE at_ms < $1 AND seq < (SELECT MIN(seq) FROM log) + $2 \
             AND seq < (SELECT MAX(seq) FROM log)";
        let log = self.write(sql, &[before.as_ms().into(), BATCH.into()]).await?;
        let sql = "DELETE FROM idempotency WHERE (namespace, key) IN \
             (SELECT namespace, key FROM idempotency WHERE at_ms < $1 LIMIT $2)";
        let oldest = now.as_ms() - KEEP_ANSWERS_MS;
        let answers = self.write(sql, &[oldest.into(), BATCH.into()]).await?;
        let full = BATCH.cast_unsigned();
        Ok(Trimmed { log, answers, more: log >= full || answers >= full })
    }
}
