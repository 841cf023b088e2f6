//! What tasks write down of themselves: one file a task, one line a start and one an end.
//!
//! The lines are `start ATTEMPT SECONDS` and `end ATTEMPT SECONDS`; the seconds are the first word
//! of `/proc/uptime`, with two places: a clock that all processes of a host share and that nobody
//! sets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use model::AttemptId;

use super::{HistoryError, Ran};

/// Reads every file of a folder. A folder that is not there holds none: no task has run.
///
/// # Errors
/// A file cannot be read, or a line is none that a task writes. A torn last line is left out: its
/// writer was killed.
pub fn read_runs(folder: &Path) -> Result<Vec<Ran>, HistoryError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| HistoryError::Io { path, source }
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(fault) => return Err(at(folder)(fault)),
    };
    let mut runs = Vec::new();
    for entry in entries {
        let path = entry.map_err(at(folder))?.path();
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        let found = parse(&text).map_err(|(line, fault)| HistoryError::Line {
            path: path.clone(),
            line,
            fault,
        })?;
        runs.extend(found);
    }
    runs.sort_by_key(|run| (run.attempt, run.start_ms));
    Ok(runs)
}

/// The runs of one file; on a fault, which line and why.
pub(super) fn parse(text: &str) -> Result<Vec<Ran>, (usize, String)> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut runs: Vec<Ran> = Vec::new();
    // Where the run of an attempt that has not ended is.
    let mut open = BTreeMap::<AttemptId, usize>::new();
    for (at, line) in whole.lines().enumerate() {
        let wrong = || (at + 1, format!("`{line}` is no start and no end"));
        let words: Vec<_> = line.split(' ').collect();
        let [what, attempt, seconds] = words[..] else { return Err(wrong()) };
        let attempt: AttemptId = attempt.parse().map_err(|_| wrong())?;
        let ms = milliseconds(seconds).ok_or_else(wrong)?;
        match what {
            "start" => {
                open.insert(attempt, runs.len());
                runs.push(Ran { attempt, start_ms: ms, end_ms: None });
            }
            "end" => {
                let run = open.remove(&attempt).and_then(|at| runs.get_mut(at));
                run.ok_or_else(wrong)?.end_ms = Some(ms);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(runs)
}

/// Of seconds with two places.
fn milliseconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.')?;
    if part.len() != 2 {
        return None;
    }
    let (whole, part): (u64, u64) = (whole.parse().ok()?, part.parse().ok()?);
    whole.checked_mul(1_000)?.checked_add(part * 10)
}
