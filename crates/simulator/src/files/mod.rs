//! The JSON files of DESIGN §6: read with all faults at once, written as they are read.
//!
//! [`market::parse`] and [`jobs::parse`] read a file each, [`batch::parse_line`] a line of a batch.
//! What is wrong comes back as [`Fault`]s with RFC 6901 pointers, every one at once up to
//! [`limits::FAULTS`]. Unknown and repeated fields are refused.
//!
//! Numbers are read from their decimal text, never through a float: prices to the nearest
//! micro-dollar, seconds to the nearest millisecond, [`JobWork::checkpoint_milligib`] to the nearest
//! thousandth of a GiB; a half goes up. Counts, millis and MiB must be whole (`8000.0` is). `null`
//! stands for a field that may be left out.
//!
//! [`market::write`] and [`jobs::write`] write what reads back as the same, defaults left out.

use std::sync::Arc;

use ::market::recorded::Recording;
use model::{Fault, Resources};

use crate::jobs::JobWork;

pub mod batch;
pub(crate) mod decimal;
pub mod jobs;
pub mod market;
pub(crate) mod number;
pub(crate) mod reader;
#[cfg(test)]
mod tests;

/// Limits on what a file may hold, each far above use, and below what overflows.
pub mod limits {
    /// Pools of a market.
    pub const POOLS: usize = 10_000;
    /// Ticks of a pool.
    pub const TICKS: usize = 10_000_000;
    /// Entries of an egress table, both ways counted.
    pub const EGRESS: usize = 1_000_000;
    /// Jobs of a workload.
    pub const JOBS: usize = 5_000_000;
    /// Tasks of a workload.
    pub const TASKS: u64 = 100_000_000;
    /// Any length of time but a tick's: a hundred years.
    pub const DURATION_MS: u64 = 3_155_760_000_000;
    /// A tick's length: a leap year.
    pub const GAP_MS: u64 = 31_622_400_000;
    /// A price an hour or per GB, in micro-dollars: a million dollars.
    pub const PRICE_MICRO_USD: u64 = 1_000_000_000_000;
    /// Thousandths of cores, MiB, and machines of a pool.
    pub const AMOUNT: u64 = 1_000_000_000;
    /// GPUs of a machine or a task.
    pub const GPUS: u64 = 1_000_000;
    /// Size of a checkpoint in thousandths of a GiB: a million GiB.
    pub const CHECKPOINT_MILLIGIB: u64 = 1_000_000_000;
    /// Interruptions an hour, in millionths: a thousand.
    pub const HAZARD_PPM_HOUR: u64 = 1_000_000_000;
    /// Bytes of an id, a zone, an instance type.
    pub const NAME_BYTES: usize = 256;
    /// Faults that are listed: whoever made more of them is not helped by all.
    pub const FAULTS: usize = 100;
}

/// Disk of every machine in a file's market: files do not speak of disk, so it never binds.
pub const MACHINE_DISK_MIB: u32 = u32::MAX / 2;

/// The jobs that no machine of this market can hold: they are accepted and never finish, which is
/// worth a warning.
pub fn never_fits<'j>(
    recording: &'j Recording,
    jobs: &'j [Arc<JobWork>],
) -> impl Iterator<Item = &'j Arc<JobWork>> {
    // Machines that another one holds say nothing more, so that few are asked for each job.
    let mut largest: Vec<&Resources> = Vec::new();
    for pool in &recording.pools {
        if !largest.iter().any(|other| other.holds(&pool.capacity)) {
            largest.retain(|other| !pool.capacity.holds(other));
            largest.push(&pool.capacity);
        }
    }
    jobs.iter().filter(move |job| !largest.iter().any(|machine| machine.holds(&job.ask)))
}

/// One fault of a document as a whole.
pub(crate) fn whole(detail: impl Into<String>) -> Fault {
    Fault { pointer: String::new(), detail: detail.into() }
}
