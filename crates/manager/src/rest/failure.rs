//! The one place where what went wrong becomes an HTTP answer.

use api::problem::{Problem, ProblemKind};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use model::Fault;
use store::StoreError;

use crate::tokens::TokenError;

/// An answer that is a problem.
#[derive(Debug)]
pub(crate) struct Failure(Box<Problem>);

impl Failure {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(kind, detail)))
    }

    /// 400.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Malformed, detail)
    }

    /// 404.
    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(ProblemKind::NotFound, what.to_string())
    }

    /// 422 with every fault.
    pub(crate) fn invalid(faults: Vec<Fault>) -> Self {
        Self(Box::new(Problem::invalid(faults)))
    }

    /// 422 with one fault.
    pub(crate) fn invalid_field(pointer: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault { pointer: pointer.to_owned(), detail: detail.into() }])
    }

    /// 429: nothing was taken.
    pub(crate) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Overloaded, detail)
    }

    /// 503, with the leader's address if there is one.
    pub(crate) fn not_leader(leader: Option<String>) -> Self {
        let detail = match &leader {
            Some(url) => format!("ask the leader at {url}"),
            None => "nobody leads at this moment; ask again shortly".to_owned(),
        };
        Self(Box::new(Problem { leader, ..Problem::new(ProblemKind::NotLeader, detail) }))
    }

    /// 500: for the log, not for the client.
    pub(crate) fn internal(what: &str, fault: &dyn std::fmt::Display) -> Self {
        tracing::error!(what, %fault, "request failed");
        Self::new(ProblemKind::Internal, format!("{what}; the reason is in the manager's log"))
    }
}

impl From<StoreError> for Failure {
    fn from(fault: StoreError) -> Self {
        Self::internal("the database did not answer as it should", &fault)
    }
}

impl From<TokenError> for Failure {
    fn from(fault: TokenError) -> Self {
        Self::internal("the token could not be made", &fault)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        match self.0.kind {
            ProblemKind::Overloaded | ProblemKind::NotLeader => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            ProblemKind::Unauthorized => {
                let bearer = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, bearer);
            }
            _ => {}
        }
        response
    }
}

/// 404 for paths that nobody serves.
pub(super) async fn no_such_place(uri: Uri) -> Failure {
    Failure::not_found(format!("there is nothing at {}", uri.path()))
}

/// 405 for methods that a path does not know.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Failure {
    let detail = format!("{} does not know {method}", uri.path());
    Failure::new(ProblemKind::MethodNotAllowed, detail)
}
