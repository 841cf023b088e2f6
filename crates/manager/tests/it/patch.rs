//! A user changes a job (ADR 6).

use api::client::ClientError;
use api::problem::{Problem, ProblemKind};
use api::view::JobDetail;
use model::{JobId, JobStatus, OnTaskFailure, TaskStatus};
use serde_json::{Value, json};

use crate::scene::{Scene, config, job, postgres, problem, user_of};

/// With fields of its own.
fn with(fields: &Value) -> Value {
    let mut document = job(1);
    for (key, value) in fields.as_object().expect("an object") {
        document[key] = value.clone();
    }
    document
}

async fn submitted(scene: &Scene, fields: &Value) -> JobId {
    scene.user.submit(&with(fields), None).await.expect("accepted").id
}

async fn patch(scene: &Scene, id: JobId, patch: &Value) -> Result<JobDetail, ClientError> {
    scene.user.patch_job(id, patch, None).await
}

fn faults(result: Result<JobDetail, ClientError>) -> Vec<String> {
    let error = result.expect_err("faults");
    let problem = error.problem().expect("a problem");
    assert_eq!(problem.kind, ProblemKind::Invalid);
    problem.errors.iter().map(|fault| fault.pointer.clone()).collect()
}

#[tokio::test]
async fn only_what_a_patch_names_is_changed() {
    let scene = Scene::new().await;
    let fields = json!({
        "labels": {"a": "1", "b": "2"}, "priority": 7, "max_running": 3, "on_task_failure": "stop",
    });
    let id = submitted(&scene, &fields).await;
    let before = scene.user.job(id).await.expect("it is there");
    assert_eq!(before.job.revision, 0);

    let changes = json!({"name": "other", "labels": {"b": null, "c": "3"}, "priority": null});
    let after = patch(&scene, id, &changes).await.expect("patched");
    assert_eq!((after.job.revision, &*after.job.name, after.spec.priority), (1, "other", 0));
    let labels: Vec<(&str, &str)> =
        after.job.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(labels, [("a", "1"), ("c", "3")]);
    assert_eq!(after.spec.on_task_failure, OnTaskFailure::Stop);
    assert_eq!(after.spec.max_running, Some(3));
    assert_eq!(after.spec.groups, before.spec.groups);
    assert_eq!(scene.user.job(id).await.expect("it is there"), after);

    let changes =
        json!({"labels": null, "max_running": null, "on_task_failure": null, "name": null});
    let after = patch(&scene, id, &changes).await.expect("patched");
    assert_eq!((after.job.revision, &*after.job.name, after.spec.max_running), (2, "job", None));
    assert!(after.job.labels.is_empty());
    assert_eq!(after.spec.on_task_failure, OnTaskFailure::Continue);

    // What changes nothing is no revision.
    for idle in [json!({}), json!({"name": "job"}), json!({"labels": {"x": null}})] {
        let after = patch(&scene, id, &idle).await.expect("nothing to do");
        assert_eq!(after.job.revision, 2, "{idle}");
    }
    let query = api::client::JobsQuery::default();
    let listed = scene.user.jobs(&query).await.expect("a list").items;
    assert_eq!(listed[0].revision, 2);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_new_label_finds_the_job_and_an_old_one_does_not() {
    let scene = Scene::new().await;
    let id = submitted(&scene, &json!({"labels": {"a": "1"}})).await;
    patch(&scene, id, &json!({"labels": {"a": "2"}})).await.expect("patched");
    for (label, count) in [("a=1", 0), ("a=2", 1)] {
        let label = Some(label.to_owned());
        let query = api::client::JobsQuery { label, ..Default::default() };
        assert_eq!(scene.user.jobs(&query).await.expect("a list").items.len(), count);
    }
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn every_fault_of_a_patch_is_told_and_nothing_is_changed() {
    let scene = Scene::new().await;
    let id = submitted(&scene, &json!({"priority": 1})).await;
    let before = scene.user.job(id).await.expect("it is there");
    let faulty = json!({
        "priority": 5_000, "labels": {"a": 1}, "max_running": 0, "group": [], "kind": "batch",
        "namespace": "other", "nonsense": 1, "name": "good",
    });
    let mut found = faults(patch(&scene, id, &faulty).await);
    found.sort();
    assert_eq!(
        found,
        ["/group", "/kind", "/labels/a", "/max_running", "/namespace", "/nonsense", "/priority",]
    );
    assert_eq!(faults(patch(&scene, id, &json!([])).await), [""]);
    assert_eq!(scene.user.job(id).await.expect("it is there"), before);
    scene.manager.shutdown().await;
}

/// Sends text as it is, with headers.
async fn raw(scene: &Scene, id: JobId, headers: &[(&str, &str)], body: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.patch(format!("{}/v1/jobs/{id}", scene.manager.url()));
    let request = request.bearer_auth(scene.manager.token()).body(body.to_owned());
    let with = |request: reqwest::RequestBuilder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    headers.iter().fold(request, with).send().await.expect("sent")
}

#[tokio::test]
async fn a_patch_is_json_of_either_kind() {
    let scene = Scene::new().await;
    let id = submitted(&scene, &json!({})).await;
    for (content_type, body, status) in [
        ("application/json", r#"{"priority": 1}"#, 200),
        ("application/merge-patch+json; charset=utf-8", r#"{"priority": 2}"#, 200),
        ("application/json-patch+json", "[]", 415),
        ("application/json", "{", 400),
        ("application/json", r#"{"priority": 1, "priority": 2}"#, 422),
    ] {
        let answer = raw(&scene, id, &[("content-type", content_type)], body).await;
        assert_eq!(answer.status(), status, "{content_type} {body}");
    }
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn who_has_read_an_older_job_changes_nothing() {
    let scene = Scene::new().await;
    let id = submitted(&scene, &json!({})).await;
    let send = async |tag: &str, body: &str| {
        raw(&scene, id, &[("content-type", "application/json"), ("if-match", tag)], body).await
    };
    let first = send("\"0\"", r#"{"priority": 1}"#).await;
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["etag"], "\"1\"");
    for (tag, status) in
        [("\"0\"", 412), ("W/\"1\"", 412), ("", 412), ("1", 400), ("\"0\", \"1\"", 200), ("*", 200)]
    {
        let answer = send(tag, r#"{"priority": 9}"#).await;
        assert_eq!(answer.status(), status, "{tag}");
        if status == 412 {
            let told: Problem = answer.json().await.expect("a problem");
            assert_eq!(told.kind, ProblemKind::PreconditionFailed);
            assert_eq!(scene.user.job(id).await.expect("it is there").spec.priority, 1);
        }
    }
    // Of two who have read the same job, one is told to read again.
    let names = [json!({"name": "one"}), json!({"name": "two"})];
    let (one, two) = tokio::join!(
        scene.user.patch_job(id, &names[0], Some(2)),
        scene.user.patch_job(id, &names[1], Some(2)),
    );
    assert_ne!(one.is_ok(), two.is_ok());
    let lost = if one.is_ok() { two } else { one };
    assert_eq!(problem(lost), ProblemKind::PreconditionFailed);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_cycle_of_jobs_is_refused() {
    let scene = Scene::new().await;
    let a = submitted(&scene, &json!({})).await;
    let b = submitted(&scene, &json!({"after": [a]})).await;
    let c = submitted(&scene, &json!({"after": [b]})).await;
    let unknown = "job_0000000000001";
    assert_eq!(faults(patch(&scene, a, &json!({"after": [a]})).await), ["/after/0"]);
    assert_eq!(faults(patch(&scene, a, &json!({"after": [b, c]})).await), ["/after/0", "/after/1"]);
    assert_eq!(faults(patch(&scene, c, &json!({"after": [b, unknown]})).await), ["/after/1"]);
    assert_eq!(scene.user.job(a).await.expect("it is there").job.revision, 0);
    // Each closes half of a cycle: one of them comes first, and the other is told.
    let d = submitted(&scene, &json!({})).await;
    let (after_d, after_a) = (json!({"after": [d]}), json!({"after": [a]}));
    let (one, two) = tokio::join!(patch(&scene, a, &after_d), patch(&scene, d, &after_a));
    assert_ne!(one.is_ok(), two.is_ok());
    let refused = if one.is_ok() { two } else { one };
    assert_eq!(faults(refused), ["/after/0"]);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_comes_after_nothing_any_more_runs() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    node.poll(Vec::new()).await;
    // Nothing of the first is placed: it is larger than the node.
    let mut large = job(1);
    large["group"][0]["resources"]["cpu"] = json!("64");
    let first = scene.user.submit(&large, None).await.expect("accepted").id;
    let second = submitted(&scene, &json!({"after": [first]})).await;
    node.poll(vec![crate::scene::ended(
        format!("{second}.0.0.1").parse().expect("an attempt"),
        0,
        "",
    )])
    .await;
    let tasks = scene.user.tasks(second, &Default::default()).await.expect("a list");
    assert_eq!(tasks.items[0].status, TaskStatus::Waiting);
    patch(&scene, second, &json!({"after": []})).await.expect("patched");
    let work = node.work().await;
    assert_eq!(work[0].task.job, second);
    node.succeed(&work).await;
    let detail = scene.user.job(second).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_settled_job_is_not_changed() {
    let scene = Scene::new().await;
    let id = submitted(&scene, &json!({})).await;
    scene.user.stop_job(id).await.expect("stopped");
    assert_eq!(problem(patch(&scene, id, &json!({"name": "x"})).await), ProblemKind::Conflict);
    let unknown = "job_0000000000001".parse().expect("an id");
    assert_eq!(problem(patch(&scene, unknown, &json!({})).await), ProblemKind::NotFound);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_job_that_waits_in_its_table_is_changed_there() {
    let scene = Scene::with(|config| config.control.max_jobs = 1).await;
    let first = submitted(&scene, &json!({})).await;
    let waiting = submitted(&scene, &json!({"priority": 1})).await;
    let detail = scene.user.job(waiting).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Submitted);
    let changes = json!({"name": "changed", "max_running": 1});
    let after = patch(&scene, waiting, &changes).await.expect("patched");
    assert_eq!((&*after.job.name, after.job.revision), ("changed", 1));
    // It comes into World as it is now.
    scene.user.stop_job(first).await.expect("stopped");
    let mut node = scene.node("one").await;
    let work = node.work().await;
    assert_eq!(work[0].task.job, waiting);
    let explained = scene.user.job(waiting).await.expect("it is there");
    assert_eq!((&*explained.spec.name, explained.spec.max_running), ("changed", Some(1)));
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_job_of_the_inbox_is_changed_once_its_leader_has_seen_it() {
    let scene = Scene::new().await;
    // A submit with a key goes by the inbox, at the leader, too.
    let id = scene.user.submit(&job(1), Some("key")).await.expect("accepted").id;
    let after = patch(&scene, id, &json!({"name": "changed"})).await.expect("patched");
    assert_eq!((&*after.job.name, after.job.revision), ("changed", 1));
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_a_follower_on_postgres_is_asked_is_done_by_the_leader() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let database = postgres(&folders[0]);
    let [first, second] = folders.each_ref().map(|folder| {
        let mut config = config(folder);
        config.database = Some(database.clone());
        config
    });
    let leader = manager::run(first).await.expect("it starts");
    user_of(&leader).await;
    let follower = manager::run(second).await.expect("it starts");
    let user = user_of(&follower).await;
    // It lies in the inbox when it is changed.
    let id = user.submit(&job(1), Some("key")).await.expect("accepted").id;
    let other = user.submit(&job(1), None).await.expect("accepted").id;
    let changes = json!({"priority": 3, "labels": {"a": "1"}, "after": [other]});
    let patched = user.patch_job(id, &changes, Some(0)).await.expect("patched");
    assert_eq!((patched.job.revision, patched.spec.priority), (1, 3));
    assert_eq!(user.job(id).await.expect("it is there"), patched);
    let cycle = user.patch_job(other, &json!({"after": [id]}), None).await;
    assert_eq!(faults(cycle), ["/after/0"]);
    user.stop_job(id).await.expect("stopped");
    let again = api::view::RetryRequest { tasks: api::view::RetryWhich::Cancelled };
    while !user.job(id).await.expect("it is there").job.status.is_settled() {
        tokio::task::yield_now().await;
    }
    assert_eq!(user.retry_job(id, &again).await.expect("retried").tasks, 1);
    follower.shutdown().await;
    leader.shutdown().await;
}
