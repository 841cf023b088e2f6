//! A manager in this process over a database of its own, spoken to by HTTP as users and digesters
//! do. Tests that need a Postgres have `postgres` in their name.

mod closed;
mod cloud;
mod dependencies;
mod events;
mod export;
mod idempotency;
mod input;
mod items;
mod leadership;
mod liar;
mod limits;
mod lists;
mod logs;
mod metrics;
mod openapi;
mod patch;
mod plan;
mod retention;
mod retry;
mod scene;
mod shutdown;
mod slow;
mod tokens;
mod work;
