//! What digesters send: join, polls, and pieces of streams that somebody reads.

use std::time::Duration;

use api::problem::ProblemKind;
use api::sync::{
    JoinAnswer, JoinRequest, MAX_TRANSITIONS, POLL_WAIT_MS, Proof, SyncAnswer, SyncRequest,
    TailRequest,
};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use cloud::CloudError;
use control::{Input, Joiner, Reply};
use model::{FORMAT, NodeId};

use super::body::{self, NoQuery, Params, PathText};
use super::doc::{BadBody, Conflict, NotFound, NotLeader, Unauthorized};
use super::failure::Failure;
use super::{App, Shared, json};
use crate::leader::Lead;
use crate::nodes::ConnectionId;

/// Bytes of a static node's name.
const NAME_BYTES: usize = 128;
/// Bytes of one piece of a stream.
const TAIL_BYTES: usize = 1 << 20;

/// Joins as a node: the body proves who asks.
#[utoipa::path(
    post, path = "/v1/nodes/join", tag = "node", operation_id = "join",
    request_body(content = JoinRequest),
    security(()),
    responses(
        (
            status = 200,
            description = "It is this node, with a token of its own",
            body = JoinAnswer,
        ),
        Unauthorized,
        Conflict,
        BadBody,
        NotLeader,
    ),
)]
pub(super) async fn join(
    State(app): Shared,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<JoinAnswer>, Failure> {
    let limits = &app.config.limits;
    body::must_be_json(&headers)?;
    let bytes = body::read(&headers, body, limits.other_bytes, limits.body_ms).await?;
    let request: JoinRequest = json::read_as(&bytes)?;
    check(&request)?;
    let lead = app.lead().await?;
    let joiner = prove(&app, request.proof).await?;
    let input = Input::Join { joiner, session: request.session, capacity: request.capacity };
    match lead.ask_one(input).await {
        Ok(Reply::Joined(node)) => {
            // The token of the process before it is void with this: no poll of it comes after.
            let token = app.tokens.make_for_node(node).await?;
            lead.hub.joined(node);
            tracing::info!(%node, term = lead.term, "joined");
            Ok(Json(JoinAnswer { node, token, term: lead.term }))
        }
        Ok(Reply::Refused(why)) => Err(Failure::new(ProblemKind::Conflict, why)),
        Ok(other) => Err(Failure::internal("the join has no answer", &format!("{other:?}"))),
        Err(why) => Err(app.unanswered(why).await),
    }
}

fn check(request: &JoinRequest) -> Result<(), Failure> {
    if request.format != FORMAT {
        let detail = format!("this manager speaks format {FORMAT}, the worker {}", request.format);
        return Err(Failure::new(ProblemKind::Conflict, detail));
    }
    let mut faults = Vec::new();
    let mut fault = |pointer: &str, detail: &str| {
        faults.push(model::Fault { pointer: pointer.to_owned(), detail: detail.to_owned() });
    };
    if i64::try_from(request.session).is_err() {
        fault("/session", "has more than 63 bits");
    }
    if request.capacity.cpu_millis == 0 || request.capacity.memory_mib == 0 {
        fault("/capacity", "a node without cpu or memory can run nothing");
    }
    if let Proof::Token { name, .. } = &request.proof {
        let printable = name.chars().all(|one| one.is_ascii_graphic());
        if name.is_empty() || name.len() > NAME_BYTES || !printable {
            fault("/proof/token/name", "must be 1 to 128 printable characters without spaces");
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::invalid(faults)) }
}

async fn prove(app: &App, proof: Proof) -> Result<Joiner, Failure> {
    match proof {
        Proof::Identity { document } => match app.cloud.identify(&document).await {
            Ok(identity) => Ok(Joiner::Machine(identity)),
            Err(CloudError::Wrong(why)) => Err(Failure::new(ProblemKind::Unauthorized, why)),
            Err(fault @ (CloudError::Retry(_) | CloudError::Throttled { .. })) => {
                Err(Failure::overloaded(fault.to_string()))
            }
        },
        Proof::Token { token, name } => {
            if app.tokens.use_join(&token).await? {
                Ok(Joiner::Static { name: name.into() })
            } else {
                let detail = "the join token is unknown, expired or used up";
                Err(Failure::new(ProblemKind::Unauthorized, detail))
            }
        }
    }
}

/// A digester's long poll: what changed there, and what is to be done.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/sync", tag = "node", operation_id = "sync",
    params(("id" = NodeId, Path, description = "The node")),
    request_body(content = SyncRequest),
    responses(
        (status = 200, description = "What the node is to do", body = SyncAnswer),
        NotFound,
        Conflict,
        BadBody,
        NotLeader,
    ),
)]
pub(super) async fn sync(
    State(app): Shared,
    Extension(connection): Extension<ConnectionId>,
    PathText(node): PathText,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SyncAnswer>, Failure> {
    let node: NodeId = body::id(&node)?;
    let limits = &app.config.limits;
    body::must_be_json(&headers)?;
    let bytes = body::read(&headers, body, limits.sync_bytes, limits.body_ms).await?;
    // Large, many, and written by our own digesters: read straight into what it is.
    let mut request: SyncRequest = body::parse(&bytes)?;
    if request.transitions.len() > MAX_TRANSITIONS {
        refused(node, Lie::TooMany);
        let detail = format!("more than {MAX_TRANSITIONS}; send the rest in the next poll");
        return Err(Failure::invalid_field("/transitions", detail));
    }
    let lead = app.lead().await?;
    if request.term_seen > lead.term {
        // Somebody else leads by now, and the lease here has not run out yet; or it is a lie.
        refused(node, Lie::TermAhead);
        return Err(Failure::not_leader(None));
    }
    // One that has not heard of this leader yet may be from long ago. What it reports is fenced by the
    // attempts' numbers; what it says to have and where its spool stands is not, and is said again as
    // soon as it hears of the term.
    let of_this_term = request.term_seen == lead.term;
    if of_this_term
        && let Some(expected) = lead.hub.spool_gap(node, request.session, request.spool_offset)
    {
        refused(node, Lie::SpoolGap);
        let detail = format!("transitions from {expected} on were never sent");
        return Err(Failure::invalid_field("/spool_offset", detail));
    }
    app.connections.bind(connection, node, request.session);
    let is_newest = lead.hub.poll_arrives(node, request.poll);
    let inventory = request.inventory.take().filter(|_| is_newest && of_this_term);
    let is_first = inventory.is_some();
    let taken = request.transitions.len();
    let input = Input::Sync {
        node,
        session: request.session,
        transitions: std::mem::take(&mut request.transitions),
        inventory,
        notice: request.notice.take(),
    };
    match lead.ask_one(input).await {
        Ok(Reply::Done) => answer(&app, &lead, node, &request, taken, is_first).await.map(Json),
        Ok(Reply::Fenced) => {
            refused(node, Lie::OtherSession);
            let detail = "the node is bound to another session; join again";
            Err(Failure::new(ProblemKind::Conflict, detail))
        }
        Ok(Reply::NotFound) => {
            refused(node, Lie::NoNode);
            Err(Failure::not_found(format!("{node} is no node any more; join again")))
        }
        Ok(other) => Err(Failure::internal("the poll has no answer", &format!("{other:?}"))),
        Err(why) => Err(app.unanswered(why).await),
    }
}

/// Waits for something to say; the transitions are durable by now.
async fn answer(
    app: &App,
    lead: &Lead,
    node: NodeId,
    request: &SyncRequest,
    taken: usize,
    is_first: bool,
) -> Result<SyncAnswer, Failure> {
    // Durable by now; and before the wait, for a later poll builds on it.
    let end = request.spool_offset.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
    let acked_offset = if request.term_seen == lead.term {
        lead.hub.spool_taken(node, request.session, end)
    } else {
        end
    };
    let mailbox = lead.hub.mailbox(node);
    let patience = Duration::from_millis(POLL_WAIT_MS);
    let poll = crate::nodes::Poll {
        number: request.poll,
        answered: request.answered,
        is_first,
        // A digester that learns of a new term sends its inventory: that must not wait.
        at_once: taken > 0 || request.term_seen < lead.term || app.stop.is_cancelled(),
        patience,
    };
    let answer = tokio::select! {
        answer = mailbox.answer(poll) => answer,
        () = app.stop.cancelled() => mailbox.answer(crate::nodes::Poll { at_once: true, ..poll }).await,
    };
    let Some(mut answer) = answer else {
        return Err(Failure::overloaded("this poll or a later one has come before"));
    };
    // Without the answer the digester has read nothing: all of it is said again.
    let later = app.items.fill(&app.store, &mut answer).await?;
    mailbox.say_again(&later);
    Ok(SyncAnswer { term: lead.term, acked_offset, ..answer })
}

/// What a digester says that cannot be: each has a word of its own in the log.
#[derive(Debug, Clone, Copy)]
enum Lie {
    /// The node is bound to another session: an older process, or a copy of its token.
    OtherSession,
    /// It is no node any more.
    NoNode,
    /// A term that this leader has not heard of.
    TermAhead,
    /// Transitions that begin past those that were sent.
    SpoolGap,
    /// More transitions than a poll may have.
    TooMany,
}

fn refused(node: NodeId, lie: Lie) {
    let why = match lie {
        Lie::OtherSession => "other-session",
        Lie::NoNode => "no-node",
        Lie::TermAhead => "term-ahead",
        Lie::SpoolGap => "spool-gap",
        Lie::TooMany => "too-many-transitions",
    };
    tracing::warn!(%node, why, "a sync is refused");
}

/// What a running attempt has written past an offset.
///
/// 404 when nobody reads it any more.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/tail", tag = "node", operation_id = "tail",
    params(("id" = NodeId, Path, description = "The node"), TailRequest),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 204, description = "Somebody reads it"), NotFound, BadBody, NotLeader),
)]
pub(super) async fn tail(
    State(app): Shared,
    PathText(node): PathText,
    Params(request): Params<TailRequest>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Failure> {
    let node: NodeId = body::id(&node)?;
    let bytes = body::read(&headers, body, TAIL_BYTES, app.config.limits.body_ms).await?;
    let lead = app.lead().await?;
    if lead.hub.deliver_tail(node, request, &bytes).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::not_found(format!("nobody reads {}", request.attempt)))
    }
}
