//! Nodes, intents and money.

use std::collections::BTreeMap;

use model::{
    Clamp, Intent, JobId, LedgerKind, LedgerRow, MicroUsd, Node, NodeId, NodeState, TaskId,
    Timestamp, bill,
};

use super::MAX_PAGE;
use crate::load::{IntentRow, NODE_COLUMNS, NodeRow, narrow};
use crate::session::records;
use crate::trim::{INSTANCES, ON_DEMAND};
use crate::words::Word;
use crate::{Store, StoreError};

/// A node with what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node.
    pub node: Node,
    /// Attempts that run or are reserved.
    pub running: u32,
    /// Attempts that are prefetched.
    pub held: u32,
}

/// Money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CostSums {
    /// Attempts that ended by themselves.
    pub task: MicroUsd,
    /// Attempts that were lost or interrupted.
    pub waste: MicroUsd,
    /// From launch to join.
    pub boot: MicroUsd,
    /// The rest of the machines that are gone.
    pub idle: MicroUsd,
    /// Not booked yet: machines that still run.
    pub open: MicroUsd,
    /// The same machines at their on-demand price.
    pub on_demand: MicroUsd,
    /// Machines that were launched.
    pub instances: u64,
}

impl CostSums {
    /// All that was bought.
    pub fn total(&self) -> MicroUsd {
        self.task + self.waste + self.boot + self.idle + self.open
    }
}

records! {
    OnNodeRow { node: i64, running: i64, held: i64 }
    SumRow { kind: String, micro_usd: i64 }
    ForgottenRow { what: String, amount: i64 }
    SpendRow {
        node: i64, job: Option<i64>, grp: Option<i64>, idx: Option<i64>, kind: String,
        from_ms: i64, to_ms: i64, micro_usd: i64,
    }
}

impl Store {
    /// A page of nodes, the newest first, older than `before`; with those that are gone, or
    /// without.
    pub async fn nodes(
        &self,
        with_gone: bool,
        before: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<NodeRecord>, StoreError> {
        let only = if with_gone { "" } else { "AND state <> 'gone'" };
        let sql = format!(
            "SELECT {NODE_COLUMNS} FROM nodes WHERE id < $1 {only} ORDER BY id DESC LIMIT $2"
        );
        let before = before.map_or(i64::MAX, NodeId::to_sql);
        self.node_page(sql, before, limit).await
    }

    /// One node.
    pub async fn node(&self, id: NodeId) -> Result<Option<NodeRecord>, StoreError> {
        let sql = format!("SELECT {NODE_COLUMNS} FROM nodes WHERE id = $1 LIMIT $2");
        Ok(self.node_page(sql, id.to_sql(), 1).await?.into_iter().next())
    }

    async fn node_page(
        &self,
        sql: String,
        id: i64,
        limit: u32,
    ) -> Result<Vec<NodeRecord>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let values = [id.into(), limit.min(MAX_PAGE).into()];
        let rows: Vec<NodeRow> = snapshot.all(sqlx::AssertSqlSafe(sql), &values).await?;
        let mut on_nodes = BTreeMap::new();
        let sql = "SELECT node, COUNT(*) FILTER (WHERE phase <> 'held') AS running, \
             COUNT(*) FILTER (WHERE phase = 'held') AS held FROM tasks WHERE state = 'placed' \
             GROUP BY node";
        let take = |row: OnNodeRow| {
            on_nodes.insert(row.node, (narrow(row.running)?, narrow(row.held)?));
            Ok(())
        };
        if rows.iter().any(|row| row.state != NodeState::Gone.word()) {
            snapshot.each(sql, &[], take).await?;
        }
        snapshot.end().await?;
        let record = |row: NodeRow| {
            let (running, held) = on_nodes.get(&row.id).copied().unwrap_or_default();
            Ok(NodeRecord { node: row.node()?, running, held })
        };
        rows.into_iter().map(record).collect()
    }

    /// Launches, the newest first; with those that are closed, or without.
    pub async fn intents(&self, with_closed: bool, limit: u32) -> Result<Vec<Intent>, StoreError> {
        let only = if with_closed { "" } else { "WHERE is_open" };
        let sql = format!(
            "SELECT id, request, state, since_ms, opened_ms, born FROM intents {only} \
             ORDER BY id DESC LIMIT $1"
        );
        let values = [limit.min(MAX_PAGE).into()];
        let rows: Vec<IntentRow> = self.all(sqlx::AssertSqlSafe(sql), &values).await?;
        rows.iter().map(IntentRow::intent).collect()
    }

    /// What was spent up to `now`.
    pub async fn cost(&self, now: Timestamp) -> Result<CostSums, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let mut sums = CostSums::default();
        let rows: Vec<SumRow> =
            snapshot.all("SELECT kind, micro_usd FROM ledger_sums", &[]).await?;
        for row in rows {
            let sum = match LedgerKind::read(&row.kind)? {
                LedgerKind::Task => &mut sums.task,
                LedgerKind::Waste => &mut sums.waste,
                LedgerKind::Boot => &mut sums.boot,
                LedgerKind::Idle => &mut sums.idle,
            };
            *sum = MicroUsd(row.micro_usd);
        }
        let rows: Vec<ForgottenRow> =
            snapshot.all("SELECT what, amount FROM forgotten", &[]).await?;
        for row in rows {
            match row.what.as_str() {
                INSTANCES => sums.instances = row.amount.clamped(),
                ON_DEMAND => sums.on_demand = MicroUsd(row.amount),
                // A newer version's.
                _ => {}
            }
        }
        let sql = format!("SELECT {NODE_COLUMNS} FROM nodes");
        let take = |row: NodeRow| {
            sums.add(&row.node()?, now);
            Ok(())
        };
        snapshot.each(sqlx::AssertSqlSafe(sql), &[], take).await?;
        snapshot.end().await?;
        Ok(sums)
    }

    /// Rows of the ledger: all of a job's, or the newest of all; at most 1,000.
    pub async fn ledger(
        &self,
        job: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        let columns = "node, job, grp, idx, kind, from_ms, to_ms, micro_usd";
        let limit = limit.min(MAX_PAGE).into();
        let rows: Vec<SpendRow> = if let Some(job) = job {
            let sql = format!(
                "SELECT {columns} FROM ledger WHERE job = $1 ORDER BY number DESC LIMIT $2"
            );
            self.all(sqlx::AssertSqlSafe(sql), &[job.to_sql().into(), limit]).await?
        } else {
            let sql = format!("SELECT {columns} FROM ledger ORDER BY number DESC LIMIT $1");
            self.all(sqlx::AssertSqlSafe(sql), &[limit]).await?
        };
        rows.into_iter().map(SpendRow::spend).collect()
    }
}

impl CostSums {
    /// A machine's part in what the ledger does not say.
    fn add(&mut self, node: &Node, now: Timestamp) {
        let Some(offer) = node.offer() else { return };
        let gone = node.state == NodeState::Gone;
        let until = if gone { node.since } else { now };
        self.instances += 1;
        self.on_demand += bill(offer.on_demand_price, node.launched, until);
        if !gone {
            self.open += bill(offer.price, node.launched, until) - node.booked;
        }
    }
}

impl SpendRow {
    fn spend(self) -> Result<LedgerRow, StoreError> {
        let task = match (self.job, self.grp, self.idx) {
            (Some(job), Some(group), Some(index)) => Some(TaskId {
                job: JobId::from_sql(job),
                group: narrow(group)?,
                index: narrow(index)?,
            }),
            _ => None,
        };
        Ok(LedgerRow {
            node: NodeId::from_sql(self.node),
            task,
            kind: LedgerKind::read(&self.kind)?,
            from: Timestamp::from_ms(self.from_ms),
            to: Timestamp::from_ms(self.to_ms),
            cost: MicroUsd(self.micro_usd),
        })
    }
}
