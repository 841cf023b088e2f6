//! Tasks of a job, in the order of their indices: interval sets merged with rows.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AttemptEnd, Cause, Counters, GroupId, IntervalSet, JobId, NodeId, TaskId, TaskState, TaskStatus,
};

use super::{MAX_PAGE, TASK_STATUS};
use crate::document::unpack;
use crate::intervals::from_text;
use crate::load::{TASK_COLUMNS, TaskRow, narrow};
use crate::session::{Snapshot, records};
use crate::words::Word;
use crate::{Store, StoreError};

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// Why it is settled without success.
    pub cause: Option<Cause>,
    /// The number of its latest attempt; 0 when it was never placed.
    pub attempt: u32,
    /// Where that is or was.
    pub node: Option<NodeId>,
    /// The exit code of its latest ended attempt.
    pub exit_code: Option<i32>,
    /// How its attempts ended.
    pub counters: Counters,
}

/// Which tasks of a job, in the order of groups and indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// In this status only.
    pub status: Option<TaskStatus>,
    /// After this one: the last of the page before, as (group, index).
    pub after: Option<(u16, u32)>,
    /// At most so many, and at most 1,000.
    pub limit: u32,
}

records! {
    ShapeRow { shape: String, stopping: Option<String> }
    SpecRow { spec: Vec<u8> }
    FailedRow { grp: i64, failed: i64 }
    SetsRow { grp: i64, succeeded: String, cancelled: String }
    EndRow {
        idx: i64, attempt: i64, node: i64, ended_as: String, exit_code: Option<i64>,
        is_started: bool,
    }
}

/// A group whose tasks are being listed.
struct Walk {
    id: GroupId,
    count: u32,
    succeeded: IntervalSet,
    cancelled: IntervalSet,
    /// Why those are cancelled that are.
    cause: Cause,
}

/// Of a spec, what groups come after: items are not read.
#[derive(serde::Deserialize)]
struct GroupOrder {
    groups: Vec<GroupAfter>,
}
#[derive(serde::Deserialize)]
struct GroupAfter {
    #[serde(default)]
    after: BTreeSet<u16>,
}

impl Store {
    /// A page of a job's tasks; `None` when there is no such job.
    pub async fn tasks(
        &self,
        job: JobId,
        filter: &TaskFilter,
    ) -> Result<Option<Vec<TaskRecord>>, StoreError> {
        let limit = usize::try_from(filter.limit.min(MAX_PAGE)).unwrap_or(0);
        let mut snapshot = self.snapshot().await?;
        let Some(walks) = walks(&mut snapshot, job).await? else {
            snapshot.end().await?;
            return Ok(None);
        };
        let mut page = Vec::new();
        for walk in walks {
            let from = match filter.after {
                Some((group, _)) if walk.id.group < group => continue,
                Some((group, index)) if walk.id.group == group => index.saturating_add(1),
                _ => 0,
            };
            let room = limit - page.len();
            if room == 0 {
                break;
            }
            let mut found = self.walk(&mut snapshot, &walk, filter.status, from, room).await?;
            self.add_attempts(&mut snapshot, walk.id, &mut found).await?;
            page.extend(found);
        }
        snapshot.end().await?;
        Ok(Some(page))
    }

    /// One task; `None` when there is no such job, or it has no such task.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let after = match (id.group, id.index) {
            (0, 0) => None,
            (group, 0) => Some((group - 1, u32::MAX)),
            (group, index) => Some((group, index - 1)),
        };
        let page = self.tasks(id.job, &TaskFilter { status: None, after, limit: 1 }).await?;
        Ok(page.and_then(|page| page.into_iter().next()).filter(|task| task.id == id))
    }

    /// Tasks of one group from an index on: windows of rows, with what the sets say between them.
    async fn walk(
        &self,
        snapshot: &mut Snapshot<'_>,
        walk: &Walk,
        status: Option<TaskStatus>,
        from: u32,
        room: usize,
    ) -> Result<Vec<TaskRecord>, StoreError> {
        let mut found = Vec::new();
        let mut next = from;
        while next < walk.count && found.len() < room {
            let (rows, end) = match status {
                Some(TaskStatus::Succeeded | TaskStatus::Cancelled) => {
                    (BTreeMap::new(), walk.count)
                }
                _ => window(snapshot, walk, status, next).await?,
            };
            merge(walk, status, (next, end), &rows, room, &mut found)?;
            next = end;
        }
        Ok(found)
    }

    /// What history adds: exit codes, and for those without an entry all the rest.
    async fn add_attempts(
        &self,
        snapshot: &mut Snapshot<'_>,
        group: GroupId,
        tasks: &mut [TaskRecord],
    ) -> Result<(), StoreError> {
        let known: Vec<u32> = tasks
            .iter()
            .filter(|task| task.status != TaskStatus::Waiting || task.attempt > 0)
            .map(|task| task.id.index)
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "SELECT idx, attempt, node, ended_as, exit_code, started_ms IS NOT NULL AS is_started \
             FROM attempts WHERE job = $1 AND grp = $2 AND idx IN {} ORDER BY idx, attempt",
            self.numbers_in("$3")
        );
        let numbers = serde_json::to_string(&known).map_err(StoreError::corrupt)?;
        let values = [group.job.to_sql().into(), group.group.into(), numbers.into()];
        let mut ends: BTreeMap<u32, Vec<EndRow>> = BTreeMap::new();
        let take = |row: EndRow| {
            ends.entry(narrow(row.idx)?).or_default().push(row);
            Ok(())
        };
        snapshot.each(sqlx::AssertSqlSafe(sql), &values, take).await?;
        for task in tasks {
            if let Some(ends) = ends.get(&task.id.index) {
                task.add(ends)?;
            }
        }
        Ok(())
    }
}

async fn walks(snapshot: &mut Snapshot<'_>, job: JobId) -> Result<Option<Vec<Walk>>, StoreError> {
    let key = [job.to_sql().into()];
    let sql = "SELECT shape, stopping FROM jobs WHERE id = $1";
    let rows: Vec<ShapeRow> = snapshot.all(sql, &key).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let shape: Vec<(String, u32)> =
        serde_json::from_str(&row.shape).map_err(StoreError::corrupt)?;
    let sql = "SELECT grp, succeeded, cancelled FROM job_groups WHERE job = $1";
    let rows: Vec<SetsRow> = snapshot.all(sql, &key).await?;
    let mut walks = Vec::with_capacity(shape.len());
    for (ordinal, (_, count)) in shape.into_iter().enumerate() {
        let group: u16 = u16::try_from(ordinal).map_err(StoreError::corrupt)?;
        let sets = rows.iter().find(|row| row.grp == i64::from(group));
        walks.push(Walk {
            id: GroupId { job, group },
            count,
            succeeded: from_text(sets.map_or("", |sets| &sets.succeeded))?,
            cancelled: from_text(sets.map_or("", |sets| &sets.cancelled))?,
            cause: Cause::Stopped,
        });
    }
    if let Some(cause) = &row.stopping {
        let cause = Cause::read(cause)?;
        walks.iter_mut().for_each(|walk| walk.cause = cause);
    } else if walks.len() > 1 && walks.iter().any(|walk| !walk.cancelled.is_empty()) {
        blame_dependencies(snapshot, job, &mut walks).await?;
    }
    Ok(Some(walks))
}

/// A group is cancelled for those that it comes after once one is settled without success.
async fn blame_dependencies(
    snapshot: &mut Snapshot<'_>,
    job: JobId,
    walks: &mut [Walk],
) -> Result<(), StoreError> {
    let key = [job.to_sql().into()];
    let rows: Vec<SpecRow> = snapshot.all("SELECT spec FROM jobs WHERE id = $1", &key).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(()) };
    let order: GroupOrder = unpack(&row.spec)?;
    if order.groups.iter().all(|group| group.after.is_empty()) {
        return Ok(());
    }
    let sql = "SELECT grp, COUNT(*) AS failed FROM tasks WHERE job = $1 AND state = 'failed' \
         GROUP BY grp";
    let failed: Vec<FailedRow> = snapshot.all(sql, &key).await?;
    let has_gone_wrong = |walk: &Walk| {
        let failed = failed.iter().find(|row| row.grp == i64::from(walk.id.group));
        let failed = failed.map_or(0, |row| row.failed);
        let succeeded = i64::from(walk.succeeded.len());
        let settled = succeeded + i64::from(walk.cancelled.len()) + failed;
        settled == i64::from(walk.count) && succeeded < settled
    };
    let wrong: BTreeSet<u16> =
        walks.iter().filter(|walk| has_gone_wrong(walk)).map(|walk| walk.id.group).collect();
    for (walk, group) in walks.iter_mut().zip(&order.groups) {
        if !group.after.is_disjoint(&wrong) {
            walk.cause = Cause::Dependency;
        }
    }
    Ok(())
}

/// Up to a page of rows from an index on, and the index up to which they are all.
async fn window(
    snapshot: &mut Snapshot<'_>,
    walk: &Walk,
    status: Option<TaskStatus>,
    from: u32,
) -> Result<(BTreeMap<u32, TaskRow>, u32), StoreError> {
    // Without a fresh task's row, only unfiltered rows tell which tasks are fresh.
    let only = match status {
        None | Some(TaskStatus::Waiting) => String::new(),
        Some(status) => format!("AND {TASK_STATUS} = '{}'", status.word()),
    };
    let sql = format!(
        "SELECT {TASK_COLUMNS} FROM tasks WHERE job = $1 AND grp = $2 AND idx >= $3 {only} \
         ORDER BY idx LIMIT $4"
    );
    let values = [walk.id.job.to_sql().into(), walk.id.group.into(), from.into(), MAX_PAGE.into()];
    let mut rows = BTreeMap::new();
    let take = |row: TaskRow| {
        rows.insert(narrow(row.idx)?, row);
        Ok(())
    };
    snapshot.each(sqlx::AssertSqlSafe(sql), &values, take).await?;
    let full = u32::try_from(rows.len()).is_ok_and(|rows| rows == MAX_PAGE);
    let end = match rows.last_key_value() {
        Some((last, _)) if full => last + 1,
        _ => walk.count,
    };
    Ok((rows, end))
}

/// Adds the tasks of a window, in order, until there is no more room.
fn merge(
    walk: &Walk,
    status: Option<TaskStatus>,
    (from, to): (u32, u32),
    rows: &BTreeMap<u32, TaskRow>,
    room: usize,
    found: &mut Vec<TaskRecord>,
) -> Result<(), StoreError> {
    let wanted = |kind: TaskStatus| status.is_none_or(|status| status == kind);
    let mut numbers = IntervalSet::default();
    if wanted(TaskStatus::Waiting) {
        numbers.insert(from, to);
    }
    for (set, kind) in
        [(&walk.succeeded, TaskStatus::Succeeded), (&walk.cancelled, TaskStatus::Cancelled)]
    {
        for (start, end) in set.spans() {
            let (start, end) = (start.max(from), end.min(to));
            if wanted(kind) {
                numbers.insert(start, end);
            } else {
                numbers.remove(start, end);
            }
        }
    }
    for index in rows.keys() {
        numbers.insert(*index, *index + 1);
    }
    for index in numbers.iter() {
        if found.len() == room {
            break;
        }
        let id = TaskId { job: walk.id.job, group: walk.id.group, index };
        let record = match rows.get(&index) {
            Some(row) => TaskRecord::of_row(id, row)?,
            None if walk.succeeded.contains(index) => {
                TaskRecord::of_number(id, TaskStatus::Succeeded)
            }
            None if walk.cancelled.contains(index) => TaskRecord {
                cause: Some(walk.cause),
                ..TaskRecord::of_number(id, TaskStatus::Cancelled)
            },
            None => TaskRecord::of_number(id, TaskStatus::Waiting),
        };
        if wanted(record.status) {
            found.push(record);
        }
    }
    Ok(())
}

impl TaskRecord {
    fn of_number(id: TaskId, status: TaskStatus) -> Self {
        let counters = Counters::default();
        Self { id, status, cause: None, attempt: 0, node: None, exit_code: None, counters }
    }

    fn of_row(id: TaskId, row: &TaskRow) -> Result<Self, StoreError> {
        let task = row.task()?;
        let cause = match task.state {
            TaskState::Failed(cause) => Some(cause),
            TaskState::Ready | TaskState::Backoff { .. } | TaskState::Placed(_) => None,
        };
        Ok(Self {
            id,
            status: TaskStatus::from(&task.state),
            cause,
            attempt: task.attempt,
            node: task.placement().map(|at| at.node),
            exit_code: None,
            counters: task.counters,
        })
    }

    /// Its ended attempts, in order. Without an entry they are all that is known.
    fn add(&mut self, ends: &[EndRow]) -> Result<(), StoreError> {
        let Some(last) = ends.last() else { return Ok(()) };
        self.exit_code = last.exit_code.map(narrow).transpose()?;
        if self.node.is_none() {
            self.node = Some(NodeId::from_sql(last.node));
        }
        if self.attempt > 0 {
            return Ok(());
        }
        self.attempt = narrow(last.attempt)?;
        for end in ends.iter().filter(|end| end.is_started) {
            count_end(&mut self.counters, AttemptEnd::read(&end.ended_as)?);
        }
        Ok(())
    }
}

/// One more attempt that had started ended so.
pub(super) fn count_end(counters: &mut Counters, end: AttemptEnd) {
    let counter = match end {
        AttemptEnd::Interrupted => &mut counters.interrupted,
        AttemptEnd::NodeLost => &mut counters.node_lost,
        AttemptEnd::Failed => &mut counters.failed,
        AttemptEnd::TimedOut => &mut counters.timed_out,
        AttemptEnd::Succeeded | AttemptEnd::Cancelled | AttemptEnd::Returned => return,
    };
    *counter = counter.saturating_add(1);
}
