//! Many cases, a line each, over all cores.
//!
//! A file is checked whole before anything is run. A stream cannot be: its results come as they are
//! made, all faults are told at its end, and then a file of results is not there.

use std::io::{self, Write};
use std::path::Path;

use model::Fault;
use simulator::files::batch as lines;
use simulator::policy::PolicyName;
use simulator::report::Row;

use super::answers::{Batch, ResultLine};
use super::args::Run;
use super::files::{self, Line, Lines, Whole};
use super::pool;
use crate::error::{Exit, Failure, Spot};
use crate::output::{Format, Screen};
use crate::progress::{Progress, Unit};
use crate::render::many;

/// Faults that are told; all are counted.
const FAULTS: usize = 100;

/// Why a batch ends before its end.
enum Stop {
    Failed(Failure),
    /// Whoever read the results has enough.
    Unread,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is wrong with lines.
#[derive(Default)]
struct Faults {
    spots: Vec<Spot>,
    lines: u64,
}

impl Faults {
    fn add(&mut self, name: &str, number: u64, faults: Vec<Fault>) {
        self.lines += 1;
        let room = FAULTS.saturating_sub(self.spots.len());
        let place = format!("{name}:{number}");
        let spot = |fault| Spot { fault, place: Some(place.clone()) };
        self.spots.extend(faults.into_iter().take(room).map(spot));
    }

    fn failure(self, name: &str, what: &str) -> Result<(), Failure> {
        if self.lines == 0 {
            return Ok(());
        }
        let lines = many(self.lines, "bad line");
        let more = if self.spots.len() >= FAULTS { "; these are the first faults" } else { "" };
        Err(Failure::usage(format!("{name} has {lines}; {what}{more}")).with_errors(self.spots))
    }
}

/// What a case came to: its lines, and a row for each policy.
struct Done {
    lines: String,
    rows: Vec<Row>,
}

pub(super) fn batch(screen: Screen, args: &Run, file: &Path) -> Result<Exit, Failure> {
    let is_file = std::fs::metadata(file).is_ok_and(|file| file.is_file());
    let total = if is_file { check(screen, file)? } else { 0 };
    let policies = args.policies();
    let mut out = Out::new(screen, args)?;
    let mut sum = Batch::default();
    let mut faults = Faults::default();
    let mut progress = Progress::new(screen, Unit::Cases);
    let name = files::name(file);
    let work = |(number, line): Line| (number, case(line, &policies, args.seed));
    let ended = pool::in_order(
        pool::threads(),
        Lines::open(file)?,
        work,
        || (),
        |(number, done)| {
            match done {
                Ok(done) => {
                    sum.add(&done.rows);
                    progress.aside(|| out.write(&done.lines))?;
                }
                Err(bad) => faults.add(&name, number, bad),
            }
            progress.at(sum.cases, total, "");
            Ok(())
        },
    );
    progress.end();
    match ended {
        Ok(()) => {}
        Err(Stop::Unread) => return Ok(Exit::Ok),
        Err(Stop::Failed(failure)) => return Err(failure),
    }
    let rest = match args.to {
        Some(_) => "no results were kept",
        None => "the others were run",
    };
    faults.failure(&name, rest)?;
    if sum.cases == 0 {
        return Err(Failure::usage(format!("{name} has no case")));
    }
    out.end()?;
    sum.to = args.to.as_deref().map(files::name);
    if args.to.is_some() || screen.format == Format::Table {
        screen.show(&sum)?;
    }
    Ok(Exit::Ok)
}

/// Where lines of results go.
enum Out {
    File(Whole),
    Stdout,
    /// A summary is all that is wanted.
    Nowhere,
}

impl Out {
    fn new(screen: Screen, args: &Run) -> Result<Self, Failure> {
        Ok(match (&args.to, screen.format) {
            (Some(to), _) => Self::File(Whole::create(to)?),
            (None, Format::Json) => Self::Stdout,
            (None, Format::Table) => Self::Nowhere,
        })
    }

    fn write(&mut self, lines: &str) -> Result<(), Stop> {
        match self {
            Self::File(file) => Ok(file.write(lines)?),
            Self::Nowhere => Ok(()),
            Self::Stdout => {
                let mut to = io::stdout().lock();
                let written = to.write_all(lines.as_bytes()).and_then(|()| to.flush());
                written.map_err(|fault| match fault.kind() {
                    io::ErrorKind::BrokenPipe => Stop::Unread,
                    _ => Failure::local(format!("cannot write the results: {fault}")).into(),
                })
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.keep(),
            Self::Stdout | Self::Nowhere => Ok(()),
        }
    }
}

fn whole(detail: String) -> Vec<Fault> {
    vec![Fault { pointer: String::new(), detail }]
}

fn case(
    line: Result<String, String>,
    policies: &[PolicyName],
    seed: u64,
) -> Result<Done, Vec<Fault>> {
    let line = line.map_err(whole)?;
    let case = lines::parse_line(&line)?;
    // It may be long, and what it says is known now.
    drop(line);
    let mut done = Done { lines: String::new(), rows: Vec::with_capacity(policies.len()) };
    for policy in policies {
        let outcome = simulator::simulate(&case.recording, &case.jobs, *policy, seed);
        let result = &outcome.result;
        let line = serde_json::to_string(&ResultLine { id: &case.id, result });
        done.lines.push_str(&line.map_err(|fault| whole(format!("cannot write JSON: {fault}")))?);
        done.lines.push('\n');
        done.rows.push(Row::of(result, &case.jobs));
    }
    Ok(done)
}

/// Reads the file once, so that nothing is run of one that has faults. Answers how many cases it has.
fn check(screen: Screen, file: &Path) -> Result<u64, Failure> {
    let mut faults = Faults::default();
    let mut progress = Progress::new(screen, Unit::Cases);
    let (name, mut count) = (files::name(file), 0);
    let work = |(number, line): Line| {
        let parsed = line.map_err(whole).and_then(|line| lines::parse_line(&line).map(drop));
        (number, parsed.err())
    };
    let checked: Result<(), Failure> = pool::in_order(
        pool::threads(),
        Lines::open(file)?,
        work,
        || (),
        |(number, bad)| {
            count += 1;
            if let Some(bad) = bad {
                faults.add(&name, number, bad);
            }
            progress.at(count, 0, "checked");
            Ok(())
        },
    );
    progress.end();
    checked?;
    faults.failure(&name, "nothing was run")?;
    Ok(count)
}

#[cfg(test)]
mod tests;
