//! The worker's service. It joins a manager, takes attempts, runs as many at once as its regulator
//! admits, and reports what changed, in batches, until the leader has made it durable.
//!
//! One task owns all state ([`run`]); what waits (polls, uploads, the spawner's socket) runs beside
//! it and comes back as events. What it decides is in the pure crate `node`.

mod config;
mod files;
mod finish;
mod intake;
mod lifecycle;
mod notice_file;
mod process;
mod runtime;
mod service;
mod spawner;
mod spool_file;
mod sync;
mod table;
mod tail;

pub use config::{Config, DigesterError, Joiner};
pub use node::Regulator;
pub use service::run;
pub use spawner::{SpawnerArgs, spawner_main};
