//! What tasks write, while they run and afterwards; and what the manager writes of tasks.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use api::client::LogsQuery;
use api::sync::TailRequest;
use model::TaskStatus;
use tracing_subscriber::fmt::MakeWriter;

use crate::scene::{Scene, ended, job};

/// Posts what a stream has from an offset on, as a digester does.
async fn post(
    scene: &Scene,
    token: &str,
    node: model::NodeId,
    tail: TailRequest,
    bytes: &str,
) -> u16 {
    let TailRequest { attempt, stream, offset } = tail;
    let url = format!(
        "{}/v1/nodes/{node}/tail?attempt={attempt}&stream={}&offset={offset}",
        scene.manager.url(),
        stream.as_str(),
    );
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let sent = http.post(url).bearer_auth(token).body(bytes.to_owned()).send().await;
    sent.expect("sent").status().as_u16()
}

#[tokio::test]
async fn a_running_task_is_read_to_its_end() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    scene.user.submit(&job(1), None).await.expect("accepted");
    let work = node.work().await;
    node.start(&work).await;
    let query = LogsQuery { follow: true, ..LogsQuery::default() };
    let mut log = scene.user.logs(work[0].task, &query).await.expect("it begins");
    let tail = loop {
        let answer = node.poll(Vec::new()).await;
        if let Some(tail) = answer.tail.first() {
            break *tail;
        }
    };
    assert_eq!((tail.attempt, tail.offset), (work[0], 0));
    let (token, id) = (node.token.clone(), node.node);
    assert_eq!(post(&scene, &token, id, tail, "one\n").await, 204);
    assert_eq!(log.next().await.expect("no fault").as_deref(), Some(&b"one\n"[..]));
    let next = TailRequest { offset: 4, ..tail };
    assert_eq!(post(&scene, &token, id, next, "two\n").await, 204);
    // The end of the attempt brings the rest.
    node.poll(vec![ended(work[0], 0, "one\ntwo\nthree\n")]).await;
    assert_eq!(log.read().await.expect("no fault"), b"two\nthree\n");
    let beyond = TailRequest { offset: 8, ..tail };
    assert_eq!(post(&scene, &token, id, beyond, "four\n").await, 404, "nobody reads any more");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_task_is_followed_from_before_its_start() {
    let scene = Scene::new().await;
    let submitted = scene.user.submit(&job(1), None).await.expect("accepted");
    let task = model::TaskId { job: submitted.id, group: 0, index: 0 };
    let query = LogsQuery { follow: true, ..LogsQuery::default() };
    let log = scene.user.logs(task, &query).await.expect("it begins");
    let mut node = scene.node("one").await;
    let work = node.work().await;
    node.poll(vec![ended(work[0], 0, "all\n")]).await;
    assert_eq!(log.read().await.expect("no fault"), b"all\n");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn outputs_come_from_the_settling_attempts_manifest_only() {
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    scene.user.submit(&job(1), None).await.expect("accepted");
    let work = node.work().await;
    let namespace = model::Namespace::default();
    let objects = scene.manager.data_dir().join("objects");
    for name in ["kept.txt", "not in the manifest.txt"] {
        let file = objects.join(api::sync::output_key(&namespace, work[0], name));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, "bytes").expect("written");
    }
    let mut report = ended(work[0], 0, "");
    if let model::Transition::Ended { result, .. } = &mut report {
        result.outputs.push(model::OutputFile { path: "kept.txt".into(), size_bytes: 5 });
    }
    node.poll(vec![report]).await;
    let task = work[0].task;
    assert_eq!(scene.user.task(task).await.expect("there").status, TaskStatus::Succeeded);
    let listed = scene.user.outputs(task.job, &api::client::TasksQuery::default()).await;
    assert_eq!(listed.expect("a list").items.len(), 1);
    let kept = scene.user.output(task, "kept.txt").await.expect("it is there");
    assert_eq!(kept.read().await.expect("bytes"), b"bytes");
    assert!(scene.user.output(task, "not in the manifest.txt").await.is_err());
    scene.manager.shutdown().await;
}

/// All log lines of this process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn lines() -> &'static Lines {
    static LINES: OnceLock<Lines> = OnceLock::new();
    LINES.get_or_init(|| {
        let lines = Lines::default();
        let format = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(lines.clone());
        format.init();
        lines
    })
}

#[tokio::test]
async fn a_task_can_be_followed_through_the_log() {
    let lines = lines();
    let scene = Scene::new().await;
    let mut node = scene.node("one").await;
    let submitted = scene.user.submit(&job(200), None).await.expect("accepted");
    let mut done = 0;
    while done < 200 {
        let work = node.work().await;
        done += work.len();
        node.start(&work).await;
        node.succeed(&work).await;
    }
    let (secret, node_token) = (scene.manager.token().to_owned(), node.token.clone());
    scene.manager.shutdown().await;
    let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = String::from_utf8(bytes).expect("text");
    let job = submitted.id.to_string();
    let mut words = Vec::new();
    let task = format!("{job}.0.123");
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let fields = &line["fields"];
        let of_job = fields["job"] == *job && fields["task"].is_null();
        if of_job || fields["task"] == *task {
            assert_eq!(line["span"]["term"], 1, "{line}");
            words.push(fields["message"].as_str().expect("words").to_owned());
        }
    }
    words.dedup();
    assert_eq!(words, ["submitted", "placed", "started", "settled", "settled"][..4].to_vec());
    assert!(!text.contains(&secret) && !text.contains(&node_token), "no secret is logged");
}
