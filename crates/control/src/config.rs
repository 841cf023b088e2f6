//! The reactor's constants, each with its reason.

use model::MicroUsd;
use planner::Limits;
use scheduler::Policy;

/// What the step may be told otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// How a node is picked.
    pub policy: Policy,
    /// The longest that an attempt on a suspect node is waited for (DESIGN §5): above it, work
    /// that another node could do stands still for a network's sake.
    pub reconnect_grace_ms: u64,
    /// Without any sign for so long a node is suspect even if no connection was seen to close: one
    /// idle poll (15 s) and as much again for a slow network.
    pub node_lease_ms: u64,
    /// A suspect node of ours is ended, a static one forgotten, after this: a reboot fits in it.
    pub lost_after_ms: u64,
    /// From birth to join. Karpenter waits 15 minutes; EC2 with an own image boots within two.
    pub boot_timeout_ms: u64,
    /// Prefetch so much work: several commits' time, so that a slot never waits for one.
    pub hold_horizon_us: u64,
    /// And at most so many attempts a slot.
    pub hold_per_slot: u32,
    /// A held attempt that waited so long goes back when another node has room.
    pub held_patience_ms: u64,
    /// Jobs in World that may run, and as many that wait for others; the rest waits in its table.
    pub max_jobs: usize,
    /// Placements of one step: a bound on its time. What is left is placed in the next one.
    pub max_placements: u32,
    /// First back-off of a pool that refused; doubles up to [`Config::MAX_HIDE_MS`].
    pub hide_pool_ms: u64,
    /// A machine with our tag and no intent is ended when it is older than this.
    pub orphan_grace_ms: u64,
    /// From the order of a machine until a task runs there, as a deadline reckons with it: EC2 with
    /// an own image boots within two minutes.
    pub start_reserve_ms: u64,
    /// What may be bought.
    pub limits: Limits,
}

impl Config {
    /// ParallelCluster hides a refused pool for 10 minutes; markets turn within hours.
    pub const MAX_HIDE_MS: u64 = 1_800_000;
    /// A notice for an unknown instance is kept until its deadline and this (DESIGN §4.7).
    pub const KEEP_NOTICE_MS: u64 = 900_000;
    /// A listing older than this makes the observed state stale: no voluntary retirement.
    pub const STALE_LISTING_MS: u64 = 120_000;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::BestFit,
            reconnect_grace_ms: 10_000,
            node_lease_ms: 30_000,
            lost_after_ms: 300_000,
            boot_timeout_ms: 600_000,
            hold_horizon_us: 100_000,
            hold_per_slot: 128,
            held_patience_ms: 1_000,
            max_jobs: 10_000,
            max_placements: 10_000,
            hide_pool_ms: 30_000,
            orphan_grace_ms: 60_000,
            start_reserve_ms: 120_000,
            limits: Limits {
                max_nodes: 100,
                max_cpu_millis: 1_000_000,
                max_usd_per_hour: MicroUsd(100_000_000),
                idle_retire_ms: 60_000,
                min_nodes: 0,
            },
        }
    }
}
