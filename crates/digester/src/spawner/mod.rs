//! The spawner: the parent of all process tasks of a node, a small service in a process group of
//! its own, so that tasks and their exit codes survive the digester.
//!
//! Two threads and no runtime. The first reaps: it learns of an exit (without taking it), ends
//! what is left of the process group, keeps the exit in a file, and only then takes it, so that a
//! `kill -9` at any point leaves the code with somebody. The second serves one connection at a
//! time: it starts and signals. All children are the second thread's, so that the kernel's list
//! of the *first* thread's children holds just those that tasks left behind and that came to us
//! as their subreaper; one `pread` tells that there are none.
//!
//! A pid means a process only until it is reaped, and `pid_max` may be passed within seconds of
//! short tasks: signals are sent under the lock and only to children that have not been reaped.

mod exits;
mod launch;
pub(crate) mod protocol;
mod reaper;
mod serve;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{AttemptId, Clamp};

use exits::Exits;
use protocol::{Child, Event};

/// What `ebb spawner` is told.
#[derive(Debug, Clone)]
pub struct SpawnerArgs {
    /// Where it listens.
    pub socket: PathBuf,
    /// Where it keeps exits. One spawner a folder.
    pub dir: PathBuf,
    /// The folder of the attempts: processes that bear an attempt's mark count as a task's only
    /// if the mark points in here.
    pub attempts: PathBuf,
    /// Without a digester for so long, it ends the tasks and itself.
    pub orphan_after: Duration,
}

/// Runs a spawner until it is told to quit, or has nothing to do and nobody to serve.
pub fn spawner_main(args: &SpawnerArgs) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Its log: a file in the digester's data folder.
            #[expect(clippy::print_stderr, reason = "standard error is the spawner's log")]
            {
                eprintln!("spawner: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &SpawnerArgs) -> io::Result<()> {
    std::fs::create_dir_all(&args.dir)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let listener = listen(args)?;
    let shared = Arc::new(Shared::new(Exits::open(&args.dir)?));
    let (server, served) = (Arc::clone(&shared), args.clone());
    std::thread::Builder::new().name("serve".into()).spawn(move || {
        serve::serve(&listener, &server, &served);
    })?;
    reaper::reap_until_quit(&shared, &args.attempts)
}

fn listen(args: &SpawnerArgs) -> io::Result<UnixListener> {
    match std::fs::remove_file(&args.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Complete before it can be found: a digester that connects is served.
    let hidden = args.socket.with_extension("new");
    match std::fs::remove_file(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(crate::runtime::within_limit(&hidden)?.path())?;
    std::fs::rename(&hidden, &args.socket)?;
    Ok(listener)
}

/// What both threads know.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    children: BTreeMap<u32, Running>,
    pids: BTreeMap<AttemptId, u32>,
    exits: Exits,
    /// To the digester that is connected.
    out: Option<UnixStream>,
    /// Whether a child is being made that is not in `children` yet.
    spawning: bool,
    /// How many have been made.
    spawned: u64,
    quit: bool,
}

struct Running {
    attempt: AttemptId,
    since: Instant,
    signalled: bool,
}

impl Shared {
    fn new(exits: Exits) -> Self {
        let state = State {
            children: BTreeMap::new(),
            pids: BTreeMap::new(),
            exits,
            out: None,
            spawning: false,
            spawned: 0,
            quit: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says something to the digester, if there is one; it learns all that matters from the hello
    /// otherwise.
    fn say(&mut self, event: &Event) {
        if let Some(out) = &mut self.out
            && protocol::write(out, event).is_err()
        {
            self.out = None;
        }
    }

    fn hello(&self) -> Event {
        let running = self.children.iter().map(|(pid, child)| Child {
            attempt: child.attempt,
            pid: *pid,
            age_ms: child.since.elapsed().as_millis().clamped(),
        });
        Event::Hello {
            pid: std::process::id(),
            running: running.collect(),
            exited: self.exits.kept().collect(),
        }
    }
}
