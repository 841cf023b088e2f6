//! Plain tables of pods: `name,cpu_milli,memory_mib,gpus,arrival_s,work_s`, and `deadline_s` and
//! `count` where wanted. The header is needed; columns are known by their names, and
//! no other may be there. `gpus` may be left out, too.
//!
//! Times are as they stand: the run begins at 0, whenever the first pod comes. An empty
//! `deadline_s` is none.

use std::sync::Arc;

use model::Resources;

use crate::files::number::Number;
use crate::jobs::JobWork;

use super::csv::{Column, Row, Table};
use super::error::Complaints;
use super::workload::{Begin, Recorded, workload};
use super::{Each, ImportError, Imported};

const COLUMNS: [&str; 8] =
    ["name", "cpu_milli", "memory_mib", "gpus", "arrival_s", "work_s", "deadline_s", "count"];

/// All pods.
pub fn pods(text: &str) -> Result<Vec<Arc<JobWork>>, ImportError> {
    Ok(read(text, &Each::default())?.value)
}

/// The same, each with what the table does not say.
pub fn read(text: &str, each: &Each) -> Result<Imported<Vec<Arc<JobWork>>>, ImportError> {
    let mut complaints = Complaints::default();
    let read = all(text, &mut complaints).and_then(|rows| {
        let value = workload(rows, Begin::AsRecorded, each, &mut complaints)?;
        Some(Imported { value, notes: Vec::new() })
    });
    complaints.or(read)
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    name: Column,
    cpu: Column,
    memory: Column,
    gpus: Option<Column>,
    arrival: Column,
    work: Column,
    deadline: Option<Column>,
    count: Option<Column>,
}

fn all(text: &str, complaints: &mut Complaints) -> Option<Vec<Recorded>> {
    let table = Table::begin(text, complaints)?;
    table.only(&COLUMNS, complaints);
    let name = table.column("name", complaints);
    let cpu = table.column("cpu_milli", complaints);
    let memory = table.column("memory_mib", complaints);
    let arrival = table.column("arrival_s", complaints);
    let work = table.column("work_s", complaints);
    let columns = Columns {
        name: name?,
        cpu: cpu?,
        memory: memory?,
        gpus: table.maybe("gpus"),
        arrival: arrival?,
        work: work?,
        deadline: table.maybe("deadline_s"),
        count: table.maybe("count"),
    };
    table.rows(complaints, |row, complaints| pod(&row, columns, complaints))
}

fn pod(row: &Row<'_>, columns: Columns, complaints: &mut Complaints) -> Option<Recorded> {
    let optional = |column: Option<Column>, kind, default, complaints: &mut Complaints| match column
    {
        Some(column) if !row.text(column).is_empty() => row.number32(column, kind, complaints),
        _ => Some(default),
    };
    let cpu_millis = row.number32(columns.cpu, Number::SOME, complaints);
    let memory_mib = row.number32(columns.memory, Number::AMOUNT, complaints);
    let gpus = optional(columns.gpus, Number::GPUS, 0, complaints);
    let came_ms = row.number(columns.arrival, Number::SECONDS, complaints);
    let work_ms = row.number(columns.work, Number::SOME_SECONDS, complaints);
    let deadline_ms = match columns.deadline {
        Some(column) if !row.text(column).is_empty() => {
            row.number(column, Number::SOME_SECONDS, complaints).map(Some)
        }
        _ => Some(None),
    };
    let count = optional(columns.count, Number::COUNT, 1, complaints);
    Some(Recorded {
        line: row.line,
        id: row.text(columns.name).to_owned(),
        came_ms: came_ms?,
        work_ms: work_ms?,
        deadline_ms: deadline_ms?,
        count: count?,
        ask: Resources {
            cpu_millis: cpu_millis?,
            memory_mib: memory_mib?,
            disk_mib: 0,
            gpus: gpus?,
        },
    })
}
