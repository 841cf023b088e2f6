//! The commands of the guide to the simulator are run as they stand there.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::args::{Cli, Command};
use crate::error::Exit;
use crate::output::{Paint, Screen};

/// Recorded markets and workloads, which are not part of this repository.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

/// The commands of its blocks of shell, in order.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let text = blocks.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    text.lines().map(str::to_owned).collect()
}

/// A file of a name below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let here = files.into_iter().find(|path| path.file_name().is_some_and(|it| *it == *name));
    here.or_else(|| folders.iter().find_map(|folder| find(folder, name)))
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/simulator.md");
    let page = std::fs::read_to_string(page).expect("the guide");
    let folder = tempfile::tempdir().expect("a folder");
    let (mut ran, mut skipped) = (0, 0);
    for command in commands(&page) {
        let mut missing = None;
        let words: Vec<String> = command
            .split_whitespace()
            .enumerate()
            .map(|(at, word)| {
                let is_file = [".json", ".jsonl", ".html", ".csv", ".gz"]
                    .iter()
                    .any(|ending| word.ends_with(ending));
                if !is_file {
                    return word.to_owned();
                }
                let before = command.split_whitespace().nth(at - 1);
                let place = find(Path::new(DATA), word).unwrap_or_else(|| folder.path().join(word));
                if !place.exists() && !matches!(before, Some("--to" | "--html")) {
                    missing = Some(word);
                }
                place.display().to_string()
            })
            .collect();
        if let Some(missing) = missing {
            assert!(!Path::new(DATA).is_dir(), "no command made {missing} before `{command}`");
            println!("skipped, for {missing} is not there: {command}");
            skipped += 1;
            continue;
        }
        let cli = Cli::try_parse_from(&words).unwrap_or_else(|fault| panic!("{command}: {fault}"));
        let Command::Simulate(args) = cli.command else { panic!("{command}") };
        let screen = Screen { format: cli.common.output, paint: Paint::PLAIN, live: false };
        match super::simulate(screen, &args) {
            Ok(exit) => assert_eq!(exit, Exit::Ok, "{command}"),
            Err(failure) => panic!("{command}: {failure}"),
        }
        ran += 1;
    }
    assert!(ran >= 4 && ran + skipped > 10, "{ran} of the guide's commands were run");
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
}
