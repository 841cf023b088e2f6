//! What the machine itself can do: the bounds of every other figure.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::progress;
use crate::report::{Machine, Spread};

const SYNCS: u64 = 300;
const SPAWNS: u64 = 6_000;
/// Children in flight: more than cores, so that none is idle; more than that gains nothing.
const IN_FLIGHT: usize = 4;

pub(crate) fn measure() -> Machine {
    progress("the disk and the bare spawn rate");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let (spawns, cpu) = spawn_rate();
    Machine {
        cores,
        fdatasync_8kib: sync_time(),
        bare_spawns_per_s: spawns,
        bare_spawn_cpu_us: cpu,
        load_milli: load.split(' ').next().map_or(0, thousandths),
    }
}

fn thousandths(decimal: &str) -> u64 {
    let (whole, places) = decimal.split_once('.').unwrap_or((decimal, ""));
    format!("{whole}{places:0<3.3}").parse().unwrap_or(0)
}

/// 8 KiB, written and synced: a page of a write-ahead log.
fn sync_time() -> Spread {
    let folder = tempfile::tempdir().expect("a folder");
    let file = File::create(folder.path().join("sync")).expect("a file");
    let page = [0x5a_u8; 8 * 1024];
    let mut samples = Vec::new();
    for number in 0..SYNCS {
        let start = Instant::now();
        file.write_all_at(&page, number * 8 * 1024).expect("written");
        file.sync_data().expect("synced");
        samples.push(micros(start.elapsed()));
    }
    Spread::of(samples)
}

/// A second, and the CPU-microseconds of each.
fn spawn_rate() -> (u64, u64) {
    let start = Instant::now();
    let before = own_cpu_us();
    let mut running: VecDeque<Child> = VecDeque::new();
    for _ in 0..SPAWNS {
        if running.len() == IN_FLIGHT
            && let Some(mut oldest) = running.pop_front()
        {
            oldest.wait().expect("a child");
        }
        running.push_back(Command::new("/bin/true").spawn().expect("`true` starts"));
    }
    for mut child in running {
        child.wait().expect("a child");
    }
    let cpu = own_cpu_us() - before;
    (per_second(SPAWNS, start.elapsed()), cpu / SPAWNS)
}

fn own_cpu_us() -> u64 {
    let of = |who| {
        let usage = getrusage(who).expect("our own usage");
        let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        u64::try_from(us).unwrap_or(0)
    };
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn per_second(count: u64, duration: Duration) -> u64 {
    count * 1_000_000 / micros(duration).max(1)
}
