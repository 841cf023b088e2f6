//! What a client of a cluster saw, as JSON Lines, and what of it breaks a promise.
//!
//! A history is written by whoever drives a cluster from outside: the demo, the end-to-end tests.
//! It holds what was sent and answered, the events that streams told, the end state by GETs, and
//! what the tasks themselves wrote down. [`check`] looks at nothing else, so that loss, repeats and
//! gaps are known without asking the database that is under suspicion.
//!
//! It is here, not in `cli` or in the tests, because both write histories and nothing but wire
//! types is in them. The ids of promises are those of `control::Invariant`, as text: this crate
//! does not depend on control.

mod check;
mod runs;
mod seen;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use model::{AttemptId, JobId};
use serde::{Deserialize, Serialize};

use crate::event::{Event, EventId};
use crate::view::{AttemptView, CostView, JobDetail, NodeView, TaskView};

pub use check::{Breach, check};
pub use runs::read_runs;

/// One line: the only key is the kind, its value the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// What is known of the work before any of it is done.
    Workload(Workload),
    /// A submit was sent; nobody knows yet what becomes of it.
    Sent(Sent),
    /// A submit was answered by a 2xx.
    Accepted(Accepted),
    /// A stream of events was opened, without filters. All that follows its first id is in it.
    Stream(StreamBegun),
    /// A stream told of an event.
    Event(Box<Told>),
    /// Something was broken on purpose.
    Struck(Struck),
    /// A job, at the end.
    Job(Box<JobDetail>),
    /// A task and its attempts, at the end.
    Task(Box<TaskSeen>),
    /// The bill, at the end.
    Cost(CostView),
    /// A node or a launch, at the end; those that are gone as well.
    Node(Box<NodeView>),
    /// What a task wrote down of one of its runs.
    Ran(Ran),
    /// Machines of which processes are left though all was told to end.
    Left(Left),
}

/// What is known of the work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Its commands always exit with 0, so that each failure is somebody else's.
    pub never_fails: bool,
    /// Every task notes its runs, so that one without a whole run has not run.
    pub notes_runs: bool,
    /// Nobody else uses this cluster: all jobs are in this history.
    pub alone: bool,
    /// The end was looked at when idle machines had had time to be given back: one that is there
    /// still is left.
    pub all_retired: bool,
    /// Nodes are cut off on purpose. That a node was suspect is no event, so an attempt that the
    /// manager took back as never started may have run beside the next.
    pub cut_off: bool,
}

/// A submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Milliseconds from the history's start.
    pub at_ms: u64,
    /// Its `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many tasks it asks for.
    pub tasks: u64,
}

/// A submit that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Milliseconds from the history's start.
    pub at_ms: u64,
    /// Its `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The job.
    pub job: JobId,
    /// How many tasks it has.
    pub tasks: u64,
}

/// A stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamBegun {
    /// Its number in this history.
    pub stream: u32,
}

/// An event that a stream told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The stream.
    pub stream: u32,
    /// The event.
    pub event: Event,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// Milliseconds from the history's start.
    pub at_ms: u64,
    /// Which, on whom.
    pub what: String,
}

/// A task with its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSeen {
    /// `GET /v1/jobs/{id}/tasks`.
    pub task: TaskView,
    /// `GET /v1/tasks/{id}/attempts`; absent when it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
}

/// A run of a task's command, by its own words. Times are of the host's monotonic clock, in
/// milliseconds; a run without an end was killed, or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// What it took itself for.
    pub attempt: AttemptId,
    /// When it began.
    pub start_ms: u64,
    /// When it had done all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<u64>,
}

/// Machines that were left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Their names.
    pub machines: Vec<String>,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file, or what tasks have left, cannot be read: look at the disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none of a history: it was written by another version, or torn.
    #[error("{}, line {line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        fault: String,
    },
}

/// Appends records to a file.
#[derive(Debug)]
pub struct Writer(BufWriter<File>);

impl Writer {
    /// A new file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(|file| Self(BufWriter::new(file)))
    }

    /// Appends one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, record)?;
        self.0.write_all(b"\n")
    }

    /// Hands all that was written to the system.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Reads a history.
///
/// # Errors
/// The file cannot be read, or one of its lines is not of a history.
pub fn read(path: &Path) -> Result<Vec<Record>, HistoryError> {
    let file = File::open(path);
    let file = file.map_err(|source| HistoryError::Io { path: path.to_owned(), source })?;
    let mut records = Vec::new();
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| HistoryError::Io { path: path.to_owned(), source })?;
        let record = serde_json::from_str(&line).map_err(|fault| HistoryError::Line {
            path: path.to_owned(),
            line: at + 1,
            fault: fault.to_string(),
        })?;
        records.push(record);
    }
    Ok(records)
}

impl Told {
    /// The event's id; none of what is not stored.
    pub fn id(&self) -> Option<EventId> {
        self.event.id.as_deref()?.parse().ok()
    }
}
