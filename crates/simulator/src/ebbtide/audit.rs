//! What a run is checked by.

use control::Decision;
use model::{After, Change, LedgerKind, MicroUsd, NodeId, Timestamp, World};
use std::collections::BTreeMap;

/// What control did, for tests and for whoever wants to see a run step by step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Each step that changed something: its seq, its time and its changes; only when asked for.
    pub log: Vec<String>,
    /// Steps of the leader.
    pub steps: u64,
    /// Problems that the planner solved.
    pub plans: u64,
    /// Tasks that were settled with success.
    pub succeeded: u64,
    /// Tasks that were settled otherwise.
    pub unsuccessful: u64,
    /// Jobs that were not settled at the end.
    pub unsettled_jobs: usize,
    /// What control's ledger holds, by kind, of machines that it saw end.
    pub booked: BTreeMap<LedgerKind, MicroUsd>,
    /// The bills of these machines, as control has them.
    pub billed: MicroUsd,
    /// What should not be: plans that break their own rules, joins that were refused.
    pub faults: Vec<String>,
    keeps_log: bool,
    open: BTreeMap<NodeId, BTreeMap<LedgerKind, MicroUsd>>,
}

impl Audit {
    /// One that keeps a log of all changes.
    pub(super) fn with_log() -> Self {
        Self { keeps_log: true, ..Self::default() }
    }

    pub(super) fn fault(&mut self, words: String) {
        self.faults.push(words);
    }

    pub(super) fn step(&mut self, world: &World, now: Timestamp, decision: &Decision) {
        self.steps += 1;
        for change in &decision.changes {
            self.see(change);
        }
        if self.keeps_log && !decision.changes.is_empty() {
            let (seq, changes) = (world.durable.head.seq, &decision.changes);
            self.log.push(format!("{seq} {now} {changes:?}"));
        }
    }

    fn see(&mut self, change: &Change) {
        match change {
            Change::Ended { after: After::Succeeded, .. } => self.succeeded += 1,
            Change::Ended { after: After::Cancelled, .. } | Change::RetryCancelled { .. } => {
                self.unsuccessful += 1;
            }
            Change::FreshCancelled { from, to, .. } => self.unsuccessful += u64::from(to - from),
            Change::Ledger(row) => {
                let of_node = self.open.entry(row.node).or_default();
                *of_node.entry(row.kind).or_default() += row.cost;
            }
            Change::Node(node) if node.state == model::NodeState::Gone => {
                let Some(of_node) = self.open.remove(&node.id) else { return };
                for (kind, cost) in of_node {
                    *self.booked.entry(kind).or_default() += cost;
                    self.billed += cost;
                }
            }
            _ => {}
        }
    }

    pub(super) fn close(&mut self, world: &World, unsettled_jobs: usize) {
        self.unsettled_jobs = unsettled_jobs;
        let _ = world;
    }
}
