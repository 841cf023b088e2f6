use clap::Parser;

use super::*;
use crate::args::{Cli, Command};
use crate::commands::simulate::args::Other;
use crate::output::{Format as Written, Paint};

const SCREEN: Screen = Screen { format: Written::Table, paint: Paint::PLAIN, live: false };

const SAMPLES: &str = r#"{"gap_seconds":600,"zones":{"us-west-2a_k80_1":[
 {"i":0,"start":0,"end":3,"data":"010"},{"i":1,"start":3,"end":6,"data":"001"}]}}"#;
const PODS: &str = "name,cpu_milli,memory_mib,gpus,arrival_s,work_s,deadline_s,count\n\
                    a,1000,1024,0,0,60,,2\nb,2000,2048,1,30,600,3600,1\n";

/// Imports files of a folder, which are there as `DIR/…`; answers what is at `DIR/out` then.
fn run(files: &[(&str, &str)], line: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let dir = folder.path().display().to_string();
    let words = format!("ebb simulate import {line} --to DIR/out").replace("DIR", &dir);
    let Command::Simulate(args) = Cli::parse_from(words.split_whitespace()).command else {
        panic!("another command");
    };
    let Some(Other::Import(args)) = args.other else { panic!("another command") };
    let done = import(SCREEN, &args).map_err(|failure| failure.to_string().replace(&dir, "DIR"));
    let out = std::fs::read_to_string(folder.path().join("out")).unwrap_or_default();
    assert_eq!(done.is_ok(), !out.is_empty(), "{done:?}");
    done.map(|_| out)
}

#[test]
fn a_workload_is_read_back() {
    let text = run(&[("pods.csv", PODS)], "pods-csv DIR/pods.csv --changeover 30s --first 1");
    let jobs = jobs_file::parse(&text.expect("imported")).expect("ours");
    assert_eq!((jobs.len(), jobs[0].count, jobs[0].work.changeover_ms), (1, 2, 30_000));
}

#[test]
fn samples_become_a_batch_or_one_of_them_a_market() {
    let jobs =
        r#"[{"id":"a","arrival_s":0,"work_s":600,"cpu_millis":8000,"memory_mib":61000,"gpus":1}]"#;
    let files = [("s.json", SAMPLES), ("jobs.json", jobs)];
    let all = "cant-be-late DIR/s.json --polarity one-is-preempted";
    let batch = run(&files, &format!("{all} --jobs DIR/jobs.json")).expect("imported");
    let cases: Vec<_> = batch
        .lines()
        .map(|line| simulator::files::batch::parse_line(line).expect("a case"))
        .map(|case| (case.id.to_string(), case.jobs.len()))
        .collect();
    let ids = ["us-west-2a_k80_1/0", "us-west-2a_k80_1/1"];
    assert_eq!(cases, ids.map(|id| (id.to_owned(), 1)));
    let one = run(&files, &format!("{all} --sample 1")).expect("imported");
    let market = simulator::files::market::parse(&one).expect("ours");
    assert_eq!((market.pools[0].depth(0), market.pools[0].depth(1_200_000)), (1, 0));
    assert!(run(&files, all).expect_err("two markets").contains("--jobs FILE"));
}

#[test]
fn what_is_wrong_is_told_at_its_place_and_nothing_is_written() {
    let bad = PODS.replace("1024", "much").replace("3600", "-1");
    insta::assert_snapshot!(
        run(&[("pods.csv", &bad)], "pods-csv DIR/pods.csv").expect_err("faults"), @"
    error: the import has 2 faults; nothing was written
      DIR/pods.csv: line 2, memory_mib: /: must be a whole number from 0 to 1000000000, is `much`
      DIR/pods.csv: line 3, deadline_s: /: must be a number of seconds from 0.001 to 3155760000, is `-1`
    ");
    let files = [("s.json", SAMPLES)];
    insta::assert_snapshot!(
        run(&files, "cant-be-late DIR/s.json").expect_err("no polarity"), @"
    error: the import has 1 fault; nothing was written
      at /: say what a 1 means in the record: one-is-available (spot-traces, SpotHedge) or one-is-preempted (Can't Be Late's samples, SkyNomad)
    ");
    insta::assert_snapshot!(
        run(&files, "surf DIR/s.json --zone a").expect_err("no such option"), @"error: surf makes a workload; it takes no option of markets");
}
