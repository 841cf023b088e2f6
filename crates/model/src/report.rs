//! What a node reports of itself: the core of a sync (DESIGN §5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AttemptId, LogPart, NoticeKind, Outcome, TaskResult};

/// A change of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transition {
    /// Its process runs.
    Started {
        /// The fence.
        attempt: AttemptId,
    },
    /// It is over.
    Ended {
        /// The fence.
        attempt: AttemptId,
        /// What it left behind.
        result: Box<TaskResult>,
    },
}

impl Transition {
    /// The fence.
    pub fn attempt(&self) -> AttemptId {
        match self {
            Self::Started { attempt } | Self::Ended { attempt, .. } => *attempt,
        }
    }

    /// The report of an attempt that left nothing behind.
    pub fn ended_without_trace(attempt: AttemptId, outcome: Outcome) -> Self {
        let result = TaskResult {
            outcome,
            run_ms: 0,
            stdout: LogPart::default(),
            stderr: LogPart::default(),
            outputs: Vec::new(),
            message: None,
        };
        Self::Ended { attempt, result: Box::new(result) }
    }
}

/// An attempt that a digester has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InventoryItem {
    /// The fence.
    pub attempt: AttemptId,
    /// Whether its process runs; otherwise it is held.
    pub started: bool,
}

/// A notice that the node itself has seen: remaining time, for its clock is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeNotice {
    /// What is announced.
    pub kind: NoticeKind,
    /// Until it takes effect.
    pub remaining_ms: u64,
}

/// A digester's state, cached by the leader and never stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Processes that run.
    pub running: u32,
    /// Attempts that wait here.
    pub held: u32,
    /// 1-minute load, in thousandths.
    pub load_milli: u32,
}
