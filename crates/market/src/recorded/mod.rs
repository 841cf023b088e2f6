//! A market whose prices and capacities are recorded: nothing in it is drawn, and a machine's bill is
//! exact.
//!
//! [`Recording`] is what was recorded; [`Recorded`] is one run over it, with the machines that were
//! bought in this run. Time is milliseconds from the recording's begin.

mod bill;
mod recording;
mod run;
#[cfg(test)]
mod tests;

pub use bill::{Bill, Exact};
pub use recording::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording, region};
pub use run::{Bought, Ended, Ending, Event, MachineNo, Recorded};
