//! Ends in order, and starts again on the same data.

use std::time::{Duration, Instant};

use manager::StartError;
use model::JobStatus;

use crate::scene::{Scene, config, job, user_of};

#[tokio::test]
async fn an_open_poll_is_answered_and_the_data_is_taken_up_again() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    let submitted = scene.user.submit(&job(1), None).await.expect("accepted");
    let work = node.work().await;
    let (client, id, request) = (node.client.clone(), node.node, node.request(Vec::new()));
    let waiting = tokio::spawn(async move { client.sync(id, &request).await });
    let file = scene.manager.data_dir().join("manager.json");
    assert!(file.exists());
    let began = Instant::now();
    let Scene { manager, user: _, folder } = scene;
    let token = manager.token().to_owned();
    manager.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Answered, or not even accepted; never left hanging.
    let _ = waiting.await.expect("no panic");
    assert!(!file.exists(), "nobody is there to be found");

    let manager = manager::run(config(&folder)).await.expect("it starts again");
    assert_eq!(manager.token(), token);
    let user = user_of(&manager).await;
    let detail = user.job(submitted.id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Running);
    let task = user.task(work[0].task).await.expect("it is there");
    assert_eq!((task.attempt, task.node), (1, Some(node.node)));
    manager.shutdown().await;
}

#[tokio::test]
async fn a_data_folder_serves_one_manager() {
    let scene = Scene::new().await;
    let second = manager::run(config(&scene.folder)).await;
    assert!(matches!(second, Err(StartError::DataDirInUse(_))), "{second:?}");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_taken_port_is_passed_over() {
    let scene = Scene::new().await;
    let taken = scene.manager.url().trim_start_matches("http://").parse().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let mut other = config(&folder);
    other.listen = manager::Listen { address: taken, or_next: false };
    let refused = manager::run(other.clone()).await;
    assert!(matches!(refused, Err(StartError::Listen { .. })), "{refused:?}");
    other.listen.or_next = true;
    let manager = manager::run(other).await.expect("it takes another");
    assert_ne!(manager.url(), scene.manager.url());
    manager.shutdown().await;
    scene.manager.shutdown().await;
}
