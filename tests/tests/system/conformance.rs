//! Strangers' requests: schemathesis makes them from the manager's own OpenAPI document, right ones
//! and wrong ones, and checks every answer against it.

use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::{Database, Scratch};

/// Fewer than these would say little.
const CASES: u64 = 5_000;

/// A folder beside this crate's sources.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

#[tokio::test]
async fn every_answer_is_as_the_document_says() {
    let programs = std::env::var_os("EBB_TEST_PYTHON_PROGRAMS")
        .expect("EBB_TEST_PYTHON_PROGRAMS names a folder; `cargo xtask test` makes one");
    let scratch = Scratch::new(Database::Sqlite);
    let up = scratch.server(&["up"]).await;
    let report = scratch.path().join("report.xml");
    let mut command = Command::new(Path::new(&programs).join("schemathesis"));
    command
        .current_dir(scratch.path())
        .arg("--config-file")
        .arg(folder().join("schemathesis.toml"))
        .args(["--no-color", "run"])
        .arg(format!("{}/openapi.json", up.rest().url()))
        .args(["--report", "junit", "--report-junit-path"])
        .arg(&report)
        // A test must fail again when it is run again.
        .args(["--seed", "1", "--generation-deterministic"])
        .env("SCHEMATHESIS_HOOKS", folder().join("ndjson.py"))
        .env("EBB_TOKEN", up.rest().token())
        .env("HOME", scratch.path());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("not cancelled").expect("schemathesis starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let cases = cases(&told).unwrap_or_else(|| panic!("no count of cases in:\n{told}"));
    assert!(cases >= CASES, "only {cases} cases:\n{told}");
    // It has lived through all of it.
    let ready: serde_json::Value = up.rest().get("/readyz").await;
    assert_eq!(ready["leads"], true, "{ready}");
}

/// Of the line `Test cases: 5321 generated, …` at the end.
fn cases(told: &str) -> Option<u64> {
    let line = told.lines().rev().find(|line| line.contains("generated"))?;
    line.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty())?.parse().ok()
}
