//! What a run is checked by.

use std::collections::BTreeMap;

use control::Decision;
use model::{After, Change, InstanceId, LedgerKind, MicroUsd, NodeId, Timestamp, World};

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
    /// What control's ledger holds, by kind, of machines that it saw end before the run did.
    pub booked: BTreeMap<LedgerKind, MicroUsd>,
    /// How many machines these are.
    pub machines: u64,
    /// What the market billed for these.
    pub billed: MicroUsd,
    /// The most by which control's bill of one of them is above the market's, and below it.
    pub apart: (MicroUsd, MicroUsd),
    /// All that was paid: every machine's bill, and moved checkpoints.
    pub paid: MicroUsd,
    /// What should not be: plans that break their own rules, joins that were refused, promises that
    /// a step broke.
    pub faults: Vec<String>,
    keeps_log: bool,
    open: BTreeMap<NodeId, BTreeMap<LedgerKind, MicroUsd>>,
    /// What the market has billed and control has not.
    unseen: BTreeMap<InstanceId, MicroUsd>,
}

/// Faults that are kept in words.
const MOST_FAULTS: usize = 20;

impl Audit {
    /// One that keeps a log of all changes.
    pub(super) fn with_log() -> Self {
        Self { keeps_log: true, ..Self::default() }
    }

    pub(super) fn fault(&mut self, words: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(words);
        }
    }

    pub(super) fn step(&mut self, world: &World, now: Timestamp, decision: &Decision) {
        self.steps += 1;
        for violation in &decision.violations {
            self.fault(format!("{now} {}: {}", violation.invariant, violation.words));
        }
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
                let bill = node.instance().and_then(|id| self.unseen.remove(id));
                let (Some(bill), Some(rows)) = (bill, self.open.remove(&node.id)) else { return };
                self.machines += 1;
                self.billed += bill;
                let mut own = MicroUsd(0);
                for (kind, cost) in rows {
                    *self.booked.entry(kind).or_default() += cost;
                    own += cost;
                }
                self.apart.0 = self.apart.0.max(own - bill);
                self.apart.1 = self.apart.1.max(bill - own);
            }
            _ => {}
        }
    }

    /// The market has ended a machine.
    pub(super) fn ended(&mut self, instance: &InstanceId, bill: MicroUsd) {
        self.paid += bill;
        self.unseen.insert(instance.clone(), bill);
    }

    pub(super) fn close(&mut self, unsettled_jobs: usize) {
        self.unsettled_jobs = unsettled_jobs;
    }
}
