//! A manager, its user, and digesters that do what a test says.

use std::collections::BTreeSet;
use std::process::Command;

use api::client::{Client, ClientError};
use api::problem::ProblemKind;
use api::sync::{JoinRequest, Proof, SyncAnswer, SyncRequest};
use api::view::{TokenPurpose, TokenRequest};
use manager::{Config, Listen, Manager};
use model::{
    AttemptId, FORMAT, InventoryItem, LogPart, NodeId, Outcome, Resources, Stats, TaskResult,
    Transition,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A manager over SQLite in a folder of its own.
pub(crate) struct Scene {
    pub(crate) manager: Manager,
    pub(crate) user: Client,
    pub(crate) folder: TempDir,
}

/// A manager's configuration in a folder, on any port.
pub(crate) fn config(folder: &TempDir) -> Config {
    let address = "127.0.0.1:0".parse().expect("an address");
    Config { listen: Listen { address, or_next: false }, ..Config::new(folder.path().join("data")) }
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&folder);
        change(&mut config);
        let manager = manager::run(config).await.expect("it starts");
        let user = user_of(&manager).await;
        Self { manager, user, folder }
    }

    /// A node that has joined by token.
    pub(crate) async fn node(&self, name: &str) -> Digester {
        Digester::join(&self.user, name, 1).await
    }
}

/// A client of a manager that is ready.
pub(crate) async fn user_of(manager: &Manager) -> Client {
    let user = Client::new(manager.url(), manager.token()).expect("a client");
    user.ready().await.expect("it leads");
    user
}

/// A database of one's own on the server of `EBB_TEST_POSTGRES_URL`.
pub(crate) fn postgres(folder: &TempDir) -> String {
    let server = std::env::var("EBB_TEST_POSTGRES_URL").expect(
        "EBB_TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a Postgres",
    );
    let unique = folder.path().file_name().expect("a name").to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = unique.chars().map(plain).collect();
    let name = format!("manager{name}_{}", std::process::id());
    let made = Command::new("psql")
        .arg(&server)
        .args(["--no-psqlrc", "--quiet", "--command", &format!("CREATE DATABASE {name}")])
        .status();
    assert!(made.expect("psql comes with Postgres").success(), "the database is made");
    let (base, query) = server
        .split_once('?')
        .map_or((&*server, String::new()), |(base, query)| (base, format!("?{query}")));
    let (base, _) = base.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{name}{query}")
}

/// A job of one group.
pub(crate) fn job(count: u32) -> Value {
    json!({"name": "test", "group": [{
        "name": "g", "count": count, "command": ["true"],
        "resources": {"cpu": "1", "memory": "64MiB"},
    }]})
}

/// What kind of problem a call ran into.
pub(crate) fn problem<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemKind {
    let error = result.expect_err("a problem");
    error.problem().unwrap_or_else(|| panic!("no problem but {error}")).kind
}

/// A worker's side of sync, driven by the test.
pub(crate) struct Digester {
    pub(crate) client: Client,
    pub(crate) node: NodeId,
    pub(crate) session: u64,
    pub(crate) token: String,
    poll: u64,
    answered: u64,
    offset: u64,
    term: u64,
    inventory: Option<Vec<InventoryItem>>,
    known: BTreeSet<AttemptId>,
    waiting: Vec<AttemptId>,
}

impl Digester {
    pub(crate) async fn join(user: &Client, name: &str, session: u64) -> Self {
        let request = TokenRequest {
            purpose: TokenPurpose::Join,
            name: String::new(),
            uses: None,
            valid_ms: None,
        };
        let token = user.create_token(&request).await.expect("a token").token;
        Self::join_as(user, &join_request(&token, name, session)).await
    }

    pub(crate) async fn join_as(user: &Client, request: &JoinRequest) -> Self {
        let answer = user.join(request).await.expect("it joins");
        let client = Client::new(user.url(), &answer.token).expect("a client");
        Self {
            client,
            node: answer.node,
            session: request.session,
            token: answer.token,
            poll: 0,
            answered: 0,
            offset: 0,
            term: 0,
            inventory: Some(Vec::new()),
            known: BTreeSet::new(),
            waiting: Vec::new(),
        }
    }

    /// Closes its connections; the next poll makes another.
    pub(crate) fn hang_up(&mut self) {
        self.client = Client::new(self.client.url(), &self.token).expect("a client");
    }

    /// The next poll's request.
    pub(crate) fn request(&mut self, transitions: Vec<Transition>) -> SyncRequest {
        self.poll += 1;
        SyncRequest {
            session: self.session,
            poll: self.poll,
            answered: self.answered,
            term_seen: self.term,
            spool_offset: self.offset,
            transitions,
            inventory: self.inventory.take(),
            notice: None,
            stats: Stats::default(),
        }
    }

    /// Polls once.
    pub(crate) async fn poll(&mut self, transitions: Vec<Transition>) -> SyncAnswer {
        let request = self.request(transitions);
        let answer = self.client.sync(self.node, &request).await.expect("an answer");
        assert!(answer.term >= self.term);
        self.answered = request.poll;
        self.offset = answer.acked_offset;
        self.term = answer.term;
        for assignment in &answer.assign {
            let group = assignment.attempt.task.group_id();
            assert!(answer.groups.contains_key(&group), "the spec comes along");
            if self.known.insert(assignment.attempt) {
                self.waiting.push(assignment.attempt);
            }
        }
        answer
    }

    /// Polls until there is work; all that has come and was not taken before.
    pub(crate) async fn work(&mut self) -> Vec<AttemptId> {
        while self.waiting.is_empty() {
            self.poll(Vec::new()).await;
        }
        std::mem::take(&mut self.waiting)
    }

    /// Reports that attempts started.
    pub(crate) async fn start(&mut self, attempts: &[AttemptId]) -> SyncAnswer {
        let started = |attempt: &AttemptId| Transition::Started { attempt: *attempt };
        self.poll(attempts.iter().map(started).collect()).await
    }

    /// Reports that attempts succeeded.
    pub(crate) async fn succeed(&mut self, attempts: &[AttemptId]) -> SyncAnswer {
        self.poll(attempts.iter().map(|attempt| ended(*attempt, 0, "out\n")).collect()).await
    }
}

pub(crate) fn join_request(token: &str, name: &str, session: u64) -> JoinRequest {
    JoinRequest {
        proof: Proof::Token { token: token.to_owned(), name: name.to_owned() },
        session,
        capacity: Resources { cpu_millis: 4_000, memory_mib: 4_096, disk_mib: 0, gpus: 0 },
        format: FORMAT,
    }
}

/// The report of an exit.
pub(crate) fn ended(attempt: AttemptId, code: i32, stdout: &str) -> Transition {
    let text = LogPart { size_bytes: stdout.len() as u64, text: Some(stdout.into()) };
    let result = TaskResult {
        outcome: Outcome::Exited { code },
        run_ms: 5,
        stdout: text,
        stderr: LogPart::default(),
        outputs: Vec::new(),
        message: None,
    };
    Transition::Ended { attempt, result: Box::new(result) }
}
