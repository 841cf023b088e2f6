//! A cluster's own past as a market and a workload: what an export holds.
//!
//! A manager knows what it bought and lost, not what it could have had. What is not known is taken for
//! something that is told in [`Replay::assumed`].

mod market;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use market::Market;
use model::{Clamp, Node, Offer, Resources, Timestamp, format_duration};

use ::market::recorded::Recording;

use crate::jobs::JobWork;
use crate::work::{Checkpoint, Work};

pub use self::market::DEPTH;

/// What a cluster has seen.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// What the cloud sells now.
    pub offers: Vec<Offer>,
    /// Machines that were there, with those that are gone.
    pub nodes: Vec<Node>,
    /// What was done.
    pub work: Vec<PastWork>,
}

/// The tasks of a group that are settled.
#[derive(Debug, Clone)]
pub struct PastWork {
    /// Unique.
    pub id: Arc<str>,
    /// When it could begin.
    pub arrived: Timestamp,
    /// When it should be done.
    pub deadline: Option<Timestamp>,
    /// What each task needed.
    pub ask: Resources,
    /// How long each ran, ascending.
    pub run_ms: Vec<u64>,
}

/// The past as a market and a workload that begin with it.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The market.
    pub recording: Recording,
    /// The workload.
    pub jobs: Vec<Arc<JobWork>>,
    /// What is not known, and what was taken for it.
    pub assumed: Vec<String>,
}

/// Jobs that a group becomes at most: its tasks by how long they ran.
const PARTS: usize = 8;
/// Tasks that ran as long but for a tenth are equals.
const EQUAL_PERCENT: u64 = 110;

/// Makes them.
pub fn replay(past: &Past) -> Replay {
    let mut assumed = Vec::new();
    let Market { recording, words } = Market::of(past);
    assumed.extend(words);
    assumed.push(
        "a task's work is the run of the attempt that settled it; what it had done before on machines \
         that were lost is not known to have lasted, so nothing of it outlives a machine"
            .to_owned(),
    );
    assumed.push(format!(
        "tasks of a group that ran for different times are in up to {PARTS} jobs, each of the mean"
    ));
    assumed.push("what came after other work arrives when that had ended".to_owned());
    Replay {
        recording,
        jobs: past.work.iter().flat_map(|work| jobs(past, work)).collect(),
        assumed,
    }
}

fn jobs(past: &Past, work: &PastWork) -> Vec<Arc<JobWork>> {
    let (Some(least), Some(most)) = (work.run_ms.first(), work.run_ms.last()) else {
        return Vec::new();
    };
    let alike = most.saturating_mul(100) <= least.saturating_mul(EQUAL_PERCENT);
    let parts = if alike { 1 } else { PARTS.min(work.run_ms.len()) };
    let each = work.run_ms.len().div_ceil(parts);
    let job = |(ordinal, part): (usize, &[u64])| {
        let sum: u128 = part.iter().map(|ms| u128::from(*ms)).sum();
        let tasks: u64 = part.len().clamped();
        let mean: u64 = sum.div_ceil(u128::from(tasks.max(1))).clamped();
        let id = match parts {
            1 => work.id.clone(),
            _ => format!("{}-{}", work.id, ordinal + 1).into(),
        };
        Arc::new(JobWork {
            id,
            arrival_ms: work.arrived.since(past.from),
            deadline_ms: work.deadline.map(|at| at.since(work.arrived).max(1)),
            count: tasks.clamped(),
            ask: Resources { cpu_millis: work.ask.cpu_millis.max(1), disk_mib: 0, ..work.ask },
            work: Work { work_ms: mean.max(1), changeover_ms: 0, checkpoint: Checkpoint::None },
            checkpoint_milligib: 0,
        })
    };
    work.run_ms.chunks(each.max(1)).enumerate().map(job).collect()
}

/// A length of time for people.
fn span(ms: u64) -> String {
    format_duration(ms / 1_000 * 1_000)
}

pub use self::market::was_taken;
