//! The boot diff: what a new digester, or one with a new spawner, makes of what it finds
//! (DESIGN §5, "Boot").

use std::collections::{BTreeMap, BTreeSet};

use model::AttemptId;

use crate::{Exit, Stage};

/// What is there: three views of the same attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The spool's attempts that have not been acknowledged.
    pub spool: BTreeMap<AttemptId, Stage>,
    /// Processes that the spawner is the parent of, by pid.
    pub running: BTreeMap<AttemptId, u32>,
    /// Exits that the spawner holds.
    pub exited: BTreeMap<AttemptId, Exit>,
    /// Processes that bear an attempt's mark and that the spawner does not hold.
    pub live: BTreeMap<AttemptId, Live>,
}

/// A process of an attempt without the spawner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// All pids that bear the mark; the attempt's own process first.
    pub pids: Vec<u32>,
    /// Whether we are the parent of the first, and so will learn its exit code: the spawner died
    /// and its children came to us.
    pub ours: bool,
}

/// What to do about one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It runs under the spawner: take it over.
    Adopt {
        /// The attempt.
        attempt: AttemptId,
        /// Its process.
        pid: u32,
        /// Whether its start has yet to be recorded.
        started: bool,
    },
    /// It runs as our own child: wait for it.
    Foster {
        /// The attempt.
        attempt: AttemptId,
        /// Its process.
        pid: u32,
        /// Whether its start has yet to be recorded.
        started: bool,
    },
    /// It has ended, with a code that somebody kept.
    Report {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        exit: Exit,
    },
    /// It had started, and nobody will ever know its code: end what is left of it, report it.
    Vanished {
        /// The attempt.
        attempt: AttemptId,
        /// What is left of it.
        pids: Vec<u32>,
    },
    /// It has not started: it waits on.
    Run {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The spool knows nothing of it, or knows its end: stop it and forget it.
    Drop {
        /// The attempt.
        attempt: AttemptId,
        /// What is left of it outside the spawner.
        pids: Vec<u32>,
    },
}

impl Step {
    /// The attempt.
    pub fn attempt(&self) -> AttemptId {
        match self {
            Self::Adopt { attempt, .. }
            | Self::Foster { attempt, .. }
            | Self::Report { attempt, .. }
            | Self::Vanished { attempt, .. }
            | Self::Run { attempt }
            | Self::Drop { attempt, .. } => *attempt,
        }
    }
}

/// One step for each attempt that anything knows of; none for those whose end is spooled and of
/// which nothing is left.
pub fn diff(found: &Found) -> Vec<Step> {
    let attempts: BTreeSet<AttemptId> = found
        .spool
        .keys()
        .chain(found.running.keys())
        .chain(found.exited.keys())
        .chain(found.live.keys())
        .copied()
        .collect();
    attempts.into_iter().filter_map(|attempt| step(found, attempt)).collect()
}

fn step(found: &Found, attempt: AttemptId) -> Option<Step> {
    let live = found.live.get(&attempt);
    let pids = live.map(|live| live.pids.clone()).unwrap_or_default();
    let stage = match found.spool.get(&attempt) {
        None => return Some(Step::Drop { attempt, pids }),
        Some(Stage::Ended) => {
            let left = !pids.is_empty()
                || found.running.contains_key(&attempt)
                || found.exited.contains_key(&attempt);
            return left.then_some(Step::Drop { attempt, pids });
        }
        Some(stage) => stage,
    };
    let started = matches!(stage, Stage::Waiting);
    if let Some(exit) = found.exited.get(&attempt) {
        return Some(Step::Report { attempt, exit: *exit });
    }
    if let Some(pid) = found.running.get(&attempt) {
        return Some(Step::Adopt { attempt, pid: *pid, started });
    }
    match (live, stage) {
        (Some(Live { pids, ours: true }), _) if !pids.is_empty() => {
            Some(Step::Foster { attempt, pid: pids[0], started })
        }
        // Also when its start was not recorded: that it has run is evident.
        (Some(_), _) | (None, Stage::Starting | Stage::Started { .. }) => {
            Some(Step::Vanished { attempt, pids })
        }
        (None, Stage::Waiting | Stage::Ended) => Some(Step::Run { attempt }),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use model::{JobId, TaskId};
    use proptest::prelude::*;

    use super::*;
    use crate::ExitStatus;

    fn attempt(index: u32) -> AttemptId {
        TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1)
    }

    fn stage(number: u8) -> Option<Stage> {
        [
            None,
            Some(Stage::Waiting),
            Some(Stage::Starting),
            Some(Stage::Started { process: None }),
            Some(Stage::Ended),
        ][usize::from(number)]
        .clone()
    }

    const EXIT: Exit =
        Exit { status: ExitStatus::Code(3), run_ms: 5, signalled: false, alone: true };

    fn find(spool: u8, spawner: u8, live: u8) -> Found {
        let mut found = Found::default();
        found.spool.extend(stage(spool).map(|stage| (attempt(0), stage)));
        found.running.extend((spawner == 1).then_some((attempt(0), 10)));
        found.exited.extend((spawner == 2).then_some((attempt(0), EXIT)));
        let process = Live { pids: vec![20, 21], ours: live == 2 };
        found.live.extend((live > 0).then_some((attempt(0), process)));
        found
    }

    #[test]
    fn every_combination() {
        let spools = ["unknown", "waiting", "starting", "started", "ended"];
        let spawners = ["-", "runs", "exited"];
        let lives = ["-", "live", "ours"];
        let mut out = String::new();
        for (spool, s) in spools.iter().zip(0..) {
            for (spawner, p) in spawners.iter().zip(0..) {
                for (live, l) in lives.iter().zip(0..) {
                    let steps = diff(&find(s, p, l));
                    let verdict = steps.first().map_or_else(
                        || "nothing".to_owned(),
                        |step| {
                            format!("{step:?}").replace(&format!("attempt: {}", attempt(0)), "_")
                        },
                    );
                    writeln!(out, "{spool:8} {spawner:7} {live:5} {verdict}").unwrap();
                }
            }
        }
        insta::assert_snapshot!(out, @"
        unknown  -       -     nothing
        unknown  -       live  Drop { _, pids: [20, 21] }
        unknown  -       ours  Drop { _, pids: [20, 21] }
        unknown  runs    -     Drop { _, pids: [] }
        unknown  runs    live  Drop { _, pids: [20, 21] }
        unknown  runs    ours  Drop { _, pids: [20, 21] }
        unknown  exited  -     Drop { _, pids: [] }
        unknown  exited  live  Drop { _, pids: [20, 21] }
        unknown  exited  ours  Drop { _, pids: [20, 21] }
        waiting  -       -     Run { _ }
        waiting  -       live  Vanished { _, pids: [20, 21] }
        waiting  -       ours  Foster { _, pid: 20, started: true }
        waiting  runs    -     Adopt { _, pid: 10, started: true }
        waiting  runs    live  Adopt { _, pid: 10, started: true }
        waiting  runs    ours  Adopt { _, pid: 10, started: true }
        waiting  exited  -     Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        waiting  exited  live  Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        waiting  exited  ours  Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        starting -       -     Vanished { _, pids: [] }
        starting -       live  Vanished { _, pids: [20, 21] }
        starting -       ours  Foster { _, pid: 20, started: false }
        starting runs    -     Adopt { _, pid: 10, started: false }
        starting runs    live  Adopt { _, pid: 10, started: false }
        starting runs    ours  Adopt { _, pid: 10, started: false }
        starting exited  -     Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        starting exited  live  Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        starting exited  ours  Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        started  -       -     Vanished { _, pids: [] }
        started  -       live  Vanished { _, pids: [20, 21] }
        started  -       ours  Foster { _, pid: 20, started: false }
        started  runs    -     Adopt { _, pid: 10, started: false }
        started  runs    live  Adopt { _, pid: 10, started: false }
        started  runs    ours  Adopt { _, pid: 10, started: false }
        started  exited  -     Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        started  exited  live  Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        started  exited  ours  Report { _, exit: Exit { status: Code(3), run_ms: 5, signalled: false, alone: true } }
        ended    -       -     nothing
        ended    -       live  Drop { _, pids: [20, 21] }
        ended    -       ours  Drop { _, pids: [20, 21] }
        ended    runs    -     Drop { _, pids: [] }
        ended    runs    live  Drop { _, pids: [20, 21] }
        ended    runs    ours  Drop { _, pids: [20, 21] }
        ended    exited  -     Drop { _, pids: [] }
        ended    exited  live  Drop { _, pids: [20, 21] }
        ended    exited  ours  Drop { _, pids: [20, 21] }
        ");
    }

    proptest! {
        #[test]
        fn each_attempt_gets_at_most_one_step_and_what_may_run_is_not_run_again(
            kinds in prop::collection::vec((0u8..5, 0u8..3, 0u8..3), 0..30),
        ) {
            let mut all = Found::default();
            for ((spool, spawner, live), index) in kinds.iter().zip(0..) {
                let one = find(*spool, *spawner, *live);
                let at = attempt(index);
                all.spool.extend(one.spool.into_values().map(|stage| (at, stage)));
                all.running.extend(one.running.into_values().map(|pid| (at, pid)));
                all.exited.extend(one.exited.into_values().map(|exit| (at, exit)));
                all.live.extend(one.live.into_values().map(|live| (at, live)));
            }
            let steps = diff(&all);
            let mut seen = BTreeSet::new();
            for step in &steps {
                prop_assert!(seen.insert(step.attempt()));
                let at = step.attempt();
                if matches!(step, Step::Run { .. }) {
                    let trace = all.running.contains_key(&at)
                        || all.exited.contains_key(&at)
                        || all.live.contains_key(&at);
                    prop_assert!(!trace && all.spool[&at] == Stage::Waiting);
                }
            }
            // Whatever the spool has not ended is dealt with.
            for (at, stage) in &all.spool {
                prop_assert!(*stage == Stage::Ended || seen.contains(at));
            }
        }
    }
}
