//! Errors on the wire: RFC 9457 problem details with every fault at once.

use model::Fault;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{title}{}", detail.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct Problem {
    /// What happened, for programs.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for people; the same for each problem of a kind.
    pub title: String,
    /// This case, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Every fault of the request, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// For `not-leader`: where the leader answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

/// What happened, by what the caller does next.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// 400: not understood: mend the syntax.
    Malformed,
    /// 422: understood and wrong: mend the fields named in `errors`.
    Invalid,
    /// 401: no token, or an unknown one.
    Unauthorized,
    /// 403: the token may not do this.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 405: this place knows other methods.
    MethodNotAllowed,
    /// 409: it is in a state that does not allow this.
    Conflict,
    /// 410: it was there; the log or the job has been trimmed since.
    Gone,
    /// 412: it is not as `If-Match` says: read it again.
    PreconditionFailed,
    /// 413: too large.
    TooLarge,
    /// 415: another content type is wanted.
    UnsupportedMediaType,
    /// 422: the idempotency key was used with another body.
    KeyReused,
    /// 408: the body came too slowly.
    Timeout,
    /// 429: wait as `Retry-After` says.
    Overloaded,
    /// 503: ask the replica in `leader`, or again in a moment.
    NotLeader,
    /// 503: nothing was taken: wait as `Retry-After` says.
    Unavailable,
    /// 500: our fault; it is in the log.
    Internal,
}

impl ProblemKind {
    /// Its HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::PreconditionFailed => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid | Self::KeyReused => 422,
            Self::Overloaded => 429,
            Self::Internal => 500,
            Self::NotLeader | Self::Unavailable => 503,
        }
    }

    /// As in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::PreconditionFailed => "precondition-failed",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::KeyReused => "key-reused",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::NotLeader => "not-leader",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request is not understood",
            Self::Invalid => "The request has faults",
            Self::Unauthorized => "A token is needed",
            Self::Forbidden => "The token does not allow this",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "This place does not know that method",
            Self::Conflict => "Its state does not allow this",
            Self::Gone => "It is gone",
            Self::PreconditionFailed => "It has changed meanwhile",
            Self::TooLarge => "The request is too large",
            Self::UnsupportedMediaType => "Another content type is wanted",
            Self::KeyReused => "The idempotency key was used with another body",
            Self::Timeout => "The request came too slowly",
            Self::Overloaded => "Too many requests",
            Self::NotLeader => "This replica does not lead",
            Self::Unavailable => "Not at this moment",
            Self::Internal => "Something went wrong here",
        }
    }
}

impl Problem {
    /// Of a kind, with this case's words.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            status: kind.status(),
            title: kind.title().to_owned(),
            detail: Some(detail.into()),
            errors: Vec::new(),
            leader: None,
        }
    }

    /// A document with faults.
    pub fn invalid(errors: Vec<Fault>) -> Self {
        let detail = match errors.len() {
            1 => "1 fault; nothing was stored".to_owned(),
            many => format!("{many} faults; nothing was stored"),
        };
        Self { errors, ..Self::new(ProblemKind::Invalid, detail) }
    }
}
