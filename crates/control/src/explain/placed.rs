//! A task on a node: why there.

use model::{Constraints, Node, Phase, Placement, TaskId, TaskStatus, Timestamp, World};
use scheduler::{Candidate, Score, Verdict, Want};

use super::node::facts;
use super::{Explanation, counted, span, until};
use crate::Config;
use crate::place::{candidate, may_work};

pub(super) fn placed(
    world: &World,
    config: &Config,
    id: TaskId,
    at: &Placement,
    now: Timestamp,
) -> Explanation {
    let mut details = Vec::new();
    details.push(match at.started {
        Some(started) => format!("it started at {started}, {} ago", span(now.since(started))),
        None => format!("it was assigned at {}, and has not started yet", at.assigned),
    });
    details.extend(match at.phase {
        Phase::Held => Some("it is prefetched: it starts when a slot there is free".to_owned()),
        Phase::Leaving { deadline } => Some(format!(
            "its node goes: it may run {}; if it is not done then, it runs again elsewhere",
            until(deadline, now)
        )),
        Phase::Stopping | Phase::StoppingHeld => Some("it was told to stop".to_owned()),
        Phase::Admitted => why_there(world, config, id, at, now),
    });
    if let Some(node) = world.durable.nodes.get(&at.node) {
        details.extend(facts(world, node, now));
    }
    let status = match at.phase {
        Phase::Stopping | Phase::StoppingHeld => "is being stopped".to_owned(),
        _ => format!("is {}", status(world, id)),
    };
    Explanation { summary: format!("{status} on {}", at.node), details }
}

fn status(world: &World, id: TaskId) -> TaskStatus {
    world.task(id).map_or(TaskStatus::Waiting, |task| TaskStatus::from(&task.state))
}

/// The scores of all nodes as they are now, but for this task: what decided then is gone.
fn why_there(
    world: &World,
    config: &Config,
    id: TaskId,
    at: &Placement,
    now: Timestamp,
) -> Option<String> {
    let spec = world.group_spec(id.group_id())?;
    let alone = world.task(id).is_some_and(|task| task.counters.runs_alone());
    let want = Want { resources: spec.resources, count: 1, expect_ms: spec.expect_ms, alone };
    let candidates = without(world, &spec.constraints, at, &want, now);
    if let [_] = candidates.as_slice() {
        return Some("it is there because no other node takes such work".to_owned());
    }
    let count = candidates.len();
    let verdict = |one: &Candidate| scheduler::explain(one, &want, config.policy, count);
    let mut scored: Vec<(Score, Verdict)> = candidates
        .iter()
        .filter_map(|one| match verdict(one) {
            Verdict::Fits { score, policy, room } => {
                Some((score, Verdict::Fits { score, policy, room }))
            }
            _ => None,
        })
        .collect();
    scored.sort_by_key(|(score, _)| *score);
    let place = scored.iter().position(|(score, _)| score.node == at.node)?;
    let own = &scored[place].1;
    let policy = config.policy;
    Some(match (place, scored.get(1)) {
        (0, None) => format!(
            "by {policy} it would be placed there again: of {} only that one has room for it ({own})",
            counted(count as u64, "node"),
        ),
        (0, Some((next, verdict))) => format!(
            "by {policy} it would be placed there again: it {own}; the next best, {}, {verdict}",
            next.node,
        ),
        (_, _) => format!(
            "{policy} chose that node when the task was placed; now {} of {} would be better, but what \
             runs is not moved for that",
            place,
            counted(count as u64, "node"),
        ),
    })
}

/// The nodes that may take such a task, as they were without it.
fn without(
    world: &World,
    constraints: &Constraints,
    at: &Placement,
    want: &Want,
    now: Timestamp,
) -> Vec<Candidate> {
    let may =
        |node: &&Node| node.id == at.node || (may_work(world, node) && constraints.allow(node));
    let as_before = |node: &Node| {
        let mut one = candidate(world, node, now);
        if node.id == at.node {
            one.tasks = one.tasks.saturating_sub(1);
            one.free = if want.alone { one.capacity } else { one.free + want.resources };
        }
        one
    };
    world.durable.nodes.values().filter(may).map(as_before).collect()
}
