//! What a run is made of, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use control::Invariant;

use crate::Fault;

/// All that a run follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Of all randomness.
    pub seed: u64,
    /// What may go wrong.
    pub faults: BTreeSet<Fault>,
    /// From this moment of the run on nothing goes wrong.
    pub until_ms: u64,
    /// Whether to keep a log of all that happens.
    pub log: bool,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The first promise that was broken.
    pub breach: Option<Breach>,
    /// Which faults struck what, and how often.
    pub fired: BTreeMap<(Fault, &'static str), u64>,
    /// Simulated time.
    pub simulated_ms: u64,
    /// Events of the heap.
    pub events: u64,
    /// Tasks that were accepted.
    pub tasks: u64,
    /// Machines that were launched.
    pub machines: u64,
    /// What happened, when the plan asked for it.
    pub log: Vec<String>,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub invariant: Invariant,
    /// When, from the begin of the run.
    pub at_ms: u64,
    /// What was seen.
    pub words: String,
}

impl Plan {
    /// A seed's own plan: a subset of all faults, as the seed says, so that some runs have few and
    /// these often ("swarm testing", Groce et al. 2012).
    pub fn of_seed(seed: u64) -> Self {
        let faults = crate::dice::swarm(seed);
        Self { seed, faults, until_ms: u64::MAX, log: false }
    }
}
