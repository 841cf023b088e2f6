//! From submit to settled.

use api::client::{JobsQuery, LogsQuery, TasksQuery};
use model::{JobStatus, TaskStatus};
use serde_json::json;

use crate::scene::{Scene, ended, job};

#[tokio::test]
async fn a_job_is_assigned_and_settled() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    let submitted = scene.user.submit(&job(6), None).await.expect("accepted");
    let mut done = 0;
    while done < 6 {
        let work = node.work().await;
        node.start(&work).await;
        done += work.len();
        node.succeed(&work).await;
    }
    // The answer to the last report came when it was durable: nothing to wait for.
    let detail = scene.user.job(submitted.id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    assert_eq!((detail.job.tasks.succeeded, detail.job.tasks.total), (6, 6));
    let query = TasksQuery { limit: Some(4), ..TasksQuery::default() };
    let first = scene.user.results(submitted.id, &query).await.expect("results");
    assert_eq!(first.items.len(), 4);
    let query = TasksQuery { cursor: first.next_cursor, ..query };
    let rest = scene.user.results(submitted.id, &query).await.expect("results");
    assert_eq!((rest.items.len(), rest.next_cursor), (2, None));
    assert!(rest.items.iter().all(|result| result.stdout.text.as_deref() == Some("out\n")));
    let logs = scene.user.logs(first.items[0].task, &LogsQuery::default()).await.expect("logs");
    assert_eq!(logs.read().await.expect("bytes"), b"out\n");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn failures_are_retried_and_old_numbers_change_nothing() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    let document = json!({"group": [{
        "command": ["false"], "restart": {"max_failures": 1, "backoff": "0s"},
    }]});
    let submitted = scene.user.submit(&document, None).await.expect("accepted");
    let first = node.work().await;
    // The answer to the report of the failure carries the next attempt.
    let answer = node.poll(vec![ended(first[0], 1, "")]).await;
    assert_eq!(answer.assign.len(), 1, "{answer:?}");
    let second = answer.assign[0].attempt;
    assert_eq!((second.task, second.attempt), (first[0].task, 2));
    // A doubled, late report of the first attempt claims success.
    node.poll(vec![ended(first[0], 0, "late")]).await;
    let task = scene.user.task(second.task).await.expect("it is there");
    assert_eq!((task.status, task.attempt), (TaskStatus::Assigned, 2));
    node.poll(vec![ended(second, 1, "")]).await;
    let task = scene.user.task(second.task).await.expect("it is there");
    assert_eq!((task.status, task.exit_code), (TaskStatus::Failed, Some(1)));
    assert_eq!(task.counters.failed, 2);
    let attempts = scene.user.attempts(second.task).await.expect("history");
    let settles: Vec<bool> = attempts.items.iter().map(|attempt| attempt.settles).collect();
    assert_eq!(settles, [false, true]);
    let job = scene.user.job(submitted.id).await.expect("it is there");
    assert_eq!(job.job.status, JobStatus::Failed);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_is_stopped_is_cancelled() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    let submitted = scene.user.submit(&job(5_000), None).await.expect("accepted");
    let work = node.work().await;
    node.start(&work[..1]).await;
    scene.user.stop_job(submitted.id).await.expect("accepted");
    scene.user.stop_job(submitted.id).await.expect("accepted again");
    let mut cancel = Vec::new();
    while !cancel.contains(&work[0]) {
        cancel.extend(node.poll(Vec::new()).await.cancel);
    }
    let job = scene.user.job(submitted.id).await.expect("it is there");
    assert_eq!(job.job.status, JobStatus::Stopping);
    node.poll(work.iter().map(|attempt| ended(*attempt, 143, "")).collect()).await;
    let job = scene.user.job(submitted.id).await.expect("it is there");
    assert_eq!((job.job.status, job.job.tasks.cancelled), (JobStatus::Cancelled, 5_000));
    scene.user.stop_job(submitted.id).await.expect("a settled job may be stopped, too");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_job_that_waits_in_its_table_is_stopped() {
    let scene = Scene::with(|config| config.control.max_jobs = 1).await;
    let first = scene.user.submit(&job(1), None).await.expect("accepted");
    let second = scene.user.submit(&job(3), None).await.expect("accepted");
    let detail = scene.user.job(second.id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Submitted);
    scene.user.stop_job(second.id).await.expect("accepted");
    // Accepted is not done: the leader reads its inbox next.
    until(async || {
        let job = scene.user.job(second.id).await.expect("it is there");
        job.job.status == JobStatus::Cancelled
    })
    .await;
    let mut node = scene.node("one").await;
    let work = node.work().await;
    assert_eq!(work[0].task.job, first.id);
    node.succeed(&work).await;
    let third = scene.user.submit(&job(1), None).await.expect("accepted");
    let work = node.work().await;
    assert_eq!(work[0].task.job, third.id, "the backlog's counts came out even");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn the_backlog_is_taken_in_as_there_is_room() {
    let scene = Scene::with(|config| config.control.max_jobs = 4).await;
    let documents: Vec<_> = (0..20).map(|_| job(1)).collect();
    let submitted = scene.user.submit_many(&documents, None).await.expect("accepted");
    assert_eq!(submitted.len(), 20);
    let mut node = scene.node("one").await;
    let mut settled = 0;
    while settled < 20 {
        let work = node.work().await;
        settled += work.len();
        node.succeed(&work).await;
    }
    let query = JobsQuery { status: Some(JobStatus::Succeeded), ..JobsQuery::default() };
    assert_eq!(scene.user.jobs(&query).await.expect("a list").items.len(), 20);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_drained_node_gets_nothing_until_that_is_taken_back() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    scene.user.drain(node.node, true).await.expect("accepted");
    assert!(node.poll(Vec::new()).await.drain);
    let submitted = scene.user.submit(&job(1), None).await.expect("accepted");
    let job = scene.user.job(submitted.id).await.expect("it is there");
    assert_eq!(job.job.status, JobStatus::Waiting);
    let task = model::TaskId { job: submitted.id, group: 0, index: 0 };
    let why = scene.user.explain_task(task).await.expect("an explanation");
    assert!(why.details.iter().any(|line| line.contains("draining")), "{why:?}");
    scene.user.drain(node.node, false).await.expect("accepted");
    let work = node.work().await;
    assert_eq!(work[0].task, task);
    scene.manager.shutdown().await;
}

/// Asks again and again, for what is accepted but done later.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    let asking = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, asking).await.expect("it comes true");
}
