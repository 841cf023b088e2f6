//! `ebb up`: a manager here and one worker as a process of its own, which outlives us when we are
//! killed and is adopted by the next `ebb up` on the same data.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use api::view::{TokenPurpose, TokenRequest, TokenView};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tracing::{info, warn};

use super::manager::{Here, Machines, data_dir, show_ready};
use crate::args;
use crate::discovery::{Endpoint, Surroundings};
use crate::error::{Exit, Failure};
use crate::output::Screen;
use crate::process::Process;
use crate::remote::Remote;
use crate::signals::Signals;

/// The worker's name in the cluster.
const NAME: &str = "local";
/// A worker joins within this, or something is wrong with it.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks whether it has joined.
const JOIN_LOOK: Duration = Duration::from_millis(20);
/// The worker's tasks get seconds to end in order, and it a little more to say so.
const END_LIMIT: Duration = Duration::from_secs(20);
/// SIGKILL takes effect when a process leaves the kernel: disk writes on a slow disk take seconds.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a worker that is no child of ours.
const WATCH: Duration = Duration::from_millis(500);
/// Before a worker that has ended is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long an old worker gets when it looks for its manager elsewhere.
const MOVE_LIMIT: Duration = Duration::from_secs(5);

pub(crate) async fn up(screen: Screen, args: &args::Up) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let around = Surroundings::of_process();
    let data_dir = data_dir(&args.manager, &around)?;
    let here = Here::start(&args.manager, &data_dir, &around).await?;
    let exit = tokio::select! {
        failure = serve(screen, &here, &data_dir) => Err(failure),
        signal = signals.next() => {
            info!(signal, "told to end");
            Ok(Exit::Ok)
        }
    };
    let worker = Place::new(&data_dir);
    tokio::select! {
        () = end(&worker, here) => {}
        _ = signals.next() => worker.kill(),
    }
    exit
}

/// Has a worker, says that it is ready and keeps the worker running. Only ends with a failure.
async fn serve(screen: Screen, here: &Here, data_dir: &Path) -> Failure {
    let place = Place::new(data_dir);
    let ready = async {
        let remote = remote(here)?;
        let drained = place.record().is_some_and(|record| record.drained);
        let (worker, token) = place.adopt_or_start(&remote, here.url()).await?;
        let worker = joined(&remote, worker, token.as_deref(), &place).await?;
        if drained {
            drain(&remote, false).await?;
        }
        show_ready(screen, here, data_dir, "ebb")?;
        Ok((remote, worker))
    };
    let (remote, mut worker) = match ready.await {
        Ok(ready) => ready,
        Err(failure) => return failure,
    };
    loop {
        worker.ended().await;
        warn!(log = %place.log().display(), "the worker has ended; it is started again");
        tokio::time::sleep(RESTART_PAUSE).await;
        worker = match place.adopt_or_start(&remote, here.url()).await {
            Ok((worker, _)) => worker,
            Err(failure) => return failure,
        };
    }
}

fn remote(here: &Here) -> Result<Remote, Failure> {
    let (url, token) = (here.url().to_owned(), here.token().to_owned());
    Remote::new(&Endpoint { url, token, data_dir: None })
}

/// Drains the worker, or takes that back.
async fn drain(remote: &Remote, drain: bool) -> Result<(), Failure> {
    for node in remote.nodes(false).await? {
        if let (Some(NAME), Ok(id)) = (node.name.as_deref(), node.id.parse()) {
            remote.drain(id, drain).await?;
        }
    }
    Ok(())
}

async fn end(worker: &Place, here: Here) {
    // What a worker that ends gives back must not come to it again.
    let drained = async { drain(&remote(&here)?, true).await };
    match drained.await {
        Ok(()) => worker.note_drained(),
        Err(failure) => warn!(%failure, "the worker is not drained"),
    }
    // The worker first: it tells the manager how its tasks ended.
    worker.end().await;
    here.end(Machines::Leave).await;
}

/// What is known of the worker that was started last.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    process: Process,
    /// Where it looks for its manager.
    manager: String,
    /// Whether it was drained by us, and not by a person, because we ended.
    #[serde(default)]
    drained: bool,
}

/// The worker's folder, and beside it what we know of it.
struct Place {
    worker_dir: PathBuf,
    objects: PathBuf,
}

/// A worker that runs: a child of ours, or of an `ebb up` that was killed.
enum Running {
    Child(Child),
    Adopted(Process),
}

impl Running {
    async fn ended(&mut self) {
        match self {
            Self::Child(child) => {
                if let Err(error) = child.wait().await {
                    warn!(%error, "cannot wait for the worker");
                }
            }
            Self::Adopted(process) => {
                while process.is_alive() {
                    tokio::time::sleep(WATCH).await;
                }
            }
        }
    }
}

impl Place {
    fn new(data_dir: &Path) -> Self {
        Self { worker_dir: data_dir.join("worker"), objects: data_dir.join("objects") }
    }

    fn record_file(&self) -> PathBuf {
        self.worker_dir.with_extension("json")
    }

    fn token_file(&self) -> PathBuf {
        self.worker_dir.with_extension("join-token")
    }

    fn log(&self) -> PathBuf {
        self.worker_dir.with_extension("log")
    }

    fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_file()).ok()?).ok()
    }

    /// The worker that runs already, if it looks for its manager here; a new one otherwise, with
    /// the id of the token by which it joins.
    async fn adopt_or_start(
        &self,
        remote: &Remote,
        url: &str,
    ) -> Result<(Running, Option<String>), Failure> {
        if let Some(record) = self.record().filter(|record| record.process.is_alive()) {
            if record.manager == url {
                info!(pid = record.process.pid, "adopting the worker that runs already");
                return Ok((Running::Adopted(record.process), None));
            }
            // Its spawner and its tasks outlive it, and belong to the next one.
            info!(pid = record.process.pid, "replacing a worker that looks elsewhere");
            record.process.signal(Signal::SIGKILL);
            record.process.ended_within(MOVE_LIMIT).await;
        }
        let request = TokenRequest {
            purpose: TokenPurpose::Join,
            name: "ebb up".to_owned(),
            uses: Some(1),
            valid_ms: None,
        };
        let made = remote.create_token(&request).await?;
        write_private(&self.token_file(), made.token.as_bytes())
            .map_err(|fault| self.cannot("write the join token", &fault))?;
        Ok((Running::Child(self.start(url)?), Some(made.view.id)))
    }

    fn start(&self, url: &str) -> Result<Child, Failure> {
        let program =
            std::env::current_exe().map_err(|fault| self.cannot("find our own program", &fault))?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.log());
        let log = log.map_err(|fault| self.cannot("open the worker's log", &fault))?;
        let child = Command::new(program)
            .args(["worker", "--name", NAME, "--manager", url, "--join-token-file"])
            .arg(self.token_file())
            .arg("--data-dir")
            .arg(&self.worker_dir)
            .arg("--objects")
            .arg(&self.objects)
            .args(["--log-format", "json"])
            .env_remove("EBB_TOKEN")
            .env_remove("EBB_DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A group of its own: a Ctrl-C here is for us, who then end it in order.
            .process_group(0)
            .spawn()
            .map_err(|fault| self.cannot("start the worker", &fault))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        // One that has ended already is seen by whoever waits for it.
        if let Ok(process) = Process::of(pid) {
            let record = Record { process, manager: url.to_owned(), drained: false };
            self.write(&record)
                .map_err(|fault| self.cannot("write the worker's record", &fault))?;
        }
        Ok(child)
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        write_private(&self.record_file(), &serde_json::to_vec(record)?)
    }

    fn note_drained(&self) {
        let Some(record) = self.record() else { return };
        if let Err(error) = self.write(&Record { drained: true, ..record }) {
            warn!(%error, "the next start will not know that it was drained");
        }
    }

    fn cannot(&self, what: &str, fault: &io::Error) -> Failure {
        Failure::local(format!("cannot {what} ({}): {fault}", self.worker_dir.display()))
    }

    /// Ends the worker in order, and what is left of it otherwise.
    async fn end(&self) {
        let Some(record) = self.record() else { return };
        record.process.signal(Signal::SIGTERM);
        if !record.process.ended_within(END_LIMIT).await {
            warn!(pid = record.process.pid, "the worker does not end; it is killed");
            self.kill();
        }
    }

    /// Ends the worker, its spawner and its tasks, at once.
    fn kill(&self) {
        match crate::process::end_all(&self.worker_dir, KILL_LIMIT) {
            Ok(0) => {}
            Ok(left) => warn!(left, "processes of the worker will not end"),
            Err(error) => warn!(%error, "cannot look for the worker's processes"),
        }
    }
}

/// Waits until the worker takes work; tells of its log if it ends instead. A new one has joined
/// when its token is used up: its node may be there from an earlier time.
async fn joined(
    remote: &Remote,
    mut worker: Running,
    token: Option<&str>,
    place: &Place,
) -> Result<Running, Failure> {
    let start = Instant::now();
    loop {
        let nodes = remote.nodes(false).await?;
        let ready = |state: &str| matches!(state, "ready" | "draining");
        let tokens = remote.tokens().await?;
        let unused =
            |view: &TokenView| Some(view.id.as_str()) == token && view.uses_left != Some(0);
        let in_use = !tokens.iter().any(unused);
        if in_use
            && nodes.iter().any(|node| node.name.as_deref() == Some(NAME) && ready(&node.state))
        {
            return Ok(worker);
        }
        let log = place.log();
        let ended = tokio::time::timeout(JOIN_LOOK, worker.ended()).await.is_ok();
        if ended || start.elapsed() > JOIN_LIMIT {
            let what = if ended { "has ended" } else { "does not join" };
            return Err(Failure::local(format!("the worker {what}; it says: {}", last_line(&log)))
                .next(format!("read {}", log.display())));
        }
    }
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().next_back().unwrap_or("nothing").chars().take(500).collect()
}

/// Replaces a file that only we may read.
fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension("new");
    let mut written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    written.write_all(bytes)?;
    fs::rename(temporary, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_private_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::new(folder.path());
        assert!(place.record().is_none());
        let own = i32::try_from(std::process::id()).expect("a pid");
        let process = Process::of(own).expect("we run");
        place.write(&Record { process, manager: "h".into(), drained: false }).expect("written");
        let mode = fs::metadata(place.record_file()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let found = place.record().expect("found");
        assert!(found.process.is_alive() && found.manager == "h" && !found.drained);
        place.note_drained();
        assert!(place.record().is_some_and(|record| record.drained));
    }
}
