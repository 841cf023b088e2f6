//! Random histories against the rules of DESIGN §4.

use std::collections::{BTreeMap, BTreeSet};

use control::scenario::Scenario;
use model::{
    After, AttemptEnd, AttemptId, Change, LedgerRow, MicroUsd, NodeId, NodeState, Phase, TaskId,
    TaskState, World, bill,
};
use proptest::prelude::*;

/// What must stay true over a whole history.
#[derive(Default)]
struct Rules {
    settled: BTreeMap<TaskId, AttemptId>,
    ended: BTreeSet<AttemptId>,
    ledger: BTreeMap<NodeId, Vec<LedgerRow>>,
    nodes: BTreeMap<NodeId, model::Node>,
    bills_closed: u32,
}

impl Rules {
    fn take(&mut self, change: &Change) {
        match change {
            Change::Ended { attempt, end, after, .. } => {
                assert!(self.ended.insert(*attempt), "{attempt} ended twice");
                self.spend(*attempt, *end, *after);
                if !matches!(after, After::Keep(task) if !matches!(task.state, TaskState::Failed(_)))
                {
                    let before = self.settled.insert(attempt.task, *attempt);
                    assert_eq!(before, None, "{} settled twice", attempt.task);
                }
            }
            Change::Placed { attempt, .. } => {
                assert!(!self.settled.contains_key(&attempt.task), "{attempt} after settlement");
            }
            Change::Ledger(row) => self.ledger.entry(row.node).or_default().push(row.clone()),
            Change::Node(node) => {
                if node.state == NodeState::Gone {
                    self.close_bill(node);
                }
                self.nodes.insert(node.id, node.as_ref().clone());
            }
            _ => {}
        }
    }

    /// Interruption never spends a failure budget.
    fn spend(&self, attempt: AttemptId, end: AttemptEnd, after: After) {
        if let After::Keep(task) = after {
            let own = u32::from(task.counters.failed) + u32::from(task.counters.timed_out);
            let nobodys = u32::from(task.counters.interrupted) + u32::from(task.counters.node_lost);
            assert!(own + nobodys <= attempt.attempt, "{attempt}: {:?}", task.counters);
            if matches!(end, AttemptEnd::Interrupted | AttemptEnd::NodeLost) {
                assert!(nobodys > 0);
            }
        }
    }

    /// The ledger's rows of a machine add up to its bill.
    fn close_bill(&mut self, node: &model::Node) {
        if node.price() == MicroUsd(0) {
            return;
        }
        let rows = self.ledger.get(&node.id).map_or(&[][..], Vec::as_slice);
        let sum = rows.iter().fold(MicroUsd(0), |sum, row| sum + row.cost);
        assert!(rows.iter().all(|row| row.cost >= MicroUsd(0)), "{rows:?}");
        assert_eq!(sum, bill(node.price(), node.launched, node.since), "{}", node.id);
        self.bills_closed += 1;
    }
}

fn check(world: &World) {
    let mut rebuilt = World::new(world.durable.clone());
    for (job, status) in &world.observed.settled {
        rebuilt.observe_settled(*job, *status);
    }
    assert_eq!(rebuilt.index, world.index, "indexes follow from what is durable and settled");
    assert_eq!(rebuilt.observed.unknown, world.observed.unknown);
    for job in world.observed.settled.keys().chain(&world.observed.unknown) {
        assert!(!world.dependents(*job).is_empty(), "nobody asks for {job}");
        assert!(!world.durable.jobs.contains_key(job), "{job} is here");
    }
    for (id, load) in &world.index.loads {
        let node = &world.durable.nodes[id];
        assert!(node.capacity.holds(&load.reserved), "{id} is overcommitted: {load:?}");
        assert!(!load.alone || load.tasks.len() == 1, "{id} should run one task alone");
    }
    for (id, job) in &world.durable.jobs {
        assert!(job.unsettled() > 0, "{id} should have been settled");
        let placed = world.index.placed.get(id).copied().unwrap_or(0);
        assert!(placed <= job.spec.max_running.unwrap_or(u32::MAX));
        for (group, spec) in job.groups.iter().zip(&job.spec.groups) {
            let entries = u32::try_from(group.tasks.len()).expect("few tasks");
            let all = group.fresh.len() + group.succeeded.len() + group.cancelled.len() + entries;
            assert_eq!(all, spec.count, "each task is in one place");
            let restored = model::Group::restored(
                spec.count,
                group.succeeded.clone(),
                group.cancelled.clone(),
                group.tasks.clone(),
            );
            assert_eq!(&restored, group);
        }
    }
}

/// After a delivered notice nothing more is placed on that node.
fn check_notices(world: &World, changes: &[Change]) {
    for change in changes {
        if let Change::Placed { task, attempt } = change {
            let node = task.placement().expect("it was placed").node;
            if let Some(node) = world.durable.nodes.get(&node) {
                let noticed = node.deadline.is_some();
                let still = world.task(attempt.task).is_some_and(|task| {
                    task.placement().is_some_and(|at| {
                        at.node == node.id
                            && at.phase == Phase::Admitted
                            && task.attempt == attempt.attempt
                    })
                });
                assert!(!(noticed && still), "{attempt} is on {} which has to go", node.id);
            }
        }
    }
}

fn history(seed: u64, steps: u32) -> (Scenario, Rules) {
    let mut scenario = Scenario::new(seed);
    let mut rules = Rules::default();
    for _ in 0..steps {
        let decision = scenario.advance();
        for change in &decision.changes {
            rules.take(change);
        }
        check(&scenario.world);
        check_notices(&scenario.world, &decision.changes);
        if let Some(wake) = decision.wake {
            assert!(wake > scenario.now || decision.changes.len() > 5_000, "wakes at once");
        }
    }
    (scenario, rules)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn the_rules_hold(seed: u64) {
        history(seed, 150);
    }

    #[test]
    fn the_same_seed_gives_the_same_history(seed: u64) {
        let (first, _) = history(seed, 40);
        let (second, _) = history(seed, 40);
        prop_assert_eq!(first.world.durable, second.world.durable);
    }
}

#[test]
fn histories_reach_the_states_that_matter() {
    let mut ends = BTreeSet::new();
    let (mut settled, mut bills) = (0, 0);
    for seed in 0..40 {
        let mut scenario = Scenario::new(seed);
        let mut rules = Rules::default();
        for _ in 0..150 {
            for change in scenario.advance().changes {
                if let Change::Ended { end, .. } = &change {
                    ends.insert(*end);
                }
                rules.take(&change);
            }
        }
        settled += rules.settled.len();
        bills += rules.bills_closed;
    }
    assert_eq!(ends.len(), 7, "{ends:?}");
    assert!(settled > 500, "{settled}");
    assert!(bills > 50, "{bills}");
}
