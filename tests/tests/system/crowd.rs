//! Many at the door at once: those who only stand there must not keep out those who work.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use system_tests::{Database, Scratch, Server};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Connections that say nothing more.
const IDLE: usize = 1_000;
const LOADERS: usize = 16;
const JOBS_OF_EACH: usize = 100;
/// Ten times what a hundred submits one after another may take at 5,000 a second in all.
const LIMIT: Duration = Duration::from_secs(20);

/// Connections that were used once, or sent half a request, and then say nothing.
async fn stand_there(address: SocketAddr, token: &str) -> Vec<TcpStream> {
    let mut idle = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        let words = match number % 3 {
            0 => String::new(),
            1 => format!("GET /v1/jobs HTTP/1.1\r\nHost: {address}\r\n"),
            _ => format!(
                "POST /v1/jobs HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
            ),
        };
        stream.write_all(words.as_bytes()).await.expect("written");
        idle.push(stream);
    }
    idle
}

async fn load(server: &Server) {
    let one = json!({ "group": [{ "command": ["true"], "resources": { "cpu": 100 } }] });
    let client = server.client();
    let loaders = (0..LOADERS).map(|_| {
        let (client, one) = (client.clone(), one.clone());
        tokio::spawn(async move {
            for _ in 0..JOBS_OF_EACH {
                client.submit(&one, None).await.expect("accepted");
            }
        })
    });
    for loader in loaders.collect::<Vec<_>>() {
        loader.await.expect("every submit is accepted");
    }
}

#[tokio::test]
async fn submits_go_on_among_a_thousand_idle_connections() {
    let scratch = Scratch::new(Database::Sqlite);
    let manager = scratch.server(&["manager"]).await;
    let idle = stand_there(scratch.listen(), manager.rest().token()).await;
    let start = Instant::now();
    load(&manager).await;
    assert!(
        start.elapsed() < LIMIT,
        "{:?} for {} submits",
        start.elapsed(),
        LOADERS * JOBS_OF_EACH
    );
    let metrics = manager.rest().text("/metrics").await;
    let gauge = |name: &str| -> usize {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    };
    // Half a request has not become a job.
    assert_eq!(gauge(r#"ebb_jobs{state="active"}"#), LOADERS * JOBS_OF_EACH);
    let open = gauge("ebb_http_connections");
    assert!(open > IDLE, "{open} connections are open");
    drop(idle);
}
