//! The linter of plans.

use std::collections::BTreeSet;

use model::{Ask, Clamp, LaunchRequest, NodeId, Offer, Purchase, PurchaseOption};

use crate::budget::{Budget, Worst};
use crate::fleet::{Fleet, Group};
use crate::market::suits;
use crate::problem::{Order, orders};
use crate::retire::idle;
use crate::words::AskWords;
use crate::{MAX_LAUNCH_MACHINES, MAX_LAUNCH_OFFERS, Plan, Problem};

/// What the plan violates, a sentence each; empty for every plan that [`crate::plan`] makes.
pub fn check(problem: &Problem, plan: &Plan) -> Vec<String> {
    let mut faults = Vec::new();
    if plan.based_on != problem.based_on {
        faults.push(format!("the plan is for {}, not {}", plan.based_on, problem.based_on));
    }
    for (ordinal, launch) in plan.launches.iter().enumerate() {
        launch_faults(problem, launch)
            .into_iter()
            .for_each(|fault| faults.push(format!("launch {ordinal}: {fault}")));
    }
    limit_faults(problem, plan, &mut faults);
    retirement_faults(problem, plan, &mut faults);
    coverage_faults(problem, plan, &mut faults);
    faults
}

fn launch_faults(problem: &Problem, launch: &LaunchRequest) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(first) = launch.offers.first() else { return vec!["names no offer".to_owned()] };
    if !(1..=MAX_LAUNCH_MACHINES).contains(&launch.count) {
        faults.push(format!("is of {} machines", launch.count));
    }
    if launch.offers.len() > MAX_LAUNCH_OFFERS {
        faults.push(format!("names {} offers", launch.offers.len()));
    }
    let pools: BTreeSet<_> = launch.offers.iter().map(|offer| &offer.pool).collect();
    if pools.len() < launch.offers.len() {
        faults.push("names a pool twice".to_owned());
    }
    for offer in &launch.offers {
        if !problem.offers.contains(offer) {
            faults.push(format!("{} is not on offer like that", offer.pool));
        }
        if !offer.capacity.holds(&first.capacity) {
            faults.push(format!("{} is smaller than {}", offer.pool, first.pool));
        }
    }
    if launch.reason.is_empty() {
        faults.push("has no reason".to_owned());
    }
    faults
}

fn budget_after(problem: &Problem, plan: &Plan) -> Budget {
    let mut budget = Budget::of(problem);
    for launch in &plan.launches {
        budget.order(Worst::of(&launch.offers), launch.count.into());
    }
    budget
}

fn limit_faults(problem: &Problem, plan: &Plan, faults: &mut Vec<String>) {
    let before = Budget::of(problem).exceeded();
    for stop in budget_after(problem, plan).exceeded() {
        if !plan.launches.is_empty() && !before.contains(&stop) {
            faults.push(format!("{stop} is exceeded"));
        }
    }
    if !before.is_empty() && !plan.launches.is_empty() {
        faults.push("it buys although a limit is exceeded".to_owned());
    }
}

fn retirement_faults(problem: &Problem, plan: &Plan, faults: &mut Vec<String>) {
    if problem.frozen.is_some() && !plan.retirements.is_empty() {
        faults.push("it retires while retirements are frozen".to_owned());
    }
    let retired = retired(plan);
    if retired.len() < plan.retirements.len() {
        faults.push("it retires a node twice".to_owned());
    }
    for retirement in &plan.retirements {
        let node = problem.nodes.iter().find(|node| node.id == retirement.node);
        if node.and_then(|node| idle(problem, node)).is_none() {
            faults.push(format!("{} is not an idle machine", retirement.node));
        }
        if retirement.words.is_empty() {
            faults.push(format!("{} is retired without a reason", retirement.node));
        }
    }
    let useful = problem
        .nodes
        .iter()
        .filter(|node| node.offer.is_some() && (node.takes_work || node.booting));
    let (gone, kept): (Vec<_>, Vec<_>) = useful.partition(|node| retired.contains(&node.id));
    let kept: u32 = kept.len().clamped();
    let kept = kept.saturating_add(problem.full.useful);
    if !gone.is_empty() && kept < problem.limits.min_nodes {
        faults.push(format!("it leaves {kept} nodes"));
    }
}

fn retired(plan: &Plan) -> BTreeSet<NodeId> {
    plan.retirements.iter().map(|retirement| retirement.node).collect()
}

/// Places the demand on what the plan leaves and orders, and compares with what the plan says.
fn coverage_faults(problem: &Problem, plan: &Plan, faults: &mut Vec<String>) {
    let orders = orders(problem);
    let mut fleet = Fleet::of(problem, &retired(plan));
    let mut launched: Vec<Group<'_>> = plan
        .launches
        .iter()
        .filter(|launch| !launch.offers.is_empty())
        .map(|launch| Group::of(launch.offers.iter().collect(), launch.count))
        .collect();
    let after = budget_after(problem, plan);
    let mut homeless = Vec::new();
    for (ordinal, order) in orders.iter().enumerate() {
        let mut rest = order.count - fleet.place(order).sum();
        if rest > 0 {
            homeless.push(order);
        }
        for group in &mut launched {
            rest -= group.serve(ordinal, order.ask, rest);
        }
        let words = AskWords(order.ask);
        let within = |offer: &&Offer| suits(order.ask, offer) && after.headroom(offer).0 > 0;
        if let Some(offer) = problem.offers.iter().find(within).filter(|_| rest > 0) {
            faults.push(format!("{rest} x {words} are left, and {} would do", offer.pool));
        }
        report_faults(plan, ordinal, order, rest, faults);
    }
    for (ordinal, group) in launched.iter().enumerate() {
        let unused = group.unused();
        if unused > 0 {
            faults.push(format!("launch {ordinal}: {unused} machines are not needed"));
        }
        if !is_wanted(problem, &homeless, group, &after) {
            faults.push(format!("launch {ordinal}: is on-demand where spot would do"));
        }
    }
}

fn report_faults(
    plan: &Plan,
    ordinal: usize,
    order: &Order<'_>,
    rest: u64,
    faults: &mut Vec<String>,
) {
    let words = AskWords(order.ask);
    match plan.report.asks.get(ordinal) {
        Some(said) if said.ask == *order.ask && said.refused == rest => {
            let bought: u64 = said.bought.iter().map(|bought| bought.tasks).sum();
            let sum = said.on_ready + said.on_booting + said.on_ordered + bought + rest;
            if sum != order.count || said.count != order.count {
                faults.push(format!("the report's counts of {words} do not add up"));
            }
        }
        _ => faults.push(format!("the report does not say that {rest} x {words} are refused")),
    }
}

/// Whether a launch is spot, or on-demand for somebody who asked for that or could get no spot.
/// Who sits where is open: tasks that would rather have spot may fill a machine that was bought
/// for others.
fn is_wanted(
    problem: &Problem,
    homeless: &[&Order<'_>],
    group: &Group<'_>,
    after: &Budget,
) -> bool {
    let spot_left = |ask: &Ask| {
        problem.offers.iter().any(|offer| {
            offer.pool.option == PurchaseOption::Spot
                && suits(ask, offer)
                && after.headroom(offer).0 > 0
        })
    };
    let wants = |ask: &Ask| match ask.constraints.purchase {
        Purchase::Spot => false,
        Purchase::OnDemand => true,
        Purchase::SpotThenOnDemand => !spot_left(ask),
    };
    group.offers.iter().all(|offer| {
        offer.pool.option == PurchaseOption::Spot
            || homeless.iter().any(|order| suits(order.ask, offer) && wants(order.ask))
    })
}
