//! The control plane as a process: REST, the lease, the shell around `control::step`, the
//! executors of what it decides, and the market's adapter.
//!
//! What is absent: decisions (they are `control`'s), SQL (it is `store`'s), and any answer or
//! command that leaves before the step behind it is durable.

mod announce;
mod clock;
mod config;
mod executors;
mod feed;
mod items;
mod leader;
pub mod market;
mod metrics;
mod nodes;
mod rest;
mod retention;
mod run;
mod secret;
mod serve;
mod slow;
mod tokens;
mod upkeep;

pub use config::{CloudChoice, Config, Limits, Listen, Retention, Timing};
pub use rest::openapi;
pub use run::{Manager, StartError, run};
