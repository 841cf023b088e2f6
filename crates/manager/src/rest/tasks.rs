//! Tasks: one, stop, attempts, explain.

use api::view::{AttemptView, Explanation, Page, TaskView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::{Input, Reply};
use model::TaskId;
use store::{InboxMessage, TaskRecord};

use super::body::{self, NoQuery, PathText};
use super::doc::{NotFound, NotLeader};
use super::failure::Failure;
use super::jobs::{explained, post};
use super::{App, Shared, rows};

/// A task, or that there is none.
pub(super) async fn find(app: &App, id: TaskId) -> Result<TaskRecord, Failure> {
    let task = app.store.task(id).await?;
    task.ok_or_else(|| Failure::not_found(format!("there is no task {id}")))
}

/// One task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "get_task",
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The task", body = TaskView), NotFound),
)]
pub(super) async fn one(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Json<TaskView>, Failure> {
    let id: TaskId = body::id(&id)?;
    Ok(Json(rows::task(find(&app, id).await?)))
}

/// Stops a task.
///
/// Idempotent: a task that is settled stays as it is.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "stop_task",
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 202, description = "It will be settled"), NotFound, NotLeader),
)]
pub(super) async fn stop(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<StatusCode, Failure> {
    let task: TaskId = body::id(&id)?;
    if let Some(lead) = app.seat.lead() {
        match lead.ask_one(Input::StopTask { task }).await {
            Ok(Reply::NotFound) => {}
            Ok(_) => return Ok(StatusCode::ACCEPTED),
            Err(why) => return Err(app.unanswered(why).await),
        }
    }
    if !find(&app, task).await?.status.is_settled() {
        post(&app, InboxMessage::StopTask { task }).await?;
    }
    Ok(StatusCode::ACCEPTED)
}

/// A task's ended attempts, in order.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/attempts", tag = "tasks", operation_id = "list_attempts",
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "In order", body = Page<AttemptView>), NotFound),
)]
pub(super) async fn attempts(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Json<Page<AttemptView>>, Failure> {
    let id: TaskId = body::id(&id)?;
    let attempts = app.store.attempts(id).await?;
    if attempts.is_empty() {
        find(&app, id).await?;
    }
    let items = attempts.into_iter().map(rows::attempt).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// Why a task waits, or runs where it does.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/explain", tag = "tasks", operation_id = "explain_task",
    params(("id" = TaskId, Path, description = "The task")),
    responses(
        (status = 200, description = "In words", body = Explanation),
        NotFound,
        NotLeader,
    ),
)]
pub(super) async fn explain(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Json<Explanation>, Failure> {
    let id: TaskId = body::id(&id)?;
    let lead = app.lead().await?;
    let seen = lead.look(move |world, config, now| control::explain_task(world, config, id, now));
    match seen.await {
        Ok(Some(explanation)) => Ok(Json(explained(id, explanation))),
        Err(why) => Err(app.unanswered(why).await),
        Ok(None) => {
            let task = find(&app, id).await?;
            Ok(Json(rows::settled_task(&task, &app.store.attempts(id).await?)))
        }
    }
}
