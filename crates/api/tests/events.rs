//! The stream of events against a server that cuts its connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use api::client::{Client, ClientError, EventsQuery};
use api::event::{EventId, EventKind};
use api::problem::{Problem, ProblemKind};
use model::JobId;

/// What a connection gives: a status line with headers, then bytes, then its end.
type Answer = (&'static str, String);

const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const GONE: &str =
    "HTTP/1.1 410 Gone\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n";

/// Serves one answer a connection and gives each request's head back.
fn serve(answers: Vec<Answer>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = std::thread::spawn(move || {
        let take = |(head, body): Answer| {
            let (stream, _) = listener.accept().expect("a client");
            let request = read_head(&stream);
            let mut stream = &stream;
            stream.write_all(head.as_bytes()).expect("written");
            // Byte by byte in two packets at least: messages end where they like.
            let (first, rest) = body.as_bytes().split_at(body.len() / 2);
            stream.write_all(first).and_then(|()| stream.write_all(rest)).expect("written");
            request
        };
        answers.into_iter().map(take).collect()
    });
    (url, serving)
}

fn read_head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(|line| line.expect("text"));
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn event(seq: u64, kind: &str) -> String {
    format!(
        "id: {seq}.0\nevent: {kind}\ndata: {{\"id\":\"{seq}.0\",\"kind\":\"{kind}\",\"at\":\"2026-01-01T00:00:00Z\"}}\n\n"
    )
}

fn client(url: &str) -> Client {
    Client::new(url, "ebbu_x").expect("a client").with_patience(Duration::from_secs(2))
}

#[tokio::test]
async fn a_cut_stream_misses_and_doubles_nothing() {
    let cut = format!("{}id: 3.0\nevent: no", event(2, "task-started"));
    let again = format!("{}{}", event(2, "task-started"), event(3, "node"));
    let (url, serving) = serve(vec![
        (SSE, "id: 1.0\n\n".to_owned()),
        (SSE, cut),
        (SSE, again),
        (SSE, event(4, "job-settled")),
    ]);
    let job = JobId::from_number(7);
    let kinds = vec![EventKind::TaskStarted, EventKind::Node, EventKind::JobSettled];
    let query = EventsQuery { job: Some(job), kinds, ..EventsQuery::default() };
    let mut stream = client(&url).events(query).await.expect("a stream");
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await.expect("goes on") {
        seen.push(event.id.expect("an id"));
    }
    assert_eq!(seen, ["2.0", "3.0", "4.0"]);
    assert_eq!(stream.last_id(), Some(EventId { seq: 4, ordinal: 0 }));
    let heads = serving.join().expect("served");
    let path = format!("GET /v1/events?job={job}&kind=task-started%2Cnode%2Cjob-settled HTTP/1.1");
    assert!(heads.iter().all(|head| head.starts_with(&path)), "{heads:#?}");
    let ids: Vec<_> = heads
        .iter()
        .map(|head| head.lines().find_map(|line| line.strip_prefix("last-event-id: ")))
        .collect();
    assert_eq!(ids, [None, Some("1.0"), Some("2.0"), Some("3.0")]);
}

#[tokio::test]
async fn what_the_log_no_longer_has_is_an_error_of_its_own() {
    let problem = Problem::new(ProblemKind::Gone, "the log begins at 900.0");
    let (url, serving) = serve(vec![
        (SSE, event(1, "node")),
        (GONE, serde_json::to_string(&problem).expect("JSON")),
    ]);
    let mut stream = client(&url).events(EventsQuery::default()).await.expect("a stream");
    assert!(stream.next().await.expect("one").is_some());
    match stream.next().await {
        Err(ClientError::Problem(problem)) => assert_eq!(problem.kind, ProblemKind::Gone),
        other => panic!("{other:?}"),
    }
    serving.join().expect("served");
}
