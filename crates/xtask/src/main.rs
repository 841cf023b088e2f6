//! Every repeated developer action: `cargo xtask test | check | tidy | bench | simulate | mutants`.
//!
//! Exit codes: 0 all passed, 1 something failed, 2 usage, 4 a package must be installed first.

mod mutants;
mod packages;
mod postgres;
mod python;
mod simulate;
mod steps;
mod suites;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::steps::{Failure, say};

/// Developer actions of Ebbtide.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Install what the tests need, then run every check and every test.
    Test,
    /// The fast loop: format, tidy, clippy, and the tests that need neither Postgres nor `ebb`.
    Check,
    /// The rules of the house that no compiler knows: layers, file sizes, attributes, paths.
    Tidy,
    /// Measure the release build; prints a table and, if asked, one JSON object.
    Bench {
        /// Passed on; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Break the cluster on purpose, one simulated run for each seed.
    #[command(disable_help_flag = true)]
    Simulate {
        /// Passed on; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Break the product on purpose, and see whether the simulation notices.
    Mutants {
        /// Of `tests/mutants`, without `.patch`; all by default.
        names: Vec<String>,
        /// Seeds in which each must be noticed.
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    let root = workspace_root();
    let outcome = match Options::parse().action {
        Action::Test => suites::test(&root),
        Action::Check => suites::check(&root),
        Action::Tidy => suites::tidy(&root),
        Action::Bench { options } => suites::bench(&root, &options),
        Action::Simulate { options } => simulate::simulate(&root, &options),
        Action::Mutants { names, seeds } => mutants::mutants(&root, &names, seeds),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // It was told already.
        Err(failure @ Failure::Usage) => ExitCode::from(failure.exit_code()),
        Err(failure) => {
            say(format_args!("xtask: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The folder of the workspace: the grandparent of this crate's.
fn workspace_root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.clone(), PathBuf::from)
}
