//! `/metrics`, and the page that lists it.

use std::collections::{BTreeMap, BTreeSet};

use crate::scene::{Scene, job};

const PAGE: &str = include_str!("../../../../docs/guide/metrics.md");

/// Name -> type, of the page's table.
fn listed() -> BTreeMap<String, String> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `ebb_")?.split('|');
        let name = cells.next()?.trim().trim_end_matches('`');
        Some((format!("ebb_{name}"), cells.next()?.trim().to_owned()))
    };
    PAGE.lines().filter_map(row).collect()
}

/// Name -> type, as Prometheus knows them. A counter's and an info's family lack the ending that
/// their samples have.
fn served(text: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let ending = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        Some((format!("{name}{ending}"), kind.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

async fn metrics(scene: &Scene) -> String {
    let answer = reqwest::Client::new()
        .get(format!("{}/metrics", scene.manager.url()))
        .bearer_auth(scene.manager.token())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}

/// The value of one sample.
fn sample(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[tokio::test]
async fn the_page_lists_what_is_served() {
    let scene = Scene::new().await;
    // The first scrape is the first request that the second can tell of.
    metrics(&scene).await;
    let text = metrics(&scene).await;
    assert_eq!(listed(), served(&text));
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("ebb_"), "{line}");
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let scene = Scene::new().await;
    scene.user.submit(&job(3), None).await.expect("accepted");
    scene.user.stop_job("job_0000000000001".parse().expect("an id")).await.expect_err("unknown");
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let text = metrics(&scene).await;
    for (name, least) in [
        (r#"ebb_http_requests_total{route="/v1/jobs",method="POST",status="201"}"#, 1.0),
        (r#"ebb_http_requests_total{route="/v1/jobs/{id}",method="DELETE",status="404"}"#, 1.0),
        (r#"ebb_http_request_duration_seconds_count{route="/v1/jobs"}"#, 1.0),
        ("ebb_commit_duration_seconds_count", 1.0),
        (r#"ebb_jobs{state="active"}"#, 1.0),
        (r#"ebb_nodes{state="ready"}"#, 1.0),
        ("ebb_leader_term", 1.0),
        (r#"ebb_invariant_violations_total{invariant="never-overcommitted"}"#, 0.0),
        ("ebb_database_round_trips_total", 1.0),
    ] {
        let value = sample(&text, name).unwrap_or_else(|| panic!("no {name} in\n{text}"));
        assert!(value >= least, "{name} is {value}");
    }
    let tasks = ["waiting", "backoff", "assigned", "running", "leaving"].map(|status| {
        sample(&text, &format!("ebb_tasks{{status=\"{status}\"}}")).expect("each status")
    });
    assert!((tasks.iter().sum::<f64>() - 3.0).abs() < 0.5, "{text}");
}

#[tokio::test]
async fn no_label_is_a_strangers_word() {
    let scene = Scene::new().await;
    let http = reqwest::Client::new();
    for path in ["/v1/jobs/job_0000000000007", "/no/such/place", "/v1/tasks/x"] {
        let method = reqwest::Method::from_bytes(b"BREW").expect("a method");
        let url = format!("{}{path}", scene.manager.url());
        let request = http.request(method, url).bearer_auth(scene.manager.token());
        request.send().await.expect("an answer");
    }
    let text = metrics(&scene).await;
    let routes: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_once("route=\"")?.1.split_once('"'))
        .map(|(route, _)| route)
        .collect();
    assert!(routes.iter().all(|route| !route.contains("0000")), "{routes:?}");
    assert!(routes.contains("other"), "{routes:?}");
    assert!(!text.contains("BREW"), "{text}");
}
