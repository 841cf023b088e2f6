//! Machines that have had nothing to do for long enough and that no demand needs.

use std::cmp::Reverse;

use model::{MicroUsd, NodeReason, Offer, format_duration};

use crate::fleet::Fleet;
use crate::{PlanNode, Problem, Retirement};

/// What to retire, given the fleet with the demand placed on it: of what is surplus the dearest
/// first, down to `min_nodes`. A drained machine takes no work and so counts for nothing.
pub(crate) fn retire(problem: &Problem, fleet: &Fleet<'_>) -> Vec<Retirement> {
    let useful = problem
        .nodes
        .iter()
        .filter(|node| node.offer.is_some() && (node.takes_work || node.booting))
        .count();
    let spare = useful
        .saturating_add(usize::try_from(problem.full.useful).unwrap_or(usize::MAX))
        .saturating_sub(usize::try_from(problem.limits.min_nodes).unwrap_or(usize::MAX));
    let surplus = fleet.ready.nodes.iter().zip(&fleet.ready.candidates);
    let mut surplus: Vec<(&PlanNode, &Offer, u64)> = surplus
        .filter(|(_, candidate)| candidate.tasks == 0)
        .filter_map(|(node, _)| idle(problem, node))
        .collect();
    surplus.sort_by_key(|(node, offer, idle_ms)| (Reverse((offer.price, *idle_ms)), node.id));
    surplus.truncate(spare);
    let drained = problem.nodes.iter().filter(|node| !node.takes_work && !node.booting);
    let mut all: Vec<(&PlanNode, &Offer, u64)> =
        drained.filter_map(|node| idle(problem, node)).chain(surplus).collect();
    all.sort_by_key(|(node, ..)| node.id);
    all.into_iter()
        .map(|(node, offer, idle_ms)| Retirement {
            node: node.id,
            reason: NodeReason::Idle,
            words: words(node, offer.price, idle_ms),
        })
        .collect()
}

/// The node, if it has been idle for long enough.
pub(crate) fn idle<'a>(
    problem: &Problem,
    node: &'a PlanNode,
) -> Option<(&'a PlanNode, &'a Offer, u64)> {
    let idle_ms = node.idle_ms.filter(|idle_ms| *idle_ms >= problem.limits.idle_retire_ms)?;
    let offer = node.offer.as_ref()?;
    (node.tasks == 0 && node.held == 0).then_some((node, offer, idle_ms))
}

fn words(node: &PlanNode, price: MicroUsd, idle_ms: u64) -> String {
    let needed = if node.takes_work { "no demand needs it" } else { "it takes no work" };
    let seconds_ms = idle_ms / 1_000 * 1_000;
    format!("idle for {}, and {needed}: {price} an hour saved", format_duration(seconds_ms))
}
