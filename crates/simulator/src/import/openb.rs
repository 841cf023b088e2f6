//! Alibaba's GPU cluster of 2023 (openb): pods with their sizes and times.
//!
//! - A pod comes when it was created; the first that is taken comes at 0.
//! - Its work is from when it was scheduled to when it was deleted: the wait before was that
//!   cluster's, and ours shall make its own. Pods that still ran at the record's end were deleted
//!   then.
//! - A pod that was never scheduled has no run time. It is left out, or kept with the time from
//!   its creation to its deletion ([`Options::unscheduled`]).
//! - A share of a GPU counts as a whole one: machines here have whole GPUs.
//! - Sizes are `cpu_milli` and `memory_mib` as they stand; 897 of the default list's 8,152 pods were
//!   never scheduled.
//!
//! `openb_pod_list_multigpu50` and its like have no times, and cannot be a workload.

use std::sync::Arc;

use model::{Clamp, Resources};

use crate::files::number::Number;
use crate::jobs::JobWork;

use super::csv::{Column, Row, Table};
use super::error::Complaints;
use super::workload::{Begin, Recorded, workload};
use super::{Each, ImportError, Imported};

/// Which pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Select {
    /// All.
    #[default]
    All,
    /// Those that need whole GPUs: no shares, and at least one.
    WholeGpus,
    /// Those without a GPU.
    CpuOnly,
}

impl Select {
    /// All three, with their words.
    pub const ALL: [(&'static str, Self); 3] =
        [("all", Self::All), ("whole-gpus", Self::WholeGpus), ("cpu-only", Self::CpuOnly)];
}

impl std::str::FromStr for Select {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        super::word(&Self::ALL, text)
    }
}

impl std::fmt::Display for Select {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(super::word_of(&Self::ALL, *self))
    }
}

/// What becomes of pods that never were scheduled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unscheduled {
    /// They are left out.
    #[default]
    Dropped,
    /// They are kept, as if they had run from their creation to their deletion.
    Kept,
}

/// Which pods, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// By what they need.
    pub select: Select,
    /// And those that never ran.
    pub unscheduled: Unscheduled,
}

/// The pods that ran, one job each.
pub fn pods(text: &str, select: Select) -> Result<Vec<Arc<JobWork>>, ImportError> {
    let options = Options { select, unscheduled: Unscheduled::Dropped };
    Ok(read(text, &options, &Each::default())?.value)
}

/// The same with all choices, and with what was left out.
pub fn read(
    text: &str,
    options: &Options,
    each: &Each,
) -> Result<Imported<Vec<Arc<JobWork>>>, ImportError> {
    let mut complaints = Complaints::default();
    let read = selected(text, options, each, &mut complaints);
    complaints.or(read)
}

fn selected(
    text: &str,
    options: &Options,
    each: &Each,
    complaints: &mut Complaints,
) -> Option<Imported<Vec<Arc<JobWork>>>> {
    let pods = all(text, complaints)?;
    let found = pods.len();
    let is_selected = |pod: &Pod| match options.select {
        Select::All => true,
        Select::WholeGpus => pod.recorded.ask.gpus > 0 && !pod.is_share,
        Select::CpuOnly => pod.recorded.ask.gpus == 0,
    };
    let mut kept: Vec<Pod> = pods.into_iter().filter(is_selected).collect();
    let selected = kept.len();
    kept.retain(|pod| pod.is_scheduled || options.unscheduled == Unscheduled::Kept);
    let unscheduled = selected - kept.len();
    kept.retain(|pod| pod.recorded.work_ms > 0);
    let momentary = selected - unscheduled - kept.len();
    let shares = kept.iter().filter(|pod| pod.is_share).count();
    let rows = kept.into_iter().map(|pod| pod.recorded).collect();
    let value = workload(rows, Begin::AtTheFirst, each, complaints)?;
    let notes = vec![
        format!("{selected} of {found} pods are of the kind that was asked for"),
        format!("{unscheduled} of them were never scheduled and are left out"),
        format!("{momentary} were deleted at once and are left out"),
        format!("{shares} need a share of a GPU and get a whole one"),
    ];
    Some(Imported { value, notes })
}

#[derive(Debug)]
struct Pod {
    recorded: Recorded,
    is_scheduled: bool,
    is_share: bool,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    name: Column,
    cpu: Column,
    memory: Column,
    gpus: Column,
    gpu_milli: Column,
    created: Column,
    deleted: Column,
    scheduled: Column,
}

fn all(text: &str, complaints: &mut Complaints) -> Option<Vec<Pod>> {
    let table = Table::begin(text, complaints)?;
    if table.has(&["name", "cpu_milli", "num_gpu"]) && !table.has(&["creation_time"]) {
        let detail = "this list has no times (creation_time, deletion_time, scheduled_time), and so \
                      cannot be a workload: import openb_pod_list_default or _cpu250";
        complaints.note("line 1", detail);
        return None;
    }
    let name = table.column("name", complaints);
    let cpu = table.column("cpu_milli", complaints);
    let memory = table.column("memory_mib", complaints);
    let gpus = table.column("num_gpu", complaints);
    let gpu_milli = table.column("gpu_milli", complaints);
    let created = table.column("creation_time", complaints);
    let deleted = table.column("deletion_time", complaints);
    let scheduled = table.column("scheduled_time", complaints);
    let columns = Columns {
        name: name?,
        cpu: cpu?,
        memory: memory?,
        gpus: gpus?,
        gpu_milli: gpu_milli?,
        created: created?,
        deleted: deleted?,
        scheduled: scheduled?,
    };
    table.rows(complaints, |row, complaints| pod(&row, columns, complaints))
}

fn pod(row: &Row<'_>, columns: Columns, complaints: &mut Complaints) -> Option<Pod> {
    let cpu_millis = row.number32(columns.cpu, Number::SOME, complaints);
    let memory_mib = row.number32(columns.memory, Number::AMOUNT, complaints);
    let num_gpu = row.number(columns.gpus, Number::GPUS, complaints);
    let gpu_milli = row.number(columns.gpu_milli, Number::AMOUNT, complaints);
    let created = row.number(columns.created, Number::SECONDS, complaints);
    let deleted = row.number(columns.deleted, Number::SECONDS, complaints);
    let scheduled = match row.text(columns.scheduled) {
        "" => Some(None),
        _ => row.number(columns.scheduled, Number::SECONDS, complaints).map(Some),
    };
    let (created, deleted, scheduled) = (created?, deleted?, scheduled?);
    let (num_gpu, gpu_milli) = (num_gpu?, gpu_milli?);
    let began = scheduled.unwrap_or(created);
    if began < created || deleted < began {
        let place = row.place(columns.deleted);
        complaints.note(place, "must not come before creation_time and scheduled_time");
        return None;
    }
    let gpus = num_gpu.saturating_mul(gpu_milli.div_ceil(1_000)).clamped();
    let ask = Resources { cpu_millis: cpu_millis?, memory_mib: memory_mib?, disk_mib: 0, gpus };
    let recorded = Recorded {
        line: row.line,
        id: row.text(columns.name).to_owned(),
        came_ms: created,
        work_ms: deleted - began,
        deadline_ms: None,
        count: 1,
        ask,
    };
    let is_share = num_gpu > 0 && gpu_milli < 1_000;
    Some(Pod { recorded, is_scheduled: scheduled.is_some(), is_share })
}
