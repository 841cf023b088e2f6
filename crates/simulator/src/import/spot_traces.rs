//! `{"metadata": {"gap_seconds": ..}, "data": [..]}`: skypilot-org's spot-traces and what is built
//! like them, `full.json` of SkyNomad's artifact included.
//!
//! `data` (or `preempted`, which says its polarity itself) is a list of numbers or a text of `0`
//! and `1`, one a tick. Numbers above 1 are counts of available machines, as GCP's H100 have them
//! (0 to 16). `prices`, one a tick, and `metadata.price_info.{price, on_demand_price, zone,
//! instance_type}` are taken where they are there.

use std::sync::Arc;

use ::market::recorded::{Depth, PoolTrace, Prices};
use model::{Clamp, MicroUsd};

use crate::files::limits;
use crate::files::number::Number;
use crate::files::reader::{Faults, Fields, Node, document};

use super::{ImportError, Machine, Polarity};

/// A zone's record. What the file does not say is taken from `machine`; a zone or an instance type
/// that it names otherwise is refused.
pub fn pool(
    text: &str,
    zone: &str,
    machine: &Machine,
    polarity: Polarity,
) -> Result<PoolTrace, ImportError> {
    let node = document(text)?;
    let mut faults = Faults::default();
    let read = read(node, (zone, machine, polarity), &mut faults);
    Ok(faults.or(read)?)
}

/// The zone that a file says it is of.
pub(crate) fn zone_within(text: &str) -> Option<String> {
    let node = document(text).ok()?;
    let mut unheard = Faults::default();
    let fields = node.fields("an object", &mut unheard)?;
    let metadata = fields.get(node.at(), "metadata")?;
    let about = metadata.fields("an object", &mut unheard)?;
    let prices = about.get(metadata.at(), "price_info")?;
    let info = prices.fields("an object", &mut unheard)?;
    info.get(prices.at(), "zone")?.name(&mut unheard)
}

/// What `metadata` says.
#[derive(Debug, Default)]
struct About {
    gap_ms: Option<u64>,
    price: Option<MicroUsd>,
    on_demand: Option<MicroUsd>,
}

fn read(
    node: Node<'_, '_>,
    (zone, machine, polarity): (&str, &Machine, Polarity),
    faults: &mut Faults,
) -> Option<PoolTrace> {
    let fields = node.fields("an object {\"metadata\": .., \"data\": [..]}", faults)?;
    let at = node.at();
    let about =
        fields.need(at, "metadata", faults, |node, faults| about(node, (zone, machine), faults));
    let machines = series(&fields, node, polarity, faults);
    let each =
        fields.may(at, "prices", None, faults, |node, faults| prices(node, faults).map(Some));
    let (about, machines, each) = (about?, machines?, each?);
    let spot = match each {
        None => Prices::Constant(about.price.unwrap_or(machine.spot)),
        Some(prices) if prices.len() == machines.len() => folded(prices),
        Some(prices) => {
            let (found, ticks) = (prices.len(), machines.len());
            faults.note(at, format!("has {found} prices for {ticks} ticks; must have one a tick"));
            return None;
        }
    };
    Some(PoolTrace {
        zone: zone.into(),
        instance_type: machine.instance_type.clone(),
        capacity: machine.capacity,
        on_demand: about.on_demand.unwrap_or(machine.on_demand),
        spot,
        machines: Depth::PerTick(machines),
        gap_ms: about.gap_ms?,
        hazard_ppm_hour: 0,
    })
}

fn about(
    node: Node<'_, '_>,
    (zone, machine): (&str, &Machine),
    faults: &mut Faults,
) -> Option<About> {
    let fields = node.fields("an object with gap_seconds", faults)?;
    let gap_ms = fields
        .need(node.at(), "gap_seconds", faults, |node, faults| node.number(Number::GAP, faults))?;
    let mut about = About { gap_ms: Some(gap_ms), ..About::default() };
    let Some(info) = fields.get(node.at(), "price_info").filter(|info| !info.is_null()) else {
        return Some(about);
    };
    let fields = info.fields("an object", faults)?;
    let usd = |node: Node<'_, '_>, faults: &mut Faults| {
        Some(Some(MicroUsd(node.number(Number::USD, faults)?.clamped())))
    };
    about.price = fields.may(info.at(), "price", None, faults, usd)?;
    about.on_demand = fields.may(info.at(), "on_demand_price", None, faults, usd)?;
    let same = [("zone", zone), ("instance_type", machine.instance_type.as_ref())];
    for (key, expected) in same {
        let Some(said) = fields.get(info.at(), key) else { continue };
        if said.name(faults)? != expected {
            return said.wrong(faults, format_args!("{expected}, as it is imported"));
        }
    }
    Some(about)
}

fn prices(node: Node<'_, '_>, faults: &mut Faults) -> Option<Vec<MicroUsd>> {
    node.list("a list of numbers of USD", limits::TICKS, faults, |_, node, faults| {
        Some(MicroUsd(node.number(Number::USD, faults)?.clamped()))
    })
}

/// One price where all are the same.
fn folded(prices: Vec<MicroUsd>) -> Prices {
    match prices.first() {
        Some(first) if prices.iter().all(|price| price == first) => Prices::Constant(*first),
        _ => Prices::PerTick(prices),
    }
}

fn series(
    fields: &Fields<'_>,
    node: Node<'_, '_>,
    polarity: Polarity,
    faults: &mut Faults,
) -> Option<Vec<u32>> {
    if let Some(series) = fields.get(node.at(), "preempted") {
        if polarity == Polarity::OneIsAvailable {
            let detail = "the field's name says that 1 is preempted; imported is one-is-available";
            faults.note(series.at(), detail);
            return None;
        }
        return depth(series, polarity, faults);
    }
    fields.need(node.at(), "data", faults, |series, faults| depth(series, polarity, faults))
}

/// Machines to be had in each tick, from a text or a list.
pub(crate) fn depth(
    node: Node<'_, '_>,
    polarity: Polarity,
    faults: &mut Faults,
) -> Option<Vec<u32>> {
    const EXPECTED: &str = "a text of 0 and 1, or a list of numbers, one a tick";
    if node.is_list() {
        return node.list(EXPECTED, limits::TICKS, faults, |_, node, faults| {
            let found = node.number32(Number::AMOUNT, faults)?;
            match polarity {
                Polarity::OneIsAvailable => Some(found),
                Polarity::OneIsPreempted if found <= 1 => Some(1 - found),
                Polarity::OneIsPreempted => node.wrong(
                    faults,
                    "0 or 1 where one is preempted (a count is of machines to be had)",
                ),
            }
        });
    }
    let digits = node.text().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let Some(digits) = digits.filter(|digits| digits.bytes().all(|byte| b"01".contains(&byte)))
    else {
        return node.wrong(faults, EXPECTED);
    };
    if digits.len() > limits::TICKS {
        let most = limits::TICKS;
        faults.note(node.at(), format!("has {} ticks; at most {most} are allowed", digits.len()));
        return None;
    }
    let is_up = match polarity {
        Polarity::OneIsAvailable => b'1',
        Polarity::OneIsPreempted => b'0',
    };
    Some(digits.bytes().map(|byte| u32::from(byte == is_up)).collect())
}

/// A zone in a file's or a folder's name: `us-east-1c` in `traces/us-east-1c_v100_1.json.gz`.
pub(crate) fn zone_of(name: &str) -> Option<Arc<str>> {
    name.rsplit(['/', '_', '.']).find(|word| is_zone(word)).map(Arc::from)
}

/// `us-east-1c` of AWS, `us-central1-a` of GCP.
fn is_zone(word: &str) -> bool {
    let Some((region, last)) = word.rsplit_once('-').filter(|(region, _)| region.contains('-'))
    else {
        return false;
    };
    match last.as_bytes() {
        [digit, letter] => digit.is_ascii_digit() && letter.is_ascii_lowercase(),
        [letter] => {
            letter.is_ascii_lowercase() && region.ends_with(|end: char| end.is_ascii_digit())
        }
        _ => false,
    }
}
