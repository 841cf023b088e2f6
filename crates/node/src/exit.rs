//! How a process ended, and what that means for its attempt.

use model::Outcome;
use serde::{Deserialize, Serialize};

/// How a process ended, as its parent was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// The end of a process, kept by its parent until the digester has spooled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// How long it ran.
    pub run_ms: u64,
    /// Whether we had signalled it before it ended.
    #[serde(default)]
    pub signalled: bool,
    /// Whether nothing that it had started was left, so that nobody holds its files any more.
    #[serde(default)]
    pub alone: bool,
}

impl Exit {
    /// What to report. `ending` is why we wanted it to end, if we did; that counts only if our
    /// signal reached it: one that ended by itself just before has its true code.
    ///
    /// One that we signalled without knowing why was ended by a digester that has died since: it
    /// runs again, for that is nobody's fault (DESIGN §4.3).
    ///
    /// A process that we signalled and that exits with 0 is not a success: many programs end so
    /// when they are asked to go, with their work undone.
    pub fn outcome(&self, ending: Option<Outcome>) -> Outcome {
        match (self.status, ending) {
            (_, Some(why)) if self.signalled => why,
            (_, None) if self.signalled => Outcome::Evicted,
            (ExitStatus::Code(code), _) => Outcome::Exited { code },
            (ExitStatus::Signal(signal), _) => Outcome::Signalled { signal },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_code_wins_unless_our_signal_was_first() {
        let exit = |status, signalled| Exit { status, run_ms: 1, signalled, alone: true };
        let table = [
            (exit(ExitStatus::Code(0), false), None),
            (exit(ExitStatus::Code(3), false), Some(Outcome::Evicted)),
            (exit(ExitStatus::Code(0), true), Some(Outcome::Evicted)),
            (exit(ExitStatus::Signal(15), true), Some(Outcome::TimedOut)),
            (exit(ExitStatus::Signal(11), false), Some(Outcome::Stopped)),
            // A digester that died after it had signalled: its successor knows no reason.
            (exit(ExitStatus::Signal(15), true), None),
        ];
        let lines: Vec<String> =
            table.iter().map(|(exit, ending)| format!("{:?}", exit.outcome(*ending))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        Exited { code: 0 }
        Exited { code: 3 }
        Evicted
        TimedOut
        Signalled { signal: 11 }
        Evicted
        ");
    }
}
