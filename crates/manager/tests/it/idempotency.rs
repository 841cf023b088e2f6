//! A key makes a submit repeatable.

use api::problem::ProblemKind;

use crate::scene::{Scene, job, problem};

#[tokio::test]
async fn the_same_body_replays_the_answer_and_another_is_refused() {
    let scene = Scene::new().await;
    let first = scene.user.submit(&job(2), Some("key-1")).await.expect("accepted");
    let again = scene.user.submit(&job(2), Some("key-1")).await.expect("replayed");
    assert_eq!(first.id, again.id);
    assert_eq!(problem(scene.user.submit(&job(3), Some("key-1")).await), ProblemKind::KeyReused);
    let other = scene.user.submit(&job(2), Some("key-2")).await.expect("accepted");
    assert_ne!(first.id, other.id);
    let documents = [job(1), job(1), job(1)];
    let many = scene.user.submit_many(&documents, Some("key-3")).await.expect("accepted");
    let again = scene.user.submit_many(&documents, Some("key-3")).await.expect("replayed");
    let ids = |many: &[api::view::Submitted]| many.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(&many), ids(&again));
    let all = scene.user.jobs(&api::client::JobsQuery::default()).await.expect("a list");
    assert_eq!(all.items.len(), 5);
    scene.manager.shutdown().await;
}
