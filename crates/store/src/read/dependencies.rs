//! What jobs come after.

use std::collections::BTreeSet;

use model::{JobId, JobStatus};

use crate::session::{numbers, records};
use crate::words::Word;
use crate::{Store, StoreError};

records! {
    IdRow { id: i64 }
    StatusRow { id: i64, status: String }
}

/// All that the jobs of `$1` come after, themselves included; whether `$2` is among them.
fn reached(ids: &str) -> String {
    format!(
        "WITH RECURSIVE earlier (id) AS (SELECT id FROM jobs WHERE id IN {ids} \
         UNION SELECT a.dep FROM job_after a JOIN earlier e ON a.job = e.id) \
         SELECT id FROM earlier WHERE id = $2"
    )
}

impl Store {
    /// Those of the jobs that there are none of, in the order given.
    pub async fn unknown_jobs(&self, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT id FROM jobs WHERE id IN {}", self.numbers_in("$1"));
        let wanted = [numbers(ids.iter().map(|id| id.to_sql()))];
        let rows: Vec<IdRow> = self.all(sqlx::AssertSqlSafe(sql), &wanted).await?;
        let known: BTreeSet<JobId> = rows.into_iter().map(|row| JobId::from_sql(row.id)).collect();
        Ok(ids.iter().copied().filter(|id| !known.contains(id)).collect())
    }

    /// How those of the jobs that are settled ended, in the order of their ids.
    pub async fn statuses(&self, ids: &[JobId]) -> Result<Vec<(JobId, JobStatus)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT id, status FROM jobs WHERE id IN {} AND state = 'settled' ORDER BY id",
            self.numbers_in("$1")
        );
        let wanted = [numbers(ids.iter().map(|id| id.to_sql()))];
        let rows: Vec<StatusRow> = self.all(sqlx::AssertSqlSafe(sql), &wanted).await?;
        let status = |row: StatusRow| Ok((JobId::from_sql(row.id), JobStatus::read(&row.status)?));
        rows.into_iter().map(status).collect()
    }

    /// Those of `from` that are `to`, or come after it by way of others: were `to` to come after
    /// them, it would wait for itself.
    pub async fn reaches(&self, from: &[JobId], to: JobId) -> Result<Vec<JobId>, StoreError> {
        let mut reaching = Vec::new();
        // Hardly ever is there one: all are asked for at once first.
        if from.is_empty() || !self.any_reaches(from, to).await? {
            return Ok(reaching);
        }
        for id in from {
            if self.any_reaches(&[*id], to).await? {
                reaching.push(*id);
            }
        }
        Ok(reaching)
    }

    async fn any_reaches(&self, from: &[JobId], to: JobId) -> Result<bool, StoreError> {
        let sql = reached(&self.numbers_in("$1"));
        let values = [numbers(from.iter().map(|id| id.to_sql())), to.to_sql().into()];
        let found: Option<IdRow> = self.first(sqlx::AssertSqlSafe(sql), &values).await?;
        Ok(found.is_some())
    }
}
