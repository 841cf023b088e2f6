//! `market.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{Clamp, Fault, MicroUsd, Resources};

use super::decimal::Decimal;
use super::number::Number;
use super::reader::{Faults, Node, document, is_name};
use super::{MACHINE_DISK_MIB, limits};

const FIELDS: [&str; 7] =
    ["gap_s", "notice_s", "boot_s", "billing", "decide_at", "egress_usd_per_gb", "pools"];
const POOL_FIELDS: [&str; 10] = [
    "zone",
    "instance_type",
    "cpu_millis",
    "memory_mib",
    "gpus",
    "on_demand_usd_per_hour",
    "spot_usd_per_hour",
    "capacity",
    "gap_s",
    "hazard_per_hour",
];
const BILLING: [(&str, Billing); 2] = [("second", Billing::Second), ("tick", Billing::Tick)];
const DECIDE_AT: [(&str, DecideAt); 2] = [("event", DecideAt::Event), ("tick", DecideAt::Tick)];

type Egress = BTreeMap<Arc<str>, BTreeMap<Arc<str>, MicroUsd>>;

/// Reads a market.
///
/// Needed are `gap_s` and `pools`; else nothing is told or takes time, billing is by the second,
/// decisions fall at events and egress is free. A pool needs all but `gpus` (0), `gap_s` (the
/// market's) and `hazard_per_hour` (0, what a buyer believes). A list of prices may be shorter than
/// that of capacities: the last price goes on; past the end of capacities there are none.
pub fn parse(text: &str) -> Result<Recording, Vec<Fault>> {
    let node = document(text)?;
    let mut faults = Faults::default();
    let read = read(node, &mut faults);
    faults.or(read)
}

pub(crate) fn read(node: Node<'_, '_>, faults: &mut Faults) -> Option<Recording> {
    let fields = node.object(&FIELDS, faults)?;
    let at = node.at();
    let seconds = |node: Node<'_, '_>, faults: &mut Faults| node.number(Number::SECONDS, faults);
    let gap_ms = fields.need(at, "gap_s", faults, |node, faults| node.number(Number::GAP, faults));
    let notice_ms = fields.may(at, "notice_s", 0, faults, seconds);
    let boot_ms = fields.may(at, "boot_s", 0, faults, seconds);
    let billing = fields
        .may(at, "billing", Billing::Second, faults, |node, faults| node.one_of(&BILLING, faults));
    let decide_at = fields.may(at, "decide_at", DecideAt::Event, faults, |node, faults| {
        node.one_of(&DECIDE_AT, faults)
    });
    let egress = fields.may(at, "egress_usd_per_gb", BTreeMap::new(), faults, egress);
    // A gap that is wrong has been told of; it must not hide what is wrong with pools.
    let gap_or = gap_ms.unwrap_or(1);
    let pools = fields.need(at, "pools", faults, |node, faults| pools(node, gap_or, faults));
    Some(Recording {
        gap_ms: gap_ms?,
        notice_ms: notice_ms?,
        boot_ms: boot_ms?,
        billing: billing?,
        decide_at: decide_at?,
        egress: egress?,
        pools: pools?,
    })
}

fn egress(node: Node<'_, '_>, faults: &mut Faults) -> Option<Egress> {
    const EXPECTED: &str = "an object {\"from\": {\"to\": USD}}";
    let rows = node.fields(EXPECTED, faults)?;
    let (mut out, mut entries, mut is_good) = (BTreeMap::new(), 0, true);
    for (from, raw) in rows.each() {
        let row = node.below(from, raw);
        let Some(prices) = row.fields(EXPECTED, faults) else {
            is_good = false;
            continue;
        };
        let mut to_prices = BTreeMap::new();
        for (to, raw) in prices.each() {
            let price = row.below(to, raw);
            if !is_name(from) || !is_name(to) {
                faults.note(price.at(), "zones and regions are of 1 to 256 printable bytes");
            }
            entries += 1;
            match price.number(Number::USD, faults) {
                Some(micro) => to_prices.insert(Arc::from(to), MicroUsd(micro.clamped())),
                None => {
                    is_good = false;
                    None
                }
            };
        }
        out.insert(Arc::from(from), to_prices);
    }
    if entries > limits::EGRESS {
        let most = limits::EGRESS;
        faults.note(node.at(), format!("has {entries} prices; at most {most} are allowed"));
        return None;
    }
    is_good.then_some(out)
}

fn pools(node: Node<'_, '_>, gap_ms: u64, faults: &mut Faults) -> Option<Vec<PoolTrace>> {
    let mut seen: BTreeMap<(Arc<str>, Arc<str>), usize> = BTreeMap::new();
    let pools = node.list("a list of pools", limits::POOLS, faults, |index, node, faults| {
        let pool = pool(node, gap_ms, faults)?;
        let key = (pool.zone.clone(), pool.instance_type.clone());
        if let Some(first) = seen.insert(key, index) {
            faults.note(
                node.at(),
                format!("has the zone and instance_type of pool {first}; a pair is one pool"),
            );
        }
        Some(pool)
    })?;
    if pools.is_empty() {
        faults.note(node.at(), "must have one pool at least");
    }
    Some(pools)
}

fn pool(node: Node<'_, '_>, gap_ms: u64, faults: &mut Faults) -> Option<PoolTrace> {
    let fields = node.object(&POOL_FIELDS, faults)?;
    let at = node.at();
    let name = |node: Node<'_, '_>, faults: &mut Faults| node.name(faults);
    let some = |node: Node<'_, '_>, faults: &mut Faults| node.number32(Number::SOME, faults);
    let zone = fields.need(at, "zone", faults, name);
    let instance_type = fields.need(at, "instance_type", faults, name);
    let cpu_millis = fields.need(at, "cpu_millis", faults, some);
    let memory_mib = fields.need(at, "memory_mib", faults, some);
    let gpus =
        fields.may(at, "gpus", 0, faults, |node, faults| node.number32(Number::GPUS, faults));
    let on_demand = fields.need(at, "on_demand_usd_per_hour", faults, price);
    let spot = fields.need(at, "spot_usd_per_hour", faults, prices);
    let machines = fields.need(at, "capacity", faults, depth);
    let gap_ms =
        fields.may(at, "gap_s", gap_ms, faults, |node, faults| node.number(Number::GAP, faults));
    let hazard_ppm_hour = fields.may(at, "hazard_per_hour", 0, faults, |node, faults| {
        node.number32(Number::HAZARD, faults)
    });
    Some(PoolTrace {
        zone: zone?.into(),
        instance_type: instance_type?.into(),
        capacity: Resources {
            cpu_millis: cpu_millis?,
            memory_mib: memory_mib?,
            disk_mib: MACHINE_DISK_MIB,
            gpus: gpus?,
        },
        on_demand: on_demand?,
        spot: spot?,
        machines: machines?,
        gap_ms: gap_ms?,
        hazard_ppm_hour: hazard_ppm_hour?,
    })
}

fn price(node: Node<'_, '_>, faults: &mut Faults) -> Option<MicroUsd> {
    Some(MicroUsd(node.number(Number::USD, faults)?.clamped()))
}

fn prices(node: Node<'_, '_>, faults: &mut Faults) -> Option<Prices> {
    const EXPECTED: &str = "a number of USD, or a list of them, one a tick";
    if node.is_number() {
        let micro = node.number(Number::USD, faults)?;
        return Some(Prices::Constant(MicroUsd(micro.clamped())));
    }
    let each = |_, node: Node<'_, '_>, faults: &mut Faults| price(node, faults);
    let prices = node.list(EXPECTED, limits::TICKS, faults, each)?;
    if prices.is_empty() {
        // It would be read as free.
        return node.wrong(faults, format_args!("{EXPECTED}, one at least"));
    }
    Some(Prices::PerTick(prices))
}

fn depth(node: Node<'_, '_>, faults: &mut Faults) -> Option<Depth> {
    if node.is_number() {
        return Some(Depth::Constant(node.number32(Number::AMOUNT, faults)?));
    }
    let each = |_, node: Node<'_, '_>, faults: &mut Faults| node.number32(Number::AMOUNT, faults);
    let expected = "a number of machines, or a list of them, one a tick";
    Some(Depth::PerTick(node.list(expected, limits::TICKS, faults, each)?))
}

/// Writes a market, one pool a line; [`parse`] reads the same back. Disk is not written.
pub fn write(recording: &Recording) -> String {
    Written(recording).to_string()
}

struct Written<'r>(&'r Recording);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(recording) = self;
        write!(
            f,
            "{{\"gap_s\":{},\"notice_s\":{},\"boot_s\":{},\"billing\":\"{}\",\"decide_at\":\"{}\"",
            seconds(recording.gap_ms),
            seconds(recording.notice_ms),
            seconds(recording.boot_ms),
            word(&BILLING, recording.billing),
            word(&DECIDE_AT, recording.decide_at),
        )?;
        if !recording.egress.is_empty() {
            f.write_str(",\n\"egress_usd_per_gb\":{")?;
            joined(f, ",\n", &recording.egress, |f, (from, row)| {
                write!(f, "{}:{{", quoted(from))?;
                joined(f, ",", row, |f, (to, price)| write!(f, "{}:{}", quoted(to), usd(*price)))?;
                f.write_str("}")
            })?;
            f.write_str("}")?;
        }
        f.write_str(",\n\"pools\":[\n")?;
        let gap_ms = recording.gap_ms;
        joined(f, ",\n", &recording.pools, |f, pool| write_pool(f, pool, gap_ms))?;
        f.write_str("\n]}\n")
    }
}

fn write_pool(f: &mut fmt::Formatter<'_>, pool: &PoolTrace, gap_ms: u64) -> fmt::Result {
    write!(
        f,
        "{{\"zone\":{},\"instance_type\":{},\"cpu_millis\":{},\"memory_mib\":{}",
        quoted(&pool.zone),
        quoted(&pool.instance_type),
        pool.capacity.cpu_millis,
        pool.capacity.memory_mib,
    )?;
    if pool.capacity.gpus > 0 {
        write!(f, ",\"gpus\":{}", pool.capacity.gpus)?;
    }
    write!(f, ",\"on_demand_usd_per_hour\":{},\"spot_usd_per_hour\":", usd(pool.on_demand))?;
    match &pool.spot {
        Prices::Constant(price) => write!(f, "{}", usd(*price))?,
        Prices::PerTick(prices) => {
            f.write_str("[")?;
            joined(f, ",", prices, |f, price| write!(f, "{}", usd(*price)))?;
            f.write_str("]")?;
        }
    }
    f.write_str(",\"capacity\":")?;
    match &pool.machines {
        Depth::Constant(machines) => write!(f, "{machines}")?,
        Depth::PerTick(machines) => {
            f.write_str("[")?;
            joined(f, ",", machines, |f, machines| write!(f, "{machines}"))?;
            f.write_str("]")?;
        }
    }
    if pool.gap_ms != gap_ms {
        write!(f, ",\"gap_s\":{}", seconds(pool.gap_ms))?;
    }
    if pool.hazard_ppm_hour > 0 {
        let hazard = Decimal { units: u64::from(pool.hazard_ppm_hour), places: 6 };
        write!(f, ",\"hazard_per_hour\":{hazard}")?;
    }
    f.write_str("}")
}

pub(super) fn seconds(ms: u64) -> Decimal {
    Decimal { units: ms, places: 3 }
}

fn usd(price: MicroUsd) -> Decimal {
    Decimal { units: price.0.clamped(), places: 6 }
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes each with `between` between.
pub(super) fn joined<T>(
    f: &mut fmt::Formatter<'_>,
    between: &str,
    all: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (index, one) in all.into_iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write(f, one)?;
    }
    Ok(())
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}
