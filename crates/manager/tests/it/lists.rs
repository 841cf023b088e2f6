//! Lists: narrowed, and in pages.

use std::collections::BTreeSet;

use api::client::JobsQuery;
use model::{JobId, JobStatus};
use serde_json::{Value, json};

use crate::scene::{Scene, job};

async fn ids(scene: &Scene, query: &str) -> (Vec<JobId>, Option<String>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.get(format!("{}/v1/jobs?{query}", scene.manager.url()));
    let answer = request.bearer_auth(scene.manager.token()).send().await.expect("sent");
    assert_eq!(answer.status(), 200, "{query}");
    let page: Value = answer.json().await.expect("JSON");
    let items = page["items"].as_array().expect("a list").iter();
    let ids = items.map(|job| job["id"].as_str().expect("text").parse().expect("an id"));
    (ids.collect(), page["next_cursor"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn pages_skip_and_double_nothing_while_jobs_come() {
    let scene = Scene::new().await;
    let mut submitted = BTreeSet::new();
    for _ in 0..7 {
        submitted.insert(scene.user.submit(&job(1), None).await.expect("accepted").id);
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let query = JobsQuery { cursor, limit: Some(3), ..JobsQuery::default() };
        let page = scene.user.jobs(&query).await.expect("a page");
        seen.extend(page.items.iter().map(|job| job.id));
        scene.user.submit(&job(1), None).await.expect("one more, in front of all");
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted_by(|one, next| one > next), "{seen:?}");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), submitted);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn jobs_are_found_by_status_label_and_namespace() {
    let scene = Scene::new().await;
    let submit = async |namespace: &str, labels: Value| {
        let mut document = job(1);
        document["namespace"] = namespace.into();
        document["labels"] = labels;
        scene.user.submit(&document, None).await.expect("accepted").id
    };
    let a = submit("one", json!({"team": "blue", "x": "1"})).await;
    let b = submit("one", json!({"team": "red", "x": "1"})).await;
    let c = submit("two", json!({"team": "blue", "empty": ""})).await;
    scene.user.stop_job(b).await.expect("stopped");
    for (query, expected) in [
        ("", vec![c, b, a]),
        ("namespace=one", vec![b, a]),
        ("namespace=three", vec![]),
        ("label=team%3Dblue", vec![c, a]),
        ("label=team=blue,x=1", vec![a]),
        ("label=empty=", vec![c]),
        ("label=team=", vec![]),
        ("status=cancelled", vec![b]),
        ("status=waiting", vec![c, a]),
        ("status=waiting&namespace=two&label=team=blue", vec![c]),
        (&format!("cursor={c}"), vec![b, a]),
        (&format!("cursor={a}"), vec![]),
    ] {
        let (found, next) = ids(&scene, query).await;
        assert_eq!((found, next), (expected, None), "{query}");
    }
    assert_eq!(ids(&scene, "limit=1").await, (vec![c], Some(c.to_string())));
    assert_eq!(scene.user.job(b).await.expect("there").job.status, JobStatus::Cancelled);
    scene.manager.shutdown().await;
}
