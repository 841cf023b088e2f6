//! Nodes: lists, one, drain, explain.

use std::collections::HashMap;

use api::view::{Explanation, NodeView, Page};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::{Input, Reply};
use model::{Intent, Link, Node, NodeId, NodeOrigin};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{self, NoQuery, Params, PathText};
use super::doc::{self, NotFound, NotLeader};
use super::failure::Failure;
use super::jobs::{explained, limit};
use super::rows::{self, Observed};
use super::{App, Shared};

/// Nodes of a page: the largest that is asked for by people or scripts at once.
const PAGE: u32 = 1_000;
/// Decisions about a node, or about its launch, that are told.
const KEPT: u32 = 20;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct NodesQuery {
    /// Also those that are gone, and launches that failed; an empty value is `1`.
    #[serde(default, deserialize_with = "body::flag")]
    #[param(schema_with = doc::flag)]
    all: bool,
    /// `next_cursor` of the page before.
    #[param(inline)]
    cursor: Option<NodeId>,
    /// Nodes of the page; 1,000 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Machines that are asked for, then nodes, the newest first.
#[utoipa::path(
    get, path = "/v1/nodes", tag = "nodes", operation_id = "list_nodes",
    params(NodesQuery),
    responses(
        (
            status = 200,
            description = "Machines that are asked for, then nodes, the newest first",
            body = Page<NodeView>,
        ),
    ),
)]
pub(super) async fn list(
    State(app): Shared,
    Params(query): Params<NodesQuery>,
) -> Result<Json<Page<NodeView>>, Failure> {
    let limit = limit(query.limit.or(Some(PAGE)))?;
    let records = app.store.nodes(query.all, query.cursor, limit).await?;
    let full = u32::try_from(records.len()).is_ok_and(|length| length >= limit);
    let next_cursor = records.last().filter(|_| full).map(|record| record.node.id.to_string());
    let observed = observed(&app).await;
    // What is not yet born is on the first page, before all that is.
    let mut items: Vec<NodeView> = Vec::new();
    if query.cursor.is_none() {
        let intents = app.store.intents(query.all, PAGE).await?;
        let unborn = |intent: &&Intent| intent.born < intent.request.count;
        items.extend(intents.iter().filter(unborn).map(rows::intent));
    }
    items.extend(records.into_iter().map(|record| {
        let observed = observed.get(&record.node.id).copied().unwrap_or_default();
        rows::node(record, observed)
    }));
    Ok(Json(Page { items, next_cursor }))
}

/// What only the leader knows; at another replica nothing.
async fn observed(app: &App) -> HashMap<NodeId, Observed> {
    let Some(lead) = app.seat.lead() else { return HashMap::new() };
    let seen = lead.look(|world, _, _| {
        let suspect = |id| matches!(world.observed.links.get(id), Some(Link::Suspect { .. }));
        let loads = world.index.loads.iter();
        loads
            .map(|(id, load)| (*id, Observed { is_suspect: suspect(id), reserved: load.reserved }))
            .collect()
    });
    seen.await.unwrap_or_default()
}

/// One node.
#[utoipa::path(
    get, path = "/v1/nodes/{id}", tag = "nodes", operation_id = "get_node",
    params(("id" = NodeId, Path, description = "The node")),
    responses((status = 200, description = "The node", body = NodeView), NotFound),
)]
pub(super) async fn one(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Json<NodeView>, Failure> {
    let id: NodeId = body::id(&id)?;
    let record = app.store.node(id).await?.ok_or_else(|| no_node(id))?;
    let observed = observed(&app).await.get(&id).copied().unwrap_or_default();
    Ok(Json(rows::node(record, observed)))
}

fn no_node(id: NodeId) -> Failure {
    Failure::not_found(format!("there is no {id}"))
}

/// Gives a node no new work.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/drain", tag = "nodes", operation_id = "drain_node",
    params(("id" = NodeId, Path, description = "The node")),
    responses((status = 202, description = "It takes no new work"), NotFound, NotLeader),
)]
pub(super) async fn drain(state: Shared, id: PathText, _: NoQuery) -> Result<StatusCode, Failure> {
    set_drain(state, id, |node| Input::Drain { node }).await
}

/// Takes a drain back.
#[utoipa::path(
    post, path = "/v1/nodes/{id}/undrain", tag = "nodes", operation_id = "undrain_node",
    params(("id" = NodeId, Path, description = "The node")),
    responses((status = 202, description = "It takes work again"), NotFound, NotLeader),
)]
pub(super) async fn undrain(
    state: Shared,
    id: PathText,
    _: NoQuery,
) -> Result<StatusCode, Failure> {
    set_drain(state, id, |node| Input::Undrain { node }).await
}

async fn set_drain(
    State(app): Shared,
    PathText(id): PathText,
    input: fn(NodeId) -> Input,
) -> Result<StatusCode, Failure> {
    let node: NodeId = body::id(&id)?;
    let lead = app.lead().await?;
    match lead.ask_one(input(node)).await {
        Ok(Reply::NotFound) => Err(no_node(node)),
        Ok(_) => Ok(StatusCode::ACCEPTED),
        Err(why) => Err(app.unanswered(why).await),
    }
}

/// Why a node is in its state.
#[utoipa::path(
    get, path = "/v1/nodes/{id}/explain", tag = "nodes", operation_id = "explain_node",
    params(("id" = NodeId, Path, description = "The node")),
    responses(
        (status = 200, description = "In words", body = Explanation),
        NotFound,
        NotLeader,
    ),
)]
pub(super) async fn explain(
    State(app): Shared,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Json<Explanation>, Failure> {
    let id: NodeId = body::id(&id)?;
    let lead = app.lead().await?;
    let seen = lead.look(move |world, config, now| control::explain_node(world, config, id, now));
    let seen = match seen.await {
        Ok(seen) => seen,
        Err(why) => return Err(app.unanswered(why).await),
    };
    let node = app.store.node(id).await?.ok_or_else(|| no_node(id))?.node;
    let mut explanation = match seen {
        Some(seen) => explained(id, seen),
        None => {
            let summary = format!("{id} is {} since {}: {}", node.state, node.since, node.reason);
            Explanation { subject: id.to_string(), summary, details: Vec::new() }
        }
    };
    explanation.details.extend(kept(&app, &node).await?);
    Ok(Json(explanation))
}

/// What was decided about a node, and about the launch that it came of, the newest first.
async fn kept(app: &App, node: &Node) -> Result<Vec<String>, Failure> {
    let mut records = app.store.explanations(&node.id.to_string(), KEPT).await?;
    if let NodeOrigin::Cloud { intent, .. } = &node.origin {
        records.extend(app.store.explanations(&intent.to_string(), KEPT).await?);
    }
    Ok(records.into_iter().map(|record| format!("{}: {}", record.at, record.words)).collect())
}
