//! Measures a release build of `ebb` from outside, on SQLite and on Postgres: `cargo xtask bench`.
//!
//! Each figure stands beside what bounds it: the disk's sync time, the machine's bare spawn rate,
//! the CPU-seconds of all processes that took part.

mod load;
mod machine;
mod placement;
mod report;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use system_tests::Database;

use crate::report::Report;

/// What to measure, and how the result is written.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Options {
    /// How the result is written; progress goes to standard error.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
    /// Only these databases; both by default.
    #[arg(long, value_enum)]
    database: Vec<Which>,
    /// No-op tasks of the end-to-end measurement.
    #[arg(long, default_value_t = 10_000)]
    tasks: u32,
    /// Jobs of the single-submit measurement.
    #[arg(long, default_value_t = 20_000)]
    submits: u32,
    /// Repetitions where a median is asked for.
    #[arg(long, default_value_t = 100)]
    samples: u32,
    /// Workers killed.
    #[arg(long, default_value_t = 20)]
    kills: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Sqlite,
    Postgres,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report { machine: machine::measure(), ..Report::default() };
    progress("placements, decision only");
    report.placements = placement::measure();
    for (which, database) in
        [(Which::Sqlite, Database::Sqlite), (Which::Postgres, Database::Postgres)]
    {
        if options.database.is_empty() || options.database.contains(&which) {
            report.databases.push(load::measure(database, &options, &report.machine).await);
        }
    }
    let text = match options.output {
        Format::Table => report.table(),
        Format::Json => serde_json::to_string(&report).unwrap_or_default(),
    };
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Tells what is being measured, for it takes minutes.
fn progress(what: &str) {
    let _ = writeln!(std::io::stderr(), "measuring {what}");
}
