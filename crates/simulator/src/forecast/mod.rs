//! What would come of it if a job were submitted now: price and time, by runs of the present cluster
//! into markets that are drawn from what buyers believe.
//!
//! Each run is [`ebbtide::run_from`]: the machines that there are, the work that is not done, and the
//! job behind it. Prices stay as they are; each spot pool loses all its machines at times drawn from
//! its hazard ([`market`]).

mod market;
mod summary;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::{MicroUsd, Offer, Pool, PurchaseOption, Resources};
use planner::Limits;

use crate::ebbtide::{self, Start, StartNode};
use crate::jobs::JobWork;
use crate::work::{Checkpoint, Work};

pub use self::market::{OUTAGE_MS, POOLS};
pub use self::summary::{Forecast, Spread};

/// The cluster as it stands.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// What the cloud sells.
    pub offers: Vec<Offer>,
    /// Of these, what is not asked for now: a spot pool of them has no machines in any run.
    pub withheld: Vec<Pool>,
    /// Machines that take work or will soon.
    pub nodes: Vec<PresentNode>,
    /// From a launch until a machine takes work.
    pub boot_ms: u64,
    /// How much may be bought; `None` = without end.
    pub limits: Option<Limits>,
}

/// A machine that is there.
#[derive(Debug, Clone)]
pub struct PresentNode {
    /// What tasks can use of it.
    pub capacity: Resources,
    /// What was bought; none for somebody's own.
    pub offer: Option<Offer>,
}

/// Equal tasks that are to be done.
#[derive(Debug, Clone)]
pub struct Item {
    /// Unique among the items.
    pub id: Arc<str>,
    /// What each task needs.
    pub ask: Resources,
    /// Tasks.
    pub count: u32,
    /// What each runs.
    pub run_ms: u64,
    /// Items that must be done first, by place.
    pub after: Vec<usize>,
    /// When it has to be done so that its job is in time, from now.
    pub due_ms: Option<u64>,
    /// Whether it is of the job that is asked about.
    pub is_asked: bool,
}

/// What is to be looked into.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where it begins.
    pub present: Present,
    /// What is to be done, in the order in which it is served.
    pub items: Vec<Item>,
    /// When the job should be done, from now.
    pub deadline_ms: Option<u64>,
    /// Whether no spot machine may be bought.
    pub on_demand_only: bool,
    /// Runs.
    pub seeds: u32,
}

/// Levels of items that come after each other; what is deeper begins with the last.
pub const LEVELS: usize = 16;

/// Runs the seeds one after another for as long as `goes_on`, and at least one.
pub fn forecast(question: &Question, mut goes_on: impl FnMut() -> bool) -> Forecast {
    let levels = levels(&question.items);
    let mut runs = Vec::new();
    for seed in 0..question.seeds.max(1) {
        if !runs.is_empty() && !goes_on() {
            break;
        }
        runs.push(run(question, &levels, u64::from(seed)));
    }
    Forecast::of(question, runs)
}

/// One run, in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Came {
    /// The job's share of its machines, and of what was idle.
    pub(crate) cost: MicroUsd,
    /// When it was done, if it ever was.
    pub(crate) took_ms: Option<u64>,
    /// Machine time by how it was paid for, of the whole run.
    pub(crate) spot_ms: u64,
    pub(crate) on_demand_ms: u64,
    pub(crate) interruptions: u64,
}

/// The level of each item: 0 comes after nothing.
fn levels(items: &[Item]) -> Vec<usize> {
    let mut levels = vec![0; items.len()];
    // Items come in any order; each round settles one level more.
    for _ in 0..LEVELS {
        let mut changed = false;
        for (at, item) in items.iter().enumerate() {
            let before = item.after.iter().filter_map(|other| levels.get(*other)).max();
            let level = before.map_or(0, |level| level + 1).min(LEVELS - 1);
            if levels[at] < level {
                levels[at] = level;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    levels
}

/// What comes after others arrives when a run without it has shown when they are done: so there is a
/// run for each level, and the last one has all.
fn run(question: &Question, levels: &[usize], seed: u64) -> Came {
    let mut done_ms: Vec<Option<u64>> = vec![None; question.items.len()];
    let deepest = levels.iter().copied().max().unwrap_or(0);
    let (recording, pools) = market::recording(question, seed);
    let recording = Arc::new(recording);
    let nodes = question.present.nodes.iter().map(|node| start(node, &pools)).collect();
    let start = Start { nodes, limits: question.present.limits };
    let mut came = None;
    for level in 0..=deepest {
        let due: Vec<(usize, u64)> = (0..question.items.len())
            .filter(|at| levels[*at] <= level)
            .filter_map(|at| Some((at, arrival(&question.items[at], at, &done_ms)?)))
            .collect();
        let jobs: Vec<Arc<JobWork>> = due
            .iter()
            .map(|(at, arrival_ms)| Arc::new(job(&question.items[*at], *arrival_ms)))
            .collect();
        let outcome = ebbtide::run_from(&recording, &jobs, &start, seed);
        for ((at, _), result) in due.iter().zip(&outcome.result.jobs) {
            done_ms[*at] = result.finished_s.map(|done| done.ms);
        }
        let places: Vec<usize> = due.into_iter().map(|(at, _)| at).collect();
        came = Some(summary::came(question, &places, &done_ms, &outcome));
    }
    came.unwrap_or(Came {
        cost: MicroUsd(0),
        took_ms: Some(0),
        spot_ms: 0,
        on_demand_ms: 0,
        interruptions: 0,
    })
}

/// When an item arrives; never, when what it comes after is never done.
fn arrival(item: &Item, at: usize, done_ms: &[Option<u64>]) -> Option<u64> {
    let others = item.after.iter().filter(|other| **other != at);
    others
        .map(|other| done_ms.get(*other).copied().flatten())
        .try_fold(0, |latest, done_ms| Some(done_ms?.max(latest)))
}

fn job(item: &Item, arrival_ms: u64) -> JobWork {
    JobWork {
        id: item.id.clone(),
        arrival_ms,
        deadline_ms: item.due_ms.map(|due_ms| due_ms.saturating_sub(arrival_ms).max(1)),
        count: item.count,
        ask: item.ask,
        work: Work { work_ms: item.run_ms.max(1), changeover_ms: 0, checkpoint: Checkpoint::None },
        checkpoint_milligib: 0,
    }
}

fn start(node: &PresentNode, pools: &[market::Name]) -> StartNode {
    let of = |offer: &Offer| {
        let pool = &offer.pool;
        let same = |(zone, kind): &market::Name| *zone == pool.zone && *kind == pool.instance_type;
        Some((pools.iter().position(same)?, pool.option))
    };
    StartNode { capacity: node.capacity, bought: node.offer.as_ref().and_then(of) }
}

/// Whether a spot machine of this pool may be had at all.
fn has_spot(question: &Question, zone: &str, instance_type: &str) -> bool {
    let withheld = question.present.withheld.iter().any(|pool| {
        pool.option == PurchaseOption::Spot
            && *pool.zone == *zone
            && *pool.instance_type == *instance_type
    });
    !withheld && !question.on_demand_only
}
