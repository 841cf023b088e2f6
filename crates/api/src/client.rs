//! The typed client: every call of REST, errors by what the caller does next.
//!
//! It follows `not-leader` to the replica that leads, and repeats what may be repeated (GETs, and
//! submits with a key) for a moment when nobody answers, so that a restart of the manager is not an
//! error of its client.

mod calls;
mod events;
mod options;
mod sse;
mod transport;

pub use calls::LogStream;
pub use events::EventStream;
pub use options::{EventsQuery, JobsQuery, LogsQuery, NodesQuery, TasksQuery};

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::problem::Problem;

/// Time to connect: loopback or one data centre.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for an answer that does not wait by nature.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections are closed before the manager closes them (30 s), so that no request meets a
/// closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The manager refused, and says why.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// Nobody answered at that address: try again, or elsewhere.
    #[error("no manager answers at {url}: {reason}")]
    Unreachable {
        /// Where it was tried.
        url: String,
        /// What happened.
        reason: String,
    },
    /// Somebody answered who speaks otherwise.
    #[error("{url} does not answer as a manager does: {reason}")]
    Protocol {
        /// Who it is.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

impl ClientError {
    /// The manager's own words, if it answered.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::Unreachable { .. } | Self::Protocol { .. } => None,
        }
    }
}

/// A client of one cluster; clones share connections and what was learned of the leader.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    token: Arc<str>,
    /// Where it was told to ask.
    home: Arc<str>,
    /// Where the leader was last.
    leader: Arc<Mutex<Option<Arc<str>>>>,
    patience: Duration,
}

impl Client {
    /// A client of the manager at `url`, with a user's token.
    ///
    /// # Errors
    /// The system lacks what HTTP needs.
    pub fn new(url: &str, token: &str) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(|fault| ClientError::Unreachable {
                url: url.to_owned(),
                reason: fault.to_string(),
            })?;
        Ok(Self {
            http,
            token: token.into(),
            home: url.trim_end_matches('/').into(),
            leader: Arc::default(),
            patience: Duration::from_secs(5),
        })
    }

    /// How long calls that may be repeated are repeated while nobody answers.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where it was told to ask.
    pub fn url(&self) -> &str {
        &self.home
    }
}
