//! Tokens, for people who let others in.

use api::view::{Page, TokenMade, TokenPurpose, TokenRequest, TokenView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use store::{Token, TokenKind};

use super::body::{self, NoQuery, PathText};
use super::doc::{BadBody, NotFound};
use super::failure::Failure;
use super::{Shared, json};
use crate::clock;

/// A join token that nobody used within a day was forgotten somewhere.
const JOIN_VALID_MS: u64 = 24 * 3_600_000;
/// Ten years; beyond it a token has no end.
const MAX_VALID_MS: u64 = 10 * 365 * 24 * 3_600_000;
const MAX_USES: u32 = 1_000_000;
const NAME_BYTES: usize = 128;

/// `TokenRequest` as it is taken: only join tokens have a number of uses.
pub(super) fn request_schema() -> Value {
    let name = json!({"type": "string", "maxLength": NAME_BYTES, "description": "For people."});
    let valid = json!({
        "type": ["integer", "null"], "minimum": 1, "maximum": MAX_VALID_MS,
        "description": "How long it works; a join token for a day by default, a user's until it is removed.",
    });
    let uses = json!({
        "type": ["integer", "null"], "minimum": 1, "maximum": MAX_USES,
        "description": "How often it works; 1 by default.",
    });
    let object = |purpose: &str, uses: Option<Value>| {
        let purpose = json!({"type": "string", "enum": [purpose]});
        let mut properties = Map::from_iter([
            ("purpose".to_owned(), purpose),
            ("name".to_owned(), name.clone()),
            ("valid_ms".to_owned(), valid.clone()),
        ]);
        properties.extend(uses.map(|uses| ("uses".to_owned(), uses)));
        json!({
            "type": "object", "additionalProperties": false, "required": ["purpose"],
            "properties": properties,
        })
    };
    json!({
        "description": "A token for a user, or one with which machines join as nodes.",
        "oneOf": [object("user", None), object("join", Some(uses))],
    })
}

/// Tokens, without their secrets.
#[utoipa::path(
    get, path = "/v1/tokens", tag = "cluster", operation_id = "list_tokens",
    responses((status = 200, description = "By age", body = Page<TokenView>)),
)]
pub(super) async fn list(State(app): Shared, _: NoQuery) -> Result<Json<Page<TokenView>>, Failure> {
    let tokens = app.tokens.list().await?;
    let items = tokens.iter().map(view).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// Makes a token.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "cluster", operation_id = "create_token",
    request_body(content = TokenRequest),
    responses(
        (status = 201, description = "Made; its secret is shown once", body = TokenMade),
        BadBody,
    ),
)]
pub(super) async fn create(
    State(app): Shared,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<TokenMade>), Failure> {
    body::must_be_json(&headers)?;
    let limits = &app.config.limits;
    let bytes = body::read(&headers, body, limits.other_bytes, limits.body_ms).await?;
    let request: TokenRequest = json::read_as(&bytes)?;
    let kind = check(&request)?;
    let join = kind == TokenKind::WorkerJoin;
    let uses = join.then(|| request.uses.unwrap_or(1));
    let valid_ms = request.valid_ms.or_else(|| join.then_some(JOIN_VALID_MS));
    let expires = valid_ms.map(|valid_ms| clock::now().later_by(valid_ms));
    let (token, kept) = app.tokens.make(kind, request.name, uses, expires).await?;
    tracing::info!(purpose = ?request.purpose, name = %kept.name, "token made");
    Ok((StatusCode::CREATED, Json(TokenMade { token, view: view(&kept) })))
}

fn check(request: &TokenRequest) -> Result<TokenKind, Failure> {
    if request.name.len() > NAME_BYTES {
        return Err(Failure::invalid_field("/name", format!("more than {NAME_BYTES} bytes")));
    }
    if request.valid_ms.is_some_and(|ms| ms == 0 || ms > MAX_VALID_MS) {
        return Err(Failure::invalid_field("/valid_ms", "must be 1 ms to ten years"));
    }
    match (request.purpose, request.uses) {
        (TokenPurpose::User, None) => Ok(TokenKind::User),
        (TokenPurpose::User, Some(_)) => {
            Err(Failure::invalid_field("/uses", "only join tokens have a number of uses"))
        }
        (TokenPurpose::Join, uses) if uses.is_none_or(|uses| (1..=MAX_USES).contains(&uses)) => {
            Ok(TokenKind::WorkerJoin)
        }
        (TokenPurpose::Join, _) => {
            Err(Failure::invalid_field("/uses", format!("must be 1 to {MAX_USES}")))
        }
        (TokenPurpose::Node, _) => {
            Err(Failure::invalid_field("/purpose", "a node gets its token when it joins"))
        }
    }
}

/// Removes a token.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", tag = "cluster", operation_id = "remove_token",
    params(("id" = String, Path, description = "As the list has it", pattern = "^[0-9a-f]{16}$")),
    responses((status = 204, description = "Removed"), NotFound),
)]
pub(super) async fn remove(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<StatusCode, Failure> {
    let tokens = app.tokens.list().await?;
    let found = tokens.iter().find(|token| id_of(token) == id);
    let found = found.ok_or_else(|| Failure::not_found(format!("no token `{id}`")))?;
    app.tokens.remove(&found.hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The first half of its hash: enough to be unique, useless to guess the token from.
fn id_of(token: &Token) -> String {
    token.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn view(token: &Token) -> TokenView {
    let (purpose, node) = match token.kind {
        TokenKind::User => (TokenPurpose::User, None),
        TokenKind::WorkerJoin => (TokenPurpose::Join, None),
        TokenKind::Node(node) => (TokenPurpose::Node, Some(node)),
    };
    TokenView {
        id: id_of(token),
        purpose,
        name: token.name.clone(),
        node,
        uses_left: token.uses_left,
        expires_at: token.expires,
        created_at: token.created,
    }
}
