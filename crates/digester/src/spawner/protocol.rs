//! What digester and spawner say to each other over a unix socket: JSON, one message a line.
//! Both come from the same build, or from two that follow one another; see [`Event::Hello`].

use std::io::{self, Write};

use model::AttemptId;
use node::Exit;
use serde::{Deserialize, Serialize};

/// To the spawner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Start these, in order.
    Spawn(Vec<Launch>),
    /// Tell the whole trees of these to end.
    Signal {
        /// Whose.
        attempts: Vec<AttemptId>,
        /// KILL instead of TERM.
        kill: bool,
    },
    /// Their exits are spooled: forget them.
    Forget(Vec<AttemptId>),
    /// End everything and yourself.
    Quit,
}

/// One process to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) attempt: AttemptId,
    pub(crate) command: Vec<String>,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// The attempt's own folder, to be made.
    pub(crate) dir: String,
    /// Where to start; the attempt's own folder otherwise.
    pub(crate) workdir: Option<String>,
    /// Whether to make `out` in the attempt's own folder.
    pub(crate) out: bool,
}

/// From the spawner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The first message of a connection.
    Hello {
        /// The spawner.
        pid: u32,
        /// What runs.
        running: Vec<Child>,
        /// What ended and was not forgotten.
        exited: Vec<(AttemptId, Exit)>,
    },
    /// These run. Their exits may have been said before.
    Spawned(Vec<(AttemptId, u32)>),
    /// These could not be started, and why.
    Refused(Vec<(AttemptId, String)>),
    /// These have ended.
    Exited(Vec<(AttemptId, Exit)>),
}

/// A process that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Child {
    pub(crate) attempt: AttemptId,
    pub(crate) pid: u32,
    pub(crate) age_ms: u64,
}

/// A message as the bytes of its line.
pub(crate) fn line<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes a message.
pub(crate) fn write<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    to.write_all(&line(message)?)
}
