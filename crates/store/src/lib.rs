//! All SQL of Ebbtide, on SQLite and Postgres: the head row and the lease, the commit, the load,
//! the inbox, tokens, and what GETs read.
//!
//! - One commit moves the head, adds the changes to the log and brings the tables up to date, all
//!   or nothing. On Postgres it is one call of one function.
//! - What is acknowledged survives power loss: `synchronous_commit = on`, SQLite WAL `FULL`.
//! - Nothing here decides: rows are what [`model::World`] says, `load(commit(changes)) ==
//!   apply(changes)`.

mod batch;
mod commit;
mod document;
mod error;
mod forget;
mod inbox;
mod intervals;
mod items;
mod lease;
mod load;
mod open;
mod postgres;
mod read;
mod rows;
mod session;
mod sqlite;
mod to_rows;
mod tokens;
mod trim;
mod words;

use std::sync::atomic::{AtomicU64, Ordering};

pub use batch::{Batch, Explanation};
pub use commit::Committed;
pub use error::StoreError;
pub use forget::Deleted;
pub use inbox::{BacklogRow, INBOX_ROWS, IdempotencyKey, InboxMessage, InboxRow, Posted};
pub use items::{ItemBlock, ItemsRecord, ItemsWriter};
pub use lease::Leader;
pub use load::LogEntry;
pub use postgres::{IDLE_TIMEOUT_MS, LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS};
pub use read::{
    AttemptRecord, CostSums, ExplanationRecord, GroupRecord, History, HistoryLimits, HistoryRead,
    JobDetail, JobFilter, JobRecord, NodeRecord, OutputRecord, Overview, PastGroup, PastJob,
    PastRuns, ResultRecord, RetryOf, SettledJob, TaskFilter, TaskRecord,
};
pub use tokens::{Token, TokenKind};
pub use trim::{Keep, Trimmed};

/// The database of one cluster.
#[derive(Debug)]
pub struct Store {
    db: Db,
    trips: AtomicU64,
    inbox_rows: u64,
}

#[derive(Debug)]
enum Db {
    Sqlite(sqlite::SqliteDb),
    Postgres(Box<postgres::PostgresDb>),
}

impl Store {
    /// How often a statement was sent and its answer awaited, since this store was opened.
    pub fn round_trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    /// Whether this is SQLite: one replica only.
    pub fn is_single(&self) -> bool {
        matches!(self.db, Db::Sqlite(_))
    }

    fn count_trip(&self) {
        self.trips.fetch_add(1, Ordering::Relaxed);
    }
}
