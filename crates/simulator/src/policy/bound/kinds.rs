//! Machines by what they hold, and how a machine's price is split over its resources.

use std::collections::BTreeMap;

use model::{MicroUsd, Resources};

/// A type that can be bought: what it holds, and its price an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// What tasks can use of a machine.
    pub capacity: Resources,
    /// An hour of it.
    pub price: MicroUsd,
}

/// Resources: cpu, memory, disk, GPUs.
pub(super) const RESOURCES: usize = 4;

/// Splits and shares are counted in parts of this.
pub(super) const WHOLE: i128 = 1_000_000_000_000;

/// How a machine's price is split over its resources, in parts of [`WHOLE`]; adds up to that at
/// most.
pub(super) type Split = [i128; RESOURCES];

/// The amounts in the order of a split.
pub(super) fn amounts(of: &Resources) -> [u32; RESOURCES] {
    [of.cpu_millis, of.memory_mib, of.disk_mib, of.gpus]
}

/// The share of a machine's price that a task bears by a split, rounded down; `None` when it does
/// not fit.
pub(super) fn share(capacity: &Resources, split: &Split, ask: &Resources) -> Option<i128> {
    if !capacity.holds(ask) {
        return None;
    }
    let parts = amounts(ask).into_iter().zip(amounts(capacity)).zip(split);
    let parts = parts.map(|((ask, capacity), weight)| {
        (weight * i128::from(ask)).checked_div(i128::from(capacity)).unwrap_or(0)
    });
    Some(parts.sum())
}

/// Of each capacity the cheapest offer.
pub(super) fn cheapest(offers: impl Iterator<Item = Offer>) -> Vec<Offer> {
    let mut cheapest: BTreeMap<Resources, MicroUsd> = BTreeMap::new();
    for offer in offers {
        let price = cheapest.entry(offer.capacity).or_insert(offer.price);
        *price = offer.price.min(*price);
    }
    cheapest.into_iter().map(|(capacity, price)| Offer { capacity, price }).collect()
}

/// For each kind the one that stands for it: itself, or one that holds whatever it holds and is no
/// dearer for each unit of each resource.
pub(super) fn stand_ins(kinds: &[Offer]) -> Vec<usize> {
    let mut stand_ins: Vec<usize> = Vec::with_capacity(kinds.len());
    for (at, kind) in kinds.iter().enumerate() {
        let better = kinds.iter().enumerate().position(|(other_at, other)| {
            other_at != at && dominates(other, kind) && (!dominates(kind, other) || other_at < at)
        });
        stand_ins.push(better.unwrap_or(at));
    }
    // One that stands for another may itself be stood for.
    for at in 0..stand_ins.len() {
        let mut last = at;
        while let Some(next) = stand_ins.get(last).copied().filter(|next| *next != last) {
            last = next;
        }
        if let Some(stand_in) = stand_ins.get_mut(at) {
            *stand_in = last;
        }
    }
    stand_ins
}

fn dominates(one: &Offer, other: &Offer) -> bool {
    one.capacity.holds(&other.capacity)
        && amounts(&one.capacity).into_iter().zip(amounts(&other.capacity)).all(|(have, has)| {
            i128::from(have) * i128::from(other.price.0)
                >= i128::from(has) * i128::from(one.price.0)
        })
}
