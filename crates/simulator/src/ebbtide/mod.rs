//! Ebbtide itself on the event heap: `control::step`, the planner, the node's decisions.

use std::sync::Arc;

use market::recorded::{Recorded, Recording};

use crate::books::Books;
use crate::jobs::JobWork;
use crate::result::Outcome;

/// Runs the production code over a market and a workload.
pub fn run(recording: &Arc<Recording>, jobs: &[Arc<JobWork>], seed: u64) -> Outcome {
    let market = Recorded::new(recording.clone());
    Books::new(jobs).close(&market, "ebbtide".into(), seed)
}
