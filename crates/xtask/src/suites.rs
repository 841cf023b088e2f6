//! What `test`, `check`, `tidy` and `bench` run, in which order.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::postgres::{Durability, Postgres};
use crate::steps::{Failure, Steps, cargo, read, run};
use crate::{packages, python, tidy};

/// Where tests find their Postgres. Tests that need it have `postgres` in their name.
const POSTGRES_URL: &str = "EBB_TEST_POSTGRES_URL";
/// Where whole-system tests find the binary; without it they build it themselves.
const BINARY: &str = "EBB_TEST_BINARY";
/// Where the conformance test finds schemathesis.
const PYTHON_PROGRAMS: &str = "EBB_TEST_PYTHON_PROGRAMS";

/// `cargo xtask test`
pub(crate) fn test(root: &Path) -> Result<(), Failure> {
    packages::ensure()?;
    let mut steps = Steps::default();
    static_checks(root, &mut steps);
    steps.run("doc tests", || {
        run(&mut cargo(root, &["test", "--workspace", "--doc", "--quiet"]), "see above")
    });
    // Last, so that the runner's own summary closes what is printed.
    steps.run("tests", || {
        let postgres = Postgres::start(Durability::None)?;
        let programs = python::environment(root)?;
        let binary = build_binary(root, &[])?;
        let mut tests = if has_nextest(root) {
            cargo(root, &["nextest", "run", "--workspace", "--profile", "ci"])
        } else {
            cargo(root, &["test", "--workspace", "--lib", "--bins", "--tests"])
        };
        tests.env(POSTGRES_URL, postgres.url()).env(BINARY, binary);
        tests.env(PYTHON_PROGRAMS, programs);
        run(&mut tests, "the failures above name their tests")
    });
    steps.finish()
}

/// `cargo xtask check`
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let mut steps = Steps::default();
    static_checks(root, &mut steps);
    steps.run("unit tests on SQLite", || {
        let mut tests = if has_nextest(root) {
            let filter = "not test(/postgres/) and not package(system-tests)";
            cargo(root, &["nextest", "run", "--workspace", "--filterset", filter])
        } else {
            let mut tests = cargo(root, &["test", "--workspace", "--exclude", "system-tests"]);
            tests.args(["--lib", "--bins", "--tests", "--", "--skip", "postgres"]);
            tests
        };
        run(tests.env_remove(POSTGRES_URL), "the failures above name their tests")
    });
    steps.finish()
}

/// `cargo xtask tidy`
pub(crate) fn tidy(root: &Path) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.run("tidy", || tidy::check(root));
    steps.finish()
}

/// `cargo xtask bench`: on a Postgres that keeps its promises, with the release build.
pub(crate) fn bench(root: &Path, options: &[String]) -> Result<(), Failure> {
    packages::ensure()?;
    let postgres = Postgres::start(Durability::Full)?;
    let binary = build_binary(root, &["--release"])?;
    let mut bench = cargo(root, &["run", "--quiet", "--release", "--package", "system-tests"]);
    bench.args(["--bin", "bench", "--"]).args(options);
    bench.env(POSTGRES_URL, postgres.url()).env(BINARY, binary);
    run(&mut bench, "see above")
}

fn static_checks(root: &Path, steps: &mut Steps) {
    steps.run("tidy", || tidy::check(root));
    steps.run("format", || {
        run(&mut cargo(root, &["fmt", "--all", "--check"]), "`cargo fmt --all` mends it")
    });
    steps.run("clippy", || {
        let mut clippy = cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet"]);
        run(clippy.args(["--", "--deny", "warnings"]), "mend what is named above")
    });
}

fn has_nextest(root: &Path) -> bool {
    let mut ask: Command = cargo(root, &["nextest", "--version"]);
    read(&mut ask).is_ok()
}

/// Builds `ebb` and says where it is.
fn build_binary(root: &Path, profile: &[&str]) -> Result<PathBuf, Failure> {
    let mut build = cargo(root, &["build", "--package", "cli", "--bin", "ebb"]);
    run(build.args(profile), "see above")?;
    let folder = if profile.is_empty() { "debug" } else { "release" };
    Ok(tidy::target_folder(root)?.join(folder).join("ebb"))
}
