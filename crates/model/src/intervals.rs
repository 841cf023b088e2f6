//! Sets of task indices as intervals: what a million-task group is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of `u32` kept as disjoint half-open intervals that do not touch.
///
/// Memory goes with the number of intervals, never with the number of members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntervalSet {
    /// start -> end (exclusive)
    spans: BTreeMap<u32, u32>,
    len: u32,
}

impl IntervalSet {
    /// `from..to`.
    pub fn span(from: u32, to: u32) -> Self {
        let mut set = Self::default();
        set.insert(from, to);
        set
    }

    /// How many members.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The least member.
    pub fn first(&self) -> Option<u32> {
        self.spans.first_key_value().map(|(start, _)| *start)
    }

    /// Whether `index` is a member.
    pub fn contains(&self, index: u32) -> bool {
        self.end_of(index).is_some()
    }

    /// Where the interval ends that `index` is in.
    pub fn end_of(&self, index: u32) -> Option<u32> {
        let (_, end) = self.spans.range(..=index).next_back()?;
        (index < *end).then_some(*end)
    }

    /// The least member of `from..to`.
    pub fn first_in(&self, from: u32, to: u32) -> Option<u32> {
        if from >= to {
            return None;
        }
        let within = || self.spans.range(from..to).next().map(|(start, _)| *start);
        if self.contains(from) { Some(from) } else { within() }
    }

    /// The intervals `(from, to)`, ascending.
    pub fn spans(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.spans.iter().map(|(start, end)| (*start, *end))
    }

    /// Adds `from..to`.
    pub fn insert(&mut self, from: u32, to: u32) {
        if from >= to {
            return;
        }
        let (mut start, mut end) = (from, to);
        if let Some((&left, &left_end)) = self.spans.range(..=from).next_back()
            && left_end >= from
        {
            start = left;
            end = end.max(left_end);
        }
        while let Some((&next, &next_end)) = self.spans.range(start..=end).next() {
            self.spans.remove(&next);
            self.len -= next_end - next;
            end = end.max(next_end);
        }
        self.spans.insert(start, end);
        self.len += end - start;
    }

    /// Takes `from..to` out; what was not in it stays out.
    pub fn remove(&mut self, from: u32, to: u32) {
        if from >= to {
            return;
        }
        if let Some((&left, &left_end)) = self.spans.range(..from).next_back()
            && left_end > from
        {
            self.spans.insert(left, from);
            self.len -= left_end - from;
            if left_end > to {
                self.spans.insert(to, left_end);
                self.len += left_end - to;
            }
        }
        while let Some((&next, &next_end)) = self.spans.range(from..to).next() {
            self.spans.remove(&next);
            self.len -= next_end - next;
            if next_end > to {
                self.spans.insert(to, next_end);
                self.len += next_end - to;
            }
        }
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.spans.iter().flat_map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(steps in prop::collection::vec((any::<bool>(), 0u32..60, 0u32..20), 0..60)) {
            let mut set = IntervalSet::default();
            let mut model = BTreeSet::new();
            for (insert, from, length) in steps {
                let to = from + length;
                if insert {
                    set.insert(from, to);
                    model.extend(from..to);
                } else {
                    set.remove(from, to);
                    model.retain(|index| !(from..to).contains(index));
                }
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(usize::try_from(set.len()).unwrap(), model.len());
                prop_assert_eq!(set.first(), model.first().copied());
                let end = (from..90).find(|index| !model.contains(index)).filter(|end| *end > from);
                prop_assert_eq!(set.end_of(from), end);
                prop_assert_eq!(set.first_in(from, to), model.range(from..to).next().copied());
                let spans: Vec<_> = set.spans().collect();
                prop_assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "spans touch: {:?}", spans);
                prop_assert!((0..90).all(|index| set.contains(index) == model.contains(&index)));
            }
        }
    }
}
