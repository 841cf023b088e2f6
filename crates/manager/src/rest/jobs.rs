//! Jobs: lists, one, stop, and what their tasks are and left.

use api::view::{Explanation, JobDetail, JobView, OutputView, Page, ResultView, TaskView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::{Input, Reply};
use model::{JobId, JobStatus, Namespace, TaskStatus};
use serde::Deserialize;
use store::{InboxMessage, JobFilter, TaskFilter};

use super::body::{self, Params, PathText};
use super::failure::Failure;
use super::{App, Shared, rows};

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    status: Option<JobStatus>,
    /// `KEY=VALUE`, several with commas.
    label: Option<String>,
    namespace: Option<Namespace>,
    cursor: Option<JobId>,
    limit: Option<u32>,
}

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
    let pair = |part: &str| match part.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Failure::malformed(format!("label: `{part}` is not KEY=VALUE"))),
    };
    text.split(',').map(pair).collect()
}

pub(super) async fn one(
    State(app): Shared,
    PathText(id): PathText,
) -> Result<Json<JobDetail>, Failure> {
    let id: JobId = body::id(&id)?;
    let job = app.store.job(id).await?.ok_or_else(|| no_job(id))?;
    Ok(Json(rows::job_detail(job)))
}

fn no_job(id: JobId) -> Failure {
    Failure::not_found(format!("there is no {id}"))
}

/// 202, and idempotent: a job that is settled stays as it is.
pub(super) async fn stop(
    State(app): Shared,
    PathText(id): PathText,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TasksQuery {
    status: Option<TaskStatus>,
    /// `GROUP.INDEX` of the last task of the page before.
    cursor: Option<String>,
    limit: Option<u32>,
}

impl TasksQuery {
    fn after(&self) -> Result<Option<(u16, u32)>, Failure> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let parts = cursor.split_once('.');
        let after =
            parts.and_then(|(group, index)| Some((group.parse().ok()?, index.parse().ok()?)));
        let wrong = || Failure::malformed(format!("cursor: `{cursor}` came from no page"));
        after.map(Some).ok_or_else(wrong)
    }

    /// Where a status means nothing.
    fn no_status(&self) -> Result<(), Failure> {
        match self.status {
            None => Ok(()),
            Some(_) => Err(Failure::malformed("status: only tasks are listed by status")),
        }
    }
}

pub(super) async fn tasks(
    State(app): Shared,
    PathText(id): PathText,
    Params(query): Params<TasksQuery>,
) -> Result<Json<Page<TaskView>>, Failure> {
    let id: JobId = body::id(&id)?;
    let limit = limit(query.limit)?;
    let filter = TaskFilter { status: query.status, after: query.after()?, limit };
    let tasks = app.store.tasks(id, &filter).await?.ok_or_else(|| no_job(id))?;
    let next_cursor = next(&tasks, limit, |task| format!("{}.{}", task.id.group, task.id.index));
    Ok(Json(Page { items: tasks.into_iter().map(rows::task).collect(), next_cursor }))
}

pub(super) async fn results(
    State(app): Shared,
    PathText(id): PathText,
    Params(query): Params<TasksQuery>,
) -> Result<Json<Page<ResultView>>, Failure> {
    let id: JobId = body::id(&id)?;
    let limit = limit(query.limit)?;
    query.no_status()?;
    let results = app.store.results(id, query.after()?, limit).await?;
    if results.is_empty() {
        must_exist(&app, id).await?;
    }
    let next_cursor = next(&results, limit, |result| {
        format!("{}.{}", result.id.task.group, result.id.task.index)
    });
    Ok(Json(Page { items: results.into_iter().map(rows::result).collect(), next_cursor }))
}

/// A page here counts tasks, so that all files of a task are on one.
pub(super) async fn outputs(
    State(app): Shared,
    PathText(id): PathText,
    Params(query): Params<TasksQuery>,
) -> Result<Json<Page<OutputView>>, Failure> {
    let id: JobId = body::id(&id)?;
    let limit = limit(query.limit)?;
    query.no_status()?;
    let outputs = app.store.outputs(id, query.after()?, limit).await?;
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

pub(super) async fn explain(
    State(app): Shared,
    PathText(id): PathText,
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
    let summary = match job.job.status {
        JobStatus::Submitted => "waits in its table until other jobs are settled".to_owned(),
        status => format!("is {status}"),
    };
    Ok(Json(Explanation { subject: id.to_string(), summary, details: Vec::new() }))
}

/// The reactor's words about a thing.
pub(super) fn explained(subject: impl ToString, explanation: control::Explanation) -> Explanation {
    let control::Explanation { summary, details } = explanation;
    Explanation { subject: subject.to_string(), summary, details }
}
