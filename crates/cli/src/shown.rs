//! What every command shows, over fixed samples: the text for a terminal of 80 columns, the JSON,
//! and `--help`. A command that shows nothing here fails a test.

use std::collections::BTreeSet;
use std::path::Path;

use api::sync::Stream;
use api::view::{Page, Retried, Submitted, TokenMade};
use clap::CommandFactory;
use model::{JobId, JobStatus, NodeId};
use serde::Serialize;
use simulator::files::batch::CaseId;
use simulator::report::table;
use simulator::result::RunResult;

use crate::args::Cli;
use crate::commands::doctor::{Check, Diagnosis, Finding};
use crate::commands::export::Exported;
use crate::commands::logs::Piece;
use crate::commands::manager::Ready;
use crate::commands::nodes::Drained;
use crate::commands::outputs::Downloaded;
use crate::commands::retry::RetriedJobs;
use crate::commands::run::Ran;
use crate::commands::simulate::{Batch, Made, ResultLine, Simulated, What};
use crate::commands::status::{JobTasks, TaskDetail};
use crate::commands::stop::Stopped;
use crate::commands::submit::SubmittedMany;
use crate::commands::token::Revoked;
use crate::health::{Facts, Overview, Unsettled};
use crate::output::{Answer, Look, Paint};
use crate::samples::{self, NOW};

const LOOK: Look = Look { paint: Paint::PLAIN, width: 80, now: NOW };

/// A command, which of its answers, its text, its JSON.
type Shown = (&'static str, &'static str, String, String);

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

fn answer<T: Answer>(command: &'static str, which: &'static str, value: &T) -> Shown {
    (command, which, value.text(LOOK), json(value))
}

/// What is written as it comes, without a text of its own.
fn line<T: Serialize>(command: &'static str, which: &'static str, value: &T) -> Shown {
    (command, which, "(as it comes)".to_owned(), json(value))
}

fn page<T>(items: Vec<T>) -> Page<T> {
    Page { items, next_cursor: None }
}

fn shown() -> Vec<Shown> {
    [started(), submitted(), looked_at(), ended(), cluster(), machine(), simulated()].concat()
}

fn started() -> Vec<Shown> {
    let ready = |what| Ready {
        url: "http://127.0.0.1:7878",
        data_dir: Path::new("/var/lib/ebb"),
        token: "ebbu_secret",
        what,
    };
    vec![
        answer("up", "", &ready("ebb")),
        answer("manager", "", &ready("a manager")),
        answer("demo", "", &crate::demo::sample()),
    ]
}

fn submitted() -> Vec<Shown> {
    let (task, job) = (samples::task(17).id, JobId::from_number(7));
    let text = "a\nb";
    let many = SubmittedMany { jobs: 2000, tasks: 4000, first: Some(job), last: Some(job) };
    let waited = vec![samples::job(7), samples::job(8)];
    vec![
        line("run", "output", &Piece { task, stream: Stream::Stderr, text }),
        line("run", "end", &Ran { job, status: JobStatus::Failed, exit_code: 3 }),
        answer("submit", "", &Submitted { id: job, tasks: 3 }),
        answer("submit", "many", &many),
        answer("submit", "wait", &samples::detail()),
        answer("wait", "", &page(waited)),
        line("logs", "", &Piece { task, stream: Stream::Stdout, text }),
        answer("outputs", "", &page(samples::outputs())),
        answer("outputs", "none", &page::<api::view::OutputView>(vec![])),
        answer(
            "outputs",
            "to",
            &Downloaded { to: "results".into(), files: 12, kept: 2, bytes: 734_003_200 },
        ),
    ]
}

fn looked_at() -> Vec<Shown> {
    let facts = Facts {
        not_ready: None,
        unsettled: Unsettled { running: 2, waiting: 0, more: false },
        jobs: vec![samples::job(8), samples::job(7)],
        nodes: samples::nodes(),
        cost: samples::cost(),
        why: vec![],
    };
    let task = samples::task(17);
    let attempts = vec![samples::attempt(task.id)];
    let tasks = JobTasks { job: samples::detail(), task_list: vec![samples::task(17)] };
    let exported = Exported { to_file: "week.json".into(), bytes: 734_003 };
    vec![
        answer("plan", "", &samples::plan()),
        answer("plan", "never", &samples::no_plan()),
        answer("export", "", &exported),
        answer("status", "", &Overview::new(facts, false, NOW)),
        answer("status", "job", &samples::detail()),
        answer("status", "job-all", &tasks),
        answer("status", "jobs", &page(vec![samples::job(8), samples::job(7)])),
        answer("status", "no-jobs", &page::<api::view::JobView>(vec![])),
        answer("status", "task", &TaskDetail { task, attempts }),
        answer("explain", "", &samples::explanation()),
    ]
}

fn ended() -> Vec<Shown> {
    let retried = |number, tasks| Retried { id: JobId::from_number(number), tasks };
    let stopping = vec!["job_0000000000007".to_owned(), "job_0000000000008.0.17".to_owned()];
    vec![
        answer("stop", "", &Stopped { stopping }),
        answer("retry", "", &RetriedJobs { retried: vec![retried(7, 7), retried(8, 1)] }),
    ]
}

fn cluster() -> Vec<Shown> {
    let node = NodeId::from_number(4);
    let view = samples::tokens().remove(0);
    vec![
        answer("nodes", "", &page(samples::nodes())),
        answer("nodes", "none", &page::<api::view::NodeView>(vec![])),
        answer("drain", "", &Drained { node, drain: true }),
        answer("undrain", "", &Drained { node, drain: false }),
        answer("cost", "", &samples::cost()),
        answer("token create", "", &TokenMade { token: "ebbj_secret".into(), view }),
        answer("token list", "", &page(samples::tokens())),
        answer("token revoke", "", &Revoked { revoked: "1867eb418a849be1" }),
    ]
}

fn machine() -> Vec<Shown> {
    let check = |name, finding, found: &str, next: Option<&str>| Check {
        name,
        finding,
        found: found.to_owned(),
        next: next.map(str::to_owned),
    };
    let diagnosis = Diagnosis::new(vec![
        check("disk", Finding::Ok, "58.1 GiB free for /var/lib/ebb", None),
        check("open files", Finding::Warn, "1024 at once", Some("ulimit -n 65536")),
        check(
            "manager",
            Finding::Fail,
            "no manager found; start one with `ebb up`",
            Some("ebb up"),
        ),
    ]);
    vec![answer("doctor", "", &diagnosis)]
}

fn simulated() -> Vec<Shown> {
    let (ours, jobs) = samples::simulated("ebbtide");
    let (theirs, _) = samples::simulated("uniform-progress-plain");
    let of = |results: &[&RunResult]| table(results.iter().copied(), &jobs);
    let one = Simulated { results: vec![&ours], rows: of(&[&ours]) };
    let both = vec![&ours, &theirs];
    let two = Simulated { rows: of(&both), results: both };
    let mut batch = Batch::default();
    batch.add(&two.rows);
    batch.add(&two.rows);
    let kept = Batch { to: Some("results.jsonl".to_owned()), ..batch.clone() };
    let id = CaseId::Name("us-west-2a/17".into());
    let notes = vec!["897 of 8152 pods were never scheduled: they are left out".to_owned()];
    let made = |to: &str, what| Made { to: to.to_owned(), what, notes: notes.clone() };
    let lasting = What::Market { pools: 24, lasts_ms: Some(604_800_000) };
    vec![
        answer("simulate", "", &one),
        answer("simulate", "policies", &two),
        answer("simulate", "batch", &batch),
        answer("simulate", "batch-to", &kept),
        answer(
            "simulate import",
            "",
            &made("market.json", What::Market { pools: 9, lasts_ms: None }),
        ),
        answer("simulate import", "batch", &made("cases.jsonl", What::Batch { cases: 2400 })),
        answer("simulate generate market", "", &made("market.json", lasting)),
        answer("simulate generate jobs", "", &made("j.json", What::Jobs { jobs: 1, tasks: 8 })),
        line("simulate", "batch-line", &ResultLine { id: &id, result: &ours }),
    ]
}

/// Commands that have no answer: a service, and a script for a shell.
const SILENT: [&str; 2] = ["worker", "completions"];

/// The commands that people type, like `token create`.
fn commands() -> Vec<(String, clap::Command)> {
    fn collect(before: &str, command: &clap::Command, into: &mut Vec<(String, clap::Command)>) {
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let name = format!("{before}{}", inner.get_name());
            if inner.has_subcommands() {
                collect(&format!("{name} "), inner, into);
            }
            if !inner.has_subcommands() || inner.get_arguments().next().is_some() {
                into.push((name, inner.clone()));
            }
        }
    }
    let mut all = Vec::new();
    collect("", &Cli::command(), &mut all);
    all
}

#[test]
fn every_command_shows_something_here() {
    let shown = shown();
    let here: BTreeSet<_> = shown.iter().map(|(command, ..)| *command).chain(SILENT).collect();
    let all = commands();
    let all: BTreeSet<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(here, all);
}

#[test]
fn answers_are_these() {
    for (command, which, text, json) in shown() {
        let name = format!("{command} {which}").trim().replace(' ', "-");
        insta::assert_snapshot!(name, format!("{text}\n\n--output json\n{json}"));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "`ebb {command}` is too wide: {line}");
        }
    }
}

/// As `ebb COMMAND --help` prints it on 80 columns.
fn help(name: &str) -> String {
    let mut command = Cli::command().term_width(80);
    let mut words = vec!["ebb"];
    words.extend(name.split(' ').filter(|word| !word.is_empty()));
    words.push("--help");
    match command.try_get_matches_from_mut(words) {
        Err(help) => help.to_string(),
        Ok(_) => panic!("`ebb {name} --help` is no help"),
    }
}

#[test]
fn helps_are_these_and_teach_by_example() {
    insta::assert_snapshot!("help", help(""));
    for (name, command) in commands() {
        let text = help(&name);
        assert!(text.contains("Examples:\n  "), "`ebb {name}` has no example");
        assert!(command.get_about().is_some(), "`ebb {name}` does not say what it does");
        for example in text.lines().skip_while(|line| *line != "Examples:").skip(1) {
            assert!(example.starts_with("  "), "`ebb {name}`: broken by the width: {example}");
        }
        insta::assert_snapshot!(format!("help {name}").replace(' ', "-"), text);
    }
}

/// The examples are typed as they are read.
#[test]
fn examples_are_right_command_lines() {
    for (name, _) in commands() {
        // A line that goes on in the next is one command.
        let text = help(&name).replace(" \\\n    ", " ");
        let examples = text.lines().skip_while(|line| *line != "Examples:").skip(1);
        let mut seen = 0;
        for example in examples.flat_map(|line| line.split("&&")).flat_map(|line| line.split(" | "))
        {
            let line = example.split('>').next().unwrap_or_default();
            let line =
                line.split("  ").map(str::trim).find(|part| !part.is_empty()).unwrap_or_default();
            let mut words: Vec<_> =
                line.split_whitespace().skip_while(|word| *word != "ebb").collect();
            // What is run is not ours to read.
            words.iter_mut().for_each(|word| *word = word.trim_matches('"'));
            if words.is_empty() {
                continue;
            }
            seen += 1;
            if let Err(fault) = Cli::command().try_get_matches_from(&words) {
                panic!("`ebb {name}` teaches what is wrong: {line}\n{fault}");
            }
        }
        assert!(seen > 0, "`ebb {name}` has no example");
    }
}

/// The guide has a section for each command, which names each of its options.
#[test]
fn the_guide_knows_every_command_and_option() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/cli.md");
    let guide = std::fs::read_to_string(file).expect("docs/guide/cli.md");
    let sections: std::collections::BTreeMap<_, _> = guide
        .split("\n## ")
        .skip(1)
        .filter_map(|section| {
            let (title, text) = section.split_once('\n')?;
            Some((title.strip_prefix("`ebb ")?.trim_end_matches('`').to_owned(), text))
        })
        .collect();
    let commands = commands();
    let names: BTreeSet<_> = commands.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(sections.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, command) in commands {
        let text = sections[&name];
        for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
            if let Some(long) = option.get_long().filter(|long| *long != "help") {
                assert!(text.contains(&format!("--{long}")), "`ebb {name}` has --{long}");
            }
        }
        let known = |option: &str| {
            let globals = ["output", "url", "log-format", "verbose", "help"];
            globals.contains(&option)
                || command.get_arguments().any(|argument| argument.get_long() == Some(option))
        };
        let words = text.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '-'));
        // An option of another command is named with it.
        let own = words.filter_map(|word| word.strip_prefix("--")).filter(|word| !word.is_empty());
        for option in own {
            let elsewhere = text.contains(&format!("ebb {option}"));
            let foreign = text
                .lines()
                .any(|line| line.contains(&format!("--{option}")) && line.contains("`ebb "));
            assert!(known(option) || elsewhere || foreign, "`ebb {name}` has no --{option}");
        }
    }
}
