//! What whole-system tests and measurements share: the real `ebb`, started in a folder of its own
//! and looked at from outside, by REST and by `/proc`. Nothing here knows the inside of a crate.
//!
//! A panic is how a test fails, so this crate panics where others return errors.

mod dice;
mod ebb;
mod poll;
pub mod processes;
mod proxy;
mod rest;
mod scratch;

pub use dice::Dice;
pub use ebb::{Finished, Running, Server, Worker};
pub use poll::{LIMIT, until, until_within};
pub use proxy::{Mistreated, Proxy};
pub use rest::Rest;
pub use scratch::{Database, Scratch, free_address};
