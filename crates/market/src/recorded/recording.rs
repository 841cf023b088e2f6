//! What was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{MicroUsd, Pool, PurchaseOption, Resources};

/// How a machine's time becomes money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// By the second, 60 at least: as EC2 bills Linux.
    Second,
    /// Every tick that was held is billed whole, the last one too: as the papers do.
    Tick,
}

/// When machines may be bought and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecideAt {
    /// At any time.
    Event,
    /// At the starts of ticks only.
    Tick,
}

/// Spot prices an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prices {
    /// One, for ever.
    Constant(MicroUsd),
    /// One a tick; the last one goes on.
    PerTick(Vec<MicroUsd>),
}

/// How many machines are to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depth {
    /// So many, for ever.
    Constant(u32),
    /// So many in each tick; none past the end.
    PerTick(Vec<u32>),
}

/// A spot pool's record, and its type's on-demand price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTrace {
    /// Availability zone.
    pub zone: Arc<str>,
    /// Instance type.
    pub instance_type: Arc<str>,
    /// What tasks can use of a machine.
    pub capacity: Resources,
    /// On-demand price an hour; on-demand machines are unlimited.
    pub on_demand: MicroUsd,
    /// Spot prices.
    pub spot: Prices,
    /// Spot machines to be had.
    pub machines: Depth,
    /// Length of its ticks.
    pub gap_ms: u64,
    /// Interruptions per million machine hours that buyers believe in.
    pub hazard_ppm_hour: u32,
}

/// A recorded market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Length of its ticks: when [`DecideAt::Tick`] decides.
    pub gap_ms: u64,
    /// From a notice to the reclaim; 0 = none is given.
    pub notice_ms: u64,
    /// From a launch until the machine takes work.
    pub boot_ms: u64,
    /// How time becomes money.
    pub billing: Billing,
    /// When machines may be bought and ended.
    pub decide_at: DecideAt,
    /// Price of moving a GB, by zone or region: from, to. See [`Recording::egress_per_gb`].
    pub egress: BTreeMap<Arc<str>, BTreeMap<Arc<str>, MicroUsd>>,
    /// Its pools.
    pub pools: Vec<PoolTrace>,
}

impl Prices {
    /// In a tick.
    pub fn at(&self, tick: u64) -> MicroUsd {
        match self {
            Self::Constant(price) => *price,
            Self::PerTick(prices) => {
                let at = usize::try_from(tick).unwrap_or(usize::MAX);
                prices.get(at).or_else(|| prices.last()).copied().unwrap_or_default()
            }
        }
    }
}

impl Depth {
    /// In a tick.
    pub fn at(&self, tick: u64) -> u32 {
        match self {
            Self::Constant(machines) => *machines,
            Self::PerTick(machines) => {
                let at = usize::try_from(tick).unwrap_or(usize::MAX);
                machines.get(at).copied().unwrap_or(0)
            }
        }
    }
}

impl PoolTrace {
    /// The tick in which a moment falls.
    pub fn tick(&self, at_ms: u64) -> u64 {
        at_ms / self.gap_ms.max(1)
    }

    /// Price an hour at a moment.
    pub fn price(&self, option: PurchaseOption, at_ms: u64) -> MicroUsd {
        match option {
            PurchaseOption::Spot => self.spot.at(self.tick(at_ms)),
            PurchaseOption::OnDemand => self.on_demand,
        }
    }

    /// Spot machines that it holds at a moment, ours included.
    pub fn depth(&self, at_ms: u64) -> u32 {
        self.machines.at(self.tick(at_ms))
    }

    /// When its record ends; `None` when it goes on for ever.
    pub fn end_ms(&self) -> Option<u64> {
        match &self.machines {
            Depth::Constant(_) => None,
            Depth::PerTick(machines) => {
                Some(u64::try_from(machines.len()).unwrap_or(u64::MAX).saturating_mul(self.gap_ms))
            }
        }
    }

    /// Its name with a purchase option.
    pub fn pool(&self, option: PurchaseOption) -> Pool {
        let (zone, instance_type) = (self.zone.clone(), self.instance_type.clone());
        Pool { zone, instance_type, option }
    }
}

impl Recording {
    /// What moving a GB from one zone to another costs: the entry of the two zones, else that of
    /// their regions, else nothing. Within a zone it is free.
    pub fn egress_per_gb(&self, from: &str, to: &str) -> MicroUsd {
        if from == to {
            return MicroUsd(0);
        }
        let entry = |from: &str, to: &str| self.egress.get(from).and_then(|row| row.get(to));
        let price = entry(from, to).or_else(|| entry(region(from), region(to)));
        price.copied().unwrap_or_default()
    }

    /// When the last of its records ends; 0 without one that does.
    pub fn end_ms(&self) -> u64 {
        self.pools.iter().filter_map(PoolTrace::end_ms).max().unwrap_or(0)
    }

    /// The start of the tick at or after a moment.
    pub fn tick_at_or_after(&self, at_ms: u64) -> u64 {
        at_ms.div_ceil(self.gap_ms.max(1)).saturating_mul(self.gap_ms.max(1))
    }
}

/// `us-east-1a` is in `us-east-1`, `us-east1-a` in `us-east1`. A name without a zone letter is its own
/// region.
pub fn region(zone: &str) -> &str {
    let cut = zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let cut = cut.strip_suffix('-').unwrap_or(cut);
    if cut.ends_with(|digit: char| digit.is_ascii_digit()) { cut } else { zone }
}
