//! Where baselines are run: a market, a workload, and a desk at which a policy buys and assigns.

mod desk;
mod probe;
#[cfg(test)]
mod property;
mod run;
#[cfg(test)]
mod tests;

pub use desk::{Attempt, Desk, Held, News, TaskState};
pub use run::run;
