//! A settled job as it would come back to run tasks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    After, AttemptEnd, Counters, GroupId, IntervalSet, JobId, JobSpec, RetriedGroup, Task,
    TaskEvent, TaskState, Timestamp,
};

use super::tasks::count_end;
use crate::document::unpack;
use crate::intervals::from_text;
use crate::load::{TASK_COLUMNS, TaskRow, narrow};
use crate::session::{Snapshot, records};
use crate::words::Word;
use crate::{Store, StoreError};

/// Which tasks are to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOf {
    /// Those that failed.
    Failed,
    /// Those that were cancelled.
    Cancelled,
    /// Both.
    Unsuccessful,
}

/// A settled job with tasks that are to run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledJob {
    /// What was asked.
    pub spec: Arc<JobSpec>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Its groups, by ordinal, as [`Change::JobRetried`](model::Change::JobRetried) takes them.
    pub groups: Vec<RetriedGroup>,
    /// How many tasks are to run again.
    pub tasks: u64,
}

records! {
    JobRow { spec: Vec<u8>, submitted_ms: i64 }
    GroupRow { grp: i64, succeeded: String, cancelled: String }
    EndRow { idx: i64, attempt: i64, ended_as: String, is_started: bool }
}

impl RetryOf {
    fn failed(self) -> bool {
        matches!(self, Self::Failed | Self::Unsuccessful)
    }

    fn cancelled(self) -> bool {
        matches!(self, Self::Cancelled | Self::Unsuccessful)
    }
}

impl Store {
    /// A settled job as it comes back when these of its tasks run again; `None` when there is no
    /// such job, or it is not settled. With no task to run again, `tasks` is 0.
    pub async fn settled_job(
        &self,
        id: JobId,
        which: RetryOf,
    ) -> Result<Option<SettledJob>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        snapshot.take_your_time().await?;
        let found = settled(&mut snapshot, id, which).await;
        snapshot.end().await?;
        found
    }
}

async fn settled(
    snapshot: &mut Snapshot<'_>,
    id: JobId,
    which: RetryOf,
) -> Result<Option<SettledJob>, StoreError> {
    let key = [id.to_sql().into()];
    let sql = "SELECT spec, submitted_ms FROM jobs WHERE id = $1 AND state = 'settled'";
    let rows: Vec<JobRow> = snapshot.all(sql, &key).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let spec: Arc<JobSpec> = unpack(&row.spec)?;
    let mut groups = vec![RetriedGroup::default(); spec.groups.len()];
    let place = |group: i64| usize::try_from(group).map_err(StoreError::corrupt);
    let sql = "SELECT grp, succeeded, cancelled FROM job_groups WHERE job = $1";
    let rows: Vec<GroupRow> = snapshot.all(sql, &key).await?;
    for row in rows {
        if let Some(group) = groups.get_mut(place(row.grp)?) {
            group.succeeded = from_text(&row.succeeded)?;
            group.cancelled = from_text(&row.cancelled)?;
        }
    }
    let mut tasks = 0;
    let sql = format!("SELECT {TASK_COLUMNS} FROM tasks WHERE job = $1");
    let take = |row: TaskRow| {
        let ordinal = place(row.grp)?;
        if let (Some(group), Some(spec)) = (groups.get_mut(ordinal), spec.groups.get(ordinal)) {
            let mut task = row.task()?;
            if which.failed()
                && let Some(again) = task.on(TaskEvent::Retry, &spec.restart, Timestamp::default())
                && let After::Keep(again) = again.after
            {
                task = again;
                tasks += 1;
            }
            group.tasks.insert(narrow(row.idx)?, task);
        }
        Ok(())
    };
    snapshot.each(sqlx::AssertSqlSafe(sql), &key, take).await?;
    if which.cancelled() {
        for (ordinal, group) in groups.iter_mut().enumerate() {
            let freed = std::mem::take(&mut group.cancelled);
            tasks += u64::from(freed.len());
            let id = GroupId { job: id, group: u16::try_from(ordinal).unwrap_or(u16::MAX) };
            group.tasks.extend(had_attempts(snapshot, id, &freed).await?);
        }
    }
    let submitted = Timestamp::from_ms(row.submitted_ms);
    Ok(Some(SettledJob { spec, submitted, groups, tasks }))
}

/// Entries of those tasks that were on a node before: their numbers go on from there.
async fn had_attempts(
    snapshot: &mut Snapshot<'_>,
    id: GroupId,
    freed: &IntervalSet,
) -> Result<BTreeMap<u32, Task>, StoreError> {
    let mut entries: BTreeMap<u32, Task> = BTreeMap::new();
    let from = freed.spans().next().map(|(from, _)| from);
    let to = freed.spans().last().map(|(_, to)| to);
    let Some((from, to)) = from.zip(to) else { return Ok(entries) };
    let sql = "SELECT idx, attempt, ended_as, started_ms IS NOT NULL AS is_started FROM attempts \
         WHERE job = $1 AND grp = $2 AND idx >= $3 AND idx < $4 ORDER BY idx, attempt";
    let values = [id.job.to_sql().into(), id.group.into(), from.into(), to.into()];
    let take = |row: EndRow| {
        let index = narrow(row.idx)?;
        if !freed.contains(index) {
            return Ok(());
        }
        let fresh = Task { state: TaskState::Ready, attempt: 0, counters: Counters::default() };
        let entry = entries.entry(index).or_insert(fresh);
        entry.attempt = narrow(row.attempt)?;
        let end = AttemptEnd::read(&row.ended_as)?;
        // The budget is whole again.
        if row.is_started && !matches!(end, AttemptEnd::Failed | AttemptEnd::TimedOut) {
            count_end(&mut entry.counters, end);
        }
        Ok(())
    };
    snapshot.each(sql, &values, take).await?;
    Ok(entries)
}
