//! Random histories against the rules of DESIGN §4.

use std::collections::{BTreeMap, BTreeSet};

use control::scenario::Scenario;
use model::{
    After, AttemptEnd, AttemptId, Cause, Change, ClusterId, Durable, FORMAT, Head, JobId,
    JobStatus, LedgerRow, MicroUsd, NodeId, NodeState, Phase, TaskId, TaskState, Timestamp, World,
    bill,
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
    /// What each job comes after, and how jobs were settled.
    after: BTreeMap<JobId, BTreeSet<JobId>>,
    jobs: BTreeMap<JobId, JobStatus>,
    begun: BTreeSet<JobId>,
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
                self.begin(attempt.task.job);
            }
            Change::JobSubmitted { job, spec, .. } => {
                self.after.insert(*job, spec.after.clone());
            }
            Change::JobPatched { job, patch, .. } => {
                self.after.extend(patch.after.clone().map(|after| (*job, after)));
            }
            Change::JobSettled { job, status, .. } => {
                assert_eq!(self.jobs.insert(*job, *status), None, "{job} settled twice");
            }
            Change::TaskRetried { task, .. } => {
                assert!(self.settled.remove(task).is_some(), "{task} was not settled");
            }
            Change::JobRetried { job, .. } => {
                assert!(self.jobs.remove(job).is_some(), "{job} was not settled");
                let world = alone(change);
                let unsettled = |task: &TaskId| {
                    task.job == *job && {
                        let group = world.group(task.group_id()).expect("it came back");
                        group.fresh.contains(task.index) || group.ready.contains(&task.index)
                    }
                };
                self.settled.retain(|task, _| !unsettled(task));
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

    /// A job begins only when all that it comes after has succeeded.
    fn begin(&mut self, id: JobId) {
        if self.begun.insert(id) {
            for other in &self.after[&id] {
                assert_eq!(self.jobs.get(other), Some(&JobStatus::Succeeded), "{id} after {other}");
            }
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

/// A world of nothing but this job.
fn alone(job: &Change) -> World {
    let (now, cluster) = (Timestamp::default(), ClusterId::from_number(0));
    let head = Head { term: 1, seq: 0, now, format: FORMAT, cluster, seed: 0 };
    let mut world = World::new(Durable::new(head));
    world.apply(job);
    world
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
        let empty = load.tasks.is_empty() && load.held.is_empty();
        let idle = empty && node.state == NodeState::Ready && node.instance().is_some();
        assert_eq!(world.observed.idle.since(*id).is_some(), idle, "{id}: {node:?}");
    }
    for (id, job) in &world.durable.jobs {
        assert!(job.unsettled() > 0, "{id} should have been settled");
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
        for (ordinal, group) in (0u16..).zip(&job.groups) {
            let has_run = !group.tasks.is_empty() || !group.succeeded.is_empty();
            let waits_for = job.awaited_groups(ordinal).next();
            assert!(!has_run || waits_for.is_none(), "{id}.{ordinal} comes after {waits_for:?}");
        }
        assert_eq!(job.doomed_groups(), Vec::<u16>::new(), "{id} has groups that cannot run");
    }
}

/// Nothing is placed beyond a job's limit; one that is lowered stops nothing.
fn check_limits(world: &World, changes: &[Change]) {
    for change in changes {
        if let Change::Placed { attempt, .. } = change
            && let Some(job) = world.durable.jobs.get(&attempt.task.job)
        {
            let placed = world.index.placed.get(&attempt.task.job).copied().unwrap_or(0);
            assert!(placed <= job.spec.max_running.unwrap_or(u32::MAX), "{attempt}: {placed}");
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
        assert_eq!(decision.violations, Vec::new(), "at {}", scenario.now);
        for change in &decision.changes {
            rules.take(change);
        }
        check(&scenario.world);
        check_notices(&scenario.world, &decision.changes);
        check_limits(&scenario.world, &decision.changes);
        if let Some(wake) = decision.wake {
            assert!(wake > scenario.now || decision.changes.len() > 5_000, "wakes at once");
        }
    }
    (scenario, rules)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
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
    let (mut patched, mut cascades, mut back, mut retried) = (0, 0, 0, 0);
    for seed in 0..40 {
        let mut scenario = Scenario::new(seed);
        let mut rules = Rules::default();
        for _ in 0..150 {
            for change in scenario.advance().changes {
                match &change {
                    Change::Ended { end, .. } => {
                        ends.insert(*end);
                    }
                    Change::JobPatched { .. } => patched += 1,
                    Change::JobStopping { cause: Cause::Dependency, .. } => cascades += 1,
                    Change::JobRetried { .. } => back += 1,
                    Change::TaskRetried { .. } => retried += 1,
                    _ => {}
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
    let users = [patched, cascades, back, retried];
    assert!(users.iter().all(|count| *count > 20), "{users:?}");
}
