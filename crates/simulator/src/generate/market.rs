//! A market whose pools come and go together.
//!
//! **Reclaim.** There are shortages of the world, of a region, of a zone and of a pool by itself,
//! each a thing that comes and goes, independent of the others, heavy-tailed in its lengths and in
//! the times between. A shortage reaches only some of the pools below it
//! ([`MarketParams::reach_permille`]), and these lose all their machines at once: bulk losses.
//! How often shortages come follows from what is asked for. Let p be the availability and
//! q = (1 - p) / p. If a kind of shortage has a pool down for x of the time and reaches s of its
//! pools, then two of these are both spared in 1 + x (s - x) / (1 - x)^2 times as many moments as if
//! they were independent; and pools are correlated by rho exactly if these factors, over all kinds
//! that they share, multiply to 1 + rho q.
//!
//! **Refusals.** A recorded market has one depth, ours included: it cannot keep what we hold and
//! refuse more, but by a number. So refusals are squeezes: spells in which a pool holds only some
//! of its machines. Whoever holds no more keeps them and is refused others; who holds more loses the
//! newest. Where a shortage is on, everything is gone and everything is refused.
//!
//! **Prices** move at random moments, a step up or down each, and stay within bounds. They say
//! nothing about shortages, as the recorded ones do not either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use market::random::{between, stream};
use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording, region};
use model::{Clamp, Fault, MicroUsd, Resources};
use rand_chacha::ChaCha8Rng;

use crate::files::{MACHINE_DISK_MIB, limits};

use super::Absurd;
use super::draw::{MEMORYLESS, Spells, below, by_tick, length_ms, spells};

/// A type that is sold in every zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeParams {
    /// As EC2 writes it.
    pub instance_type: Arc<str>,
    /// What tasks can use of it; disk is not looked at.
    pub capacity: Resources,
    /// On-demand price an hour.
    pub on_demand: MicroUsd,
}

/// What a generated market is like. Figures by default are those of nine recorded V100 zones
/// (`field/planning.md` §1b) where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketParams {
    /// Zones; two are of one region if all but the last letters is the same.
    pub zones: Vec<Arc<str>>,
    /// Types, each in every zone.
    pub types: Vec<TypeParams>,
    /// A tick's length.
    pub gap_ms: u64,
    /// Ticks; past them there is nothing.
    pub ticks: u32,
    /// Machines of a pool that nothing is wrong with.
    pub machines: u32,
    /// Thousandths of time in which a pool has a machine at all.
    pub availability_permille: u32,
    /// By so much that of a pool differs, at most, either way.
    pub availability_spread_permille: u32,
    /// From when a pool has machines to when it has none, on average. Spells shorter than a tick
    /// are mostly not seen, so that what is seen is longer.
    pub mean_up_ms: u64,
    /// Correlation of pools in different regions, in thousandths.
    pub across_regions_permille: u32,
    /// Of pools in different zones of a region.
    pub same_region_permille: u32,
    /// Of different types in a zone. No source: between a region's and 1.
    pub same_zone_permille: u32,
    /// Of the pools of the world or a region a shortage there reaches so many thousandths; more, if
    /// the correlations ask for it. By the default one of nine zones is available nearly always, as
    /// recorded (99.2 %).
    pub reach_permille: u32,
    /// Thousandths of a pool's time in which it is squeezed. No source.
    pub squeezed_permille: u32,
    /// What spot saves over on-demand, in per cent: the Spot Advisor's mean.
    pub saving_percent: u32,
    /// Price changes of a pool in ten days; 0 = none ever.
    pub price_moves_per_10_days: u32,
    /// By so many thousandths a price changes at most.
    pub price_step_permille: u32,
    /// Interruptions per million machine hours that buyers are told; `None` = the truth.
    pub hazard_ppm_hour: Option<u32>,
    /// From a notice to the reclaim.
    pub notice_ms: u64,
    /// From a launch until the machine takes work.
    pub boot_ms: u64,
    /// How time becomes money.
    pub billing: Billing,
    /// When machines may be bought and ended.
    pub decide_at: DecideAt,
}

impl Default for MarketParams {
    fn default() -> Self {
        let zones =
            ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-2a", "us-east-2b", "us-west-2a"];
        let kind = |name: &str, (vcpu, gib, gpus): (u32, u32, u32), on_demand| TypeParams {
            instance_type: name.into(),
            capacity: Resources {
                cpu_millis: vcpu * 1_000,
                memory_mib: gib * 1_024,
                disk_mib: MACHINE_DISK_MIB,
                gpus,
            },
            on_demand: MicroUsd(on_demand),
        };
        Self {
            zones: zones.map(Arc::from).to_vec(),
            // Karpenter's table of us-east-1, 2026-07-20.
            types: vec![
                kind("c5.2xlarge", (8, 16, 0), 340_000),
                kind("m5.2xlarge", (8, 32, 0), 384_000),
                kind("r5.2xlarge", (8, 64, 0), 504_000),
                kind("p3.2xlarge", (8, 61, 1), 3_060_000),
            ],
            gap_ms: 600_000,
            // A week.
            ticks: 1_008,
            machines: 16,
            availability_permille: 644,
            availability_spread_permille: 150,
            mean_up_ms: 12_060_000,
            across_regions_permille: 140,
            same_region_permille: 430,
            same_zone_permille: 600,
            reach_permille: 700,
            squeezed_permille: 200,
            saving_percent: 65,
            price_moves_per_10_days: 20,
            price_step_permille: 50,
            hazard_ppm_hour: None,
            notice_ms: 120_000,
            boot_ms: 60_000,
            billing: Billing::Second,
            decide_at: DecideAt::Event,
        }
    }
}

/// Makes a market.
pub fn market(params: &MarketParams, seed: u64) -> Result<Recording, Vec<Fault>> {
    check(params).or(|| {
        let gap_ms = params.gap_ms;
        let weather = Weather::new(params, seed);
        let mut pools = Vec::with_capacity(params.zones.len() * params.types.len());
        let mut shared = BTreeMap::new();
        for zone in &params.zones {
            for kind in &params.types {
                let machines = weather.depth(zone, kind, &mut shared);
                pools.push(PoolTrace {
                    zone: zone.clone(),
                    instance_type: kind.instance_type.clone(),
                    capacity: Resources { disk_mib: MACHINE_DISK_MIB, ..kind.capacity },
                    on_demand: kind.on_demand,
                    spot: weather.prices(zone, kind),
                    machines: Depth::PerTick(machines),
                    gap_ms,
                    hazard_ppm_hour: params.hazard_ppm_hour.unwrap_or_else(|| weather.hazard()),
                });
            }
        }
        Recording {
            gap_ms,
            notice_ms: params.notice_ms,
            boot_ms: params.boot_ms,
            billing: params.billing,
            decide_at: params.decide_at,
            egress: BTreeMap::new(),
            pools,
        }
    })
}

fn check(params: &MarketParams) -> Absurd {
    let mut absurd = Absurd::default();
    check_pools(params, &mut absurd);
    check_weather(params, &mut absurd);
    absurd.within(params.notice_ms, (0, limits::DURATION_MS), "notice_ms");
    absurd.within(params.boot_ms, (0, limits::DURATION_MS), "boot_ms");
    absurd
}

fn check_pools(params: &MarketParams, absurd: &mut Absurd) {
    let [zones, types] = [params.zones.len(), params.types.len()];
    let cells = zones.saturating_mul(types).saturating_mul(params.ticks as usize);
    absurd.unless(
        (1..=limits::POOLS).contains(&zones.saturating_mul(types)) && cells <= 100_000_000,
        "zones",
        format!("{zones} zones x {types} types must be 1 to 10000 pools, and 10^8 ticks of all"),
    );
    absurd.unless(distinct(params.zones.iter()), "zones", "must be different names, none empty");
    let names = params.types.iter().map(|kind| &kind.instance_type);
    absurd.unless(distinct(names), "types", "must have different names, none empty");
    for (index, kind) in params.types.iter().enumerate() {
        let Resources { cpu_millis, memory_mib, gpus, .. } = kind.capacity;
        let price = u64::try_from(kind.on_demand.0).unwrap_or(u64::MAX);
        absurd.unless(
            [cpu_millis, memory_mib]
                .iter()
                .all(|part| (1..=limits::AMOUNT).contains(&u64::from(*part)))
                && u64::from(gpus) <= limits::GPUS
                && price <= limits::PRICE_MICRO_USD,
            &format!("types/{index}"),
            "must have cpu and memory, and a price up to 1000000 USD",
        );
    }
    absurd.within(params.gap_ms, (1_000, limits::GAP_MS), "gap_ms");
    absurd.within(u64::from(params.ticks), (1, limits::TICKS.clamped()), "ticks");
    let span_ms = u64::from(params.ticks).saturating_mul(params.gap_ms);
    absurd.unless(span_ms <= limits::DURATION_MS, "ticks", "must be no more than a hundred years");
    absurd.within(u64::from(params.machines), (1, limits::AMOUNT), "machines");
}

fn check_weather(params: &MarketParams, absurd: &mut Absurd) {
    for (value, (least, most), field) in [
        (params.availability_permille, (10, 1_000), "availability_permille"),
        (params.availability_spread_permille, (0, 500), "availability_spread_permille"),
        (params.squeezed_permille, (0, 900), "squeezed_permille"),
        (params.saving_percent, (0, 99), "saving_percent"),
        (params.price_moves_per_10_days, (0, 1_000), "price_moves_per_10_days"),
        (params.price_step_permille, (0, 500), "price_step_permille"),
        (params.across_regions_permille, (0, 1_000), "across_regions_permille"),
        (params.same_region_permille, (0, 1_000), "same_region_permille"),
        (params.same_zone_permille, (0, 1_000), "same_zone_permille"),
        (params.reach_permille, (1, 1_000), "reach_permille"),
    ] {
        absurd.within(u64::from(value), (least, most), field);
    }
    absurd.unless(
        params.across_regions_permille <= params.same_region_permille
            && params.same_region_permille <= params.same_zone_permille,
        "same_region_permille",
        "correlations must not fall from across_regions to same_region to same_zone",
    );
    let hazard = u64::from(params.hazard_ppm_hour.unwrap_or(0));
    absurd.within(hazard, (0, limits::HAZARD_PPM_HOUR), "hazard_ppm_hour");
    // Else one pool had millions of spells, none of which its ticks would show.
    let least = (params.gap_ms / 10).max(1_000);
    absurd.within(params.mean_up_ms, (least, limits::DURATION_MS), "mean_up_ms");
}

fn distinct<'n>(mut names: impl Iterator<Item = &'n Arc<str>>) -> bool {
    let mut seen = BTreeSet::new();
    names.all(|name| {
        !name.trim().is_empty() && name.len() <= limits::NAME_BYTES && seen.insert(name)
    })
}

/// In millionths.
const ONE: u64 = 1_000_000;

/// What a shortage is of: the broader come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    World,
    Region,
    Zone,
}

/// A kind of shortage that pools share, in millionths.
#[derive(Debug, Clone, Copy)]
struct Shared {
    level: Level,
    /// Of the time in which a pool is down for it.
    down: u64,
    /// Of the pools that one of them reaches.
    reach: u64,
}

/// How often shortages of each kind come.
struct Weather<'p> {
    params: &'p MarketParams,
    seed: u64,
    shared: [Shared; 3],
    /// How long one lasts on average, of whatever kind.
    shortage_ms: u64,
}

impl<'p> Weather<'p> {
    fn new(params: &'p MarketParams, seed: u64) -> Self {
        let up = u64::from(params.availability_permille) * ONE / 1_000;
        let mut shared = shared(params, u64::from(params.reach_permille) * ONE / 1_000);
        if spared(&shared, ONE) < up {
            // Shortages that reach fewer must be more, and here they are too many.
            shared = self::shared(params, ONE);
        }
        // A pool that is up falls at the frequency of what reaches it; with one mean length for all
        // shortages that is the sum of all odds over the length.
        let own = over(spared(&shared, ONE).saturating_sub(up), up);
        let all: u64 = shared.iter().map(|kind| over(kind.down, ONE - kind.down)).sum();
        let shortage_ms =
            u128::from(params.mean_up_ms) * u128::from(all.saturating_add(own)) / u128::from(ONE);
        Self { params, seed, shared, shortage_ms: shortage_ms.max(1).clamped() }
    }

    /// When there are shortages of something that is there `share` of the time.
    fn shortages(&self, share: u64, parts: &[&str]) -> Spells {
        let between_ms = (share > 0).then(|| {
            let between =
                u128::from(self.shortage_ms) * u128::from(ONE - share) / u128::from(share);
            between.max(1).clamped()
        });
        let end_ms = u64::from(self.params.ticks) * self.params.gap_ms;
        let mut rng = stream(self.seed, "shortage", parts);
        spells(&mut rng, (self.shortage_ms, between_ms), end_ms)
    }

    /// A pool's machines, tick by tick.
    fn depth(
        &self,
        zone: &Arc<str>,
        kind: &TypeParams,
        known: &mut BTreeMap<(Level, String), Spells>,
    ) -> Vec<u32> {
        let MarketParams { gap_ms, ticks, .. } = *self.params;
        let name = [zone.as_ref(), kind.instance_type.as_ref()];
        let mut machines = self.squeezed(&name);
        let up = self.availability(&name);
        // A pool that is up more is reached less.
        let odds = |up: u64| u128::from(over(ONE - up, up));
        let usual = odds(u64::from(self.params.availability_permille) * ONE / 1_000);
        let share = (odds(up) * u128::from(ONE)).checked_div(usual).unwrap_or(0);
        let share: u64 = share.min(u128::from(ONE)).clamped();
        let mut strike = |spells: &Spells, reach: u64, rng: &mut ChaCha8Rng| {
            let hits: Vec<bool> = spells.iter().map(|_| below(rng, ONE) < reach).collect();
            let by_tick = by_tick(spells, gap_ms, ticks as usize);
            for (left, spell) in machines.iter_mut().zip(by_tick) {
                if spell.is_some_and(|spell| hits.get(spell) == Some(&true)) {
                    *left = 0;
                }
            }
        };
        for Shared { level, down, reach } in self.shared {
            let (word, whose) = match level {
                Level::World => ("world", ""),
                Level::Region => ("region", region(zone)),
                Level::Zone => ("zone", zone.as_ref()),
            };
            let spells = known
                .entry((level, whose.to_owned()))
                .or_insert_with(|| self.shortages(over(down, reach).min(ONE), &[word, whose]));
            let mut rng = stream(self.seed, "reach", &[word, name[0], name[1]]);
            strike(spells, reach * share / ONE, &mut rng);
        }
        let own = ONE - over(up, spared(&self.shared, share)).min(ONE);
        let spells = self.shortages(own, &["pool", name[0], name[1]]);
        strike(&spells, ONE, &mut stream(self.seed, "reach", &["pool"]));
        machines
    }

    /// A pool's availability, in millionths.
    fn availability(&self, name: &[&str]) -> u64 {
        let spread = self.params.availability_spread_permille;
        let drawn = between(&mut stream(self.seed, "availability", name), 0, 2 * spread);
        let permille = (self.params.availability_permille + drawn).saturating_sub(spread);
        u64::from(permille.clamp(10, 1_000)) * ONE / 1_000
    }

    /// What squeezes leave of a pool.
    fn squeezed(&self, name: &[&str]) -> Vec<u32> {
        let MarketParams { gap_ms, ticks, machines, squeezed_permille, .. } = *self.params;
        let mut rng = stream(self.seed, "squeeze", name);
        // No source for their length: as long as a pool has machines at all.
        let spell_ms = self.params.mean_up_ms;
        let free = u64::from(1_000 - squeezed_permille);
        let is_any = squeezed_permille > 0 && machines > 1;
        let between_ms = is_any.then(|| {
            (u128::from(spell_ms) * u128::from(free) / u128::from(squeezed_permille))
                .max(1)
                .clamped()
        });
        let spells = spells(&mut rng, (spell_ms, between_ms), u64::from(ticks) * gap_ms);
        let left: Vec<u32> = spells.iter().map(|_| between(&mut rng, 1, machines - 1)).collect();
        by_tick(&spells, gap_ms, ticks as usize)
            .map(|spell| spell.and_then(|spell| left.get(spell)).copied().unwrap_or(machines))
            .collect()
    }

    /// A pool's prices.
    fn prices(&self, zone: &str, kind: &TypeParams) -> Prices {
        let params = self.params;
        let mut rng = stream(self.seed, "price", &[zone, &kind.instance_type]);
        let per_cent = i128::from(100 - params.saving_percent);
        let zone_permille = i128::from(between(&mut rng, 900, 1_100));
        let base = i128::from(kind.on_demand.0) * per_cent * zone_permille / 100_000;
        let highest = i128::from(kind.on_demand.0).min(base * 2);
        let lowest = (base * 7 / 10).min(highest);
        let rounded = |price: i128| MicroUsd(((price + 50) / 100 * 100).clamped());
        let mut price = base.clamp(lowest, highest);
        if params.price_moves_per_10_days == 0 || params.price_step_permille == 0 {
            return Prices::Constant(rounded(price));
        }
        let between_ms = 864_000_000 / u64::from(params.price_moves_per_10_days);
        let mut next_ms = length_ms(&mut rng, MEMORYLESS, between_ms);
        let prices = (0..u64::from(params.ticks)).map(|tick| {
            while next_ms <= tick * params.gap_ms {
                let step = between(&mut rng, 0, 2 * params.price_step_permille);
                let permille = 1_000 + i128::from(step) - i128::from(params.price_step_permille);
                price = (price * permille / 1_000).clamp(lowest, highest);
                next_ms += length_ms(&mut rng, MEMORYLESS, between_ms).max(1);
            }
            rounded(price)
        });
        Prices::PerTick(prices.collect())
    }

    /// Interruptions per million machine hours, in truth and on average.
    fn hazard(&self) -> u32 {
        if self.params.availability_permille == 1_000 {
            return 0;
        }
        let per_hour = 3_600_000 * ONE / self.params.mean_up_ms;
        per_hour.min(limits::HAZARD_PPM_HOUR).clamped()
    }
}

/// The kinds of shortages that give the correlations, if each reaches `reach` of its pools or more.
fn shared(params: &MarketParams, reach: u64) -> [Shared; 3] {
    let up = u64::from(params.availability_permille.max(1)) * ONE / 1_000;
    let factor = |permille: u32| ONE + over(ONE - up, up) * u64::from(permille) / 1_000;
    let world = factor(params.across_regions_permille);
    let region = factor(params.same_region_permille);
    let zone = factor(params.same_zone_permille);
    [
        kind(Level::World, over(world, ONE), reach),
        kind(Level::Region, over(region, world), reach),
        // Types of one zone share its fate.
        kind(Level::Zone, over(zone, region), ONE),
    ]
}

/// The x of the module's words, from the factor 1 + k = 1 + x (s - x) / (1 - x)^2: the lesser root
/// of (1 + k) x^2 - (s + 2 k) x + k = 0. It is real if s is at least 2 (sqrt(k^2 + k) - k).
fn kind(level: Level, factor: u64, reach: u64) -> Shared {
    let k = u128::from(factor.saturating_sub(ONE));
    let one = u128::from(ONE);
    let least = 2 * ((k * k + k * one).isqrt() + 1).saturating_sub(k);
    let s = u128::from(reach).max(least.min(one));
    let square = (s * s + 4 * k * s).saturating_sub(4 * k * one);
    let down = (s + 2 * k).saturating_sub(square.isqrt()) * one / (2 * (one + k));
    let (down, reach): (u64, u64) = (down.clamped(), s.clamped());
    Shared { level, down: down.min(reach), reach }
}

/// Of the time in which none of the shared shortages reaches a pool that they reach only `share` as
/// often as others; in millionths.
fn spared(shared: &[Shared], share: u64) -> u64 {
    shared.iter().fold(ONE, |all, kind| all * (ONE - kind.down * share / ONE) / ONE)
}

/// A ratio in millionths; of nothing it is all.
fn over(part: u64, whole: u64) -> u64 {
    (u128::from(part) * u128::from(ONE)).checked_div(u128::from(whole)).map_or(ONE, Clamp::clamped)
}
