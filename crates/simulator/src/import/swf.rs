//! The Standard Workload Format of Feitelson's Parallel Workloads Archive (version 2.2): 18 numbers
//! a line, `;` before comments, -1 for what is not known.
//!
//! Read are (from 1) the number 1, the submission 2, the run time 4, processors 8 (requested, else 5
//! allocated), memory a processor in KB 10 (requested, else 7 used), and the status 11.
//!
//! - The first job that is taken comes at 0. Waits are that machine's, and are not read.
//! - A run time of 0 means less than half a second and is taken for that. Jobs without a run time
//!   or without processors (cancelled before they began) are left out.
//! - Lines of status 2, 3 and 4 are parts of a job that has a line of its own, and are left out.
//! - A parallel job is one task as large as all its processors; or, with
//!   [`Options::cores_per_task`], as many tasks of that size as it takes. Tasks are independent
//!   here: that they ran at the same time is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Clamp, Resources};

use crate::files::{decimal, limits};
use crate::jobs::JobWork;

use super::error::Complaints;
use super::workload::{Begin, Recorded, workload};
use super::{Each, ImportError, Imported};

/// How a parallel job becomes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Cores that a task has at most; 0 = the whole job is one task.
    pub cores_per_task: u32,
    /// What a processor has where neither memory is known.
    pub memory_mib_per_core: u32,
}

impl Default for Options {
    /// One task a job; 2 GiB a core, EC2's least in current general families (`c5`).
    fn default() -> Self {
        Self { cores_per_task: 0, memory_mib_per_core: 2_048 }
    }
}

/// All jobs that ran.
pub fn jobs(text: &str) -> Result<Vec<Arc<JobWork>>, ImportError> {
    Ok(read(text, &Options::default(), &Each::default())?.value)
}

/// The same with all choices, and with what was left out.
pub fn read(
    text: &str,
    options: &Options,
    each: &Each,
) -> Result<Imported<Vec<Arc<JobWork>>>, ImportError> {
    let mut complaints = Complaints::default();
    let read = all(text, options, &mut complaints).and_then(|(rows, left_out)| {
        let value = workload(rows, Begin::AtTheFirst, each, &mut complaints)?;
        let note = |(why, jobs): (&'static str, u64)| format!("{jobs} lines are left out: {why}");
        Some(Imported { value, notes: left_out.into_iter().map(note).collect() })
    });
    complaints.or(read)
}

/// What a line is.
enum Line {
    Job(Recorded),
    LeftOut(&'static str),
}

fn all(
    text: &str,
    options: &Options,
    complaints: &mut Complaints,
) -> Option<(Vec<Recorded>, BTreeMap<&'static str, u64>)> {
    let (mut rows, mut left_out, mut is_good) = (Vec::new(), BTreeMap::new(), true);
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        match read_line(index + 1, line, options, complaints) {
            Some(Line::Job(job)) => rows.push(job),
            Some(Line::LeftOut(why)) => *left_out.entry(why).or_insert(0) += 1,
            None => is_good = false,
        }
    }
    is_good.then_some((rows, left_out))
}

/// The fields that are read; `None` where the line says -1.
struct Fields<'t> {
    line: usize,
    cells: Vec<&'t str>,
}

impl Fields<'_> {
    fn number(
        &self,
        field: usize,
        what: &str,
        (places, most): (u32, u64),
        complaints: &mut Complaints,
    ) -> Option<Option<u64>> {
        let text = self.cells.get(field - 1).copied().unwrap_or_default();
        match decimal::units(text, places) {
            Ok((units, _)) if units <= most => Some(Some(units)),
            Err(decimal::NoDecimal::Negative) => Some(None),
            _ => {
                let place = format!("line {}, field {field} ({what})", self.line);
                let most = decimal::Decimal { units: most, places };
                let shown: String = text.chars().take(64).collect();
                complaints
                    .note(place, format!("must be -1 or a number up to {most}, is `{shown}`"));
                None
            }
        }
    }
}

fn read_line(
    line: usize,
    text: &str,
    options: &Options,
    complaints: &mut Complaints,
) -> Option<Line> {
    let cells: Vec<&str> = text.split_whitespace().collect();
    if cells.len() != 18 {
        let detail = format!("has {} fields; a line of SWF has 18", cells.len());
        complaints.note(format_args!("line {line}"), detail);
        return None;
    }
    let fields = Fields { line, cells };
    let [times, cores] = [(3, limits::DURATION_MS), (0, 1_000_000)];
    let memory = (0, 1 << 40);
    let submitted = fields.number(2, "submit time, s", times, complaints);
    let ran = fields.number(4, "run time, s", times, complaints);
    let allocated = fields.number(5, "allocated processors", cores, complaints);
    let used = fields.number(7, "used memory, KB", memory, complaints);
    let requested = fields.number(8, "requested processors", cores, complaints);
    let wanted = fields.number(10, "requested memory, KB", memory, complaints);
    let status = fields.number(11, "status", (0, 5), complaints)?;
    let known = |number: Option<u64>| number.filter(|number| *number > 0);
    let processors = known(requested?).or(known(allocated?));
    let memory = known(wanted?).or(known(used?));
    let (submitted, ran) = (submitted?, ran?);
    if matches!(status, Some(2..=4)) {
        return Some(Line::LeftOut("a part of a job that has a line of its own"));
    }
    let (Some(came_ms), Some(ran_ms), Some(processors)) = (submitted, ran, processors) else {
        return Some(Line::LeftOut("no submission, run time or processors"));
    };
    let id = fields.cells.first().copied().unwrap_or_default().to_owned();
    let job = (came_ms, ran_ms.max(500), processors, memory);
    Some(Line::Job(recorded(line, id, job, options)))
}

fn recorded(
    line: usize,
    id: String,
    (came_ms, work_ms, processors, memory_kb): (u64, u64, u64, Option<u64>),
    options: &Options,
) -> Recorded {
    let most = u64::from(options.cores_per_task);
    let each = if most == 0 { processors } else { processors.min(most) };
    let count = processors.div_ceil(each);
    let memory_mib = match memory_kb {
        Some(kb) => kb.saturating_mul(each).div_ceil(1_024),
        None => each.saturating_mul(u64::from(options.memory_mib_per_core)),
    };
    let ask = Resources {
        cpu_millis: (each * 1_000).clamped(),
        memory_mib: memory_mib.min(limits::AMOUNT).clamped(),
        disk_mib: 0,
        gpus: 0,
    };
    Recorded { line, id, came_ms, work_ms, deadline_ms: None, count: count.clamped(), ask }
}
