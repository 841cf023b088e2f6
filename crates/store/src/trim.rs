//! Forgetting what is old, in batches so small that no commit waits for one.

use std::collections::BTreeMap;

use model::{Clamp, NodeState, Timestamp, bill};

use crate::inbox::KEEP_ANSWERS_MS;
use crate::items::USED_STEP_MS;
use crate::load::{NODE_COLUMNS, NodeRow};
use crate::session::{Value, records};
use crate::words::Word;
use crate::{Store, StoreError};

/// Rows of one batch.
pub(crate) const BATCH: u32 = 500;
/// Blocks of items in one batch: some 20 KiB each.
const BLOCKS: u32 = 100;
/// An upload that is not finished by then never will be.
const KEEP_UPLOADS_MS: i64 = 24 * 3_600_000;
const HOUR_MS: u64 = 3_600_000;

/// How long what is trimmed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Commits of the log, and so events.
    pub log_ms: u64,
    /// Bytes of the log's documents.
    pub log_bytes: u64,
    /// Explanations.
    pub explanations_ms: u64,
    /// Nodes that are gone and launches that are closed.
    pub nodes_ms: u64,
    /// Uploaded items that no job names.
    pub items_ms: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            log_ms: 24 * HOUR_MS,
            log_bytes: 1 << 30,
            explanations_ms: 30 * 24 * HOUR_MS,
            nodes_ms: 30 * 24 * HOUR_MS,
            items_ms: 24 * HOUR_MS,
        }
    }
}

/// What one call of [`Store::trim`] deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Commits of the log.
    pub log: u64,
    /// Answers to requests with a key.
    pub answers: u64,
    /// Explanations.
    pub explanations: u64,
    /// Nodes that are gone.
    pub nodes: u64,
    /// Launches that are closed.
    pub intents: u64,
    /// Uploaded items.
    pub items: u64,
    /// Blocks of theirs, and of uploads that broke.
    pub blocks: u64,
    /// Whether there may be more: call again.
    pub more: bool,
}

records! {
    NumberRow { number: i64 }
}

impl Store {
    /// Deletes one batch of each kind of what is older than it is kept, and of answers older than
    /// 24 h. The newest commit is always kept; sums of money stay what they were.
    pub async fn trim(&self, keep: &Keep, now: Timestamp) -> Result<Trimmed, StoreError> {
        let before = |kept_ms: u64| now.as_ms().saturating_sub(kept_ms.clamped());
        let mut trimmed = Trimmed {
            log: self.trim_log(before(keep.log_ms), keep.log_bytes.clamped()).await?,
            answers: self.trim_answers(now.as_ms() - KEEP_ANSWERS_MS).await?,
            explanations: self.trim_explanations(before(keep.explanations_ms)).await?,
            nodes: self.trim_nodes(before(keep.nodes_ms)).await?,
            intents: self.trim_intents(before(keep.nodes_ms)).await?,
            // They may have been used for an hour more than is noted.
            items: self.trim_items(before(keep.items_ms) - USED_STEP_MS).await?,
            blocks: self.trim_blocks(now.as_ms() - KEEP_UPLOADS_MS).await?,
            more: false,
        };
        let Trimmed { log, answers, explanations, nodes, intents, items, blocks, .. } = trimmed;
        let most = [log, answers, explanations, nodes, intents, items].into_iter().max();
        trimmed.more = most >= Some(u64::from(BATCH)) || blocks >= u64::from(BLOCKS);
        Ok(trimmed)
    }

    /// Commits are in the order of time and of bytes: what goes is always the log's beginning.
    async fn trim_log(&self, before_ms: i64, most_bytes: i64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM log WHERE seq < (SELECT MAX(seq) FROM log) AND seq < COALESCE( \
             (SELECT MIN(seq) FROM log WHERE seq < (SELECT MIN(seq) FROM log) + $3 \
             AND at_ms >= $1 AND total_bytes > (SELECT log_bytes FROM head) - $2), \
             (SELECT MIN(seq) FROM log) + $3)";
        self.write_apart(sql, &[before_ms.into(), most_bytes.into(), BATCH.into()]).await
    }

    async fn trim_answers(&self, before_ms: i64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM idempotency WHERE (namespace, key) IN \
             (SELECT namespace, key FROM idempotency WHERE at_ms < $1 LIMIT $2)";
        self.write_apart(sql, &[before_ms.into(), BATCH.into()]).await
    }

    async fn trim_explanations(&self, before_ms: i64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM explanations WHERE (at_ms, seq, ordinal) IN \
             (SELECT at_ms, seq, ordinal FROM explanations WHERE at_ms < $1 \
             ORDER BY at_ms, seq, ordinal LIMIT $2)";
        self.write_apart(sql, &[before_ms.into(), BATCH.into()]).await
    }

    async fn trim_intents(&self, before_ms: i64) -> Result<u64, StoreError> {
        let sql = "DELETE FROM intents WHERE id IN (SELECT id FROM intents WHERE NOT is_open \
             AND since_ms < $1 ORDER BY since_ms LIMIT $2)";
        self.write_apart(sql, &[before_ms.into(), BATCH.into()]).await
    }

    /// Their rows in the ledger stay; what [`Store::cost`] reads of the nodes themselves is kept as
    /// a sum.
    async fn trim_nodes(&self, before_ms: i64) -> Result<u64, StoreError> {
        let sql = format!(
            "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE state = 'gone' \
             AND since_ms < $1 ORDER BY since_ms LIMIT $2) RETURNING {NODE_COLUMNS}"
        );
        let mut writing = self.writing().await?;
        let values = [before_ms.into(), BATCH.into()];
        let rows: Vec<NodeRow> = writing.all(sqlx::AssertSqlSafe(sql), &values).await?;
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for row in &rows {
            let node = row.node()?;
            if node.state != NodeState::Gone {
                return Err(StoreError::Corrupt(format!("{} is {}", node.id, node.state.word())));
            }
            if let Some(offer) = node.offer() {
                *sums.entry(INSTANCES).or_default() += 1;
                *sums.entry(ON_DEMAND).or_default() +=
                    bill(offer.on_demand_price, node.launched, node.since).0;
            }
        }
        for (what, amount) in sums {
            let sql = "INSERT INTO forgotten (what, amount) VALUES ($1, $2) \
                 ON CONFLICT (what) DO UPDATE SET amount = forgotten.amount + excluded.amount";
            writing.write(sql, &[what.into(), amount.into()]).await?;
        }
        writing.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Items that no job names stop existing; their blocks go by and by.
    async fn trim_items(&self, before_ms: i64) -> Result<u64, StoreError> {
        let unused = "SELECT key FROM items WHERE used_ms < $1 AND NOT EXISTS \
             (SELECT 1 FROM job_items j WHERE j.key = items.key) ORDER BY used_ms, key LIMIT $2";
        let values = [before_ms.into(), BATCH.into()];
        let mut writing = self.writing().await?;
        let sql = format!("DELETE FROM items WHERE key IN ({unused}) RETURNING key AS number");
        let gone: Vec<NumberRow> = writing.all(sqlx::AssertSqlSafe(sql), &values).await?;
        for row in &gone {
            // Long ago: at once.
            let sql = "INSERT INTO item_uploads (key, begun_ms) VALUES ($1, 0)";
            writing.write(sql, &[row.number.into()]).await?;
        }
        writing.commit().await?;
        Ok(gone.len() as u64)
    }

    async fn trim_blocks(&self, before_ms: i64) -> Result<u64, StoreError> {
        let sql = "SELECT key AS number FROM item_uploads WHERE begun_ms < $1 \
             ORDER BY begun_ms, key LIMIT $2";
        let keys: Vec<NumberRow> = self.all(sql, &[before_ms.into(), BLOCKS.into()]).await?;
        let mut room = BLOCKS;
        for row in keys {
            let key: Value = row.number.into();
            let sql = "DELETE FROM item_blocks WHERE key = $1 AND first IN \
                 (SELECT first FROM item_blocks WHERE key = $1 ORDER BY first LIMIT $2)";
            let blocks = self.write_apart(sql, &[key.clone(), room.into()]).await?;
            room = room.saturating_sub(blocks.clamped());
            if room == 0 {
                break;
            }
            let sql = "DELETE FROM item_uploads WHERE key = $1 AND begun_ms < $2";
            self.write_apart(sql, &[key, before_ms.into()]).await?;
        }
        Ok(u64::from(BLOCKS - room))
    }
}

/// Machines that were launched, of nodes whose row is gone.
pub(crate) const INSTANCES: &str = "instances";
/// Micro-dollars that they would have cost on demand.
pub(crate) const ON_DEMAND: &str = "on-demand";
