//! `ebb simulate import`: what others recorded, made into our files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use market::recorded::{Billing, DecideAt};
use model::{Clamp, Fault, MicroUsd, parse_cpu_millis, parse_duration_ms, parse_mebibytes};
use simulator::files::jobs as jobs_file;
use simulator::import::{
    self, Complaint, Each, Format, ImportError, Imported, Input, JobsFormat, JobsOptions, Machine,
    MarketFormat, MarketOptions, Named, Polarity, Terms, openb, swf,
};
use simulator::work::Checkpoint;

use super::made::{self, What};
use super::{files, words};
use crate::error::{Exit, Failure, Spot};
use crate::examples;
use crate::output::Screen;

#[derive(Debug, Args)]
#[command(after_help = examples::SIMULATE_IMPORT)]
pub(crate) struct Import {
    /// cant-be-late, skynomad, spot-traces, parcae, catalog (markets); openb, surf, swf, pods-csv
    /// (workloads).
    #[arg(value_parser = named(&Format::ALL), hide_possible_values = true)]
    pub(crate) format: Format,
    /// Files of the set; may be packed (.gz). `-`: stdin.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where it goes; stdout by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) market: MarketWords,
    #[command(flatten)]
    pub(crate) jobs: JobsWords,
}

/// Options of markets.
#[derive(Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Markets")]
pub(crate) struct MarketWords {
    /// What a 1 means: one-is-available or one-is-preempted. Sets differ; so it is never guessed.
    #[arg(long, value_parser = named(&Polarity::ALL), hide_possible_values = true)]
    pub(crate) polarity: Option<Polarity>,
    /// Make a batch: a case of each market, all with this workload.
    #[arg(long, value_name = "FILE")]
    pub(crate) jobs: Option<PathBuf>,
    /// The zone's name; of cant-be-late only this zone.
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// cant-be-late: this sample only.
    #[arg(long, value_name = "N")]
    pub(crate) sample: Option<u32>,
    /// The record from there on, like 7d4h.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    pub(crate) start: Option<u64>,
    /// parcae: a tick's length; 1m by default.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    pub(crate) gap: Option<u64>,
    /// A table of egress prices: from_region,to_region,price_usd_per_gb.
    #[arg(long, value_name = "FILE")]
    pub(crate) egress: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) terms: TermsWords,
    /// What is sold, where the record does not say it; p3.2xlarge by default.
    #[arg(long, value_name = "TYPE")]
    pub(crate) instance_type: Option<String>,
    /// Its cores.
    #[arg(long, value_parser = parse_cpu_millis)]
    pub(crate) cpu: Option<u32>,
    /// Its memory, like 61GiB.
    #[arg(long, value_parser = parse_mebibytes)]
    pub(crate) memory: Option<u32>,
    /// Its GPUs.
    #[arg(long)]
    pub(crate) gpus: Option<u32>,
    /// Its on-demand price an hour; 3.06 by default.
    #[arg(long, value_name = "USD", value_parser = words::usd)]
    pub(crate) on_demand: Option<MicroUsd>,
    /// Its spot price an hour; 0.9731 by default.
    #[arg(long, value_name = "USD", value_parser = words::usd)]
    pub(crate) spot: Option<MicroUsd>,
    /// catalog: of this region; us-east-1 by default.
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// catalog: in these zones, each with all types.
    #[arg(long, value_delimiter = ',', value_name = "ZONE[,…]")]
    pub(crate) zones: Vec<String>,
    /// catalog: of this architecture only; amd64 by default.
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// catalog: these types and families only, like c5,m5.large.
    #[arg(long, value_delimiter = ',', value_name = "TYPE[,…]")]
    pub(crate) only: Vec<String>,
    /// catalog: spot machines of each pool; 1000 by default.
    #[arg(long, value_name = "N")]
    pub(crate) machines: Option<u32>,
    /// catalog: what of a machine's memory its system keeps, in per cent.
    #[arg(long, value_name = "PERCENT", value_parser = words::permille)]
    pub(crate) memory_overhead: Option<u32>,
}

/// How a market is bought from.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct TermsWords {
    /// `papers`: whole ticks, without notices and boots; `ec2`: by the second, 2m and 1m.
    #[arg(long, value_parser = named(&TERMS), hide_possible_values = true)]
    pub(crate) terms: Option<Terms>,
    /// `second` or `tick`.
    #[arg(long, value_parser = named(&BILLING), hide_possible_values = true)]
    pub(crate) billing: Option<Billing>,
    /// `event` or `tick`: when machines are bought and ended.
    #[arg(long, value_parser = named(&DECIDE_AT), hide_possible_values = true)]
    pub(crate) decide_at: Option<DecideAt>,
    /// From a notice to the reclaim.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    pub(crate) notice: Option<u64>,
    /// From a launch until a machine takes work.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    pub(crate) boot: Option<u64>,
}

/// What every job is given that its record does not say.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct EachWords {
    /// What each start takes.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    pub(crate) changeover: Option<u64>,
    /// What outlives an attempt: `none`, `continuous`, or PERIOD:COST, like 10m:20s.
    #[arg(long, value_name = "WHAT", value_parser = words::checkpoint)]
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Size of a checkpoint, for egress.
    #[arg(long, value_name = "GIB", value_parser = words::milligib)]
    pub(crate) checkpoint_gib: Option<u64>,
}

/// Options of workloads.
#[derive(Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Workloads")]
pub(crate) struct JobsWords {
    #[command(flatten)]
    pub(crate) each: EachWords,
    /// Only the first so many, by arrival.
    #[arg(long, value_name = "N")]
    pub(crate) first: Option<usize>,
    /// openb: all, whole-gpus or cpu-only.
    #[arg(long, value_parser = named(&openb::Select::ALL), hide_possible_values = true)]
    pub(crate) select: Option<openb::Select>,
    /// openb: pods that never were scheduled, too.
    #[arg(long)]
    pub(crate) unscheduled: bool,
    /// surf: with the deadlines that OpenDC added.
    #[arg(long)]
    pub(crate) deadlines: bool,
    /// swf: a task of so many cores at most; the whole job is one by default.
    #[arg(long, value_name = "N")]
    pub(crate) cores_per_task: Option<u32>,
    /// swf: memory of a core where none is recorded; 2GiB by default.
    #[arg(long, value_name = "MEMORY", value_parser = parse_mebibytes)]
    pub(crate) memory_per_core: Option<u32>,
}

const TERMS: [(&str, Terms); 2] = [("papers", Terms::PAPERS), ("ec2", Terms::EC2)];
pub(super) const BILLING: [(&str, Billing); 2] =
    [("second", Billing::Second), ("tick", Billing::Tick)];
pub(super) const DECIDE_AT: [(&str, DecideAt); 2] =
    [("event", DecideAt::Event), ("tick", DecideAt::Tick)];

/// One of a few words.
pub(super) fn named<T: Copy + Send + Sync + 'static>(
    names: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    let words: Vec<_> = names.iter().map(|(name, _)| *name).collect();
    PossibleValuesParser::new(words).try_map(move |word| {
        let known = names.iter().find(|(name, _)| **name == *word).map(|(_, value)| *value);
        known.ok_or("no such word")
    })
}

impl TermsWords {
    /// What was said, over what holds otherwise.
    fn over(&self, otherwise: Terms) -> Terms {
        let base = self.terms.unwrap_or(otherwise);
        Terms {
            billing: self.billing.unwrap_or(base.billing),
            decide_at: self.decide_at.unwrap_or(base.decide_at),
            notice_ms: self.notice.unwrap_or(base.notice_ms),
            boot_ms: self.boot.unwrap_or(base.boot_ms),
        }
    }
}

impl EachWords {
    pub(super) fn over(&self, otherwise: Each) -> Each {
        Each {
            changeover_ms: self.changeover.unwrap_or(otherwise.changeover_ms),
            checkpoint: self.checkpoint.unwrap_or(otherwise.checkpoint),
            checkpoint_milligib: self.checkpoint_gib.unwrap_or(otherwise.checkpoint_milligib),
        }
    }
}

impl MarketWords {
    fn options(&self, format: MarketFormat) -> Result<MarketOptions, Failure> {
        let mut options = MarketOptions { polarity: self.polarity, ..MarketOptions::default() };
        if self.terms != TermsWords::default() {
            let otherwise = match format {
                MarketFormat::Catalog => Terms::EC2,
                _ => Terms::PAPERS,
            };
            options.terms = Some(self.terms.over(otherwise));
        }
        let machine = &mut options.machine;
        if let Some(name) = &self.instance_type {
            machine.instance_type = name.as_str().into();
        }
        self.machine(machine);
        options.start_ms = self.start.unwrap_or(options.start_ms);
        options.gap_ms = self.gap.unwrap_or(options.gap_ms);
        options.zone = self.zone.as_deref().map(Arc::from);
        options.sample = self.sample;
        options.egress = self.egress.as_deref().map(files::text).transpose()?;
        let catalog = &mut options.catalog;
        if let Some(region) = &self.region {
            catalog.region.clone_from(region);
            // Zones of another region would be wrong.
            catalog.zones = vec![format!("{region}a").into()];
        }
        if !self.zones.is_empty() {
            catalog.zones = self.zones.iter().map(|zone| zone.as_str().into()).collect();
        }
        if let Some(arch) = &self.arch {
            catalog.architecture.clone_from(arch);
        }
        catalog.only.clone_from(&self.only);
        catalog.machines = self.machines.unwrap_or(catalog.machines);
        let overhead = self.memory_overhead.unwrap_or(catalog.memory_overhead_permille);
        catalog.memory_overhead_permille = overhead;
        Ok(options)
    }

    fn machine(&self, machine: &mut Machine) {
        let capacity = &mut machine.capacity;
        capacity.cpu_millis = self.cpu.unwrap_or(capacity.cpu_millis);
        capacity.memory_mib = self.memory.unwrap_or(capacity.memory_mib);
        capacity.gpus = self.gpus.unwrap_or(capacity.gpus);
        machine.on_demand = self.on_demand.unwrap_or(machine.on_demand);
        machine.spot = self.spot.unwrap_or(machine.spot);
    }
}

impl JobsWords {
    fn options(&self) -> JobsOptions {
        let of_swf = swf::Options::default();
        let unscheduled = match self.unscheduled {
            true => openb::Unscheduled::Kept,
            false => openb::Unscheduled::Dropped,
        };
        JobsOptions {
            each: self.each.over(Each::default()),
            first: self.first.unwrap_or(0),
            openb: openb::Options { select: self.select.unwrap_or_default(), unscheduled },
            surf_deadlines: self.deadlines,
            swf: swf::Options {
                cores_per_task: self.cores_per_task.unwrap_or(of_swf.cores_per_task),
                memory_mib_per_core: self.memory_per_core.unwrap_or(of_swf.memory_mib_per_core),
            },
        }
    }
}

pub(super) fn import(screen: Screen, args: &Import) -> Result<Exit, Failure> {
    // An option that does nothing is refused, never ignored.
    match args.format {
        Format::Market(format) if args.jobs == JobsWords::default() => {
            markets(screen, args, format)
        }
        Format::Jobs(format) if args.market == MarketWords::default() => jobs(screen, args, format),
        Format::Market(format) => {
            Err(Failure::usage(format!("{format} makes a market; it takes no option of workloads")))
        }
        Format::Jobs(format) => {
            Err(Failure::usage(format!("{format} makes a workload; it takes no option of markets")))
        }
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    files.iter().map(|file| Ok((files::name(file), files::text(file)?))).collect()
}

fn inputs(texts: &[(String, String)]) -> Vec<Input<'_>> {
    texts.iter().map(|(name, text)| Input { name, text }).collect()
}

fn markets(screen: Screen, args: &Import, format: MarketFormat) -> Result<Exit, Failure> {
    let options = args.market.options(format)?;
    let texts = read(&args.files)?;
    let imported = import::market(format, &inputs(&texts), &options).map_err(wrong)?;
    drop(texts);
    let Imported { value, notes } = imported;
    if let Some(jobs) = &args.market.jobs {
        return batch(screen, args.to.as_deref(), jobs, value, notes);
    }
    match &value[..] {
        [one] => made::market(screen, args.to.as_deref(), &one.recording, notes),
        many => {
            let some = many.first().map(|named| named.name.as_str()).unwrap_or_default();
            let cause = format!("there are {} markets in it, {some} the first", many.len());
            let next = "choose one by --zone and --sample, or make a batch of all with --jobs FILE";
            Err(Failure::usage(cause).next(next))
        }
    }
}

/// A case of each market, all with one workload.
fn batch(
    screen: Screen,
    to: Option<&Path>,
    jobs: &Path,
    markets: Vec<Named>,
    notes: Vec<String>,
) -> Result<Exit, Failure> {
    let text = files::text(jobs)?;
    let jobs = jobs_file::parse(&text).map_err(|faults| {
        let cause = format!("{} is no workload; nothing was written", files::name(jobs));
        Failure::usage(cause).with_errors(files::placed(jobs, &text, faults))
    })?;
    let jobs = jobs_file::write(&jobs);
    let what = What::Batch { cases: markets.len().clamped() };
    let lines = markets.into_iter().map(|named| made::case(&named.name, &named.recording, &jobs));
    made::give(screen, to, (what, notes), lines)
}

fn jobs(screen: Screen, args: &Import, format: JobsFormat) -> Result<Exit, Failure> {
    let [file] = &args.files[..] else {
        return Err(Failure::usage(format!("{format} is imported from one file")));
    };
    let (name, text) = (files::name(file), files::text(file)?);
    let input = Input { name: &name, text: &text };
    let imported = import::jobs(format, input, &args.jobs.options()).map_err(wrong)?;
    made::jobs(screen, args.to.as_deref(), &imported.value, imported.notes)
}

/// What is wrong with somebody else's file, each thing at its place.
fn wrong(error: ImportError) -> Failure {
    let count = crate::render::many(error.0.len().clamped(), "fault");
    let spot = |Complaint { file, place, detail }: Complaint| {
        let (pointer, place) =
            if place.starts_with('/') { (place, String::new()) } else { (String::new(), place) };
        let parts: Vec<_> = [file, place].into_iter().filter(|part| !part.is_empty()).collect();
        let place = (!parts.is_empty()).then(|| parts.join(": "));
        Spot { fault: Fault { pointer, detail }, place }
    };
    let spots: Vec<Spot> = error.0.into_iter().map(spot).collect();
    Failure::usage(format!("the import has {count}; nothing was written")).with_errors(spots)
}

#[cfg(test)]
mod tests;
