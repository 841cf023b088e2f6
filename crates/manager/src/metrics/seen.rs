//! What is looked up at the moment of a scrape.

use std::collections::BTreeMap;

use model::{Link, NodeState, TaskStatus, Timestamp, World};
use store::CostSums;

/// Gauges as they stand now; those of the leader are empty elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) term: u64,
    pub(crate) round_trips: u64,
    pub(crate) jobs: BTreeMap<&'static str, i64>,
    pub(crate) tasks: BTreeMap<&'static str, i64>,
    pub(crate) nodes: BTreeMap<&'static str, i64>,
    pub(crate) machines_ordered: i64,
    pub(crate) pools_hidden: i64,
    pub(crate) launches_paused: bool,
    pub(crate) cost_usd: [(&'static str, f64); 5],
}

impl Seen {
    /// What the leader sees.
    pub(crate) fn of(world: &World, now: Timestamp) -> Self {
        let observed = &world.observed;
        let ordered: u32 = world.durable.intents.values().map(model::Intent::open_machines).sum();
        let hidden = observed.hidden_pools.values().filter(|hidden| hidden.until > now).count();
        Self {
            jobs: jobs(world),
            tasks: tasks(world),
            nodes: nodes(world),
            machines_ordered: i64::from(ordered),
            pools_hidden: i64::try_from(hidden).unwrap_or(i64::MAX),
            launches_paused: observed.launches_paused.as_ref().is_some_and(|(at, _)| *at > now),
            ..Self::default()
        }
    }

    /// With what the database says was spent.
    #[must_use]
    pub(crate) fn with_cost(mut self, sums: &CostSums) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "below 9 billion dollars it is exact")]
        let usd = |micro: model::MicroUsd| micro.0 as f64 / 1e6;
        self.cost_usd = [
            ("task", usd(sums.task)),
            ("waste", usd(sums.waste)),
            ("boot", usd(sums.boot)),
            ("idle", usd(sums.idle)),
            ("open", usd(sums.open)),
        ];
        self
    }
}

fn jobs(world: &World) -> BTreeMap<&'static str, i64> {
    let count = |jobs: usize| i64::try_from(jobs).unwrap_or(i64::MAX);
    let (active, stopping) = world.durable.jobs.values().fold((0, 0), |(active, stopping), job| {
        if job.stopping.is_some() { (active, stopping + 1) } else { (active + 1, stopping) }
    });
    let backlog = i64::try_from(world.durable.backlog.jobs).unwrap_or(i64::MAX);
    [("submitted", backlog), ("active", count(active)), ("stopping", count(stopping))].into()
}

fn tasks(world: &World) -> BTreeMap<&'static str, i64> {
    let mut counts: BTreeMap<_, i64> =
        UNSETTLED.into_iter().map(|status| (status.as_str(), 0)).collect();
    for group in world.durable.jobs.values().flat_map(|job| &job.groups) {
        *counts.entry(TaskStatus::Waiting.as_str()).or_default() += i64::from(group.fresh.len());
        for task in group.tasks.values() {
            let status = TaskStatus::from(&task.state);
            if !status.is_settled() {
                *counts.entry(status.as_str()).or_default() += 1;
            }
        }
    }
    counts
}

const UNSETTLED: [TaskStatus; 5] = [
    TaskStatus::Waiting,
    TaskStatus::Backoff,
    TaskStatus::Assigned,
    TaskStatus::Running,
    TaskStatus::Leaving,
];

fn nodes(world: &World) -> BTreeMap<&'static str, i64> {
    let mut counts: BTreeMap<_, i64> =
        ["booting", "ready", "suspect", "draining", "retiring"].map(|state| (state, 0)).into();
    for (id, node) in &world.durable.nodes {
        let state = match (node.state, world.observed.links.get(id)) {
            (NodeState::Ready, Some(Link::Suspect { .. })) => "suspect",
            (NodeState::Booting, _) => "booting",
            (NodeState::Ready, _) => "ready",
            (NodeState::Draining, _) => "draining",
            (NodeState::Retiring, _) => "retiring",
            (NodeState::Gone, _) => continue,
        };
        *counts.entry(state).or_default() += 1;
    }
    counts
}
