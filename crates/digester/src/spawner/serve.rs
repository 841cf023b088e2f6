//! The second thread: does what the digester says.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use model::AttemptId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::launch::{Programs, launch};
use super::protocol::{Event, Launch, Order};
use super::{Running, Shared, SpawnerArgs};
use crate::process;

/// Without a digester, children and exits to keep it ends itself after so long.
const IDLE: Duration = Duration::from_secs(3);
/// How long starts may gather before the digester is told.
const TELL_WITHIN: Duration = Duration::from_millis(2);
/// How often it looks whether it is an orphan.
const LOOK_MS: u16 = 500;

pub(super) fn serve(listener: &UnixListener, shared: &Shared, args: &SpawnerArgs) {
    let mut programs = Programs::default();
    let mut alone = Instant::now();
    loop {
        match next_connection(listener) {
            Ok(Some(connection)) => {
                let told_to_quit = serve_one(&connection, shared, args, &mut programs);
                shared.lock().out = None;
                if matches!(told_to_quit, Ok(true)) {
                    return quit(shared, &args.attempts);
                }
                alone = Instant::now();
            }
            Ok(None) => {
                let state = shared.lock();
                let idle = state.children.is_empty() && state.exits.is_empty();
                drop(state);
                if alone.elapsed() > args.orphan_after || (idle && alone.elapsed() > IDLE) {
                    return quit(shared, &args.attempts);
                }
            }
            Err(_) => return quit(shared, &args.attempts),
        }
    }
}

fn next_connection(listener: &UnixListener) -> io::Result<Option<UnixStream>> {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(LOOK_MS)) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => Ok(None),
        Ok(_) => listener.accept().map(|(connection, _)| Some(connection)),
        Err(error) => Err(error.into()),
    }
}

/// Serves a connection to its end; answers whether that was an order to quit.
fn serve_one(
    connection: &UnixStream,
    shared: &Shared,
    args: &SpawnerArgs,
    programs: &mut Programs,
) -> io::Result<bool> {
    {
        let mut state = shared.lock();
        state.out = Some(connection.try_clone()?);
        let hello = state.hello();
        state.say(&hello);
    }
    let mut lines = BufReader::with_capacity(1 << 16, connection);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        match serde_json::from_slice(&line)? {
            Order::Spawn(launches) => spawn(&launches, shared, programs),
            Order::Signal { attempts, kill } => signal(attempts, kill, shared, &args.attempts),
            Order::Forget(attempts) => shared.lock().exits.forget(&attempts)?,
            Order::Quit => return Ok(true),
        }
    }
}

fn spawn(launches: &[Launch], shared: &Shared, programs: &mut Programs) {
    let (mut spawned, mut refused) = (Vec::new(), Vec::new());
    let mut told = Instant::now();
    for order in launches {
        shared.lock().spawning = true;
        let since = Instant::now();
        let result = launch(order, programs);
        let mut state = shared.lock();
        state.spawning = false;
        state.spawned += 1;
        match result {
            Ok(pid) => {
                let running = Running { attempt: order.attempt, since, signalled: false };
                state.children.insert(pid, running);
                state.pids.insert(order.attempt, pid);
                spawned.push((order.attempt, pid));
            }
            Err(why) => refused.push((order.attempt, why)),
        }
        if told.elapsed() > TELL_WITHIN && !spawned.is_empty() {
            state.say(&Event::Spawned(std::mem::take(&mut spawned)));
            told = Instant::now();
        }
        drop(state);
        shared.changed.notify_all();
    }
    let mut state = shared.lock();
    if !spawned.is_empty() {
        state.say(&Event::Spawned(spawned));
    }
    if !refused.is_empty() {
        state.say(&Event::Refused(refused));
    }
}

/// Signals whole trees: each group, and by their marks those that left it.
fn signal(attempts: Vec<AttemptId>, kill: bool, shared: &Shared, folder: &Path) {
    let signal = if kill { Signal::SIGKILL } else { Signal::SIGTERM };
    let mut groups = BTreeSet::new();
    {
        let mut state = shared.lock();
        for attempt in &attempts {
            let Some(pid) = state.pids.get(attempt).copied() else { continue };
            if let Some(child) = state.children.get_mut(&pid) {
                child.signalled = true;
            }
            let _ = killpg(Pid::from_raw(pid.cast_signed()), signal);
            groups.insert(pid);
        }
    }
    process::signal_marked(&attempts.into_iter().collect(), &groups, folder, signal);
}

fn quit(shared: &Shared, folder: &Path) {
    let attempts: Vec<AttemptId> = {
        let mut state = shared.lock();
        state.quit = true;
        state.pids.keys().copied().collect()
    };
    if !attempts.is_empty() {
        signal(attempts, true, shared, folder);
    }
    shared.changed.notify_all();
}
