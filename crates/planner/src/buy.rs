//! Machines for the demand that has no place: first-fit decreasing over the offers.

use std::collections::BTreeMap;

use model::{Clamp, Offer, Pool};

use crate::budget::{Budget, Worst};
use crate::fleet::Group;
use crate::market::{Market, effective_price};
use crate::problem::Order;
use crate::{MAX_LAUNCH_MACHINES, MAX_LAUNCH_OFFERS, NEAR_PPM, Problem};

/// What is ordered.
pub(crate) struct Purchase<'a> {
    /// One a launch.
    pub(crate) groups: Vec<Group<'a>>,
    /// Tasks, per order, that nothing could be bought for.
    pub(crate) refused: Vec<u64>,
    /// With all that was ordered.
    pub(crate) budget: Budget,
}

/// Buys for `rest`, the tasks of each order that have no place yet.
///
/// Each order first fills what was bought for the orders before it. A machine is bought only when
/// nothing bought has room, and an order is refused only when no offer that suits it is within
/// the limits: so neither happens when the plan of the result is made.
pub(crate) fn buy<'a>(problem: &'a Problem, orders: &[Order<'_>], rest: &[u64]) -> Purchase<'a> {
    let mut budget = Budget::of(problem);
    if rest.iter().all(|count| *count == 0) {
        return Purchase { groups: Vec::new(), refused: rest.to_vec(), budget };
    }
    let market = Market::new(problem, orders, rest);
    let mut bought: BTreeMap<&Pool, u64> = BTreeMap::new();
    let mut left = rest.to_vec();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (ordinal, order) in orders.iter().enumerate() {
        let Some(mut count) = left.get(ordinal).copied() else { break };
        count -= serve(&mut groups, ordinal, order, count);
        while count > 0 {
            if let Some(slot) = left.get_mut(ordinal) {
                *slot = count;
            }
            let Some(choice) = market.choose(orders, ordinal, &left, &budget, &bought) else {
                break;
            };
            budget.order(Worst::of([choice.offer]), choice.machines);
            *bought.entry(&choice.offer.pool).or_default() += choice.machines;
            let first = append(&mut groups, choice.offer, choice.machines);
            count -= serve(groups.get_mut(first..).unwrap_or_default(), ordinal, order, count);
        }
        if let Some(slot) = left.get_mut(ordinal) {
            *slot = count;
        }
    }
    let mut groups = merge(groups, orders, rest, &left);
    widen(&mut groups, &market, orders, &mut budget);
    Purchase { groups, refused: left, budget }
}

/// Places an order on what was bought.
fn serve(groups: &mut [Group<'_>], ordinal: usize, order: &Order<'_>, count: u64) -> u64 {
    let mut placed = 0;
    for group in groups {
        placed += group.serve(ordinal, order.ask, count - placed);
    }
    placed
}

/// Adds machines to the last launch if they are the same, and to new ones; answers the first.
fn append<'a>(groups: &mut Vec<Group<'a>>, offer: &'a Offer, machines: u64) -> usize {
    let same = |group: &Group<'_>| group.offers == [offer];
    let mut first = groups.len();
    let mut left: u32 = machines.clamped();
    if groups.last().is_some_and(same) {
        first -= 1;
    }
    while left > 0 {
        let room = match groups.last_mut() {
            Some(group) if same(group) && group.machines() < MAX_LAUNCH_MACHINES => {
                let more = left.min(MAX_LAUNCH_MACHINES - group.machines());
                group.grow(more);
                more
            }
            _ => {
                groups.push(Group::of(vec![offer], 0));
                0
            }
        };
        left -= room;
    }
    first
}

/// One launch for all machines of an offer, if the demand fits as well in that order of launches:
/// each launch is a call, and calls are throttled.
fn merge<'a>(
    groups: Vec<Group<'a>>,
    orders: &[Order<'_>],
    rest: &[u64],
    refused: &[u64],
) -> Vec<Group<'a>> {
    let mut counts: Vec<(&'a Offer, u64)> = Vec::new();
    for group in &groups {
        let Some(offer) = group.offers.first() else { continue };
        let machines = u64::from(group.machines());
        match counts.iter_mut().find(|(known, _)| known.pool == offer.pool) {
            Some((_, count)) => *count += machines,
            None => counts.push((offer, machines)),
        }
    }
    if counts.len() == groups.len() {
        return groups;
    }
    let mut merged = Vec::new();
    for (offer, machines) in counts {
        append(&mut merged, offer, machines);
    }
    for (ordinal, ((order, rest), refused)) in orders.iter().zip(rest).zip(refused).enumerate() {
        if serve(&mut merged, ordinal, order, *rest) + refused != *rest {
            return groups;
        }
    }
    // Packed in another order, it may have become fewer. Who is unused was never looked at.
    for group in &mut merged {
        group.drop_unused();
    }
    merged.retain(|group| group.machines() > 0);
    merged
}

/// Adds to each launch the offers that would do as well, the cheapest first, so that the cloud can
/// give what it has: at least as large, good for every ask placed there, not much dearer, and
/// within what the limits leave.
fn widen<'a>(
    groups: &mut [Group<'a>],
    market: &Market<'a>,
    orders: &[Order<'_>],
    budget: &mut Budget,
) {
    for group in groups {
        let Some(first) = group.offers.first().copied() else { continue };
        let most = u128::from(effective_price(first)) * u128::from(NEAR_PPM);
        let mut others: Vec<&Offer> = market
            .offers
            .iter()
            .copied()
            .filter(|offer| {
                offer.pool != first.pool
                    && offer.pool.option == first.pool.option
                    && offer.capacity.holds(&first.capacity)
                    && u128::from(effective_price(offer)) * 1_000_000 <= most
                    && group.tasks.keys().all(|ordinal| {
                        orders
                            .get(*ordinal)
                            .is_some_and(|order| order.ask.constraints.allow_pool(&offer.pool))
                    })
            })
            .collect();
        others.sort_by_key(|offer| effective_price(offer));
        let machines = u64::from(group.machines());
        let mut worst = Worst::of([first]);
        for offer in others {
            let wider = Worst::of(group.offers.iter().copied().chain([offer]));
            if group.offers.len() < MAX_LAUNCH_OFFERS && budget.can_widen(worst, wider, machines) {
                budget.widen(worst, wider, machines);
                worst = wider;
                group.offers.push(offer);
            }
        }
    }
}
