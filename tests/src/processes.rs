//! What `/proc` tells of processes.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its words, the program first.
    pub words: Vec<String>,
    /// Clock ticks that it and the children it has waited for have used.
    pub ticks: u64,
}

impl Process {
    /// Sends a signal; that it is gone already is fine.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Whether one of its words is this.
    pub fn has_word(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }
}

/// Reads one process; none when it is gone or a zombie.
pub fn read(pid: i32) -> Option<Process> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The program's name stands in parentheses and may contain anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    if fields.first() == Some(&"Z") || fields.first() == Some(&"X") {
        return None;
    }
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    let words = std::fs::read(folder.join("cmdline")).ok()?;
    let words = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    Some(Process {
        pid,
        parent: i32::try_from(number(1)?).ok()?,
        words,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

/// All processes.
pub fn all() -> Vec<Process> {
    pids().into_iter().filter_map(read).collect()
}

/// Those whose words or environment contain a path.
pub fn that_mention(path: &Path) -> Vec<Process> {
    let needle = path.as_os_str().as_bytes();
    let mentions = |pid: i32, file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    pids()
        .into_iter()
        .filter(|pid| *pid != own && (mentions(*pid, "environ") || mentions(*pid, "cmdline")))
        .filter_map(read)
        .collect()
}

/// A process and all below it.
pub fn tree(root: i32) -> Vec<Process> {
    let all = all();
    let mut within = BTreeSet::from([root]);
    loop {
        let more: Vec<_> = all
            .iter()
            .filter(|process| within.contains(&process.parent) && !within.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        within.extend(more);
    }
    all.into_iter().filter(|process| within.contains(&process.pid)).collect()
}

/// Resident memory in KiB, from `/proc/PID/status`.
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn pids() -> Vec<i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
