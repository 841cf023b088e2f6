//! Errors by what the caller does next.

use std::path::PathBuf;

use model::JobId;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or did not answer in time: try again later.
    #[error("the database does not answer: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The database refused: the same again will fail again.
    #[error("the database refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// Another process has this database file.
    #[error(
        "{path} is in use by another process; SQLite serves one manager: stop the other one, or use Postgres"
    )]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file cannot be opened or made.
    #[error("{path}: {source}")]
    File {
        /// The database or its lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The URL names no database that we speak to.
    #[error("`{0}` is not a database: write sqlite:PATH or postgres://USER@HOST/NAME")]
    Url(String),
    /// A newer version has written here: stop.
    #[error("the database has format {found}; this version knows up to {known}: use a newer one")]
    Newer {
        /// What is there.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// What is stored cannot be read back: stop.
    #[error("the database holds what cannot be read: {0}")]
    Corrupt(String),
    /// A job id was drawn twice: draw again.
    #[error("{0} is taken")]
    JobIdTaken(JobId),
    /// The leader does not keep up, or nobody leads: post again later.
    #[error("{rows} messages wait for the leader")]
    InboxFull {
        /// With so many it is full.
        rows: u64,
    },
}

impl StoreError {
    pub(crate) fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Corrupt(what.to_string())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unreachable(error),
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. } => Self::Corrupt(error.to_string()),
            sqlx::Error::Database(ref refusal) if is_passing(refusal.code().as_deref()) => {
                Self::Unreachable(error)
            }
            other => Self::Refused(other),
        }
    }
}

/// Whether Postgres' SQLSTATE says that it was a matter of time: connection (08), resources (53),
/// time-outs and shutdowns (55P03, 57), serialization (40).
fn is_passing(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        code.len() == 5
            && (["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
                || code == "55P03")
    })
}
