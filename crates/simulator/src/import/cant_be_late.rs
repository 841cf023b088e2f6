//! The random starts of Can't Be Late, as Frontier-CS keeps them:
//! `{"gap_seconds", "meaning", "zones": {zone: [{"i", "start", "end", "data": "0101.."}]}}`.
//!
//! Each sample is a market of its own with one pool. A zone there is a zone and a device
//! (`us-west-2a_k80_8`); whatever the device, p3.2xlarge is sold at 3.06 and 0.9731 USD, for so the
//! authors bill it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::market::recorded::{Depth, PoolTrace, Prices, Recording};

use crate::files::number::Number;
use crate::files::reader::{Faults, Node, document};

use super::{ImportError, Machine, Polarity, Terms, spot_traces};

/// A sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// As the file has it: zone and device.
    pub zone: Arc<str>,
    /// Its number `i` within the zone.
    pub index: u32,
    /// As a market by whole ticks; its pool is in the zone without the device.
    pub recording: Recording,
}

/// All samples, by zone as they stand.
pub fn samples(text: &str, polarity: Polarity) -> Result<Vec<Sample>, ImportError> {
    samples_of(text, polarity, &Machine::p3_2xlarge())
}

/// The same with other machines or prices.
pub fn samples_of(
    text: &str,
    polarity: Polarity,
    machine: &Machine,
) -> Result<Vec<Sample>, ImportError> {
    let node = document(text)?;
    let mut faults = Faults::default();
    let read = read(node, (polarity, machine), &mut faults);
    Ok(faults.or(read)?)
}

fn read(node: Node<'_, '_>, of: (Polarity, &Machine), faults: &mut Faults) -> Option<Vec<Sample>> {
    let fields = node.fields("an object {\"gap_seconds\": .., \"zones\": {..}}", faults)?;
    let at = node.at();
    let gap_ms =
        fields.need(at, "gap_seconds", faults, |node, faults| node.number(Number::GAP, faults));
    let meaning = fields.may(at, "meaning", (), faults, |node, faults| agrees(node, of.0, faults));
    let (gap_ms, ()) = (gap_ms?, meaning?);
    let zones = fields.need(at, "zones", faults, |node, faults| {
        let zones = node.fields("an object of lists of samples", faults)?;
        let (mut out, mut is_good) = (Vec::new(), true);
        for (zone, raw) in zones.each() {
            let expected = "a list of samples";
            let samples =
                node.below(zone, raw).list(expected, 100_000, faults, |_, node, faults| {
                    sample(node, zone, gap_ms, of, faults)
                });
            is_good &= samples.is_some();
            out.extend(samples.unwrap_or_default());
        }
        is_good.then_some(out)
    })?;
    Some(zones)
}

/// A file that says what a 1 means must say the same as whoever imports it.
fn agrees(node: Node<'_, '_>, polarity: Polarity, faults: &mut Faults) -> Option<()> {
    let meaning = node.text().to_ascii_lowercase();
    let says = |what: &str| meaning.contains(&format!("1 = {what}"));
    let contradicts = match polarity {
        Polarity::OneIsAvailable => says("preempted") || says("unavailable"),
        Polarity::OneIsPreempted => says("available"),
    };
    if contradicts {
        return node.wrong(faults, format_args!("what it is imported as, {polarity}"));
    }
    Some(())
}

fn sample(
    node: Node<'_, '_>,
    zone: &str,
    gap_ms: u64,
    (polarity, machine): (Polarity, &Machine),
    faults: &mut Faults,
) -> Option<Sample> {
    let fields = node.fields("a sample {\"i\": .., \"data\": \"0101..\"}", faults)?;
    let at = node.at();
    let index = fields.need(at, "i", faults, |node, faults| node.number32(Number::AMOUNT, faults));
    let machines =
        fields.need(at, "data", faults, |node, faults| spot_traces::depth(node, polarity, faults));
    let pool = PoolTrace {
        zone: zone.split('_').next().unwrap_or(zone).into(),
        instance_type: machine.instance_type.clone(),
        capacity: machine.capacity,
        on_demand: machine.on_demand,
        spot: Prices::Constant(machine.spot),
        machines: Depth::PerTick(machines?),
        gap_ms,
        hazard_ppm_hour: 0,
    };
    let recording = traced(gap_ms, Terms::PAPERS, vec![pool]);
    Some(Sample { zone: zone.into(), index: index?, recording })
}

/// A market of recorded pools.
pub(crate) fn traced(gap_ms: u64, terms: Terms, pools: Vec<PoolTrace>) -> Recording {
    let Terms { billing, decide_at, notice_ms, boot_ms } = terms;
    let egress = BTreeMap::new();
    Recording { gap_ms, notice_ms, boot_ms, billing, decide_at, egress, pools }
}
