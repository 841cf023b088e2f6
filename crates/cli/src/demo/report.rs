//! What the demo says at its end.

use model::MicroUsd;
use serde::Serialize;

use crate::render::{dollars, saved};

/// The one object of `ebb demo --output json`; its fields are a contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) tasks: u64,
    pub(crate) settled: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Attempts that ended, those that never started included.
    pub(crate) attempts: u64,
    /// Attempts that had started and were ended by a notice.
    pub(crate) interrupted: u64,
    /// Attempts that had started and were lost with their node.
    pub(crate) node_lost: u64,
    /// Tasks with more than one settling attempt, beyond the one.
    pub(crate) duplicate_settlements: u64,
    /// Whether each result is there and right.
    pub(crate) verified: bool,
    pub(crate) instances_launched: u64,
    /// Machines that still ran after the manager had ended.
    pub(crate) instances_leaked: u64,
    pub(crate) cost_micro_usd: MicroUsd,
    /// The same machines at their on-demand price.
    pub(crate) on_demand_micro_usd: MicroUsd,
    pub(crate) wall_ms: u64,
}

impl Report {
    /// Whether the demo showed what it is to show.
    pub(crate) fn is_good(&self) -> bool {
        self.succeeded == self.tasks
            && self.verified
            && self.duplicate_settlements == 0
            && self.instances_leaked == 0
    }

    /// For people.
    pub(crate) fn summary(&self) -> String {
        let verdict = if self.verified { "every one right" } else { "NOT all right" };
        let waste = self.interrupted + self.node_lost;
        [
            format!(
                "{} of {} tasks succeeded in {}.{} s; results read and checked: {verdict}",
                self.succeeded,
                self.tasks,
                self.wall_ms / 1000,
                self.wall_ms % 1000 / 100
            ),
            format!(
                "{} attempts: {} ended by a notice, {} lost with their node, all {waste} run again; {} settled twice",
                self.attempts, self.interrupted, self.node_lost, self.duplicate_settlements
            ),
            format!(
                "{} instances launched, {} leaked; {} paid, {} on-demand: {} saved",
                self.instances_launched,
                self.instances_leaked,
                dollars(self.cost_micro_usd),
                dollars(self.on_demand_micro_usd),
                saved(self.cost_micro_usd, self.on_demand_micro_usd)
            ),
        ]
        .join("\n")
    }
}

/// A demo that went well.
#[cfg(test)]
pub(crate) fn good() -> Report {
    Report {
        tasks: 300,
        settled: 300,
        succeeded: 300,
        attempts: 306,
        interrupted: 2,
        node_lost: 4,
        verified: true,
        instances_launched: 7,
        cost_micro_usd: MicroUsd(4_321),
        on_demand_micro_usd: MicroUsd(12_345),
        wall_ms: 12_345,
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_spoils_it() {
        assert!(good().is_good());
        assert!(!Report { succeeded: 299, ..good() }.is_good());
        assert!(!Report { verified: false, ..good() }.is_good());
        assert!(!Report { duplicate_settlements: 1, ..good() }.is_good());
        assert!(!Report { instances_leaked: 1, ..good() }.is_good());
    }
}
