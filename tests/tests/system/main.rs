//! The whole system, through the real binary. Each test has folders and a database of its own;
//! tests that need Postgres have `postgres` in their names.

mod chaos;
mod commands;
mod conformance;
mod crowd;
mod demo;
mod leadership;
mod million;
mod node_death;
mod past;
mod restart;
mod work;
