//! How it stands: for load balancers, for Prometheus, for whoever pays.

use api::problem::ProblemKind;
use api::view::{CostView, Page};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use model::Offer;
use serde::Serialize;

use super::failure::Failure;
use super::{Shared, rows};
use crate::clock;

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// How a replica stands.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    leads: bool,
    leader: Option<String>,
}

/// The database answers, and somebody leads: what is asked for is done.
pub(super) async fn ready(State(app): Shared) -> Result<Json<Ready>, Failure> {
    if app.stop.is_cancelled() {
        return Err(Failure::new(ProblemKind::NotLeader, "this replica is shutting down"));
    }
    let leads = app.seat.lead().is_some();
    let leader = app.store.leader().await?;
    // A replica that has the lease and has not loaded World yet does nothing for anybody.
    match leader.filter(|leader| leads || leader.url != app.url) {
        Some(leader) => Ok(Json(Ready { leads, leader: Some(leader.url) })),
        None => Err(Failure::not_leader(None)),
    }
}

pub(super) async fn metrics(State(app): Shared) -> Response {
    let term = app.seat.lead().map(|lead| lead.term);
    let text = app.metrics.to_text(app.store.round_trips(), term);
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4");
    ([(header::CONTENT_TYPE, prometheus)], text).into_response()
}

pub(super) async fn cost(State(app): Shared) -> Result<Json<CostView>, Failure> {
    Ok(Json(rows::cost(app.store.cost(clock::now()).await?)))
}

/// What can be bought is observed by the leader, and never stored.
pub(super) async fn offers(State(app): Shared) -> Result<Json<Page<Offer>>, Failure> {
    let lead = app.lead().await?;
    match lead.look(|world, _, _| world.observed.offers.clone()).await {
        Ok(items) => Ok(Json(Page { items, next_cursor: None })),
        Err(why) => Err(app.unanswered(why).await),
    }
}
