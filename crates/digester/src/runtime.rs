//! The digester's side of the spawner: finds it or starts it, talks to it, and takes its place as
//! the parent when it is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use model::Clamp;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use node::ExitStatus;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::files::Files;
use crate::service::Event;
use crate::spawner::protocol::{self, Event as Said, Order};

/// For a spawner to listen after it was started, or to say hello.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
/// A hello with the exits of a long absence is large, and still no flood.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// A connection to a spawner.
pub(crate) struct Runtime {
    orders: UnboundedSender<Vec<u8>>,
    pid: u32,
    /// If it is our child.
    child: Option<std::process::Child>,
}

/// What a new connection is told.
pub(crate) struct Hello {
    pub(crate) running: Vec<protocol::Child>,
    pub(crate) exited: Vec<(model::AttemptId, node::Exit)>,
}

/// What it takes to start a spawner.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) command: Vec<String>,
    pub(crate) files: Files,
    pub(crate) orphan_after: Duration,
}

impl Runtime {
    /// Connects to the spawner that is there, or starts one.
    pub(crate) async fn connect(
        recipe: &Recipe,
        generation: u64,
        events: &UnboundedSender<Event>,
    ) -> io::Result<(Self, Hello)> {
        let mut child = None;
        let found = tokio::time::timeout(PATIENCE, greet(&recipe.files.socket())).await;
        let ((read, write), hello) = match found {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(_)) => {
                child = Some(start(recipe)?);
                tokio::time::timeout(PATIENCE, greet_patiently(&recipe.files.socket(), &mut child))
                    .await??
            }
            // It listens and says nothing: stopped, perhaps. It may come back; another one in
            // its place would run its tasks twice.
            Err(_) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the spawner says nothing"));
            }
        };
        let Said::Hello { pid, running, exited } = hello else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the spawner said no hello"));
        };
        let (orders, queue) = unbounded_channel();
        tokio::spawn(speak(write, queue));
        tokio::spawn(listen(read, generation, events.clone()));
        Ok((Self { orders, pid, child }, Hello { running, exited }))
    }

    /// No spawner: orders go nowhere.
    pub(crate) fn nowhere() -> Self {
        Self { orders: unbounded_channel().0, pid: 0, child: None }
    }

    pub(crate) fn order(&self, order: &Order) {
        match protocol::line(order) {
            // A spawner that is gone is an event of its own.
            Ok(line) => drop(self.orders.send(line)),
            Err(error) => tracing::error!(%error, "an order cannot be written"),
        }
    }

    /// After its connection closed: waits until it is gone and its children have their next
    /// parent.
    pub(crate) async fn wait_until_gone(mut self) {
        for _ in 0..400 {
            let gone = match &mut self.child {
                Some(child) => !matches!(child.try_wait(), Ok(None)),
                None => crate::process::stat(self.pid).is_none_or(|stat| stat.zombie),
            };
            if gone {
                return;
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        tracing::warn!(pid = self.pid, "the spawner closed its connection and is still there");
    }

    /// Ends the spawner, and with it what still runs.
    pub(crate) async fn quit(self) {
        self.order(&Order::Quit);
        self.wait_until_gone().await;
    }
}

fn start(recipe: &Recipe) -> io::Result<std::process::Child> {
    let (program, arguments) = recipe
        .command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no spawner is configured"))?;
    let files = &recipe.files;
    let mut log = std::fs::OpenOptions::new();
    let log = log.create(true).append(true).open(files.spawner().join("log"))?;
    Command::new(program)
        .args(arguments)
        .arg("--socket")
        .arg(files.socket())
        .arg("--dir")
        .arg(files.spawner())
        .arg("--attempts")
        .arg(files.attempts())
        .arg("--orphan-after-ms")
        .arg(recipe.orphan_after.as_millis().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// The way in keeps its buffer: what the spawner says right behind its hello is in there.
type Ways = (BufReader<OwnedReadHalf>, OwnedWriteHalf);
type Greeted = (Ways, Said);

async fn greet(socket: &Path) -> io::Result<Greeted> {
    let (read, write) = UnixStream::connect(within_limit(socket)?.path()).await?.into_split();
    let mut read = BufReader::with_capacity(1 << 16, read);
    let mut line = Vec::new();
    (&mut read).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(((read, write), serde_json::from_slice(&line)?))
}

async fn greet_patiently(
    socket: &Path,
    child: &mut Option<std::process::Child>,
) -> io::Result<Greeted> {
    loop {
        if let Ok(greeted) = greet(socket).await {
            return Ok(greeted);
        }
        if let Some(child) = child
            && let Some(status) = child.try_wait()?
        {
            return Err(io::Error::other(format!("the spawner ended at once: {status}")));
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

/// A path by which a socket can be named: the kernel takes at most 107 bytes.
pub(crate) struct SocketPath {
    path: PathBuf,
    _folder: Option<std::fs::File>,
}

impl SocketPath {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

pub(crate) fn within_limit(socket: &Path) -> io::Result<SocketPath> {
    use std::os::fd::AsRawFd;
    const MOST_BYTES: usize = 100;
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if socket.as_os_str().len() <= MOST_BYTES {
        return Ok(SocketPath { path: socket.to_owned(), _folder: None });
    }
    let folder = std::fs::File::open(folder)?;
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok(SocketPath { path, _folder: Some(folder) })
}

async fn speak(mut to: OwnedWriteHalf, mut queue: UnboundedReceiver<Vec<u8>>) {
    while let Some(mut bytes) = queue.recv().await {
        while let Ok(more) = queue.try_recv() {
            bytes.extend_from_slice(&more);
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn listen<R: tokio::io::AsyncRead + Unpin>(
    mut from: BufReader<R>,
    generation: u64,
    events: UnboundedSender<Event>,
) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(said) => drop(events.send(Event::Spawner(generation, said))),
            Err(error) => {
                tracing::error!(%error, "the spawner is not understood");
                break;
            }
        }
    }
    drop(events.send(Event::SpawnerGone(generation)));
}

/// What is known of a process that may be our child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ward {
    /// It is, and runs.
    Runs,
    /// It was, and ended so.
    Ended(ExitStatus),
    /// It is not.
    Stranger,
}

/// Looks at a child without taking its exit.
pub(crate) fn look(pid: u32) -> Ward {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    match waitid(Id::Pid(Pid::from_raw(pid.cast_signed())), flags) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ward::Runs,
        Ok(WaitStatus::Exited(_, code)) => Ward::Ended(ExitStatus::Code(code)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Ward::Ended(ExitStatus::Signal(signal as i32)),
        Ok(_) | Err(_) => Ward::Stranger,
    }
}

/// Takes the exit of a child that has ended.
pub(crate) fn reap(pid: u32) {
    let _ = waitpid(Pid::from_raw(pid.cast_signed()), Some(WaitPidFlag::WNOHANG));
}

/// The 1-minute load of the machine, in thousandths.
pub(crate) fn load_milli() -> u32 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_ascii_whitespace().next().unwrap_or("0");
    let (whole, hundredths) = first.split_once('.').unwrap_or((first, "0"));
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    (number(whole) * 1000 + number(hundredths) * 10).clamped()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use model::{JobId, TaskId};
    use node::Exit;

    use super::*;

    #[tokio::test]
    async fn an_exit_right_behind_the_hello_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let listener = UnixListener::bind(files.socket()).unwrap();
        let attempt = TaskId { job: JobId::from_number(1), group: 0, index: 0 }.attempt(1);
        let child = protocol::Child { attempt, pid: 1, age_ms: 0 };
        let hello = Said::Hello { pid: 1, running: vec![child], exited: vec![] };
        let exit = Exit { status: ExitStatus::Code(0), run_ms: 1, signalled: false, alone: true };
        // Both in one piece, as when a task ends while a new digester is greeted.
        let mut said = protocol::line(&hello).unwrap();
        said.extend(protocol::line(&Said::Exited(vec![(attempt, exit)])).unwrap());
        let spawner = std::thread::spawn(move || {
            let (mut digester, _) = listener.accept().unwrap();
            digester.write_all(&said).unwrap();
            digester
        });
        let recipe = Recipe { command: vec![], files, orphan_after: PATIENCE };
        let (events, mut heard) = unbounded_channel();
        let (runtime, hello) = Runtime::connect(&recipe, 0, &events).await.unwrap();
        assert_eq!(hello.running.len(), 1);
        let heard = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap();
        let Some(Event::Spawner(0, Said::Exited(exits))) = heard else { panic!("not the exit") };
        assert_eq!(exits, [(attempt, exit)]);
        drop((runtime, spawner.join().unwrap()));
    }
}
