//! `cargo xtask simulate`: the faults of crate `chaos`, in its release build.

use std::path::Path;

use crate::steps::{Failure, cargo, run_to_code};

/// Runs it with these options; what it prints is the answer.
pub(crate) fn simulate(root: &Path, options: &[String]) -> Result<(), Failure> {
    let mut simulate = cargo(root, &["run", "--quiet", "--release", "--package", "chaos", "--"]);
    match run_to_code(simulate.args(options))? {
        Some(0) => Ok(()),
        Some(1) => Err(Failure::Failed("promises were broken, see above".into())),
        Some(2) => Err(Failure::Usage),
        code => {
            let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
            Err(Failure::Failed(format!("the simulation ended with {code}, see above")))
        }
    }
}
