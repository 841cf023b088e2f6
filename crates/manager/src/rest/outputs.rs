//! Bytes of the object store: outputs of settled tasks, and streams too long for a row.

use api::sync::output_key;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use model::TaskId;
use object_store::{ObjectStore, ObjectStoreExt};

use super::body::NoQuery;
use super::doc::NotFound;
use super::failure::Failure;
use super::{App, Shared, body};

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `/v1/tasks/{id}/outputs/{*path}`.
pub(super) struct Place {
    id: String,
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let place = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((id, path)) = place.map_err(|fault| Failure::not_found(fault.body_text()))?;
        Ok(Self { id, path })
    }
}

/// An output file of a settled task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/outputs/{*path}", tag = "tasks", operation_id = "get_output",
    params(
        ("id" = TaskId, Path, description = "The task"),
        (
            "path" = String,
            Path,
            description = "The file's path, which may have slashes",
            min_length = 1,
        ),
    ),
    responses(
        (
            status = 200,
            description = "The file's bytes",
            body = String,
            content_type = "application/octet-stream",
        ),
        NotFound,
    ),
)]
// Only what is in the settling attempt's manifest exists (DESIGN §4.2).
pub(super) async fn download(
    State(app): Shared,
    place: Place,
    _: NoQuery,
) -> Result<Response, Failure> {
    let id: TaskId = body::id(&place.id)?;
    let attempts = app.store.attempts(id).await?;
    let settling = attempts.into_iter().find(|attempt| attempt.settles);
    let none = || Failure::not_found(format!("{id} has left no output `{}`", place.path));
    let settling = settling.ok_or_else(none)?;
    let file = settling.outputs.iter().find(|file| *file.path == *place.path).ok_or_else(none)?;
    let Some(result) = app.store.attempt_result(settling.id).await? else { return Err(none()) };
    let key = output_key(&result.namespace, settling.id, &file.path);
    let body = object(&app, &key, 0).await?;
    let headers = [
        (header::CONTENT_TYPE, BYTES),
        (header::CONTENT_LENGTH, HeaderValue::from(file.size_bytes)),
    ];
    Ok((headers, body).into_response())
}

/// An object from `offset` on.
pub(super) async fn object(app: &App, key: &str, offset: u64) -> Result<Body, Failure> {
    let path = object_store::path::Path::parse(key)
        .map_err(|fault| Failure::internal("the object's key is none", &fault))?;
    let lost = |fault: object_store::Error| match fault {
        object_store::Error::NotFound { .. } => {
            tracing::error!(key, "an object is missing");
            Failure::not_found("the object store has lost it".to_owned())
        }
        fault => Failure::internal("the object store did not answer as it should", &fault),
    };
    if offset == 0 {
        let object = app.objects.get(&path).await.map_err(lost)?;
        return Ok(Body::from_stream(object.into_stream()));
    }
    let range = object_store::GetRange::Offset(offset);
    let options = object_store::GetOptions { range: Some(range), ..Default::default() };
    let object = app.objects.get_opts(&path, options).await.map_err(lost)?;
    Ok(Body::from_stream(object.into_stream().boxed()))
}
