//! The manager, as commands see it: whole lists instead of pages, failures with a next command.

use std::time::Duration;

use api::client::{
    Client, ClientError, EventStream, EventsQuery, JobsQuery, LogStream, LogsQuery, NodesQuery,
    TasksQuery,
};
use api::plan::PlanView;
use api::sync::Stream;
use api::view::{
    AttemptView, CostView, Explanation, ItemsStored, JobDetail, JobView, NodeView, OutputView,
    Page, ResultView, Retried, RetryRequest, RetryWhich, Submitted, TaskView, TokenMade,
    TokenRequest, TokenView,
};
use model::{JobId, JobStatus, NodeId, TaskId, Timestamp};
use serde_json::Value;

use crate::discovery::Endpoint;
use crate::error::Failure;

/// Items of a page that we ask for: the most that there may be.
pub(crate) const PAGE: u32 = 1_000;
/// How long a command waits for a manager that is not there, before it says so.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one that watches a job does: a restart on the same data is no failure of the job.
const WATCHING: Duration = Duration::from_secs(60);

/// A manager.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    client: Client,
}

type Answer<T> = Result<T, Failure>;

impl Remote {
    pub(crate) fn new(endpoint: &Endpoint) -> Answer<Self> {
        let client = Client::new(&endpoint.url, &endpoint.token)?.with_patience(PATIENCE);
        Ok(Self { client })
    }

    /// The same manager, for somebody who has time.
    pub(crate) fn watching(&self) -> Self {
        Self { client: self.client.clone().with_patience(WATCHING) }
    }

    pub(crate) async fn submit(&self, document: &Value, key: Option<&str>) -> Answer<Submitted> {
        Ok(self.client.submit(document, key).await?)
    }

    /// All or none of them, in one transaction.
    pub(crate) async fn submit_many(
        &self,
        documents: &[Value],
        key: Option<&str>,
    ) -> Answer<Vec<Submitted>> {
        Ok(self.client.submit_many(documents, key).await?)
    }

    pub(crate) async fn upload_items(
        &self,
        namespace: Option<&str>,
        make: impl Fn() -> reqwest::Body + Send + Sync + 'static,
    ) -> Answer<ItemsStored> {
        Ok(self.client.upload_items(namespace, make).await?)
    }

    /// Jobs of a status, at most a page of them.
    pub(crate) async fn jobs_that_are(&self, status: JobStatus) -> Answer<Vec<JobView>> {
        let query = JobsQuery { status: Some(status), limit: Some(PAGE), ..JobsQuery::default() };
        Ok(self.client.jobs(&query).await?.items)
    }

    /// The newest jobs, at most so many.
    pub(crate) async fn latest_jobs(&self, most: u32) -> Answer<Vec<JobView>> {
        let query = JobsQuery { limit: Some(most), ..JobsQuery::default() };
        Ok(self.client.jobs(&query).await?.items)
    }

    /// All jobs, or those with a label, the newest first.
    pub(crate) async fn jobs(&self, label: Option<&str>) -> Answer<Vec<JobView>> {
        all(async |cursor| {
            let label = label.map(str::to_owned);
            let query = JobsQuery { label, cursor, limit: Some(PAGE), ..JobsQuery::default() };
            self.client.jobs(&query).await
        })
        .await
    }

    /// What a job would cost and how long it would take.
    pub(crate) async fn plan(&self, document: &Value) -> Answer<PlanView> {
        Ok(self.client.plan(document).await?)
    }

    /// State and history as one document.
    pub(crate) async fn export(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Answer<Vec<u8>> {
        Ok(self.client.export(from, to).await?.read().await?)
    }

    pub(crate) async fn job(&self, id: JobId) -> Answer<JobDetail> {
        Ok(self.client.job(id).await?)
    }

    pub(crate) async fn retry_job(&self, id: JobId, tasks: RetryWhich) -> Answer<Retried> {
        Ok(self.client.retry_job(id, &RetryRequest { tasks }).await?)
    }

    pub(crate) async fn events(&self, query: EventsQuery) -> Answer<EventStream> {
        Ok(self.client.events(query).await?)
    }

    pub(crate) async fn stop_job(&self, id: JobId) -> Answer<()> {
        Ok(self.client.stop_job(id).await?)
    }

    pub(crate) async fn stop_task(&self, id: TaskId) -> Answer<()> {
        Ok(self.client.stop_task(id).await?)
    }

    /// All tasks of a job, by group and index.
    pub(crate) async fn tasks(&self, job: JobId) -> Answer<Vec<TaskView>> {
        all(async |cursor| self.client.tasks(job, &page(cursor)).await).await
    }

    pub(crate) async fn task(&self, id: TaskId) -> Answer<TaskView> {
        Ok(self.client.task(id).await?)
    }

    /// A task's attempts that have ended, the first first.
    pub(crate) async fn attempts(&self, id: TaskId) -> Answer<Vec<AttemptView>> {
        Ok(self.client.attempts(id).await?.items)
    }

    /// A page of what settling attempts have left, of at most so many.
    pub(crate) async fn results(
        &self,
        job: JobId,
        cursor: Option<String>,
        most: u32,
    ) -> Answer<Page<ResultView>> {
        let query = TasksQuery { cursor, limit: Some(most), ..TasksQuery::default() };
        Ok(self.client.results(job, &query).await?)
    }

    /// All files that a job's settled tasks have left, by group and index.
    pub(crate) async fn outputs(&self, job: JobId) -> Answer<Vec<OutputView>> {
        all(async |cursor| self.client.outputs(job, &page(cursor)).await).await
    }

    /// An output file of a settled task, as it comes.
    pub(crate) async fn open_output(&self, task: TaskId, path: &str) -> Answer<LogStream> {
        Ok(self.client.output(task, path).await?)
    }

    pub(crate) async fn logs(
        &self,
        task: TaskId,
        stream: Stream,
        attempt: Option<u32>,
        follow: bool,
    ) -> Answer<LogStream> {
        let query = LogsQuery { stream: Some(stream), attempt, follow };
        Ok(self.client.logs(task, &query).await?)
    }

    /// All bytes of an output file of a settled task.
    pub(crate) async fn output(&self, task: TaskId, path: &str) -> Answer<Vec<u8>> {
        Ok(self.client.output(task, path).await?.read().await?)
    }

    /// The nodes that live and the machines that are asked for; with `all` also those that are
    /// gone and the launches that failed.
    pub(crate) async fn nodes(&self, all: bool) -> Answer<Vec<NodeView>> {
        self::all(async |cursor| {
            let query = NodesQuery { all, cursor, limit: Some(PAGE) };
            self.client.nodes(&query).await
        })
        .await
    }

    pub(crate) async fn drain(&self, node: NodeId, drain: bool) -> Answer<()> {
        Ok(self.client.drain(node, drain).await?)
    }

    pub(crate) async fn explain_job(&self, id: JobId) -> Answer<Explanation> {
        Ok(self.client.explain_job(id).await?)
    }

    pub(crate) async fn explain_task(&self, id: TaskId) -> Answer<Explanation> {
        Ok(self.client.explain_task(id).await?)
    }

    pub(crate) async fn explain_node(&self, id: NodeId) -> Answer<Explanation> {
        Ok(self.client.explain_node(id).await?)
    }

    /// Whether the manager does what it is asked for.
    pub(crate) async fn ready(&self) -> Answer<()> {
        Ok(self.client.ready().await?)
    }

    /// What its clock says, if it does.
    pub(crate) async fn date(&self) -> Answer<Option<String>> {
        Ok(self.client.date().await?)
    }

    pub(crate) async fn cost(&self) -> Answer<CostView> {
        Ok(self.client.cost().await?)
    }

    pub(crate) async fn tokens(&self) -> Answer<Vec<TokenView>> {
        Ok(self.client.tokens().await?.items)
    }

    pub(crate) async fn create_token(&self, request: &TokenRequest) -> Answer<TokenMade> {
        Ok(self.client.create_token(request).await?)
    }

    pub(crate) async fn remove_token(&self, id: &str) -> Answer<()> {
        Ok(self.client.remove_token(id).await?)
    }
}

fn page(cursor: Option<String>) -> TasksQuery {
    TasksQuery { cursor, limit: Some(PAGE), ..TasksQuery::default() }
}

/// Reads a list to its end.
async fn all<T>(
    mut read: impl AsyncFnMut(Option<String>) -> Result<Page<T>, ClientError>,
) -> Answer<Vec<T>> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = read(cursor).await?;
        items.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(items);
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => (*problem).into(),
            ClientError::Unreachable { .. } => {
                Self::unreachable(error.to_string()).next("ebb up, if it has ended")
            }
            ClientError::Protocol { .. } => Self::unreachable(error.to_string())
                .next("check --url or EBB_URL, and that both are of one version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_exit_code_5() {
        let unreachable =
            ClientError::Unreachable { url: "http://h:1".into(), reason: "refused".into() };
        let protocol = ClientError::Protocol { url: "http://h:1".into(), reason: "html".into() };
        for error in [unreachable, protocol] {
            assert_eq!(Failure::from(error).exit().code(), 5);
        }
    }

    #[tokio::test]
    async fn a_list_is_read_page_by_page() {
        let list = all(async |cursor: Option<String>| {
            let at = cursor.map_or(0, |cursor| cursor.parse::<u32>().expect("a number"));
            let next_cursor = (at < 2).then(|| (at + 1).to_string());
            Ok(Page { items: vec![at, at + 10], next_cursor })
        });
        assert_eq!(list.await, Ok(vec![0, 10, 1, 11, 2, 12]));
    }
}
