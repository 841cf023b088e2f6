//! The binary, and its long-lived commands as processes.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use api::client::Client;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Rest, Scratch, processes, until, until_within};

/// What a command wrote and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none after a signal.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Its standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|fault| panic!("{fault}: {self:#?}"))
    }
}

/// A running `ebb up`, `ebb manager` or `ebb demo`.
pub struct Server {
    child: Child,
    rest: Rest,
    log: PathBuf,
    objects: PathBuf,
}

/// Any other running `ebb`.
pub struct Running {
    child: Child,
    name: PathBuf,
}

/// A running `ebb worker`.
pub struct Worker {
    child: Child,
}

impl Scratch {
    /// Runs `ebb` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        finish(self.ebb(arguments)).await
    }

    /// Starts `ebb` and leaves it to the test.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let name = fresh_name(self.path(), "command");
        Running { child: start(&mut self.ebb(arguments), &name), name }
    }

    /// Starts `ebb up` or `ebb manager` on this place's data and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn server(&self, arguments: &[&str]) -> Server {
        self.replica(&self.data(), self.listen(), arguments).await
    }

    /// The same with a data folder and an address of its own: another replica.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn replica(&self, data: &Path, listen: SocketAddr, arguments: &[&str]) -> Server {
        let mut command = self.ebb(arguments);
        command.arg("--data-dir").arg(data).arg("--listen").arg(listen.to_string());
        command.args(["--output", "json", "--log-format", "json"]);
        if let Some(url) = self.database_url() {
            command.args(["--database", url]);
        }
        let name = fresh_name(self.path(), "server");
        let mut child = start(&mut command, &name);
        let out = name.with_extension("out");
        let log = name.with_extension("log");
        let ready = until("the server is ready", async || {
            if let Ok(Some(status)) = child.try_wait() {
                let told = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("{:?} ended with {status}: {told}", command.get_args());
            }
            let text = std::fs::read_to_string(&out).ok()?;
            serde_json::from_str::<Value>(text.trim()).ok()
        })
        .await;
        let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
        let rest = Rest::new(&text("url"), &text("token"));
        Server { child, rest, log, objects: data.join("objects") }
    }

    /// Starts `ebb worker` and waits until the manager takes it for ready. With the name of an
    /// earlier worker it is that one's next process: it has the same spool.
    ///
    /// # Panics
    /// When it does not join.
    pub async fn worker(&self, server: &Server, name: &str, cpu: &str) -> Worker {
        let mut command = self.ebb(&["worker", "--manager", server.rest().url()]);
        command.args(["--name", name, "--cpu", cpu, "--memory", "4GiB"]);
        command.arg("--data-dir").arg(self.path().join(name)).args(["--log-format", "json"]);
        command.arg("--objects").arg(&server.objects);
        command.env("EBB_JOIN_TOKEN", self.join_token(server).await);
        let worker = Worker { child: start(&mut command, &fresh_name(self.path(), name)) };
        until("the worker joins", async || {
            let nodes = server.rest().nodes().await;
            nodes
                .into_iter()
                .find(|node| node.name.as_deref() == Some(name) && node.state == "ready")
        })
        .await;
        worker
    }

    /// Starts `ebb worker` with a token that joins more than once, and does not wait for it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_worker(&self, manager: &str, token: &str, name: &str, objects: &Path) -> Worker {
        let mut command = self.ebb(&["worker", "--manager", manager, "--name", name]);
        command.args(["--cpu", "2", "--memory", "4GiB", "--log-format", "json"]);
        command.arg("--data-dir").arg(self.path().join(name)).arg("--objects").arg(objects);
        command.env("EBB_JOIN_TOKEN", token);
        Worker { child: start(&mut command, &fresh_name(self.path(), name)) }
    }

    async fn join_token(&self, server: &Server) -> String {
        let mut command = self.ebb(&["token", "create", "--join", "--output", "json"]);
        command.env("EBB_URL", server.rest().url()).env("EBB_TOKEN", server.rest().token());
        let made = finish(command).await;
        assert_eq!(made.code, Some(0), "{made:#?}");
        made.json()["token"].as_str().expect("a token").to_owned()
    }
}

impl Server {
    /// Its REST.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The typed client of it.
    ///
    /// # Panics
    /// When none can be made.
    pub fn client(&self) -> Client {
        Client::new(self.rest.url(), self.rest.token()).expect("a client")
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        pid(&self.child)
    }

    /// What it has logged so far, as JSON lines.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Kills it, and nothing else, with -9.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        until("the server ends", async || self.child.try_wait().ok().flatten()).await
    }
}

impl Running {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.name.with_extension("log")).unwrap_or_default()
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub async fn ended(mut self, limit: Duration) -> Finished {
        let ended =
            until_within(limit, "the command ends", async || self.child.try_wait().ok().flatten());
        let status = ended.await;
        let stdout = std::fs::read_to_string(self.name.with_extension("out")).unwrap_or_default();
        Finished { code: status.code(), stdout, stderr: self.stderr() }
    }
}

impl Worker {
    /// Its process.
    pub fn pid(&self) -> i32 {
        pid(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills its digester, and nothing else, with -9.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        until("the worker ends", async || self.child.try_wait().ok().flatten()).await
    }

    /// Kills the machine that it stands for: it and everything below it.
    pub fn kill_machine(mut self) {
        for process in processes::tree(self.pid()) {
            process.signal(Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

async fn finish(mut command: Command) -> Finished {
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("not cancelled").expect("ebb starts");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a process id")
}

fn send(child: &Child, signal: Signal) {
    if let Some(process) = processes::read(pid(child)) {
        process.signal(signal);
    }
}

/// Starts a command whose output goes to `NAME.out` and `NAME.log`.
fn start(command: &mut Command, name: &Path) -> Child {
    let file = |ending: &str| File::create(name.with_extension(ending)).expect("a file");
    command.stdin(Stdio::null()).stdout(file("out")).stderr(file("log"));
    command.spawn().expect("ebb starts")
}

fn fresh_name(folder: &Path, stem: &str) -> PathBuf {
    (0..)
        .map(|number: u32| folder.join(format!("{stem}-{number}")))
        .find(|name| !name.with_extension("log").exists())
        .expect("numbers do not end")
}

/// The binary: the one that xtask names, else one built here.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("EBB_TEST_BINARY") {
            return PathBuf::from(path);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--package", "cli", "--bin", "ebb"])
            .status()
            .expect("cargo starts");
        assert!(built.success(), "ebb does not build");
        // A test stands in TARGET/debug/deps, a binary in TARGET/debug.
        let own = std::env::current_exe().expect("a path");
        own.ancestors()
            .skip(1)
            .map(|folder| folder.join("ebb"))
            .find(|path| path.is_file())
            .expect("cargo puts `ebb` beside us")
    })
}
