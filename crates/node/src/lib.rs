//! The digester's decisions: which tasks a machine admits, what a new process makes of what it
//! finds, who may finish before a notice's deadline, and what is kept on disk.
//!
//! Pure: no clock, no files, no processes. The digester (crate `digester`) reads and carries out.

mod boot;
mod exit;
mod notice;
mod regulator;
mod spool;

pub use boot::{Found, Live, Step, diff};
pub use exit::{Exit, ExitStatus};
pub use notice::{MAX_MARGIN_MS, MIN_MARGIN_MS, NoticePlan, Runner, margin_ms, on_notice};
pub use regulator::{Admission, Load, Refusal, Regulator, Want};
pub use spool::{Entry, FORMAT, Process, Record, Replayed, Spool, SpoolFault, Stage, Work};
