//! What the market sells: dated facts, and what the seed makes of them.
//!
//! Sources, both Apache-2.0:
//! - vCPU, memory and on-demand prices: aws/karpenter-provider-aws at commit 1d927085, us-east-1
//!   (N. Virginia), Linux, as of 2026-07-20.
//! - Spot savings and interruption buckets: the Spot Advisor's data of 2025-06-28 for us-east-1,
//!   Linux, as kept by alexei-led/spotinfo at commit 05e93313.
//!
//! The advisor knows neither zones nor the hour: a spot price here is on-demand x (1 - saving),
//! varied by the seed by up to a tenth per zone and by up to 3 % every six hours. So it is near the
//! real one of that day, and is not it.

use std::sync::Arc;

use model::{Clamp, MicroUsd, Offer, Pool, PurchaseOption, Resources, Timestamp};

use crate::random::{between, stream};

/// The zones of the region.
pub const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

/// Root disk of each machine: our launch template's choice, for none of the types has its own.
pub const DISK_MIB: u32 = 32_768;

/// Of a machine's memory the hypervisor and the kernel keep 7.5 %: Karpenter's default
/// (`vmMemoryOverheadPercent`), in thousandths.
const MEMORY_OVERHEAD_PERMILLE: u32 = 75;

/// Prices move at such steps; EC2's moved one to four times a day in early 2023.
const PRICE_STEP_MS: i64 = 6 * 3_600_000;

/// A type of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    /// As EC2 writes it.
    pub name: &'static str,
    /// Virtual cores.
    pub vcpu: u32,
    /// Memory as EC2 states it.
    pub memory_mib: u32,
    /// On-demand, an hour (2026-07-20).
    pub on_demand: MicroUsd,
    /// Saving of spot over on-demand (2025-06-28).
    pub spot_saving_percent: u32,
    /// How often spot machines are interrupted (2025-06-28).
    pub interruption: Bucket,
}

/// The Spot Advisor's buckets of machines interrupted in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Less than 5 %.
    Under5,
    /// 5 to 10 %.
    To10,
    /// 10 to 15 %.
    To15,
    /// 15 to 20 %.
    To20,
    /// More than 20 %.
    Over20,
}

impl Bucket {
    /// Interruptions per million machine hours: -ln(1 - p) / 730 h for a memoryless law, p the
    /// bucket's middle, and 30 % for the open one (an assumption). A prior only: traces of scarce
    /// types are a thousand times worse, which is what [`crate::Weather::hazard_scale`] is for.
    pub const fn hazard_ppm_hour(self) -> u32 {
        match self {
            Self::Under5 => 35,
            Self::To10 => 107,
            Self::To15 => 183,
            Self::To20 => 264,
            Self::Over20 => 489,
        }
    }
}

const fn x86(
    name: &'static str,
    (vcpu, memory_mib): (u32, u32),
    on_demand: i64,
    spot_saving_percent: u32,
    interruption: Bucket,
) -> InstanceType {
    let on_demand = MicroUsd(on_demand);
    InstanceType { name, vcpu, memory_mib, on_demand, spot_saving_percent, interruption }
}

/// All types, by name; each is sold in each zone.
pub const TYPES: [InstanceType; 8] = [
    x86("c5.large", (2, 4_096), 85_000, 59, Bucket::Under5),
    x86("c5.xlarge", (4, 8_192), 170_000, 56, Bucket::Under5),
    x86("c6i.large", (2, 4_096), 85_000, 63, Bucket::To10),
    x86("c6i.xlarge", (4, 8_192), 170_000, 60, Bucket::To20),
    x86("m5.large", (2, 8_192), 96_000, 66, Bucket::To20),
    x86("m5.xlarge", (4, 16_384), 192_000, 66, Bucket::Over20),
    x86("r5.large", (2, 16_384), 126_000, 60, Bucket::Under5),
    x86("t3.medium", (2, 4_096), 41_600, 56, Bucket::Under5),
];

/// The type of a name.
pub(crate) fn find(name: &str) -> Option<&'static InstanceType> {
    TYPES.iter().find(|known| known.name == name)
}

impl InstanceType {
    /// What tasks can use of it.
    pub fn capacity(&self) -> Resources {
        Resources {
            cpu_millis: self.vcpu * 1000,
            memory_mib: self.memory_mib / 1000 * (1000 - MEMORY_OVERHEAD_PERMILLE)
                + self.memory_mib % 1000 * (1000 - MEMORY_OVERHEAD_PERMILLE) / 1000,
            disk_mib: DISK_MIB,
            gpus: 0,
        }
    }

    /// The spot price in a zone.
    fn spot_price(&self, seed: u64, zone: &str, now: Timestamp) -> MicroUsd {
        let step = now.as_ms().div_euclid(PRICE_STEP_MS).to_string();
        let zone_permille = between(&mut stream(seed, "zone-price", &[self.name, zone]), 900, 1100);
        let step_permille =
            between(&mut stream(seed, "step-price", &[self.name, zone, &step]), 970, 1030);
        let price = i128::from(self.on_demand.0)
            * i128::from(100 - self.spot_saving_percent)
            * i128::from(zone_permille)
            * i128::from(step_permille);
        MicroUsd((price / 100_000_000).clamped())
    }

    fn offer(&self, seed: u64, zone: &str, option: PurchaseOption, now: Timestamp) -> Offer {
        let (price, hazard_ppm_hour) = match option {
            PurchaseOption::Spot => {
                (self.spot_price(seed, zone, now), self.interruption.hazard_ppm_hour())
            }
            PurchaseOption::OnDemand => (self.on_demand, 0),
        };
        Offer {
            pool: Pool { zone: zone.into(), instance_type: self.name.into(), option },
            capacity: self.capacity(),
            price,
            on_demand_price: self.on_demand,
            hazard_ppm_hour,
        }
    }
}

/// All that can be bought at `now`, ordered by pool.
pub(crate) fn offers(seed: u64, now: Timestamp) -> Vec<Offer> {
    let mut offers = Vec::with_capacity(ZONES.len() * TYPES.len() * 2);
    for zone in ZONES {
        for kind in &TYPES {
            for option in [PurchaseOption::Spot, PurchaseOption::OnDemand] {
                offers.push(kind.offer(seed, zone, option, now));
            }
        }
    }
    offers
}

/// The offer of one pool, if the market sells such machines.
pub(crate) fn offer(seed: u64, pool: &Pool, now: Timestamp) -> Option<Offer> {
    let zone = ZONES.iter().find(|zone| ***zone == *pool.zone)?;
    Some(find(&pool.instance_type)?.offer(seed, zone, pool.option, now))
}

/// How many machines a pool has in all, from the seed: spot pools are shallow, on-demand ones deep.
/// No source: EC2 publishes no such figure.
pub(crate) fn depth(seed: u64, pool: &Pool) -> usize {
    let (low, high) = match pool.option {
        PurchaseOption::Spot => (8, 40),
        PurchaseOption::OnDemand => (100, 200),
    };
    let whose: [&Arc<str>; 2] = [&pool.zone, &pool.instance_type];
    let parts = [whose[0].as_ref(), whose[1].as_ref(), &pool.option.to_string()];
    usize::try_from(between(&mut stream(seed, "depth", &parts), low, high)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hazards_follow_from_the_buckets() {
        let of = |p: f64| -(1.0 - p).ln() / 730.0 * 1e6;
        for (bucket, p) in [
            (Bucket::Under5, 0.025),
            (Bucket::To10, 0.075),
            (Bucket::To15, 0.125),
            (Bucket::To20, 0.175),
            (Bucket::Over20, 0.30),
        ] {
            let off = f64::from(bucket.hazard_ppm_hour()) - of(p);
            assert!(off.abs() < 1.0, "{bucket:?}: {off}");
        }
    }

    #[test]
    fn a_machine_has_less_memory_than_is_written_on_it() {
        let capacity = TYPES[0].capacity();
        assert_eq!((capacity.cpu_millis, capacity.memory_mib), (2000, 3788));
    }

    proptest! {
        #[test]
        fn prices_are_positive_and_spot_is_cheaper(seed: u64, now in 0_i64..4_000_000_000_000) {
            let all = offers(seed, Timestamp::from_ms(now));
            prop_assert_eq!(all.len(), 48);
            for one in &all {
                prop_assert!(one.price > MicroUsd(0));
                prop_assert!(depth(seed, &one.pool) > 0);
                match one.pool.option {
                    PurchaseOption::Spot => prop_assert!(one.price < one.on_demand_price),
                    PurchaseOption::OnDemand => prop_assert_eq!(one.price, one.on_demand_price),
                }
            }
        }
    }
}
