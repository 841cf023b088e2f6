//! `ebb simulate`: policies over a recorded or generated market. Needs no manager.

mod answers;
pub(crate) mod args;
mod batch;
mod files;
mod pool;
mod run;

#[cfg(test)]
pub(crate) use answers::{Batch, ResultLine, Simulated};

use crate::error::{Exit, Failure};
use crate::output::Screen;

pub(crate) fn simulate(screen: Screen, args: &args::Simulate) -> Result<Exit, Failure> {
    match &args.run.batch {
        Some(file) => batch::batch(screen, &args.run, file),
        None => run::run(screen, &args.run),
    }
}
