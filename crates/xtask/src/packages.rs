//! Debian packages that the tests need. Installs only what is missing, and nothing else: no
//! recommended packages, no upgrade.

use std::process::Command;

use crate::steps::{Failure, run, say};
use crate::{postgres, python};

/// A package, and how to see that it is there already, however it was installed.
struct Package {
    name: &'static str,
    present: fn() -> bool,
}

const NEEDED: [Package; 2] = [
    Package { name: "postgresql", present: || postgres::programs().is_some() },
    Package { name: "python3-venv", present: python::is_there },
];

/// Mirrors fail for seconds at a time.
const TRIES: u32 = 3;

/// Installs what is missing.
///
/// # Errors
/// Who is not root gets the line to run instead.
pub(crate) fn ensure() -> Result<(), Failure> {
    let missing: Vec<_> =
        NEEDED.iter().filter(|package| !(package.present)()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::NeedsPackages(format!("sudo {install}")));
    }
    say(format_args!("installing {}", missing.join(", ")));
    let install: Vec<_> = install.split(' ').collect();
    let mut outcome = apt(&install);
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        // A stale list of packages is the usual reason.
        outcome = apt(&["apt-get", "update"]).and_then(|()| apt(&install));
    }
    outcome?;
    match NEEDED.iter().find(|package| !(package.present)()) {
        None => Ok(()),
        Some(package) => Err(Failure::Failed(format!(
            "`{}` is installed, but its programs are not where Debian puts them",
            package.name
        ))),
    }
}

fn apt(words: &[&str]) -> Result<(), Failure> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut command, "is the package mirror within reach?")
}
