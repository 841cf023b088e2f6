//! The tormentor: at random moments `kill -9` and SIGSTOP, of managers, digesters and spawners.

use std::collections::BTreeMap;
use std::time::Duration;

use api::history::{Record, Struck};
use nix::sys::signal::Signal;
use system_tests::{Dice, processes};
use tokio::time::{Instant, sleep};

use super::Log;
use super::cluster::{Cluster, STATICS};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(50);
/// From one strike to the next, in milliseconds.
const GAP_MS: (u64, u64) = (300, 3_500);
const MANAGERS: usize = 2;

/// What is to be undone later.
#[derive(Debug, Clone, Copy)]
enum Due {
    Manager(usize),
    Worker(usize),
    Continue(i32),
}

pub(crate) struct Tormentor {
    dice: Dice,
    log: Log,
    due: Vec<(Instant, Due)>,
    counts: BTreeMap<&'static str, u64>,
}

impl Tormentor {
    pub(crate) fn new(dice: &Dice, log: &Log) -> Self {
        Self { dice: dice.fork(2), log: log.clone(), due: Vec::new(), counts: BTreeMap::new() }
    }

    /// Strikes and mends for so long.
    pub(crate) async fn rage(&mut self, cluster: &mut Cluster, length: Duration) {
        let end = Instant::now() + length;
        let mut next = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            self.mend(cluster, Instant::now()).await;
            if Instant::now() >= next {
                self.strike(cluster);
                next = Instant::now() + self.between(GAP_MS.0, GAP_MS.1);
            }
            sleep(LOOK).await;
        }
    }

    /// Undoes all that is undone only later, and calms the network.
    pub(crate) async fn heal(&mut self, cluster: &mut Cluster) {
        cluster.calm();
        let later = Instant::now() + Duration::from_secs(3_600);
        self.mend(cluster, later).await;
    }

    /// How often what was done.
    pub(crate) fn told(&self) -> String {
        let parts: Vec<_> =
            self.counts.iter().map(|(what, times)| format!("{times} x {what}")).collect();
        parts.join(", ")
    }

    async fn mend(&mut self, cluster: &mut Cluster, now: Instant) {
        for at in cluster.ended_workers() {
            self.count("static worker that ended by itself", &STATICS[at]);
            self.due.push((now + Duration::from_secs(1), Due::Worker(at)));
        }
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|it| it.0 <= now);
        self.due = later;
        let due: Vec<(Instant, Due)> = due;
        // Who is stopped goes on first: a manager that starts may wait for it.
        for (_, due) in &due {
            if let Due::Continue(pid) = due {
                signal(*pid, Signal::SIGCONT);
            }
        }
        for (_, due) in due {
            match due {
                Due::Manager(at) => cluster.start_manager(at).await,
                Due::Worker(at) => cluster.start_worker(at),
                Due::Continue(_) => {}
            }
        }
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        match self.dice.between(0, 100) {
            0..14 => self.kill_manager(cluster),
            14..28 => self.stop_manager(cluster),
            28..44 => self.kill_static(cluster),
            44..54 => self.one_of(cluster, "worker", true, "kill -9 of a machine's digester", None),
            54..62 => self.stop("worker", true, "SIGSTOP of a machine's digester", cluster),
            62..72 => self.stop("worker", false, "SIGSTOP of a static digester", cluster),
            72..80 => self.one_of(cluster, "spawner", false, "kill -9 of a static spawner", None),
            80..88 => self.one_of(cluster, "spawner", true, "kill -9 of a machine's spawner", None),
            88..94 => self.stop("spawner", false, "SIGSTOP of a static spawner", cluster),
            _ => self.stop("spawner", true, "SIGSTOP of a machine's spawner", cluster),
        }
    }

    fn kill_manager(&mut self, cluster: &mut Cluster) {
        let at = usize::from(self.dice.per_mille(500)) % MANAGERS;
        let pid = cluster.manager_pid(at);
        if cluster.kill_manager(at) {
            self.due.retain(|(_, due)| !matches!(due, Due::Continue(it) if Some(*it) == pid));
            let back = Instant::now() + self.between(500, 12_000);
            self.due.push((back, Due::Manager(at)));
            self.count("kill -9 of a manager", &at);
        }
    }

    fn stop_manager(&mut self, cluster: &Cluster) {
        let at = usize::from(self.dice.per_mille(500)) % MANAGERS;
        if let Some(pid) = cluster.manager_pid(at) {
            // Some longer than the lease of ten seconds, most not.
            let length = self.between(500, 16_000);
            self.pause(pid, length, "SIGSTOP of a manager");
        }
    }

    fn kill_static(&mut self, cluster: &mut Cluster) {
        let at = usize::from(self.dice.per_mille(500)) % STATICS.len();
        if cluster.kill_worker(at) {
            let back = Instant::now() + self.between(200, 6_000);
            self.due.push((back, Due::Worker(at)));
            self.count("kill -9 of a static digester", &at);
        }
    }

    fn stop(&mut self, word: &str, machine: bool, what: &'static str, cluster: &Cluster) {
        let length = self.between(300, 9_000);
        self.one_of(cluster, word, machine, what, Some(length));
    }

    /// Kills one of such processes, or stops it for a while.
    fn one_of(
        &mut self,
        cluster: &Cluster,
        word: &str,
        machine: bool,
        what: &'static str,
        stop: Option<Duration>,
    ) {
        let found = cluster.that_are(word, machine);
        let Some(pid) = self.dice.pick(&found).copied() else { return };
        if let Some(length) = stop {
            self.pause(pid, length, what);
        } else {
            signal(pid, Signal::SIGKILL);
            self.count(what, &pid);
        }
    }

    fn pause(&mut self, pid: i32, length: Duration, what: &'static str) {
        if self.due.iter().any(|(_, due)| matches!(due, Due::Continue(it) if *it == pid)) {
            return;
        }
        signal(pid, Signal::SIGSTOP);
        self.due.push((Instant::now() + length, Due::Continue(pid)));
        self.count(what, &format!("{pid} for {} ms", length.as_millis()));
    }

    fn count(&mut self, what: &'static str, whom: &dyn std::fmt::Display) {
        *self.counts.entry(what).or_default() += 1;
        let what = format!("{what}: {whom}");
        self.log.note(Record::Struck(Struck { at_ms: self.log.at_ms(), what }));
    }

    fn between(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.dice.between(low_ms, high_ms))
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(process) = processes::read(pid) {
        process.signal(signal);
    }
}
