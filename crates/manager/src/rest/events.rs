//! `GET /v1/events`: what happens, as server-sent events.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use api::event::{Event, EventId, EventKind};
use api::problem::ProblemKind;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use model::{JobId, NodeId};
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::body::Params;
use super::doc::{Gone, NotFound};
use super::failure::Failure;
use super::{App, Shared};
use crate::clock;
use crate::feed::{After, Listener, Page, Told, write_message};

/// Proxies end what is silent for a minute, and a dead peer shows when it is written to.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Between two summaries of a job.
const PROGRESS: Duration = Duration::from_secs(1);
/// Text of one piece of the answer, but for a commit that has more.
const PIECE_BYTES: usize = 64 << 10;
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// A client that is cut asks again after a second.
const RETRY: &str = "retry: 1000\n";

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only what happens to this job, and `job-progress` at most once a second. The stream ends
    /// when the job is settled.
    job: Option<JobId>,
    /// Only what happens on this node.
    node: Option<NodeId>,
    /// Only these kinds, with commas between them.
    #[serde(default, deserialize_with = "kinds")]
    #[param(value_type = Option<String>, example = "job-settled,task-ended")]
    kind: BTreeSet<EventKind>,
    /// As the header `Last-Event-ID`, for clients that cannot set it; the header goes first.
    last_event_id: Option<String>,
}

fn kinds<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<EventKind>, D::Error> {
    let text = String::deserialize(from)?;
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

/// What happens, as it becomes durable.
///
/// Server-sent events: `id` is the commit and the event's place in it, `event` its kind, `data` an
/// `Event`. A stream begins now, or after `Last-Event-ID`, and neither misses nor doubles an event.
/// 410 when the log no longer has that id: read the present state, and begin without one.
#[utoipa::path(get, path = "/v1/events", tag = "cluster", operation_id = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen", example = "1042.0"),
    ),
    responses(
        (status = 200, description = "A stream of events", body = Event, content_type = "text/event-stream"),
        NotFound, Gone,
    ))]
pub(super) async fn events(
    State(app): Shared,
    headers: HeaderMap,
    Params(query): Params<EventsQuery>,
) -> Result<Response, Failure> {
    let after = last_id(&headers, query.last_event_id.as_deref())?;
    if app.stop.is_cancelled() {
        return Err(Failure::new(ProblemKind::NotLeader, "this replica is shutting down"));
    }
    let Some(listener) = app.feed.listen() else {
        return Err(Failure::overloaded("too many streams of events are open here"));
    };
    let bounds = app.store.log_bounds().await?;
    let (begin, opening) = match after {
        Some(id) => (resume(id, bounds)?, format!("{RETRY}\n")),
        None => {
            let begin = end_of_log(&app, bounds).await?;
            (begin, format!("{RETRY}id: {begin}\n\n"))
        }
    };
    let filter = Filter { job: query.job, node: query.node, kinds: query.kind };
    let until = match filter.job {
        Some(job) => until_settled(&app, job).await?,
        None => None,
    };
    app.metrics.event_streams.inc();
    let stream = Streaming {
        // What follows in the commit of the last event is read again.
        seq: if after.is_some() { begin.seq.saturating_sub(1) } else { begin.seq },
        resume: after,
        passed: begin,
        named: begin,
        known: bounds.map_or(0, |(_, last)| last),
        until,
        progress: filter.job.map(|job| Progress { job, next: Instant::now(), changed: true }),
        alive_due: Instant::now() + KEEP_ALIVE,
        opening: Some(opening.into()),
        over: false,
        filter,
        listener,
        app,
    };
    let pieces = futures::stream::unfold(stream, |mut stream| async move {
        stream.next().await.map(|piece| (Ok::<_, Infallible>(piece), stream))
    });
    Ok(([(header::CONTENT_TYPE, EVENT_STREAM)], Body::from_stream(pieces)).into_response())
}

/// The header goes first: a browser sets it when it comes again, and leaves the query as it was.
fn last_id(headers: &HeaderMap, query: Option<&str>) -> Result<Option<EventId>, Failure> {
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    match header.filter(|text| !text.is_empty()).or(query).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(Failure::malformed),
    }
}

/// Whether the log has all that follows an event.
fn resume(id: EventId, bounds: Option<(u64, u64)>) -> Result<EventId, Failure> {
    let gone = |detail| Err(Failure::new(ProblemKind::Gone, detail));
    match bounds {
        // Where a stream began before the first commit of all.
        None | Some((1, _)) if id.seq == 0 => Ok(id),
        Some((first, _)) if id.seq < first => gone(format!(
            "the log begins at {first}.0: read how things stand, then listen without an id"
        )),
        Some((_, last)) if id.seq > last => {
            gone(format!("{id} has not happened here: the log ends at {last}"))
        }
        None => gone(format!("{id} has not happened here: the log is empty")),
        Some(_) => Ok(id),
    }
}

/// The last event until now.
async fn end_of_log(app: &App, bounds: Option<(u64, u64)>) -> Result<EventId, Failure> {
    let Some((_, last)) = bounds else { return Ok(EventId::default()) };
    let told = app.feed.one(last).await?;
    Ok(told.map_or(EventId { seq: last, ordinal: 0 }, |told| told.last_id()))
}

/// Of a job that is settled already: the commit behind which nothing more is said of it.
async fn until_settled(app: &App, job: JobId) -> Result<Option<u64>, Failure> {
    let record = app.store.job(job).await?;
    let record = record.ok_or_else(|| Failure::not_found(format!("there is no {job}")))?;
    if !record.job.status.is_settled() {
        return Ok(None);
    }
    Ok(Some(app.store.log_bounds().await?.map_or(0, |(_, last)| last)))
}

/// What somebody wants to hear.
#[derive(Debug)]
struct Filter {
    job: Option<JobId>,
    node: Option<NodeId>,
    kinds: BTreeSet<EventKind>,
}

impl Filter {
    fn is_all(&self) -> bool {
        self.job.is_none() && self.node.is_none() && self.kinds.is_empty()
    }

    fn wants(&self, kind: EventKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// How a job stands, for those who listen to it alone.
#[derive(Debug)]
struct Progress {
    job: JobId,
    /// Before this it is not told again.
    next: Instant,
    /// Whether something has happened since it was told.
    changed: bool,
}

impl Progress {
    /// When it is to be told; `None` while there is nothing to tell.
    fn due(&self) -> Option<Instant> {
        self.changed.then_some(self.next)
    }
}

/// An answer that is being read. Nothing is made before it is asked for: a reader that is slow is
/// one that is further behind.
struct Streaming {
    app: Arc<App>,
    listener: Listener,
    filter: Filter,
    /// The last commit that was passed.
    seq: u64,
    /// The last event that the client has of a commit that is not yet passed.
    resume: Option<EventId>,
    /// The last event that was passed, whether it was told or not.
    passed: EventId,
    /// The last one whose id the client has.
    named: EventId,
    /// Commits up to here are in the log for certain.
    known: u64,
    /// The stream ends behind this commit.
    until: Option<u64>,
    progress: Option<Progress>,
    /// When something has to be said, whatever it is.
    alive_due: Instant,
    opening: Option<Bytes>,
    over: bool,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.app.metrics.event_streams.dec();
    }
}

impl Streaming {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let piece = match self.opening.take() {
            Some(opening) => Some(opening),
            None => self.find().await,
        };
        self.alive_due = Instant::now() + KEEP_ALIVE;
        piece
    }

    async fn find(&mut self) -> Option<Bytes> {
        loop {
            if self.over || self.app.stop.is_cancelled() {
                return None;
            }
            if self.until.is_some_and(|until| self.seq >= until) {
                self.over = true;
                return self.progress().await;
            }
            let now = Instant::now();
            if self.progress_due().is_some_and(|due| due <= now)
                && let Some(progress) = self.progress().await
            {
                return Some(progress);
            }
            if self.alive_due <= now {
                return Some(self.alive());
            }
            let found = match self.listener.after(self.seq) {
                After::Next(told) => self.pass(&told),
                After::UpToDate if self.seq >= self.known => {
                    self.wait().await;
                    continue;
                }
                After::UpToDate | After::Behind => self.read_log().await?,
            };
            if !found.is_empty() {
                return Some(found);
            }
        }
    }

    async fn wait(&mut self) {
        let due = self.progress_due().map_or(self.alive_due, |due| due.min(self.alive_due));
        tokio::select! {
            () = self.listener.news() => {}
            () = tokio::time::sleep_until(due) => {}
            () = self.app.stop.cancelled() => {}
        }
    }

    /// `None` when the stream cannot go on: the client comes again with its last id, and hears why.
    async fn read_log(&mut self) -> Option<Bytes> {
        let commits = match self.app.feed.read(self.seq, PIECE_BYTES).await {
            Ok(Page::Commits(commits)) => commits,
            Ok(Page::Gap) => return None,
            Err(fault) => {
                tracing::warn!(%fault, "a stream of events ends: the log could not be read");
                return None;
            }
        };
        let mut text = Vec::new();
        for told in &commits {
            text.extend_from_slice(&self.pass(told));
            if self.until.is_some_and(|until| self.seq >= until) {
                break;
            }
        }
        Some(text.into())
    }

    /// Passes a commit; what of it the client wants to hear.
    fn pass(&mut self, told: &Told) -> Bytes {
        let resume = self.resume.take_if(|id| id.seq <= told.seq);
        let text = match resume.filter(|id| id.seq == told.seq) {
            None if self.filter.is_all() => {
                let text = told.text();
                if !text.is_empty() {
                    self.named = told.last_id();
                }
                text
            }
            None => self.choose(told, 0),
            Some(id) => self.choose(told, id.ordinal.saturating_add(1)),
        };
        self.seq = told.seq;
        // A client may have named an event that the commit does not have.
        self.passed = self.passed.max(told.last_id());
        text
    }

    /// Of a commit's events from an ordinal on, those that the client wants.
    fn choose(&mut self, told: &Told, from: u32) -> Bytes {
        let mut text = Vec::new();
        for (ordinal, (message, bytes)) in (0..).zip(told.messages()) {
            let of_job = self.filter.job.is_none_or(|job| message.job == Some(job));
            if ordinal < from || !of_job {
                continue;
            }
            let of_node = self.filter.node.is_none_or(|node| message.node == Some(node));
            if of_node && self.filter.wants(message.kind) {
                text.extend_from_slice(&bytes);
                self.named = EventId { seq: told.seq, ordinal };
            }
            if let Some(progress) = &mut self.progress {
                progress.changed = true;
                if message.kind == EventKind::JobSettled {
                    self.until = Some(told.seq);
                }
            }
        }
        text.into()
    }

    fn progress_due(&self) -> Option<Instant> {
        self.progress.as_ref().and_then(Progress::due)
    }

    /// How the job stands now, if the client wants to hear it.
    async fn progress(&mut self) -> Option<Bytes> {
        let progress = self.progress.as_mut()?;
        progress.changed = false;
        progress.next = Instant::now() + PROGRESS;
        if !self.filter.wants(EventKind::JobProgress) {
            return None;
        }
        // One that cannot be read is read the next time.
        let record = self.app.store.job(progress.job).await.ok().flatten()?.job;
        let event = Event {
            job: Some(progress.job),
            job_status: Some(record.status),
            tasks: Some(record.tasks),
            ..Event::new(EventKind::JobProgress, clock::now())
        };
        let mut text = Vec::new();
        write_message(&mut text, &event);
        Some(text.into())
    }

    /// A comment, and where the stream stands: who hears little must not have to go back far.
    fn alive(&mut self) -> Bytes {
        if self.passed == self.named {
            return Bytes::from_static(b": keep-alive\n\n");
        }
        self.named = self.passed;
        format!(": keep-alive\nid: {}\n\n", self.passed).into()
    }
}
