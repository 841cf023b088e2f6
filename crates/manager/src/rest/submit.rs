//! `POST /v1/jobs`: one document, or NDJSON with one a line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use api::job_document::{JobDocument, JobsDocument};
use api::problem::ProblemKind;
use api::view::Submitted;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::Input;
use model::{Fault, GroupSpec, ItemsKey, JobId, JobSpec, Timestamp, items_keys, past_deadline};
use serde_json::Value;
use store::{IdempotencyKey, InboxMessage, ItemsRecord, Posted, StoreError};

use super::body::NoQuery;
use super::doc::{BadBody, NotLeader};
use super::failure::Failure;
use super::{App, Shared, body, json};
use crate::{clock, secret};

/// Documents above this are parsed on a thread that may block.
const LARGE_BYTES: usize = 64 << 10;
/// Bytes of an idempotency key.
const KEY_BYTES: usize = 255;
const NDJSON: &str = "application/x-ndjson";

/// Submits a job, or many.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "submit_job",
    params(
        (
            "Idempotency-Key" = Option<String>,
            Header,
            description = "Makes the request repeatable for 24 hours: the same body replays the answer, another body is refused",
            pattern = "^[!-~]{1,255}$",
        ),
    ),
    request_body(
        content((JobDocument = "application/json"), (JobsDocument = "application/x-ndjson")),
        description = "One document, or up to 10,000, one a line: all or none",
    ),
    responses(
        (
            status = 201,
            description = "Accepted, and durable",
            content((Submitted = "application/json"), (String = "application/x-ndjson")),
            headers( ("Location" = String, description = "Where the job is; of one document")),
        ),
        BadBody,
        NotLeader,
    ),
)]
pub(super) async fn submit(
    State(app): Shared,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let limits = &app.config.limits;
    let many = match body::media_type(&headers)? {
        "application/json" => false,
        NDJSON => true,
        other => {
            let detail = format!("`{other}` is neither application/json nor {NDJSON}");
            return Err(body::unsupported(detail));
        }
    };
    let key = key(&headers)?;
    let limit = if many { limits.ndjson_bytes } else { limits.job_bytes };
    let bytes = body::read(&headers, body, limit, limits.body_ms).await?;
    let shape = Shape { many, most: limits.ndjson_lines };
    let (read, bytes) = shape.read_all(&app, bytes).await?;
    let Read { specs, after } = read;
    must_be_there(&app, after).await?;
    let accepted = accept(&app, specs, key, &bytes).await?;
    if many { answer_lines(&accepted) } else { answer_one(&accepted) }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let detail = format!("Idempotency-Key: 1 to {KEY_BYTES} visible ASCII characters");
        return Err(Failure::malformed(detail));
    }
    Ok(Some(text.to_owned()))
}

/// Faults of one body are shown up to here; nobody reads more.
const MAX_FAULTS: usize = model::limits::FAULTS;

/// Whether a body is one document, or one a line and how many at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) many: bool,
    pub(super) most: usize,
}

/// What a body asks for.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) specs: Vec<Arc<JobSpec>>,
    /// Jobs that it says are there, each with its place.
    pub(super) after: Vec<(JobId, String)>,
}

/// Uploaded items by their keys.
type Items = BTreeMap<ItemsKey, ItemsRecord>;

impl Shape {
    /// Reads a body, large ones beside the requests, and gives it back.
    pub(super) async fn read_all(self, app: &App, bytes: Bytes) -> Result<(Read, Bytes), Failure> {
        let items = stored_items(app, &bytes, self).await?;
        let now = clock::now();
        let read = move |bytes: &Bytes| self.read(bytes, &items, now);
        let (read, bytes) = if bytes.len() > LARGE_BYTES {
            let reading = tokio::task::spawn_blocking(move || (read(&bytes), bytes)).await;
            reading.map_err(|fault| Failure::internal("the document could not be read", &fault))?
        } else {
            (read(&bytes), bytes)
        };
        Ok((read?, bytes))
    }

    /// The documents' bytes, each with the beginning of its pointers.
    fn documents<'b>(self, bytes: &'b [u8]) -> Box<dyn Iterator<Item = (String, &'b [u8])> + 'b> {
        if !self.many {
            return Box::new(std::iter::once((String::new(), bytes)));
        }
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        Box::new(lines.map(|(ordinal, line)| (format!("/{ordinal}"), line)))
    }

    /// All or none: the pointers of lines' faults begin with the line's ordinal.
    fn read(self, bytes: &[u8], items: &Items, now: Timestamp) -> Result<Read, Failure> {
        let (mut read, mut faults) = (Read::default(), Vec::new());
        for (place, text) in self.documents(bytes) {
            if self.many && read.specs.len() >= self.most {
                let detail =
                    format!("more than {} lines; send the rest in another request", self.most);
                return Err(Failure::new(ProblemKind::TooLarge, detail));
            }
            match json::read(text) {
                Err(fault) if !self.many => return Err(json::malformed(&fault)),
                Err(fault) => {
                    faults.push(Fault { pointer: place, detail: format!("not JSON: {fault}") });
                }
                Ok((document, twice)) => match read_spec(&document, twice, items, now) {
                    Ok(spec) => {
                        read.after.extend(named_after(&document, &place));
                        read.specs.push(Arc::new(spec));
                    }
                    Err(of_line) => faults.extend(of_line.into_iter().map(|fault| Fault {
                        pointer: format!("{place}{}", fault.pointer),
                        ..fault
                    })),
                },
            }
            if faults.len() > MAX_FAULTS {
                break;
            }
        }
        if !faults.is_empty() {
            return Err(Failure::invalid(faults));
        }
        if read.specs.is_empty() {
            return Err(Failure::malformed("no line has a document"));
        }
        Ok(read)
    }

    /// The keys of uploaded items that the documents name.
    fn items_keys(self, bytes: &[u8]) -> BTreeSet<ItemsKey> {
        let documents = self.documents(bytes).take(self.most);
        let documents = documents.filter_map(|(_, text)| serde_json::from_slice(text).ok());
        documents.flat_map(|document: Value| items_keys(&document)).collect()
    }
}

/// The spec, or all faults: those of its JSON and those of its fields.
fn read_spec(
    document: &Value,
    twice: Vec<Fault>,
    items: &Items,
    now: Timestamp,
) -> Result<JobSpec, Vec<Fault>> {
    let counts = items.iter().map(|(key, record)| (*key, record.count)).collect();
    let mut faults = twice;
    faults.extend(past_deadline(document, now));
    match JobSpec::parse_with(document, &counts) {
        Ok(spec) => {
            faults.extend(foreign_items(&spec, items));
            if faults.is_empty() { Ok(spec) } else { Err(faults) }
        }
        Err(of_fields) => {
            faults.extend(of_fields);
            Err(faults)
        }
    }
}

/// Items belong to a namespace, as jobs do.
fn foreign_items(spec: &JobSpec, items: &Items) -> Vec<Fault> {
    let foreign = |(ordinal, group): (usize, &Arc<GroupSpec>)| {
        let theirs = &items.get(&group.items_key?)?.namespace;
        (*theirs != spec.namespace).then(|| Fault {
            pointer: format!("/group/{ordinal}/items_key"),
            detail: format!("these items belong to the namespace `{theirs}`"),
        })
    };
    spec.groups.iter().enumerate().filter_map(foreign).collect()
}

/// The jobs of a document's `after`, each with its place.
pub(super) fn named_after(document: &Value, place: &str) -> Vec<(JobId, String)> {
    let list = document.get("after").and_then(Value::as_array);
    let named = list.into_iter().flatten().enumerate().filter_map(|(ordinal, id)| {
        Some((id.as_str()?.parse().ok()?, format!("{place}/after/{ordinal}")))
    });
    named.collect()
}

/// What is stored under the keys that the documents name.
async fn stored_items(app: &App, bytes: &Bytes, shape: Shape) -> Result<Items, Failure> {
    // Hardly any document has one; those that have are read twice.
    const FIELD: &[u8] = b"items_key";
    if !bytes.windows(FIELD.len()).any(|window| window == FIELD) {
        return Ok(Items::new());
    }
    let bytes = bytes.clone();
    let keys = tokio::task::spawn_blocking(move || shape.items_keys(&bytes)).await;
    let keys = keys.map_err(|fault| Failure::internal("the document could not be read", &fault))?;
    let keys: Vec<ItemsKey> = keys.into_iter().collect();
    Ok(app.store.items(&keys, clock::now()).await?)
}

/// A job that comes after one that there never was would wait for ever.
pub(super) async fn must_be_there(app: &App, after: Vec<(JobId, String)>) -> Result<(), Failure> {
    let ids: BTreeSet<JobId> = after.iter().map(|(id, _)| *id).collect();
    let unknown = app.store.unknown_jobs(&ids.into_iter().collect::<Vec<_>>()).await?;
    let missing = after.into_iter().filter(|(id, _)| unknown.contains(id));
    let faults: Vec<Fault> = missing
        .map(|(id, pointer)| Fault { pointer, detail: format!("there is no {id}") })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Failure::invalid(faults)) }
}

/// Accepted is durable. At the leader a submit without a key is an input of the next step; with a
/// key, or at another replica, it goes through the inbox, in one transaction with the key.
async fn accept(
    app: &App,
    specs: Vec<Arc<JobSpec>>,
    key: Option<String>,
    body: &Bytes,
) -> Result<Vec<Submitted>, Failure> {
    let jobs: Vec<(JobId, Arc<JobSpec>)> =
        specs.into_iter().map(|spec| (new_id(app), spec)).collect();
    let accepted: Vec<Submitted> =
        jobs.iter().map(|(id, spec)| Submitted { id: *id, tasks: spec.tasks() }).collect();
    let lead = app.seat.lead();
    if let (None, Some(lead)) = (&key, &lead) {
        let inputs = jobs.into_iter().map(|(job, spec)| Input::Submit { job, spec }).collect();
        return match lead.ask(inputs).await {
            Ok(_) => Ok(accepted),
            Err(why) => Err(app.unanswered(why).await),
        };
    }
    let key = key.map(|key| idempotency_key(&jobs, key, body, &accepted)).transpose()?;
    let now = clock::now();
    let messages: Vec<InboxMessage> =
        jobs.into_iter().map(|(job, spec)| InboxMessage::Submit { job, spec, at: now }).collect();
    let posted = app.store.post(&messages, key.as_ref()).await;
    if let Some(lead) = lead {
        lead.posted.notify_one();
    }
    match posted {
        Ok(Posted::Accepted) => Ok(accepted),
        Ok(Posted::Replayed(answer)) => serde_json::from_str(&answer)
            .map_err(|fault| Failure::internal("the stored answer cannot be read", &fault)),
        Ok(Posted::KeyReused) => {
            let detail = "this key came with another body within the last 24 hours";
            Err(Failure::new(ProblemKind::KeyReused, detail))
        }
        Err(StoreError::JobIdTaken(_)) => {
            Err(Failure::unavailable("another replica drew the same id; send it again"))
        }
        Err(fault) => Err(fault.into()),
    }
}

fn new_id(app: &App) -> JobId {
    let mut ids = app.ids.lock().unwrap_or_else(PoisonError::into_inner);
    JobId::from_number(ids.next(clock::now(), secret::noise()))
}

fn idempotency_key(
    jobs: &[(JobId, Arc<JobSpec>)],
    key: String,
    body: &Bytes,
    accepted: &[Submitted],
) -> Result<IdempotencyKey, Failure> {
    use sha2::{Digest, Sha256};
    let namespace = jobs.first().map(|(_, spec)| spec.namespace.clone()).unwrap_or_default();
    let answer = serde_json::to_string(accepted)
        .map_err(|fault| Failure::internal("the answer cannot be written", &fault))?;
    Ok(IdempotencyKey { namespace, key, body_hash: Sha256::digest(body).into(), answer })
}

fn answer_one(accepted: &[Submitted]) -> Result<Response, Failure> {
    let Some(job) = accepted.first() else {
        return Err(Failure::malformed("the key belongs to a request of another kind"));
    };
    let location = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id));
    let location = location.map_err(|fault| Failure::internal("the id has no text", &fault))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(job)).into_response())
}

fn answer_lines(accepted: &[Submitted]) -> Result<Response, Failure> {
    let mut lines = Vec::with_capacity(accepted.len() * 48);
    for job in accepted {
        serde_json::to_writer(&mut lines, job)
            .map_err(|fault| Failure::internal("the answer cannot be written", &fault))?;
        lines.push(b'\n');
    }
    let ndjson = HeaderValue::from_static(NDJSON);
    Ok((StatusCode::CREATED, [(header::CONTENT_TYPE, ndjson)], lines).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Shape = Shape { many: false, most: 10 };
    const MANY: Shape = Shape { many: true, most: 10 };

    fn lines(shape: Shape, text: &str) -> Result<usize, u16> {
        match shape.read(text.as_bytes(), &Items::new(), clock::now()) {
            Ok(read) => Ok(read.specs.len()),
            Err(failure) => Err(failure.into_response().status().as_u16()),
        }
    }

    #[test]
    fn a_faulty_line_is_named_and_nothing_is_read() {
        let good = r#"{"group":[{"command":["true"]}]}"#;
        let text = format!("{good}\n\n{good}\n");
        assert_eq!(lines(MANY, &text), Ok(2));
        assert_eq!(lines(Shape { most: 1, ..MANY }, &text), Err(413));
        assert_eq!(lines(MANY, "\n \n"), Err(400));
        assert_eq!(lines(MANY, &format!("{good}\n{{\"group\":[{{}}]}}\nnot json\n")), Err(422));
        assert_eq!(lines(ONE, &text), Err(400));
    }

    #[test]
    fn a_document_too_deep_is_an_error() {
        assert_eq!(lines(ONE, &"[".repeat(100_000)), Err(400));
    }

    #[test]
    fn a_deadline_that_is_past_is_a_fault() {
        let with = |deadline: &str| {
            format!(r#"{{"deadline": "{deadline}", "group":[{{"command":["true"]}}]}}"#)
        };
        assert_eq!(lines(ONE, &with("2020-01-01T00:00:00Z")), Err(422));
        assert_eq!(lines(ONE, &with("2099-01-01T00:00:00Z")), Ok(1));
        assert_eq!(lines(ONE, &with("60h")), Ok(1));
    }

    #[test]
    fn what_a_document_says_twice_is_a_fault() {
        let text = r#"{"name": "a", "name": "b", "group":[{"command":["true"]}]}"#;
        assert_eq!(lines(ONE, text), Err(422));
    }
}
