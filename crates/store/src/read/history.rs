//! What a stretch of time has seen: for an export, and for what is like it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Clamp, JobId, JobSpec, JobStatus, LedgerKind, MicroUsd, Namespace, Node, Timestamp};

use super::jobs::STATUS;
use crate::document::unpack;
use crate::load::{NODE_COLUMNS, NodeRow, narrow};
use crate::session::{numbers, records};
use crate::words::Word;
use crate::{Store, StoreError};

/// How much of a history is read at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Jobs that were submitted.
    pub jobs: u32,
    /// Their tasks that are settled.
    pub tasks: u32,
    /// Nodes that were there.
    pub nodes: u32,
}

/// What a stretch of time has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Jobs that were submitted in it, the oldest first.
    pub jobs: Vec<PastJob>,
    /// Nodes that were there in it, by id, with those that are gone.
    pub nodes: Vec<Node>,
    /// What the ledger booked in it. What belongs to a machine's end is booked at that time.
    pub costs: BTreeMap<LedgerKind, MicroUsd>,
}

/// A job and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastJob {
    /// Its id.
    pub id: JobId,
    /// What was asked.
    pub spec: Arc<JobSpec>,
    /// When.
    pub submitted: Timestamp,
    /// Where it stands.
    pub status: JobStatus,
    /// When it settled.
    pub settled: Option<Timestamp>,
    /// What the ledger holds of its attempts, whenever they ended.
    pub cost: MicroUsd,
    /// Attempts that have ended, whether they started or not.
    pub attempts: u64,
    /// Groups of which a task is settled by an attempt.
    pub groups: Vec<PastGroup>,
}

/// The settled tasks of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastGroup {
    /// Its ordinal.
    pub group: u16,
    /// How long the settling attempt of each ran, ascending.
    pub run_ms: Vec<u64>,
    /// When the last of them ended.
    pub ended: Timestamp,
}

/// How long tasks of a group ran in jobs of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRuns {
    /// The group's name.
    pub group: String,
    /// Tasks that succeeded.
    pub tasks: u64,
    /// Their mean.
    pub mean_ms: u64,
}

/// A history, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryRead {
    /// All of it.
    Whole(History),
    /// There is more than the limit of these.
    TooMuch(&'static str),
}

records! {
    JobRow {
        id: i64, spec: Vec<u8>, submitted_ms: i64, settled_ms: Option<i64>, status: String,
        cost: i64, attempts: i64,
    }
    RunRow { job: i64, grp: i64, run_ms: i64, ended_ms: i64 }
    SumRow { kind: String, micro_usd: i64 }
    ShapeRow { id: i64, shape: String }
    MeanRow { job: i64, grp: i64, tasks: i64, run_ms: i64 }
}

/// Jobs of one name that are looked at.
const LIKE: u32 = 20;
/// Larger ones are not: their attempts are too many to add up for a guess.
const LIKE_TASKS: i64 = 100_000;

impl Store {
    /// What was submitted, was there and was paid from `from` until before `to`, at one moment.
    pub async fn history(
        &self,
        from: Timestamp,
        to: Timestamp,
        limits: HistoryLimits,
    ) -> Result<HistoryRead, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let mut history = History::default();
        let span = [from.as_ms().into(), to.as_ms().into()];
        let with = |most: u32| {
            let [from, to] = span.clone();
            [from, to, most.saturating_add(1).into()]
        };
        let sql = format!(
            "SELECT j.id, j.spec, j.submitted_ms, j.settled_ms, {STATUS} AS status, \
             (SELECT CAST(COALESCE(SUM(l.micro_usd), 0) AS BIGINT) FROM ledger l \
              WHERE l.job = j.id) AS cost, \
             (SELECT COUNT(*) FROM attempts a WHERE a.job = j.id) AS attempts FROM jobs j \
             WHERE j.submitted_ms >= $1 AND j.submitted_ms < $2 ORDER BY j.id LIMIT $3"
        );
        let take = |row: JobRow| {
            history.jobs.push(row.job()?);
            Ok(())
        };
        snapshot.each(sqlx::AssertSqlSafe(sql), &with(limits.jobs), take).await?;
        if history.jobs.len() > usize::try_from(limits.jobs).unwrap_or(usize::MAX) {
            return Ok(HistoryRead::TooMuch("jobs"));
        }
        // The jobs' rows and their attempts' are in the same order.
        let sql = "SELECT a.job, a.grp, a.run_ms, a.ended_ms FROM attempts a \
             WHERE a.settles AND a.job IN (SELECT id FROM jobs \
             WHERE submitted_ms >= $1 AND submitted_ms < $2) \
             ORDER BY a.job, a.grp, a.run_ms LIMIT $3";
        let (mut tasks, mut ordinal) = (0_u32, 0);
        let take = |row: RunRow| {
            tasks = tasks.saturating_add(1);
            let job = JobId::from_sql(row.job);
            while history.jobs.get(ordinal).is_some_and(|past| past.id < job) {
                ordinal += 1;
            }
            match history.jobs.get_mut(ordinal) {
                Some(past) if past.id == job => past.add(&row),
                _ => Ok(()),
            }
        };
        snapshot.each(sql, &with(limits.tasks), take).await?;
        if tasks > limits.tasks {
            return Ok(HistoryRead::TooMuch("tasks"));
        }
        let sql = format!(
            "SELECT {NODE_COLUMNS} FROM nodes WHERE (state <> 'gone' OR since_ms >= $1) \
             AND launched_ms < $2 ORDER BY id LIMIT $3"
        );
        let take = |row: NodeRow| {
            history.nodes.push(row.node()?);
            Ok(())
        };
        snapshot.each(sqlx::AssertSqlSafe(sql), &with(limits.nodes), take).await?;
        if history.nodes.len() > usize::try_from(limits.nodes).unwrap_or(usize::MAX) {
            return Ok(HistoryRead::TooMuch("nodes"));
        }
        let sql = "SELECT kind, CAST(SUM(micro_usd) AS BIGINT) AS micro_usd FROM ledger \
             WHERE to_ms >= $1 AND to_ms < $2 GROUP BY kind";
        let take = |row: SumRow| {
            history.costs.insert(LedgerKind::read(&row.kind)?, MicroUsd(row.micro_usd));
            Ok(())
        };
        snapshot.each(sql, &span, take).await?;
        snapshot.end().await?;
        Ok(HistoryRead::Whole(history))
    }

    /// How long tasks ran in the latest settled jobs of this name, by the names of their groups.
    pub async fn past_runs(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Vec<PastRuns>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let sql = "SELECT id, shape FROM jobs WHERE namespace = $1 AND name = $2 \
             AND state = 'settled' AND tasks <= $3 ORDER BY id DESC LIMIT $4";
        let name = name.replace('\0', "");
        let values = [namespace.as_str().into(), name.into(), LIKE_TASKS.into(), LIKE.into()];
        let shapes: Vec<ShapeRow> = snapshot.all(sql, &values).await?;
        let mut names = BTreeMap::new();
        for row in &shapes {
            let shape: Vec<(String, u32)> =
                serde_json::from_str(&row.shape).map_err(StoreError::corrupt)?;
            let groups = (0_i64..).zip(shape).map(|(group, (name, _))| ((row.id, group), name));
            names.extend(groups);
        }
        let sql = format!(
            "SELECT job, grp, COUNT(*) AS tasks, CAST(SUM(run_ms) AS BIGINT) AS run_ms \
             FROM attempts WHERE settles AND ended_as = 'succeeded' AND job IN {} \
             GROUP BY job, grp",
            self.numbers_in("$1")
        );
        let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let take = |row: MeanRow| {
            if let Some(name) = names.get(&(row.job, row.grp)) {
                let (tasks, run_ms) = sums.entry(name.clone()).or_default();
                *tasks += row.tasks.cast_unsigned();
                *run_ms = run_ms.saturating_add(row.run_ms.cast_unsigned());
            }
            Ok(())
        };
        let ids = numbers(shapes.iter().map(|row| row.id));
        snapshot.each(sqlx::AssertSqlSafe(sql), &[ids], take).await?;
        snapshot.end().await?;
        let past = |(group, (tasks, run_ms)): (String, (u64, u64))| PastRuns {
            group,
            tasks,
            mean_ms: run_ms / tasks.max(1),
        };
        Ok(sums.into_iter().map(past).collect())
    }
}

impl JobRow {
    fn job(self) -> Result<PastJob, StoreError> {
        Ok(PastJob {
            id: JobId::from_sql(self.id),
            spec: unpack(&self.spec)?,
            submitted: Timestamp::from_ms(self.submitted_ms),
            status: JobStatus::read(&self.status)?,
            settled: self.settled_ms.map(Timestamp::from_ms),
            cost: MicroUsd(self.cost),
            attempts: self.attempts.clamped(),
            groups: Vec::new(),
        })
    }
}

impl PastJob {
    fn add(&mut self, row: &RunRow) -> Result<(), StoreError> {
        let group = narrow(row.grp)?;
        let ended = Timestamp::from_ms(row.ended_ms);
        if self.groups.last().is_none_or(|last| last.group != group) {
            self.groups.push(PastGroup { group, run_ms: Vec::new(), ended });
        }
        if let Some(last) = self.groups.last_mut() {
            last.run_ms.push(row.run_ms.clamped());
            last.ended = last.ended.max(ended);
        }
        Ok(())
    }
}
