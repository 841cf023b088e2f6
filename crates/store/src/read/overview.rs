//! How much there is of everything: for metrics, and for a glance.

use std::collections::BTreeMap;

use model::{Clamp, JobStatus, TaskCounts, TaskStatus};

use super::TASK_STATUS;
use super::jobs::STATUS;
use crate::session::records;
use crate::words::Word;
use crate::{Store, StoreError};

/// How much there is of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Jobs by status; one that no job has is not there.
    pub jobs: BTreeMap<JobStatus, u64>,
    /// Tasks of all jobs that are not settled.
    pub tasks: TaskCounts,
    /// Messages that wait for the leader.
    pub inbox: u64,
}

records! {
    JobsRow { status: String, jobs: i64, tasks: i64 }
    SettledRow { succeeded: i64, cancelled: i64 }
    TasksRow { status: String, tasks: i64 }
    NumberRow { number: i64 }
}

/// Each part by an index of its own; tasks of settled jobs are not counted.
fn jobs_sql() -> String {
    format!(
        "SELECT status, COUNT(*) AS jobs, CAST(0 AS BIGINT) AS tasks FROM jobs \
         WHERE state = 'settled' GROUP BY 1 \
         UNION ALL SELECT {STATUS} AS status, COUNT(*), CAST(SUM(j.tasks) AS BIGINT) FROM jobs j \
         WHERE j.state = 'active' GROUP BY 1 \
         UNION ALL SELECT 'submitted', COUNT(*), CAST(COALESCE(SUM(tasks), 0) AS BIGINT) FROM jobs \
         WHERE state = 'backlog' \
         UNION ALL SELECT 'submitted', COUNT(*), CAST(COALESCE(SUM(j.tasks), 0) AS BIGINT) \
         FROM inbox i JOIN jobs j ON j.id = i.job WHERE i.kind = 'submit' AND j.state = 'inbox'"
    )
}

impl Store {
    /// How much there is of everything, at one moment. A million settled jobs cost about a fifth of
    /// a second; what is unsettled costs as much as reading its rows.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let (mut jobs, mut total) = (BTreeMap::new(), 0);
        let take = |row: JobsRow| {
            if row.jobs > 0 {
                *jobs.entry(JobStatus::read(&row.status)?).or_default() += row.jobs.cast_unsigned();
            }
            total += row.tasks.cast_unsigned();
            Ok(())
        };
        snapshot.each(sqlx::AssertSqlSafe(jobs_sql()), &[], take).await?;
        let mut tasks = TaskCounts::all_waiting(total);
        let sql = "SELECT CAST(COALESCE(SUM(succeeded_tasks), 0) AS BIGINT) AS succeeded, \
             CAST(COALESCE(SUM(cancelled_tasks), 0) AS BIGINT) AS cancelled FROM job_groups \
             WHERE job IN (SELECT id FROM jobs WHERE state = 'active')";
        let take = |row: SettledRow| {
            tasks.move_waiting(TaskStatus::Succeeded, row.succeeded.clamped());
            tasks.move_waiting(TaskStatus::Cancelled, row.cancelled.clamped());
            Ok(())
        };
        snapshot.each(sql, &[], take).await?;
        let sql = format!(
            "SELECT {TASK_STATUS} AS status, COUNT(*) AS tasks FROM tasks \
             WHERE job IN (SELECT id FROM jobs WHERE state = 'active') GROUP BY 1"
        );
        let take = |row: TasksRow| {
            tasks.move_waiting(TaskStatus::read(&row.status)?, row.tasks.clamped());
            Ok(())
        };
        snapshot.each(sqlx::AssertSqlSafe(sql), &[], take).await?;
        let sql = "SELECT COUNT(*) AS number FROM inbox";
        let inbox: Vec<NumberRow> = snapshot.all(sql, &[]).await?;
        snapshot.end().await?;
        let inbox = inbox.first().map_or(0, |row| row.number.clamped());
        Ok(Overview { jobs, tasks, inbox })
    }
}
