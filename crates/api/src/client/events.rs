//! A stream of events that goes on after its connection broke, and neither misses nor doubles one.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use tokio::time::{Instant, sleep_until, timeout};

use super::sse::{Message, Parser};
use super::transport::Call;
use super::{Client, ClientError, EventsQuery};
use crate::event::{Event, EventId, EventKind};

/// The manager sends a comment every 15 s: after three without one, the connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two connections at the least, so that a server that closes at once is not stormed.
const PAUSE: Duration = Duration::from_millis(500);

/// Events as they become durable, in order.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    query: EventsQuery,
    response: Option<Response>,
    connected: Instant,
    parser: Parser,
    waiting: VecDeque<Event>,
    last: Option<EventId>,
    /// Nothing follows once this connection has ended: the job is settled.
    settled: bool,
    /// Nothing follows.
    ended: bool,
}

impl EventStream {
    pub(super) async fn open(client: Client, query: EventsQuery) -> Result<Self, ClientError> {
        let mut stream = Self {
            last: query.after,
            client,
            query,
            response: None,
            connected: Instant::now(),
            parser: Parser::default(),
            waiting: VecDeque::new(),
            settled: false,
            ended: false,
        };
        stream.connect().await?;
        Ok(stream)
    }

    /// The next event; `None` when the job that was asked for is settled and all is told. It may be
    /// called again after it was dropped half-way: nothing is lost by that.
    ///
    /// # Errors
    /// The manager is gone for longer than the client's patience, or (410) for so long that the log
    /// no longer has what was missed: then read the present state and open a new stream.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(response) = &mut self.response else {
                sleep_until(self.connected + PAUSE).await;
                self.connect().await?;
                continue;
            };
            match timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(piece))) => self.take(&piece)?,
                // Cut, at its end, or dead: what was missed is asked for by its id.
                Ok(Ok(None) | Err(_)) | Err(_) => {
                    self.response = None;
                    self.ended = self.settled;
                }
            }
        }
    }

    /// The id of the last event that was given, for a later stream.
    pub fn last_id(&self) -> Option<EventId> {
        self.last
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        let mut call = Call { query: self.query.pairs(), ..Call::get("/v1/events") };
        call.endless = true;
        if let Some(last) = self.last {
            call.headers.push(("last-event-id", last.to_string()));
        }
        self.response = Some(self.client.send(call).await?);
        self.connected = Instant::now();
        self.parser.restart();
        Ok(())
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), ClientError> {
        let wrong = |reason| ClientError::Protocol { url: self.client.url().to_owned(), reason };
        let messages = self
            .parser
            .feed(piece)
            .map_err(|_| wrong("an event of more than a mebibyte".to_owned()))?;
        for message in messages {
            let event = read(&message).map_err(wrong)?;
            match event.id.as_deref().map(str::parse::<EventId>) {
                // Told already, before the connection broke.
                Some(Ok(id)) if self.last.is_some_and(|last| id <= last) => continue,
                Some(Ok(id)) => self.last = Some(id),
                _ => {}
            }
            if self.query.job.is_some() {
                self.ended |= event.kind == EventKind::JobSettled;
                self.settled |= event.job_status.is_some_and(model::JobStatus::is_settled);
            }
            self.waiting.push_back(event);
        }
        // An id without an event says where a stream begins.
        let begins = self.parser.last_id().and_then(|id| id.parse().ok());
        self.last = self.last.max(begins);
        Ok(())
    }
}

fn read(message: &Message) -> Result<Event, String> {
    serde_json::from_str(&message.data)
        .map_err(|fault| format!("an event is not understood: {fault}"))
}

impl Client {
    /// Follows what happens. Without an id it begins now; it is connected when this returns, so
    /// what is read afterwards is not older than the first event.
    ///
    /// # Errors
    /// As all calls; 410 when the log no longer has the id.
    pub async fn events(&self, query: EventsQuery) -> Result<EventStream, ClientError> {
        EventStream::open(self.clone(), query).await
    }
}
