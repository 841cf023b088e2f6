//! Why things are as they are, by the functions that decided it.

use model::{GroupId, JobId, NodeId, Phase, TaskId, TaskState, TaskStatus, Timestamp, World};
use scheduler::Want;

use crate::Config;
use crate::place::{candidate, may_work};
use crate::problem::problem;

/// A sentence, and the reasons behind it, most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// One sentence.
    pub summary: String,
    /// The reasons.
    pub details: Vec<String>,
}

/// Why a task waits, runs where it runs, or is settled; `None` when World does not have it.
pub fn explain_task(
    world: &World,
    config: &Config,
    id: TaskId,
    now: Timestamp,
) -> Option<Explanation> {
    let group = world.group(id.group_id())?;
    let task = match group.tasks.get(&id.index) {
        None if group.succeeded.contains(id.index) => return Some(plain("has succeeded")),
        None if group.cancelled.contains(id.index) => return Some(plain("was cancelled")),
        None if group.fresh.contains(id.index) => return Some(waiting(world, config, id, now)),
        None => return None,
        Some(task) => task,
    };
    Some(match task.state {
        TaskState::Ready => waiting(world, config, id, now),
        TaskState::Backoff { until } => {
            plain(&format!("waits until {until}, for attempt {} failed", task.attempt))
        }
        TaskState::Failed(cause) => plain(&format!("has failed: {cause:?}")),
        TaskState::Placed(at) => {
            let status = TaskStatus::from(&task.state);
            let mut details = vec![format!("assigned at {}", at.assigned)];
            details.extend(at.started.map(|started| format!("started at {started}")));
            details.extend(match at.phase {
                Phase::Held => Some("prefetched: starts when a slot is free".to_owned()),
                Phase::Leaving { deadline } => Some(format!("its node goes at {deadline}")),
                Phase::Stopping | Phase::StoppingHeld => Some("told to stop".to_owned()),
                Phase::Admitted => None,
            });
            details.extend(explain_node(world, at.node).map(|node| node.summary));
            Explanation { summary: format!("is {status} on {}", at.node), details }
        }
    })
}

fn plain(words: &str) -> Explanation {
    Explanation { summary: words.to_owned(), details: Vec::new() }
}

/// What a waiting task waits for: each node and what it lacks, and what could be bought.
fn waiting(world: &World, config: &Config, id: TaskId, now: Timestamp) -> Explanation {
    let Some(spec) = world.group_spec(id.group_id()) else { return plain("waits") };
    let alone = world.task(id).is_some_and(|task| task.counters.runs_alone());
    let want = Want { resources: spec.resources, count: 1, expect_ms: spec.expect_ms, alone };
    let mut details = Vec::new();
    let nodes = world.durable.nodes.len();
    for node in world.durable.nodes.values().take(MAX_NODES) {
        let words = if !may_work(world, node) {
            format!("takes no work: {}, {}", node.state, node.reason)
        } else if spec.constraints.allow(node) {
            scheduler::explain(&candidate(world, node, now), &want, config.policy, nodes)
                .to_string()
        } else {
            "is excluded by the task's constraints".to_owned()
        };
        details.push(format!("{}: {words}", node.id));
    }
    if nodes > MAX_NODES {
        details.push(format!("and {} more nodes", nodes - MAX_NODES));
    }
    let ahead = ahead(world, id.group_id());
    if ahead > 0 {
        details.push(format!("{ahead} tasks of other groups are served before it"));
    }
    let coming: u32 = world.durable.intents.values().map(model::Intent::open_machines).sum();
    if coming > 0 {
        details.push(format!("{coming} machines are on order"));
    }
    if let Some((until, why)) = &world.observed.launches_paused
        && *until > now
    {
        details.push(format!("nothing is bought until {until}: {why}"));
    }
    details.push(planner::nearest(&problem(world, config, now), &spec.ask()));
    Explanation { summary: "waits for a node with room".to_owned(), details }
}

/// Enough to see the pattern.
const MAX_NODES: usize = 20;

fn ahead(world: &World, of: GroupId) -> u64 {
    let Some(job) = world.durable.jobs.get(&of.job) else { return 0 };
    let key = (std::cmp::Reverse(job.spec.priority), of.job, of.group);
    world
        .index
        .queue
        .range(..key)
        .filter_map(|(_, job, group)| world.group(GroupId { job: *job, group: *group }))
        .map(|group| u64::from(group.placeable()))
        .sum()
}

/// Why a node is in its state.
pub fn explain_node(world: &World, id: NodeId) -> Option<Explanation> {
    let node = world.durable.nodes.get(&id)?;
    let link = match world.observed.links.get(&id) {
        Some(model::Link::Connected { .. }) => "connected",
        Some(model::Link::Suspect { .. }) => "suspect: its connection closed",
        None => "not heard of since this leader began",
    };
    let mut details = vec![format!("{link}; in this state since {}", node.since)];
    if let Some(offer) = node.offer() {
        details.push(format!("{} at {} an hour", offer.pool, offer.price));
    }
    details.extend(node.deadline.map(|deadline| format!("will be taken at {deadline}")));
    let load = world.index.loads.get(&id)?;
    let (tasks, held) = (load.tasks.len(), load.held.len());
    details.push(format!("{tasks} attempts reserve ({}), {held} are held", load.reserved));
    if let Some(since) = world.observed.idle_since.get(&id) {
        details.push(format!("idle since {since}"));
    }
    Some(Explanation { summary: format!("{} is {}: {}", id, node.state, node.reason), details })
}

/// Where a job's tasks stand and what the first waiting one waits for.
pub fn explain_job(
    world: &World,
    config: &Config,
    id: JobId,
    now: Timestamp,
) -> Option<Explanation> {
    let job = world.durable.jobs.get(&id)?;
    let placed = world.index.placed.get(&id).copied().unwrap_or(0);
    let unsettled = job.unsettled();
    let mut details = Vec::new();
    details.extend(job.stopping.map(|cause| format!("being stopped: {cause:?}")));
    for (ordinal, group) in job.groups.iter().enumerate() {
        let first = group.ready.first().copied().or_else(|| group.fresh.first());
        let Some(index) = first else { continue };
        let task = TaskId { job: id, group: u16::try_from(ordinal).unwrap_or(0), index };
        let why = waiting(world, config, task, now);
        details.push(format!(
            "{} wait in group {ordinal}; {task} {}",
            group.placeable(),
            why.summary
        ));
        details.extend(why.details);
    }
    Some(Explanation {
        summary: format!("{unsettled} tasks unsettled, {placed} on nodes"),
        details,
    })
}
