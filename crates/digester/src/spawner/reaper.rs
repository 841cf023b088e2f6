//! The first thread: learns of exits.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::{AttemptId, Clamp};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use node::{Exit, ExitStatus};

use super::protocol::Event;
use super::{Shared, State};
use crate::process;

const LOOK: WaitPidFlag = WaitPidFlag::WEXITED.union(WaitPidFlag::WNOWAIT);

/// Exits of one message, at most.
const BATCH: usize = 64;

pub(super) fn reap_until_quit(shared: &Shared, attempts: &Path) -> io::Result<()> {
    let left_behind = File::open("/proc/thread-self/children").ok();
    loop {
        match waitid(Id::All, LOOK) {
            Ok(status) => {
                let mut exited = Vec::new();
                let mut next = Some(status);
                while let Some(status) = next {
                    exited.extend(take(shared, &status, left_behind.as_ref(), attempts)?);
                    if exited.len() == BATCH {
                        break;
                    }
                    next = waitid(Id::All, LOOK | WaitPidFlag::WNOHANG)
                        .ok()
                        .filter(|status| *status != WaitStatus::StillAlive);
                }
                if !exited.is_empty() {
                    shared.lock().say(&Event::Exited(exited));
                }
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => {
                let mut state = shared.lock();
                while state.children.is_empty() && !state.quit {
                    state = shared.wait(state);
                }
                if state.quit && state.children.is_empty() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes one exit: ends the rest of the group while the zombie still owns its number, keeps the
/// exit, ends what left the group, reaps.
fn take(
    shared: &Shared,
    status: &WaitStatus,
    left_behind: Option<&File>,
    attempts: &Path,
) -> io::Result<Option<(AttemptId, Exit)>> {
    let (Some(pid), Some(how)) = (status.pid(), exit_status(status)) else { return Ok(None) };
    let number = pid.as_raw().unsigned_abs();
    let mut state = shared.lock();
    // The other thread may have made it and not said so yet.
    let spawned = state.spawned;
    while !state.children.contains_key(&number) && state.spawning && state.spawned == spawned {
        state = shared.wait(state);
    }
    let exit = settle(&mut state, number, how)?;
    drop(state);
    let others = sweep(shared, left_behind, attempts);
    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    let Some((attempt, mut exit)) = exit else { return Ok(None) };
    // The group's number is free only if it has no members.
    exit.alone = others == 0 && killpg(pid, None) == Err(Errno::ESRCH);
    Ok(Some((attempt, exit)))
}

fn settle(
    state: &mut State,
    pid: u32,
    status: ExitStatus,
) -> io::Result<Option<(AttemptId, Exit)>> {
    let Some(child) = state.children.remove(&pid) else { return Ok(None) };
    state.pids.remove(&child.attempt);
    let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    let run_ms = child.since.elapsed().as_millis().clamped();
    let exit = Exit { status, run_ms, signalled: child.signalled, alone: false };
    state.exits.keep(child.attempt, exit)?;
    Ok(Some((child.attempt, exit)))
}

pub(crate) fn exit_status(status: &WaitStatus) -> Option<ExitStatus> {
    match status {
        WaitStatus::Exited(_, code) => Some(ExitStatus::Code(*code)),
        WaitStatus::Signaled(_, signal, _) => Some(ExitStatus::Signal(*signal as i32)),
        _ => None,
    }
}

/// Ends what attempts that are over left behind outside their groups. Such processes are our
/// children by now, so that no other process can have their numbers. Answers how many there are of
/// anybody.
fn sweep(shared: &Shared, left_behind: Option<&File>, attempts: &Path) -> usize {
    let mut buffer = [0; 4096];
    let read = left_behind.map(|file| file.read_at(&mut buffer, 0));
    // Without the list (a kernel without it), nobody can say that there are none.
    let Some(Ok(count)) = read else { return usize::MAX };
    let text = String::from_utf8_lossy(&buffer[..count]);
    let mut found = 0;
    for pid in text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
        found += 1;
        let over = process::mark(pid, attempts)
            .is_some_and(|attempt| !shared.lock().pids.contains_key(&attempt));
        if over {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
    found
}
