//! A market drawn from present offers.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{Clamp, MicroUsd, Offer, PurchaseOption, Resources};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Item, Question, has_spot};

/// Pools that are looked at: the cheapest by what they hold. More are only more to simulate.
pub const POOLS: usize = 64;
/// From a reclaim of a pool until it has machines again. Recorded pools are without for 12 minutes to
/// 12 hours on average; but those are of scarce GPUs.
pub const OUTAGE_MS: u64 = 600_000;
/// Machines of a pool that has some: more than any job asks for.
const DEPTH: u32 = 1_000_000;
/// EC2 gives two minutes' notice.
const NOTICE_MS: u64 = 120_000;
/// Ticks of a pool's record at most; they are a minute long, or longer.
const TICKS: u64 = 4_000;
const MINUTE_MS: u64 = 60_000;
/// A record is this many times as long as the work takes, waits included.
const LONGER: u64 = 4;

/// The market of a run, and the names of its pools in their order.
pub(super) fn recording(question: &Question, seed: u64) -> (Recording, Vec<Name>) {
    let pools = pools(question);
    let gap_ms = gap_ms(question);
    let ticks = horizon_ms(question).div_ceil(gap_ms).max(1);
    let traces = pools.iter().enumerate().map(|(ordinal, pool)| {
        let stream: u64 = ordinal.clamped();
        let machines = if has_spot(question, &pool.zone, &pool.instance_type) && pool.is_spot {
            depths(pool.hazard_ppm_hour, (gap_ms, ticks), seed, stream)
        } else {
            // What runs there is there.
            Depth::Constant(owned(question, pool))
        };
        PoolTrace {
            zone: pool.zone.clone(),
            instance_type: pool.instance_type.clone(),
            capacity: pool.capacity,
            on_demand: pool.on_demand,
            spot: Prices::Constant(pool.spot),
            machines,
            gap_ms,
            hazard_ppm_hour: pool.hazard_ppm_hour,
        }
    });
    let recording = Recording {
        gap_ms,
        notice_ms: NOTICE_MS,
        boot_ms: question.present.boot_ms,
        billing: Billing::Second,
        decide_at: DecideAt::Event,
        egress: BTreeMap::new(),
        pools: traces.collect(),
    };
    (recording, pools.into_iter().map(|pool| (pool.zone, pool.instance_type)).collect())
}

/// Spot machines of a pool that are ours already.
fn owned(question: &Question, pool: &Sold) -> u32 {
    let of_it = |offer: &&Offer| {
        let of = &offer.pool;
        of.option == PurchaseOption::Spot
            && of.zone == pool.zone
            && of.instance_type == pool.instance_type
    };
    let offers = question.present.nodes.iter().filter_map(|node| node.offer.as_ref());
    offers.filter(of_it).count().clamped()
}

/// A pool's zone and instance type.
pub(super) type Name = (Arc<str>, Arc<str>);

struct Sold {
    zone: Arc<str>,
    instance_type: Arc<str>,
    capacity: Resources,
    on_demand: MicroUsd,
    spot: MicroUsd,
    hazard_ppm_hour: u32,
    is_spot: bool,
}

/// What would hold a task of some item, and what machines are of already.
fn pools(question: &Question) -> Vec<Sold> {
    let present = &question.present;
    let owned = present.nodes.iter().filter_map(|node| node.offer.as_ref());
    let mut pools: BTreeMap<Name, Sold> = BTreeMap::new();
    for offer in present.offers.iter().chain(owned.clone()) {
        let pool = &offer.pool;
        let key = (pool.zone.clone(), pool.instance_type.clone());
        let sold = pools.entry(key).or_insert_with(|| Sold {
            zone: pool.zone.clone(),
            instance_type: pool.instance_type.clone(),
            capacity: offer.capacity,
            on_demand: offer.on_demand_price,
            spot: offer.on_demand_price,
            hazard_ppm_hour: 0,
            is_spot: false,
        });
        match pool.option {
            PurchaseOption::OnDemand => sold.on_demand = offer.price,
            PurchaseOption::Spot if !sold.is_spot => {
                sold.is_spot = true;
                sold.spot = offer.price;
                sold.hazard_ppm_hour = offer.hazard_ppm_hour;
            }
            PurchaseOption::Spot => {}
        }
    }
    let is_owned = |sold: &Sold| {
        owned.clone().any(|offer| {
            offer.pool.zone == sold.zone && offer.pool.instance_type == sold.instance_type
        })
    };
    let mut pools: Vec<(bool, u64, Sold)> = pools
        .into_values()
        .filter_map(|sold| {
            let owned = is_owned(&sold);
            let cost = cost(&question.items, &sold);
            (owned || cost.is_some()).then(|| (!owned, cost.unwrap_or(u64::MAX), sold))
        })
        .collect();
    pools.sort_by_key(|(not_owned, cost, _)| (*not_owned, *cost));
    pools.truncate(POOLS);
    pools.into_iter().map(|(_, _, sold)| sold).collect()
}

/// The least that a task costs an hour there, in nano-dollars; none when nothing fits.
fn cost(items: &[Item], sold: &Sold) -> Option<u64> {
    let price = if sold.is_spot { sold.spot } else { sold.on_demand };
    let price: u64 = price.0.clamped();
    let fits = items.iter().map(|item| sold.capacity.times(&item.ask)).max().unwrap_or(0);
    price.saturating_mul(1_000).checked_div(u64::from(fits))
}

/// Long enough for all of it to be done and a deadline to be met, several times.
fn horizon_ms(question: &Question) -> u64 {
    let longest: u64 = question.items.iter().map(|item| item.run_ms).fold(0, u64::saturating_add);
    let due = question.deadline_ms.unwrap_or(0);
    let day_ms = 24 * 60 * MINUTE_MS;
    longest.max(due).saturating_mul(LONGER).saturating_add(day_ms).min(400 * day_ms)
}

fn gap_ms(question: &Question) -> u64 {
    horizon_ms(question).div_ceil(TICKS).max(MINUTE_MS)
}

/// In each tick the pool is emptied with the chance that its hazard gives it; all its machines go at
/// once, as recorded pools mostly do.
fn depths(hazard_ppm_hour: u32, ticks: (u64, u64), seed: u64, stream: u64) -> Depth {
    const PPM_MS_PER_HOUR: u128 = 3_600_000 * 1_000_000;
    let (gap_ms, ticks) = ticks;
    if hazard_ppm_hour == 0 {
        return Depth::Constant(DEPTH);
    }
    let chance = u128::from(hazard_ppm_hour) * u128::from(gap_ms) * u128::from(u32::MAX);
    let chance = (chance / PPM_MS_PER_HOUR).min(u128::from(u32::MAX));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let outage = OUTAGE_MS.div_ceil(gap_ms).max(1);
    let mut machines = Vec::with_capacity(usize::try_from(ticks).unwrap_or(0));
    let mut down = 0;
    for tick in 0..ticks {
        // What runs is there now.
        if tick > 0 && u128::from(rng.random::<u32>()) < chance {
            down = outage;
        }
        machines.push(if down > 0 { 0 } else { DEPTH });
        down = u64::saturating_sub(down, 1);
    }
    Depth::PerTick(machines)
}
