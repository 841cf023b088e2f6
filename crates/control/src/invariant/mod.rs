//! The promises of DESIGN §4, each with an id: what a simulation stops at, and what production counts.

mod checks;
mod machines;
mod placing;
mod settling;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use checks::Checks;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// What was accepted is there, and settles.
    AcceptedIsDurable,
    /// A task is settled once, unless a user asks for it again.
    SettledOnce,
    /// A report of an old attempt, or from another node, changes nothing.
    StaleChangesNothing,
    /// What is reserved on a node is at most what it has.
    NeverOvercommitted,
    /// An interruption spends no failure budget.
    InterruptionIsFree,
    /// A machine is called for by an intent that was stored before, sent unchanged, and borne as a tag.
    IntentBeforeMachine,
    /// A machine that nobody needs ends.
    NoLeakedMachine,
    /// A machine's ledger rows add up to its bill.
    LedgerIsBill,
    /// After a notice nothing is assigned to its node.
    NothingAfterNotice,
    /// What a notice took is queued again within a second of its deadline.
    RequeuedInTime,
    /// No node is called lost before its lease has run out, unless its connection was seen to close.
    LostOnlyAfterLease,
    /// A task does not run twice at once, unless the node of the first was lost.
    NeverTwiceAtOnce,
    /// A leader that is none any more writes nothing.
    OneWriter,
    /// A deadline is met that on-demand from the start would have met.
    DeadlineIsMet,
    /// When nothing fails any more, everything settles within a bound.
    Liveness,
    /// The step does not panic.
    NoPanic,
}

/// A broken promise, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen. The first word is the id of what it is about.
    pub words: String,
}

impl Violation {
    /// The id of what it is about: an attempt, a task, a group, a job, a node or an intent.
    pub fn subject(&self) -> &str {
        self.words.split(' ').next().unwrap_or_default()
    }
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::AcceptedIsDurable,
        Self::SettledOnce,
        Self::StaleChangesNothing,
        Self::NeverOvercommitted,
        Self::InterruptionIsFree,
        Self::IntentBeforeMachine,
        Self::NoLeakedMachine,
        Self::LedgerIsBill,
        Self::NothingAfterNotice,
        Self::RequeuedInTime,
        Self::LostOnlyAfterLease,
        Self::NeverTwiceAtOnce,
        Self::OneWriter,
        Self::DeadlineIsMet,
        Self::Liveness,
        Self::NoPanic,
    ];

    /// Its name in metrics, logs and reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::AcceptedIsDurable => "accepted-is-durable",
            Self::SettledOnce => "settled-once",
            Self::StaleChangesNothing => "stale-changes-nothing",
            Self::NeverOvercommitted => "never-overcommitted",
            Self::InterruptionIsFree => "interruption-is-free",
            Self::IntentBeforeMachine => "intent-before-machine",
            Self::NoLeakedMachine => "no-leaked-machine",
            Self::LedgerIsBill => "ledger-is-bill",
            Self::NothingAfterNotice => "nothing-after-notice",
            Self::RequeuedInTime => "requeued-in-time",
            Self::LostOnlyAfterLease => "lost-only-after-lease",
            Self::NeverTwiceAtOnce => "never-twice-at-once",
            Self::OneWriter => "one-writer",
            Self::DeadlineIsMet => "deadline-is-met",
            Self::Liveness => "liveness",
            Self::NoPanic => "no-panic",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}
