//! A closed connection is all that a killed worker says.

use std::time::{Duration, Instant};

use api::problem::ProblemKind;
use model::TaskStatus;

use crate::scene::{Scene, ended, job, problem};

#[tokio::test]
async fn short_tasks_of_a_killed_worker_run_elsewhere_at_once() {
    let scene = Scene::new().await;
    let mut doomed = scene.node("doomed").await;
    doomed.poll(Vec::new()).await;
    scene.user.submit(&job(1), None).await.expect("accepted");
    let work = doomed.work().await;
    doomed.start(&work).await;
    let mut other = scene.node("other").await;
    other.poll(Vec::new()).await;
    // It waits in a poll, as a digester does that has nothing to tell.
    let request = doomed.request(Vec::new());
    let (client, node) = (doomed.client.clone(), doomed.node);
    let waiting = tokio::spawn(async move { client.sync(node, &request).await });
    let task = scene.user.task(work[0].task).await.expect("it is there");
    assert_eq!(task.status, TaskStatus::Running);
    let killed = Instant::now();
    waiting.abort();
    doomed.hang_up();
    let again = other.work().await;
    assert_eq!((again[0].task, again[0].attempt), (work[0].task, 2));
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    // It was only away: what it says now bears an old number, and what it still runs is void.
    let answer = doomed.poll(vec![ended(work[0], 0, "late")]).await;
    assert_eq!(answer.cancel, work);
    let task = scene.user.task(work[0].task).await.expect("it is there");
    assert_eq!((task.status, task.attempt), (TaskStatus::Assigned, 2));
    other.succeed(&again).await;
    let attempts = scene.user.attempts(work[0].task).await.expect("history");
    let settling: Vec<u32> =
        attempts.items.iter().filter(|it| it.settles).map(|it| it.id.attempt).collect();
    assert_eq!(settling, [2]);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_session_that_is_not_the_nodes_is_fenced() {
    let scene = Scene::new().await;
    let mut old = scene.node("one").await;
    old.poll(Vec::new()).await;
    let (client, node) = (old.client.clone(), old.node);
    let request = old.request(Vec::new());
    // The old session is bound to its node: the same token, another session.
    let fenced = api::sync::SyncRequest { session: 99, ..request };
    assert_eq!(problem(client.sync(node, &fenced).await), ProblemKind::Conflict);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_higher_poll_ends_the_older_at_once() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let older = node.request(Vec::new());
    let (client, id) = (node.client.clone(), node.node);
    let waiting = tokio::spawn(async move { client.sync(id, &older).await });
    // Whichever comes first at the leader, the older one is answered long before its wait is over.
    let began = Instant::now();
    let newer = node.request(Vec::new());
    let (client, id) = (node.client.clone(), node.node);
    let newest = tokio::spawn(async move { client.sync(id, &newer).await });
    // One that comes second must not be answered at all (ADR 10).
    if let Err(fault) = waiting.await.expect("no panic") {
        assert_eq!(problem::<()>(Err(fault)), ProblemKind::Overloaded);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    newest.abort();
    scene.manager.shutdown().await;
}
