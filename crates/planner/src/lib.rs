//! What to buy, what to retire, and why: [`plan`] is a pure function from a [`Problem`] to a
//! [`Plan`]. README.md beside this crate describes the problem abstractly.
//!
//! A plan leaves no choice to whoever carries it out, and it is stable: the plan of a problem to
//! which it was applied is empty. [`check`] says what a plan violates, without knowing how it was
//! made.

mod budget;
mod buy;
mod check;
mod fleet;
mod market;
mod nearest;
mod problem;
mod report;
mod retire;
mod words;

use std::collections::BTreeSet;

pub use check::check;
pub use nearest::nearest;
pub use problem::{Demand, Full, Limits, OpenIntent, PlanNode, Problem};
pub use report::{AskReport, Bought, Plan, PlanReport, Retirement};

/// Machines of one launch request. EC2 gives fleets of this size in one call; a larger one is
/// harder to fill and all of it is lost at once with a bad answer.
pub const MAX_LAUNCH_MACHINES: u32 = 500;
/// Machines of one plan: as many as a whole cluster has (DESIGN §7). What is left is planned next.
pub const MAX_PLAN_MACHINES: u32 = 10_000;
/// Offers of one launch request: enough pools to be served from, few enough to be stored.
pub const MAX_LAUNCH_OFFERS: usize = 8;
/// The most, in millionths, that one pool gets of the machines of a plan when another pool of
/// [`NEAR_PPM`] would do: losing one pool then loses half of them.
pub const MAX_POOL_SHARE_PPM: u32 = 500_000;
/// What may be paid for spreading over pools: up to 1.5 times the best price.
pub const NEAR_PPM: u32 = 1_500_000;
/// What an interruption is thought to waste: a quarter of an hour of the machine, for the work
/// since the last checkpoint and for the boot of its replacement. At one interruption in four
/// hours this makes a pool 6 % dearer.
pub const WASTE_PER_INTERRUPTION_MS: u64 = 900_000;

/// Decides what to buy and what to retire.
pub fn plan(problem: &Problem) -> Plan {
    let orders = problem::orders(problem);
    let mut fleet = fleet::Fleet::of(problem, &BTreeSet::new());
    let placed: Vec<fleet::Placed> = orders.iter().map(|order| fleet.place(order)).collect();
    let rest: Vec<u64> =
        orders.iter().zip(&placed).map(|(order, placed)| order.count - placed.sum()).collect();
    let purchase = buy::buy(problem, &orders, &rest);
    let retirements = match &problem.frozen {
        Some(_) => Vec::new(),
        None => retire::retire(problem, &fleet),
    };
    let launches = words::launches(&orders, &purchase.groups);
    let report = report::report(problem, &orders, &placed, &purchase);
    Plan { based_on: problem.based_on, launches, retirements, report }
}
