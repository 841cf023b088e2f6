//! What `/proc` says of processes. A process of an attempt bears a mark: `EBB_ATTEMPT`, beside
//! `EBB_DEADLINE_FILE` in this node's folder, in the environment that it was started with.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use model::AttemptId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Which start of the machine this is; empty where the kernel does not say.
pub(crate) fn boot_id() -> Arc<str> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) zombie: bool,
    pub(crate) group: u32,
    pub(crate) start_ticks: u64,
}

pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in brackets and may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let zombie = fields.next()? == "Z";
    let group = fields.nth(1)?.parse().ok()?;
    // Field 22 of all; the group was the 5th.
    let start_ticks = fields.nth(16)?.parse().ok()?;
    Some(Stat { zombie, group, start_ticks })
}

/// Whose process that is, if it is one of an attempt in this folder.
pub(crate) fn mark(pid: u32, attempts: &Path) -> Option<AttemptId> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value =
        |key: &[u8]| environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(key));
    let ours = value(b"EBB_DEADLINE_FILE=")
        .and_then(|file| file.strip_prefix(attempts.as_os_str().as_bytes()))
        .is_some_and(|rest| rest.starts_with(b"/"));
    let attempt = std::str::from_utf8(value(b"EBB_ATTEMPT=")?).ok()?;
    ours.then(|| attempt.parse().ok()).flatten()
}

fn all_pids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// All processes of attempts in this folder; each attempt's group leaders first.
pub(crate) fn marked(attempts: &Path) -> BTreeMap<AttemptId, Vec<u32>> {
    let mut found: BTreeMap<AttemptId, Vec<u32>> = BTreeMap::new();
    for pid in all_pids() {
        if let Some(attempt) = mark(pid, attempts) {
            found.entry(attempt).or_default().push(pid);
        }
    }
    for pids in found.values_mut() {
        pids.sort_by_key(|pid| (stat(*pid).is_none_or(|stat| stat.group != *pid), *pid));
    }
    found
}

/// Signals the processes of these attempts, but for members of these groups.
pub(crate) fn signal_marked(
    whose: &BTreeSet<AttemptId>,
    but_groups: &BTreeSet<u32>,
    attempts: &Path,
    signal: Signal,
) {
    for (attempt, pids) in marked(attempts) {
        if !whose.contains(&attempt) {
            continue;
        }
        for pid in pids {
            if stat(pid).is_some_and(|stat| !but_groups.contains(&stat.group)) {
                let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "42 (a) b) S 1 41 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9\n";
        assert_eq!(parse_stat(text), Some(Stat { zombie: false, group: 41, start_ticks: 12345 }));
        let own = stat(std::process::id());
        assert!(own.is_some_and(|stat| !stat.zombie && stat.start_ticks > 0));
    }
}
