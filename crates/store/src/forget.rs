//! Deleting settled jobs.

use std::collections::BTreeMap;

use model::{Clamp, JobId, Namespace, Timestamp};

use crate::session::{Value, Writing, numbers, records};
use crate::trim::BATCH;
use crate::{Store, StoreError};

/// What one call of [`Store::delete_jobs`] deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Jobs that are not there any more.
    pub jobs: u64,
    /// Other rows, of these and of jobs before them.
    pub rows: u64,
    /// Whether rows of deleted jobs are left: call again, be it without any job.
    pub more: bool,
}

records! {
    IdRow { id: i64 }
    OwnedRow { id: i64, namespace: String }
    NumberRow { number: i64 }
    SpentRow {
        node: i64, kind: String, from_ms: i64, to_ms: i64, micro_usd: i64,
    }
}

/// No unsettled job comes after it. Counted one by one: as a join, Postgres would go through all
/// unsettled jobs.
const IS_FREE: &str = "(SELECT COUNT(*) FROM job_after a WHERE a.dep = jobs.id \
     AND (SELECT d.state FROM jobs d WHERE d.id = a.job) <> 'settled') = 0";

/// Tables of rows that a job has, with the rest of their keys.
const PARTS: [(&str, &str); 6] = [
    ("attempts", "grp, idx, attempt"),
    ("tasks", "grp, idx"),
    ("job_groups", "grp"),
    ("job_labels", "name, value"),
    ("job_after", "dep"),
    ("job_items", "key"),
];

impl Store {
    /// Settled jobs that are to be deleted, at most 500, those that settled first before others:
    /// all that settled before a time, and as many as there are more than `most`. One that an
    /// unsettled job comes after is not among them. With whose they are: the keys of their objects
    /// begin with it.
    pub async fn settled_before(
        &self,
        before: Timestamp,
        most: u64,
    ) -> Result<Vec<(JobId, Namespace)>, StoreError> {
        let sql = "SELECT COUNT(*) AS number FROM jobs WHERE state = 'settled'";
        let mut snapshot = self.snapshot().await?;
        let counted: Vec<NumberRow> = snapshot.all(sql, &[]).await?;
        let settled: u64 = counted.first().map_or(0, |row| row.number.clamped());
        snapshot.use_indexes().await?;
        let above: u32 = settled.saturating_sub(most).clamped();
        let sql = format!(
            "SELECT id, namespace FROM jobs WHERE state = 'settled' AND settled_ms < $1 AND {IS_FREE} \
             ORDER BY settled_ms, id LIMIT $2"
        );
        let oldest = |before: i64, limit: u32| [before.into(), limit.into()];
        let by_age = oldest(before.as_ms(), BATCH);
        let mut rows: Vec<OwnedRow> =
            snapshot.all(sqlx::AssertSqlSafe(sql.clone()), &by_age).await?;
        let above = above.min(BATCH);
        if u32::try_from(rows.len()).is_ok_and(|aged| aged < above) {
            // Both begin with the oldest: the longer list holds the other one.
            rows = snapshot.all(sqlx::AssertSqlSafe(sql), &oldest(i64::MAX, above)).await?;
        }
        snapshot.end().await?;
        let owned = |row: OwnedRow| {
            let namespace = row.namespace.parse().map_err(StoreError::corrupt)?;
            Ok((JobId::from_sql(row.id), namespace))
        };
        rows.into_iter().map(owned).collect()
    }

    /// Deletes settled jobs and what is kept of them, in batches: their own rows at once (those of
    /// at most 500; one that an unsettled job comes after meanwhile stays), and up to 500 of
    /// their other rows. The same jobs again do nothing. What they cost stays in the ledger, under
    /// their nodes.
    pub async fn delete_jobs(&self, ids: &[JobId]) -> Result<Deleted, StoreError> {
        let mut writing = self.writing().await?;
        writing.use_indexes().await?;
        let mut deleted = Deleted::default();
        let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
        let (now, later) = ids.split_at(ids.len().min(batch));
        if !now.is_empty() {
            let sql = format!(
                "DELETE FROM jobs WHERE id IN {} AND state = 'settled' AND {IS_FREE} RETURNING id",
                self.numbers_in("$1")
            );
            let wanted = [numbers(now.iter().map(|id| id.to_sql()))];
            let gone: Vec<IdRow> = writing.all(sqlx::AssertSqlSafe(sql), &wanted).await?;
            deleted.jobs = gone.len() as u64;
            for row in gone {
                let sql = "INSERT INTO deleted_jobs (id) VALUES ($1) ON CONFLICT DO NOTHING";
                writing.write(sql, &[row.id.into()]).await?;
            }
        }
        let rest = self.delete_parts(&mut writing).await?;
        writing.commit().await?;
        (deleted.rows, deleted.more) = rest;
        deleted.more |= !later.is_empty();
        Ok(deleted)
    }

    /// How many rows of deleted jobs went, and whether some are left.
    async fn delete_parts(&self, writing: &mut Writing) -> Result<(u64, bool), StoreError> {
        let sql = "SELECT id FROM deleted_jobs ORDER BY id LIMIT $1";
        let ids: Vec<IdRow> = writing.all(sql, &[BATCH.into()]).await?;
        if ids.is_empty() {
            return Ok((0, false));
        }
        let whole = ids.len() >= BATCH as usize;
        let jobs = numbers(ids.iter().map(|row| row.id));
        let among = self.numbers_in("$1");
        let mut room = BATCH;
        for (table, key) in PARTS {
            let sql = format!(
                "DELETE FROM {table} WHERE (job, {key}) IN \
                 (SELECT job, {key} FROM {table} WHERE job IN {among} LIMIT $2)"
            );
            let values = [jobs.clone(), room.into()];
            let rows = writing.write(sqlx::AssertSqlSafe(sql), &values).await?;
            room = room.saturating_sub(rows.clamped());
            if room == 0 {
                return Ok((u64::from(BATCH), true));
            }
        }
        let folded = self.fold_ledger(writing, &jobs, room).await?;
        room = room.saturating_sub(folded.clamped());
        let rows = u64::from(BATCH - room);
        if room == 0 {
            return Ok((rows, true));
        }
        let sql = format!("DELETE FROM deleted_jobs WHERE id IN {among}");
        writing.write(sqlx::AssertSqlSafe(sql), &[jobs]).await?;
        Ok((rows, whole))
    }

    /// What jobs cost becomes one row for each node and kind, of no job: all sums stay.
    async fn fold_ledger(
        &self,
        writing: &mut Writing,
        jobs: &Value,
        room: u32,
    ) -> Result<u64, StoreError> {
        let sql = format!(
            "DELETE FROM ledger WHERE number IN \
             (SELECT number FROM ledger WHERE job IN {} LIMIT $2) \
             RETURNING node, kind, from_ms, to_ms, micro_usd",
            self.numbers_in("$1")
        );
        let values = [jobs.clone(), room.into()];
        let rows: Vec<SpentRow> = writing.all(sqlx::AssertSqlSafe(sql), &values).await?;
        let folded = rows.len() as u64;
        let mut sums: BTreeMap<(i64, String), (i64, i64, i64)> = BTreeMap::new();
        for row in rows {
            let sum = sums.entry((row.node, row.kind)).or_insert((row.from_ms, row.to_ms, 0));
            *sum = (sum.0.min(row.from_ms), sum.1.max(row.to_ms), sum.2 + row.micro_usd);
        }
        for ((node, kind), (from_ms, to_ms, micro_usd)) in sums {
            let sql = "INSERT INTO ledger (node, kind, from_ms, to_ms, micro_usd) \
                 VALUES ($1, $2, $3, $4, $5)";
            let values = [node.into(), kind.into(), from_ms.into(), to_ms.into(), micro_usd.into()];
            writing.write(sql, &values).await?;
        }
        Ok(folded)
    }
}
