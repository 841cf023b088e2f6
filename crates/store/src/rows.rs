//! Rows as a commit writes them. Each knows how to be bound on both databases: on SQLite row by
//! row into one `VALUES` list, on Postgres as one array a column (or as JSON, where rows are few).

use serde::Serialize;
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

/// A row of a table.
pub(crate) trait Row: Sized {
    /// Its columns, in order.
    const COLUMNS: &'static [&'static str];
    /// Adds this row's values.
    fn bind_values(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError>;
    /// Adds one array for each column.
    fn bind_columns(rows: &[Self], to: &mut PgArguments) -> Result<(), BoxDynError>;
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($column:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        pub(crate) struct $name { $(pub(crate) $column: $type),* }

        impl Row for $name {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),*];
            fn bind_values(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
                $(to.add(&self.$column)?;)*
                Ok(())
            }
            fn bind_columns(rows: &[Self], to: &mut PgArguments) -> Result<(), BoxDynError> {
                $(to.add(rows.iter().map(|row| &row.$column).collect::<Vec<_>>())?;)*
                Ok(())
            }
        }
    )*};
}

type Word = &'static str;

rows! {
    /// A job that is accepted.
    JobRow {
        id: i64, namespace: String, name: String, priority: i64, labels: String, spec: Vec<u8>,
        shape: String, demand: Option<String>, tasks: i64, state: Word, status: Option<Word>,
        submitted_ms: i64, settled_ms: Option<i64>, stopping: Option<Word>,
    }
    /// What changes of a job.
    JobStateRow {
        id: i64, state: Word, status: Option<Word>, settled_ms: Option<i64>,
        stopping: Option<Word>,
    }
    /// What a user changed of a job, and how often.
    PatchRow {
        id: i64, name: String, priority: i64, labels: String, spec: Vec<u8>, times: i64,
    }
    JobKey { id: i64 }
    LabelRow { name: String, value: String, job: i64 }
    AfterRow { job: i64, dep: i64 }
    ItemsUseRow { job: i64, key: i64 }
    GroupRow {
        job: i64, grp: i64, succeeded: String, cancelled: String, succeeded_tasks: i64,
        cancelled_tasks: i64,
    }
    TaskRow {
        job: i64, grp: i64, idx: i64, attempt: i64, state: Word, until_ms: Option<i64>,
        node: Option<i64>, assigned_ms: Option<i64>, started_ms: Option<i64>, phase: Option<Word>,
        deadline_ms: Option<i64>, cause: Option<Word>, interrupted: i64, node_lost: i64,
        failed: i64, timed_out: i64, unexplained: i64,
    }
    TaskKey { job: i64, grp: i64, idx: i64 }
    AttemptRow {
        job: i64, grp: i64, idx: i64, attempt: i64, node: i64, assigned_ms: i64,
        started_ms: Option<i64>, ended_ms: i64, run_ms: i64, ended_as: Word,
        exit_code: Option<i64>, signal: Option<i64>, settles: bool, message: Option<String>,
        stdout_bytes: i64, stdout: Option<Vec<u8>>, stderr_bytes: i64, stderr: Option<Vec<u8>>,
        outputs: Option<String>,
    }
    /// Attempts up to this one do not settle their task any more.
    UnsettledRow { job: i64, grp: i64, idx: i64, attempt: i64 }
    SpendRow {
        node: i64, job: Option<i64>, grp: Option<i64>, idx: Option<i64>, kind: Word, from_ms: i64,
        to_ms: i64, micro_usd: i64,
    }
    SumRow { kind: Word, micro_usd: i64 }
    NodeRow {
        id: i64, state: Word, reason: Word, since_ms: i64, launched_ms: i64,
        joined_ms: Option<i64>, session: Option<i64>, deadline_ms: Option<i64>,
        booked_micro_usd: i64, cpu_millis: i64, memory_mib: i64, disk_mib: i64, gpus: i64,
        origin: String,
    }
    IntentRow {
        id: i64, is_open: bool, request: String, state: String, since_ms: i64, opened_ms: i64,
        born: i64,
    }
    NoticeRow { instance: String, kind: Word, deadline_ms: i64 }
    NoticeKey { instance: String, kind: Word }
    AnswerRow { namespace: String, key: String, hash: String, answer: String, at_ms: i64 }
    InboxPost { kind: Word, job: i64, grp: Option<i64>, idx: Option<i64>, at_ms: i64 }
    InboxKey { number: i64 }
    ExplanationRow { at_ms: i64, seq: i64, ordinal: i64, subject: String, words: String }

}
