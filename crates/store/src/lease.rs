//! Who leads: a lease on the database's clock.

use model::{FORMAT, Timestamp};
use sqlx::SqlSafeStr;

use crate::session::records;
use crate::{Db, Store, StoreError};

/// Who leads now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its term.
    pub term: u64,
    /// Where it is reached.
    pub url: String,
}

records! {
    LeaderRecord { term: i64, url: String }
    FormatRecord { format: i64 }
}

const SQLITE_NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
const POSTGRES_NOW: &str = "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)";

impl Store {
    fn now_sql(&self) -> &'static str {
        match &self.db {
            Db::Sqlite(_) => SQLITE_NOW,
            Db::Postgres(_) => POSTGRES_NOW,
        }
    }

    /// Takes the lease, if it is free, has run out, or is `replica`'s own; then bumps the term and
    /// answers it. The first time, head is made, with a random seed and cluster id.
    ///
    /// `lease_ms` must exceed [`STATEMENT_TIMEOUT_MS`](crate::STATEMENT_TIMEOUT_MS) in production.
    pub async fn acquire(
        &self,
        replica: &str,
        url: &str,
        lease_ms: u64,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let format: Option<FormatRecord> = self.first("SELECT format FROM head", &[]).await?;
        if let Some(found) = format.and_then(|head| u32::try_from(head.format).ok())
            && found > FORMAT
        {
            return Err(StoreError::Newer { found, known: FORMAT });
        }
        let (seed, cluster) = (random()?, random()? >> 1);
        let lease_ms = i64::try_from(lease_ms).unwrap_or(i64::MAX);
        let term = match &self.db {
            Db::Postgres(db) => {
                self.count_trip();
                let term: (Option<i64>,) =
                    sqlx::query_as("SELECT ebb_acquire($1, $2, $3, $4, $5, $6, $7)")
                        .bind(replica)
                        .bind(url)
                        .bind(lease_ms)
                        .bind(now.as_ms())
                        .bind(i64::from(FORMAT))
                        .bind(cluster.cast_signed())
                        .bind(seed.cast_signed())
                        .fetch_one(&db.leading)
                        .await?;
                term.0
            }
            Db::Sqlite(db) => {
                self.count_trip();
                let mut transaction = db.writer.begin_with("BEGIN IMMEDIATE").await?;
                let took = format!(
                    "INSERT INTO lease (one, holder, url, term, until_ms) \
                     VALUES (1, $1, $2, 0, {SQLITE_NOW} + $3) ON CONFLICT (one) DO UPDATE \
                     SET holder = $1, url = $2, until_ms = {SQLITE_NOW} + $3 \
                     WHERE until_ms <= {SQLITE_NOW} OR holder = $1"
                );
                let took = sqlx::query(sqlx::AssertSqlSafe(took).into_sql_str())
                    .bind(replica)
                    .bind(url)
                    .bind(lease_ms)
                    .execute(&mut *transaction)
                    .await?;
                if took.rows_affected() == 0 {
                    transaction.rollback().await?;
                    return Ok(None);
                }
                let term: (i64,) = sqlx::query_as(
                    "INSERT INTO head (one, term, seq, now_ms, format, cluster, seed) \
                     VALUES (1, 1, 0, $1, $2, $3, $4) \
                     ON CONFLICT (one) DO UPDATE SET term = head.term + 1 RETURNING term",
                )
                .bind(now.as_ms())
                .bind(i64::from(FORMAT))
                .bind(cluster.cast_signed())
                .bind(seed.cast_signed())
                .fetch_one(&mut *transaction)
                .await?;
                sqlx::query("UPDATE lease SET term = $1")
                    .bind(term.0)
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                Some(term.0)
            }
        };
        Ok(term.map(i64::cast_unsigned))
    }

    /// Lengthens the lease of this term, counted from now; false when it is another's.
    pub async fn renew(&self, replica: &str, term: u64, lease_ms: u64) -> Result<bool, StoreError> {
        let now = self.now_sql();
        let sql = format!("UPDATE lease SET until_ms = {now} + $3 WHERE holder = $1 AND term = $2");
        let lease_ms = i64::try_from(lease_ms).unwrap_or(i64::MAX);
        let values = [replica.into(), term.cast_signed().into(), lease_ms.into()];
        Ok(self.write(sqlx::AssertSqlSafe(sql), &values).await? == 1)
    }

    /// Gives the lease back, so that another need not wait for its end.
    pub async fn release(&self, replica: &str, term: u64) -> Result<(), StoreError> {
        let sql = "UPDATE lease SET until_ms = 0 WHERE holder = $1 AND term = $2";
        self.write(sql, &[replica.into(), term.cast_signed().into()]).await?;
        Ok(())
    }

    /// Who leads, if anybody's lease runs.
    pub async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        let now = self.now_sql();
        let sql = format!("SELECT term, url FROM lease WHERE until_ms > {now}");
        let found: Option<LeaderRecord> = self.first(sqlx::AssertSqlSafe(sql), &[]).await?;
        Ok(found.map(|record| Leader { term: record.term.cast_unsigned(), url: record.url }))
    }
}

fn random() -> Result<u64, StoreError> {
    getrandom::u64().map_err(|error| StoreError::Corrupt(format!("no randomness: {error}")))
}
