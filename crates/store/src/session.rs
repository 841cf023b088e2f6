//! One way to ask both databases: static SQL that both understand, values by `$1`, rows by column.

use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Postgres, SqlSafeStr, Sqlite, Transaction};

use crate::{Db, Store, StoreError};

/// A value for a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i64),
    Text(String),
    MaybeInt(Option<i64>),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}
impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Int(i64::from(value))
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// Ids as the JSON array that [`Store::numbers_in`] takes.
pub(crate) fn numbers(ids: impl IntoIterator<Item = i64>) -> Value {
    let texts: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    Value::Text(format!("[{}]", texts.join(",")))
}

/// A row that both databases give.
pub(crate) trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}
impl<R> Record for R where
    R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// Structs that are read by column name.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($column:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name { $(pub(crate) $column: $type),* }
        records!(@from sqlx::sqlite::SqliteRow, $name { $($column),* });
        records!(@from sqlx::postgres::PgRow, $name { $($column),* });
    )*};
    (@from $row:ty, $name:ident { $($column:ident),* }) => {
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self { $($column: row.try_get(stringify!($column))?),* })
            }
        }
    };
}
pub(crate) use records;

/// Binds all values to a query of either database.
macro_rules! bound {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                $crate::session::Value::Int(value) => query.bind(*value),
                $crate::session::Value::Text(value) => query.bind(value.as_str()),
                $crate::session::Value::MaybeInt(value) => query.bind(*value),
                $crate::session::Value::Bytes(value) => query.bind(value.as_slice()),
            };
        }
        query
    }};
}

impl Store {
    /// All rows of one statement, on a connection for reading.
    pub(crate) async fn all<R: Record>(
        &self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<Vec<R>, StoreError> {
        self.count_trip();
        let sql = sql.into_sql_str();
        Ok(match &self.db {
            Db::Sqlite(db) => {
                bound!(sqlx::query_as::<_, R>(sql), values).fetch_all(&db.readers).await?
            }
            Db::Postgres(db) => {
                bound!(sqlx::query_as::<_, R>(sql), values).fetch_all(&db.pool).await?
            }
        })
    }

    /// The first row, if there is one.
    pub(crate) async fn first<R: Record>(
        &self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<Option<R>, StoreError> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// Writes by one statement; answers how many rows it was.
    pub(crate) async fn write(
        &self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        self.count_trip();
        let sql = sql.into_sql_str();
        Ok(match &self.db {
            Db::Sqlite(db) => {
                bound!(sqlx::query(sql), values).execute(&db.writer).await?.rows_affected()
            }
            Db::Postgres(db) => {
                bound!(sqlx::query(sql), values).execute(&db.leading).await?.rows_affected()
            }
        })
    }

    /// A snapshot: what its statements see was true at one moment.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        self.count_trip();
        let transaction = match &self.db {
            Db::Sqlite(db) => Reading::Sqlite(db.readers.begin().await?),
            Db::Postgres(db) => Reading::Postgres(
                db.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?,
            ),
        };
        Ok(Snapshot { store: self, transaction })
    }

    /// How SQL says "the numbers in the JSON array `$n`".
    pub(crate) fn numbers_in(&self, placeholder: &str) -> String {
        match &self.db {
            Db::Sqlite(_) => format!("(SELECT value FROM json_each({placeholder}))"),
            Db::Postgres(_) => format!(
                "(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST({placeholder} AS JSON)) AS e (value))"
            ),
        }
    }
}

impl Store {
    /// A transaction that writes, on a connection that neither commits nor the lease wait for.
    pub(crate) async fn writing(&self) -> Result<Writing, StoreError> {
        self.count_trip();
        Ok(match &self.db {
            Db::Sqlite(db) => Writing::Sqlite(db.writer.begin_with("BEGIN IMMEDIATE").await?),
            Db::Postgres(db) => Writing::Postgres(db.pool.begin().await?),
        })
    }

    /// Writes by one statement, on such a connection; answers how many rows it was.
    pub(crate) async fn write_apart(
        &self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        self.count_trip();
        let sql = sql.into_sql_str();
        Ok(match &self.db {
            Db::Sqlite(db) => {
                bound!(sqlx::query(sql), values).execute(&db.writer).await?.rows_affected()
            }
            Db::Postgres(db) => {
                bound!(sqlx::query(sql), values).execute(&db.pool).await?.rows_affected()
            }
        })
    }
}

/// A transaction that writes; undone unless it is committed.
pub(crate) enum Writing {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Writing {
    /// Answers how many rows it was.
    pub(crate) async fn write(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        let sql = sql.into_sql_str();
        Ok(match self {
            Self::Sqlite(transaction) => {
                bound!(sqlx::query(sql), values).execute(&mut **transaction).await?.rows_affected()
            }
            Self::Postgres(transaction) => {
                bound!(sqlx::query(sql), values).execute(&mut **transaction).await?.rows_affected()
            }
        })
    }

    /// The rows that a statement gives, be it one with `RETURNING`.
    pub(crate) async fn all<R: Record>(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<Vec<R>, StoreError> {
        let sql = sql.into_sql_str();
        Ok(match self {
            Self::Sqlite(transaction) => {
                bound!(sqlx::query_as::<_, R>(sql), values).fetch_all(&mut **transaction).await?
            }
            Self::Postgres(transaction) => {
                bound!(sqlx::query_as::<_, R>(sql), values).fetch_all(&mut **transaction).await?
            }
        })
    }

    /// See [`Snapshot::use_indexes`].
    pub(crate) async fn use_indexes(&mut self) -> Result<(), StoreError> {
        if let Self::Postgres(transaction) = self {
            sqlx::query(USE_INDEXES).execute(&mut **transaction).await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}

const USE_INDEXES: &str = "SET LOCAL enable_seqscan = off";

enum Reading {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A read-only transaction.
pub(crate) struct Snapshot<'s> {
    store: &'s Store,
    transaction: Reading,
}

impl Snapshot<'_> {
    pub(crate) async fn all<R: Record>(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<Vec<R>, StoreError> {
        let mut rows = Vec::new();
        self.each(sql, values, |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Hands each row over as it comes, so that none is kept.
    pub(crate) async fn each<R: Record>(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value],
        mut take: impl FnMut(R) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.store.count_trip();
        let sql = sql.into_sql_str();
        match &mut self.transaction {
            Reading::Sqlite(transaction) => {
                let query = bound!(sqlx::query_as::<_, R>(sql), values);
                let mut rows = query.fetch(&mut **transaction);
                while let Some(row) = rows.try_next().await? {
                    take(row)?;
                }
            }
            Reading::Postgres(transaction) => {
                let query = bound!(sqlx::query_as::<_, R>(sql), values);
                let mut rows = query.fetch(&mut **transaction);
                while let Some(row) = rows.try_next().await? {
                    take(row)?;
                }
            }
        }
        Ok(())
    }

    /// Lets this transaction's statements take as long as they need.
    pub(crate) async fn take_your_time(&mut self) -> Result<(), StoreError> {
        if let Reading::Postgres(transaction) = &mut self.transaction {
            self.store.count_trip();
            sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut **transaction).await?;
        }
        Ok(())
    }

    /// For statements of which few rows are wanted, whatever the statistics of large tables say.
    pub(crate) async fn use_indexes(&mut self) -> Result<(), StoreError> {
        if let Reading::Postgres(transaction) = &mut self.transaction {
            self.store.count_trip();
            sqlx::query(USE_INDEXES).execute(&mut **transaction).await?;
        }
        Ok(())
    }

    /// Gives the connection back at once.
    pub(crate) async fn end(self) -> Result<(), StoreError> {
        self.store.count_trip();
        match self.transaction {
            Reading::Sqlite(transaction) => transaction.rollback().await?,
            Reading::Postgres(transaction) => transaction.rollback().await?,
        }
        Ok(())
    }
}
