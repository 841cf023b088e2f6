//! Which types a node may be of, and which of them is launched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{MicroUsd, Resources};

use crate::arena::Desk;
use crate::policy::packing::{Offer, Shelf};

/// Types of one CreateFleet, the cheapest (pkg/providers/instance/instance.go, `maxInstanceTypes`).
const MOST_TYPES: usize = 60;
/// Types that must be cheaper for a spot node to be replaced by a spot node, and as many are asked for
/// (disruption/consolidation.go, `MinInstanceTypesForSpotToSpotConsolidation`).
pub(super) const SPOT_TO_SPOT: usize = 15;

/// Which types may be launched. As in the NodePool of Karpenter's "Getting Started" (v1): categories
/// c, m and r, later than the second generation; pods with GPUs have a NodePool of their own with g
/// and p. A pod that fits none of these may have any type. Types whose names are not AWS's are in
/// both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodePool {
    Plain,
    Gpu,
    Any,
}

#[derive(Debug, Clone, Copy)]
struct Type {
    capacity: Resources,
    is_plain: bool,
    is_gpu: bool,
    is_metal: bool,
}

/// Types, what they cost now, and what is avoided.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    shelf: Shelf,
    types: Vec<Type>,
    /// By pool.
    type_of: Vec<usize>,
    pools_of: Vec<Vec<usize>>,
    /// Of each NodePool, what no type exceeds.
    largest: BTreeMap<NodePool, Vec<Resources>>,
    /// Until when a pool's spot machines are not asked for.
    hidden: BTreeMap<usize, u64>,
    /// The lowest price of what holds so much, sold out or not.
    floors: BTreeMap<(NodePool, Resources), MicroUsd>,
}

impl Catalogue {
    /// Takes in what has moved.
    pub(super) fn heed(&mut self, desk: &Desk) {
        if self.types.is_empty() {
            self.group(desk);
        }
        if self.shelf.heed(desk) {
            self.floors.clear();
        }
        let now = desk.now_ms();
        self.hidden.retain(|_, until_ms| *until_ms > now);
    }

    fn group(&mut self, desk: &Desk) {
        let mut places: BTreeMap<(Arc<str>, Resources), usize> = BTreeMap::new();
        for (at, pool) in desk.recording().pools.iter().enumerate() {
            let key = (pool.instance_type.clone(), pool.capacity);
            let place = *places.entry(key).or_insert(self.types.len());
            if place == self.types.len() {
                self.types.push(Type::new(&pool.instance_type, pool.capacity));
                self.pools_of.push(Vec::new());
            }
            self.type_of.push(place);
            if let Some(pools) = self.pools_of.get_mut(place) {
                pools.push(at);
            }
        }
        for node_pool in [NodePool::Plain, NodePool::Gpu, NodePool::Any] {
            let types = self.types.iter().filter(|it| it.is_in(node_pool));
            let mut largest: Vec<Resources> = Vec::new();
            for it in types {
                if !largest.iter().any(|other| other.holds(&it.capacity)) {
                    largest.retain(|other| !it.capacity.holds(other));
                    largest.push(it.capacity);
                }
            }
            self.largest.insert(node_pool, largest);
        }
    }

    /// A pool is not asked for spot until then.
    pub(super) fn hide(&mut self, pool: usize, until_ms: u64) {
        self.hidden.insert(pool, until_ms);
    }

    /// Whether a node of the NodePool could hold so much.
    pub(super) fn holds(&self, node_pool: NodePool, ask: &Resources) -> bool {
        self.largest.get(&node_pool).into_iter().flatten().any(|largest| largest.holds(ask))
    }

    /// Whose node a pod gets; `None` when no type holds it.
    pub(super) fn node_pool(&self, ask: &Resources) -> Option<NodePool> {
        let wanted = if ask.gpus > 0 { NodePool::Gpu } else { NodePool::Plain };
        [wanted, NodePool::Any].into_iter().find(|it| self.holds(*it, ask))
    }

    fn is_there(&self, desk: &Desk, offer: &Offer) -> bool {
        offer.is_there(desk) && !(offer.is_spot && self.hidden.contains_key(&offer.pool))
    }

    fn holding(&self, pool: usize, node_pool: NodePool, ask: &Resources) -> Option<(usize, &Type)> {
        let at = *self.type_of.get(pool)?;
        let it = self.types.get(at)?;
        (it.is_in(node_pool) && it.capacity.holds(ask)).then_some((at, it))
    }

    /// The types that hold so much and may be bought below a price, the cheapest first; without metal
    /// where there is anything else.
    fn types(&self, desk: &Desk, want: &Want) -> Vec<usize> {
        for takes_metal in [false, true] {
            let mut seen = BTreeSet::new();
            let mut types = Vec::new();
            for offer in self.shelf.offers() {
                if want.below.is_some_and(|below| offer.price >= below) || types.len() == want.most
                {
                    break;
                }
                if want.only_spot && !offer.is_spot {
                    continue;
                }
                let Some((at, it)) = self.holding(offer.pool, want.node_pool, &want.ask) else {
                    continue;
                };
                if it.is_metal == takes_metal && self.is_there(desk, offer) && seen.insert(at) {
                    types.push(at);
                }
            }
            if !types.is_empty() {
                return types;
            }
        }
        Vec::new()
    }

    /// What CreateFleet would launch for a planned node.
    pub(super) fn launch(&self, desk: &Desk, node_pool: NodePool, ask: Resources) -> Option<Offer> {
        let want = Want { node_pool, ask, below: None, only_spot: false, most: MOST_TYPES };
        let types = self.types(desk, &want);
        let on_demand = self.offers_of(desk, &types, false).min();
        let dearest = on_demand.map(|offer| offer.price);
        self.optimized(desk, &types, dearest).or(on_demand)
    }

    /// What would replace a node of this offer at a lower price.
    pub(super) fn cheaper(
        &mut self,
        desk: &Desk,
        node_pool: NodePool,
        ask: Resources,
        node: &Offer,
    ) -> Option<Offer> {
        if self.floor(node_pool, ask) >= node.price {
            return None;
        }
        let below = Some(node.price);
        let spot = Want { node_pool, ask, below, only_spot: true, most: MOST_TYPES };
        if node.is_spot {
            let types = self.types(desk, &Want { most: SPOT_TO_SPOT, ..spot });
            let dearest = Some(MicroUsd(node.price.0 - 1));
            return if types.len() < SPOT_TO_SPOT {
                None
            } else {
                self.optimized(desk, &types, dearest)
            };
        }
        // Instead of on-demand: cheaper spot if there is any, and nothing else then.
        let types = self.types(desk, &spot);
        let dearest = Some(MicroUsd(node.price.0 - 1));
        self.optimized(desk, &types, dearest).or_else(|| {
            let types = self.types(desk, &Want { only_spot: false, ..spot });
            self.offers_of(desk, &types, false).min().filter(|offer| offer.price < node.price)
        })
    }

    fn floor(&mut self, node_pool: NodePool, ask: Resources) -> MicroUsd {
        if let Some(floor) = self.floors.get(&(node_pool, ask)) {
            return *floor;
        }
        let mut holding = self.shelf.offers().iter();
        let floor = holding.find(|offer| self.holding(offer.pool, node_pool, &ask).is_some());
        let floor = floor.map_or(MicroUsd(i64::MAX), |offer| offer.price);
        self.floors.insert((node_pool, ask), floor);
        floor
    }

    fn offers_of(
        &self,
        desk: &Desk,
        types: &[usize],
        is_spot: bool,
    ) -> impl Iterator<Item = Offer> {
        let pools = types.iter().filter_map(|at| self.pools_of.get(*at)).flatten();
        let offers = pools.map(move |pool| {
            let offer = Offer { price: MicroUsd(0), is_spot, pool: *pool };
            Offer { price: desk.price(*pool, offer.option()), ..offer }
        });
        offers.filter(|offer| self.is_there(desk, offer))
    }

    /// `price-capacity-optimized`: "identifies the pools with the highest capacity availability for the
    /// number of instances that are launching", then takes the lowest priced of these (EC2 API
    /// Reference, `SpotOptions`). How much is "the highest" is not published; here: pools with at least
    /// half as many machines to give as the one that has most.
    fn optimized(&self, desk: &Desk, types: &[usize], dearest: Option<MicroUsd>) -> Option<Offer> {
        let spot: Vec<Offer> = self
            .offers_of(desk, types, true)
            .filter(|offer| dearest.is_none_or(|dearest| offer.price <= dearest))
            .collect();
        let room = |offer: &Offer| u64::from(desk.room(offer.pool));
        let most = spot.iter().map(room).max()?;
        let deep = spot.into_iter().filter(|offer| 2 * room(offer) >= most);
        deep.min_by_key(|offer| (offer.price, std::cmp::Reverse(room(offer)), offer.pool))
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
struct Want {
    node_pool: NodePool,
    ask: Resources,
    below: Option<MicroUsd>,
    only_spot: bool,
    most: usize,
}

impl Type {
    fn new(name: &str, capacity: Resources) -> Self {
        let category: &str = name.split(|it: char| !it.is_ascii_lowercase()).next().unwrap_or(name);
        let rest = name.strip_prefix(category).unwrap_or_default();
        let generation: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let is_late = generation.parse::<u32>().is_ok_and(|generation| generation > 2);
        let is_foreign = !name.contains('.');
        let is_of = |categories: &[&str]| is_foreign || is_late && categories.contains(&category);
        Self {
            capacity,
            is_plain: capacity.gpus == 0 && is_of(&["c", "m", "r"]),
            is_gpu: capacity.gpus > 0 && is_of(&["g", "p"]),
            is_metal: name.contains("metal"),
        }
    }

    fn is_in(&self, node_pool: NodePool) -> bool {
        match node_pool {
            NodePool::Plain => self.is_plain,
            NodePool::Gpu => self.is_gpu,
            NodePool::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_which_node_pool() {
        let seen = |name: &str, gpus: u32| {
            let capacity = Resources { cpu_millis: 1, memory_mib: 1, disk_mib: 0, gpus };
            let it = Type::new(name, capacity);
            (it.is_plain, it.is_gpu, it.is_metal)
        };
        assert_eq!(seen("m5.large", 0), (true, false, false));
        assert_eq!(seen("c8gd.metal-48xl", 0), (true, false, true));
        assert_eq!(seen("m1.small", 0), (false, false, false));
        assert_eq!(seen("t4g.nano", 0), (false, false, false));
        assert_eq!(seen("u-6tb1.56xlarge", 0), (false, false, false));
        assert_eq!(seen("g4dn.xlarge", 1), (false, true, false));
        assert_eq!(seen("g2.2xlarge", 1), (false, false, false));
        assert_eq!(seen("small", 0), (true, false, false));
    }
}
