//! The pick.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::score::Scorer;
use crate::{Candidate, Pick, Policy, Score, Want};

/// Places as many of `want.count` tasks as fit, each where the [`Score`] is the least at that
/// moment, and updates the candidates. One pick a node, in the order in which nodes were first
/// picked.
///
/// Linear in the candidates, logarithmic in them for each task: they are put into a heap once.
/// `best-fit` goes node by node: a task makes its node's score only better, so the best node stays
/// the best until it is full.
pub fn place(candidates: &mut [Candidate], want: &Want, policy: Policy) -> Vec<Pick> {
    if want.count == 0 {
        return Vec::new();
    }
    let scorer = Scorer::new(want, policy, candidates.len());
    let entries: Vec<Reverse<Entry>> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.room(want) > 0)
        .map(|(at, candidate)| Reverse(Entry { score: scorer.score(candidate), at, pick: None }))
        .collect();
    let mut heap = BinaryHeap::from(entries);
    let mut picks: Vec<Pick> = Vec::new();
    let mut left = want.count;
    while left > 0 {
        let Some(mut best) = heap.peek_mut() else { break };
        let Some(candidate) = candidates.get_mut(best.0.at) else { break };
        let room = candidate.room(want);
        let count = match policy {
            Policy::BestFit => room.min(left),
            Policy::RoundRobin | Policy::EPvm => 1,
        };
        candidate.take(want, count);
        left -= count;
        match best.0.pick.and_then(|at| picks.get_mut(at)) {
            Some(pick) => pick.count += count,
            None => {
                best.0.pick = Some(picks.len());
                picks.push(Pick { node: candidate.node, count });
            }
        }
        if candidate.room(want) > 0 {
            best.0.score = scorer.score(candidate);
        } else {
            PeekMut::pop(best);
        }
    }
    picks
}

/// A candidate in the heap.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    score: Score,
    at: usize,
    pick: Option<usize>,
}
