//! Spot markets replayed: the very code that decides in production, and what the literature would
//! have done instead, over one recorded or generated market, with one bill.
//!
//! [`simulate`] runs one policy. `ebbtide` is [`control::step`], the planner and the node's own
//! decisions on an event heap ([`ebbtide`]); all others are a [`policy::Policy`] at a
//! [`arena::Desk`]. Both buy from [`market::recorded`], both book in [`books`], and so their figures
//! may be compared.

pub mod arena;
pub mod books;
pub mod ebbtide;
pub mod files;
pub mod forecast;
pub mod generate;
pub mod heap;
pub mod history;
pub mod import;
pub mod jobs;
pub mod policy;
pub mod report;
pub mod result;
pub mod series;
pub mod work;

use std::sync::Arc;

use market::recorded::Recording;

use crate::jobs::JobWork;
use crate::policy::PolicyName;
use crate::result::Outcome;

/// Runs one policy over a market and a workload.
///
/// The same arguments give the same bytes.
pub fn simulate(
    recording: &Arc<Recording>,
    jobs: &[Arc<JobWork>],
    policy: PolicyName,
    seed: u64,
) -> Outcome {
    match policy {
        PolicyName::Ebbtide => ebbtide::run(recording, jobs, seed),
        PolicyName::Omniscient => policy::omniscient::run(recording, jobs, seed),
        _ => {
            let mut desk = policy::at_desk(policy, seed);
            arena::run(recording, jobs, policy, seed, desk.as_mut())
        }
    }
}
