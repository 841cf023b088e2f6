//! Every repeated developer action: `cargo xtask test | check | tidy | bench`.
//!
//! Exit codes: 0 all passed, 1 something failed, 2 usage, 4 a package must be installed first.

mod packages;
mod postgres;
mod python;
mod steps;
mod suites;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::steps::say;

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
}

fn main() -> ExitCode {
    let root = workspace_root();
    let outcome = match Options::parse().action {
        Action::Test => suites::test(&root),
        Action::Check => suites::check(&root),
        Action::Tidy => suites::tidy(&root),
        Action::Bench { options } => suites::bench(&root, &options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
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
