//! `ebb simulate`: policies over a recorded or generated market. Needs no manager.

mod answers;
pub(crate) mod args;
mod batch;
mod exported;
mod files;
mod generate;
#[cfg(test)]
mod guide;
mod import;
mod made;
mod pool;
mod run;
mod words;

#[cfg(test)]
pub(crate) use self::{
    answers::{Batch, ResultLine, Simulated},
    made::{Made, What},
};

use crate::error::{Exit, Failure};
use crate::output::Screen;

pub(crate) fn simulate(screen: Screen, args: &args::Simulate) -> Result<Exit, Failure> {
    match (&args.other, &args.run.batch) {
        (Some(args::Other::Import(import)), _) => import::import(screen, import),
        (Some(args::Other::Generate(command)), _) => generate::generate(screen, command),
        (None, Some(file)) => batch::batch(screen, &args.run, file),
        (None, None) => run::run(screen, &args.run),
    }
}
