//! One call: where to, how often, and what came back.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{CALL_TIMEOUT, Client, ClientError};
use crate::problem::{Problem, ProblemKind};

/// Before the same is asked again; doubles up to [`MAX_WAIT`].
const WAIT: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_secs(1);

/// What to ask.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Body>,
    /// Whether asking twice does no harm.
    pub(super) repeatable: bool,
    /// Whether the answer has no end of its own.
    pub(super) endless: bool,
}

/// What is sent.
pub(super) struct Body {
    pub(super) content_type: &'static str,
    pub(super) content: Content,
}

/// Its bytes, or who makes them again for each time that it is sent.
pub(super) enum Content {
    Bytes(bytes::Bytes),
    Stream(Box<dyn Fn() -> reqwest::Body + Send + Sync>),
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        // A PUT or DELETE asked twice has done the same once.
        let repeatable = method != Method::POST && method != Method::PATCH;
        let path = path.into();
        let (query, headers, body) = (Vec::new(), Vec::new(), None);
        Self { method, path, query, headers, body, repeatable, endless: false }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }
}

impl Client {
    /// Asks, and reads the answer's JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let response = self.send(call).await?;
        let url = response.url().to_string();
        let bytes = response.bytes().await.map_err(|fault| unreachable(&url, &fault))?;
        serde_json::from_slice(&bytes)
            .map_err(|fault| ClientError::Protocol { url, reason: fault.to_string() })
    }

    /// Asks until there is an answer, within the client's patience.
    pub(super) async fn send(&self, call: Call) -> Result<Response, ClientError> {
        let end = Instant::now() + self.patience;
        let mut wait = WAIT;
        loop {
            let base = self.base();
            let mut asked = None;
            let (failure, untaken) = match self.request(&call, &base)?.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    asked = retry_after(&response);
                    (problem_of(response).await, false)
                }
                // Without a connection nothing was sent.
                Err(fault) => (unreachable(&base, &fault), fault.is_connect()),
            };
            let elsewhere = self.learn(&failure, &base);
            let passing = match &failure {
                ClientError::Unreachable { .. } => call.repeatable || untaken,
                ClientError::Problem(problem) => match problem.kind {
                    // Nothing was taken: a submit may be sent again, too.
                    ProblemKind::Overloaded | ProblemKind::Unavailable => true,
                    ProblemKind::NotLeader => call.repeatable || elsewhere,
                    _ => false,
                },
                ClientError::Protocol { .. } => false,
            };
            let pause = if elsewhere { wait } else { asked.unwrap_or(wait).max(wait) };
            if !passing || Instant::now() + pause > end {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    fn base(&self) -> Arc<str> {
        let leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        leader.clone().unwrap_or_else(|| Arc::clone(&self.home))
    }

    /// Takes from a failure where to ask next. True when that is somewhere else: then what was
    /// refused here has not been done here.
    fn learn(&self, failure: &ClientError, asked: &str) -> bool {
        let named = failure.problem().and_then(|problem| problem.leader.as_deref());
        let named = named.map(|url| url.trim_end_matches('/')).filter(|url| *url != asked);
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        // Who is silent, or does not lead and knows nobody, is not asked first again.
        *leader = named.map(Arc::from);
        named.is_some()
    }

    fn request(&self, call: &Call, base: &str) -> Result<RequestBuilder, ClientError> {
        let mut url = Url::parse(&format!("{base}{}", call.path)).map_err(|fault| {
            ClientError::Unreachable { url: base.to_owned(), reason: fault.to_string() }
        })?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = self.http.request(call.method.clone(), url).bearer_auth(&self.token);
        if !call.endless {
            request = request.timeout(CALL_TIMEOUT);
        }
        if let Some(body) = &call.body {
            let content = match &body.content {
                Content::Bytes(bytes) => bytes.clone().into(),
                Content::Stream(make) => make(),
            };
            request = request.header("content-type", body.content_type).body(content);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        Ok(request)
    }
}

/// Connection and time-out errors, with the innermost cause's words: reqwest's own say little.
pub(super) fn unreachable(url: &str, fault: &reqwest::Error) -> ClientError {
    let mut cause: &dyn std::error::Error = fault;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    ClientError::Unreachable { url: url.to_owned(), reason: cause.to_string() }
}

/// How long the manager wants to be left alone.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(reqwest::header::RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

async fn problem_of(response: Response) -> ClientError {
    let (status, url) = (response.status(), response.url().to_string());
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(fault) => return unreachable(&url, &fault),
    };
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) if status == StatusCode::BAD_GATEWAY || status == StatusCode::GATEWAY_TIMEOUT => {
            ClientError::Unreachable { url, reason: status.to_string() }
        }
        Err(_) => ClientError::Protocol { url, reason: format!("status {status}, no problem") },
    }
}
