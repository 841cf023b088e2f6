//! Rows of somebody's record, made into jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Resources;

use crate::files::limits;
use crate::files::reader::is_name;
use crate::jobs::JobWork;
use crate::work::Work;

use super::Each;
use super::error::Complaints;

/// A job, as it was recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Where.
    pub(crate) line: usize,
    pub(crate) id: String,
    /// By the record's own clock.
    pub(crate) came_ms: u64,
    pub(crate) work_ms: u64,
    /// From when it came.
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) count: u32,
    pub(crate) ask: Resources,
}

/// Where a workload's clock begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Where the record's does.
    AsRecorded,
    /// When the first job comes.
    AtTheFirst,
}

/// The workload, in order of arrival.
pub(crate) fn workload(
    mut rows: Vec<Recorded>,
    begin: Begin,
    each: &Each,
    complaints: &mut Complaints,
) -> Option<Vec<Arc<JobWork>>> {
    let found = rows.len();
    if found > limits::JOBS {
        complaints.note("", format!("has {found} jobs; at most {} are allowed", limits::JOBS));
        return None;
    }
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let place = format!("line {}", row.line);
        if !is_name(&row.id) {
            let bytes = limits::NAME_BYTES;
            complaints.note(&place, format!("the id must be 1 to {bytes} printable bytes"));
        }
        if let Some(first) = lines.insert(&row.id, row.line) {
            complaints.note(place, format!("has the id of line {first}; ids must be unique"));
        }
    }
    rows.sort_by_key(|row| row.came_ms);
    let first_ms = match begin {
        Begin::AsRecorded => 0,
        Begin::AtTheFirst => rows.first().map_or(0, |row| row.came_ms),
    };
    let tasks: u64 = rows.iter().map(|row| u64::from(row.count)).sum();
    if tasks > limits::TASKS {
        complaints.note("", format!("has {tasks} tasks; at most {} are allowed", limits::TASKS));
    }
    if let Some(last) = rows.last().filter(|row| row.came_ms - first_ms > limits::DURATION_MS) {
        let place = format!("line {}", last.line);
        complaints.note(place, "comes more than a hundred years after the first");
    }
    let job = |row: Recorded| {
        Arc::new(JobWork {
            id: row.id.into(),
            arrival_ms: row.came_ms - first_ms,
            deadline_ms: row.deadline_ms,
            count: row.count,
            ask: row.ask,
            work: Work {
                work_ms: row.work_ms,
                changeover_ms: each.changeover_ms,
                checkpoint: each.checkpoint,
            },
            checkpoint_milligib: each.checkpoint_milligib,
        })
    };
    Some(rows.into_iter().map(job).collect())
}
