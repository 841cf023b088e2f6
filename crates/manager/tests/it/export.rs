//! State and history as one document.

use api::export::ExportView;
use api::problem::ProblemKind;
use model::{JobStatus, Timestamp};
use simulator::files;

use crate::scene::{Scene, job, problem};
use crate::work::until;

async fn export(scene: &Scene, from: Option<Timestamp>) -> ExportView {
    let text = scene.user.export(from, None).await.expect("an export").read().await;
    serde_json::from_slice(&text.expect("bytes")).expect("an export")
}

async fn done(scene: &Scene, count: u32) -> model::JobId {
    let mut node = scene.node("one").await;
    let submitted = scene.user.submit(&job(count), None).await.expect("accepted");
    let mut left = count as usize;
    while left > 0 {
        let work = node.work().await;
        node.start(&work).await;
        left -= work.len();
        node.succeed(&work).await;
    }
    until(async || scene.user.job(submitted.id).await.expect("it").job.status.is_settled()).await;
    submitted.id
}

#[tokio::test]
async fn an_export_is_a_market_a_workload_and_what_was_seen() {
    let scene = Scene::new().await;
    let id = done(&scene, 6).await;
    scene.user.submit(&job(2), None).await.expect("accepted");
    let view = export(&scene, None).await;
    assert_eq!(view.format, 1);
    assert_eq!(view.to.since(view.from), 7 * 24 * 3_600_000);
    let market = files::market::parse(view.market.get()).expect("a market");
    let [pool] = &market.pools[..] else { panic!("one pool: {market:?}") };
    assert_eq!((&*pool.zone, pool.capacity.cpu_millis), ("static", 4_000));
    let jobs = files::jobs::parse(view.jobs.get()).expect("jobs");
    let told: Vec<_> = jobs.iter().map(|job| (job.id.to_string(), job.count)).collect();
    assert_eq!(told, [(format!("{id}.0"), 6)]);
    assert_eq!(jobs[0].work.work_ms, 5, "as its attempts ran");
    let detail = scene.user.job(id).await.expect("it is there");
    assert_eq!(jobs[0].arrival_ms, detail.job.submitted_at.since(view.from));
    let seen: Vec<_> = view.seen.jobs.iter().map(|job| (job.status, job.attempts)).collect();
    assert_eq!(seen, [(JobStatus::Succeeded, 6), (JobStatus::Waiting, 0)]);
    assert_eq!(view.seen.jobs[0].settled_at, detail.job.settled_at);
    assert!(view.assumed.iter().any(|words| words.starts_with("2 tasks are left out")));
    // What came later is another time's.
    let after = export(&scene, Some(view.to.plus_ms(-1))).await;
    assert!(after.to > view.to || after.seen.jobs.is_empty());
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn times_that_are_none_and_too_much_are_refused() {
    let scene = Scene::with(|config| config.limits.export_jobs = 1).await;
    for _ in 0..2 {
        scene.user.submit(&job(1), None).await.expect("accepted");
    }
    until(async || {
        let page = scene.user.jobs(&api::client::JobsQuery::default()).await.expect("a list");
        page.items.len() == 2
    })
    .await;
    let refused = scene.user.export(None, None).await.expect_err("too many jobs");
    let problem_of = refused.problem().expect("a problem");
    assert_eq!(problem_of.kind, ProblemKind::TooLarge);
    let detail = problem_of.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("more than 1 jobs"), "{detail}");
    let at = |text: &str| Some(text.parse::<Timestamp>().expect("a time"));
    let future = scene.user.export(None, at("2099-01-01T00:00:00Z")).await;
    assert_eq!(problem(future), ProblemKind::Malformed);
    let backwards = scene.user.export(at("2020-01-02T00:00:00Z"), at("2020-01-01T00:00:00Z")).await;
    assert_eq!(problem(backwards), ProblemKind::Malformed);
    let long_ago = scene.user.export(at("2020-01-01T00:00:00Z"), at("2020-01-02T00:00:00Z")).await;
    let text = long_ago.expect("an export").read().await.expect("bytes");
    let view: ExportView = serde_json::from_slice(&text).expect("an export");
    assert_eq!((view.jobs.get(), view.seen.jobs.len()), ("[\n\n]", 0));
    scene.manager.shutdown().await;
}
