//! Processes that outlive us: told from later ones of the same number by their start.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Between two looks at a process that is no child of ours.
const LOOK: Duration = Duration::from_millis(20);

/// A process of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks from boot to its start.
    pub(crate) start_ticks: u64,
    /// Of which boot.
    pub(crate) boot: String,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        match stat(&text) {
            Some((_, start_ticks)) => Ok(Self { pid, start_ticks, boot: boot()? }),
            None => Err(io::Error::other(format!("/proc/{pid}/stat is not understood"))),
        }
    }

    /// Whether it still runs; a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let same = stat(&text)
            .is_some_and(|(state, ticks)| ticks == self.start_ticks && !matches!(state, 'Z' | 'X'));
        same && boot().is_ok_and(|boot| boot == self.boot)
    }

    /// Sends it a signal; that it is gone already is fine.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Waits for its end. False when it still runs after `limit`.
    pub(crate) async fn ended_within(&self, limit: Duration) -> bool {
        let start = Instant::now();
        while self.is_alive() {
            if start.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// State and start of a line of `/proc/PID/stat`: fields 3 and 22 of proc(5). The name before them
/// is in brackets and may hold any byte.
fn stat(text: &str) -> Option<(char, u64)> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// A process that has to do with a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) process: Process,
    /// The market's machine that it belongs to.
    pub(crate) machine: Option<String>,
}

/// The running processes, ours left out, whose words or environment mention a folder: workers,
/// spawners and tasks of the manager whose data is there. This tells them from those of another
/// manager, also when their parents are gone.
pub(crate) fn that_mention(folder: &Path) -> io::Result<Vec<Seen>> {
    let needle = folder.as_os_str().as_bytes();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // One that ends while we look is not there.
        let read = |file| fs::read(Path::new("/proc").join(&name).join(file)).unwrap_or_default();
        let (words, environment) = (read("cmdline"), read("environ"));
        if pid == own || !(mentions(&words, needle) || mentions(&environment, needle)) {
            continue;
        }
        let Ok(process) = Process::of(pid) else { continue };
        if process.is_alive() {
            found.push(Seen { process, machine: machine(&environment) });
        }
    }
    Ok(found)
}

fn mentions(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// The market marks the processes of its machines.
fn machine(environment: &[u8]) -> Option<String> {
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"EBB_MACHINE="))?;
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// Ends all processes that mention a folder, at once; looks again until none is left or `limit` is
/// over, for one may fork while we look. Answers how many are left.
///
/// A process that is just being executed shows neither words nor environment for a moment: only
/// two looks in a row that find none are an end.
pub(crate) fn end_all(folder: &Path, limit: Duration) -> io::Result<usize> {
    let start = Instant::now();
    let mut empty_looks = 0;
    loop {
        let left = that_mention(folder)?;
        for seen in &left {
            seen.process.signal(Signal::SIGKILL);
        }
        empty_looks = if left.is_empty() { empty_looks + 1 } else { 0 };
        if empty_looks == 2 || start.elapsed() > limit {
            return Ok(left.len());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = "42 (a) R (b) S 7 41 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2";
        assert_eq!(stat(line), Some(('S', 987_654)));
        assert_eq!(stat("42 (a) S 7"), None);
    }

    #[test]
    fn we_run_and_a_child_that_ended_does_not() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let mut this = Process::of(own).expect("we run");
        assert!(this.is_alive());
        this.start_ticks += 1;
        assert!(!this.is_alive());
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let ended = Process::of(i32::try_from(child.id()).expect("a pid"));
        child.wait().expect("ended");
        assert!(!ended.is_ok_and(|ended| ended.is_alive()));
    }

    #[test]
    fn processes_of_a_folder_are_found_and_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = std::process::Command::new("cat")
            .env("SOME_FILE", folder.path().join("x"))
            .env("EBB_MACHINE", "i-1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        // What it copies, it copies only once its execution is complete.
        let (mut to, mut from) = (child.stdin.take().expect("a pipe"), child.stdout.take());
        to.write_all(b"x").expect("written");
        from.as_mut().expect("a pipe").read_exact(&mut [0]).expect("copied");
        let seen = that_mention(folder.path()).expect("looked");
        let pid = i32::try_from(child.id()).expect("a pid");
        let found: Vec<_> =
            seen.iter().map(|seen| (seen.process.pid, seen.machine.as_deref())).collect();
        assert_eq!(found, vec![(pid, Some("i-1"))]);
        assert_eq!(that_mention(&folder.path().join("y")).expect("looked"), Vec::new());
        let left = end_all(folder.path(), Duration::from_secs(10)).expect("ended");
        child.wait().expect("ended");
        assert_eq!(left, 0);
    }
}
