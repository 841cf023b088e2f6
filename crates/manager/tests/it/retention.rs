//! What is over is forgotten in its time, and nothing else.

use std::path::Path;
use std::time::Duration;

use api::client::{JobsQuery, TasksQuery};
use manager::Config;
use model::{JobId, JobStatus};
use serde_json::json;

use crate::scene::{Scene, job};

/// Rounds follow each other closely, and everything that is over is too old.
fn forget_all(config: &mut Config) {
    config.retention.round_ms = 20;
    config.retention.jobs_ms = 0;
}

async fn settle_all(scene: &Scene, id: JobId) {
    let mut node = scene.node("one").await;
    let work = node.work().await;
    node.start(&work).await;
    node.succeed(&work).await;
    let detail = scene.user.job(id).await;
    // With everything forgotten at once, it may be gone already.
    assert!(detail.map_or(true, |detail| detail.job.status == JobStatus::Succeeded));
}

/// Waits until the list of jobs has so many.
async fn until_jobs(scene: &Scene, count: usize) {
    let looking = async {
        loop {
            let page = scene.user.jobs(&JobsQuery::default()).await.expect("a list");
            if page.items.len() == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.expect("in time");
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 })
        .sum()
}

#[tokio::test]
async fn a_settled_job_goes_with_its_objects() {
    let scene = Scene::with(forget_all).await;
    let objects = scene.folder.path().join("data/objects");
    let waiting = scene.user.submit(&job(1), None).await.expect("accepted");
    scene.user.stop_job(waiting.id).await.expect("stopped");
    until_jobs(&scene, 0).await;
    let id = scene.user.submit(&job(2), None).await.expect("accepted").id;
    // As a digester uploads: under the job's key.
    let folder = objects.join("default").join(id.to_string()).join("0/0/1/outputs/out");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("file"), "bytes").expect("a file");
    let other = objects.join("default/job_0000000000000");
    std::fs::create_dir_all(&other).expect("a folder");
    std::fs::write(other.join("file"), "bytes").expect("a file");
    settle_all(&scene, id).await;
    until_jobs(&scene, 0).await;
    scene.user.job(id).await.expect_err("it is forgotten");
    scene.user.tasks(id, &TasksQuery::default()).await.expect_err("it is forgotten");
    assert_eq!(files_below(&objects), 1, "and nobody else's files");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_an_unsettled_job_comes_after_stays() {
    let scene = Scene::with(forget_all).await;
    let mut second = job(1);
    let first = scene.user.submit(&job(1), None).await.expect("accepted").id;
    second["after"] = json!([first]);
    let second = scene.user.submit(&second, None).await.expect("accepted").id;
    let mut node = scene.node("one").await;
    let work = node.work().await;
    assert!(work.iter().all(|attempt| attempt.task.job == first), "{work:?}");
    node.start(&work).await;
    node.succeed(&work).await;
    // A round has passed when one that nobody comes after is gone.
    let mut other = job(1);
    // No node can take it, so that it is cancelled at once.
    other["group"][0]["resources"]["cpu"] = json!("1000");
    let other = scene.user.submit(&other, None).await.expect("accepted").id;
    scene.user.stop_job(other).await.expect("stopped");
    until_jobs(&scene, 2).await;
    // Were it forgotten, nobody could say any more that it has succeeded.
    let kept = scene.user.job(first).await.expect("it is kept");
    assert_eq!(kept.job.status, JobStatus::Succeeded);
    let work = node.work().await;
    assert!(work.iter().all(|attempt| attempt.task.job == second), "{work:?}");
    node.start(&work).await;
    node.succeed(&work).await;
    until_jobs(&scene, 0).await;
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn as_many_are_kept_as_are_wanted() {
    let scene = Scene::with(|config| {
        config.retention.round_ms = 20;
        config.retention.jobs = 3;
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        let id = scene.user.submit(&job(1), None).await.expect("accepted").id;
        scene.user.stop_job(id).await.expect("stopped");
        ids.push(id);
    }
    until_jobs(&scene, 3).await;
    let page = scene.user.jobs(&JobsQuery::default()).await.expect("a list");
    let left: Vec<JobId> = page.items.iter().map(|job| job.id).rev().collect();
    assert_eq!(left, ids[4..], "the oldest go first");
    scene.manager.shutdown().await;
}
