//! The demo.
mod corpus;
mod job;
mod report;
mod sums;
