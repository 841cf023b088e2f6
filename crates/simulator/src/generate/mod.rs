//! Markets and workloads from a seed.
//!
//! [`market()`] and [`jobs()`] take a small struct of parameters, each with a default that says
//! where it is from, and a seed. The same two give the same bytes on every machine: nothing is
//! computed in floating point, and each thing that is drawn has a stream of randomness of its own, so
//! that one more zone or job shifts no other. Parameters that make no sense come back as
//! [`Fault`]s, all at once, the pointer naming the field.

use model::Fault;

mod draw;
mod jobs;
mod market;
#[cfg(test)]
mod tests;

pub use jobs::{Arrivals, JobsParams, Lengths, Size, Slack, jobs};
pub use market::{MarketParams, TypeParams, market};

/// What is wrong with parameters.
#[derive(Debug, Default)]
struct Absurd(Vec<Fault>);

impl Absurd {
    /// Notes a field that is not within its bounds.
    fn unless(&mut self, holds: bool, field: &str, must: impl Into<String>) {
        if !holds {
            self.0.push(Fault { pointer: format!("/{field}"), detail: must.into() });
        }
    }

    fn within(&mut self, value: u64, (least, most): (u64, u64), field: &str) {
        let holds = (least..=most).contains(&value);
        self.unless(holds, field, format!("must be {least} to {most}, is {value}"));
    }

    fn or<T>(self, made: impl FnOnce() -> T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() { Ok(made()) } else { Err(self.0) }
    }
}
