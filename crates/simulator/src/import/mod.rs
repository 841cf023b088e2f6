//! What others recorded, made into our files.
//!
//! Everything here is pure over text that is already unpacked. [`market()`] and [`jobs()`] are one
//! entry point each over all formats; each format's own functions are beside them.
//!
//! **Polarity.** Some sets write 1 for a zone that is available, some for one that is preempted, and
//! the same zone is in both kinds. So whoever imports says which ([`Polarity`]), and a file that
//! says otherwise of itself is refused.
//!
//! **Prices.** Where a set names none, everything is [`Machine::p3_2xlarge`] at 3.06 USD on demand
//! and 0.9731 spot, as the papers bill it whatever the device; [`MarketOptions`] takes others.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ::market::recorded::{Billing, DecideAt, Recording};
use model::{MicroUsd, Resources};

use crate::files::MACHINE_DISK_MIB;
use crate::jobs::JobWork;
use crate::work::Checkpoint;

pub mod cant_be_late;
pub mod catalog;
mod csv;
mod error;
mod markets;
pub mod openb;
pub mod parcae;
pub mod pods_csv;
pub mod skynomad;
pub mod spot_traces;
pub mod surf;
pub mod swf;
#[cfg(test)]
mod tests;
mod window;
mod workload;

pub use error::{Complaint, ImportError};
pub use markets::market;
pub use window::starting_at;

/// What a 1 means in a record of 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarity {
    /// A machine was to be had; a number above 1 is how many. skypilot-org's spot-traces,
    /// SpotHedge.
    OneIsAvailable,
    /// None was to be had. The samples of Can't Be Late, SkyNomad's files.
    OneIsPreempted,
}

/// Where a market comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarketFormat {
    /// [`cant_be_late`].
    CantBeLate,
    /// [`skynomad`].
    Skynomad,
    /// [`spot_traces`].
    SpotTraces,
    /// [`parcae`].
    Parcae,
    /// [`catalog`].
    Catalog,
}

/// Where a workload comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobsFormat {
    /// [`openb`].
    Openb,
    /// [`surf`].
    Surf,
    /// [`swf`].
    Swf,
    /// [`pods_csv`].
    PodsCsv,
}

/// A format: what it makes is a market or a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A market.
    Market(MarketFormat),
    /// A workload.
    Jobs(JobsFormat),
}

impl Format {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 9] = [
        ("cant-be-late", Self::Market(MarketFormat::CantBeLate)),
        ("skynomad", Self::Market(MarketFormat::Skynomad)),
        ("spot-traces", Self::Market(MarketFormat::SpotTraces)),
        ("parcae", Self::Market(MarketFormat::Parcae)),
        ("catalog", Self::Market(MarketFormat::Catalog)),
        ("openb", Self::Jobs(JobsFormat::Openb)),
        ("surf", Self::Jobs(JobsFormat::Surf)),
        ("swf", Self::Jobs(JobsFormat::Swf)),
        ("pods-csv", Self::Jobs(JobsFormat::PodsCsv)),
    ];
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        word(&Self::ALL, text)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(&Self::ALL, *self))
    }
}

impl fmt::Display for MarketFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Format::Market(*self).fmt(f)
    }
}

impl fmt::Display for JobsFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Format::Jobs(*self).fmt(f)
    }
}

impl Polarity {
    /// Both, with their words.
    pub const ALL: [(&'static str, Self); 2] =
        [("one-is-available", Self::OneIsAvailable), ("one-is-preempted", Self::OneIsPreempted)];
}

impl FromStr for Polarity {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        word(&Self::ALL, text)
    }
}

impl fmt::Display for Polarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(&Self::ALL, *self))
    }
}

fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, String> {
    let known = words.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("`{text}` must be one of {}", words.join(", "))
    })
}

fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

/// A file, unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Input<'t> {
    /// As whoever gave it knows it: said in complaints, and a zone is looked for in it.
    pub name: &'t str,
    /// What is in it.
    pub text: &'t str,
}

/// What was made, and what is to be known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported<T> {
    /// What was made.
    pub value: T,
    /// For people: what was left out or assumed.
    pub notes: Vec<String>,
}

/// A market with a name: a set of samples makes many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// E.g. `us-west-2a_k80_1/17`.
    pub name: String,
    /// The market.
    pub recording: Recording,
}

/// What is sold where a record does not say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its type.
    pub instance_type: Arc<str>,
    /// What tasks can use of it.
    pub capacity: Resources,
    /// On-demand price an hour.
    pub on_demand: MicroUsd,
    /// Spot price an hour.
    pub spot: MicroUsd,
}

impl Machine {
    /// What the papers run on, at the prices that they bill.
    pub fn p3_2xlarge() -> Self {
        Self {
            instance_type: "p3.2xlarge".into(),
            capacity: Resources {
                cpu_millis: 8_000,
                memory_mib: 61 * 1_024,
                disk_mib: MACHINE_DISK_MIB,
                gpus: 1,
            },
            on_demand: MicroUsd(3_060_000),
            spot: MicroUsd(973_100),
        }
    }
}

/// How a market is bought from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How time becomes money.
    pub billing: Billing,
    /// When machines may be bought and ended.
    pub decide_at: DecideAt,
    /// From a notice to the reclaim.
    pub notice_ms: u64,
    /// From a launch until the machine takes work.
    pub boot_ms: u64,
}

impl Terms {
    /// As the papers have it: whole ticks, and nothing takes time or is told.
    pub const PAPERS: Self =
        Self { billing: Billing::Tick, decide_at: DecideAt::Tick, notice_ms: 0, boot_ms: 0 };
    /// As EC2 has it: by the second, two minutes' notice, and a minute to boot (our own figure for
    /// a worker; Eva measured 58 to 98 s for theirs).
    pub const EC2: Self = Self {
        billing: Billing::Second,
        decide_at: DecideAt::Event,
        notice_ms: 120_000,
        boot_ms: 60_000,
    };
}

/// What an import of a market can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketOptions {
    /// What a 1 means; needed by [`cant_be_late`], [`skynomad`] and [`spot_traces`].
    pub polarity: Option<Polarity>,
    /// How it is bought from; [`Terms::PAPERS`] for traces and [`Terms::EC2`] for [`catalog`].
    pub terms: Option<Terms>,
    /// What is sold, where the record does not say it.
    pub machine: Machine,
    /// The record from there on, by its own clock: 179.725 hours into SkyNomad's, for instance.
    pub start_ms: u64,
    /// A tick's length, where the record has none ([`parcae`]).
    pub gap_ms: u64,
    /// [`cant_be_late`]: of this zone only. [`parcae`], [`spot_traces`]: the zone's name.
    pub zone: Option<Arc<str>>,
    /// [`cant_be_late`]: this sample only.
    pub sample: Option<u32>,
    /// SkyNomad's table of egress prices, if it is wanted.
    pub egress: Option<String>,
    /// What of the catalogue.
    pub catalog: catalog::Options,
}

impl Default for MarketOptions {
    fn default() -> Self {
        Self {
            polarity: None,
            terms: None,
            machine: Machine::p3_2xlarge(),
            start_ms: 0,
            gap_ms: 60_000,
            zone: None,
            sample: None,
            egress: None,
            catalog: catalog::Options::default(),
        }
    }
}

/// What every job of a workload is given that its record does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Each {
    /// What each start takes.
    pub changeover_ms: u64,
    /// What outlives an attempt.
    pub checkpoint: Checkpoint,
    /// Size of a checkpoint, in thousandths of a GiB.
    pub checkpoint_milligib: u64,
}

impl Default for Each {
    fn default() -> Self {
        Self { changeover_ms: 0, checkpoint: Checkpoint::None, checkpoint_milligib: 0 }
    }
}

/// What an import of a workload can be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobsOptions {
    /// What all jobs are given.
    pub each: Each,
    /// Only the first so many, in order of arrival; 0 = all.
    pub first: usize,
    /// Which of Alibaba's pods.
    pub openb: openb::Options,
    /// Whether SURF's jobs get the deadlines that OpenDC added to them.
    pub surf_deadlines: bool,
    /// How a parallel job becomes tasks.
    pub swf: swf::Options,
}

/// Reads a workload of any format from one file.
pub fn jobs(
    format: JobsFormat,
    input: Input<'_>,
    options: &JobsOptions,
) -> Result<Imported<Vec<Arc<JobWork>>>, ImportError> {
    let each = &options.each;
    let read = match format {
        JobsFormat::Openb => openb::read(input.text, &options.openb, each),
        JobsFormat::Surf => surf::read(input.text, options.surf_deadlines, each),
        JobsFormat::Swf => swf::read(input.text, &options.swf, each),
        JobsFormat::PodsCsv => pods_csv::read(input.text, each),
    };
    let mut imported = read.map_err(|error| error.of(input.name))?;
    if options.first > 0 {
        imported.value.truncate(options.first);
    }
    Ok(imported)
}
