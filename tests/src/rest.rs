//! Plain requests: whole-system tests look at what goes over the wire.

use std::time::Duration;

use api::view::{JobDetail, NodeView, Page, TaskView};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::until;

/// A manager, as a client with a token sees it.
#[derive(Debug, Clone)]
pub struct Rest {
    url: String,
    token: String,
    client: reqwest::Client,
}

impl Rest {
    /// Of a URL and a token.
    ///
    /// # Panics
    /// When no client can be made.
    pub fn new(url: &str, token: &str) -> Self {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()
            .expect("a client");
        Self { url: url.trim_end_matches('/').to_owned(), token: token.to_owned(), client }
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// GETs and reads; none when nobody answers or the answer is an error.
    pub async fn try_get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let answer = self.client.get(self.at(path)).bearer_auth(&self.token).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// GETs and reads.
    ///
    /// # Panics
    /// When that fails, with the answer's text.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let text = self.text(path).await;
        serde_json::from_str(&text).unwrap_or_else(|fault| panic!("GET {path}: {fault}: {text}"))
    }

    /// GETs as text.
    ///
    /// # Panics
    /// When that fails, with the answer's text.
    pub async fn text(&self, path: &str) -> String {
        let request = self.client.get(self.at(path)).bearer_auth(&self.token);
        let answer = request.send().await.unwrap_or_else(|fault| panic!("GET {path}: {fault}"));
        let status = answer.status();
        let text = answer.text().await.unwrap_or_else(|fault| panic!("GET {path}: {fault}"));
        assert!(status.is_success(), "GET {path}: {status}: {text}");
        text
    }

    /// POSTs a document; gives the status and the answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let request = self.client.post(self.at(path)).bearer_auth(&self.token).json(body);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// DELETEs and gives the status.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn delete(&self, path: &str) -> u16 {
        let request = self.client.delete(self.at(path)).bearer_auth(&self.token);
        request.send().await.expect("an answer").status().as_u16()
    }

    /// Submits a job and gives its id.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn submit(&self, document: &Value) -> String {
        let (status, answer) = self.try_post("/v1/jobs", document).await.expect("an answer");
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Submits a job of one group.
    pub async fn submit_group(&self, group: Value) -> String {
        self.submit(&json!({ "name": "test", "group": [group] })).await
    }

    /// A job.
    pub async fn job(&self, id: &str) -> JobDetail {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// Waits until a job has settled; a manager that is away for a while is waited for, too.
    pub async fn settled(&self, id: &str) -> JobDetail {
        until(&format!("{id} is settled"), async || {
            let detail: JobDetail = self.try_get(&format!("/v1/jobs/{id}")).await?;
            detail.job.status.is_settled().then_some(detail)
        })
        .await
    }

    /// As [`Rest::settled`], without a limit on the whole: only on the time without progress.
    pub async fn settled_after(&self, id: &str, tasks: u64) -> JobDetail {
        let mut settled = 0;
        while settled < tasks {
            settled = until(&format!("{id} goes on"), async || {
                let detail: JobDetail = self.try_get(&format!("/v1/jobs/{id}")).await?;
                let now = detail.job.tasks.settled();
                (now > settled).then_some(now)
            })
            .await;
        }
        self.settled(id).await
    }

    /// All tasks of a job.
    pub async fn tasks(&self, id: &str) -> Vec<TaskView> {
        let mut out = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: Page<TaskView> =
                self.get(&format!("/v1/jobs/{id}/tasks?limit=1000{cursor}")).await;
            out.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return out,
            }
        }
    }

    /// All nodes that are not gone.
    pub async fn nodes(&self) -> Vec<NodeView> {
        let page: Page<NodeView> = self.get("/v1/nodes?limit=1000").await;
        page.items.into_iter().filter(|node| node.state != "gone").collect()
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}
