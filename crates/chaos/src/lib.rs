//! Broken on purpose: a whole cluster in one thread, whose network, disks, clocks, cloud and people
//! misbehave as a seed says, around the very code that runs in production: `control`, `planner`,
//! `scheduler`, `node` and `market`.
//!
//! A run has two phases. In the first, faults are on and the promises of DESIGN §4
//! ([`control::Invariant`]) are looked at after every event. In the second nothing fails any more:
//! everything must settle within a bound, no machine may be left, no intent open, and the money must
//! add up to the micro-dollar.
//!
//! The same [`Plan`] gives the same run, byte for byte.

mod bodies;
mod calls;
mod deadlines;
mod dice;
mod disk;
mod fault;
mod leader;
pub mod machine;
mod people;
mod plan;
mod post;
mod run;
mod sky;
mod strikes;
mod witness;

use model::{Clamp, Timestamp};

pub use dice::Dice;
pub use fault::Fault;
pub use plan::{Breach, Outcome, Plan};
pub use run::run;

/// A run begins here: ids contain time, and 1970 would make them small.
const START_MS: u64 = 1_790_000_000_000;

/// A moment of the run, at a clock without skew.
fn timestamp(at_ms: u64) -> Timestamp {
    Timestamp::from_ms(START_MS.saturating_add(at_ms).clamped())
}

fn millis(at: Timestamp) -> u64 {
    at.since(timestamp(0))
}
