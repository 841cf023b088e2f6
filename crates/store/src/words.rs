//! Enums as the words that the tables keep.

use model::{
    AttemptEnd, Cause, JobStatus, LedgerKind, NodeReason, NodeState, NoticeKind, TaskStatus,
};

use crate::StoreError;

pub(crate) trait Word: Sized + Copy + 'static {
    const ALL: &'static [Self];
    fn word(self) -> &'static str;
    fn read(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.word() == text)
            .ok_or_else(|| StoreError::Corrupt(format!("unknown word `{text}`")))
    }
}

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),* $(,)? })*) => {$(
        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    )*};
}

words! {
    Cause {
        Failed = "failed", TimedOut = "timed-out", NoRetry = "no-retry", Poison = "poison",
        Stopped = "stopped", SiblingFailed = "sibling-failed", Dependency = "dependency",
    }
    AttemptEnd {
        Succeeded = "succeeded", Failed = "failed", TimedOut = "timed-out",
        Interrupted = "interrupted", NodeLost = "node-lost", Cancelled = "cancelled",
        Returned = "returned",
    }
    JobStatus {
        Submitted = "submitted", Waiting = "waiting", Running = "running", Stopping = "stopping",
        Succeeded = "succeeded", Failed = "failed", Cancelled = "cancelled",
    }
    TaskStatus {
        Waiting = "waiting", Backoff = "backoff", Assigned = "assigned", Running = "running",
        Leaving = "leaving", Succeeded = "succeeded", Failed = "failed", Cancelled = "cancelled",
    }
    LedgerKind { Task = "task", Waste = "waste", Boot = "boot", Idle = "idle" }
    NodeState {
        Booting = "booting", Ready = "ready", Draining = "draining", Retiring = "retiring",
        Gone = "gone",
    }
    NodeReason {
        Seen = "seen", Joined = "joined", Asked = "asked", Notice = "notice", Idle = "idle",
        NeverJoined = "never-joined", Lost = "lost", Reclaimed = "reclaimed", Ended = "ended",
    }
    NoticeKind {
        Interruption = "interruption", Rebalance = "rebalance", Maintenance = "maintenance",
        StateChange = "state-change",
    }
}
