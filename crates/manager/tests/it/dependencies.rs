//! Jobs that come after others, which World may have forgotten.

use api::client::Client;
use api::view::{TokenPurpose, TokenRequest};
use model::{Cause, JobId, JobStatus, TaskStatus};
use serde_json::json;

use crate::scene::{Digester, Scene, config, ended, job, join_request, user_of};

async fn submit_after(user: &Client, earlier: &[JobId]) -> JobId {
    let mut document = job(1);
    document["after"] = json!(earlier);
    user.submit(&document, None).await.expect("accepted").id
}

/// Runs what comes until a job is settled; `code` is how its tasks exit.
async fn settle(user: &Client, node: &mut Digester, id: JobId, code: i32) -> JobStatus {
    loop {
        let status = user.job(id).await.expect("it is there").job.status;
        if status.is_settled() {
            return status;
        }
        let work = node.work().await;
        node.poll(work.iter().map(|attempt| ended(*attempt, code, "")).collect()).await;
    }
}

async fn until_settled(user: &Client, id: JobId) -> JobStatus {
    loop {
        let status = user.job(id).await.expect("it is there").job.status;
        if status.is_settled() {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_has_succeeded_long_ago_is_looked_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = manager::run(config(&folder)).await.expect("it starts");
    let user = user_of(&manager).await;
    let mut node = Digester::join(&user, "one", 1).await;
    let first = user.submit(&job(2), None).await.expect("accepted").id;
    assert_eq!(settle(&user, &mut node, first, 0).await, JobStatus::Succeeded);
    let second = submit_after(&user, &[first]).await;
    assert_eq!(settle(&user, &mut node, second, 0).await, JobStatus::Succeeded);
    // Neither is in World when it is loaded again.
    // Not on the node that will be away.
    let mut large = job(1);
    large["group"][0]["resources"]["cpu"] = json!(8);
    let third = user.submit(&large, None).await.expect("accepted").id;
    large["after"] = json!([first, second, third]);
    let last = user.submit(&large, None).await.expect("accepted").id;
    manager.shutdown().await;
    let manager = manager::run(config(&folder)).await.expect("it starts again");
    let user = user_of(&manager).await;
    let request = TokenRequest {
        purpose: TokenPurpose::Join,
        name: String::new(),
        uses: None,
        valid_ms: None,
    };
    let token = user.create_token(&request).await.expect("a token").token;
    let mut request = join_request(&token, "two", 2);
    request.capacity.cpu_millis = 16_000;
    let mut node = Digester::join_as(&user, &request).await;
    assert_eq!(user.job(last).await.expect("there").job.status, JobStatus::Waiting);
    assert_eq!(settle(&user, &mut node, third, 0).await, JobStatus::Succeeded);
    assert_eq!(settle(&user, &mut node, last, 0).await, JobStatus::Succeeded);
    manager.shutdown().await;
}

#[tokio::test]
async fn what_did_not_succeed_takes_along_what_comes_after_it() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    let mut document = job(1);
    document["group"][0]["restart"] = json!({"max_failures": 0});
    let first = scene.user.submit(&document, None).await.expect("accepted").id;
    let waiting = submit_after(&scene.user, &[first]).await;
    let behind = submit_after(&scene.user, &[waiting]).await;
    assert_eq!(settle(&scene.user, &mut node, first, 1).await, JobStatus::Failed);
    // Also one that comes when all of that is over.
    let late = submit_after(&scene.user, &[behind]).await;
    for id in [waiting, behind, late] {
        assert_eq!(until_settled(&scene.user, id).await, JobStatus::Cancelled);
        let tasks = scene.user.tasks(id, &api::client::TasksQuery::default()).await;
        let tasks = tasks.expect("a list").items;
        assert_eq!(tasks[0].status, TaskStatus::Cancelled);
        assert_eq!(tasks[0].cause, Some(Cause::Dependency));
    }
    scene.manager.shutdown().await;
}
