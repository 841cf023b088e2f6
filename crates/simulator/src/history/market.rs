//! What was bought, and when it was taken back, as a recorded market.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{
    Clamp, MicroUsd, Node, NodeReason, NodeState, Offer, PurchaseOption, Resources, Timestamp,
};

use super::{Past, span};

/// Machines that a pool is thought to have had while it took none back: more than was asked of it.
pub const DEPTH: u32 = 100_000;
/// Ticks of the time that is looked at, at most.
const TICKS: u64 = 10_000;
const MINUTE_MS: u64 = 60_000;
/// What EC2 gives.
const NOTICE_MS: u64 = 120_000;
/// What a machine boots of which none was seen to: EC2 with an own image takes less.
const BOOT_MS: u64 = 120_000;
/// No on-demand machine is to be had of somebody's own: at a million dollars an hour nobody asks.
const NEVER: MicroUsd = MicroUsd(1_000_000_000_000);
/// The zone of static machines.
const STATIC: &str = "static";

/// A market, and what is to be said of it.
pub(super) struct Market {
    pub(super) recording: Recording,
    pub(super) words: Vec<String>,
}

type Key = (Arc<str>, Arc<str>);

/// A pool's facts.
struct Known {
    capacity: Resources,
    on_demand: MicroUsd,
    /// Spot price at times, the oldest first.
    prices: BTreeMap<Timestamp, MicroUsd>,
    hazard_ppm_hour: u32,
    /// Whether spot was offered or bought.
    is_spot: bool,
    /// Lives of its spot machines: when each began, ended, and whether it was taken back.
    lives: Vec<(Timestamp, Option<Timestamp>, bool)>,
}

impl Market {
    pub(super) fn of(past: &Past) -> Self {
        let length_ms = past.to.since(past.from).max(1);
        let gap_ms = length_ms.div_ceil(TICKS).max(MINUTE_MS);
        let mut pools: Vec<PoolTrace> =
            known(past).into_iter().map(|(key, known)| known.trace(key, past, gap_ms)).collect();
        let from_cloud = pools.len();
        pools.extend(statics(past, gap_ms));
        let boots = boots(past);
        let boot_ms = match boots.get(boots.len() / 2) {
            Some(boot_ms) => *boot_ms,
            None if from_cloud > 0 => BOOT_MS,
            None => 0,
        };
        let recording = Recording {
            gap_ms,
            notice_ms: if from_cloud > 0 { NOTICE_MS } else { 0 },
            boot_ms,
            billing: Billing::Second,
            decide_at: DecideAt::Event,
            egress: BTreeMap::new(),
            pools,
        };
        let words = words(&recording, from_cloud, boots.is_empty());
        Self { recording, words }
    }
}

/// What machines took from launch to join, ascending.
fn boots(past: &Past) -> Vec<u64> {
    let bought = past.nodes.iter().filter(|node| node.offer().is_some());
    let mut boots: Vec<u64> =
        bought.filter_map(|node| Some(node.joined?.since(node.launched))).collect();
    boots.sort_unstable();
    boots
}

/// All pools of the cloud of which something is known.
fn known(past: &Past) -> BTreeMap<Key, Known> {
    let mut all: BTreeMap<Key, Known> = BTreeMap::new();
    let mut nodes: Vec<&Node> = past.nodes.iter().collect();
    nodes.sort_by_key(|node| (node.launched, node.id));
    for node in nodes {
        let Some(offer) = node.offer() else { continue };
        let known = entry(&mut all, offer);
        if offer.pool.option == PurchaseOption::Spot {
            known.prices.insert(node.launched, offer.price);
            let end = end(node);
            known.lives.push((node.launched, end.map(|(at, _)| at), end.is_some_and(|end| end.1)));
        }
    }
    for offer in &past.offers {
        let known = entry(&mut all, offer);
        // What is sold now is younger than what was bought.
        known.capacity = offer.capacity;
        known.on_demand = match offer.pool.option {
            PurchaseOption::OnDemand => offer.price,
            PurchaseOption::Spot => offer.on_demand_price,
        };
        if offer.pool.option == PurchaseOption::Spot {
            known.prices.insert(past.to, offer.price);
            known.hazard_ppm_hour = offer.hazard_ppm_hour;
        }
    }
    all.retain(|_, known| known.capacity.cpu_millis > 0 && known.capacity.memory_mib > 0);
    all
}

fn entry<'k>(all: &'k mut BTreeMap<Key, Known>, offer: &Offer) -> &'k mut Known {
    let key = (offer.pool.zone.clone(), offer.pool.instance_type.clone());
    let known = all.entry(key).or_insert_with(|| Known {
        capacity: offer.capacity,
        on_demand: offer.on_demand_price,
        prices: BTreeMap::new(),
        hazard_ppm_hour: offer.hazard_ppm_hour,
        is_spot: false,
        lives: Vec::new(),
    });
    known.is_spot |= offer.pool.option == PurchaseOption::Spot;
    known
}

/// When a machine ended, and whether it was taken back: then at its notice's deadline, even if it was
/// given back before.
fn end(node: &Node) -> Option<(Timestamp, bool)> {
    let is_gone = node.state == NodeState::Gone;
    match node.deadline {
        Some(deadline) if is_gone => Some((deadline, true)),
        _ if is_gone => Some((node.since, node.reason == NodeReason::Reclaimed)),
        _ => None,
    }
}

/// Whether this machine was taken back in this time.
pub fn was_taken(node: &Node, from: Timestamp, to: Timestamp) -> bool {
    let taken = end(node).filter(|(_, taken)| *taken);
    node.offer().is_some() && taken.is_some_and(|(at, _)| at >= from && at < to)
}

impl Known {
    fn trace(self, (zone, instance_type): Key, past: &Past, gap_ms: u64) -> PoolTrace {
        PoolTrace {
            machines: self.depths(past, gap_ms),
            spot: self.prices(past, gap_ms),
            zone,
            instance_type,
            capacity: self.capacity,
            on_demand: self.on_demand,
            gap_ms,
            hazard_ppm_hour: self.hazard_ppm_hour,
        }
    }

    /// In each tick what the last purchase before it paid.
    fn prices(&self, past: &Past, gap_ms: u64) -> Prices {
        let Some((_, first)) = self.prices.first_key_value() else {
            return Prices::Constant(self.on_demand);
        };
        if self.prices.values().all(|price| price == first) {
            return Prices::Constant(*first);
        }
        let ticks = ticks(past, gap_ms);
        let at = |tick: u64| {
            let until = past.from.later_by(tick.saturating_mul(gap_ms));
            let last = self.prices.range(..=until).next_back();
            last.map_or(*first, |(_, price)| *price)
        };
        Prices::PerTick((0..=ticks).map(at).collect())
    }

    /// Much, but for the ticks in which machines were taken back: then what was left.
    fn depths(&self, past: &Past, gap_ms: u64) -> Depth {
        if !self.is_spot {
            return Depth::Constant(0);
        }
        let mut low: BTreeMap<u64, u32> = BTreeMap::new();
        let taken = self.lives.iter().filter(|(_, _, taken)| *taken);
        for at in taken.filter_map(|(_, end, _)| *end) {
            if at < past.from || at >= past.to {
                continue;
            }
            let lives = |(launched, end, _): &&(Timestamp, Option<Timestamp>, bool)| {
                *launched <= at && end.is_none_or(|end| end > at)
            };
            let left: u32 = self.lives.iter().filter(lives).count().clamped();
            let tick = at.since(past.from) / gap_ms;
            low.entry(tick).and_modify(|least| *least = left.min(*least)).or_insert(left);
        }
        if low.is_empty() {
            return Depth::Constant(DEPTH);
        }
        let depth = |tick: u64| low.get(&tick).copied().unwrap_or(DEPTH);
        Depth::PerTick((0..lasting(past, gap_ms)).map(depth).collect())
    }
}

/// Somebody's own machines, by size: a pool that costs nothing and has as many as there were.
fn statics(past: &Past, gap_ms: u64) -> Vec<PoolTrace> {
    let mut by_size: BTreeMap<Resources, Vec<&Node>> = BTreeMap::new();
    let own = past.nodes.iter().filter(|node| node.offer().is_none());
    for node in own.filter(|node| node.capacity.cpu_millis > 0 && node.capacity.memory_mib > 0) {
        by_size.entry(node.capacity).or_default().push(node);
    }
    let ticks = lasting(past, gap_ms);
    let trace = |(capacity, nodes): (Resources, Vec<&Node>)| {
        let depth = |tick: u64| {
            let (begin, end) = (tick.saturating_mul(gap_ms), (tick + 1).saturating_mul(gap_ms));
            let (begin, end) = (past.from.later_by(begin), past.from.later_by(end));
            // One that came in a tick is there in all of it, or it would not be there for what it ran.
            let there = nodes.iter().filter(|node| {
                node.launched < end && (node.state != NodeState::Gone || node.since > begin)
            });
            let there: u32 = there.count().clamped();
            there
        };
        let mut depths: Vec<u32> = (0..ticks).map(depth).collect();
        let last = depths.last().copied().unwrap_or(0);
        depths.dedup();
        let machines = match depths.as_slice() {
            [_] => Depth::Constant(last),
            _ => Depth::PerTick((0..ticks).map(depth).collect()),
        };
        let Resources { cpu_millis, memory_mib, gpus, .. } = capacity;
        PoolTrace {
            zone: STATIC.into(),
            instance_type: format!("{cpu_millis}m-{memory_mib}MiB-{gpus}gpu").into(),
            capacity,
            on_demand: NEVER,
            spot: Prices::Constant(MicroUsd(0)),
            machines,
            gap_ms,
            hazard_ppm_hour: 0,
        }
    };
    // Disk is not in files: sizes that differ in nothing else are one pool.
    let mut merged: BTreeMap<Resources, Vec<&Node>> = BTreeMap::new();
    for (capacity, nodes) in by_size {
        merged.entry(Resources { disk_mib: 0, ..capacity }).or_default().extend(nodes);
    }
    merged.into_iter().map(trace).collect()
}

fn ticks(past: &Past, gap_ms: u64) -> u64 {
    past.to.since(past.from).div_ceil(gap_ms).max(1)
}

/// Another policy may take longer: as long again, and a day at least.
fn lasting(past: &Past, gap_ms: u64) -> u64 {
    let ticks = ticks(past, gap_ms);
    ticks.saturating_add(ticks.max((24 * 60 * MINUTE_MS).div_ceil(gap_ms)))
}

fn words(recording: &Recording, from_cloud: usize, no_boot: bool) -> Vec<String> {
    let mut words = Vec::new();
    if from_cloud > 0 {
        words.push(format!(
            "a spot pool had {DEPTH} machines but when it took some back: then it had no more than what \
             was left, for {}",
            span(recording.gap_ms)
        ));
        words.push(
            "a spot price is the last that was paid, and the present one in the end; on-demand prices \
             are the present ones"
                .to_owned(),
        );
        let boot = span(recording.boot_ms);
        words.push(match no_boot {
            true => format!("machines boot in {boot}: none was seen to boot"),
            false => format!("machines boot in {boot}, as half of them did"),
        });
    }
    if recording.pools.len() > from_cloud {
        words.push(
            "static nodes are spot pools of the zone `static` at no price, with as many machines as \
             there were; an on-demand machine of their size is priced at a million dollars an hour, \
             for there is none"
                .to_owned(),
        );
    }
    words
}
