//! Tasks that did not succeed run again (ADR 7).

use api::problem::ProblemKind;
use api::view::{RetryRequest, RetryWhich};
use model::{AttemptId, JobId, JobStatus, TaskStatus};
use serde_json::{Value, json};

use crate::scene::{Digester, Scene, ended, problem};

fn request(tasks: RetryWhich) -> RetryRequest {
    RetryRequest { tasks }
}

/// A job of which the first failure of a task is its last.
fn fragile(count: u32) -> Value {
    json!({"name": "test", "group": [{
        "name": "g", "count": count, "command": ["true"],
        "resources": {"cpu": "1", "memory": "64MiB"}, "restart": {"max_failures": 0},
    }]})
}

/// Takes work until there are so many attempts.
async fn work(node: &mut Digester, count: usize) -> Vec<AttemptId> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(node.work().await);
    }
    all.sort();
    all
}

/// A settled job of three tasks, of which the last has failed.
async fn failed(scene: &Scene, node: &mut Digester) -> JobId {
    let id = scene.user.submit(&fragile(3), None).await.expect("accepted").id;
    let work = work(node, 3).await;
    node.succeed(&work[..2]).await;
    node.poll(vec![ended(work[2], 1, "first\n")]).await;
    assert_eq!(status(scene, id).await, JobStatus::Failed);
    id
}

async fn status(scene: &Scene, id: JobId) -> JobStatus {
    scene.user.job(id).await.expect("it is there").job.status
}

#[tokio::test]
async fn a_failed_job_comes_back_for_its_failed_tasks() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let id = failed(&scene, &mut node).await;
    let retried = scene.user.retry_job(id, &request(RetryWhich::Failed)).await.expect("retried");
    assert_eq!((retried.id, retried.tasks), (id, 1));
    assert!(!status(&scene, id).await.is_settled());
    let again = work(&mut node, 1).await;
    // The same task, and a number that none of its attempts had.
    assert_eq!((again[0].task.index, again[0].attempt), (2, 2));
    // Its budget is whole: none of it is none, again.
    node.succeed(&again).await;
    let detail = scene.user.job(id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    assert_eq!((detail.job.tasks.succeeded, detail.job.tasks.failed), (3, 0));
    let attempts = scene.user.attempts(again[0].task).await.expect("history").items;
    let told: Vec<(u32, bool)> = attempts.iter().map(|it| (it.id.attempt, it.settles)).collect();
    assert_eq!(told.last(), Some(&(2, true)));
    assert_eq!(told.len(), 2);
    let refused = scene.user.retry_job(id, &RetryRequest::default()).await;
    assert_eq!(problem(refused), ProblemKind::Conflict);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_report_of_the_time_before_changes_nothing() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let id = failed(&scene, &mut node).await;
    scene.user.retry_job(id, &RetryRequest::default()).await.expect("retried");
    let again = work(&mut node, 1).await;
    node.succeed(&[again[0].task.attempt(1)]).await;
    let task = scene.user.task(again[0].task).await.expect("it is there");
    assert_eq!((task.status, task.attempt), (TaskStatus::Assigned, 2));
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_job_that_runs_has_its_failed_tasks_run_again() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let id = scene.user.submit(&fragile(2), None).await.expect("accepted").id;
    let attempts = work(&mut node, 2).await;
    node.start(&attempts).await;
    for which in [RetryWhich::Failed, RetryWhich::Cancelled] {
        let refused = scene.user.retry_job(id, &request(which)).await;
        assert_eq!(problem(refused), ProblemKind::Conflict, "{which:?}");
    }
    node.poll(vec![ended(attempts[0], 1, "")]).await;
    let retried = scene.user.retry_job(id, &request(RetryWhich::Unsuccessful)).await;
    assert_eq!(retried.expect("retried").tasks, 1);
    let again = work(&mut node, 1).await;
    assert_eq!(again, [attempts[0].task.attempt(2)]);
    node.succeed(&[again[0], attempts[1]]).await;
    assert_eq!(status(&scene, id).await, JobStatus::Succeeded);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_stopped_job_comes_back_for_what_was_cancelled() {
    let scene = Scene::new().await;
    let id = scene.user.submit(&fragile(4), None).await.expect("accepted").id;
    scene.user.stop_job(id).await.expect("stopped");
    assert_eq!(status(&scene, id).await, JobStatus::Cancelled);
    let refused = scene.user.retry_job(id, &request(RetryWhich::Failed)).await;
    assert_eq!(problem(refused), ProblemKind::Conflict);
    let retried = scene.user.retry_job(id, &request(RetryWhich::Cancelled)).await.expect("retried");
    assert_eq!(retried.tasks, 4);
    let mut node = scene.node("one").await;
    let work = work(&mut node, 4).await;
    assert!(work.iter().all(|attempt| attempt.attempt == 1), "{work:?}");
    node.succeed(&work).await;
    assert_eq!(status(&scene, id).await, JobStatus::Succeeded);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn two_who_retry_at_once_bring_it_back_once() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let id = failed(&scene, &mut node).await;
    let request = RetryRequest::default();
    let (one, two) =
        tokio::join!(scene.user.retry_job(id, &request), scene.user.retry_job(id, &request));
    assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
    let again = work(&mut node, 1).await;
    node.succeed(&again).await;
    assert_eq!(status(&scene, id).await, JobStatus::Succeeded);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn no_body_retries_what_failed() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let id = failed(&scene, &mut node).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("{}/v1/jobs/{id}/retry", scene.manager.url()));
    let answer = request.bearer_auth(scene.manager.token()).send().await.expect("sent");
    assert_eq!(answer.status(), 202);
    let unknown: JobId = "job_0000000000001".parse().expect("an id");
    let refused = scene.user.retry_job(unknown, &RetryRequest::default()).await;
    assert_eq!(problem(refused), ProblemKind::NotFound);
    scene.manager.shutdown().await;
}
