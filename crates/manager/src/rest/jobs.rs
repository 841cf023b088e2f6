//! Jobs: lists, one, stop, and what their tasks are and left.

use api::view::{Explanation, JobDetail, JobView, OutputView, Page, ResultView, TaskView};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::{Input, Reply};
use model::{JobId, JobStatus, Namespace, TaskStatus};
use serde::Deserialize;
use store::{InboxMessage, JobFilter, TaskFilter};
use utoipa::IntoParams;

use super::body::{self, NoQuery, Params, PathText};
use super::doc::{NotFound, NotLeader};
use super::failure::Failure;
use super::{App, Shared, rows};
use crate::clock;

/// Items of a page without `limit`.
const PAGE: u32 = 100;
/// Items of a page at most.
const MAX_PAGE: u32 = 1_000;

/// How many items a page has.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Failure> {
    let limit = asked.unwrap_or(PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(Failure::malformed(format!("limit: must be 1 to {MAX_PAGE}")))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    /// Only jobs in this status.
    #[param(inline)]
    status: Option<JobStatus>,
    /// Only jobs with these labels: `KEY=VALUE`, several with commas.
    #[param(pattern = r"^[^=,\x00]+=[^,\x00]*(,[^=,\x00]+=[^,\x00]*){0,63}$")]
    label: Option<String>,
    /// Only jobs of this namespace.
    #[param(inline)]
    namespace: Option<Namespace>,
    /// `next_cursor` of the page before.
    #[param(inline)]
    cursor: Option<JobId>,
    /// Jobs of the page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Jobs, the newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    params(JobsQuery),
    responses((status = 200, description = "The newest first", body = Page<JobView>)),
)]
pub(super) async fn list(
    State(app): Shared,
    Params(query): Params<JobsQuery>,
) -> Result<Json<Page<JobView>>, Failure> {
    let limit = limit(query.limit)?;
    let filter = JobFilter {
        namespace: query.namespace,
        status: query.status,
        labels: labels(query.label.as_deref())?,
        before: query.cursor,
        limit,
    };
    let jobs = app.store.jobs(&filter).await?;
    let next_cursor = next(&jobs, limit, |job| job.id.to_string());
    Ok(Json(Page { items: jobs.into_iter().map(rows::job).collect(), next_cursor }))
}

/// The last of a full page: there may be more.
fn next<T>(items: &[T], limit: u32, cursor: impl Fn(&T) -> String) -> Option<String> {
    let full = u32::try_from(items.len()).is_ok_and(|length| length >= limit);
    items.last().filter(|_| full).map(cursor)
}

fn labels(text: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if text.split(',').count() > model::limits::LABELS {
        let detail = format!("label: more than {} of them", model::limits::LABELS);
        return Err(Failure::malformed(detail));
    }
    let pair = |part: &str| match part.split_once('=') {
        Some((key, value)) if !key.is_empty() && !part.contains('\0') => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(Failure::malformed(format!("label: `{part}` is not KEY=VALUE"))),
    };
    text.split(',').map(pair).collect()
}

/// One job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "get_job",
    params(("id" = JobId, Path, description = "The job")),
    responses(
        (
            status = 200,
            description = "The job",
            body = JobDetail,
            headers(
                ("ETag" = String, description = "How often a user changed it, for `If-Match`"),
            ),
        ),
        NotFound,
    ),
)]
pub(super) async fn one(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Response, Failure> {
    let id: JobId = body::id(&id)?;
    let job = app.store.job(id).await?.ok_or_else(|| no_job(id))?;
    Ok(detail(job))
}

/// A job, and the tag of its revision.
pub(super) fn detail(job: store::JobDetail) -> Response {
    let tag = tag(job.job.revision);
    ([(header::ETAG, tag)], Json(rows::job_detail(job, clock::now()))).into_response()
}

/// An ETag changes when a user changes the job: its counts change many times a second.
pub(super) fn tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

pub(super) fn no_job(id: JobId) -> Failure {
    Failure::not_found(format!("there is no {id}"))
}

/// Stops a job.
///
/// Idempotent: a job that is settled stays as it is.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "stop_job",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = 202, description = "It will be settled"), NotFound, NotLeader),
)]
pub(super) async fn stop(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<StatusCode, Failure> {
    let job: JobId = body::id(&id)?;
    if let Some(lead) = app.seat.lead() {
        match lead.ask_one(Input::StopJob { job }).await {
            Ok(Reply::NotFound) => {}
            Ok(_) => return Ok(StatusCode::ACCEPTED),
            Err(why) => return Err(app.unanswered(why).await),
        }
    }
    let known = app.store.job(job).await?.ok_or_else(|| no_job(job))?;
    if !known.job.status.is_settled() {
        post(&app, InboxMessage::StopJob { job }).await?;
    }
    Ok(StatusCode::ACCEPTED)
}

/// Hands the leader, whoever it is, a message; it is durable then.
pub(super) async fn post(app: &App, message: InboxMessage) -> Result<(), Failure> {
    app.store.post(&[message], None).await?;
    if let Some(lead) = app.seat.lead() {
        lead.posted.notify_one();
    }
    Ok(())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TasksQuery {
    /// Only tasks in this status.
    #[param(inline)]
    status: Option<TaskStatus>,
    /// `next_cursor` of the page before.
    #[param(pattern = r"^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,8})$")]
    cursor: Option<String>,
    /// Tasks of the page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page of what tasks have left.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftQuery {
    /// `next_cursor` of the page before.
    #[param(pattern = r"^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,8})$")]
    cursor: Option<String>,
    /// Tasks of the page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The last task of the page before: `GROUP.INDEX`.
fn after(cursor: Option<&str>) -> Result<Option<(u16, u32)>, Failure> {
    let Some(cursor) = cursor else { return Ok(None) };
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let plain = part == "0" || !part.starts_with('0');
        (digits && plain).then(|| part.parse::<u32>().ok()).flatten()
    };
    let task = cursor
        .split_once('.')
        .and_then(|(group, index)| Some((u16::try_from(number(group)?).ok()?, number(index)?)));
    let wrong = || Failure::malformed(format!("cursor: `{cursor}` came from no page"));
    task.map(Some).ok_or_else(wrong)
}

/// A job's tasks, by group and index.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/tasks", tag = "jobs", operation_id = "list_tasks",
    params(("id" = JobId, Path, description = "The job"), TasksQuery),
    responses(
        (status = 200, description = "By group and index", body = Page<TaskView>),
        NotFound,
    ),
)]
pub(super) async fn tasks(
    State(app): Shared,
    PathText(id): PathText,
    Params(query): Params<TasksQuery>,
) -> Result<Json<Page<TaskView>>, Failure> {
    let id: JobId = body::id(&id)?;
    let limit = limit(query.limit)?;
    let after = after(query.cursor.as_deref())?;
    let filter = TaskFilter { status: query.status, after, limit };
    let tasks = app.store.tasks(id, &filter).await?.ok_or_else(|| no_job(id))?;
    let next_cursor = next(&tasks, limit, |task| format!("{}.{}", task.id.group, task.id.index));
    Ok(Json(Page { items: tasks.into_iter().map(rows::task).collect(), next_cursor }))
}

/// What the settling attempts of a job's tasks have left, by group and index.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/results", tag = "jobs", operation_id = "list_results",
    params(("id" = JobId, Path, description = "The job"), LeftQuery),
    responses(
        (status = 200, description = "By group and index", body = Page<ResultView>),
        NotFound,
    ),
)]
pub(super) async fn results(
    State(app): Shared,
    PathText(id): PathText,
    Params(query): Params<LeftQuery>,
) -> Result<Json<Page<ResultView>>, Failure> {
    let id: JobId = body::id(&id)?;
    let limit = limit(query.limit)?;
    let results = app.store.results(id, after(query.cursor.as_deref())?, limit).await?;
    if results.is_empty() {
        must_exist(&app, id).await?;
    }
    let next_cursor = next(&results, limit, |result| {
        format!("{}.{}", result.id.task.group, result.id.task.index)
    });
    Ok(Json(Page { items: results.into_iter().map(rows::result).collect(), next_cursor }))
}

/// The files that a job's settled tasks have left.
///
/// A page counts tasks, so that all files of a task are on one.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/outputs", tag = "jobs", operation_id = "list_outputs",
    params(("id" = JobId, Path, description = "The job"), LeftQuery),
    responses(
        (status = 200, description = "By group, index and path", body = Page<OutputView>),
        NotFound,
    ),
)]
pub(super) async fn outputs(
    State(app): Shared,
    PathText(id): PathText,
    Params(query): Params<LeftQuery>,
) -> Result<Json<Page<OutputView>>, Failure> {
    let id: JobId = body::id(&id)?;
    let limit = limit(query.limit)?;
    let outputs = app.store.outputs(id, after(query.cursor.as_deref())?, limit).await?;
    if outputs.is_empty() {
        must_exist(&app, id).await?;
    }
    let mut tasks: Vec<_> = outputs.iter().map(|output| output.id.task).collect();
    tasks.dedup();
    let next_cursor = next(&tasks, limit, |task| format!("{}.{}", task.group, task.index));
    let view = |output: store::OutputRecord| OutputView {
        task: output.id.task,
        path: output.file.path.to_string(),
        size_bytes: output.file.size_bytes,
    };
    Ok(Json(Page { items: outputs.into_iter().map(view).collect(), next_cursor }))
}

/// An empty list of a job that is there differs from a job that is not.
async fn must_exist(app: &App, id: JobId) -> Result<(), Failure> {
    let filter = TaskFilter { status: None, after: None, limit: 1 };
    app.store.tasks(id, &filter).await?.map(|_| ()).ok_or_else(|| no_job(id))
}

/// Why a job stands where it stands.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/explain", tag = "jobs", operation_id = "explain_job",
    params(("id" = JobId, Path, description = "The job")),
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
    let id: JobId = body::id(&id)?;
    let lead = app.lead().await?;
    let seen = lead.look(move |world, config, now| control::explain_job(world, config, id, now));
    let found = match seen.await {
        Ok(found) => found,
        Err(why) => return Err(app.unanswered(why).await),
    };
    if let Some(explanation) = found {
        return Ok(Json(explained(id, explanation)));
    }
    let job = app.store.job(id).await?.ok_or_else(|| no_job(id))?;
    Ok(Json(rows::settled_job(&job.job)))
}

/// The reactor's words about a thing.
pub(super) fn explained(subject: impl ToString, explanation: control::Explanation) -> Explanation {
    let control::Explanation { summary, details } = explanation;
    Explanation { subject: subject.to_string(), summary, details }
}
