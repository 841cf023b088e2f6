//! Reads what a request says: its body within bounds of size and time, its query, its ids.

use std::str::FromStr;
use std::time::Duration;

use api::problem::ProblemKind;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use futures::StreamExt;
use model::BadId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::failure::Failure;

/// A body of this type, or the problem that it is another.
pub(super) fn media_type(headers: &HeaderMap) -> Result<&str, Failure> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| unsupported("no Content-Type is given"))?;
    Ok(text.split(';').next().unwrap_or_default().trim())
}

/// 415.
pub(super) fn unsupported(detail: impl Into<String>) -> Failure {
    Failure::new(ProblemKind::UnsupportedMediaType, detail)
}

/// The body, if it is JSON by its own account.
pub(super) fn must_be_json(headers: &HeaderMap) -> Result<(), Failure> {
    match media_type(headers)? {
        "application/json" => Ok(()),
        other => Err(unsupported(format!("`{other}` is not application/json"))),
    }
}

/// The whole body.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    within_ms: u64,
) -> Result<Bytes, Failure> {
    let too_large =
        || Failure::new(ProblemKind::TooLarge, format!("the body has more than {limit} bytes"));
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<usize> = length.and_then(|text| text.parse().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let reading = async {
        let mut stream = body.into_data_stream();
        let mut first = match stream.next().await {
            None => return Ok(Bytes::new()),
            Some(piece) => piece.map_err(|fault| Failure::malformed(fault.to_string()))?,
        };
        // Most bodies are one piece, and need no copy.
        let mut whole: Option<BytesMut> = None;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|fault| Failure::malformed(fault.to_string()))?;
            let whole = whole.get_or_insert_with(|| BytesMut::from(&*std::mem::take(&mut first)));
            if whole.len() + piece.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
        let whole = whole.map_or(first, BytesMut::freeze);
        if whole.len() > limit { Err(too_large()) } else { Ok(whole) }
    };
    match tokio::time::timeout(Duration::from_millis(within_ms), reading).await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body took more than {within_ms} ms");
            Err(Failure::new(ProblemKind::Timeout, detail))
        }
    }
}

/// JSON of a known shape.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|fault| {
        let detail = fault.to_string();
        match fault.classify() {
            serde_json::error::Category::Data => Failure::invalid_field("", detail),
            _ => Failure::malformed(format!("not JSON: {detail}")),
        }
    })
}

/// A query of a known shape.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        if std::str::from_utf8(&unescaped(query)).is_err() {
            return Err(Failure::malformed("query: not UTF-8"));
        }
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(fault) => Err(Failure::malformed(format!("query: {}", fault.body_text()))),
        }
    }
}

/// With each `%XX` as the byte that it stands for: whoever reads the query takes bytes that are no
/// text for other text, silently.
fn unescaped(query: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let (bytes, mut out, mut at) = (query.as_bytes(), Vec::with_capacity(query.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let escaped = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2)));
        match escaped.filter(|_| *byte == b'%') {
            Some((high, low)) => {
                out.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// No query at all: a parameter that is not known is a mistake here as elsewhere.
pub(super) struct NoQuery;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        if parts.uri.query().is_none_or(str::is_empty) {
            return Ok(Self);
        }
        Params::<Nothing>::from_request_parts(parts, state).await.map(|_| Self)
    }
}

/// `1`, `true`, or no value at all; `0` or `false`.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match String::deserialize(from)?.as_str() {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("`{other}` is neither 1 nor 0"))),
    }
}

/// An id of a path. What is no id names nothing.
pub(super) fn id<T: FromStr<Err = BadId>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|bad: BadId| Failure::not_found(bad))
}

/// The path's one parameter, whatever bytes it has.
pub(super) struct PathText(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|fault| Failure::not_found(fault.body_text()))
    }
}
