//! What every request must pass: it came to us by our name, not from a foreign web page, with a
//! token that may do this, and there is room for it (DESIGN §4.11).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api::problem::ProblemKind;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::NodeId;

use super::App;
use super::failure::Failure;
use crate::tokens::Caller;

/// Names by which a client may call this manager. A web page that had its own name point to our
/// address would otherwise be a client of ours.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    listen: SocketAddr,
    public: Option<String>,
}

impl Hosts {
    /// Of a manager that listens there, and is known by this URL.
    pub(crate) fn new(listen: SocketAddr, public_url: &str) -> Self {
        let uri = public_url.parse::<Uri>().ok();
        Self { listen, public: uri.and_then(|uri| uri.host().map(str::to_ascii_lowercase)) }
    }

    fn allow(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        if self.public.as_deref().is_some_and(|public| public.eq_ignore_ascii_case(name)) {
            return true;
        }
        // A number cannot be made to point elsewhere.
        name.parse::<IpAddr>().is_ok_and(|ip| {
            ip.is_loopback() || ip == self.listen.ip() || self.listen.ip().is_unspecified()
        })
    }
}

/// Lets a request through, or says what it lacks.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(failure) = came_to_us(&app.hosts, request.headers(), request.uri()) {
        return failure.into_response();
    }
    let place = Place::of(request.uri().path());
    match admit(&app, &place, request.headers()).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
        Err(failure) => return failure.into_response(),
    }
    // Polls wait by nature and are bounded by the number of connections.
    if matches!(place, Place::Node(_)) {
        return next.run(request).await;
    }
    match app.slots.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => Failure::overloaded("too many requests at once").into_response(),
    }
}

/// Answers are data, whatever a browser thinks of their bytes.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn came_to_us(hosts: &Hosts, headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let Some(host) = uri.authority().map(Authority::as_str).or(host) else {
        return Err(Failure::malformed("no Host is given"));
    };
    if !hosts.allow(host) {
        let detail = format!("this manager is not known as `{host}`; see --public-url");
        return Err(Failure::new(ProblemKind::Forbidden, detail));
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let same = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    if same.is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(Failure::new(ProblemKind::Forbidden, "requests from other sites' pages are refused"))
}

/// Which token a path wants.
enum Place {
    /// None: it says nothing that matters, or the body proves who asks.
    Open,
    /// This node's.
    Node(NodeId),
    /// A user's.
    User,
}

impl Place {
    fn of(path: &str) -> Self {
        if matches!(path, "/healthz" | "/readyz" | "/v1/nodes/join") {
            return Self::Open;
        }
        let node = path.strip_prefix("/v1/nodes/").and_then(|rest| rest.split_once('/'));
        match node {
            Some((id, "sync" | "tail")) => id.parse().map_or(Self::User, Self::Node),
            _ => Self::User,
        }
    }
}

async fn admit(app: &App, place: &Place, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    if matches!(place, Place::Open) {
        return Ok(None);
    }
    let unauthorized = |detail| Failure::new(ProblemKind::Unauthorized, detail);
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = value.and_then(|value| value.split_once(' ')) else {
        return Err(unauthorized("send `Authorization: Bearer TOKEN`"));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthorized("the only scheme here is Bearer"));
    }
    let caller = app.tokens.caller(token.trim()).await?;
    let caller = caller.ok_or_else(|| unauthorized("the token is unknown, expired or removed"))?;
    match (place, &caller) {
        (Place::Node(node), Caller::Node(own)) if node == own => Ok(Some(caller)),
        (Place::User, Caller::User) => Ok(Some(caller)),
        (Place::Open, _) => Ok(Some(caller)),
        (Place::Node(_) | Place::User, _) => {
            let detail = "this token is for other things";
            Err(Failure::new(ProblemKind::Forbidden, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str) -> Hosts {
        Hosts::new(listen.parse().expect("an address"), "http://ebb.example:80")
    }

    #[test]
    fn only_our_names_are_ours() {
        let local = hosts("127.0.0.1:7878");
        for good in ["127.0.0.1:7878", "localhost", "[::1]:1", "EBB.example", "127.0.0.2:9"] {
            assert!(local.allow(good), "{good}");
        }
        for bad in
            ["evil.example", "10.0.0.1", "localhost.evil.example", "", "a b", "127.0.0.1.nip.io"]
        {
            assert!(!local.allow(bad), "{bad}");
        }
        assert!(hosts("0.0.0.0:1").allow("10.0.0.1"));
        assert!(hosts("10.0.0.1:1").allow("10.0.0.1:1"));
    }

    #[test]
    fn foreign_pages_are_refused() {
        let check = |host: &str, origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            came_to_us(&hosts("127.0.0.1:7878"), &headers, &Uri::from_static("/v1/jobs")).is_ok()
        };
        assert!(check("127.0.0.1:7878", "http://127.0.0.1:7878"));
        assert!(!check("127.0.0.1:7878", "http://127.0.0.1:7879"));
        assert!(!check("127.0.0.1:7878", "null"));
        assert!(!check("127.0.0.1:7878", "https://evil.example"));
    }
}
