//! What a task wrote: `GET /v1/tasks/{id}/logs?stream=&attempt=&follow=`.

use std::sync::Arc;
use std::time::Duration;

use api::sync::{Stream, TailRequest, log_key};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use model::{AttemptId, LogPart, NodeId, TaskId, TaskStatus};
use serde::Deserialize;
use store::{ResultRecord, TaskRecord};
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::body::{self, Params, PathText};
use super::doc::{self, NotFound, NotLeader};
use super::failure::Failure;
use super::outputs::object;
use super::tasks::find;
use super::{App, Shared};

/// Between two looks at a task that does not run yet.
const LOOK: Duration = Duration::from_millis(100);
/// Without `follow`, what a running attempt has written until now is waited for so long.
const NOW_WAIT: Duration = Duration::from_millis(500);
/// Pieces on their way to a client.
const WAITING_PIECES: usize = 8;
const PLAIN: HeaderValue = HeaderValue::from_static("application/octet-stream");

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Which stream; `stdout` by default.
    #[serde(default = "stdout")]
    #[param(inline, required = false)]
    stream: Stream,
    /// Of this attempt only.
    #[param(minimum = 1)]
    attempt: Option<u32>,
    /// Whether to wait for more until the task is settled; an empty value is `1`.
    #[serde(default, deserialize_with = "body::flag")]
    #[param(schema_with = doc::flag)]
    follow: bool,
}

fn stdout() -> Stream {
    Stream::Stdout
}

/// What a task wrote.
///
/// Of a settled task its settling attempt counts, of another the one that runs.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/logs", tag = "tasks", operation_id = "task_logs",
    params(("id" = TaskId, Path, description = "The task"), LogsQuery),
    responses(
        (
            status = 200,
            description = "The bytes, as they were written",
            body = String,
            content_type = "application/octet-stream",
        ),
        NotFound,
        NotLeader,
    ),
)]
pub(super) async fn logs(
    State(app): Shared,
    PathText(id): PathText,
    Params(query): Params<LogsQuery>,
) -> Result<Response, Failure> {
    let id: TaskId = body::id(&id)?;
    let task = find(&app, id).await?;
    let LogsQuery { stream, attempt, follow } = query;
    if let Some(number) = attempt.filter(|number| *number == 0 || *number > task.attempt) {
        return Err(Failure::not_found(format!("{id} has no attempt {number}")));
    }
    let ended = match attempt {
        Some(number) => app.store.attempt_result(id.attempt(number)).await?,
        None if task.status.is_settled() => app.store.result(id).await?,
        // Of a task that is not done, the attempt that runs is of interest.
        None => None,
    };
    if let Some(result) = ended {
        return whole(&app, &result, stream).await;
    }
    if task.status.is_settled() {
        // Cancelled before it was placed: it has written nothing.
        return Ok(answer(Body::empty()));
    }
    if !follow && running(&task).is_none() {
        return match app.store.result(id).await? {
            Some(result) => whole(&app, &result, stream).await,
            None => Ok(answer(Body::empty())),
        };
    }
    // Only the leader hears what a running attempt writes.
    app.lead().await?;
    let (pieces, mut received) = mpsc::channel(WAITING_PIECES);
    let reading = Reading { app, id, stream, attempt, pieces };
    tokio::spawn(async move {
        let end = if follow { reading.follow().await } else { reading.so_far(&task).await };
        if let Err(failure) = end {
            tracing::warn!(task = %id, ?failure, "a log broke off");
        }
    });
    let stream = futures::stream::poll_fn(move |context| received.poll_recv(context));
    Ok(answer(Body::from_stream(stream)))
}

fn answer(body: Body) -> Response {
    ([(header::CONTENT_TYPE, PLAIN)], body).into_response()
}

/// Where a task runs, if it does.
fn running(task: &TaskRecord) -> Option<(AttemptId, NodeId)> {
    match task.status {
        TaskStatus::Assigned | TaskStatus::Running | TaskStatus::Leaving => {
            Some((task.id.attempt(task.attempt), task.node?))
        }
        _ => None,
    }
}

/// A stream of an attempt that has ended.
async fn whole(app: &App, result: &ResultRecord, stream: Stream) -> Result<Response, Failure> {
    Ok(answer(rest(app, result, stream, 0).await?))
}

/// The same from `offset` on: short text is in the row, the rest in the object store.
async fn rest(
    app: &App,
    result: &ResultRecord,
    stream: Stream,
    offset: u64,
) -> Result<Body, Failure> {
    let LogPart { size_bytes, text } = match stream {
        Stream::Stdout => &result.stdout,
        Stream::Stderr => &result.stderr,
    };
    if offset >= *size_bytes {
        return Ok(Body::empty());
    }
    match text {
        Some(text) => {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let bytes = text.as_bytes().get(from..).unwrap_or_default();
            Ok(Body::from(Bytes::copy_from_slice(bytes)))
        }
        None => object(app, &log_key(&result.namespace, result.id, stream), offset).await,
    }
}

/// An answer that is being written.
struct Reading {
    app: Arc<App>,
    id: TaskId,
    stream: Stream,
    /// This one only.
    attempt: Option<u32>,
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

/// The client has hung up, or the answer cannot go on.
#[derive(Debug)]
enum Break {
    HungUp,
    Failed(Failure),
}

impl From<Failure> for Break {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Reading {
    /// From where the attempt begins to its end, or to the end of this replica's term.
    async fn follow(&self) -> Result<(), Failure> {
        match self.follow_or_break().await {
            Ok(()) | Err(Break::HungUp) => Ok(()),
            Err(Break::Failed(failure)) => {
                // The client must see that there is more: a broken body, not a short one.
                let broken = std::io::Error::other("the log broke off");
                let _ = self.pieces.send(Err(broken)).await;
                Err(failure)
            }
        }
    }

    async fn follow_or_break(&self) -> Result<(), Break> {
        let mut offset = 0;
        let Some((attempt, node)) = self.wait_for_start().await? else {
            return self.last_words(None, 0).await;
        };
        let lead = self.app.lead().await?;
        let request = TailRequest { attempt, stream: self.stream, offset };
        let mut follower = lead.hub.follow(node, request);
        // It may have ended between the look and the request: then nobody would tell.
        if self.result_of(attempt).await?.is_some() {
            return self.last_words(Some(attempt), 0).await;
        }
        loop {
            let piece = tokio::select! {
                piece = follower.next() => piece,
                () = self.pieces.closed() => return Err(Break::HungUp),
                () = self.app.stop.cancelled() => None,
            };
            let Some(piece) = piece else { break };
            offset += u64::try_from(piece.len()).unwrap_or(0);
            self.send(piece).await?;
        }
        self.last_words(Some(attempt), offset).await
    }

    /// What a running attempt has written until now.
    async fn so_far(&self, task: &TaskRecord) -> Result<(), Failure> {
        let Some((attempt, node)) = running(task) else { return Ok(()) };
        let lead = self.app.lead().await?;
        let request = TailRequest { attempt, stream: self.stream, offset: 0 };
        let mut follower = lead.hub.follow(node, request);
        while let Ok(Some(piece)) = tokio::time::timeout(NOW_WAIT, follower.next()).await {
            if self.send(piece).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn send(&self, piece: Bytes) -> Result<(), Break> {
        self.pieces.send(Ok(piece)).await.map_err(|_| Break::HungUp)
    }

    /// The attempt that runs; `None` when the one to be followed has ended, or the task is settled.
    async fn wait_for_start(&self) -> Result<Option<(AttemptId, NodeId)>, Break> {
        loop {
            let task = find(&self.app, self.id).await?;
            if let Some((attempt, node)) = running(&task) {
                let other = self.attempt.is_some_and(|number| number != attempt.attempt);
                return Ok((!other).then_some((attempt, node)));
            }
            let over = self.attempt.is_some_and(|number| number <= task.attempt);
            if over || task.status.is_settled() {
                return Ok(None);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.pieces.closed() => return Err(Break::HungUp),
                () = self.app.stop.cancelled() => return Err(self.app.not_leader().await.into()),
            }
        }
    }

    async fn result_of(&self, attempt: AttemptId) -> Result<Option<ResultRecord>, Break> {
        let result = self.app.store.attempt_result(attempt).await;
        result.map_err(|fault| Break::Failed(fault.into()))
    }

    /// What an attempt that has ended wrote past `offset`.
    async fn last_words(&self, attempt: Option<AttemptId>, offset: u64) -> Result<(), Break> {
        let result = match attempt.or_else(|| self.attempt.map(|number| self.id.attempt(number))) {
            Some(attempt) => match self.result_of(attempt).await? {
                Some(result) => Some(result),
                // Its reader was let go of, and yet it has not ended: the leader has.
                None => return Err(self.app.not_leader().await.into()),
            },
            None => self.app.store.result(self.id).await.map_err(Failure::from)?,
        };
        let Some(result) = result else { return Ok(()) };
        let body = rest(&self.app, &result, self.stream, offset).await?;
        let mut bytes = body.into_data_stream();
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|fault| Failure::internal("the object broke off", &fault))?;
            self.send(piece).await?;
        }
        Ok(())
    }
}
