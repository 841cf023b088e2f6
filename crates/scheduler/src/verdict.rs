//! Why a node would take a task or would not, in words.

use std::fmt;

use model::{Cores, Gpus, Mebibytes, Resources, format_duration};

use crate::score::Scorer;
use crate::{Candidate, Policy, Score, Want};

/// What a node says to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It would take it.
    Fits {
        /// What the pick is decided by; the least of all candidates is picked.
        score: Score,
        /// By which law.
        policy: Policy,
        /// How many such tasks it has room for.
        room: u32,
    },
    /// Too little is free.
    Lacks {
        /// Of what, and how much; never empty.
        what: Vec<Lack>,
        /// Whether the whole node is too small.
        ever: bool,
    },
    /// The task must be alone, and others are there.
    Occupied {
        /// How many.
        tasks: u32,
    },
    /// It ends before the task would.
    TooShortLived {
        /// How long it lives.
        life_left_ms: u64,
        /// How long the task takes.
        expect_ms: u64,
    },
}

/// So much is missing of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// Of what.
    pub resource: Resource,
    /// How much, in the resource's unit; never 0.
    pub missing: u32,
}

/// What a node has amounts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Thousandths of a core.
    Cpu,
    /// Mebibytes.
    Memory,
    /// Mebibytes.
    Disk,
    /// Whole ones.
    Gpus,
}

/// What is missing for `ask` to fit into `free`; empty when it does.
pub fn lacks(free: &Resources, ask: &Resources) -> Vec<Lack> {
    [
        (Resource::Cpu, free.cpu_millis, ask.cpu_millis),
        (Resource::Memory, free.memory_mib, ask.memory_mib),
        (Resource::Disk, free.disk_mib, ask.disk_mib),
        (Resource::Gpus, free.gpus, ask.gpus),
    ]
    .into_iter()
    .filter(|(_, free, ask)| ask > free)
    .map(|(resource, free, ask)| Lack { resource, missing: ask - free })
    .collect()
}

/// Why a node would not take one such task, or with which score it would. `candidates` is how many
/// nodes there are to choose from: `epvm` costs depend on it.
pub fn explain(candidate: &Candidate, want: &Want, policy: Policy, candidates: usize) -> Verdict {
    let what = lacks(&candidate.free, &want.resources);
    match (candidate.life_left_ms, want.expect_ms) {
        (Some(life_left_ms), Some(expect_ms)) if life_left_ms < expect_ms => {
            Verdict::TooShortLived { life_left_ms, expect_ms }
        }
        _ if want.alone && candidate.tasks > 0 => Verdict::Occupied { tasks: candidate.tasks },
        _ if !what.is_empty() => {
            Verdict::Lacks { what, ever: !candidate.capacity.holds(&want.resources) }
        }
        _ => Verdict::Fits {
            score: Scorer::new(want, policy, candidates).score(candidate),
            policy,
            room: candidate.room(want),
        },
    }
}

/// How much is missing for `ask` to fit, in millionths of what it asks for, summed: a missing GPU
/// weighs more than a missing core.
pub fn missing_ppm(free: &Resources, ask: &Resources) -> u64 {
    let share = |lack: &Lack| {
        let wanted = match lack.resource {
            Resource::Cpu => ask.cpu_millis,
            Resource::Memory => ask.memory_mib,
            Resource::Disk => ask.disk_mib,
            Resource::Gpus => ask.gpus,
        };
        u64::from(lack.missing) * 1_000_000 / u64::from(wanted.max(1))
    };
    lacks(free, ask).iter().map(share).sum()
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing;
        match self.resource {
            Resource::Cpu => write!(f, "{}", Cores(missing)),
            Resource::Memory => write!(f, "{} of memory", Mebibytes(missing)),
            Resource::Disk => write!(f, "{} of disk", Mebibytes(missing)),
            Resource::Gpus => write!(f, "{}", Gpus(missing)),
        }
    }
}

/// "a, b and c"
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            let before = match at {
                0 => "",
                _ if at + 1 == self.0.len() => " and ",
                _ => ", ",
            };
            write!(f, "{before}{item}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fits { score, policy, room } => {
                write!(f, "has room for ")?;
                match *room {
                    u32::MAX => write!(f, "any number; ")?,
                    room => write!(f, "{room}; ")?,
                }
                score_words(f, score, *policy)
            }
            Self::Lacks { what, ever } => {
                write!(f, "lacks {}", Listed(what))?;
                f.write_str(if *ever { ", even when nothing runs there" } else { "" })
            }
            Self::Occupied { tasks: 1 } => f.write_str("runs 1 task, and this one must be alone"),
            Self::Occupied { tasks } => {
                write!(f, "runs {tasks} tasks, and this one must be alone")
            }
            Self::TooShortLived { life_left_ms, expect_ms } => write!(
                f,
                "ends in {}, and the task takes {}",
                format_duration(*life_left_ms),
                format_duration(*expect_ms)
            ),
        }
    }
}

fn score_words(f: &mut fmt::Formatter<'_>, score: &Score, policy: Policy) -> fmt::Result {
    match policy {
        Policy::BestFit => {
            let kind = match (score.paid, score.empty) {
                (false, _) => "costs nothing",
                (true, false) => "paid and in use",
                (true, true) => "paid and empty",
            };
            let (whole, tenth) = (score.cost / 10_000, score.cost / 1_000 % 10);
            write!(f, "{kind}, {whole}.{tenth} % left over")?;
        }
        Policy::RoundRobin => write!(f, "runs {}", score.cost)?,
        Policy::EPvm => {
            let thousandths = (u128::from(score.cost) * 1_000) >> crate::epvm::PLACES;
            write!(f, "costs {}.{:03}", thousandths / 1_000, thousandths % 1_000)?;
        }
    }
    if score.hazard_ppm_hour > 0 {
        write!(f, ", {} interruptions in a million hours", score.hazard_ppm_hour)?;
    }
    f.write_str(if score.ends { ", will end" } else { "" })
}
