//! When most tasks run, if each begins as it arrives.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Resources;

use super::need_ms;
use crate::jobs::JobWork;

/// What runs at a moment if every task begins as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instant {
    /// From the begin of the run.
    pub at_ms: u64,
    /// By falling ask, how many tasks run.
    pub asks: Vec<(Resources, u32)>,
}

impl Instant {
    /// Tasks that run.
    pub fn tasks(&self) -> u64 {
        self.asks.iter().map(|(_, count)| u64::from(*count)).sum()
    }
}

/// Comings and goings in order: at one moment those who go first.
pub(super) fn turns(jobs: &[Arc<JobWork>]) -> Vec<(u64, bool, usize)> {
    let mut turns: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * jobs.len());
    for (at, job) in jobs.iter().enumerate() {
        let end_ms = job.arrival_ms.saturating_add(need_ms(job));
        if end_ms > job.arrival_ms && job.count > 0 {
            turns.push((job.arrival_ms, true, at));
            turns.push((end_ms, false, at));
        }
    }
    turns.sort_unstable();
    turns
}

/// The moments at which most tasks run, the busiest first, no two of them nearer than `apart_ms`: of
/// equally busy ones the earliest.
pub fn busiest(jobs: &[Arc<JobWork>], most: usize, apart_ms: u64) -> Vec<Instant> {
    let mut running = 0_u64;
    let mut loads: Vec<(std::cmp::Reverse<u64>, u64)> = Vec::new();
    let turns = turns(jobs);
    for (nth, (at_ms, comes, at)) in turns.iter().enumerate() {
        let count = u64::from(jobs.get(*at).map_or(0, |job| job.count));
        running = if *comes { running + count } else { running - count };
        let is_last = turns.get(nth + 1).is_none_or(|next| next.0 > *at_ms);
        if is_last && running > 0 {
            loads.push((std::cmp::Reverse(running), *at_ms));
        }
    }
    loads.sort_unstable();
    let mut chosen: Vec<u64> = Vec::new();
    for (_, at_ms) in loads {
        if chosen.len() == most {
            break;
        }
        if chosen.iter().all(|other| other.abs_diff(at_ms) >= apart_ms) {
            chosen.push(at_ms);
        }
    }
    chosen.into_iter().map(|at_ms| instant(jobs, at_ms)).collect()
}

pub(super) fn instant(jobs: &[Arc<JobWork>], at_ms: u64) -> Instant {
    let mut asks: BTreeMap<Resources, u32> = BTreeMap::new();
    for job in jobs {
        let runs = job.arrival_ms <= at_ms && at_ms < job.arrival_ms.saturating_add(need_ms(job));
        if runs {
            let count = asks.entry(job.ask).or_default();
            *count = count.saturating_add(job.count);
        }
    }
    Instant { at_ms, asks: asks.into_iter().rev().collect() }
}
