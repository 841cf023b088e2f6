//! Python tools of the tests, in a virtual environment of our own below the target folder. Every
//! package is pinned; the environment is made anew when the list changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{Failure, run, say};
use crate::tidy;

/// What the conformance test needs, relative to the workspace.
const REQUIREMENTS: &str = "tests/conformance/requirements.txt";
/// A copy of the list in the environment that was made from it, written last.
const MADE_FROM: &str = "made-from.txt";

/// Whether Python can make environments; Debian keeps that in a package of its own.
pub(crate) fn is_there() -> bool {
    let mut ask = Command::new("python3");
    ask.args(["-c", "import ensurepip, venv"]).stderr(std::process::Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}

/// The programs' folder of an environment with everything that is listed.
pub(crate) fn environment(root: &Path) -> Result<PathBuf, Failure> {
    let folder = tidy::target_folder(root)?.join("python");
    let wanted = read(&root.join(REQUIREMENTS))?;
    let programs = folder.join("bin");
    if std::fs::read_to_string(folder.join(MADE_FROM)).is_ok_and(|made| made == wanted) {
        return Ok(programs);
    }
    say(format_args!("installing the Python packages of {REQUIREMENTS}"));
    let hint = "is the package index within reach?";
    let mut make = Command::new("python3");
    run(make.args(["-m", "venv", "--clear"]).arg(&folder), "python3 makes no environment")?;
    let mut install = Command::new(programs.join("python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    run(install.arg("--requirement").arg(root.join(REQUIREMENTS)), hint)?;
    std::fs::write(folder.join(MADE_FROM), wanted).map_err(|fault| at(&folder, &fault))?;
    Ok(programs)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|fault| at(path, &fault))
}

fn at(path: &Path, fault: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {fault}", path.display()))
}
