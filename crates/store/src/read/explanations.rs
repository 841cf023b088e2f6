//! Explanations that are kept.

use model::{Clamp, Timestamp};

use super::MAX_PAGE;
use crate::session::records;
use crate::{Store, StoreError};

/// What the leader did and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplanationRecord {
    /// The commit that it belongs to.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What was done, and why.
    pub words: String,
}

records! {
    ExplanationRow { seq: i64, at_ms: i64, words: String }
}

impl Store {
    /// What is kept about a subject, an id as text; the newest first, at most 1,000.
    pub async fn explanations(
        &self,
        subject: &str,
        limit: u32,
    ) -> Result<Vec<ExplanationRecord>, StoreError> {
        let sql = "SELECT seq, at_ms, words FROM explanations WHERE subject = $1 \
             ORDER BY seq DESC, ordinal DESC LIMIT $2";
        let values = [subject.replace('\0', "\u{fffd}").into(), limit.min(MAX_PAGE).into()];
        let rows: Vec<ExplanationRow> = self.all(sql, &values).await?;
        let record = |row: ExplanationRow| ExplanationRecord {
            seq: row.seq.clamped(),
            at: Timestamp::from_ms(row.at_ms),
            words: row.words,
        };
        Ok(rows.into_iter().map(record).collect())
    }
}
