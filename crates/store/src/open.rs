//! Opening a database and bringing its tables up to date.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::postgres::PostgresDb;
use crate::sqlite::SqliteDb;
use crate::{Db, INBOX_ROWS, Store, StoreError};

/// Number, what it does, how.
type Step = (i64, &'static str, &'static str);

pub(crate) const SQLITE: &[Step] = &[
    (1, "first", include_str!("../../../migrations/sqlite/0001_first.sql")),
    (2, "dependencies", include_str!("../../../migrations/sqlite/0002_dependencies.sql")),
];
pub(crate) const POSTGRES: &[Step] = &[
    (1, "first", include_str!("../../../migrations/postgres/0001_first.sql")),
    (2, "commit", include_str!("../../../migrations/postgres/0002_commit.sql")),
    (3, "dependencies", include_str!("../../../migrations/postgres/0003_dependencies.sql")),
    (4, "commit", include_str!("../../../migrations/postgres/0004_commit.sql")),
];

/// Those of a newer version are left alone: they only add, and its format is looked at when the lease
/// is taken.
pub(crate) fn migrator(steps: &[Step]) -> Migrator {
    let migration = |(version, name, sql): &Step| {
        let kind = MigrationType::Simple;
        Migration::new(*version, (*name).into(), kind, (*sql).into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(steps.iter().map(migration).collect());
    migrator.set_ignore_missing(true);
    migrator
}

pub(crate) fn migration_error(error: sqlx::migrate::MigrateError) -> StoreError {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => error.into(),
        other => StoreError::Corrupt(format!("its tables are not ours: {other}")),
    }
}

impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`; creates the file, and the tables, that are not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has the SQLite file.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let db = if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err(StoreError::Url(url.to_owned()));
            }
            Db::Sqlite(SqliteDb::open(Path::new(path)).await?)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Db::Postgres(Box::new(PostgresDb::open(url).await?))
        } else {
            return Err(StoreError::Url(url.to_owned()));
        };
        Ok(Self { db, trips: AtomicU64::new(0), inbox_rows: INBOX_ROWS })
    }

    /// Gives all connections back.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite(db) => {
                db.readers.close().await;
                db.writer.close().await;
            }
            Db::Postgres(db) => db.close().await,
        }
    }
}
