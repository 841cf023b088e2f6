//! Many seeds over all cores, the shrinking of one that fails, and what the faults have struck:
//! `cargo xtask simulate`.
//!
//! Exit codes: 0 every promise was kept, 1 some were not, 2 usage.

mod coverage;
mod minimise;
mod options;
mod report;
mod seeds;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::options::{Format, Options};
use crate::report::{failed, reproduce};
use crate::seeds::{Failure, Seeds, Watch};

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = simulate(&options);
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        // A closed pipe is the reader's wish.
        Ok(false) | Err(_) => ExitCode::from(1),
    }
}

/// Runs all seeds and reports; true when every promise was kept.
fn simulate(options: &Options) -> io::Result<bool> {
    let seeds = Seeds::of(options);
    let bar = Bar::new(options);
    let start = Instant::now();
    seeds::silence_panics();
    let tally = seeds::over(&seeds, &chaos::run, &|seed| options.plan(seed), &bar);
    let took = start.elapsed();
    bar.bar.finish_and_clear();
    let smallest = options.minimise.then(|| shrink(&tally.failures, options));
    let mut out = io::stdout().lock();
    match options.output {
        Format::Json => {
            writeln!(out, "{}", report::json(&tally, took, smallest.flatten().as_ref()))?;
        }
        Format::Table => {
            if let Some((seed, log)) = &tally.log {
                writeln!(out, "log of seed {seed}:")?;
                for line in log {
                    writeln!(out, "{line}")?;
                }
            }
            write!(out, "{}", report::table(&tally, took))?;
            if let Some(Some(smallest)) = &smallest {
                write!(out, "{}", report::smallest(smallest))?;
            }
        }
    }
    Ok(tally.failures.is_empty())
}

/// The first failure with as few faults, for as short a time, as still break the same promise.
fn shrink(failures: &[Failure], options: &Options) -> Option<minimise::Smallest> {
    let first = failures.first()?;
    let bar = Bar::spinner(options);
    let run = |plan: &chaos::Plan| {
        bar.bar.set_message(format!("minimise: {}", reproduce(plan, None)));
        bar.bar.inc(1);
        seeds::caught(&chaos::run, plan)
    };
    let plan = chaos::Plan { log: false, ..first.plan.clone() };
    let smallest = minimise::minimise(&run, &plan, &first.breach, options.most_runs);
    bar.bar.finish_and_clear();
    Some(smallest)
}

/// What is shown on a terminal meanwhile.
struct Bar {
    bar: ProgressBar,
    /// Failures are lines of their own as soon as they are known.
    tells: bool,
}

impl Bar {
    fn new(options: &Options) -> Self {
        let template = "{bar:20.cyan/blue} {pos}/{len} seeds, {per_sec}, {eta} left {msg}";
        Self::with(options, Some(options.seeds), template)
    }

    fn spinner(options: &Options) -> Self {
        Self::with(options, None, "run {pos}: {wide_msg}")
    }

    fn with(options: &Options, length: Option<u64>, template: &str) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(length, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, tells: options.output == Format::Table }
    }
}

impl Watch for Bar {
    fn done(&self, failures: usize) {
        self.bar.inc(1);
        if failures > 0 {
            self.bar.set_message(format!("({failures} failed)"));
        }
    }

    fn failed(&self, failure: &Failure) {
        if !self.tells {
            return;
        }
        let lines = failed(failure);
        self.bar.suspend(|| {
            let _ = io::stdout().lock().write_all(lines.as_bytes());
        });
    }
}
