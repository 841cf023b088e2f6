//! How it stands: for load balancers, for Prometheus, for whoever pays.

use std::time::Duration;

use api::view::{CostView, OfferView, Page};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::NoQuery;
use super::doc::NotLeader;
use super::failure::Failure;
use super::{App, Shared, rows};
use crate::clock;
use crate::metrics::Seen;

/// The process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "cluster", operation_id = "alive",
    security(()),
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn alive(_: NoQuery) -> &'static str {
    "ok\n"
}

/// How a replica stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether this replica leads.
    leads: bool,
    /// Where the one that leads answers.
    leader: String,
}

/// A database that is slower than this holds up everything.
const DATABASE: Duration = Duration::from_secs(1);

/// The database answers within a second, somebody leads, and this replica is not about to end.
///
/// Otherwise 503; `detail` says which of it fails.
#[utoipa::path(
    get, path = "/readyz", tag = "cluster", operation_id = "ready",
    security(()),
    responses(
        (status = 200, description = "What is asked for is done", body = Ready),
        NotLeader,
    ),
)]
pub(super) async fn ready(State(app): Shared, _: NoQuery) -> Result<Json<Ready>, Failure> {
    if app.stop.is_cancelled() {
        return Err(Failure::unavailable("this replica is shutting down"));
    }
    let leader = match tokio::time::timeout(DATABASE, app.store.leader()).await {
        Ok(leader) => leader?,
        Err(_) => {
            let within = DATABASE.as_millis();
            let detail = format!("the database has not answered within {within} ms");
            return Err(Failure::unavailable(detail));
        }
    };
    let leads = app.seat.lead().is_some();
    match leader {
        Some(leader) if leads || leader.url != app.url => {
            Ok(Json(Ready { leads, leader: leader.url }))
        }
        Some(_) => Err(Failure::unavailable("this replica is to lead, and has yet to load")),
        None => Err(Failure::not_leader(None)),
    }
}

/// For Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "cluster", operation_id = "metrics",
    responses(
        (
            status = 200,
            description = "OpenMetrics",
            body = String,
            content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ),
)]
pub(super) async fn metrics(State(app): Shared, _: NoQuery) -> Response {
    let seen = seen(&app).await;
    let text = app.metrics.to_text(&seen);
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, HeaderValue::from_static(openmetrics))], text).into_response()
}

async fn seen(app: &App) -> Seen {
    let mut seen = Seen::default();
    if let Some(lead) = app.seat.lead() {
        let looked = lead.look(|world, _, now| Seen::of(world, now)).await;
        seen = Seen { term: lead.term, ..looked.unwrap_or_default() };
    }
    seen.round_trips = app.store.round_trips();
    // Without a database the rest is all the more worth telling.
    match app.store.cost(clock::now()).await {
        Ok(sums) => seen.with_cost(&sums),
        Err(_) => seen,
    }
}

/// What was spent.
#[utoipa::path(
    get, path = "/v1/cost", tag = "cluster", operation_id = "cost",
    responses((status = 200, description = "Sums", body = CostView)),
)]
pub(super) async fn cost(State(app): Shared, _: NoQuery) -> Result<Json<CostView>, Failure> {
    Ok(Json(rows::cost(app.store.cost(clock::now()).await?)))
}

/// What can be bought.
///
/// It is observed by the leader, and never stored. What the cloud has refused is not asked again
/// until `withheld_until`.
#[utoipa::path(
    get, path = "/v1/offers", tag = "cluster", operation_id = "list_offers",
    responses(
        (status = 200, description = "What the cloud sells now", body = Page<OfferView>),
        NotLeader,
    ),
)]
pub(super) async fn offers(
    State(app): Shared,
    _: NoQuery,
) -> Result<Json<Page<OfferView>>, Failure> {
    let lead = app.lead().await?;
    match lead.look(|world, _, now| rows::offers(world, now)).await {
        Ok(items) => Ok(Json(Page { items, next_cursor: None })),
        Err(why) => Err(app.unanswered(why).await),
    }
}
