//! From asks and offers to a split, and from a split to a bound.

use std::collections::BTreeMap;

use model::{Clamp, MicroUsd, Resources};

use super::kinds::{Offer, RESOURCES, Split, WHOLE, amounts, cheapest, share, stand_ins};
use super::simplex::{self, Program, Solution};

/// The linear relaxation of a packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneShot {
    /// No packing costs less an hour. Rounded down.
    pub at_least: MicroUsd,
    /// What the fractional packing that was found costs an hour: the optimum of the relaxation lies
    /// between the two.
    pub at_most: MicroUsd,
    /// Tasks that no offer holds; they are left out.
    pub unfit: u64,
}

/// What tasks of equal asks, so many of each, cost an hour at the least, when machines are to be had
/// in any number.
pub fn one_shot(asks: &[(Resources, u32)], offers: &[Offer]) -> OneShot {
    let kinds = cheapest(offers.iter().copied());
    let mut classes: BTreeMap<Resources, u64> = BTreeMap::new();
    for (ask, count) in asks {
        *classes.entry(*ask).or_default() += u64::from(*count);
    }
    let (fitting, unfit): (Vec<_>, Vec<_>) =
        classes.into_iter().partition(|(ask, _)| kinds.iter().any(|kind| kind.capacity.holds(ask)));
    let solved = Splits::best(&fitting, &kinds);
    let parts = fitting.iter().map(|(ask, count)| {
        let rates = kinds.iter().zip(&solved.splits).filter_map(|(kind, split)| {
            Some(i128::from(kind.price.0) * share(&kind.capacity, split, ask)?)
        });
        rates.min().unwrap_or(0) * i128::from(*count)
    });
    OneShot {
        at_least: MicroUsd((parts.sum::<i128>() / WHOLE).clamped()),
        at_most: MicroUsd(solved.packed_micro_usd),
        unfit: unfit.iter().map(|(_, count)| count).sum(),
    }
}

/// The best splits for a demand.
#[derive(Debug)]
pub(super) struct Splits {
    /// One a kind.
    pub splits: Vec<Split>,
    /// What the solver's own fractional packing costs an hour.
    packed_micro_usd: i64,
}

/// Classes that the solver takes.
const MOST_CLASSES: usize = 300;

impl Splits {
    /// For so many tasks of each class, every one of which fits a kind.
    pub(super) fn best(classes: &[(Resources, u64)], kinds: &[Offer]) -> Self {
        let even = Self { splits: vec![even_split(); kinds.len()], packed_micro_usd: 0 };
        let (merged, member_of) = merged(classes, kinds);
        if merged.is_empty() {
            return even;
        }
        let stand_ins = stand_ins(kinds);
        let mut kept: Vec<usize> = stand_ins.clone();
        kept.sort_unstable();
        kept.dedup();
        let scale = Scale::new(&merged, kinds);
        let program = scale.program(&merged, kinds, &kept);
        let solution = simplex::solve(&program);
        let splits = stand_ins.iter().zip(kinds).map(|(stand_in, kind)| {
            let at = kept.binary_search(stand_in).ok();
            let of = at.and_then(|at| Some((solution.splits.get(at)?, kinds.get(*stand_in)?)));
            of.map_or_else(even_split, |(split, by)| scale.split(split, by, kind))
        });
        let splits = splits.collect();
        let packed_micro_usd =
            packed(classes, &member_of, &solution, |at| kept.get(at).and_then(|at| kinds.get(*at)));
        Self { splits, packed_micro_usd }
    }
}

fn even_split() -> Split {
    [WHOLE / 4; RESOURCES]
}

/// How a problem is scaled for the solver.
struct Scale {
    amount: f64,
    price: f64,
    resources: Vec<usize>,
}

impl Scale {
    fn new(classes: &[(Resources, u64)], kinds: &[Offer]) -> Self {
        let asked = |at: &usize| classes.iter().any(|(ask, _)| amounts(ask)[*at] > 0);
        let amount: u64 = classes.iter().map(|(_, count)| count).sum();
        let price: i64 = kinds.iter().map(|kind| kind.price.0).fold(0, i64::saturating_add);
        Self {
            amount: (amount as f64).max(1.0),
            price: (price as f64 / kinds.len().max(1) as f64).max(1.0),
            resources: (0..RESOURCES).filter(asked).collect(),
        }
    }

    fn program(&self, classes: &[(Resources, u64)], kinds: &[Offer], kept: &[usize]) -> Program {
        let kept: Vec<&Offer> = kept.iter().filter_map(|at| kinds.get(*at)).collect();
        let shares = |ask: &Resources, kind: &Offer| {
            kind.capacity.holds(ask).then(|| {
                let (asks, has) = (amounts(ask), amounts(&kind.capacity));
                let share = |at: &usize| match has[*at] {
                    0 => 0.0,
                    has => f64::from(asks[*at]) / f64::from(has),
                };
                self.resources.iter().map(share).collect::<Vec<f64>>()
            })
        };
        Program {
            amounts: classes.iter().map(|(_, count)| *count as f64 / self.amount).collect(),
            prices: kept.iter().map(|kind| kind.price.0.max(1) as f64 / self.price).collect(),
            // What asks for nothing at all still needs a row.
            resources: self.resources.len(),
            shares: classes
                .iter()
                .map(|(ask, _)| kept.iter().map(|kind| shares(ask, kind)).collect())
                .collect(),
        }
    }

    /// A kind's split in parts, from what its stand-in's resources are worth.
    fn split(&self, worth: &[f64], stand_in: &Offer, kind: &Offer) -> Split {
        let mut split = [0.0; RESOURCES];
        let (has, by) = (amounts(&kind.capacity), amounts(&stand_in.capacity));
        let price = kind.price.0.max(1) as f64 / self.price;
        for (at, worth) in self.resources.iter().zip(worth) {
            if by[*at] > 0 {
                split[*at] = worth * f64::from(has[*at]) / f64::from(by[*at]) / price;
            }
        }
        let whole = split.iter().sum::<f64>().max(1.0);
        split.map(|part| parts(part / whole))
    }
}

/// Of the whole, in parts, rounded down by more than what floating point may have added.
fn parts(of: f64) -> i128 {
    const LESS: f64 = 1.0 - 1e-12;
    #[expect(clippy::cast_possible_truncation, reason = "0 to 10^12")]
    let parts = (of.clamp(0.0, 1.0) * LESS * WHOLE as f64) as i128;
    parts
}

/// What the solver's packing costs for the true classes: each goes where its merged one went.
fn packed<'k>(
    classes: &[(Resources, u64)],
    member_of: &[usize],
    solution: &Solution,
    kind: impl Fn(usize) -> Option<&'k Offer>,
) -> i64 {
    let mut used: BTreeMap<usize, [f64; RESOURCES]> = BTreeMap::new();
    for ((ask, count), merged) in classes.iter().zip(member_of) {
        let placed = solution.placed.get(*merged).map_or(&[][..], Vec::as_slice);
        let all: f64 = placed.iter().map(|(_, amount)| amount).sum();
        for (at, amount) in placed {
            let used = used.entry(*at).or_default();
            for (used, ask) in used.iter_mut().zip(amounts(ask)) {
                *used += amount / all * *count as f64 * f64::from(ask);
            }
        }
    }
    let cost = used.into_iter().filter_map(|(at, used)| {
        let kind = kind(at)?;
        let shares = used.into_iter().zip(amounts(&kind.capacity));
        let shares = shares.map(|(used, has)| if has == 0 { 0.0 } else { used / f64::from(has) });
        Some(kind.price.0 as f64 * shares.fold(0.0, f64::max))
    });
    #[expect(clippy::cast_possible_truncation, reason = "saturates; only shown")]
    let cost = cost.sum::<f64>().ceil() as i64;
    cost
}

/// As many classes as the solver takes, and to which each of the given ones belongs. What is merged
/// is alike to within a factor, fits the same kinds, and is as large as the largest of them.
fn merged(classes: &[(Resources, u64)], kinds: &[Offer]) -> (Vec<(Resources, u64)>, Vec<usize>) {
    let mut bits = 32;
    loop {
        let mut places: BTreeMap<([u32; RESOURCES], Vec<usize>), usize> = BTreeMap::new();
        let mut merged: Vec<(Resources, u64)> = Vec::new();
        let mut member_of = Vec::with_capacity(classes.len());
        for (ask, count) in classes {
            let fits = if bits == 32 { Vec::new() } else { fits(ask, kinds) };
            let key = (amounts(ask).map(|amount| leading(amount, bits)), fits);
            let at = *places.entry(key).or_insert(merged.len());
            match merged.get_mut(at) {
                None => merged.push((*ask, *count)),
                Some((largest, all)) => {
                    *largest = larger(largest, ask);
                    *all += count;
                }
            }
            member_of.push(at);
        }
        if merged.len() <= MOST_CLASSES || bits == 1 {
            return (merged, member_of);
        }
        bits = if bits == 32 { 6 } else { bits - 1 };
    }
}

fn fits(ask: &Resources, kinds: &[Offer]) -> Vec<usize> {
    kinds.iter().enumerate().filter(|(_, it)| it.capacity.holds(ask)).map(|(at, _)| at).collect()
}

/// The first binary digits of an amount.
fn leading(amount: u32, bits: u32) -> u32 {
    let spare = (32 - amount.leading_zeros()).saturating_sub(bits);
    amount >> spare << spare
}

fn larger(one: &Resources, other: &Resources) -> Resources {
    Resources {
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        memory_mib: one.memory_mib.max(other.memory_mib),
        disk_mib: one.disk_mib.max(other.disk_mib),
        gpus: one.gpus.max(other.gpus),
    }
}
