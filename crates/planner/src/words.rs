//! Words for asks and launches.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use model::{Ask, LaunchRequest, Purchase};

use crate::fleet::Group;
use crate::problem::Order;

/// Asks that a launch names; of more it says how many.
const NAMED_ASKS: usize = 2;

/// An ask in words.
pub(crate) struct AskWords<'a>(pub(crate) &'a Ask);

impl fmt::Display for AskWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let constraints = &self.0.constraints;
        let purchase = match constraints.purchase {
            Purchase::Spot => "spot",
            Purchase::OnDemand => "on-demand",
            Purchase::SpotThenOnDemand => "spot, then on-demand",
        };
        write!(f, "({}; {purchase}", self.0.resources)?;
        named(f, "zone", &constraints.zones)?;
        named(f, "type", &constraints.instance_types)?;
        f.write_str(")")
    }
}

fn named(f: &mut fmt::Formatter<'_>, what: &str, names: &BTreeSet<Arc<str>>) -> fmt::Result {
    for (at, name) in names.iter().enumerate() {
        match at {
            0 => write!(f, "; {what} {name}")?,
            _ => write!(f, " or {name}")?,
        }
    }
    Ok(())
}

/// The requests, each with its reason.
pub(crate) fn launches(orders: &[Order<'_>], groups: &[Group<'_>]) -> Vec<LaunchRequest> {
    let request = |group: &Group<'_>| LaunchRequest {
        offers: group.offers.iter().map(|offer| (*offer).clone()).collect(),
        count: group.machines(),
        reason: reason(orders, group).into(),
    };
    groups.iter().map(request).collect()
}

fn reason(orders: &[Order<'_>], group: &Group<'_>) -> String {
    let Some(first) = group.offers.first() else { return String::new() };
    let named: Vec<String> = group
        .tasks
        .iter()
        .take(NAMED_ASKS)
        .filter_map(|(ordinal, tasks)| {
            Some(format!("{tasks} x {}", AskWords(orders.get(*ordinal)?.ask)))
        })
        .collect();
    let more = match group.tasks.len().saturating_sub(NAMED_ASKS) {
        0 => String::new(),
        more => format!(" and {more} more asks"),
    };
    let others = match group.offers.len() {
        0 | 1 => "no other pool will do".to_owned(),
        2 => "1 other pool will do".to_owned(),
        pools => format!("{} other pools will do", pools - 1),
    };
    format!(
        "{} x {} at {} an hour for {}{more}: {} % full; {others}",
        group.machines(),
        first.pool,
        first.price,
        named.join(" and "),
        group.full_percent(),
    )
}
