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
use super::rates::Peer;
use crate::secret::{self, TokenHash};
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
        let host = uri.as_ref().and_then(Uri::host).map(without_brackets);
        Self { listen, public: host.map(str::to_ascii_lowercase) }
    }

    fn allow(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = without_brackets(authority.host());
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        if self.public.as_deref().is_some_and(|public| public.eq_ignore_ascii_case(name)) {
            return true;
        }
        // A number cannot be made to point elsewhere.
        name.parse::<IpAddr>().is_ok_and(|ip| {
            let (ip, ours) = (ip.to_canonical(), self.listen.ip().to_canonical());
            ip.is_loopback() || ip == ours || ours.is_unspecified()
        })
    }
}

/// A URL keeps the colons of an IPv6 address in brackets.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
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
    let peer = request.extensions().get::<Peer>().copied();
    match admit(&app, &place, peer, request.headers()).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
        Err(failure) => return failure.into_response(),
    }
    if matches!(place, Place::NoNode) {
        return Failure::not_found("there is no such node").into_response();
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
    let mut given = headers.get_all(header::HOST).into_iter();
    let host = given.next().and_then(|value| value.to_str().ok());
    if given.next().is_some() {
        return Err(Failure::malformed("more than one Host is given"));
    }
    // A target in absolute form says it itself, and then Host means nothing (RFC 9112, 3.2.2).
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
    /// Any: there is no such node.
    NoNode,
}

impl Place {
    fn of(path: &str) -> Self {
        if matches!(path, "/healthz" | "/readyz" | "/v1/nodes/join") {
            return Self::Open;
        }
        let node = path.strip_prefix("/v1/nodes/").and_then(|rest| rest.split_once('/'));
        match node {
            Some((id, "sync" | "tail")) => id.parse().map_or(Self::NoNode, Self::Node),
            _ => Self::User,
        }
    }
}

async fn admit(
    app: &App,
    place: &Place,
    peer: Option<Peer>,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Failure> {
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
    let caller = known(app, peer, &secret::hash(token.trim())).await?;
    let caller = caller.ok_or_else(|| unauthorized("the token is unknown, expired or removed"))?;
    match (place, &caller) {
        (Place::Node(node), Caller::Node(own)) if node == own => Ok(Some(caller)),
        (Place::User, Caller::User) => Ok(Some(caller)),
        (Place::Open | Place::NoNode, _) => Ok(Some(caller)),
        (Place::Node(asked), Caller::Node(own)) => {
            tracing::warn!(node = %own, %asked, why = "other-nodes-token", "a sync is refused");
            let detail = "this token is another node's";
            Err(Failure::new(ProblemKind::Forbidden, detail))
        }
        (Place::Node(_) | Place::User, _) => {
            let detail = "this token is for other things";
            Err(Failure::new(ProblemKind::Forbidden, detail))
        }
    }
}

/// Whom the token stands for. What memory does not know costs a look into the database, and may
/// be a guess: an address has so many and no more.
async fn known(
    app: &App,
    peer: Option<Peer>,
    token: &TokenHash,
) -> Result<Option<Caller>, Failure> {
    if let Some(caller) = app.tokens.known(token) {
        let passed = app.rates.request(token);
        passed.map_err(|wait| Failure::too_often("this token asks too often", wait))?;
        return Ok(Some(caller));
    }
    if let Some(Peer(peer)) = peer {
        let passed = app.rates.guess(peer);
        passed.map_err(|wait| Failure::too_often("too many unknown tokens", wait))?;
    }
    Ok(app.tokens.look_up(token).await?)
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
    fn addresses_of_six_bytes_pairs_are_numbers_too() {
        let all = hosts("[::]:7878");
        for good in ["[2001:db8::1]:7878", "[::ffff:10.0.0.1]", "10.0.0.1", "[::1]"] {
            assert!(all.allow(good), "{good}");
        }
        let one = Hosts::new("[2001:db8::1]:1".parse().expect("an address"), "http://[fd00::7]:1");
        for good in ["[2001:db8::1]:1", "[2001:0db8:0::1]", "[fd00::7]", "[::ffff:127.0.0.1]"] {
            assert!(one.allow(good), "{good}");
        }
        for bad in ["[2001:db8::2]", "2001:db8::1", "[fd00::7", "[fe80::1%25eth0]", "10.0.0.1"] {
            assert!(!one.allow(bad), "{bad}");
        }
    }

    #[test]
    fn one_host_is_given() {
        let check = |given: &[&str], uri: &'static str| {
            let mut headers = HeaderMap::new();
            for host in given {
                headers.append(header::HOST, host.parse().expect("a value"));
            }
            let came = came_to_us(&hosts("127.0.0.1:7878"), &headers, &Uri::from_static(uri));
            came.map_err(|failure| failure.into_response().status().as_u16())
        };
        assert_eq!(check(&["localhost"], "/v1/jobs"), Ok(()));
        assert_eq!(check(&[], "/v1/jobs"), Err(400));
        assert_eq!(check(&["localhost", "localhost"], "/v1/jobs"), Err(400));
        // In absolute form the target counts, whatever Host says.
        assert_eq!(check(&["evil.example"], "http://localhost:7878/v1/jobs"), Ok(()));
        assert_eq!(check(&["localhost"], "http://evil.example/v1/jobs"), Err(403));
        assert_eq!(check(&[], "http://localhost/v1/jobs"), Ok(()));
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
