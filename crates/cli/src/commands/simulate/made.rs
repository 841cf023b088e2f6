//! Files that were made: a market, a workload, a batch.

use std::path::Path;
use std::sync::Arc;

use market::recorded::Recording;
use model::Clamp;
use serde::Serialize;
use simulator::files::{jobs as jobs_file, market as market_file};
use simulator::jobs::JobWork;
use simulator::report::Span;

use super::files::{self, Whole};
use crate::error::{Exit, Failure};
use crate::output::{Answer, Look, Screen, write_all};
use crate::render::many;

/// What there is now.
#[derive(Debug, Serialize)]
pub(crate) struct Made {
    pub(crate) to: String,
    #[serde(flatten)]
    pub(crate) what: What,
    /// What was left out or assumed.
    pub(crate) notes: Vec<String>,
}

/// Of what a file is.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum What {
    Market {
        pools: u64,
        /// Until its last record ends; absent when none ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        lasts_ms: Option<u64>,
    },
    Jobs {
        jobs: u64,
        tasks: u64,
    },
    Batch {
        cases: u64,
    },
}

impl What {
    pub(crate) fn market(recording: &Recording) -> Self {
        let lasts_ms = Some(recording.end_ms()).filter(|end| *end > 0);
        Self::Market { pools: recording.pools.len().clamped(), lasts_ms }
    }

    pub(crate) fn jobs(jobs: &[Arc<JobWork>]) -> Self {
        let tasks = jobs.iter().map(|job| u64::from(job.count)).sum();
        Self::Jobs { jobs: jobs.len().clamped(), tasks }
    }
}

impl Answer for Made {
    fn text(&self, look: Look) -> String {
        let what = match &self.what {
            What::Market { pools, lasts_ms } => {
                let lasts = match lasts_ms {
                    Some(ms) => format!("over {}", Span { ms: *ms }),
                    None => "without end".to_owned(),
                };
                format!("a market of {} {lasts}", many(*pools, "pool"))
            }
            What::Jobs { jobs, tasks } => {
                format!("{} with {}", many(*jobs, "job"), many(*tasks, "task"))
            }
            What::Batch { cases } => format!("a batch of {}", many(*cases, "case")),
        };
        let mut lines = vec![format!("{}: {what}", self.to)];
        let notes = self.notes.iter().map(|note| format!("- {}", crate::table::plain(note)));
        lines.extend(notes.map(|note| crate::table::wrapped(&note, look.width, 2)));
        lines.join("\n")
    }
}

/// Writes the file and says so; or, without a file, prints what would be in it, and tells notes aside.
pub(super) fn give(
    screen: Screen,
    to: Option<&Path>,
    (what, notes): (What, Vec<String>),
    pieces: impl IntoIterator<Item = String>,
) -> Result<Exit, Failure> {
    if let Some(path) = to {
        let mut file = Whole::create(path)?;
        for piece in pieces {
            file.write(&piece)?;
        }
        file.keep()?;
        screen.show(&Made { to: files::name(path), what, notes })?;
    } else {
        let mut stdout = std::io::stdout().lock();
        for piece in pieces {
            write_all(&mut stdout, piece.as_bytes())?;
        }
        drop(stdout);
        for note in notes {
            screen.say(&format!("note: {}", crate::table::plain(&note)));
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn market(
    screen: Screen,
    to: Option<&Path>,
    recording: &Recording,
    notes: Vec<String>,
) -> Result<Exit, Failure> {
    give(screen, to, (What::market(recording), notes), [market_file::write(recording)])
}

pub(super) fn jobs(
    screen: Screen,
    to: Option<&Path>,
    jobs: &[Arc<JobWork>],
    notes: Vec<String>,
) -> Result<Exit, Failure> {
    give(screen, to, (What::jobs(jobs), notes), [jobs_file::write(jobs)])
}

/// A case as a line of a batch.
pub(super) fn case(id: &str, recording: &Recording, jobs: &str) -> String {
    // The files' only line ends are between two parts; those in texts are escaped.
    let one_line = |text: &str| text.replace('\n', "");
    let id = serde_json::Value::from(id);
    let (market, jobs) = (one_line(&market_file::write(recording)), one_line(jobs));
    format!("{{\"id\":{id},\"market\":{market},\"jobs\":{jobs}}}\n")
}
