//! Clients that ask and do not read.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::scene::Scene;

/// More than the system's buffers hold, at some 100 KiB an answer.
const REQUESTS: usize = 1_000;

/// Open connections, this call's own one among them.
async fn connections(scene: &Scene) -> u64 {
    let answer = reqwest::Client::new()
        .get(format!("{}/metrics", scene.manager.url()))
        .bearer_auth(scene.manager.token())
        .send()
        .await
        .expect("an answer");
    let text = answer.text().await.expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix("ebb_http_connections "));
    value.and_then(|value| value.parse().ok()).expect("a number")
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let scene = Scene::with(|config| config.limits.write_ms = 300).await;
    let before = connections(&scene).await;
    let address = scene.manager.url().trim_start_matches("http://").to_owned();
    let mut greedy = TcpStream::connect(&address).await.expect("a connection");
    let request = format!(
        "GET /openapi.json HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\r\n",
        scene.manager.token()
    );
    let asking = async {
        // It ends early when it is cut off, and that is what is waited for.
        let _ = greedy.write_all(request.repeat(REQUESTS).as_bytes()).await;
        while connections(&scene).await > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("it is cut off");
    drop(greedy);
    scene.manager.shutdown().await;
}
