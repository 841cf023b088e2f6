//! The commit and its three answers.

use std::time::Duration;

use crate::session::records;
use crate::{Batch, Db, Store, StoreError, postgres, sqlite};

/// What became of a batch.
#[derive(Debug)]
#[must_use]
pub enum Committed {
    /// It is durable.
    Committed,
    /// Another leads, or this leader has lost count: it must stop.
    Fenced,
    /// It is not known to be durable, and cannot be made so now: the leader must stop.
    Failed(StoreError),
}

/// How often a commit without an answer is looked after: the database is back within
/// this many waits, or the lease is gone anyhow.
const ATTEMPTS: u32 = 8;
const WAIT: Duration = Duration::from_millis(100);

records! {
    HeadRecord { term: i64, seq: i64 }
}

enum Found {
    Done,
    NotDone,
    Fenced,
}

impl Store {
    /// Writes a batch, all or nothing, if head is where the batch believes it.
    ///
    /// An answer that is lost is settled by reading head: the new seq under our term means done, the
    /// old one that the same bytes may be sent again, anything else that another leads.
    pub async fn commit(&self, batch: &Batch) -> Committed {
        if let Some(fault) = &batch.fault {
            return Committed::Failed(StoreError::Corrupt(fault.clone()));
        }
        let mut lost = false;
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(WAIT).await;
            }
            if lost {
                match self.find(batch).await {
                    Ok(Found::Done) => return Committed::Committed,
                    Ok(Found::Fenced) => return Committed::Fenced,
                    Ok(Found::NotDone) => {}
                    Err(error) => {
                        last = Some(error);
                        continue;
                    }
                }
            }
            match self.send(batch).await {
                Ok(true) => return Committed::Committed,
                // Our own earlier sending may have been done while we looked: look again.
                Ok(false) if lost => {}
                Ok(false) => return Committed::Fenced,
                Err(StoreError::Unreachable(error)) => {
                    tracing::warn!(seq = batch.seq, term = batch.term, %error, "a commit's answer is lost");
                    lost = true;
                    last = Some(StoreError::Unreachable(error));
                }
                Err(error) => return Committed::Failed(error),
            }
        }
        let unsettled = || StoreError::Unreachable(sqlx::Error::PoolTimedOut);
        Committed::Failed(last.unwrap_or_else(unsettled))
    }

    async fn send(&self, batch: &Batch) -> Result<bool, StoreError> {
        self.count_trip();
        match &self.db {
            Db::Sqlite(db) => sqlite::commit(db, batch).await,
            Db::Postgres(db) => postgres::commit(db, batch).await,
        }
    }

    async fn find(&self, batch: &Batch) -> Result<Found, StoreError> {
        let head: Option<HeadRecord> = self.first("SELECT term, seq FROM head", &[]).await?;
        Ok(match head {
            Some(head) if head.term.cast_unsigned() == batch.term => match head.seq.cast_unsigned()
            {
                seq if seq == batch.seq => Found::Done,
                seq if seq == batch.prev() => Found::NotDone,
                _ => Found::Fenced,
            },
            _ => Found::Fenced,
        })
    }
}
