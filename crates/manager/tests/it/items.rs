//! `POST /v1/items`, and tasks that get their texts from there.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use api::client::Client;
use api::problem::{Problem, ProblemKind};
use api::sync::Assignment;
use api::view::ItemsStored;
use futures::stream;
use manager::Manager;
use model::{AttemptId, ItemsKey, JobStatus, Transition};
use reqwest::{Body, StatusCode};
use serde_json::{Value, json};

use crate::scene::{Digester, Scene, config, ended, user_of};

/// Text number `index`.
fn text(index: u32) -> String {
    format!("tile \"{index}\"\u{e9}")
}

/// A body of so many texts, made piece by piece; `wrong` is no text.
fn lines(count: u32, wrong: Option<u32>) -> Body {
    const PIECE: u32 = 1_000;
    let pieces = (0..count).step_by(PIECE as usize).map(move |first| {
        let mut piece = String::new();
        for index in first..count.min(first + PIECE) {
            let text = text(index).replace('"', "\\\"");
            let line = if wrong == Some(index) { "{}".to_owned() } else { format!("\"{text}\"") };
            piece.push_str(&line);
            piece.push('\n');
        }
        Ok::<_, std::io::Error>(piece)
    });
    Body::wrap_stream(stream::iter(pieces))
}

async fn post(manager: &Manager, query: &str, body: Body) -> (StatusCode, Value) {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/items{query}", manager.url()))
        .bearer_auth(manager.token())
        .header("content-type", "application/x-ndjson")
        .body(body)
        .send()
        .await
        .expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

async fn refused(manager: &Manager, body: impl Into<Body>) -> Problem {
    let (status, answer) = post(manager, "", body.into()).await;
    let problem: Problem = serde_json::from_value(answer).expect("a problem");
    assert_eq!(status.as_u16(), problem.status);
    problem
}

async fn upload(user: &Client, count: u32) -> ItemsStored {
    user.upload_items(None, move || lines(count, None)).await.expect("stored")
}

fn job(key: ItemsKey) -> Value {
    json!({"group": [{
        "command": ["true"], "items_key": key, "resources": {"cpu": "1m", "memory": "1MiB"},
    }]})
}

/// Polls until there is work, and reports what ended; each new text by the task's index.
async fn texts(node: &mut Digester, ends: Vec<Transition>) -> BTreeMap<AttemptId, String> {
    let mut answer = node.poll(ends).await;
    while answer.assign.is_empty() {
        answer = node.poll(Vec::new()).await;
    }
    let text = |assignment: &Assignment| {
        let item = assignment.item.as_deref().expect("every task has a text");
        (assignment.attempt, item.to_owned())
    };
    answer.assign.iter().map(text).collect()
}

/// Runs a job of so many tasks on a node; all texts that they got.
async fn run(node: &mut Digester, tasks: u32) -> BTreeMap<u32, String> {
    let (mut all, mut ends) = (BTreeMap::new(), Vec::new());
    while all.len() < tasks as usize {
        let texts = texts(node, std::mem::take(&mut ends)).await;
        ends.extend(texts.keys().map(|attempt| ended(*attempt, 0, "")));
        all.extend(texts.into_iter().map(|(attempt, text)| (attempt.task.index, text)));
    }
    node.poll(ends).await;
    all
}

#[tokio::test]
async fn every_task_runs_with_its_own_text_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = manager::run(config(&folder)).await.expect("it starts");
    let stored = upload(&user_of(&manager).await, 1_500).await;
    assert_eq!(stored.count, 1_500);
    let bytes: usize = (0..1_500).map(|index| text(index).len()).sum();
    assert_eq!(stored.size_bytes, bytes as u64);
    manager.shutdown().await;
    let manager = manager::run(config(&folder)).await.expect("it starts again");
    let user = user_of(&manager).await;
    let submitted = user.submit(&job(stored.key), None).await.expect("accepted");
    assert_eq!(submitted.tasks, 1_500);
    let detail = user.job(submitted.id).await.expect("it is there");
    assert_eq!(detail.spec.groups[0].items_key, Some(stored.key));
    let mut node = Digester::join(&user, "one", 1).await;
    let texts = run(&mut node, 1_500).await;
    assert_eq!(texts, (0..1_500).map(|index| (index, text(index))).collect());
    let detail = user.job(submitted.id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    manager.shutdown().await;
}

#[tokio::test]
async fn a_million_texts_are_stored_as_they_come() {
    let scene = Scene::new().await;
    let stored = upload(&scene.user, 1_000_000).await;
    assert_eq!(stored.count, 1_000_000);
    let submitted = scene.user.submit(&job(stored.key), None).await.expect("accepted");
    assert_eq!(submitted.tasks, 1_000_000);
    let mut node = scene.node("one").await;
    let texts = texts(&mut node, Vec::new()).await;
    let own = |(attempt, found): (&AttemptId, &String)| *found == text(attempt.task.index);
    assert!(texts.iter().all(own), "{texts:?}");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn long_texts_come_in_several_answers() {
    let scene = Scene::new().await;
    let body =
        || {
            Body::wrap_stream(stream::iter((0..80).map(|index| {
                Ok::<_, std::io::Error>(format!("\"{index}{}\"\n", "x".repeat(100_000)))
            })))
        };
    let stored = scene.user.upload_items(None, body).await.expect("stored");
    scene.user.submit(&job(stored.key), None).await.expect("accepted");
    let mut node = scene.node("one").await;
    let first = texts(&mut node, Vec::new()).await;
    assert!(first.len() < 80, "all of them are 8 MB");
    let ends = first.keys().map(|attempt| ended(*attempt, 0, "")).collect();
    let mut all: BTreeMap<_, _> = first.into_iter().chain(texts(&mut node, ends).await).collect();
    while all.len() < 80 {
        all.append(&mut texts(&mut node, Vec::new()).await);
    }
    assert!(
        all.iter().all(|(attempt, text)| {
            text.trim_end_matches('x') == attempt.task.index.to_string()
        })
    );
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_line_that_is_wrong_refuses_all_of_them() {
    let scene = Scene::new().await;
    let problem = refused(&scene.manager, lines(1_000_000, Some(499_999))).await;
    assert_eq!(problem.kind, ProblemKind::Invalid);
    let [fault] = &problem.errors[..] else { panic!("{problem:?}") };
    assert_eq!(fault.pointer, "/499999");
    assert!(fault.detail.starts_with("line 500000: is no JSON string"), "{}", fault.detail);
    // Every fault, but not more than somebody would read.
    let problem = refused(&scene.manager, "\"good\"\n7\n\n[]\n\"a\\u0000\"\n\"cut").await;
    let places: Vec<&str> = problem.errors.iter().map(|fault| &*fault.pointer).collect();
    assert_eq!(places, ["/1", "/3", "/4", "/5"]);
    let problem = refused(&scene.manager, "7\n".repeat(10_000)).await;
    assert_eq!(problem.errors.len(), 100);
    let problem = refused(&scene.manager, b"\"\xff\"\n".to_vec()).await;
    assert_eq!(problem.errors.len(), 1);
    let problem = refused(&scene.manager, format!("\"{}\"", "x".repeat(128 * 1024 + 1))).await;
    assert_eq!(problem.errors.len(), 1);
    assert_eq!(refused(&scene.manager, "\n \n").await.kind, ProblemKind::Invalid);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_is_too_much_or_too_slow_is_refused() {
    let scene = Scene::with(|config| {
        config.limits.items_bytes = 5_000;
        config.limits.body_ms = 100;
    })
    .await;
    let whole = "\"x\"\n".repeat(2_000);
    assert_eq!(refused(&scene.manager, whole).await.kind, ProblemKind::TooLarge);
    assert_eq!(refused(&scene.manager, lines(2_000, None)).await.kind, ProblemKind::TooLarge);
    let line = Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>("\"a\"\n")]));
    assert_eq!(post(&scene.manager, "?namespace=other", line).await.0, StatusCode::CREATED);
    for bad in ["?namespace=-", "?what=1"] {
        assert_eq!(post(&scene.manager, bad, "\"a\"".into()).await.0, StatusCode::BAD_REQUEST);
    }
    let untyped = reqwest::Client::new()
        .post(format!("{}/v1/items", scene.manager.url()))
        .bearer_auth(scene.manager.token())
        .body("\"a\"");
    let status = untyped.send().await.expect("an answer").status();
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // One that says that more comes, and then says nothing.
    let address = scene.manager.url().trim_start_matches("http://").to_owned();
    let token = scene.manager.token().to_owned();
    let slow = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(&address).expect("a connection");
        write!(
            stream,
            "POST /v1/items HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/x-ndjson\r\ncontent-length: 100\r\n\r\n\"a\"\n"
        )
        .expect("written");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        String::from_utf8_lossy(&head).into_owned()
    });
    assert_eq!(slow.await.expect("it ends"), "HTTP/1.1 408");
    scene.manager.shutdown().await;
}
