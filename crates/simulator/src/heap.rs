//! What is to happen, in order: by time, then by kind, then by the order of entry.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Something that happens at a time.
pub trait Ranked {
    /// Of what falls on one moment, lower ranks come first.
    fn rank(&self) -> u8;
}

#[derive(Debug)]
struct Entry<E> {
    key: (u64, u8, u64),
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// The heap of a run.
#[derive(Debug)]
pub struct Heap<E> {
    entries: BinaryHeap<Reverse<Entry<E>>>,
    entered: u64,
}

impl<E> Default for Heap<E> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), entered: 0 }
    }
}

impl<E: Ranked> Heap<E> {
    /// Enters an event.
    pub fn push(&mut self, at_ms: u64, event: E) {
        let key = (at_ms, event.rank(), self.entered);
        self.entered += 1;
        self.entries.push(Reverse(Entry { key, event }));
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        self.entries.pop().map(|Reverse(entry)| (entry.key.0, entry.event))
    }
}
