//! Bad input gets a clear error and changes nothing.

use api::problem::Problem;
use reqwest::{Client, Method, Response};

use crate::scene::{Scene, job};

/// What is sent, and the status that comes back.
struct Case {
    name: &'static str,
    method: Method,
    path: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    status: u16,
}

fn case(name: &'static str, method: Method, path: &'static str, status: u16) -> Case {
    Case { name, method, path, content_type: None, body: Vec::new(), status }
}

fn post(name: &'static str, content_type: &'static str, body: &str, status: u16) -> Case {
    Case {
        content_type: Some(content_type),
        body: body.as_bytes().to_vec(),
        ..case(name, Method::POST, "/v1/jobs", status)
    }
}

fn cases() -> Vec<Case> {
    let json = "application/json";
    vec![
        case("no such path", Method::GET, "/v2/jobs", 404),
        case("no such method", Method::PUT, "/v1/jobs", 405),
        case("no such job", Method::GET, "/v1/jobs/job_0000000000001", 404),
        case("no id", Method::GET, "/v1/jobs/x", 404),
        case("no id, not even UTF-8", Method::GET, "/v1/jobs/%ff", 404),
        case("no such task", Method::GET, "/v1/tasks/job_0000000000001.0.0", 404),
        case("no results of no job", Method::GET, "/v1/jobs/job_0000000000001/results", 404),
        case("no such node", Method::GET, "/v1/nodes/node_0000000000001", 404),
        case("stop of no job", Method::DELETE, "/v1/jobs/job_0000000000001", 404),
        case("unknown status", Method::GET, "/v1/jobs?status=odd", 400),
        case("unknown parameter", Method::GET, "/v1/jobs?page=1", 400),
        case("too long a page", Method::GET, "/v1/jobs?limit=1001", 400),
        case("no cursor", Method::GET, "/v1/jobs?cursor=1", 400),
        case("a label without value", Method::GET, "/v1/jobs?label=a", 400),
        case("no content type", Method::POST, "/v1/jobs", 415),
        post("another content type", "text/plain", "{}", 415),
        post("no JSON", json, "{", 400),
        post("nothing", json, "", 400),
        post("too deep", json, &"[".repeat(50_000), 400),
        post("no object", json, "[]", 422),
        post("no group", json, r#"{"name": "x"}"#, 422),
        post("unknown field", json, r#"{"group": [{"command": ["true"]}], "x": 1}"#, 422),
        post("a faulty line", "application/x-ndjson", "{}\n", 422),
        post("no line", "application/x-ndjson", "\n\n", 400),
        Case {
            content_type: Some(json),
            body: vec![b' '; 11 << 20],
            ..case("too large", Method::POST, "/v1/jobs", 413)
        },
        Case {
            content_type: Some(json),
            body: br#"{"purpose": "join", "uses": 0}"#.to_vec(),
            ..case("no uses", Method::POST, "/v1/tokens", 422)
        },
        Case {
            content_type: Some(json),
            body: br#"{"purpose": "god"}"#.to_vec(),
            ..case("no such purpose", Method::POST, "/v1/tokens", 422)
        },
    ]
}

async fn send(url: &str, token: &str, case: &Case) -> Result<Response, reqwest::Error> {
    let client = Client::builder().no_proxy().build()?;
    let request = client.request(case.method.clone(), format!("{url}{}", case.path));
    let request = request.bearer_auth(token).body(case.body.clone());
    match case.content_type {
        Some(content_type) => request.header("content-type", content_type).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn every_fault_is_a_problem_and_nothing_is_stored() {
    let scene = Scene::new().await;
    for case in cases() {
        let response = send(scene.manager.url(), scene.manager.token(), &case).await;
        let response = response.unwrap_or_else(|fault| panic!("{}: {fault:?}", case.name));
        assert_eq!(response.status().as_u16(), case.status, "{}", case.name);
        let content_type = response.headers().get("content-type").map(|value| value.as_bytes());
        assert_eq!(content_type, Some(&b"application/problem+json"[..]), "{}", case.name);
        let problem: Problem = response.json().await.expect(case.name);
        assert_eq!(problem.status, case.status, "{}", case.name);
        assert!(problem.detail.is_some_and(|detail| !detail.is_empty()), "{}", case.name);
    }
    let all = scene.user.jobs(&api::client::JobsQuery::default()).await.expect("a list");
    assert_eq!(all.items.len(), 0);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn all_faults_of_a_document_are_told_at_once() {
    let scene = Scene::new().await;
    let body = serde_json::json!({"priority": 5_000, "group": [{"count": 0}]});
    let error = scene.user.submit(&body, None).await.expect_err("faulty");
    let problem = error.problem().expect("a problem");
    let pointers: Vec<&str> = problem.errors.iter().map(|fault| &*fault.pointer).collect();
    for place in ["/priority", "/group/0", "/group/0/count"] {
        assert!(pointers.contains(&place), "{place} in {pointers:?}");
    }
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_created_job_has_a_location() {
    let scene = Scene::new().await;
    let case = post("good", "application/json", &job(1).to_string(), 201);
    let response = send(scene.manager.url(), scene.manager.token(), &case).await.expect("sent");
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().expect("text").to_owned();
    let path = format!("{}{location}", scene.manager.url());
    let client = Client::builder().no_proxy().build().expect("a client");
    let found = client.get(path).bearer_auth(scene.manager.token()).send().await.expect("sent");
    assert_eq!(found.status(), 200);
    scene.manager.shutdown().await;
}
