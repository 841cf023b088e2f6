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

mod dice;
mod fault;
pub mod machine;
mod plan;
mod run;

pub use dice::Dice;
pub use fault::Fault;
pub use plan::{Breach, Outcome, Plan};
pub use run::run;
