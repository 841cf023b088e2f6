//! Bad input gets a clear error and changes nothing (DESIGN §4.10).

use std::time::Duration;

use api::problem::Problem;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{Scene, job};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const NO_JOB: &str = "job_0000000000001";

/// What is sent, and the status and the faults' places that come back.
struct Case {
    name: &'static str,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    pointers: Vec<&'static str>,
}

fn case(name: &'static str, method: Method, path: impl Into<String>, status: u16) -> Case {
    let (headers, body, pointers) = (Vec::new(), Vec::new(), Vec::new());
    Case { name, method, path: path.into(), headers, body, status, pointers }
}

fn get(name: &'static str, path: &str, status: u16) -> Case {
    case(name, Method::GET, path, status)
}

fn send(
    name: &'static str,
    method: Method,
    path: &str,
    content_type: &str,
    body: impl Into<Vec<u8>>,
    status: u16,
) -> Case {
    let headers = vec![("content-type", content_type.to_owned())];
    Case { headers, body: body.into(), ..case(name, method, path, status) }
}

fn post(name: &'static str, content_type: &str, body: impl Into<Vec<u8>>, status: u16) -> Case {
    send(name, Method::POST, "/v1/jobs", content_type, body, status)
}

/// A job's document with these faults and no other.
fn document(name: &'static str, document: &Value, pointers: &[&'static str]) -> Case {
    let pointers = pointers.to_vec();
    Case { pointers, ..post(name, JSON, document.to_string(), 422) }
}

/// The same of a group that is all right otherwise.
fn group(name: &'static str, fields: &Value, pointers: &[&'static str]) -> Case {
    let mut group = json!({"command": ["true"]});
    for (key, value) in fields.as_object().expect("an object") {
        group[key] = value.clone();
    }
    document(name, &json!({"group": [group]}), pointers)
}

fn places() -> Vec<Case> {
    let task = format!("/v1/tasks/{NO_JOB}.0.0");
    vec![
        get("no such path", "/v2/jobs", 404),
        get("a path below one", "/v1/jobs/x/y/z", 404),
        get("an empty id", "/v1/jobs/", 404),
        get("no such job", &format!("/v1/jobs/{NO_JOB}"), 404),
        get("no id", "/v1/jobs/x", 404),
        get("an id beyond 63 bits", "/v1/jobs/job_zzzzzzzzzzzzz", 404),
        get("an id that is not UTF-8", "/v1/jobs/%ff", 404),
        get("an id with a NUL", "/v1/jobs/job_%00", 404),
        get("an id that climbs", "/v1/jobs/..%2f..%2fetc", 404),
        get("an id with a bad escape", "/v1/jobs/%zz", 404),
        get("no such task", &task, 404),
        get("another spelling of a task", &format!("/v1/tasks/{NO_JOB}.0.00"), 404),
        get("an output that climbs", &format!("{task}/outputs/..%2f..%2ftoken"), 404),
        get("no results of no job", &format!("/v1/jobs/{NO_JOB}/results"), 404),
        get("no such node", "/v1/nodes/node_0000000000001", 404),
        case("no such token", Method::DELETE, "/v1/tokens/0000000000000000", 404),
        case("stop of no job", Method::DELETE, format!("/v1/jobs/{NO_JOB}"), 404),
        case("stop of no task", Method::DELETE, task, 404),
        case("drain of no node", Method::POST, "/v1/nodes/node_0000000000001/drain", 404),
        case("retry of no job", Method::POST, format!("/v1/jobs/{NO_JOB}/retry"), 404),
    ]
}

fn queries() -> Vec<Case> {
    vec![
        get("unknown status", "/v1/jobs?status=odd", 400),
        get("unknown parameter", "/v1/jobs?page=1", 400),
        get("a parameter where none is known", "/v1/cost?x=1", 400),
        get("a parameter twice", "/v1/jobs?limit=1&limit=2", 400),
        get("too long a page", "/v1/jobs?limit=1001", 400),
        get("an empty page", "/v1/jobs?limit=0", 400),
        get("a negative page", "/v1/jobs?limit=-1", 400),
        get("no cursor", "/v1/jobs?cursor=1", 400),
        get("another list's cursor", &format!("/v1/jobs/{NO_JOB}/tasks?cursor={NO_JOB}"), 400),
        get("a cursor in another spelling", &format!("/v1/jobs/{NO_JOB}/tasks?cursor=0.01"), 400),
        get("a label without value", "/v1/jobs?label=a", 400),
        get("a label without key", "/v1/jobs?label==a", 400),
        get("a label with a NUL", "/v1/jobs?label=a=%00", 400),
        get("too many labels", &format!("/v1/jobs?label=a=b{}", ",a=b".repeat(64)), 400),
        get("no namespace", "/v1/jobs?namespace=No!", 400),
        get("a query that is not UTF-8", "/v1/jobs?label=%ff=a", 400),
        get("no yes or no", "/v1/nodes?all=maybe", 400),
        get("a status of results", &format!("/v1/jobs/{NO_JOB}/results?status=failed"), 400),
    ]
}

fn bodies() -> Vec<Case> {
    let good = json!({"group": [{"command": ["true"]}]}).to_string();
    let token = |name, body: Value, pointers: &[&'static str]| Case {
        pointers: pointers.to_vec(),
        ..send(name, Method::POST, "/v1/tokens", JSON, body.to_string(), 422)
    };
    let keyed = |name, key: String| {
        let case = post(name, JSON, good.clone(), 400);
        Case { headers: [case.headers, vec![("idempotency-key", key)]].concat(), ..case }
    };
    vec![
        case("no content type", Method::POST, "/v1/jobs", 415),
        post("another content type", "text/plain", good.clone(), 415),
        post("a form", "application/x-www-form-urlencoded", "group=1", 415),
        post("truncated", JSON, &good[..good.len() - 1], 400),
        post("nothing", JSON, "", 400),
        post("junk after it", JSON, format!("{good} x"), 400),
        post("two documents", JSON, format!("{good}{good}"), 400),
        post("a byte order mark", JSON, format!("\u{feff}{good}"), 400),
        post("not UTF-8", JSON, b"{\"name\": \"\xff\xfe\"}".to_vec(), 400),
        post("half a surrogate", JSON, r#"{"name": "\ud800"}"#, 400),
        post("100,000 deep", JSON, "[".repeat(100_000), 400),
        post("100,000 deep, and closed", JSON, "[".repeat(100_000) + &"]".repeat(100_000), 400),
        post("a number without end", JSON, r#"{"priority": 1e999}"#, 400),
        post("not a number", JSON, r#"{"priority": NaN}"#, 400),
        post("11 MiB", JSON, vec![b' '; 11 << 20], 413),
        post("no line", NDJSON, "\n\n", 400),
        Case { pointers: vec!["/0"], ..post("a faulty line", NDJSON, "{}\n", 422) },
        Case {
            pointers: vec!["/1/group/0/count", "/2"],
            ..post(
                "faults of two lines",
                NDJSON,
                format!("{good}\n{{\"group\":[{{\"command\":[\"a\"],\"count\":0}}]}}\n{{\n"),
                422,
            )
        },
        post("10,001 lines", NDJSON, format!("{good}\n").repeat(10_001), 413),
        Case {
            pointers: vec!["/name", "/group/0/count"],
            ..post(
                "a key twice",
                JSON,
                r#"{"name":"a","name":"b","group":[{"command":["a"],"count":1,"count":2}]}"#,
                422,
            )
        },
        keyed("an empty idempotency key", String::new()),
        keyed("a long idempotency key", "k".repeat(256)),
        keyed("an idempotency key with a space", "a b".to_owned()),
        token("no uses", json!({"purpose": "join", "uses": 0}), &["/uses"]),
        token("uses of a user's token", json!({"purpose": "user", "uses": 1}), &["/uses"]),
        token("no such purpose", json!({"purpose": "god"}), &["/purpose"]),
        token("a node's token", json!({"purpose": "node"}), &["/purpose"]),
        token("a token without purpose", json!({}), &[""]),
        token(
            "a token for ever",
            json!({"purpose": "user", "valid_ms": 1_u64 << 62}),
            &["/valid_ms"],
        ),
        token("a name too long", json!({"purpose": "user", "name": "n".repeat(129)}), &["/name"]),
        Case {
            pointers: vec!["/tasks"],
            ..send(
                "a retry of what is not",
                Method::POST,
                &format!("/v1/jobs/{NO_JOB}/retry"),
                JSON,
                r#"{"tasks": "all"}"#,
                422,
            )
        },
    ]
}

fn documents() -> Vec<Case> {
    let resources = |value: Value| json!({"resources": value});
    vec![
        document("no object", &json!([]), &[""]),
        document("no group", &json!({"name": "x"}), &[""]),
        document("no groups", &json!({"group": []}), &["/group"]),
        document(
            "unknown fields",
            &json!({"group": [{"command": ["a"], "y": 1}], "x": 1}),
            &["/x", "/group/0/y"],
        ),
        document(
            "wrong types",
            &json!({"name": 1, "labels": [], "group": {}}),
            &["/name", "/labels", "/group"],
        ),
        document(
            "not built",
            &json!({"kind": "service", "group": [{"command": ["a"]}]}),
            &["/kind"],
        ),
        document("null", &json!({"name": null, "group": [{"command": ["a"]}]}), &["/name"]),
        document(
            "far priorities",
            &json!({"priority": 1_001, "group": [{"command": ["a"]}]}),
            &["/priority"],
        ),
        document(
            "a NUL",
            &json!({"labels": {"a": "\0"}, "group": [{"command": ["\0"]}]}),
            &["/labels/a", "/group/0/command/0"],
        ),
        document(
            "no such namespace",
            &json!({"namespace": "-a", "group": [{"command": ["a"]}]}),
            &["/namespace"],
        ),
        document(
            "names twice",
            &json!({"group": [{"name": "a", "command": ["a"]}, {"name": "a", "command": ["a"]}]}),
            &["/group/1/name"],
        ),
        document(
            "a cycle of groups",
            &json!({"group": [
                {"name": "a", "command": ["a"], "after": ["b"]},
                {"name": "b", "command": ["a"], "after": ["a"]},
            ]}),
            &["/group/1/after/0"],
        ),
        group("its own group", &json!({"name": "a", "after": ["a"]}), &["/group/0/after/0"]),
        group("an unknown group", &json!({"after": ["b"]}), &["/group/0/after/0"]),
        document(
            "jobs that are not there",
            &json!({"after": [NO_JOB, "job_0000000000002"], "group": [{"command": ["a"]}]}),
            &["/after/0", "/after/1"],
        ),
        document(
            "no job at all",
            &json!({"after": ["x"], "group": [{"command": ["a"]}]}),
            &["/after/0"],
        ),
        document("no command", &json!({"group": [{}]}), &["/group/0"]),
        group("an empty command", &json!({"command": []}), &["/group/0/command"]),
        group("a nameless program", &json!({"command": [""]}), &["/group/0/command/0"]),
        group("a command of text", &json!({"command": "true"}), &["/group/0/command"]),
        group("count 0", &json!({"count": 0}), &["/group/0/count"]),
        group("count 10^15", &json!({"count": 1_000_000_000_000_000_u64}), &["/group/0/count"]),
        group("half a task", &json!({"count": 1.5}), &["/group/0/count"]),
        group("count and items", &json!({"count": 1, "items": ["a"]}), &["/group/0"]),
        group(
            "unknown items",
            &json!({"items_key": "items_0000000000001"}),
            &["/group/0/items_key"],
        ),
        group("negative cpu", &resources(json!({"cpu": -1})), &["/group/0/resources/cpu"]),
        group("absurd cpu", &resources(json!({"cpu": 1e12})), &["/group/0/resources/cpu"]),
        group(
            "absurd memory",
            &resources(json!({"memory": "9999999TiB"})),
            &["/group/0/resources/memory"],
        ),
        group(
            "memory without a unit",
            &resources(json!({"memory": 256, "disk": "1"})),
            &["/group/0/resources/memory", "/group/0/resources/disk"],
        ),
        group("negative gpus", &resources(json!({"gpus": -1})), &["/group/0/resources/gpus"]),
        group(
            "bad durations",
            &json!({"timeout": "5", "expect": "-1s"}),
            &["/group/0/timeout", "/group/0/expect"],
        ),
        group("an endless time-out", &json!({"timeout": "1000y"}), &["/group/0/timeout"]),
        group(
            "our variables",
            &json!({"env": {"EBB_X": "1", "a=b": "1"}}),
            &["/group/0/env/EBB_X", "/group/0/env/a=b"],
        ),
        group(
            "outputs that climb",
            &json!({"outputs": ["../x", "/x"]}),
            &["/group/0/outputs/0", "/group/0/outputs/1"],
        ),
        group("a relative folder", &json!({"workdir": "x"}), &["/group/0/workdir"]),
    ]
}

fn methods() -> Vec<Case> {
    vec![
        case("PUT of jobs", Method::PUT, "/v1/jobs", 405),
        case("PATCH of jobs", Method::PATCH, "/v1/jobs", 405),
        case("OPTIONS of jobs", Method::OPTIONS, "/v1/jobs", 405),
        case("POST of a job", Method::POST, format!("/v1/jobs/{NO_JOB}"), 405),
        case("DELETE of the cost", Method::DELETE, "/v1/cost", 405),
        case(
            "a method of one's own",
            Method::from_bytes(b"BREW").expect("a word"),
            "/v1/jobs",
            405,
        ),
    ]
}

async fn ask(url: &str, token: &str, case: &Case) -> Response {
    let client = Client::builder().no_proxy().build().expect("a client");
    let request = client.request(case.method.clone(), format!("{url}{}", case.path));
    let request = request.bearer_auth(token).body(case.body.clone());
    let with = |request: reqwest::RequestBuilder, (name, value): &(&'static str, String)| {
        request.header(*name, value)
    };
    let request = case.headers.iter().fold(request, with);
    request.send().await.unwrap_or_else(|fault| panic!("{}: {fault:?}", case.name))
}

/// Jobs and commits: what a stored anything would change.
async fn stored(scene: &Scene) -> (usize, String) {
    let jobs = scene.user.jobs(&api::client::JobsQuery::default()).await.expect("a list");
    let commits = case("metrics", Method::GET, "/metrics", 200);
    let text = ask(scene.manager.url(), scene.manager.token(), &commits).await.text().await;
    let text = text.expect("text");
    let count = "ebb_commit_duration_seconds_count ";
    let commits = text.lines().find_map(|line| line.strip_prefix(count)).expect("a count");
    (jobs.items.len(), commits.to_owned())
}

#[tokio::test]
async fn every_fault_is_a_problem_and_nothing_is_stored() {
    let scene = Scene::new().await;
    let before = stored(&scene).await;
    let all = [places(), queries(), bodies(), documents(), methods()];
    let mut wrong = Vec::new();
    for case in all.into_iter().flatten() {
        let response = ask(scene.manager.url(), scene.manager.token(), &case).await;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.expect("text");
        let problem: Option<Problem> = serde_json::from_str(&text).ok();
        let found = problem.as_ref().map(|problem| &*problem.errors).unwrap_or_default();
        let found: Vec<&str> = found.iter().map(|fault| &*fault.pointer).collect();
        let kind = headers.get("content-type").map(|value| value.as_bytes());
        let is_told = kind == Some(b"application/problem+json")
            && problem.as_ref().is_some_and(|problem| {
                problem.status == status && problem.detail.as_ref().is_some_and(|it| !it.is_empty())
            });
        let allow = headers.contains_key("allow") == (status == 405);
        if status != case.status || found != case.pointers || !is_told || !allow {
            wrong.push(format!("{}: {status} instead of {}: {text}", case.name, case.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stored(&scene).await, before);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_nothing_is_stored() {
    let scene = Scene::new().await;
    scene.user.submit(&job(1), Some("key")).await.expect("accepted");
    let other = post("other", JSON, job(2).to_string(), 422);
    let headers = [other.headers, vec![("idempotency-key", "key".to_owned())]].concat();
    let other = Case { headers, ..other };
    let response = ask(scene.manager.url(), scene.manager.token(), &other).await;
    assert_eq!(response.status(), 422);
    let problem: Problem = response.json().await.expect("a problem");
    assert_eq!(problem.kind, api::problem::ProblemKind::KeyReused);
    assert_eq!(stored(&scene).await.0, 1);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_job_that_comes_after_another_is_accepted() {
    let scene = Scene::new().await;
    let first = scene.user.submit(&job(1), None).await.expect("accepted").id;
    let mut later = job(1);
    later["after"] = json!([first]);
    let later = scene.user.submit(&later, None).await.expect("accepted").id;
    let detail = scene.user.job(later).await.expect("it is there");
    assert_eq!(detail.spec.after.into_iter().collect::<Vec<_>>(), [first]);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_created_job_has_a_location() {
    let scene = Scene::new().await;
    let good = post("good", JSON, job(1).to_string(), 201);
    let response = ask(scene.manager.url(), scene.manager.token(), &good).await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().expect("text").to_owned();
    let found = ask(scene.manager.url(), scene.manager.token(), &get("it", &location, 200)).await;
    assert_eq!(found.status(), 200);
    assert_eq!(found.headers()["etag"], "\"0\"");
    scene.manager.shutdown().await;
}

/// HEAD is GET without its body.
#[tokio::test]
async fn a_head_is_answered() {
    let scene = Scene::new().await;
    let head = case("head", Method::HEAD, "/v1/jobs", 200);
    let response = ask(scene.manager.url(), scene.manager.token(), &head).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.expect("none"), "");
    scene.manager.shutdown().await;
}

/// Sends bytes as they are; what comes back until the connection ends or a while has passed.
async fn raw(scene: &Scene, bytes: &[u8]) -> String {
    let address = scene.manager.url().strip_prefix("http://").expect("a URL").to_owned();
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // It may be answered, and closed, before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[tokio::test]
async fn what_is_hardly_http_is_answered() {
    let scene = Scene::with(|config| config.limits.body_ms = 200).await;
    let auth = format!("Authorization: Bearer {}\r\nConnection: close\r\n", scene.manager.token());
    let local = "Host: localhost\r\n";
    let large = format!("X: {}\r\n", "x".repeat(300_000));
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let json = "Content-Type: application/json\r\n";
    let cases = [
        ("no host", format!("GET /v1/jobs HTTP/1.1\r\n{auth}\r\n"), "400"),
        ("two hosts", format!("GET /v1/jobs HTTP/1.1\r\n{local}{local}{auth}\r\n"), "400"),
        (
            "another host",
            format!("GET /v1/jobs HTTP/1.1\r\nHost: evil.example\r\n{auth}\r\n"),
            "403",
        ),
        (
            "another host in the target",
            format!("GET http://evil.example/v1/jobs HTTP/1.1\r\n{local}{auth}\r\n"),
            "403",
        ),
        (
            "our host in the target",
            format!("GET http://localhost/v1/jobs HTTP/1.1\r\nHost: evil.example\r\n{auth}\r\n"),
            "200",
        ),
        ("six", format!("GET /v1/jobs HTTP/1.1\r\nHost: [::1]:7878\r\n{auth}\r\n"), "200"),
        ("a large header", format!("GET /v1/jobs HTTP/1.1\r\n{local}{auth}{large}\r\n"), "431"),
        ("many headers", format!("GET /v1/jobs HTTP/1.1\r\n{local}{auth}{many}\r\n"), "431"),
        ("no version", "GET /v1/jobs\r\n\r\n".to_owned(), "400"),
        ("no HTTP", "\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_owned(), "400"),
        (
            "a slow body",
            format!("POST /v1/jobs HTTP/1.1\r\n{local}{auth}{json}Content-Length: 9\r\n\r\n{{"),
            "408",
        ),
        (
            "a length that is none",
            format!("POST /v1/jobs HTTP/1.1\r\n{local}{auth}{json}Content-Length: x\r\n\r\n"),
            "400",
        ),
        (
            "two lengths",
            format!(
                "POST /v1/jobs HTTP/1.1\r\n{local}{auth}{json}Content-Length: 1\r\n\
                 Content-Length: 2\r\n\r\n{{}}"
            ),
            "400",
        ),
        (
            "a length and chunks",
            format!(
                "POST /v1/jobs HTTP/1.1\r\n{local}{auth}{json}Content-Length: 1\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        (
            "chunks that are none",
            format!(
                "POST /v1/jobs HTTP/1.1\r\n{local}{auth}{json}\
                 Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n"
            ),
            "400",
        ),
        (
            "a length too large",
            format!(
                "POST /v1/jobs HTTP/1.1\r\n{local}{auth}{json}Content-Length: 99999999\r\n\r\n"
            ),
            "413",
        ),
    ];
    let before = stored(&scene).await;
    for (name, bytes, expected) in cases {
        let answer = raw(&scene, bytes.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{name}: {answer}");
    }
    assert_eq!(stored(&scene).await, before);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let scene = Scene::with(|config| {
        config.limits.guesses_per_s = 1;
        config.limits.guesses_burst = 3;
        config.limits.token_per_s = 1;
        config.limits.token_burst = 20;
    })
    .await;
    let url = scene.manager.url();
    let jobs = get("jobs", "/v1/jobs", 200);
    for _ in 0..3 {
        assert_eq!(ask(url, "wrong", &jobs).await.status(), 401);
    }
    let refused = ask(url, "wrong", &jobs).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    // Whoever has a token is not kept out by others at the same address, but has a rate of his own.
    let mut asked = 0;
    let refused = loop {
        let answer = ask(url, scene.manager.token(), &jobs).await;
        if answer.status() != 200 {
            break answer;
        }
        asked += 1;
        assert!(asked < 1_000, "no end of answers");
    };
    assert!(asked >= 10, "{asked}");
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Problem = refused.json().await.expect("a problem");
    assert_eq!(problem.kind, api::problem::ProblemKind::Overloaded);
    scene.manager.shutdown().await;
}
