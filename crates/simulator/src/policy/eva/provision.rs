//! Eva's two ways of placing tasks: onto machines that go on, and onto machines from empty, the most
//! expensive type first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use market::recorded::MachineNo;
use model::{PurchaseOption, Resources};

use super::front::Choice;
use super::loose::{Class, Loose, PPM, Throughput, alignment, others};
use super::plan::{Bin, Kept};

/// Puts tasks onto machines that go on, one at a time: the pair of task and machine of the highest
/// reservation price together, then the one that is there already, then the best aligned.
pub(super) fn fill(kept: &mut [Kept], loose: &mut Loose, throughput: Throughput) {
    let mut fits: Vec<BTreeSet<Rank>> = loose
        .classes()
        .iter()
        .map(|class| (0..kept.len()).filter_map(|at| rank(kept, at, class, throughput)).collect())
        .collect();
    while let Some((class, at)) = best(&fits, loose) {
        let again = |fits: &mut Vec<BTreeSet<Rank>>, kept: &[Kept], loose: &Loose, is_in: bool| {
            for (class, fits) in loose.classes().iter().zip(fits) {
                let Some(rank) = rank(kept, at, class, throughput) else { continue };
                if is_in {
                    fits.insert(rank)
                } else {
                    fits.remove(&rank)
                };
            }
        };
        again(&mut fits, kept, loose, false);
        let Some(machine) = kept.get_mut(at) else { break };
        let ask = loose.classes().get(class).map(|class| class.ask).unwrap_or_default();
        for (task, worth) in loose.take(class, 1, Some(machine.machine)) {
            machine.free -= ask;
            machine.worth += i128::from(worth);
            machine.count += 1;
            machine.come.push((task, worth));
        }
        again(&mut fits, kept, loose, true);
    }
}

/// How good a machine is for a class: its place among machines comes last.
type Rank = (i128, bool, u64, Reverse<usize>);

fn rank(kept: &[Kept], at: usize, class: &Class, throughput: Throughput) -> Option<Rank> {
    let machine = kept.get(at)?;
    if class.count == 0 || !machine.free.holds(&class.ask) {
        return None;
    }
    let worth = machine.worth + i128::from(class.price);
    let value = worth * throughput.beside(others(machine.count + 1));
    let aligned = alignment(&class.ask, &machine.free, &machine.capacity);
    Some((value, class.is_on(machine.machine), aligned, Reverse(at)))
}

fn best(fits: &[BTreeSet<Rank>], loose: &Loose) -> Option<(usize, usize)> {
    let open = loose.classes().iter().zip(fits).enumerate().filter(|(_, (it, _))| it.count > 0);
    let ranks = open.filter_map(|(class, (_, fits))| {
        let (value, is_here, aligned, Reverse(at)) = fits.last()?;
        Some(((*value, *is_here, *aligned, Reverse(class)), *at))
    });
    ranks.max().map(|((_, _, _, Reverse(class)), at)| (class, at))
}

/// A type that a plan can use: machines of it that are there, and whether more can be bought.
#[derive(Debug, Clone)]
struct Type {
    price: i64,
    capacity: Resources,
    pool: usize,
    is_spot: bool,
    /// Those with tasks that are still to be placed; the one with most tasks last.
    there: Vec<MachineNo>,
    /// Those without.
    spare: Vec<MachineNo>,
    is_for_sale: bool,
}

impl Type {
    fn option(&self) -> PurchaseOption {
        if self.is_spot { PurchaseOption::Spot } else { PurchaseOption::OnDemand }
    }

    /// The next machine that is there: one whose tasks need not all be moved, if there is one.
    fn next(&mut self, loose: &Loose) -> Option<MachineNo> {
        while let Some(machine) = self.there.pop_if(|machine| !loose.is_on(*machine)) {
            self.spare.push(machine);
        }
        self.there.last().or_else(|| self.spare.last()).copied()
    }

    fn remove(&mut self, machine: MachineNo) {
        let is_it = |last: &mut MachineNo| *last == machine;
        if self.there.pop_if(is_it).is_none() {
            self.spare.pop_if(is_it);
        }
    }
}

/// A machine whose tasks are all to be placed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Emptied {
    /// Which.
    pub machine: MachineNo,
    /// Its pool.
    pub pool: usize,
    /// How it is paid for.
    pub option: PurchaseOption,
    /// Its price now, micro-USD an hour.
    pub price: i64,
    /// What it has.
    pub capacity: Resources,
    /// Tasks on it.
    pub tasks: usize,
}

/// Places all tasks onto machines from empty. `choices` tells what is for sale when so many of the
/// pools' spot machines are taken, `room` how many a pool gives.
pub(super) fn provision(
    loose: &mut Loose,
    mut emptied: Vec<Emptied>,
    throughput: Throughput,
    choices: &dyn Fn(&BTreeMap<usize, u32>) -> Vec<Choice>,
    room: &dyn Fn(usize) -> u32,
) -> Vec<Bin> {
    let mut bins = Vec::new();
    let mut taken = BTreeMap::new();
    // Each round ends with all placed, or because a pool has run dry; without progress there is
    // nothing that holds what is left.
    while !loose.is_empty() {
        let (placed, dry) = (bins.len(), taken.clone());
        let for_sale = choices(&taken);
        loose.reprice(&for_sale);
        let mut pass =
            Pass { types: types(&for_sale, &emptied), throughput, taken: &mut taken, room };
        pass.run(loose, &mut bins);
        emptied.retain(|it| !bins.iter().any(|bin| bin.machine == Some(it.machine)));
        if bins.len() == placed && taken == dry {
            break;
        }
    }
    bins
}

/// The most expensive first.
fn types(for_sale: &[Choice], emptied: &[Emptied]) -> Vec<Type> {
    let mut types: BTreeMap<(usize, bool), Type> = BTreeMap::new();
    for choice in for_sale {
        let (pool, is_spot) = (choice.offer.pool, choice.offer.is_spot);
        let (price, capacity) = (choice.offer.price.0, choice.capacity);
        let (there, spare) = (Vec::new(), Vec::new());
        types.insert(
            (pool, is_spot),
            Type { price, capacity, pool, is_spot, there, spare, is_for_sale: true },
        );
    }
    let mut emptied = emptied.to_vec();
    emptied.sort_by_key(|it| (it.tasks, Reverse(it.machine)));
    for it in emptied {
        let is_spot = it.option == PurchaseOption::Spot;
        let (pool, price, capacity) = (it.pool, it.price, it.capacity);
        let (there, spare) = (Vec::new(), Vec::new());
        types
            .entry((pool, is_spot))
            .or_insert(Type { price, capacity, pool, is_spot, there, spare, is_for_sale: false })
            .there
            .push(it.machine);
    }
    let mut types: Vec<Type> = types.into_values().collect();
    types.sort_by_key(|it| (Reverse(it.price), Reverse(it.capacity), it.pool, it.is_spot));
    types
}

/// What one machine would take: so many of each class.
#[derive(Debug, Default)]
struct Filling {
    classes: Vec<(usize, u32)>,
    sum: Resources,
    count: usize,
    value: i128,
}

/// Once through all types.
struct Pass<'p> {
    types: Vec<Type>,
    throughput: Throughput,
    taken: &'p mut BTreeMap<usize, u32>,
    room: &'p dyn Fn(usize) -> u32,
}

impl Pass<'_> {
    fn run(&mut self, loose: &mut Loose, bins: &mut Vec<Bin>) {
        for at in 0..self.types.len() {
            while let Some(bin) = self.next_bin(at, loose) {
                bins.push(bin);
            }
        }
    }

    /// The next machine of a type, if what it would take is worth its price.
    fn next_bin(&mut self, at: usize, loose: &mut Loose) -> Option<Bin> {
        let kind = self.types.get_mut(at)?;
        let there = kind.next(loose);
        if (there.is_none() && !kind.is_for_sale) || loose.price() < i128::from(kind.price) {
            return None;
        }
        let price = kind.price;
        let filling = fill_one(loose, kind.capacity, there, self.throughput);
        if filling.count == 0 || filling.value < i128::from(price) * i128::from(PPM) {
            return None;
        }
        let cheaper = self.cheapest(&filling.sum, price);
        let machine = if cheaper.is_some() { None } else { there };
        let kind = self.types.get_mut(cheaper.unwrap_or(at))?;
        let (pool, option, price) = (kind.pool, kind.option(), kind.price);
        if let Some(machine) = machine {
            kind.remove(machine);
        } else if kind.is_spot {
            let taken = self.taken.entry(pool).or_default();
            *taken += 1;
            kind.is_for_sale = *taken < (self.room)(pool);
        }
        let tasks = filling.classes.iter().flat_map(|(class, n)| loose.take(*class, *n, machine));
        Some(Bin { machine, pool, option, price, tasks: tasks.collect() })
    }

    /// The cheapest type for sale that holds so much for less.
    fn cheapest(&self, sum: &Resources, price: i64) -> Option<usize> {
        let types = self.types.iter().enumerate().rev().take_while(|(_, it)| it.price < price);
        let mut holds = types.filter(|(_, it)| it.is_for_sale && it.capacity.holds(sum));
        holds.next().map(|(at, _)| at)
    }
}

/// What an empty machine takes: as long as it does not lower the whole, the class of the highest
/// reservation price beside the others, then one that is there already, then the best aligned.
fn fill_one(
    loose: &Loose,
    capacity: Resources,
    machine: Option<MachineNo>,
    throughput: Throughput,
) -> Filling {
    let mut filling = Filling::default();
    let mut free = capacity;
    let mut left: Vec<u32> = loose.classes().iter().map(|class| class.count).collect();
    loop {
        let others = others(filling.count + 1);
        let mut best: Option<((i128, bool, u64), usize)> = None;
        let mut is_alone = true;
        for (at, class) in loose.classes().iter().enumerate() {
            if left.get(at).is_none_or(|left| *left == 0) || !free.holds(&class.ask) {
                continue;
            }
            let price = i128::from(class.price);
            // No class further down is worth as much even alone.
            if best.is_some_and(|((value, _, _), _)| value > price * i128::from(PPM)) {
                break;
            }
            let value = price * throughput.in_job(others, class.gang);
            let is_here = machine.is_some_and(|machine| class.is_on(machine));
            let rank = (value, is_here, alignment(&class.ask, &free, &capacity));
            is_alone = best.is_none();
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, at));
            }
        }
        let Some((_, at)) = best else { break };
        let (Some(class), Some(left)) = (loose.classes().get(at), left.get_mut(at)) else { break };
        // Where neighbours do not matter and no other class is worth as much, all that fit go at
        // once: they would be chosen one after another.
        let n =
            if is_alone && throughput.is_full() { free.times(&class.ask).min(*left) } else { 1 };
        let value = worth(loose, &filling, at, n, throughput);
        if value < filling.value {
            break;
        }
        *left -= n;
        free -= class.ask.scaled(n);
        filling.sum += class.ask.scaled(n);
        filling.count += usize::try_from(n).unwrap_or(usize::MAX);
        filling.value = value;
        match filling.classes.last_mut().filter(|(last, _)| *last == at) {
            Some((_, count)) => *count += n,
            None => filling.classes.push((at, n)),
        }
    }
    filling
}

/// Of a filling with `n` more of a class: what all of it is worth, in millionths.
fn worth(loose: &Loose, filling: &Filling, class: usize, n: u32, throughput: Throughput) -> i128 {
    let one = |class: usize, count: u32, others: u32| {
        let Some(class) = loose.classes().get(class) else { return 0 };
        i128::from(class.price) * i128::from(count) * throughput.in_job(others, class.gang)
    };
    if throughput.is_full() {
        return filling.value + one(class, n, 0);
    }
    let others = others(filling.count + usize::try_from(n).unwrap_or(usize::MAX));
    let so_far = filling.classes.iter().map(|(class, count)| one(*class, *count, others));
    so_far.sum::<i128>() + one(class, n, others)
}
