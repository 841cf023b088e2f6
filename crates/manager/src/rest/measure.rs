//! Counts requests and takes their time.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use crate::metrics::{RequestLabels, RouteLabels};

/// Polls wait by nature: their time says nothing.
const POLLS: &str = "/v1/nodes/{id}/sync";

/// Around everything else, so that refusals are counted, too.
pub(super) async fn measure(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let method = word(request.method());
    let response = next.run(request).await;
    if route != POLLS {
        let labels = RouteLabels { route: route.clone() };
        let taken = began.elapsed().as_secs_f64();
        app.metrics.request_seconds.get_or_create(&labels).observe(taken);
    }
    let labels = RequestLabels { route, method, status: response.status().as_u16() };
    app.metrics.requests.get_or_create(&labels).inc();
    response
}

/// A client may send any word as its method; few become a label.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
