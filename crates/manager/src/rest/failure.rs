//! The one place where what went wrong becomes an HTTP answer.

use api::problem::{Problem, ProblemKind};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use model::Fault;
use store::StoreError;

use super::rates::Wait;
use crate::tokens::TokenError;

/// Seconds until what is passing may have passed.
const SOON_S: u64 = 1;

/// An answer that is a problem.
#[derive(Debug)]
pub(crate) struct Failure {
    problem: Box<Problem>,
    /// For kinds that say when to come again.
    retry_after_s: u64,
}

impl Failure {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self::from(Problem::new(kind, detail))
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
        Self::from(Problem::invalid(faults))
    }

    /// 422 with one fault.
    pub(crate) fn invalid_field(pointer: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault { pointer: pointer.to_owned(), detail: detail.into() }])
    }

    /// 429: nothing was taken.
    pub(crate) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Overloaded, detail)
    }

    /// 429: this client asks too often.
    pub(super) fn too_often(what: &str, wait: Wait) -> Self {
        let seconds = wait.seconds.max(1);
        let detail = format!("{what}; come again in {seconds} s");
        Self { retry_after_s: seconds, ..Self::new(ProblemKind::Overloaded, detail) }
    }

    /// 503: nothing was taken, and a moment later it may be.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Unavailable, detail)
    }

    /// 503, with the leader's address if there is one.
    pub(crate) fn not_leader(leader: Option<String>) -> Self {
        let detail = match &leader {
            Some(url) => format!("ask the leader at {url}"),
            None => "nobody leads at this moment; ask again shortly".to_owned(),
        };
        Self::from(Problem { leader, ..Problem::new(ProblemKind::NotLeader, detail) })
    }

    /// 500: for the log, not for the client.
    pub(crate) fn internal(what: &str, fault: &dyn std::fmt::Display) -> Self {
        tracing::error!(what, %fault, "request failed");
        Self::new(ProblemKind::Internal, format!("{what}; the reason is in the manager's log"))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), retry_after_s: SOON_S }
    }
}

impl From<StoreError> for Failure {
    fn from(fault: StoreError) -> Self {
        match fault {
            StoreError::InboxFull { .. } => {
                Self::unavailable(format!("{fault}; nothing was taken"))
            }
            StoreError::Unreachable(_) => {
                tracing::warn!(%fault, "request failed");
                Self::unavailable("the database does not answer")
            }
            fault => Self::internal("the database did not answer as it should", &fault),
        }
    }
}

impl From<TokenError> for Failure {
    fn from(fault: TokenError) -> Self {
        Self::internal("the token could not be made", &fault)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        match self.problem.kind {
            ProblemKind::Overloaded | ProblemKind::NotLeader | ProblemKind::Unavailable => {
                headers.insert(header::RETRY_AFTER, self.retry_after_s.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passing_says_when_to_come_again() {
        let all = [
            (Failure::from(StoreError::InboxFull { rows: 7 }), 503, "1"),
            (Failure::overloaded("full"), 429, "1"),
            (Failure::not_leader(None), 503, "1"),
            (Failure::too_often("you", Wait { seconds: 9 }), 429, "9"),
            (Failure::too_often("you", Wait { seconds: 0 }), 429, "1"),
        ];
        for (failure, status, after) in all {
            let response = failure.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::RETRY_AFTER], after);
        }
        let response = Failure::malformed("no").into_response();
        assert!(!response.headers().contains_key(header::RETRY_AFTER));
    }
}
