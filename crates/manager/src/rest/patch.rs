//! `PATCH /v1/jobs/{id}`: a user changes what may be changed (ADR 6).

use std::time::Duration;

use api::job_document::JobPatchDocument;
use api::problem::ProblemKind;
use api::view::JobDetail;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use control::{Input, Reply};
use model::{Deadline, Fault, JobId, JobPatch};
use serde_json::Value;

use super::body::{self, NoQuery, PathText};
use super::doc::{BadBody, Conflict, NotFound, NotLeader, PreconditionFailed};
use super::failure::Failure;
use super::jobs::{detail, no_job, tag};
use super::{App, Shared, json, submit};
use crate::clock;
use crate::leader::Lead;

const MERGE_PATCH: &str = "application/merge-patch+json";
/// How long a job may stay in the inbox until its leader has seen it.
const INBOX_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at it.
const INBOX_LOOK: Duration = Duration::from_millis(10);

/// Changes what may be changed of a job.
///
/// A merge patch (RFC 7396): only the fields present change, null sets one back to its default.
#[utoipa::path(patch, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "patch_job",
    params(
        ("id" = JobId, Path, description = "The job"),
        ("If-Match" = Option<String>, Header, description = "Only if the job's ETag is one of these",
            pattern = r#"^("[0-9]{1,18}"|[*])$"#, example = "\"0\""),
    ),
    request_body(content(
        (JobPatchDocument = "application/merge-patch+json"),
        (JobPatchDocument = "application/json"),
    )),
    responses(
        (status = 200, description = "As it is now", body = JobDetail, headers(
            ("ETag" = String, description = "How often a user changed it, for `If-Match`"),
        )),
        NotFound, Conflict, PreconditionFailed, BadBody, NotLeader,
    ),
)]
pub(super) async fn patch(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let id: JobId = body::id(&id)?;
    match body::media_type(&headers)? {
        MERGE_PATCH | "application/json" => {}
        other => {
            let detail = format!("`{other}` is neither {MERGE_PATCH} nor application/json");
            return Err(body::unsupported(detail));
        }
    }
    let expected = Expected::of(&headers)?;
    let limits = &app.config.limits;
    let bytes = body::read(&headers, body, limits.other_bytes, limits.body_ms).await?;
    let (document, twice) = json::read(&bytes).map_err(|fault| json::malformed(&fault))?;
    let lead = app.lead().await?;
    // What is checked here holds until the change is durable: two patches that each close half of
    // a cycle must not both be right.
    let _alone = app.patching.lock().await;
    let job = unsettled(&app, &lead, id).await?;
    expected.check(job.job.revision)?;
    let patch = read_patch(&app, id, &job, &document, twice).await?;
    let spec = job.spec.patched(&patch);
    if spec == *job.spec {
        return Ok(detail(job));
    }
    let spec = spec.into();
    match lead.ask_one(Input::PatchJob { job: id, patch: Box::new(patch), spec }).await {
        Ok(Reply::Done) => {}
        Ok(Reply::Refused(why)) => return Err(Failure::new(ProblemKind::Conflict, why)),
        Ok(Reply::NotFound) => return Err(settled(id)),
        Ok(other) => {
            return Err(Failure::internal("the patch has no answer", &format!("{other:?}")));
        }
        Err(why) => return Err(app.unanswered(why).await),
    }
    let job = app.store.job(id).await?.ok_or_else(|| no_job(id))?;
    Ok(detail(job))
}

/// The patch, or all that is wrong with it.
async fn read_patch(
    app: &App,
    id: JobId,
    job: &store::JobDetail,
    document: &Value,
    twice: Vec<Fault>,
) -> Result<JobPatch, Failure> {
    let mut faults = twice;
    faults.extend(late(job, document));
    let patch = match job.spec.merge_patch(document) {
        Ok(patch) if faults.is_empty() => patch,
        Ok(_) => return Err(Failure::invalid(faults)),
        Err(of_fields) => {
            faults.extend(of_fields);
            return Err(Failure::invalid(faults));
        }
    };
    let after = submit::named_after(document, "");
    submit::must_be_there(app, after.clone()).await?;
    let ids: Vec<JobId> = after.iter().map(|(id, _)| *id).collect();
    let reaching = app.store.reaches(&ids, id).await?;
    let cycles = after.into_iter().filter(|(id, _)| reaching.contains(id));
    let detail = |other: JobId| match other == id {
        true => "a job cannot come after itself".to_owned(),
        false => format!("{other} comes after {id}: they would wait for each other"),
    };
    faults.extend(cycles.map(|(other, pointer)| Fault { pointer, detail: detail(other) }));
    if faults.is_empty() { Ok(patch) } else { Err(Failure::invalid(faults)) }
}

/// A deadline that is past, however it is written: of one that counts from the submission, too.
fn late(job: &store::JobDetail, document: &Value) -> Option<Fault> {
    let now = clock::now();
    let text = document.get("deadline")?.as_str()?;
    let at = text.parse::<Deadline>().ok()?.of(job.job.submitted);
    (at <= now).then(|| {
        let since = format!("of a job that was submitted at {}", job.job.submitted);
        let detail = format!("`{text}` {since} is past: it is {now}");
        Fault { pointer: "/deadline".to_owned(), detail }
    })
}

/// A job that is not settled, and that the leader has seen.
async fn unsettled(app: &App, lead: &Lead, id: JobId) -> Result<store::JobDetail, Failure> {
    let job = seen(app, lead, id).await?;
    if job.job.status.is_settled() { Err(settled(id)) } else { Ok(job) }
}

/// A job that is not in the inbox any more: from there it comes to the leader within a moment.
pub(super) async fn seen(app: &App, lead: &Lead, id: JobId) -> Result<store::JobDetail, Failure> {
    let end = tokio::time::Instant::now() + INBOX_WAIT;
    loop {
        let job = app.store.job(id).await?.ok_or_else(|| no_job(id))?;
        if !job.job.in_inbox {
            return Ok(job);
        }
        if tokio::time::Instant::now() > end {
            return Err(Failure::unavailable(format!("the leader has not seen {id} yet")));
        }
        lead.posted.notify_one();
        tokio::time::sleep(INBOX_LOOK).await;
    }
}

fn settled(id: JobId) -> Failure {
    let detail = format!("{id} is settled: nothing of it changes any more; see its retry");
    Failure::new(ProblemKind::Conflict, detail)
}

/// What the client has read before.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// Nothing, or it does not matter.
    Anything,
    /// One of these tags.
    OneOf(Vec<String>),
}

impl Expected {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let (mut tags, mut given) = (Vec::new(), false);
        for value in headers.get_all(header::IF_MATCH) {
            let text = value.to_str().unwrap_or_default().trim();
            if text == "*" {
                return Ok(Self::Anything);
            }
            given = true;
            // Empty elements of a list are to be ignored (RFC 9110, 5.6.1).
            for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
                // Weak tags never match here (RFC 9110, 13.1.1), but they are tags.
                let quoted = tag.strip_prefix("W/").unwrap_or(tag);
                let inner = quoted.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                if inner.is_none_or(|inner| inner.contains('"')) {
                    let detail = format!("If-Match: `{tag}` is no ETag like \"0\", in its quotes");
                    return Err(Failure::malformed(detail));
                }
                tags.push(tag.to_owned());
            }
        }
        Ok(if given { Self::OneOf(tags) } else { Self::Anything })
    }

    fn check(&self, revision: u64) -> Result<(), Failure> {
        let is = tag(revision);
        match self {
            Self::OneOf(tags) if !tags.contains(&is) => {
                let detail = format!("the job's ETag is {is}: read it again");
                Err(Failure::new(ProblemKind::PreconditionFailed, detail))
            }
            Self::Anything | Self::OneOf(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(values: &[&str]) -> Option<Expected> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().expect("a value"));
        }
        Expected::of(&headers).ok()
    }

    #[test]
    fn tags_are_read_as_the_standard_says() {
        assert_eq!(expected(&[]), Some(Expected::Anything));
        assert_eq!(expected(&["\"1\"", "*"]), Some(Expected::Anything));
        let tags = |tags: &[&str]| {
            Some(Expected::OneOf(tags.iter().map(|tag| (*tag).to_owned()).collect()))
        };
        assert_eq!(expected(&["\"1\" ,\"2\"", "W/\"3\""]), tags(&["\"1\"", "\"2\"", "W/\"3\""]));
        assert_eq!(expected(&[""]), tags(&[]));
        assert_eq!(expected(&["\"1\","]), tags(&["\"1\""]));
        for bad in ["1", "\"1", "\"1\"2\"", "*,\"1\""] {
            assert_eq!(expected(&[bad]), None, "{bad}");
        }
        let three = expected(&["\"3\""]).expect("a tag");
        assert!(three.check(3).is_ok());
        assert!(three.check(4).is_err());
        assert!(expected(&[""]).expect("no tag").check(0).is_err());
        assert!(expected(&["W/\"3\""]).expect("a tag").check(3).is_err());
    }
}
