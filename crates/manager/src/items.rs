//! The texts of tasks whose items were uploaded. World and the outbox know their keys alone: they
//! are read when a task is handed to its node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::sync::SyncAnswer;
use model::{AttemptId, ItemsKey};
use store::{ItemBlock, Store, StoreError};

/// Unpacked blocks that are kept: some 64 KiB each, and a task's neighbours are in the same.
const CACHE_BYTES: usize = 32 << 20;
/// Texts of one answer, but for the first: the rest follows in the next.
const ANSWER_BYTES: usize = 4 << 20;

/// Blocks that were used lately.
#[derive(Debug, Default)]
pub(crate) struct Items {
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// By key and first index.
    blocks: BTreeMap<(ItemsKey, u32), Cached>,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Cached {
    block: Arc<ItemBlock>,
    bytes: usize,
    used: u64,
}

impl Items {
    /// Puts the texts into an answer's assignments. Those for which it has no room are taken out,
    /// and given back: they are for the next answer.
    pub(crate) async fn fill(
        &self,
        store: &Store,
        answer: &mut SyncAnswer,
    ) -> Result<Vec<AttemptId>, StoreError> {
        let keys: BTreeMap<_, ItemsKey> = answer
            .groups
            .iter()
            .filter_map(|(group, work)| Some((*group, work.spec.items_key?)))
            .collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (mut filled, mut later, mut bytes) = (Vec::new(), Vec::new(), 0);
        for mut assignment in std::mem::take(&mut answer.assign) {
            let task = assignment.attempt.task;
            let Some(key) = keys.get(&task.group_id()) else {
                filled.push(assignment);
                continue;
            };
            if bytes >= ANSWER_BYTES {
                later.push(assignment.attempt);
                continue;
            }
            let Some(text) = self.text(store, *key, task.index).await? else {
                // Items that a job names are never deleted: somebody has been at the tables.
                tracing::error!(%task, %key, "its item is not stored; it is not handed out");
                continue;
            };
            bytes += text.len();
            assignment.item = Some(text);
            filled.push(assignment);
        }
        answer.assign = filled;
        Ok(later)
    }

    /// One text; `None` when it is not stored.
    async fn text(
        &self,
        store: &Store,
        key: ItemsKey,
        index: u32,
    ) -> Result<Option<Arc<str>>, StoreError> {
        if let Some(text) = self.cache().get(key, index) {
            return Ok(Some(text));
        }
        let Some(block) = store.item_block(key, index).await? else { return Ok(None) };
        let text = block.get(index).cloned();
        self.cache().add(key, block);
        Ok(text)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn get(&mut self, key: ItemsKey, index: u32) -> Option<Arc<str>> {
        self.clock += 1;
        let (_, cached) = self.blocks.range_mut((key, 0)..=(key, index)).next_back()?;
        let text = cached.block.get(index)?;
        cached.used = self.clock;
        Some(Arc::clone(text))
    }

    fn add(&mut self, key: ItemsKey, block: ItemBlock) {
        let of_one = size_of::<Arc<str>>() + 2 * size_of::<usize>();
        let bytes: usize = block.texts.iter().map(|text| text.len() + of_one).sum();
        let cached = Cached { bytes, used: self.clock, block: Arc::new(block) };
        let before = self.blocks.insert((key, cached.block.first), cached);
        self.bytes += bytes;
        self.bytes -= before.map_or(0, |before| before.bytes);
        while self.bytes > CACHE_BYTES && self.blocks.len() > 1 {
            let oldest = self.blocks.iter().min_by_key(|(_, cached)| cached.used);
            let Some(oldest) = oldest.map(|(place, _)| *place) else { break };
            let gone = self.blocks.remove(&oldest);
            self.bytes -= gone.map_or(0, |gone| gone.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: u32, texts: &[&str]) -> ItemBlock {
        ItemBlock { first, texts: texts.iter().map(|text| Arc::from(*text)).collect() }
    }

    fn get(cache: &mut Cache, key: ItemsKey, index: u32) -> Option<String> {
        cache.get(key, index).map(|text| text.to_string())
    }

    #[test]
    fn a_block_is_found_by_any_of_its_items() {
        let (one, two) = (ItemsKey::from_number(1), ItemsKey::from_number(2));
        let mut cache = Cache::default();
        cache.add(one, block(0, &["a", "b"]));
        cache.add(one, block(4, &["e"]));
        cache.add(two, block(0, &["A"]));
        assert_eq!(get(&mut cache, one, 1).as_deref(), Some("b"));
        assert_eq!(get(&mut cache, one, 2), None, "that block is not here");
        assert_eq!(get(&mut cache, one, 4).as_deref(), Some("e"));
        assert_eq!(get(&mut cache, one, 5), None);
        assert_eq!(get(&mut cache, two, 0).as_deref(), Some("A"));
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let key = ItemsKey::from_number(1);
        let large = "x".repeat(1 << 20);
        let mut cache = Cache::default();
        for first in 0..100 {
            cache.add(key, block(first, &[&large]));
            assert!(cache.bytes <= CACHE_BYTES);
            assert!(get(&mut cache, key, 0).is_some(), "used again and again");
        }
        assert_eq!(cache.bytes, cache.blocks.values().map(|cached| cached.bytes).sum::<usize>());
        assert_eq!(get(&mut cache, key, 50), None);
        assert!(get(&mut cache, key, 99).is_some());
    }
}
