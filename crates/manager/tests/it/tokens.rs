//! There is no unauthenticated mode.

use api::client::Client;
use api::problem::ProblemKind;
use api::view::{TokenPurpose, TokenRequest};
use reqwest::StatusCode;

use crate::scene::{Digester, Scene, join_request, problem};

fn request(purpose: TokenPurpose, uses: Option<u32>) -> TokenRequest {
    TokenRequest { purpose, name: "test".into(), uses, valid_ms: None }
}

#[tokio::test]
async fn every_place_wants_a_token_but_two() {
    let scene = Scene::new().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = async |path: &str, header: Option<&str>| {
        let request = http.get(format!("{}{path}", scene.manager.url()));
        let request = match header {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        request.send().await.expect("sent").status()
    };
    for open in ["/healthz", "/readyz"] {
        assert_eq!(get(open, None).await, StatusCode::OK, "{open}");
    }
    for closed in ["/v1/jobs", "/v1/nodes", "/v1/tokens", "/v1/cost", "/metrics", "/nowhere"] {
        assert_eq!(get(closed, None).await, StatusCode::UNAUTHORIZED, "{closed}");
    }
    for bad in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic dTpw", "bearer\u{a0}x"] {
        assert_eq!(get("/v1/jobs", Some(bad)).await, StatusCode::UNAUTHORIZED, "{bad}");
    }
    let good = format!("bearer {}", scene.manager.token());
    assert_eq!(get("/v1/jobs", Some(&good)).await, StatusCode::OK);
    let metrics = http.get(format!("{}/metrics", scene.manager.url()));
    let metrics = metrics.bearer_auth(scene.manager.token()).send().await.expect("sent");
    let text = metrics.text().await.expect("text");
    assert!(text.contains("\nebb_leader_term 1\n"), "{text}");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_refused() {
    let scene = Scene::new().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (name, value) in [("host", "evil.example"), ("origin", "http://evil.example")] {
        let request = http.get(format!("{}/healthz", scene.manager.url())).header(name, value);
        let status = request.send().await.expect("sent").status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{name}");
    }
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_node_may_speak_for_itself_only() {
    let scene = Scene::new().await;
    let mut one = scene.node("one").await;
    let mut two = scene.node("two").await;
    one.poll(Vec::new()).await;
    let poll = two.request(Vec::new());
    assert_eq!(problem(one.client.sync(two.node, &poll).await), ProblemKind::Forbidden);
    assert_eq!(problem(scene.user.sync(two.node, &poll).await), ProblemKind::Forbidden);
    let as_node = one.client.jobs(&api::client::JobsQuery::default()).await;
    assert_eq!(problem(as_node), ProblemKind::Forbidden);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_join_token_lets_in_as_often_as_it_says() {
    let scene = Scene::new().await;
    let made = scene.user.create_token(&request(TokenPurpose::Join, Some(2))).await;
    let token = made.expect("made").token;
    for name in ["one", "two"] {
        scene.user.join(&join_request(&token, name, 1)).await.expect("joined");
    }
    let third = scene.user.join(&join_request(&token, "three", 1)).await;
    assert_eq!(problem(third), ProblemKind::Unauthorized);
    let as_user = Client::new(scene.manager.url(), &token).expect("a client");
    let listed = as_user.jobs(&api::client::JobsQuery::default()).await;
    assert_eq!(problem(listed), ProblemKind::Unauthorized, "it is no user's token");
    let user_token = scene.user.join(&join_request(scene.manager.token(), "x", 1)).await;
    assert_eq!(problem(user_token), ProblemKind::Unauthorized, "and a user's is no join token");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_removed_token_is_refused_at_once() {
    let scene = Scene::new().await;
    let made = scene.user.create_token(&request(TokenPurpose::User, None)).await.expect("made");
    let other = Client::new(scene.manager.url(), &made.token).expect("a client");
    other.cost().await.expect("it is valid");
    let listed = scene.user.tokens().await.expect("a list");
    assert!(listed.items.iter().any(|token| token.id == made.view.id && token.name == "test"));
    scene.user.remove_token(&made.view.id).await.expect("removed");
    assert_eq!(problem(other.cost().await), ProblemKind::Unauthorized);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_new_join_voids_the_tokens_of_the_last() {
    let scene = Scene::new().await;
    let mut first = scene.node("one").await;
    let second = Digester::join(&scene.user, "one", 1).await;
    assert_eq!(first.node, second.node);
    let poll = first.request(Vec::new());
    assert_eq!(problem(first.client.sync(first.node, &poll).await), ProblemKind::Unauthorized);
    scene.manager.shutdown().await;
}
