//! First-fit decreasing at the lowest price.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use market::recorded::{MachineNo, PoolTrace};
use model::{Clamp, MicroUsd, Resources};

use super::{Offer, Rooms, Shelf};
use crate::arena::{Desk, News};
use crate::jobs::TaskKey;
use crate::policy::Policy;

/// First-fit decreasing onto what is held, then machines of the lowest price per unit of work.
///
/// - **Size** of a task: its dominant resource in money, the largest of ask x the catalogue's lowest
///   on-demand price for a unit of that resource. What waits is taken by falling size.
/// - **First fit**: machines in the order of their purchase, those that boot included, those that
///   have got their notice not. No task is ever moved.
/// - **Lowest price**: a new machine is the offer whose price, divided by the size of what first-fit
///   decreasing would put on it of what waits, is lowest; of equal ones the smaller, then on-demand.
///   That is EC2 Fleet's `lowest-price` with instance weighting: "price per unit hour" is the price
///   divided by how many units of one's own application the type holds, and the fleet launches from
///   the lowest of these with capacity left (Amazon EC2 User Guide, "Allocation strategies for Spot
///   Instances" and "Use instance weighting"). The unit is the size above.
/// - A machine without a task ends at once.
#[derive(Debug, Default)]
pub(crate) struct FfdLowestPrice {
    shelf: Shelf,
    sizes: Option<Sizes>,
    rooms: Rooms,
    waiting: BTreeMap<(Reverse<i128>, Resources), BTreeSet<TaskKey>>,
    machines: BTreeMap<TaskKey, MachineNo>,
}

impl Policy for FfdLowestPrice {
    fn decide(&mut self, desk: &mut Desk) {
        self.shelf.heed(desk);
        for news in desk.news().to_vec() {
            match news {
                News::Arrived(task) => self.wait(desk, task),
                News::Done(task) => {
                    if let Some(machine) = self.machines.remove(&task) {
                        self.refresh(desk, machine);
                    }
                }
                News::Notice { machine, .. } => {
                    self.rooms.remove(machine);
                }
                News::Reclaimed(machine, tasks) => {
                    self.rooms.remove(machine);
                    for task in tasks {
                        self.wait(desk, task);
                    }
                }
                News::Booted(_) | News::Moved(_) => {}
            }
        }
        self.fill_held(desk);
        while !self.waiting.is_empty() {
            let Some((offer, fill)) = self.best(desk) else { break };
            self.buy(desk, &offer, &fill);
        }
    }
}

/// What a machine would take of what waits: so many of each class.
type Fill = Vec<((Reverse<i128>, Resources), u32)>;

impl FfdLowestPrice {
    /// What fits no type is left where it is.
    fn wait(&mut self, desk: &Desk, task: TaskKey) {
        let Some(ask) = desk.tasks().get(&task).map(|state| state.job.ask) else { return };
        if self.shelf.fitting(desk, ask).is_empty() {
            return;
        }
        let sizes = self.sizes.get_or_insert_with(|| Sizes::new(&desk.recording().pools));
        self.waiting.entry((Reverse(sizes.of(&ask)), ask)).or_default().insert(task);
    }

    fn refresh(&mut self, desk: &mut Desk, machine: MachineNo) {
        match desk.machines().get(&machine) {
            Some(held) if held.tasks.is_empty() => {
                desk.end(machine);
                self.rooms.remove(machine);
            }
            Some(held) if held.bought.deadline_ms.is_none() => self.rooms.set(machine, held.free),
            Some(_) => {}
            None => {
                self.rooms.remove(machine);
            }
        }
    }

    fn fill_held(&mut self, desk: &mut Desk) {
        let classes: Vec<_> = self.waiting.keys().copied().collect();
        for class in classes {
            while let Some(machine) = self.rooms.first(&class.1) {
                let Some(task) = self.take(&class) else { break };
                self.assign(desk, task, machine);
            }
        }
    }

    fn take(&mut self, class: &(Reverse<i128>, Resources)) -> Option<TaskKey> {
        let tasks = self.waiting.get_mut(class)?;
        let task = tasks.pop_first();
        if tasks.is_empty() {
            self.waiting.remove(class);
        }
        task
    }

    fn assign(&mut self, desk: &mut Desk, task: TaskKey, machine: MachineNo) {
        if desk.assign(task, machine) {
            self.machines.insert(task, machine);
        }
        if let Some(held) = desk.machines().get(&machine) {
            self.rooms.set(machine, held.free);
        }
    }

    /// The offer of the lowest price per unit of size, and what it would take.
    fn best(&self, desk: &Desk) -> Option<(Offer, Fill)> {
        let pools = &desk.recording().pools;
        let waits = self.waiting.iter().map(|((Reverse(each), _), tasks)| {
            let tasks: u64 = tasks.len().clamped();
            each * i128::from(tasks)
        });
        let all: i128 = waits.sum();
        let mut best: Option<(Offer, i128, Resources)> = None;
        let is_better = |price: MicroUsd, size: i128, best: &Option<(Offer, i128, Resources)>| {
            best.as_ref().is_none_or(|(other, other_size, _)| {
                i128::from(price.0) * other_size < i128::from(other.price.0) * size
            })
        };
        // Offers come by rising price, so of equal ones the smaller is met first; and once not even
        // one that takes all that waits would be better, none that follows is.
        for offer in self.shelf.offers() {
            if !is_better(offer.price, all, &best) {
                break;
            }
            let Some(pool) = pools.get(offer.pool) else { continue };
            let size = self
                .fill(pool.capacity)
                .map(|((Reverse(each), _), count)| each * i128::from(count));
            let size = size.sum();
            if size > 0 && is_better(offer.price, size, &best) && offer.is_there(desk) {
                best = Some((*offer, size, pool.capacity));
            }
        }
        best.map(|(offer, _, capacity)| (offer, self.fill(capacity).collect()))
    }

    /// What an empty machine takes of what waits.
    fn fill(&self, capacity: Resources) -> impl Iterator<Item = ((Reverse<i128>, Resources), u32)> {
        let mut free = capacity;
        self.waiting.iter().filter_map(move |(class, tasks)| {
            let count = free.times(&class.1).min(tasks.len().clamped());
            free -= class.1.scaled(count);
            (count > 0).then_some((*class, count))
        })
    }

    /// Buys machines as long as they would be filled just so.
    fn buy(&mut self, desk: &mut Desk, offer: &Offer, fill: &Fill) {
        let times = fill.iter().map(|(class, count)| {
            let waiting = self.waiting.get(class).map_or(0, BTreeSet::len);
            waiting / usize::try_from(*count).unwrap_or(usize::MAX)
        });
        for _ in 0..times.min().unwrap_or(0) {
            let Some(machine) = desk.launch(offer.pool, offer.option()) else { break };
            for (class, count) in fill {
                for _ in 0..*count {
                    if let Some(task) = self.take(class) {
                        self.assign(desk, task, machine);
                    }
                }
            }
        }
    }
}

/// What a unit of each resource costs where it is cheapest.
#[derive(Debug)]
struct Sizes {
    cpu_milli: i128,
    memory_mib: i128,
    disk_mib: i128,
    gpu: i128,
}

impl Sizes {
    fn new(pools: &[PoolTrace]) -> Self {
        let least = |amount: fn(&Resources) -> u32| {
            let prices = pools.iter().filter_map(|pool| {
                let amount = i128::from(amount(&pool.capacity));
                let MicroUsd(price) = pool.on_demand;
                (i128::from(price.max(1)) << 32).checked_div(amount)
            });
            prices.min().unwrap_or(0)
        };
        Self {
            cpu_milli: least(|capacity| capacity.cpu_millis),
            memory_mib: least(|capacity| capacity.memory_mib),
            disk_mib: least(|capacity| capacity.disk_mib),
            gpu: least(|capacity| capacity.gpus),
        }
    }

    /// At least 1, so that what asks for nothing is bought for as well.
    fn of(&self, ask: &Resources) -> i128 {
        let costs = [
            self.cpu_milli * i128::from(ask.cpu_millis),
            self.memory_mib * i128::from(ask.memory_mib),
            self.disk_mib * i128::from(ask.disk_mib),
            self.gpu * i128::from(ask.gpus),
        ];
        costs.into_iter().fold(1, i128::max)
    }
}
