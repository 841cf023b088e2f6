//! One entry point over all formats of markets.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::market::recorded::{Depth, PoolTrace, Recording};

use super::cant_be_late::{Sample, traced};
use super::{
    ImportError, Imported, Input, MarketFormat, MarketOptions, Named, Polarity, Terms,
    cant_be_late, catalog, parcae, skynomad, spot_traces, starting_at,
};

/// Reads markets of any format: one a sample of [`cant_be_late`], else a single one out of all
/// files, a pool each (or the whole of a catalogue).
pub fn market(
    format: MarketFormat,
    inputs: &[Input<'_>],
    options: &MarketOptions,
) -> Result<Imported<Vec<Named>>, ImportError> {
    if inputs.is_empty() {
        return Err(ImportError::whole("one file at least must be given"));
    }
    let mut imported = match format {
        MarketFormat::CantBeLate => samples(inputs, options)?,
        MarketFormat::Catalog => {
            let Imported { value, notes } = catalog::read(inputs, &options.catalog)?;
            let recording = with_terms(value, options.terms.unwrap_or(Terms::EC2));
            Imported { value: vec![named("catalog", recording)], notes }
        }
        MarketFormat::Skynomad | MarketFormat::SpotTraces | MarketFormat::Parcae => {
            pools(format, inputs, options)?
        }
    };
    for named in &mut imported.value {
        let whole = std::mem::replace(&mut named.recording, traced(1, Terms::PAPERS, Vec::new()));
        named.recording = starting_at(whole, options.start_ms);
        if named.recording.pools.iter().all(|pool| pool.machines == Depth::PerTick(Vec::new())) {
            let start = options.start_ms;
            return Err(ImportError::whole(format!("all records end before {start} ms")));
        }
    }
    if let Some(table) = &options.egress {
        let egress = skynomad::egress(table).map_err(|error| error.of("egress"))?;
        for named in &mut imported.value {
            named.recording.egress.clone_from(&egress);
        }
    }
    Ok(imported)
}

fn named(name: &str, recording: Recording) -> Named {
    Named { name: name.to_owned(), recording }
}

fn with_terms(recording: Recording, terms: Terms) -> Recording {
    let Terms { billing, decide_at, notice_ms, boot_ms } = terms;
    Recording { billing, decide_at, notice_ms, boot_ms, ..recording }
}

fn polarity(options: &MarketOptions) -> Result<Polarity, ImportError> {
    options.polarity.ok_or_else(|| {
        ImportError::whole(
            "say what a 1 means in the record: one-is-available (spot-traces, SpotHedge) or \
             one-is-preempted (Can't Be Late's samples, SkyNomad)",
        )
    })
}

fn samples(
    inputs: &[Input<'_>],
    options: &MarketOptions,
) -> Result<Imported<Vec<Named>>, ImportError> {
    let polarity = polarity(options)?;
    let mut out = Vec::new();
    for input in inputs {
        let samples = cant_be_late::samples_of(input.text, polarity, &options.machine)
            .map_err(|error| error.of(input.name))?;
        let wanted = samples.into_iter().filter(|sample| {
            options.zone.as_ref().is_none_or(|zone| **zone == *sample.zone)
                && options.sample.is_none_or(|index| index == sample.index)
        });
        out.extend(wanted.map(|Sample { zone, index, recording }| {
            let recording = with_terms(recording, options.terms.unwrap_or(Terms::PAPERS));
            named(&format!("{zone}/{index}"), recording)
        }));
    }
    if out.is_empty() {
        return Err(ImportError::whole("no sample has that zone and number"));
    }
    Ok(Imported { value: out, notes: vec![machine_note(options)] })
}

fn machine_note(options: &MarketOptions) -> String {
    let machine = &options.machine;
    format!(
        "sold are {} at {} on demand and {} spot an hour, where the record does not say otherwise",
        machine.instance_type, machine.on_demand, machine.spot
    )
}

fn pools(
    format: MarketFormat,
    inputs: &[Input<'_>],
    options: &MarketOptions,
) -> Result<Imported<Vec<Named>>, ImportError> {
    let mut pools: Vec<PoolTrace> = Vec::new();
    let mut faults = Vec::new();
    for input in inputs {
        match pool(format, input, options) {
            Ok(pool) => pools.push(pool),
            Err(ImportError(complaints)) => faults.extend(complaints),
        }
    }
    if !faults.is_empty() {
        return Err(ImportError(faults));
    }
    let keys: BTreeSet<_> = pools.iter().map(|pool| (&pool.zone, &pool.instance_type)).collect();
    if keys.len() < pools.len() {
        let zones: Vec<&str> = pools.iter().map(|pool| pool.zone.as_ref()).collect();
        let zones = zones.join(", ");
        return Err(ImportError::whole(format!("each file must be of another zone; are {zones}")));
    }
    let gap_ms = pools.first().map_or(1, |pool| pool.gap_ms);
    let recording = traced(gap_ms, options.terms.unwrap_or(Terms::PAPERS), pools);
    let value = vec![named(&format.to_string(), recording)];
    Ok(Imported { value, notes: vec![machine_note(options)] })
}

fn pool(
    format: MarketFormat,
    input: &Input<'_>,
    options: &MarketOptions,
) -> Result<PoolTrace, ImportError> {
    let machine = &options.machine;
    let of_file = |error: ImportError| error.of(input.name);
    if format == MarketFormat::Parcae {
        let zone = options.zone.as_deref().unwrap_or("recorded");
        return parcae::pool(input.text, zone, machine, options.gap_ms).map_err(of_file);
    }
    let said = || spot_traces::zone_within(input.text).map(Arc::from);
    let zone = options.zone.clone().or_else(said).or_else(|| spot_traces::zone_of(input.name));
    let Some(zone) = zone else {
        let detail = "neither the file nor its name has a zone; say which";
        return Err(ImportError::whole(detail).of(input.name));
    };
    spot_traces::pool(input.text, &zone, machine, polarity(options)?).map_err(of_file)
}
