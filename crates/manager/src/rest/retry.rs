//! `POST /v1/jobs/{id}/retry`: tasks that did not succeed run again (ADR 7).

use api::problem::ProblemKind;
use api::view::{Retried, RetryRequest, RetryWhich};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use control::{Input, Reply, RetriedJob};
use model::JobId;
use store::RetryOf;

use super::body::{self, NoQuery, PathText};
use super::doc::{BadBody, Conflict, NotFound, NotLeader};
use super::failure::Failure;
use super::jobs::no_job;
use super::{App, Shared, json, patch};

/// Runs tasks of a job again that did not succeed.
///
/// Under the same ids, with attempt numbers that go on and a whole budget of retries. A settled job
/// comes back; of one that is not settled only failed tasks can be retried. No body is `{}`.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", operation_id = "retry_job",
    params(("id" = JobId, Path, description = "The job")),
    request_body(content = RetryRequest),
    responses(
        (status = 202, description = "They run again", body = Retried),
        NotFound,
        Conflict,
        BadBody,
        NotLeader,
    ),
)]
pub(super) async fn retry(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Retried>), Failure> {
    let id: JobId = body::id(&id)?;
    let which = which(&app, &headers, body).await?;
    let lead = app.lead().await?;
    // A settled job is read, and comes back: nobody else may bring it back in between.
    let _alone = app.patching.lock().await;
    let job = patch::seen(&app, &lead, id).await?;
    let settled = if job.job.status.is_settled() {
        Some(Box::new(settled_job(&app, id, which).await?))
    } else {
        if which == RetryWhich::Cancelled {
            return Err(nothing(id, "its cancelled tasks can be retried once it is settled"));
        }
        None
    };
    match lead.ask_one(Input::RetryJob { job: id, settled }).await {
        Ok(Reply::Retried(0)) | Ok(Reply::NotFound) => {
            Err(nothing(id, "none of its tasks has failed"))
        }
        Ok(Reply::Retried(tasks)) => Ok((StatusCode::ACCEPTED, Json(Retried { id, tasks }))),
        Ok(Reply::Refused(why)) => Err(Failure::new(ProblemKind::Conflict, why)),
        Ok(other) => Err(Failure::internal("the retry has no answer", &format!("{other:?}"))),
        Err(why) => Err(app.unanswered(why).await),
    }
}

async fn which(app: &App, headers: &HeaderMap, body: Body) -> Result<RetryWhich, Failure> {
    let limits = &app.config.limits;
    let bytes = body::read(headers, body, limits.other_bytes, limits.body_ms).await?;
    if bytes.is_empty() {
        return Ok(RetryWhich::default());
    }
    body::must_be_json(headers)?;
    Ok(json::read_as::<RetryRequest>(&bytes)?.tasks)
}

async fn settled_job(app: &App, id: JobId, which: RetryWhich) -> Result<RetriedJob, Failure> {
    let of = match which {
        RetryWhich::Failed => RetryOf::Failed,
        RetryWhich::Cancelled => RetryOf::Cancelled,
        RetryWhich::Unsuccessful => RetryOf::Unsuccessful,
    };
    let job = app.store.settled_job(id, of).await?.ok_or_else(|| no_job(id))?;
    let store::SettledJob { spec, submitted, groups, tasks } = job;
    if tasks == 0 {
        return Err(nothing(id, "none of its tasks ended so"));
    }
    Ok(RetriedJob { spec, submitted, groups })
}

fn nothing(id: JobId, why: &str) -> Failure {
    Failure::new(ProblemKind::Conflict, format!("{id} has nothing to retry: {why}"))
}
