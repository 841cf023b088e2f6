//! The way to the manager: join, then polls. Decides when a poll is due and what an answer is
//! worth; what to say and what to do is the service's.
//!
//! At most one poll with transitions is under way, and beside it at most one that waits for
//! commands; the leader ends the latter when it sees the former, whose number is higher.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::problem::{Problem, ProblemKind};
use api::sync::{JoinAnswer, JoinRequest, POLL_WAIT_MS, Stream, SyncAnswer, SyncRequest};
use model::{AttemptId, NodeId};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::service::Event;

/// Back-off while the manager is away: from, to.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// For an answer that nothing holds back but a commit.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Why a call gave no answer, by what is done next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Ask there, or again here in a moment.
    #[error("the replica does not lead")]
    NotLeader(Option<String>),
    /// Join again.
    #[error("{0}")]
    Unknown(Problem),
    /// Ask again later.
    #[error("{0}")]
    Later(String),
}

/// What there is to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    pub(crate) transitions: bool,
    pub(crate) notice: bool,
}

struct Open {
    task: AbortHandle,
    transitions: bool,
    inventory: bool,
    notice: bool,
}

enum Standing {
    Apart { joining: bool },
    Joined { node: NodeId, token: String },
}

pub(crate) struct Uplink {
    client: Client,
    home: String,
    url: String,
    events: UnboundedSender<Event>,
    join: JoinRequest,
    standing: Standing,
    poll: u64,
    answered: u64,
    term: u64,
    inventory_due: bool,
    notice_told: bool,
    open: BTreeMap<u64, Open>,
    failures: u32,
    retry_at: Option<Instant>,
    last_contact: Instant,
}

/// What is due now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Join,
    /// A poll.
    Poll {
        inventory: bool,
    },
}

impl Uplink {
    pub(crate) fn new(
        home: &str,
        join: JoinRequest,
        events: UnboundedSender<Event>,
        now: Instant,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(90))
            .build()?;
        let home = home.trim_end_matches('/').to_owned();
        Ok(Self {
            client,
            url: home.clone(),
            home,
            events,
            join,
            standing: Standing::Apart { joining: false },
            poll: 0,
            answered: 0,
            term: 0,
            inventory_due: true,
            notice_told: false,
            open: BTreeMap::new(),
            failures: 0,
            retry_at: None,
            last_contact: now,
        })
    }

    pub(crate) fn due(&self, now: Instant, news: News) -> Due {
        if self.retry_at.is_some_and(|at| at > now) {
            return Due::Nothing;
        }
        if let Standing::Apart { joining } = self.standing {
            return if joining { Due::Nothing } else { Due::Join };
        }
        let reporting = self.open.values().any(|open| open.transitions);
        let urgent = news.transitions || (news.notice && !self.notice_told);
        if !reporting && (urgent || self.open.is_empty()) {
            Due::Poll { inventory: self.inventory_due }
        } else {
            Due::Nothing
        }
    }

    pub(crate) fn join(&mut self) {
        self.standing = Standing::Apart { joining: true };
        let (client, url, events) = (self.client.clone(), self.url.clone(), self.events.clone());
        let body = self.join.clone();
        tokio::spawn(async move {
            let call =
                client.post(format!("{url}/v1/nodes/join")).json(&body).timeout(ANSWER_WITHIN);
            drop(events.send(Event::Joined(answer(call).await)));
        });
    }

    /// Sends a poll; session, number and terms are filled in here.
    pub(crate) fn poll(&mut self, mut request: SyncRequest) {
        let Standing::Joined { node, token } = &self.standing else { return };
        self.poll += 1;
        request.session = self.join.session;
        request.poll = self.poll;
        request.answered = self.answered;
        request.term_seen = self.term;
        let poll = self.poll;
        let transitions = !request.transitions.is_empty();
        let (inventory, notice) = (request.inventory.is_some(), request.notice.is_some());
        self.notice_told |= notice;
        let wait = if transitions { Duration::ZERO } else { Duration::from_millis(POLL_WAIT_MS) };
        let call = self
            .client
            .post(format!("{}/v1/nodes/{node}/sync", self.url))
            .bearer_auth(token)
            .timeout(wait + ANSWER_WITHIN)
            .json(&request);
        let events = self.events.clone();
        let task = tokio::spawn(async move {
            drop(events.send(Event::Answer(poll, Box::new(answer(call).await))));
        });
        let task = task.abort_handle();
        self.open.insert(poll, Open { task, transitions, inventory, notice });
    }

    /// Takes in how a join went. The error is final: the manager does not want us.
    pub(crate) fn on_joined(
        &mut self,
        result: Result<JoinAnswer, CallError>,
        now: Instant,
    ) -> Result<Option<NodeId>, String> {
        match result {
            Ok(answer) if answer.term < self.term => {
                self.standing = Standing::Apart { joining: false };
                let words = format!("a join under term {}, which is over", answer.term);
                self.fail(&CallError::Later(words), now);
                Ok(None)
            }
            Ok(answer) => {
                tracing::info!(node = %answer.node, term = answer.term, "joined");
                self.standing = Standing::Joined { node: answer.node, token: answer.token };
                self.term = answer.term;
                self.inventory_due = true;
                self.notice_told = false;
                self.contact(now);
                Ok(Some(answer.node))
            }
            Err(error) => {
                self.standing = Standing::Apart { joining: false };
                let never_joined = self.answered == 0;
                match &error {
                    CallError::Unknown(problem)
                        if never_joined && problem.kind != ProblemKind::NotFound =>
                    {
                        return Err(problem.to_string());
                    }
                    _ => self.fail(&error, now),
                }
                Ok(None)
            }
        }
    }

    /// Takes in how a poll went; gives the answer if it is to be acted on.
    pub(crate) fn on_answer(
        &mut self,
        poll: u64,
        result: Result<SyncAnswer, CallError>,
        now: Instant,
    ) -> Option<SyncAnswer> {
        let open = self.open.remove(&poll)?;
        match result {
            Ok(answer) if answer.term < self.term => {
                let words = format!("an answer of term {}, which is over", answer.term);
                self.fail(&CallError::Later(words), now);
                None
            }
            Ok(answer) => {
                self.contact(now);
                self.answered = self.answered.max(poll);
                // What an older poll would say is said again in the next.
                for (_, older) in self.open.extract_if(..poll, |_, _| true) {
                    older.task.abort();
                }
                let another_term = answer.term > self.term;
                self.term = answer.term;
                self.inventory_due = another_term || (self.inventory_due && !open.inventory);
                // Another leader may not have kept it.
                self.notice_told &= !another_term;
                Some(answer)
            }
            Err(error) => {
                self.notice_told &= !open.notice;
                // One that a later poll has ended is missed by nobody.
                if !self.open.keys().any(|later| *later > poll) {
                    self.fail(&error, now);
                }
                None
            }
        }
    }

    fn contact(&mut self, now: Instant) {
        self.last_contact = now;
        self.failures = 0;
        self.retry_at = None;
    }

    fn fail(&mut self, error: &CallError, now: Instant) {
        match error {
            CallError::NotLeader(Some(leader)) => {
                tracing::info!(%leader, "another replica leads");
                self.url = leader.trim_end_matches('/').to_owned();
            }
            CallError::NotLeader(None) | CallError::Later(_) => self.url.clone_from(&self.home),
            CallError::Unknown(_) => {
                self.url.clone_from(&self.home);
                self.standing = Standing::Apart { joining: false };
                for open in std::mem::take(&mut self.open).into_values() {
                    open.task.abort();
                }
            }
        }
        if self.failures == 0 {
            tracing::warn!(%error, url = %self.url, "the manager does not answer as it should");
        }
        let wait = back_off(self.failures, noise());
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
        let events = self.events.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            drop(events.send(Event::Wake));
        });
    }

    /// For how long no manager has answered.
    pub(crate) fn alone_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_contact)
    }

    pub(crate) fn tail_post(&self) -> Option<TailPost> {
        let Standing::Joined { node, token } = &self.standing else { return None };
        let url = format!("{}/v1/nodes/{node}/tail", self.url);
        Some(TailPost { client: self.client.clone(), url, token: token.clone() })
    }

    /// Whether the next poll has to carry the node's notice.
    pub(crate) fn wants_notice(&self) -> bool {
        !self.notice_told
    }

    /// A new notice is to be told.
    pub(crate) fn notice_is_new(&mut self) {
        self.notice_told = false;
    }
}

/// Doubles from [`FIRST_WAIT`] to [`LONGEST_WAIT`]; between half and the whole of it, by `noise`.
fn back_off(failures: u32, noise: u8) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT);
    full / 2 + (full / 2).saturating_mul(u32::from(noise)) / 255
}

fn noise() -> u8 {
    let mut byte = [0];
    match getrandom::fill(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 128,
    }
}

async fn answer<T: serde::de::DeserializeOwned>(
    call: reqwest::RequestBuilder,
) -> Result<T, CallError> {
    let response = call.send().await.map_err(|error| CallError::Later(words(&error)))?;
    if response.status().is_success() {
        return response.json().await.map_err(|error| CallError::Later(words(&error)));
    }
    Err(refusal(response).await)
}

/// An error with its causes; the URL in it holds no secret.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

async fn refusal(response: Response) -> CallError {
    let status = response.status();
    let Ok(problem) = response.json::<Problem>().await else {
        return CallError::Later(format!("status {status} without a problem"));
    };
    match problem.kind {
        ProblemKind::NotLeader => CallError::NotLeader(problem.leader),
        ProblemKind::Overloaded
        | ProblemKind::Unavailable
        | ProblemKind::Internal
        | ProblemKind::Timeout => CallError::Later(problem.to_string()),
        _ => CallError::Unknown(problem),
    }
}

/// Where chunks of output go.
#[derive(Clone)]
pub(crate) struct TailPost {
    client: Client,
    url: String,
    token: String,
}

impl TailPost {
    /// Sends a chunk; the error says that nobody wants more.
    pub(crate) async fn send(
        &self,
        attempt: AttemptId,
        stream: Stream,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<(), String> {
        let url =
            format!("{}?attempt={attempt}&stream={}&offset={offset}", self.url, stream.as_str());
        let call =
            self.client.post(url).bearer_auth(&self.token).timeout(ANSWER_WITHIN).body(bytes);
        match call.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(status_words(response.status())),
            Err(error) => Err(words(&error)),
        }
    }
}

fn status_words(status: StatusCode) -> String {
    format!("status {status}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_to_its_limit_with_jitter() {
        let at = |failures, noise| back_off(failures, noise).as_millis();
        assert_eq!([at(0, 0), at(0, 255), at(1, 255), at(3, 255)], [25, 50, 100, 400]);
        assert_eq!([at(30, 0), at(30, 255)], [1000, 2000]);
    }
}
