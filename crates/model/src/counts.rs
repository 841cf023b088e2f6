//! Tasks counted by status, as reads and the API give them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TaskStatus;

/// Tasks by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskCounts {
    /// All.
    pub total: u64,
    /// To be placed.
    pub waiting: u64,
    /// To be placed, later.
    pub backoff: u64,
    /// On a node, not yet known to run.
    pub assigned: u64,
    /// Running.
    pub running: u64,
    /// Running on a node that has to go.
    pub leaving: u64,
    /// Settled.
    pub succeeded: u64,
    /// Settled.
    pub failed: u64,
    /// Settled.
    pub cancelled: u64,
}

impl TaskCounts {
    /// How many are settled.
    pub fn settled(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }

    /// The counter of a status.
    pub fn of_mut(&mut self, status: TaskStatus) -> &mut u64 {
        match status {
            TaskStatus::Waiting => &mut self.waiting,
            TaskStatus::Backoff => &mut self.backoff,
            TaskStatus::Assigned => &mut self.assigned,
            TaskStatus::Running => &mut self.running,
            TaskStatus::Leaving => &mut self.leaving,
            TaskStatus::Succeeded => &mut self.succeeded,
            TaskStatus::Failed => &mut self.failed,
            TaskStatus::Cancelled => &mut self.cancelled,
        }
    }

    /// All of `total` wait.
    pub fn all_waiting(total: u64) -> Self {
        Self { total, waiting: total, ..Self::default() }
    }

    /// So many of the waiting ones stand elsewhere. Those that wait for their next attempt are
    /// among the waiting already.
    pub fn move_waiting(&mut self, status: TaskStatus, tasks: u64) {
        if status != TaskStatus::Waiting {
            *self.of_mut(status) += tasks;
            self.waiting = self.waiting.saturating_sub(tasks);
        }
    }
}
