//! A market of many types out of catalogues: what they are (Karpenter's `karpenter_instance_types`
//! table, or moto's DescribeInstanceTypes records), what they cost on demand (Karpenter's table), and
//! the Spot Advisor's savings and interruption buckets.
//!
//! The advisor knows neither zones nor hours: a spot price is on-demand x (1 - saving) for ever, in
//! every zone. The hazard is a buyer's prior, [`Bucket::hazard_ppm_hour`]; nothing is ever taken
//! back. How many machines there are nobody publishes: [`Options::machines`] of each pool, a stated
//! constant. A type without a saving is sold on demand only.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::market::Bucket;
use ::market::recorded::{Depth, PoolTrace, Prices, Recording};
use model::{Clamp, MicroUsd, Resources};

use crate::files::number::Number;
use crate::files::reader::{Faults, Node, document};
use crate::files::{MACHINE_DISK_MIB, limits};

use super::cant_be_late::traced;
use super::csv::{Column, Row, Table};
use super::error::Complaints;
use super::{ImportError, Imported, Input, Terms};

/// What of the catalogues, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Of this region.
    pub region: String,
    /// In these zones, each with all types.
    pub zones: Vec<Arc<str>>,
    /// Of this architecture only; empty = of any.
    pub architecture: String,
    /// Only these types or families (`c5`, `c5.large`); empty = all.
    pub only: Vec<String>,
    /// Spot machines of each pool.
    pub machines: u32,
    /// Of a machine's memory the hypervisor and the kernel keep so many thousandths. 75 is
    /// Karpenter's default and what the live market does; 0, the default here, sells the stated MiB.
    pub memory_overhead_permille: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            zones: vec!["us-east-1a".into()],
            architecture: "amd64".to_owned(),
            only: Vec::new(),
            machines: 1_000,
            memory_overhead_permille: 0,
        }
    }
}

/// What a type is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    architectures: Vec<String>,
    vcpu: u32,
    memory_mib: u32,
    gpus: u32,
}

/// What the advisor says of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Advice {
    saving_percent: u32,
    bucket: Bucket,
}

#[derive(Debug, Default)]
struct Sources {
    kinds: BTreeMap<String, Kind>,
    on_demand: BTreeMap<String, MicroUsd>,
    advice: BTreeMap<String, Advice>,
}

/// Reads catalogues, in any order; which is which is seen from their contents.
pub fn read(inputs: &[Input<'_>], options: &Options) -> Result<Imported<Recording>, ImportError> {
    let mut sources = Sources::default();
    let mut wrong = Vec::new();
    for input in inputs {
        if let Err(error) = source(input.text, options, &mut sources) {
            wrong.extend(error.of(input.name).0);
        }
    }
    if !wrong.is_empty() {
        return Err(ImportError(wrong));
    }
    for (is_missing, what) in [
        (sources.kinds.is_empty(), "instance types (a table with instance_type,arch,.. or moto's)"),
        (sources.on_demand.is_empty(), "on-demand prices (region,instance_type,usd_per_hour)"),
        (sources.advice.is_empty(), "the Spot Advisor's data ({\"spot_advisor\": ..})"),
    ] {
        if is_missing {
            let region = &options.region;
            return Err(ImportError::whole(format!("no file has {what} for {region}")));
        }
    }
    assemble(&sources, options)
}

fn source(text: &str, options: &Options, into: &mut Sources) -> Result<(), ImportError> {
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        let node = document(text)?;
        let mut faults = Faults::default();
        let read = json(node, options, into, &mut faults);
        return Ok(faults.or(read)?);
    }
    let mut complaints = Complaints::default();
    let read = table(text, options, into, &mut complaints);
    complaints.or(read)
}

fn table(
    text: &str,
    options: &Options,
    into: &mut Sources,
    complaints: &mut Complaints,
) -> Option<()> {
    let table = Table::begin(text, complaints)?;
    if table.has(&["usd_per_hour"]) {
        return prices(table, &options.region, into, complaints);
    }
    let name = table.column("instance_type", complaints);
    let arch = table.column("arch", complaints);
    let cpu = table.column("instance-cpu", complaints);
    let memory = table.column("instance-memory", complaints);
    let gpus = table.column("instance-gpu-count", complaints);
    let (name, arch, cpu, memory, gpus) = (name?, arch?, cpu?, memory?, gpus?);
    let rows = table.rows(complaints, |row, complaints| {
        let kind = kind(&row, (arch, cpu, memory, gpus), complaints)?;
        Some((row.text(name).to_owned(), kind))
    })?;
    into.kinds.extend(rows);
    Some(())
}

fn kind(
    row: &Row<'_>,
    (arch, cpu, memory, gpus): (Column, Column, Column, Column),
    complaints: &mut Complaints,
) -> Option<Kind> {
    let vcpu = row.number32(cpu, Number::CORES, complaints);
    let memory_mib = row.number32(memory, Number::SOME, complaints);
    let gpus = match row.text(gpus) {
        "" => Some(0),
        _ => row.number32(gpus, Number::GPUS, complaints),
    };
    let architectures = vec![row.text(arch).to_owned()];
    Some(Kind { architectures, vcpu: vcpu?, memory_mib: memory_mib?, gpus: gpus? })
}

fn prices(
    table: Table<'_>,
    of_region: &str,
    into: &mut Sources,
    complaints: &mut Complaints,
) -> Option<()> {
    let region = table.column("region", complaints);
    let name = table.column("instance_type", complaints);
    let price = table.column("usd_per_hour", complaints);
    let (region, name, price) = (region?, name?, price?);
    let rows = table.rows(complaints, |row, complaints| {
        let micro = row.number(price, Number::USD, complaints)?;
        let here = row.text(region) == of_region;
        Some(here.then(|| (row.text(name).to_owned(), MicroUsd(micro.clamped()))))
    })?;
    into.on_demand.extend(rows.into_iter().flatten());
    Some(())
}

fn json(
    node: Node<'_, '_>,
    options: &Options,
    into: &mut Sources,
    faults: &mut Faults,
) -> Option<()> {
    let fields = node.fields("an object", faults)?;
    if let Some(advisor) = fields.get(node.at(), "spot_advisor") {
        return advice(advisor, &options.region, into, faults);
    }
    let mut is_good = true;
    for (name, raw) in fields.each() {
        match moto(node.below(name, raw), faults) {
            Some(kind) => {
                into.kinds.insert(name.to_owned(), kind);
            }
            None => is_good = false,
        }
    }
    is_good.then_some(())
}

fn advice(node: Node<'_, '_>, region: &str, into: &mut Sources, faults: &mut Faults) -> Option<()> {
    let regions = node.fields("an object of regions", faults)?;
    // The other regions are not read.
    let Some(here) = regions.get(node.at(), region) else {
        let known: Vec<_> = regions.each().map(|(known, _)| known).collect();
        faults.note(node.at(), format!("must have {region}; has {}", known.join(", ")));
        return None;
    };
    let systems = here.fields("an object of operating systems", faults)?;
    systems.need(here.at(), "Linux", faults, |linux, faults| {
        let types = linux.fields("an object of instance types", faults)?;
        let mut is_good = true;
        for (name, raw) in types.each() {
            match advised(linux.below(name, raw), faults) {
                Some(advice) => {
                    into.advice.insert(name.to_owned(), advice);
                }
                None => is_good = false,
            }
        }
        is_good.then_some(())
    })
}

fn advised(node: Node<'_, '_>, faults: &mut Faults) -> Option<Advice> {
    let fields = node.fields("an object {\"s\": .., \"r\": ..}", faults)?;
    let saving =
        fields.need(node.at(), "s", faults, |node, faults| node.number32(Number::PERCENT, faults));
    let bucket = fields.need(node.at(), "r", faults, |node, faults| match node.text() {
        "0" => Some(Bucket::Under5),
        "1" => Some(Bucket::To10),
        "2" => Some(Bucket::To15),
        "3" => Some(Bucket::To20),
        "4" => Some(Bucket::Over20),
        _ => node.wrong(faults, "a bucket from 0 to 4"),
    });
    Some(Advice { saving_percent: saving?, bucket: bucket? })
}

fn moto(node: Node<'_, '_>, faults: &mut Faults) -> Option<Kind> {
    let fields = node.fields("a DescribeInstanceTypes record", faults)?;
    let at = node.at();
    let inner = |node: Node<'_, '_>, key: &str, kind, faults: &mut Faults| {
        let fields = node.fields("an object", faults)?;
        fields.need(node.at(), key, faults, |node, faults| node.number32(kind, faults))
    };
    let vcpu = fields.need(at, "VCpuInfo", faults, |node, faults| {
        inner(node, "DefaultVCpus", Number::CORES, faults)
    });
    let memory_mib = fields.need(at, "MemoryInfo", faults, |node, faults| {
        inner(node, "SizeInMiB", Number::SOME, faults)
    });
    let gpus = fields.may(at, "GpuInfo", 0, faults, |node, faults| {
        let fields = node.fields("an object", faults)?;
        let counts = fields.need(node.at(), "Gpus", faults, |node, faults| {
            node.list("a list of GPUs", 1_000, faults, |_, node, faults| {
                inner(node, "Count", Number::GPUS, faults)
            })
        })?;
        Some(counts.into_iter().fold(0, u32::saturating_add))
    });
    let architectures = fields.need(at, "ProcessorInfo", faults, |node, faults| {
        let fields = node.fields("an object", faults)?;
        fields.need(node.at(), "SupportedArchitectures", faults, |node, faults| {
            node.list("a list of names", 100, faults, |_, node, faults| node.name(faults))
        })
    });
    let karpenters = |name: String| match name.as_str() {
        "x86_64" => "amd64".to_owned(),
        _ => name,
    };
    let architectures = architectures?.into_iter().map(karpenters).collect();
    Some(Kind { architectures, vcpu: vcpu?, memory_mib: memory_mib?, gpus: gpus? })
}

fn assemble(sources: &Sources, options: &Options) -> Result<Imported<Recording>, ImportError> {
    let is_wanted = |name: &str, kind: &Kind| {
        let family = name.split('.').next().unwrap_or(name);
        let any = |only: &String| only == name || only == family;
        (options.only.is_empty() || options.only.iter().any(any))
            && (options.architecture.is_empty()
                || kind.architectures.contains(&options.architecture))
    };
    let wanted = sources.kinds.iter().filter(|(name, kind)| is_wanted(name, kind));
    let (mut types, mut unpriced, mut unadvised) = (Vec::new(), 0, 0);
    for (name, kind) in wanted {
        let Some(on_demand) = sources.on_demand.get(name) else {
            unpriced += 1;
            continue;
        };
        let advice = sources.advice.get(name);
        unadvised += u32::from(advice.is_none());
        types.push(pool(name, kind, (*on_demand, advice.copied()), options));
    }
    let pools = types.len().saturating_mul(options.zones.len());
    if pools == 0 || pools > limits::POOLS {
        let most = limits::POOLS;
        let (types, zones) = (types.len(), options.zones.len());
        return Err(ImportError::whole(format!(
            "{types} types in {zones} zones are {pools} pools; must be 1 to {most}"
        )));
    }
    let in_zone = |zone: &Arc<str>| {
        let zone = zone.clone();
        types.iter().map(move |pool| PoolTrace { zone: zone.clone(), ..pool.clone() })
    };
    let pools: Vec<PoolTrace> = options.zones.iter().flat_map(in_zone).collect();
    // Nothing ever changes: an hour is as good as any other tick.
    let recording = traced(3_600_000, Terms::EC2, pools);
    let notes = vec![
        format!("{} types in {} zones", types.len(), options.zones.len()),
        format!("{unpriced} types have no on-demand price here and are left out"),
        format!("{unadvised} types are not in the Spot Advisor's data and are on demand only"),
        format!("capacity is an assumption: {} spot machines of each pool", options.machines),
    ];
    Ok(Imported { value: recording, notes })
}

fn pool(
    name: &str,
    kind: &Kind,
    (on_demand, advice): (MicroUsd, Option<Advice>),
    options: &Options,
) -> PoolTrace {
    let kept = 1_000_u64.saturating_sub(u64::from(options.memory_overhead_permille));
    let memory_mib = (u64::from(kind.memory_mib) * kept / 1_000).clamped();
    let spot = advice.map_or(on_demand, |advice| {
        let share = i64::from(100_u32.saturating_sub(advice.saving_percent));
        MicroUsd((on_demand.0 * share + 50) / 100)
    });
    PoolTrace {
        zone: "".into(),
        instance_type: name.into(),
        capacity: Resources {
            cpu_millis: kind.vcpu * 1_000,
            memory_mib,
            disk_mib: MACHINE_DISK_MIB,
            gpus: kind.gpus,
        },
        on_demand,
        spot: Prices::Constant(spot),
        machines: Depth::Constant(if advice.is_some() { options.machines } else { 0 }),
        gap_ms: 3_600_000,
        hazard_ppm_hour: advice.map_or(0, |advice| advice.bucket.hazard_ppm_hour()),
    }
}
