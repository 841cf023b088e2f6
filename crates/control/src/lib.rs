//! The leader's reactor: one [`step`] over [`World`](model::World).
//!
//! Inputs are all that happened since the last step; the decision is a list of changes, applied
//! to World as they are made, so that each part of the step sees what the parts before it did. No
//! clock, no I/O, no ambient randomness: the same World, inputs and `now` give the same decision.
//!
//! Order within a step: inputs in the order of their arrival, then machines for what leaves by them,
//! then timers, then jobs that are settled by all this, then placement, then prefetch.

mod after;
mod capacity;
mod clock;
mod config;
mod deadline;
mod decision;
mod explain;
mod input;
mod invariant;
mod jobs;
mod ledger;
mod nodes;
mod notices;
mod place;
mod problem;
mod retry;
#[cfg(feature = "scenario")]
pub mod scenario;
mod step;
mod sync;
mod timers;

pub use clock::StepClock;
pub use config::Config;
pub use deadline::{asks_at_submission, group_needs};
pub use decision::{Commands, Decision, Note, NoteKind, Reply};
pub use explain::{
    Explanation, Scope, Withheld, cause_words, explain_job, explain_node, explain_task, withheld,
};
pub use input::{BacklogJob, Input, Joiner, RetriedJob};
pub use invariant::{Invariant, Violation};
pub use problem::problem;
pub use step::step;
