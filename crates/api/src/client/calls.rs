//! The calls, one method each.

use bytes::Bytes;
use model::{JobId, NodeId, TaskId, Timestamp};
use reqwest::{Method, Response};
use serde_json::Value;

use super::transport::{Body, Call, Content, unreachable};
use super::{Client, ClientError, JobsQuery, LogsQuery, NodesQuery, TasksQuery};
use crate::plan::PlanView;
use crate::sync::{JoinAnswer, JoinRequest, SyncAnswer, SyncRequest};
use crate::view::{
    AttemptView, CostView, Explanation, ItemsStored, JobDetail, JobView, NodeView, OfferView,
    OutputView, Page, ResultView, Retried, RetryRequest, Submitted, TaskView, TokenMade,
    TokenRequest, TokenView,
};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The bytes of a log or an output, as they come.
#[derive(Debug)]
pub struct LogStream(Response);

impl LogStream {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = self.0.chunk().await;
        piece.map_err(|fault| unreachable(self.0.url().as_str(), &fault))
    }

    /// All of it.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(mut self) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

fn json_body<T: serde::Serialize>(value: &T) -> Result<Body, ClientError> {
    let bytes = serde_json::to_vec(value).map_err(|fault| ClientError::Protocol {
        url: String::new(),
        reason: format!("the request has no JSON: {fault}"),
    })?;
    Ok(Body { content_type: JSON, content: Content::Bytes(bytes.into()) })
}

fn keyed(idempotency_key: Option<&str>) -> Vec<(&'static str, String)> {
    idempotency_key.map(|key| ("idempotency-key", key.to_owned())).into_iter().collect()
}

/// A path's segments, so that no byte of them ends it.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
        if plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    out
}

/// Every call fails with [`ClientError`]: the manager's problem, nobody there, or somebody else.
#[expect(clippy::missing_errors_doc, reason = "all of them fail alike, as said above")]
impl Client {
    /// Submits a job's document. With a key it may be repeated for 24 hours and is stored once.
    pub async fn submit(
        &self,
        document: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<Submitted, ClientError> {
        let (body, headers) = (Some(json_body(document)?), keyed(idempotency_key));
        let repeatable = idempotency_key.is_some();
        let call = Call::new(Method::POST, "/v1/jobs");
        self.json(Call { body, headers, repeatable, ..call }).await
    }

    /// Submits up to 10,000 documents, all or none.
    pub async fn submit_many(
        &self,
        documents: &[Value],
        idempotency_key: Option<&str>,
    ) -> Result<Vec<Submitted>, ClientError> {
        let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
        let (headers, repeatable) = (keyed(idempotency_key), idempotency_key.is_some());
        let body = Body { content_type: NDJSON, content: Content::Bytes(lines.into()) };
        let call = Call::new(Method::POST, "/v1/jobs");
        let response = self.send(Call { body: Some(body), headers, repeatable, ..call }).await?;
        let url = response.url().to_string();
        let bytes = response.bytes().await.map_err(|fault| unreachable(&url, &fault))?;
        serde_json::Deserializer::from_slice(&bytes)
            .into_iter()
            .collect::<Result<Vec<Submitted>, _>>()
            .map_err(|fault| ClientError::Protocol { url, reason: fault.to_string() })
    }

    /// What a job would cost and how long it would take. Nothing is stored.
    pub async fn plan(&self, document: &Value) -> Result<PlanView, ClientError> {
        let body = Some(json_body(document)?);
        self.json(Call { body, repeatable: true, ..Call::new(Method::POST, "/v1/plan") }).await
    }

    /// State and history as one JSON document, from and until these times.
    pub async fn export(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<LogStream, ClientError> {
        let pair = |(name, at): (&'static str, Option<Timestamp>)| Some((name, at?.to_string()));
        let query = [("from", from), ("to", to)].into_iter().filter_map(pair).collect();
        let call = Call { query, endless: true, ..Call::get("/v1/export") };
        Ok(LogStream(self.send(call).await?))
    }

    /// Jobs, the newest first.
    pub async fn jobs(&self, query: &JobsQuery) -> Result<Page<JobView>, ClientError> {
        self.json(Call { query: query.pairs(), ..Call::get("/v1/jobs") }).await
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Result<JobDetail, ClientError> {
        self.json(Call::get(format!("/v1/jobs/{id}"))).await
    }

    /// Wants a job gone; done when its tasks are settled.
    pub async fn stop_job(&self, id: JobId) -> Result<(), ClientError> {
        self.send(Call::new(Method::DELETE, format!("/v1/jobs/{id}"))).await.map(|_| ())
    }

    /// Changes the mutable fields of a job that `patch` names (RFC 7396); with a revision, only if
    /// nobody has changed it since.
    pub async fn patch_job(
        &self,
        id: JobId,
        patch: &Value,
        revision: Option<u32>,
    ) -> Result<JobDetail, ClientError> {
        let body = Body { content_type: MERGE_PATCH, ..json_body(patch)? };
        let headers: Vec<_> =
            revision.map(|revision| ("if-match", format!("\"{revision}\""))).into_iter().collect();
        let call = Call::new(Method::PATCH, format!("/v1/jobs/{id}"));
        self.json(Call { body: Some(body), headers, ..call }).await
    }

    /// Has tasks of a job run again.
    pub async fn retry_job(
        &self,
        id: JobId,
        request: &RetryRequest,
    ) -> Result<Retried, ClientError> {
        let call = Call::new(Method::POST, format!("/v1/jobs/{id}/retry"));
        self.json(Call { body: Some(json_body(request)?), ..call }).await
    }

    /// Stores the texts of a group's tasks. `make` gives the body, a JSON string a line, anew each
    /// time that it has to be sent.
    pub async fn upload_items(
        &self,
        namespace: Option<&str>,
        make: impl Fn() -> reqwest::Body + Send + Sync + 'static,
    ) -> Result<ItemsStored, ClientError> {
        let query = namespace.map(|name| ("namespace", name.to_owned())).into_iter().collect();
        let body = Some(Body { content_type: NDJSON, content: Content::Stream(Box::new(make)) });
        let call = Call::new(Method::POST, "/v1/items");
        // Stored twice is only stored: what nobody uses is forgotten. A large one takes its time.
        self.json(Call { query, body, repeatable: true, endless: true, ..call }).await
    }

    /// Why a job stands where it stands.
    pub async fn explain_job(&self, id: JobId) -> Result<Explanation, ClientError> {
        self.json(Call::get(format!("/v1/jobs/{id}/explain"))).await
    }

    /// A job's tasks, by group and index.
    pub async fn tasks(
        &self,
        id: JobId,
        query: &TasksQuery,
    ) -> Result<Page<TaskView>, ClientError> {
        let call = Call::get(format!("/v1/jobs/{id}/tasks"));
        self.json(Call { query: query.pairs(), ..call }).await
    }

    /// The files that a job's settled tasks have left.
    pub async fn outputs(
        &self,
        id: JobId,
        query: &TasksQuery,
    ) -> Result<Page<OutputView>, ClientError> {
        let call = Call::get(format!("/v1/jobs/{id}/outputs"));
        self.json(Call { query: query.pairs(), ..call }).await
    }

    /// What the settling attempts of a job's tasks have left, by group and index.
    pub async fn results(
        &self,
        id: JobId,
        query: &TasksQuery,
    ) -> Result<Page<ResultView>, ClientError> {
        let call = Call::get(format!("/v1/jobs/{id}/results"));
        self.json(Call { query: query.pairs(), ..call }).await
    }

    /// One task.
    pub async fn task(&self, id: TaskId) -> Result<TaskView, ClientError> {
        self.json(Call::get(format!("/v1/tasks/{id}"))).await
    }

    /// Wants a task gone.
    pub async fn stop_task(&self, id: TaskId) -> Result<(), ClientError> {
        self.send(Call::new(Method::DELETE, format!("/v1/tasks/{id}"))).await.map(|_| ())
    }

    /// A task's ended attempts, in order.
    pub async fn attempts(&self, id: TaskId) -> Result<Page<AttemptView>, ClientError> {
        self.json(Call::get(format!("/v1/tasks/{id}/attempts"))).await
    }

    /// Why a task waits or runs where it does.
    pub async fn explain_task(&self, id: TaskId) -> Result<Explanation, ClientError> {
        self.json(Call::get(format!("/v1/tasks/{id}/explain"))).await
    }

    /// What a task wrote.
    pub async fn logs(&self, id: TaskId, query: &LogsQuery) -> Result<LogStream, ClientError> {
        let call = Call::get(format!("/v1/tasks/{id}/logs"));
        self.send(Call { query: query.pairs(), endless: true, ..call }).await.map(LogStream)
    }

    /// An output file of a settled task.
    pub async fn output(&self, id: TaskId, path: &str) -> Result<LogStream, ClientError> {
        let call = Call::get(format!("/v1/tasks/{id}/outputs/{}", encoded(path)));
        self.send(Call { endless: true, ..call }).await.map(LogStream)
    }

    /// Machines that are asked for, then nodes, the newest first.
    pub async fn nodes(&self, query: &NodesQuery) -> Result<Page<NodeView>, ClientError> {
        self.json(Call { query: query.pairs(), ..Call::get("/v1/nodes") }).await
    }

    /// One node.
    pub async fn node(&self, id: NodeId) -> Result<NodeView, ClientError> {
        self.json(Call::get(format!("/v1/nodes/{id}"))).await
    }

    /// Why a node is in its state.
    pub async fn explain_node(&self, id: NodeId) -> Result<Explanation, ClientError> {
        self.json(Call::get(format!("/v1/nodes/{id}/explain"))).await
    }

    /// Gives a node no new work, or takes that back.
    pub async fn drain(&self, id: NodeId, drain: bool) -> Result<(), ClientError> {
        let verb = if drain { "drain" } else { "undrain" };
        let call = Call::new(Method::POST, format!("/v1/nodes/{id}/{verb}"));
        self.send(Call { repeatable: true, ..call }).await.map(|_| ())
    }

    /// What was spent.
    pub async fn cost(&self) -> Result<CostView, ClientError> {
        self.json(Call::get("/v1/cost")).await
    }

    /// What can be bought.
    pub async fn offers(&self) -> Result<Page<OfferView>, ClientError> {
        self.json(Call::get("/v1/offers")).await
    }

    /// Tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Page<TokenView>, ClientError> {
        self.json(Call::get("/v1/tokens")).await
    }

    /// Makes a token.
    pub async fn create_token(&self, request: &TokenRequest) -> Result<TokenMade, ClientError> {
        let call = Call::new(Method::POST, "/v1/tokens");
        self.json(Call { body: Some(json_body(request)?), ..call }).await
    }

    /// Removes a token.
    pub async fn remove_token(&self, id: &str) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, format!("/v1/tokens/{}", encoded(id)));
        self.send(call).await.map(|_| ())
    }

    /// Whether the manager is ready to serve.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(Call::get("/readyz")).await.map(|_| ())
    }

    /// What its clock says, as it writes it into its answers (RFC 9110, to the second).
    pub async fn date(&self) -> Result<Option<String>, ClientError> {
        let response = self.send(Call::get("/healthz")).await?;
        let date = response.headers().get(reqwest::header::DATE);
        Ok(date.and_then(|date| date.to_str().ok()).map(str::to_owned))
    }

    /// The description of all that it serves.
    pub async fn openapi(&self) -> Result<Value, ClientError> {
        self.json(Call::get("/openapi.json")).await
    }

    /// Joins as a node; the answer's token is for [`Client::sync`] of a client that bears it.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, ClientError> {
        let call = Call::new(Method::POST, "/v1/nodes/join");
        self.json(Call { body: Some(json_body(request)?), repeatable: true, ..call }).await
    }

    /// One poll; never repeated here, for its number is its own.
    pub async fn sync(
        &self,
        node: NodeId,
        request: &SyncRequest,
    ) -> Result<SyncAnswer, ClientError> {
        let call = Call::new(Method::POST, format!("/v1/nodes/{node}/sync"));
        self.json(Call { body: Some(json_body(request)?), ..call }).await
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_keep_their_segments() {
        assert_eq!(super::encoded("out/a b?#%.gz"), "out/a%20b%3F%23%25.gz");
    }
}
