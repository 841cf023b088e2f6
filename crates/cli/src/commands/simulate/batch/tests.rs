use std::path::PathBuf;

use clap::Parser;

use super::*;
use crate::args::{Cli, Command};
use crate::output::Paint;

const SCREEN: Screen = Screen { format: Format::Table, paint: Paint::PLAIN, live: false };

const GOOD: &str = r#"{"id":"a","market":{"gap_s":600,"notice_s":0,"boot_s":0,"billing":"tick","decide_at":"tick","pools":[{"zone":"z","instance_type":"t","cpu_millis":1000,"memory_mib":1000,"gpus":0,"on_demand_usd_per_hour":3,"spot_usd_per_hour":1,"capacity":[1,1,1,1,1,1]}]},"jobs":[{"id":"j","arrival_s":0,"work_s":1200,"deadline_s":3600,"count":1,"cpu_millis":1000,"memory_mib":1000,"gpus":0,"changeover_s":0,"checkpoint":"continuous"}]}"#;

fn run(folder: &Path, text: &str, more: &str) -> Result<Exit, String> {
    let file = folder.join("cases.jsonl");
    std::fs::write(&file, text).expect("written");
    let line = format!("ebb simulate --policy greedy,omniscient --batch {} {more}", file.display());
    let words = line.replace("DIR", &folder.display().to_string());
    let Command::Simulate(args) = Cli::parse_from(words.split_whitespace()).command else {
        panic!("another command");
    };
    let told = |failure: Failure| failure.to_string().replace(&folder.display().to_string(), "DIR");
    batch(SCREEN, &args.run, &file).map_err(told)
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let results = folder.path().join("results.jsonl");
    (folder, results)
}

#[test]
fn results_are_a_line_for_each_case_and_policy_in_order() {
    let (folder, results) = folder();
    let text: String =
        (0..40).map(|id| format!("{}\n", GOOD.replace("\"a\"", &id.to_string()))).collect();
    assert_eq!(run(folder.path(), &text, "--to DIR/results.jsonl"), Ok(Exit::Ok));
    let lines = std::fs::read_to_string(results).expect("results");
    let seen: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|line| (line["id"].as_u64(), line["policy"].as_str().map(str::to_owned)))
        .collect();
    let policies = ["greedy", "omniscient"].map(|name| Some(name.to_owned()));
    let wanted: Vec<_> =
        (0..40).flat_map(|id| policies.clone().map(|policy| (Some(id), policy))).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn every_line_is_checked_before_one_is_run() {
    let (folder, results) = folder();
    let text = format!("{GOOD}\n\n{{\"id\":1}}\n{GOOD}\nnope\n");
    let told = run(folder.path(), &text, "--to DIR/results.jsonl").expect_err("bad lines");
    insta::assert_snapshot!(told, @"
    error: DIR/cases.jsonl has 2 bad lines; nothing was run
      DIR/cases.jsonl:3: /market: must be an object, is missing
      DIR/cases.jsonl:3: /jobs: must be a list of jobs, is missing
      DIR/cases.jsonl:5: /: is not JSON: expected ident at line 1 column 2
    ");
    assert!(!results.exists());
    let empty = run(folder.path(), "\n", "").expect_err("nothing to do");
    insta::assert_snapshot!(empty, @"error: DIR/cases.jsonl has no case");
}

#[test]
fn no_more_faults_are_told_than_are_read() {
    let (folder, _) = folder();
    let told = run(folder.path(), &"nope\n".repeat(150), "").expect_err("bad lines");
    assert_eq!(told.lines().count(), 101);
    assert!(
        told.starts_with("error: DIR/cases.jsonl has 150 bad lines; nothing was run;"),
        "{told}"
    );
}
