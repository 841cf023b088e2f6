//! `POST /v1/items`: the texts of a group's tasks, one a line, of any number.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::job_document::ItemsDocument;
use api::problem::ProblemKind;
use api::view::ItemsStored;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt as _;
use model::{Fault, ItemsKey, Namespace, limits};
use serde::Deserialize;
use store::ItemsWriter;
use utoipa::IntoParams;

use super::body::{self, Params};
use super::doc::BadBody;
use super::failure::Failure;
use super::{App, Shared};
use crate::{clock, secret};

const NDJSON: &str = "application/x-ndjson";
/// Bytes of a line: each of a text's may be written as an escape of six.
const LINE_BYTES: usize = 6 * limits::TEXT_BYTES + 1_024;
/// Faults of one body are listed up to here: nobody mends more by hand.
const MAX_FAULTS: usize = limits::FAULTS;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ItemsQuery {
    /// Whose they are; only jobs of the same namespace may name them.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    namespace: Namespace,
}

/// Stores items: one text for each task of a group.
///
/// The body is a JSON string a line, and is stored as it comes: it may be far larger than a job's
/// document. What is wrong with any line refuses all of them. Unless a job names the key, the items
/// are forgotten after a day.
#[utoipa::path(post, path = "/v1/items", tag = "jobs", operation_id = "store_items",
    params(ItemsQuery),
    request_body(content = ItemsDocument, content_type = "application/x-ndjson", description = "A JSON string a line"),
    responses(
        (status = 201, description = "Stored, and durable", body = ItemsStored),
        BadBody,
    ))]
pub(super) async fn upload(
    State(app): Shared,
    Params(query): Params<ItemsQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ItemsStored>), Failure> {
    match body::media_type(&headers)? {
        NDJSON => {}
        other => return Err(body::unsupported(format!("`{other}` is not {NDJSON}"))),
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<usize> = length.and_then(|text| text.parse().ok());
    if length.is_some_and(|length| length > app.config.limits.items_bytes) {
        return Err(too_large(&app));
    }
    let Ok(_place) = app.uploads.try_acquire() else {
        return Err(Failure::overloaded("too many uploads at once"));
    };
    let key = new_key(&app);
    let mut upload = Upload {
        writer: app.store.write_items(key, clock::now()),
        line: Vec::new(),
        lines: 0,
        faults: Vec::new(),
    };
    let within = Duration::from_millis(app.config.limits.items_ms);
    let read = tokio::time::timeout(within, upload.read(&app, body)).await;
    let read = read.unwrap_or_else(|_| Err(too_slow(within)));
    if let Err(failure) = read {
        if let Err(fault) = upload.writer.abandon().await {
            tracing::warn!(%key, %fault, "a refused upload is removed later");
        }
        return Err(failure);
    }
    let record = upload.writer.finish(&query.namespace).await?;
    let (count, size_bytes) = (record.count, record.size_bytes);
    tracing::info!(%key, count, size_bytes, "items stored");
    Ok((StatusCode::CREATED, Json(ItemsStored { key, count, size_bytes })))
}

fn new_key(app: &App) -> ItemsKey {
    let mut ids = app.ids.lock().unwrap_or_else(PoisonError::into_inner);
    ItemsKey::from_number(ids.next(clock::now(), secret::noise()))
}

fn too_large(app: &App) -> Failure {
    let detail = format!("the body has more than {} bytes", app.config.limits.items_bytes);
    Failure::new(ProblemKind::TooLarge, detail)
}

fn too_slow(within: Duration) -> Failure {
    let detail = format!("nothing came for {} ms, or not all of it", within.as_millis());
    Failure::new(ProblemKind::Timeout, detail)
}

/// A body on its way into the tables. Never more of it is in memory than a line, a piece of the
/// body, and the blocks that make up one transaction.
struct Upload<'s> {
    writer: ItemsWriter<'s>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Lines that have ended.
    lines: usize,
    faults: Vec<Fault>,
}

impl Upload<'_> {
    async fn read(&mut self, app: &App, body: Body) -> Result<(), Failure> {
        let limits = &app.config.limits;
        let pause = Duration::from_millis(limits.body_ms);
        let (mut pieces, mut bytes) = (body.into_data_stream(), 0_usize);
        loop {
            let piece = tokio::time::timeout(pause, pieces.next()).await;
            let Some(piece) = piece.map_err(|_| too_slow(pause))? else { break };
            let piece = piece.map_err(|fault| Failure::malformed(fault.to_string()))?;
            bytes += piece.len();
            if bytes > limits.items_bytes {
                return Err(too_large(app));
            }
            self.take(&piece).await?;
            if self.faults.len() >= MAX_FAULTS {
                break;
            }
        }
        if self.faults.len() < MAX_FAULTS && !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.take_line(&line).await?;
        }
        if self.faults.is_empty() && self.writer.count() == 0 {
            return Err(Failure::invalid_field("", "no line has a text"));
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        self.faults.truncate(MAX_FAULTS);
        Err(Failure::invalid(std::mem::take(&mut self.faults)))
    }

    async fn take(&mut self, piece: &Bytes) -> Result<(), Failure> {
        let mut rest = &piece[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                self.take_line(&rest[..end]).await?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..end]);
                self.take_line(&line).await?;
            }
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > LINE_BYTES {
            let detail = format!("line {} has more than {LINE_BYTES} bytes", self.lines + 1);
            return Err(Failure::new(ProblemKind::TooLarge, detail));
        }
        Ok(())
    }

    async fn take_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let ordinal = self.lines;
        self.lines += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match text_of(line) {
            // After a fault nothing is kept: the rest is only looked at.
            Ok(_) if !self.faults.is_empty() => {}
            Ok(text) => self.writer.push(text).await?,
            Err(detail) => self.faults.push(Fault {
                pointer: format!("/{ordinal}"),
                detail: format!("line {}: {detail}", ordinal + 1),
            }),
        }
        if u64::from(self.writer.count()) > limits::TASKS {
            let detail = format!("more than {} items: no job has so many tasks", limits::TASKS);
            return Err(Failure::new(ProblemKind::TooLarge, detail));
        }
        Ok(())
    }
}

/// The text that a task will have as `$EBB_ITEM`.
fn text_of(line: &[u8]) -> Result<Arc<str>, String> {
    let text: String = match serde_json::from_slice(line) {
        Ok(text) => text,
        Err(fault) => return Err(format!("is no JSON string: {fault}")),
    };
    if text.len() > limits::TEXT_BYTES {
        return Err(format!("has more than {} bytes", limits::TEXT_BYTES));
    }
    if text.contains('\0') {
        return Err("has a NUL, which no environment can hold".to_owned());
    }
    Ok(text.into())
}
