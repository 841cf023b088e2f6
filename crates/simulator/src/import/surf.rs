//! OpenDC's month of SURF's HPC cluster:
//! `id,submission_time,duration,cpu_count,cpu_capacity,mem_capacity,deferrable,deadline`, times in
//! milliseconds.
//!
//! Every job has one shape, 16 cores and `mem_capacity` 100,000; OpenDC calls that MB, and it is
//! taken for so many MiB (as MB it would be 95,368). The deadline, a day after the submission, was
//! added by OpenDC and not measured: it is taken only when asked for. The first job comes at 0.

use std::sync::Arc;

use model::Resources;

use crate::files::number::Number;
use crate::jobs::JobWork;

use super::csv::{Column, Row, Table};
use super::error::Complaints;
use super::workload::{Begin, Recorded, workload};
use super::{Each, ImportError, Imported};

/// All jobs, without the deadlines that were added to them.
pub fn jobs(text: &str) -> Result<Vec<Arc<JobWork>>, ImportError> {
    Ok(read(text, false, &Each::default())?.value)
}

/// The same, with the deadlines on demand.
pub fn read(
    text: &str,
    with_deadlines: bool,
    each: &Each,
) -> Result<Imported<Vec<Arc<JobWork>>>, ImportError> {
    let mut complaints = Complaints::default();
    let read = all(text, with_deadlines, &mut complaints).and_then(|rows| {
        let value = workload(rows, Begin::AtTheFirst, each, &mut complaints)?;
        let mut notes = vec!["memory is written in MB and taken for MiB".to_owned()];
        if !with_deadlines {
            notes.push("the record's deadlines were added, not measured, and are left out".into());
        }
        Some(Imported { value, notes })
    });
    complaints.or(read)
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    id: Column,
    submitted: Column,
    duration: Column,
    cores: Column,
    memory: Column,
    /// Only if it is asked for.
    deadline: Option<Column>,
}

fn all(text: &str, with_deadlines: bool, complaints: &mut Complaints) -> Option<Vec<Recorded>> {
    let table = Table::begin(text, complaints)?;
    let id = table.column("id", complaints);
    let submitted = table.column("submission_time", complaints);
    let duration = table.column("duration", complaints);
    let cores = table.column("cpu_count", complaints);
    let memory = table.column("mem_capacity", complaints);
    let deadline = if with_deadlines { Some(table.column("deadline", complaints)?) } else { None };
    let columns = Columns {
        id: id?,
        submitted: submitted?,
        duration: duration?,
        cores: cores?,
        memory: memory?,
        deadline,
    };
    table.rows(complaints, |row, complaints| job(&row, columns, complaints))
}

fn job(row: &Row<'_>, columns: Columns, complaints: &mut Complaints) -> Option<Recorded> {
    let came = row.number(columns.submitted, Number::ID, complaints);
    let work = row.number(columns.duration, Number::SOME_MILLISECONDS, complaints);
    let cores = row.number32(columns.cores, Number::CORES, complaints);
    let memory_mib = row.number32(columns.memory, Number::AMOUNT, complaints);
    let due = match columns.deadline {
        None => Some(None),
        Some(deadline) => row.number(deadline, Number::ID, complaints).map(Some),
    };
    let (came_ms, due) = (came?, due?);
    if let (Some(due_ms), Some(column)) = (due, columns.deadline)
        && due_ms <= came_ms
    {
        complaints.note(row.place(column), "must come after the submission_time");
        return None;
    }
    Some(Recorded {
        line: row.line,
        id: row.text(columns.id).to_owned(),
        came_ms,
        work_ms: work?,
        deadline_ms: due.map(|due_ms| due_ms - came_ms),
        count: 1,
        ask: Resources {
            cpu_millis: cores?.saturating_mul(1_000),
            memory_mib: memory_mib?,
            disk_mib: 0,
            gpus: 0,
        },
    })
}
