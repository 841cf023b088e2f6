//! The plan and why it is so.

use std::fmt;
use std::sync::Arc;

use model::{Ask, LaunchRequest, NodeId, NodeReason, Pool};

use crate::Problem;
use crate::buy::Purchase;
use crate::fleet::Placed;
use crate::nearest::why_refused;
use crate::problem::Order;
use crate::words::AskWords;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The `seq` of the world that it was made for.
    pub based_on: u64,
    /// Each becomes one intent, in this order; the reason is in each.
    pub launches: Vec<LaunchRequest>,
    /// By node.
    pub retirements: Vec<Retirement>,
    /// What was placed, bought and refused.
    pub report: PlanReport,
}

/// A machine to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement {
    /// Which.
    pub node: NodeId,
    /// Why.
    pub reason: NodeReason,
    /// Why, in words.
    pub words: String,
}

/// Why a plan is as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanReport {
    /// In the order in which they were served.
    pub asks: Vec<AskReport>,
    /// Why nothing is retired.
    pub frozen: Option<Arc<str>>,
}

/// Where the demand for one ask goes: the counts add up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskReport {
    /// The ask.
    pub ask: Ask,
    /// Tasks without a place.
    pub count: u64,
    /// Of them, on nodes that take work.
    pub on_ready: u64,
    /// On nodes that boot.
    pub on_booting: u64,
    /// On machines that were ordered before.
    pub on_ordered: u64,
    /// On machines that this plan orders.
    pub bought: Vec<Bought>,
    /// Nowhere.
    pub refused: u64,
    /// Why nowhere.
    pub why: Option<String>,
}

/// Tasks on machines of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bought {
    /// Its preferred pool.
    pub pool: Pool,
    /// How many tasks.
    pub tasks: u64,
}

pub(crate) fn report(
    problem: &Problem,
    orders: &[Order<'_>],
    placed: &[Placed],
    purchase: &Purchase<'_>,
) -> PlanReport {
    let asks = orders.iter().zip(placed).zip(&purchase.refused).enumerate();
    let asks = asks
        .map(|(ordinal, ((order, placed), refused))| AskReport {
            ask: order.ask.clone(),
            count: order.count,
            on_ready: placed.ready,
            on_booting: placed.booting,
            on_ordered: placed.ordered,
            bought: bought(ordinal, purchase),
            refused: *refused,
            why: (*refused > 0).then(|| why_refused(problem, order.ask, &purchase.budget)),
        })
        .collect();
    PlanReport { asks, frozen: problem.frozen.clone() }
}

fn bought(ordinal: usize, purchase: &Purchase<'_>) -> Vec<Bought> {
    let of_group = purchase.groups.iter().filter_map(|group| {
        Some(Bought {
            pool: group.offers.first()?.pool.clone(),
            tasks: *group.tasks.get(&ordinal)?,
        })
    });
    of_group.collect()
}

impl fmt::Display for AskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}:", self.count, AskWords(&self.ask))?;
        let mut before = "";
        let kept = [
            (self.on_ready, "on nodes"),
            (self.on_booting, "on booting nodes"),
            (self.on_ordered, "on ordered machines"),
        ];
        for (count, place) in kept.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{before} {count} {place}")?;
            before = ",";
        }
        for Bought { pool, tasks } in &self.bought {
            write!(f, "{before} {tasks} bought in {pool}")?;
            before = ",";
        }
        if let Some(why) = &self.why {
            write!(f, "{before} {} refused: {why}", self.refused)?;
        }
        Ok(())
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.asks.is_empty() {
            writeln!(f, "no demand")?;
        }
        for ask in &self.asks {
            writeln!(f, "{ask}")?;
        }
        match &self.frozen {
            Some(why) => writeln!(f, "nothing is retired: {why}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.report)?;
        for launch in &self.launches {
            writeln!(f, "launch {}", launch.reason)?;
        }
        for retirement in &self.retirements {
            writeln!(f, "retire {}: {}", retirement.node, retirement.words)?;
        }
        Ok(())
    }
}
