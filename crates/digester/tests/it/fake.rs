//! A manager that does what it is told, and digesters that are processes of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use api::problem::{Problem, ProblemKind};
use api::sync::{
    Assignment, GroupWork, JoinAnswer, JoinRequest, SyncAnswer, SyncRequest, TailRequest,
};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::{
    AttemptId, GroupId, JobId, JobSpec, Namespace, NodeId, NodeNotice, Outcome, TaskId, TaskResult,
    Transition,
};
use tokio::sync::watch;

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a test sets and what it sees.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) term: u64,
    pub(crate) joins: Vec<JoinRequest>,
    pub(crate) polls: Vec<SyncRequest>,
    pub(crate) transitions: Vec<Transition>,
    /// Sent in every answer, until the test takes them out.
    pub(crate) assign: Vec<Assignment>,
    pub(crate) groups: BTreeMap<GroupId, GroupWork>,
    pub(crate) cancel: Vec<AttemptId>,
    pub(crate) retract: Vec<AttemptId>,
    pub(crate) notices: Vec<NodeNotice>,
    pub(crate) tail: Vec<TailRequest>,
    pub(crate) tailed: BTreeMap<(String, u64), Vec<u8>>,
    pub(crate) drain: bool,
    /// Acknowledge nothing.
    pub(crate) forgetful: bool,
    /// Answer this instead.
    pub(crate) problem: Option<Problem>,
    /// Bumped whenever a test changes the above.
    orders: u64,
    /// By poll, what `orders` was when it was answered.
    told: BTreeMap<u64, u64>,
}

#[derive(Clone)]
pub(crate) struct Manager {
    book: Arc<Mutex<Book>>,
    changed: Arc<watch::Sender<u64>>,
    pub(crate) url: String,
}

pub(crate) fn job() -> JobId {
    JobId::from_number(0x1234)
}

pub(crate) fn attempt(group: u16, index: u32) -> AttemptId {
    TaskId { job: job(), group, index }.attempt(1)
}

impl Manager {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let book = Arc::new(Mutex::new(Book { term: 1, ..Book::default() }));
        let manager = Self { book, changed: Arc::new(watch::channel(0).0), url };
        let router = axum::Router::new()
            .route("/v1/nodes/join", post(join))
            .route("/v1/nodes/{id}/sync", post(sync))
            .route("/v1/nodes/{id}/tail", post(tail))
            .with_state(manager.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        manager
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Changes what digesters are told.
    pub(crate) fn set<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        self.note(|book| {
            book.orders += 1;
            change(book)
        })
    }

    /// Changes something and wakes everybody.
    fn note<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let value = change(&mut self.book());
        self.changed.send_modify(|version| *version += 1);
        value
    }

    /// Adds tasks of a group and assigns them.
    pub(crate) fn assign(
        &self,
        group: u16,
        indices: std::ops::Range<u32>,
        spec: serde_json::Value,
    ) {
        self.assign_as(group, indices, spec, false);
    }

    pub(crate) fn assign_as(
        &self,
        group: u16,
        indices: std::ops::Range<u32>,
        spec: serde_json::Value,
        held: bool,
    ) {
        let document = serde_json::json!({ "group": [spec] });
        let spec = JobSpec::parse(&document).unwrap().groups[0].clone();
        let work = GroupWork { namespace: Namespace::default(), spec };
        self.set(|book| {
            book.groups.insert(GroupId { job: job(), group }, work);
            book.assign.extend(indices.map(|index| Assignment {
                attempt: attempt(group, index),
                held,
                item: Some(format!("item {index}").into()),
            }));
        });
    }

    /// Waits until the book says so; fails the test with `what` after a while.
    pub(crate) async fn until<T>(&self, what: &str, mut see: impl FnMut(&Book) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(value) = see(&self.book()) {
                    return value;
                }
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("{what}: {:#?}", self.book().transitions))
    }

    pub(crate) async fn ended(&self, id: AttemptId) -> TaskResult {
        self.until(&format!("the end of {id}"), |book| result(book, id)).await
    }

    pub(crate) async fn started(&self, id: AttemptId) {
        let started = Transition::Started { attempt: id };
        self.until(&format!("the start of {id}"), |book| {
            book.transitions.contains(&started).then_some(())
        })
        .await;
    }

    pub(crate) async fn outcome(&self, id: AttemptId) -> Outcome {
        self.ended(id).await.outcome
    }
}

pub(crate) fn result(book: &Book, id: AttemptId) -> Option<TaskResult> {
    book.transitions.iter().find_map(|transition| match transition {
        Transition::Ended { attempt, result } if *attempt == id => Some((**result).clone()),
        _ => None,
    })
}

async fn join(State(manager): State<Manager>, Json(request): Json<JoinRequest>) -> Response {
    let (problem, term) = manager.note(|book| {
        book.joins.push(request);
        book.told.clear();
        (book.problem.clone(), book.term)
    });
    if let Some(problem) = problem {
        return refuse(problem);
    }
    let node = NodeId::from_number(7);
    Json(JoinAnswer { node, token: "node-token".into(), term }).into_response()
}

fn refuse(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap();
    (status, Json(problem)).into_response()
}

async fn sync(State(manager): State<Manager>, Json(request): Json<SyncRequest>) -> Response {
    let (poll, reports) = (request.poll, !request.transitions.is_empty());
    let known = manager.note(|book| {
        let (first, have) =
            (usize::try_from(request.spool_offset).unwrap(), book.transitions.len());
        assert!(first <= have, "a gap: {first} after {have}");
        let again = request.transitions.len().min(have - first);
        assert_eq!(book.transitions[first..first + again], request.transitions[..again]);
        book.transitions.extend_from_slice(&request.transitions[again..]);
        let answered = request.answered;
        book.polls.push(request);
        book.told.range(..=answered).next_back().map_or(0, |(_, orders)| *orders)
    });
    if !reports {
        let mut changes = manager.changed.subscribe();
        let ends = |book: &Book| {
            let later = book.polls.iter().any(|other| other.poll > poll);
            later || book.orders > known || book.problem.is_some()
        };
        let wait = async {
            while !ends(&manager.book()) {
                changes.changed().await.unwrap();
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(15), wait).await;
    }
    let mut book = manager.book();
    let orders = book.orders;
    book.told.insert(poll, orders);
    if let Some(problem) = book.problem.clone() {
        return refuse(problem);
    }
    let acked = if book.forgetful { 0 } else { book.transitions.len() };
    Json(SyncAnswer {
        term: book.term,
        acked_offset: u64::try_from(acked).unwrap(),
        assign: book.assign.clone(),
        groups: book.groups.clone(),
        cancel: book.cancel.clone(),
        retract: book.retract.clone(),
        tail: book.tail.clone(),
        drain: book.drain,
        notices: book.notices.clone(),
    })
    .into_response()
}

#[derive(serde::Deserialize)]
struct TailQuery {
    stream: String,
    offset: u64,
}

async fn tail(
    State(manager): State<Manager>,
    Query(query): Query<TailQuery>,
    body: axum::body::Bytes,
) -> StatusCode {
    manager.note(|book| book.tailed.insert((query.stream, query.offset), body.to_vec()));
    StatusCode::NO_CONTENT
}

pub(crate) fn not_leader(url: &str) -> Problem {
    let problem = Problem::new(ProblemKind::NotLeader, "ask the leader");
    Problem { leader: Some(url.to_owned()), ..problem }
}

/// A node: its folder, and the digester that runs in it.
pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    manager: String,
    flags: Vec<String>,
    digester: Option<Child>,
}

impl Node {
    pub(crate) fn start(manager: &Manager, flags: &[&str]) -> Self {
        let mut node = Self {
            dir: tempfile::tempdir().unwrap(),
            manager: manager.url.clone(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            digester: None,
        };
        node.start_digester();
        node
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.path().join("objects")
    }

    pub(crate) fn start_digester(&mut self) {
        let child = Command::new(env!("CARGO_BIN_EXE_digester-test-helper"))
            .arg("worker")
            .args(["--manager", &self.manager])
            .arg("--data-dir")
            .arg(self.data())
            .arg("--objects")
            .arg(self.objects())
            .args(&self.flags)
            .stdin(Stdio::null())
            .spawn();
        self.digester = Some(child.unwrap());
    }

    pub(crate) fn digester_pid(&self) -> u32 {
        self.digester.as_ref().unwrap().id()
    }

    /// kill -9 of the digester alone.
    pub(crate) fn kill_digester(&mut self) {
        let mut child = self.digester.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// kill -9 of the spawner alone; answers its pid.
    pub(crate) fn kill_spawner(&self) -> u32 {
        let pid = self.spawners().pop().unwrap();
        kill(pid, nix::sys::signal::Signal::SIGKILL);
        pid
    }

    pub(crate) fn spawners(&self) -> Vec<u32> {
        let socket = self.data().canonicalize().unwrap().join("spawner/socket");
        pids(|cmdline, _| cmdline.contains(socket.to_str().unwrap()))
    }

    /// Processes of this node's attempts.
    pub(crate) fn task_pids(&self) -> Vec<u32> {
        let mark = format!("EBB_DEADLINE_FILE={}", self.data().canonicalize().unwrap().display());
        pids(|_, environ| environ.contains(&mark))
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.digester.take().unwrap().wait().unwrap()
    }

    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        kill(self.digester_pid(), nix::sys::signal::Signal::SIGTERM);
        self.digester.take().unwrap().wait().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.digester.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.data().exists() {
            for pid in self.spawners().into_iter().chain(self.task_pids()) {
                kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

pub(crate) fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal);
}

fn pids(wanted: impl Fn(&str, &str) -> bool) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let text = |file: &str| {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if wanted(&text("cmdline"), &text("environ")) {
            found.push(pid);
        }
    }
    found
}

/// Waits for something outside the manager.
pub(crate) async fn eventually(what: &str, mut see: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !see() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A task that says in `file` that it runs, and then waits for `go`.
pub(crate) fn gated(dir: &Path, then: &str) -> serde_json::Value {
    let script = format!(
        "echo $EBB_TASK_INDEX >> {0}/begun; while [ ! -e {0}/go ]; do sleep 0.02; done; {then}",
        dir.display()
    );
    serde_json::json!({"command": ["sh", "-c", script], "resources": {"memory": "1MiB"}})
}
