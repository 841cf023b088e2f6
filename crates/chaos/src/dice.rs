//! All randomness of a run.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::{Fault, Plan};

/// One stream for each kind of fault, and one for what is no fault. Counts what fired.
#[derive(Debug)]
pub struct Dice {
    plain: ChaCha8Rng,
    streams: BTreeMap<Fault, Stream>,
    enabled: BTreeSet<Fault>,
    until_ms: u64,
    /// Set when the cluster is to heal.
    healing: bool,
    fired: BTreeMap<(Fault, &'static str), u64>,
    /// Faults that last, and until when.
    lasting: BTreeMap<Fault, u64>,
    trouble_ms: u64,
}

#[derive(Debug)]
struct Stream {
    rng: ChaCha8Rng,
    /// How often it happens where it can, of a million.
    ppm: u32,
}

/// What a fault costs beyond what it draws: a call is given up and made again.
const EACH_MS: u64 = 60_000;

/// From which each seed draws how often a fault happens where it can, of a million.
const CHANCES_PPM: [u32; 4] = [2_000, 10_000, 40_000, 150_000];

impl Dice {
    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        let stream = |fault: Fault| {
            let mut rng = child(plan.seed, 1 + fault as u8);
            let ppm = CHANCES_PPM[rng.random_range(0..CHANCES_PPM.len())];
            (fault, Stream { rng, ppm })
        };
        Self {
            plain: child(plan.seed, 0),
            streams: Fault::ALL.into_iter().map(stream).collect(),
            enabled: plan.faults.clone(),
            until_ms: plan.until_ms,
            healing: false,
            fired: BTreeMap::new(),
            lasting: BTreeMap::new(),
            trouble_ms: 0,
        }
    }

    /// Whether a fault happens here and now, to something in this state.
    pub fn happens(&mut self, fault: Fault, state: &'static str, now_ms: u64) -> bool {
        let Some(stream) = self.streams.get_mut(&fault) else { return false };
        let drawn = stream.rng.random_range(0..1_000_000) < stream.ppm;
        let happens = drawn && self.is_on(fault, now_ms);
        if happens {
            self.fire(fault, state);
        }
        happens
    }

    /// Whether a fault may happen.
    pub fn is_on(&self, fault: Fault, now_ms: u64) -> bool {
        !self.healing && now_ms < self.until_ms && self.enabled.contains(&fault)
    }

    /// A fault that was decided elsewhere has struck something in this state.
    pub fn fire(&mut self, fault: Fault, state: &'static str) {
        *self.fired.entry((fault, state)).or_default() += 1;
        self.trouble_ms = self.trouble_ms.saturating_add(EACH_MS);
    }

    /// How much of it.
    pub fn how_much(&mut self, fault: Fault, least: u64, most: u64) -> u64 {
        let stream = self.streams.get_mut(&fault);
        let drawn = stream.map_or(least, |stream| stream.rng.random_range(least..=most));
        self.trouble_ms = self.trouble_ms.saturating_add(drawn);
        drawn
    }

    /// How long all that went wrong has lasted, one after another: an upper bound.
    pub(crate) fn trouble_ms(&self) -> u64 {
        self.trouble_ms
    }

    /// A fault that has begun lasts, everywhere.
    pub(crate) fn lasts_until(&mut self, fault: Fault, until_ms: u64) {
        let known = self.lasting.entry(fault).or_default();
        *known = until_ms.max(*known);
    }

    /// For how long yet a fault lasts, for something in this state.
    pub(crate) fn lasts_ms(&mut self, fault: Fault, state: &'static str, now_ms: u64) -> u64 {
        let until_ms = self.lasting.get(&fault).copied().unwrap_or(0);
        let left_ms = until_ms.saturating_sub(now_ms);
        if left_ms == 0 || !self.is_on(fault, now_ms) {
            return 0;
        }
        self.fire(fault, state);
        left_ms
    }

    /// What is no fault.
    pub fn plain(&mut self) -> &mut ChaCha8Rng {
        &mut self.plain
    }

    /// From now on nothing fails.
    pub fn heal(&mut self) {
        self.healing = true;
    }

    /// Which faults struck what, and how often.
    pub fn fired(&self) -> &BTreeMap<(Fault, &'static str), u64> {
        &self.fired
    }
}

fn child(seed: u64, kind: u8) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8] = kind;
    bytes[9..14].copy_from_slice(b"chaos");
    ChaCha8Rng::from_seed(bytes)
}

/// The faults of a seed: each with a chance that the seed draws, too.
pub(crate) fn swarm(seed: u64) -> BTreeSet<Fault> {
    let mut rng = child(seed, u8::MAX);
    let percent = [15, 40, 70, 100][rng.random_range(0..4)];
    Fault::ALL.into_iter().filter(|_| rng.random_range(0..100) < percent).collect()
}
