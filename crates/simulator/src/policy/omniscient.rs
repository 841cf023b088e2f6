//! What somebody who knows the whole record would do.

use std::sync::Arc;

use market::recorded::{Recorded, Recording};

use crate::books::Books;
use crate::jobs::JobWork;
use crate::result::Outcome;

/// The least that the workload can cost.
pub(crate) fn run(recording: &Arc<Recording>, jobs: &[Arc<JobWork>], seed: u64) -> Outcome {
    let market = Recorded::new(recording.clone());
    Books::new(jobs).close(&market, "omniscient".into(), seed)
}
