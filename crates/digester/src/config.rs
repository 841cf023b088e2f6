//! What a digester is told, and why it may end.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use model::Resources;
use node::Regulator;

/// All that a digester needs to know; it reads no environment but what it passes on to tasks.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where a manager answers, e.g. `http://127.0.0.1:7878`.
    pub manager: String,
    /// How it proves that it may join.
    pub joiner: Joiner,
    /// Its own folder; one digester a folder.
    pub data_dir: PathBuf,
    /// What starts a spawner: a program and its first arguments; `--socket`, `--dir`,
    /// `--attempts` and `--orphan-after-ms` follow, each with its value.
    pub spawner: Vec<String>,
    /// The folder of the object store.
    pub objects: PathBuf,
    /// What tasks may use of the machine.
    pub capacity: Resources,
    /// The law by which it admits tasks.
    pub regulator: Regulator,
    /// A file that somebody writes when the machine will be taken: `{"kind", "remaining_ms"}`.
    pub notice_file: Option<PathBuf>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Of each stream of an attempt.
    pub output_cap_bytes: u64,
    /// Without a manager for so long, it stops its tasks and ends itself.
    pub orphan_after: Duration,
    /// How long tasks may go on when the process is told to end.
    pub shutdown_within: Duration,
}

/// How a digester proves that it may join.
#[derive(Clone)]
pub enum Joiner {
    /// A launched machine: the cloud's signed document.
    Identity {
        /// As the cloud's metadata service gives it.
        document: String,
    },
    /// Somebody's own machine.
    Token {
        /// A join token.
        token: String,
        /// A name that is unique in the cluster.
        name: String,
    },
}

/// Secrets never reach a log.
impl fmt::Debug for Joiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity { .. } => f.write_str("Identity"),
            Self::Token { name, .. } => write!(f, "Token({name})"),
        }
    }
}

impl Config {
    /// With the defaults for all that has one.
    pub fn new(
        manager: String,
        joiner: Joiner,
        data_dir: PathBuf,
        spawner: Vec<String>,
        objects: PathBuf,
        capacity: Resources,
    ) -> Self {
        Self {
            manager,
            joiner,
            data_dir,
            spawner,
            objects,
            capacity,
            regulator: Regulator::Resources(capacity),
            notice_file: None,
            grace: Duration::from_secs(5),
            output_cap_bytes: 256 << 20,
            orphan_after: Duration::from_mins(10),
            shutdown_within: Duration::from_secs(4),
        }
    }
}

/// Why a digester ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum DigesterError {
    /// Mend the machine: its folder, its disk, its programs.
    #[error("{what}: {source}")]
    Machine {
        /// What it was about to do.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another digester uses the folder: end that one or name another folder.
    #[error("another worker uses {0}")]
    InUse(PathBuf),
    /// Mend the token or the identity.
    #[error("the manager does not let this worker join: {0}")]
    Refused(String),
    /// The manager was away for too long; what ran was stopped.
    #[error("no manager for {0:?}; tasks were stopped")]
    Orphaned(Duration),
}

impl DigesterError {
    pub(crate) fn machine(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source }
    }
}
