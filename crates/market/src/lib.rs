//! The simulated cloud as a state machine over values: prices, refusals, interruptions and the
//! machines that it has sold.
//!
//! Pure: `now` is an argument, randomness comes from [`Weather::seed`], and the whole [`Market`]
//! is one serialisable value. Whoever drives it (the manager's adapter with real processes, or a
//! simulator) saves the value before it acts on an answer, so a cloud does not die with its
//! manager. What it knows of a machine is what a hypervisor sees: that it runs, and whether it is
//! busy.

mod catalogue;
mod events;
mod identity;
mod queue;
pub mod random;
pub mod recorded;
mod state;
#[cfg(test)]
mod tests;
mod weather;

pub use catalogue::{Bucket, DISK_MIB, InstanceType, TYPES, ZONES};
pub use events::{Action, Busyness};
pub use identity::{IdentityDocument, Key, NotOurs};
pub use queue::Received;
pub use state::{FORMAT, Given, Instance, Market, Mismatch, Setup, Stop};
pub use weather::{Drill, Weather};
