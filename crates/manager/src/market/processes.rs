//! What a hypervisor sees: the processes of machines, found by their environment in `/proc`.
//!
//! Each process of a machine has `EBB_MACHINE=<instance>` in its environment, for the worker has
//! got it from the market and passes it on. Tasks lead process groups of their own and may be
//! re-parented, so that neither group nor parent would find them all; one that clears its
//! environment is found as a child or group member of one that did not. One that does both, and
//! starts a session of its own, escapes: only a cgroup would hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, process, thread};

use model::InstanceId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The variable that marks a machine's processes.
pub(super) const MACHINE: &str = "EBB_MACHINE";
/// The variable that marks a task's processes.
const TASK: &str = "EBB_TASK_ID";

/// Milliseconds of a tick of `/proc/PID/stat`: user space is told of 100 a second, always.
const TICK_MS: u64 = 10;
/// SIGKILL takes effect when a process leaves the kernel: disk writes on a slow disk take seconds.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A process, told from later ones of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: i32,
    /// When it was started, in ticks since boot.
    pub(super) start_ticks: u64,
    /// Of which boot.
    pub(super) boot: String,
}

impl Process {
    /// The process that has this number now.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { pid, start_ticks: Stat::read(pid)?.start_ticks, boot })
    }

    /// Whether it still runs; one that waits only for its parent to take its exit code does not.
    pub(super) fn is_alive(&self) -> bool {
        let same_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .is_ok_and(|boot| boot.trim() == self.boot);
        let stat = Stat::read(self.pid);
        same_boot && stat.is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        if self.is_alive() {
            // It may have ended in between: then there is nothing left to ask for.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGTERM);
        }
    }
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy)]
struct Stat {
    pid: i32,
    state: u8,
    parent: i32,
    group: i32,
    session: i32,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(pid, &text).ok_or_else(|| io::Error::other("unreadable /proc/PID/stat"))
    }

    fn parse(pid: i32, text: &[u8]) -> Option<Self> {
        // The command's name comes in brackets and may hold any byte, brackets too.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // The state is field 3 of proc(5), the session 6, the start time 22.
        let start_ticks = fields.nth(15)?.parse().ok()?;
        Some(Self { pid, state, parent, group, session, start_ticks })
    }

    fn may_be_ended(&self) -> bool {
        u32::try_from(self.pid).is_ok_and(|pid| pid > 1 && pid != process::id())
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// A process with what its environment says.
struct Seen {
    stat: Stat,
    machine: Option<InstanceId>,
    task: bool,
}

/// All processes of this host that run.
fn scan() -> io::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // One that ends while we look is not there.
        let Ok(stat) = Stat::read(pid) else { continue };
        if stat.is_dead() {
            continue;
        }
        let environment = fs::read(Path::new("/proc").join(&name).join("environ"));
        let (machine, task) = marks(&environment.unwrap_or_default());
        seen.push(Seen { stat, machine, task });
    }
    Ok(seen)
}

/// Machine and whether it is a task's, from an environment.
fn marks(environment: &[u8]) -> (Option<InstanceId>, bool) {
    let mut machine = None;
    let mut task = false;
    for variable in environment.split(|byte| *byte == 0) {
        let Some(at) = variable.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = variable.split_at(at);
        if name == MACHINE.as_bytes() {
            machine = std::str::from_utf8(&value[1..]).ok().map(InstanceId::new);
        } else if name == TASK.as_bytes() {
            task = true;
        }
    }
    (machine, task)
}

/// Which machines have processes of tasks, with the age of the oldest in milliseconds.
pub(super) fn busy() -> io::Result<BTreeMap<InstanceId, u64>> {
    let uptime_ms = uptime_ms()?;
    let mut oldest = BTreeMap::new();
    for seen in scan()?.into_iter().filter(|seen| seen.task) {
        let Some(machine) = seen.machine else { continue };
        let age_ms = uptime_ms.saturating_sub(seen.stat.start_ticks.saturating_mul(TICK_MS));
        let known = oldest.entry(machine).or_insert(0);
        *known = age_ms.max(*known);
    }
    Ok(oldest)
}

fn uptime_ms() -> io::Result<u64> {
    // "3599.31 7000.00": seconds with two places.
    let text = fs::read_to_string("/proc/uptime")?;
    let hundredths = text.split_ascii_whitespace().next().map(|first| first.replace('.', ""));
    let ticks: Option<u64> = hundredths.and_then(|digits| digits.parse().ok());
    ticks.map(|ticks| ticks * TICK_MS).ok_or_else(|| io::Error::other("unreadable /proc/uptime"))
}

/// A machine's oldest process that is no task's: its worker, for all others come from it.
pub(super) fn oldest(machine: &InstanceId) -> io::Result<Option<i32>> {
    let belongs = |seen: &Seen| !seen.task && seen.machine.as_ref() == Some(machine);
    let own = scan()?.into_iter().filter(belongs);
    Ok(own.min_by_key(|seen| (seen.stat.start_ticks, seen.stat.pid)).map(|seen| seen.stat.pid))
}

/// Ends all processes of machines, and answers how many there were. Looks again until none is
/// left: one may fork while we look.
pub(super) fn end(machines: &BTreeSet<InstanceId>) -> io::Result<usize> {
    let begun = Instant::now();
    let mut ended = BTreeSet::new();
    let mut known = BTreeSet::new();
    loop {
        let left = of(machines, &scan()?, &mut known);
        for stat in &left {
            // Gone already is what we want.
            let _ = kill(Pid::from_raw(stat.pid), Signal::SIGKILL);
            ended.insert((stat.pid, stat.start_ticks));
        }
        if left.is_empty() {
            return Ok(ended.len());
        }
        while left.iter().any(still_runs) {
            if begun.elapsed() > KILL_LIMIT {
                return Err(io::Error::other(format!("{} processes will not end", left.len())));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How many processes machines have.
#[cfg(test)]
pub(super) fn count(machines: &BTreeSet<InstanceId>) -> io::Result<usize> {
    Ok(of(machines, &scan()?, &mut BTreeSet::new()).len())
}

fn still_runs(stat: &Stat) -> bool {
    Stat::read(stat.pid).is_ok_and(|now| now.start_ticks == stat.start_ticks && !now.is_dead())
}

/// The processes of machines: those that say so, and whom they brought forth. `known` are the
/// numbers and groups of those found before, for one that was just ended may have had a child that
/// nobody had seen: it is in the group still.
fn of(machines: &BTreeSet<InstanceId>, all: &[Seen], known: &mut BTreeSet<i32>) -> Vec<Stat> {
    let says_so = |seen: &Seen| seen.machine.as_ref().is_some_and(|name| machines.contains(name));
    // Never the market itself, whatever its environment says, nor init.
    let mut others: Vec<&Seen> = all.iter().filter(|seen| seen.stat.may_be_ended()).collect();
    let mut own = Vec::new();
    loop {
        let belongs = |seen: &&Seen| {
            let stat = &seen.stat;
            let ties = [stat.parent, stat.group, stat.session];
            says_so(seen) || ties.iter().any(|pid| known.contains(pid))
        };
        let (found, rest): (Vec<&Seen>, Vec<&Seen>) = others.into_iter().partition(belongs);
        others = rest;
        if found.is_empty() {
            return own;
        }
        // A worker leads a group from the start, so that none of its groups is a stranger's. Its
        // session is the manager's.
        known.extend(found.iter().flat_map(|seen| [seen.stat.pid, seen.stat.group]));
        own.extend(found.iter().map(|seen| seen.stat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = b"42 (a) R (b) S 7 41 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2";
        let stat = Stat::parse(42, line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.group, stat.session), (b'S', 7, 41, 40));
        assert_eq!(stat.start_ticks, 987_654);
        assert!(Stat::parse(42, b"42 (a) S 7").is_none());
    }

    #[test]
    fn marks_are_whole_names() {
        let of = |text: &str| marks(text.replace('|', "\0").as_bytes());
        assert_eq!(of("A=1|EBB_MACHINE=i-1|EBB_TASK_ID=t"), (Some(InstanceId::new("i-1")), true));
        assert_eq!(of("XEBB_MACHINE=i-1|EBB_TASK_IDS=t|EBB_TASK_ID"), (None, false));
        assert_eq!(of(""), (None, false));
    }

    fn seen(pid: i32, parent: i32, group: i32, session: i32, machine: Option<&str>) -> Seen {
        Seen {
            stat: Stat { pid, state: b'S', parent, group, session, start_ticks: 1 },
            machine: machine.map(InstanceId::new),
            task: false,
        }
    }

    fn pids_of(machine: &str, all: &[Seen], known: &mut BTreeSet<i32>) -> Vec<i32> {
        let machines = BTreeSet::from([InstanceId::new(machine)]);
        let mut pids: Vec<i32> = of(&machines, all, known).iter().map(|stat| stat.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn descendants_and_members_of_groups_belong_to_the_machine() {
        let all = [
            seen(10, 7, 10, 5, Some("i-1")),
            seen(11, 10, 11, 5, None),
            seen(12, 11, 12, 12, None),
            seen(13, 1, 12, 12, None),
            seen(20, 7, 20, 5, Some("i-2")),
            seen(21, 20, 21, 5, None),
            seen(5, 1, 5, 5, None),
            seen(7, 5, 7, 5, None),
        ];
        assert_eq!(pids_of("i-1", &all, &mut BTreeSet::new()), [10, 11, 12, 13]);
    }

    #[test]
    fn a_child_born_while_its_parent_was_ended_is_found_by_its_group() {
        let mut known = BTreeSet::new();
        let first = [seen(10, 7, 10, 5, Some("i-1")), seen(11, 1, 11, 11, Some("i-1"))];
        assert_eq!(pids_of("i-1", &first, &mut known), [10, 11]);
        let second = [seen(12, 1, 11, 11, None), seen(13, 1, 13, 5, None)];
        assert_eq!(pids_of("i-1", &second, &mut known), [12]);
    }

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let own = i32::try_from(process::id()).unwrap();
        let mut this = Process::of(own).unwrap();
        assert!(this.is_alive());
        this.start_ticks += 1;
        assert!(!this.is_alive());
    }
}
