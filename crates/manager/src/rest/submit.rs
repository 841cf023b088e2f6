//! `POST /v1/jobs`: one document, or NDJSON with one a line.

use std::sync::{Arc, PoisonError};

use api::problem::ProblemKind;
use api::view::Submitted;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::Input;
use model::{Fault, JobId, JobSpec};
use serde_json::Value;
use store::{IdempotencyKey, InboxMessage, Posted, StoreError};

use super::failure::Failure;
use super::{App, Shared, body};
use crate::{clock, secret};

/// Documents above this are parsed on a thread that may block.
const LARGE_BYTES: usize = 64 << 10;
/// Bytes of an idempotency key.
const KEY_BYTES: usize = 255;
const NDJSON: &str = "application/x-ndjson";

pub(super) async fn submit(
    State(app): Shared,
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
    let lines = limits.ndjson_lines;
    let read = move |bytes: &Bytes| if many { read_lines(bytes, lines) } else { read_one(bytes) };
    let (specs, bytes) = if bytes.len() > LARGE_BYTES {
        let reading = tokio::task::spawn_blocking(move || (read(&bytes), bytes)).await;
        reading.map_err(|fault| Failure::internal("the document could not be read", &fault))?
    } else {
        (read(&bytes), bytes)
    };
    let accepted = accept(&app, specs?, key, &bytes).await?;
    if many { answer_lines(&accepted) } else { answer_one(&accepted) }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_BYTES {
        let detail = format!("Idempotency-Key: 1 to {KEY_BYTES} visible ASCII characters");
        return Err(Failure::malformed(detail));
    }
    Ok(Some(text.to_owned()))
}

fn read_one(bytes: &[u8]) -> Result<Vec<Arc<JobSpec>>, Failure> {
    let document: Value = body::parse(bytes)?;
    JobSpec::parse(&document).map(|spec| vec![Arc::new(spec)]).map_err(Failure::invalid)
}

/// Faults of one body are shown up to here; nobody reads more.
const MAX_FAULTS: usize = 1_000;

/// All lines or none: the pointers of faults begin with the line's ordinal.
fn read_lines(bytes: &[u8], most: usize) -> Result<Vec<Arc<JobSpec>>, Failure> {
    let (mut specs, mut faults) = (Vec::new(), Vec::new());
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (ordinal, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        if specs.len() >= most {
            let detail = format!("more than {most} lines; send the rest in another request");
            return Err(Failure::new(ProblemKind::TooLarge, detail));
        }
        match serde_json::from_slice::<Value>(line) {
            Err(fault) => {
                let detail = format!("not JSON: {fault}");
                faults.push(Fault { pointer: format!("/{ordinal}"), detail });
            }
            Ok(document) => match JobSpec::parse(&document) {
                Ok(spec) => specs.push(Arc::new(spec)),
                Err(of_line) => faults.extend(of_line.into_iter().map(|fault| Fault {
                    pointer: format!("/{ordinal}{}", fault.pointer),
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
    if specs.is_empty() {
        return Err(Failure::malformed("no line has a document"));
    }
    Ok(specs)
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
            Err(Failure::overloaded("another replica drew the same id; send it again"))
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

    #[test]
    fn a_faulty_line_is_named_and_nothing_is_read() {
        let good = r#"{"group":[{"command":["true"]}]}"#;
        let lines = format!("{good}\n\n{good}\n");
        assert_eq!(read_lines(lines.as_bytes(), 10).map(|specs| specs.len()).ok(), Some(2));
        assert!(read_lines(lines.as_bytes(), 1).is_err());
        assert!(read_lines(b"\n \n", 10).is_err());
        let lines = format!("{good}\n{{\"group\":[{{}}]}}\nnot json\n");
        let response = read_lines(lines.as_bytes(), 10).expect_err("faulty").into_response();
        assert_eq!(response.status(), 422);
    }

    #[test]
    fn a_document_too_deep_is_an_error() {
        let deep = "[".repeat(100_000);
        let response = read_one(deep.as_bytes()).expect_err("too deep").into_response();
        assert_eq!(response.status(), 400);
    }
}
