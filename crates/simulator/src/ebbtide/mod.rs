//! Ebbtide itself on an event heap: `control::step`, the planner, the node's decisions, as the manager
//! and the digester call them, over one recorded market.
//!
//! Nothing of it is imitated but what is outside of these: the network, the database's time, the
//! cloud's answers ([`latency`]) and how far each task is ([`tasks`]). In a run by events each of them
//! takes a time that is drawn from the seed. By ticks nothing takes any time, and machines are bought
//! and ended at the starts of ticks only: what a call that is made there leads to happens in the same
//! instant.
//!
//! The configuration is the manager's default, but for what this market makes meaningless: limits are
//! so wide that they do not bind, and a digester is silent without being suspected, for a connection
//! that is lost is always seen here.

mod audit;
mod cloud;
mod heap;
mod latency;
mod leader;
mod nodes;
mod planning;
mod run;
mod tasks;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use control::Config;
use market::recorded::{DecideAt, Recording};
use model::{
    Clamp, ClusterId, Durable, FORMAT, Head, MicroUsd, PurchaseOption, Resources, Timestamp, World,
};
use planner::Limits;

pub use self::audit::Audit;
use self::run::Run;
use crate::jobs::JobWork;
use crate::result::Outcome;

/// Machines that are there at the begin of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Each joined and idle. A spot machine that the market does not hold at its begin is left out.
    pub nodes: Vec<StartNode>,
    /// How much may be had, where that is to bind.
    pub limits: Option<Limits>,
}

/// A machine that is there at the begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartNode {
    /// What tasks can use of it.
    pub capacity: Resources,
    /// Which of the recording's pools it is of, paid for from the begin on; none for one of
    /// somebody's own, which costs nothing and never goes.
    pub bought: Option<(usize, PurchaseOption)>,
}

/// Runs the production code over a market and a workload.
pub fn run(recording: &Arc<Recording>, jobs: &[Arc<JobWork>], seed: u64) -> Outcome {
    run_from(recording, jobs, &Start::default(), seed)
}

/// The same with machines that are there already.
pub fn run_from(
    recording: &Arc<Recording>,
    jobs: &[Arc<JobWork>],
    start: &Start,
    seed: u64,
) -> Outcome {
    audited(recording, jobs, start, seed).0
}

/// The same, with what control did.
pub fn audited(
    recording: &Arc<Recording>,
    jobs: &[Arc<JobWork>],
    start: &Start,
    seed: u64,
) -> (Outcome, Audit) {
    Run::new(recording, jobs, start, seed, Audit::default()).finish()
}

/// The same, with each step's changes in words.
pub fn logged(recording: &Arc<Recording>, jobs: &[Arc<JobWork>], seed: u64) -> (Outcome, Audit) {
    Run::new(recording, jobs, &Start::default(), seed, Audit::with_log()).finish()
}

/// A run begins here: ids contain time, and 1970 would make them small.
const START_MS: u64 = 1_790_000_000_000;
/// Later than anything happens: ten years.
const HORIZON_MS: u64 = 315_360_000_000;

fn timestamp(at_ms: u64) -> Timestamp {
    Timestamp::from_ms(START_MS.saturating_add(at_ms).clamped())
}

fn millis(at: Timestamp) -> u64 {
    at.since(timestamp(0))
}

fn first_world(seed: u64) -> World {
    let cluster = ClusterId::from_number(seed);
    let head = Head { term: 1, seq: 0, now: timestamp(0), format: FORMAT, cluster, seed };
    let mut world = World::new(Durable::new(head));
    world.observed.leader_since = timestamp(0);
    world
}

/// As an operator would set it who knows this market.
fn config(recording: &Recording, jobs: &[Arc<JobWork>]) -> Config {
    let standard = Config::default();
    let changeover_ms = jobs.iter().map(|job| job.work.changeover_ms).max().unwrap_or(0);
    // A machine that is wanted is had after a call and a boot; by ticks, at the start of the next.
    let had_ms = match recording.decide_at {
        DecideAt::Event => LAUNCH_MS,
        DecideAt::Tick => recording.gap_ms,
    };
    let limits = Limits {
        max_nodes: 1_000_000,
        max_cpu_millis: u64::MAX / 1_000,
        max_usd_per_hour: MicroUsd(i64::MAX / 1_000),
        ..standard.limits
    };
    Config {
        node_lease_ms: HORIZON_MS,
        // A slow boot is not a failed one.
        boot_timeout_ms: standard.boot_timeout_ms.max(recording.boot_ms.saturating_mul(2)),
        start_reserve_ms: had_ms.saturating_add(recording.boot_ms).saturating_add(changeover_ms),
        limits,
        ..standard
    }
}

/// From the wish to the machine, without its boot: plan, commits, call, a refused call and another.
const LAUNCH_MS: u64 = 5_000;
