//! Items that were uploaded: compressed blocks of texts, and one row that makes them exist.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Clamp, ItemsKey, Namespace, Timestamp};

use crate::document::{pack, unpack};
use crate::load::narrow;
use crate::session::{Value, numbers, records};
use crate::{Store, StoreError};

/// Text of one block, before it is compressed.
const BLOCK_BYTES: usize = 64 * 1024;
/// Compressed bytes of one transaction.
const WRITE_BYTES: usize = 1024 * 1024;
/// Uses are noted to the hour, so that not each submit writes a second time.
pub(crate) const USED_STEP_MS: i64 = 3_600_000;

/// Uploaded items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemsRecord {
    /// Whose they are.
    pub namespace: Namespace,
    /// How many.
    pub count: u32,
    /// Bytes of their texts.
    pub size_bytes: u64,
    /// When they were uploaded.
    pub created: Timestamp,
}

/// Neighbouring items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemBlock {
    /// The index of the first.
    pub first: u32,
    /// One text each.
    pub texts: Vec<Arc<str>>,
}

impl ItemBlock {
    /// The item of this index, if it is one of these.
    pub fn get(&self, index: u32) -> Option<&Arc<str>> {
        let place = index.checked_sub(self.first)?;
        self.texts.get(usize::try_from(place).ok()?)
    }
}

records! {
    HeaderRow {
        key: i64, namespace: String, count: i64, size_bytes: i64, created_ms: i64, used_ms: i64,
    }
    BlockRow { first: i64, bytes: Vec<u8> }
}

struct Packed {
    first: u32,
    count: u32,
    bytes: Vec<u8>,
}

/// An upload under way. Without [`ItemsWriter::finish`] its items never exist, and their blocks are
/// removed by [`Store::trim`] a day later.
pub struct ItemsWriter<'s> {
    store: &'s Store,
    key: ItemsKey,
    begun: Timestamp,
    has_begun: bool,
    block: ItemBlock,
    block_bytes: usize,
    packed: Vec<Packed>,
    packed_bytes: usize,
    count: u32,
    size_bytes: u64,
}

impl Store {
    /// Begins an upload under a key of the caller's drawing.
    pub fn write_items(&self, key: ItemsKey, now: Timestamp) -> ItemsWriter<'_> {
        ItemsWriter {
            store: self,
            key,
            begun: now,
            has_begun: false,
            block: ItemBlock::default(),
            block_bytes: 0,
            packed: Vec::new(),
            packed_bytes: 0,
            count: 0,
            size_bytes: 0,
        }
    }

    /// Those of the keys that exist. They count as used now: they are kept for a submit that names
    /// them next.
    pub async fn items(
        &self,
        keys: &[ItemsKey],
        now: Timestamp,
    ) -> Result<BTreeMap<ItemsKey, ItemsRecord>, StoreError> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted = numbers(keys.iter().map(|key| key.to_sql()));
        let sql = format!(
            "SELECT key, namespace, count, size_bytes, created_ms, used_ms FROM items \
             WHERE key IN {}",
            self.numbers_in("$1")
        );
        let values = [wanted];
        let rows: Vec<HeaderRow> = self.all(sqlx::AssertSqlSafe(sql), &values).await?;
        let step = now.plus_ms(-USED_STEP_MS).as_ms();
        let old = rows.iter().filter(|row| row.used_ms < step).map(|row| row.key);
        let old: Vec<i64> = old.collect();
        if !old.is_empty() {
            let sql = format!(
                "UPDATE items SET used_ms = $1 WHERE key IN {} AND used_ms < $1",
                self.numbers_in("$2")
            );
            let touched = [now.as_ms().into(), numbers(old.iter().copied())];
            let still = self.write_apart(sqlx::AssertSqlSafe(sql), &touched).await?;
            if usize::try_from(still).ok() != Some(old.len()) {
                // One was removed, or used by another, in between: what is there now counts.
                return Box::pin(self.items(keys, now)).await;
            }
        }
        rows.into_iter().map(HeaderRow::record).collect()
    }

    /// The block that holds an item; `None` when there is no such item.
    pub async fn item_block(
        &self,
        key: ItemsKey,
        index: u32,
    ) -> Result<Option<ItemBlock>, StoreError> {
        let sql = "SELECT first, bytes FROM item_blocks WHERE key = $1 AND first <= $2 \
             AND EXISTS (SELECT 1 FROM items WHERE items.key = $1) ORDER BY first DESC LIMIT 1";
        let row: Option<BlockRow> = self.first(sql, &[key.to_sql().into(), index.into()]).await?;
        let Some(row) = row else { return Ok(None) };
        let block = ItemBlock { first: narrow(row.first)?, texts: unpack(&row.bytes)? };
        Ok(block.get(index).is_some().then_some(block))
    }

    /// One item; `None` when there is no such one.
    pub async fn item(&self, key: ItemsKey, index: u32) -> Result<Option<Arc<str>>, StoreError> {
        let block = self.item_block(key, index).await?;
        Ok(block.and_then(|block| block.get(index).cloned()))
    }
}

impl ItemsWriter<'_> {
    /// Adds the next item.
    pub async fn push(&mut self, text: Arc<str>) -> Result<(), StoreError> {
        if self.block_bytes > 0 && self.block_bytes + text.len() > BLOCK_BYTES {
            self.close_block()?;
        }
        // An empty text takes room, too.
        self.block_bytes += text.len() + 1;
        self.size_bytes += text.len() as u64;
        self.block.texts.push(text);
        self.count = self.count.checked_add(1).ok_or_else(too_many)?;
        if self.packed_bytes >= WRITE_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// How many were added.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of their texts.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes them exist: when this returns they survive power loss.
    pub async fn finish(mut self, namespace: &Namespace) -> Result<ItemsRecord, StoreError> {
        self.close_block()?;
        self.write().await?;
        let record = ItemsRecord {
            namespace: namespace.clone(),
            count: self.count,
            size_bytes: self.size_bytes,
            created: self.begun,
        };
        let key = self.key.to_sql();
        let mut writing = self.store.writing().await?;
        let begun = writing.write("DELETE FROM item_uploads WHERE key = $1", &[key.into()]).await?;
        if begun == 0 && self.has_begun {
            let late = "the upload took longer than it was kept";
            return Err(StoreError::Refused(sqlx::Error::Protocol(late.into())));
        }
        let sql = "INSERT INTO items (key, namespace, count, size_bytes, created_ms, used_ms) \
             VALUES ($1, $2, $3, $4, $5, $5)";
        let values = [
            key.into(),
            namespace.as_str().into(),
            self.count.into(),
            Value::Int(self.size_bytes.clamped()),
            self.begun.as_ms().into(),
        ];
        writing.write(sql, &values).await?;
        writing.commit().await?;
        Ok(record)
    }

    /// Removes what was written. Not needed for being right, only for room.
    pub async fn abandon(self) -> Result<(), StoreError> {
        if !self.has_begun {
            return Ok(());
        }
        let key = [self.key.to_sql().into()];
        let mut writing = self.store.writing().await?;
        writing.write("DELETE FROM item_blocks WHERE key = $1", &key).await?;
        writing.write("DELETE FROM item_uploads WHERE key = $1", &key).await?;
        writing.commit().await
    }

    fn close_block(&mut self) -> Result<(), StoreError> {
        if self.block.texts.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        let bytes = pack(&block.texts)?;
        self.packed_bytes += bytes.len();
        let count = u32::try_from(block.texts.len()).map_err(StoreError::corrupt)?;
        self.packed.push(Packed { first: block.first, count, bytes });
        self.block.first = self.count;
        self.block_bytes = 0;
        Ok(())
    }

    /// One transaction. The first one notes the upload, so that what is left of it is found.
    async fn write(&mut self) -> Result<(), StoreError> {
        let packed = std::mem::take(&mut self.packed);
        self.packed_bytes = 0;
        if packed.is_empty() {
            return Ok(());
        }
        let key = self.key.to_sql();
        let mut writing = self.store.writing().await?;
        if !self.has_begun {
            let sql = "INSERT INTO item_uploads (key, begun_ms) VALUES ($1, $2)";
            writing.write(sql, &[key.into(), self.begun.as_ms().into()]).await?;
        }
        for Packed { first, count, bytes } in packed {
            let sql = "INSERT INTO item_blocks (key, first, count, bytes) VALUES ($1, $2, $3, $4)";
            let values = [key.into(), first.into(), count.into(), Value::Bytes(bytes)];
            writing.write(sql, &values).await?;
        }
        writing.commit().await?;
        self.has_begun = true;
        Ok(())
    }
}

fn too_many() -> StoreError {
    StoreError::corrupt("more items than an index can name")
}

impl HeaderRow {
    fn record(self) -> Result<(ItemsKey, ItemsRecord), StoreError> {
        let record = ItemsRecord {
            namespace: self.namespace.parse().map_err(StoreError::corrupt)?,
            count: narrow(self.count)?,
            size_bytes: self.size_bytes.clamped(),
            created: Timestamp::from_ms(self.created_ms),
        };
        Ok((ItemsKey::from_sql(self.key), record))
    }
}
