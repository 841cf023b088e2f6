//! One market, one workload, some policies.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use market::recorded::Recording;
use model::Fault;
use simulator::jobs::JobWork;
use simulator::policy::PolicyName;
use simulator::report::{self, Page, Span};
use simulator::result::Outcome;
use simulator::series::Watch;

use super::answers::Simulated;
use super::args::Run;
use super::exported::{self, Exported};
use super::{files, pool};
use crate::error::{Exit, Failure, Spot};
use crate::output::Screen;
use crate::progress::{Progress, Unit};
use crate::render::many;

/// What takes longer is told of.
const PATIENCE: Duration = Duration::from_secs(1);
/// Jobs that are named in a warning.
const NAMED: usize = 3;

/// What is run.
pub(super) struct Case {
    pub(super) recording: Arc<Recording>,
    pub(super) jobs: Vec<Arc<JobWork>>,
}

pub(super) fn run(screen: Screen, args: &Run) -> Result<Exit, Failure> {
    let (market, jobs, past) = match (&args.market, &args.jobs, &args.from_export) {
        (Some(market), Some(jobs), _) => (market, jobs, None),
        (_, _, Some(export)) => (export, export, Some(exported::read(export)?)),
        _ => {
            return Err(Failure::usage(
                "a market and a workload are needed: --market FILE --jobs FILE",
            )
            .next("ebb simulate generate market --to market.json; ebb simulate import --help"));
        }
    };
    let (case, past) = match past {
        Some(Exported { case, seen, assumed }) => (case, Some((seen, assumed))),
        None => (read(market, jobs)?, None),
    };
    warn(screen, &case);
    let outcomes = simulate(screen, &case, &args.policies(), args.seed);
    if let Some(file) = &args.html {
        let (market, jobs) = (files::name(market), files::name(jobs));
        let page = Page {
            title: &format!("{jobs} on {market}"),
            market_name: &market,
            jobs_name: &jobs,
            command: &command(args),
            market: &case.recording,
            jobs: &case.jobs,
            outcomes: &outcomes,
        };
        files::write(file, &report::html(&page))?;
        screen.say(&format!("the page is in {}", file.display()));
    }
    let results: Vec<_> = outcomes.iter().map(|outcome| &outcome.result).collect();
    let rows = report::table(results.iter().copied(), &case.jobs);
    screen.show(&Simulated { results, rows })?;
    if let Some((seen, assumed)) = past {
        screen.say(&exported::words(&seen));
        for words in assumed {
            screen.say(&format!("assumed: {words}"));
        }
    }
    Ok(Exit::Ok)
}

/// Both files, or all their faults.
fn read(market: &Path, jobs: &Path) -> Result<Case, Failure> {
    if market == Path::new("-") && jobs == market {
        return Err(Failure::usage("market and workload cannot both be read from stdin"));
    }
    let (mut spots, mut names) = (Vec::new(), Vec::new());
    let recording = parsed(market, simulator::files::market::parse, &mut spots, &mut names)?;
    let jobs = parsed(jobs, simulator::files::jobs::parse, &mut spots, &mut names)?;
    match (recording, jobs) {
        (Some(recording), Some(jobs)) => Ok(Case { recording: Arc::new(recording), jobs }),
        _ => {
            let count = many(u64::try_from(spots.len()).unwrap_or(u64::MAX), "fault");
            let has = if names.len() > 1 { "have" } else { "has" };
            let names = names.join(" and ");
            let failure = Failure::usage(format!("{names} {has} {count}; nothing was run"));
            Err(failure.with_errors(spots))
        }
    }
}

/// What a file holds; or its faults are noted, and its name.
fn parsed<T>(
    file: &Path,
    parse: impl FnOnce(&str) -> Result<T, Vec<Fault>>,
    spots: &mut Vec<Spot>,
    names: &mut Vec<String>,
) -> Result<Option<T>, Failure> {
    let text = files::text(file)?;
    match parse(&text) {
        Ok(value) => Ok(Some(value)),
        Err(faults) => {
            spots.extend(files::placed(file, &text, faults));
            names.push(files::name(file));
            Ok(None)
        }
    }
}

/// What is right, and yet not what somebody wants.
fn warn(screen: Screen, case: &Case) {
    let misfits: Vec<_> = simulator::files::never_fits(&case.recording, &case.jobs).collect();
    if misfits.is_empty() {
        return;
    }
    let some: Vec<_> = misfits.iter().take(NAMED).map(|job| crate::table::plain(&job.id)).collect();
    let more = if misfits.len() > NAMED { ", …" } else { "" };
    let count = many(u64::try_from(misfits.len()).unwrap_or(u64::MAX), "job");
    screen.say(&format!(
        "warning: no machine of the market holds a task of {count} ({}{more}): never done",
        some.join(", ")
    ));
}

/// The policies, over all cores.
fn simulate(screen: Screen, case: &Case, policies: &[PolicyName], seed: u64) -> Vec<Outcome> {
    let watch = Arc::new(Watch::default());
    let tasks: u64 = case.jobs.iter().map(|job| u64::from(job.count)).sum();
    let total = tasks.saturating_mul(u64::try_from(policies.len()).unwrap_or(u64::MAX));
    let (begin, mut progress) = (Instant::now(), Progress::new(screen, Unit::Tasks));
    let work = |policy: PolicyName| {
        watch.over(|| simulator::simulate(&case.recording, &case.jobs, policy, seed))
    };
    let mut outcomes = Vec::with_capacity(policies.len());
    let look = || {
        if begin.elapsed() >= PATIENCE {
            let at = Span { ms: watch.now_ms() };
            progress.at(watch.done_tasks(), total, &format!("simulated until {at}"));
        }
    };
    let threads = pool::threads().min(policies.len());
    let done: Result<(), Infallible> =
        pool::in_order(threads, policies.iter().copied(), work, look, |outcome| {
            outcomes.push(outcome);
            Ok(())
        });
    let Ok(()) = done;
    progress.end();
    outcomes
}

/// The command that does the same again.
fn command(args: &Run) -> String {
    let policies: Vec<_> = args.policies().iter().map(|policy| policy.as_str()).collect();
    let seed = args.seed.to_string();
    let mut words = vec!["ebb".to_owned(), "simulate".to_owned()];
    let mut add = |name: &str, value: &str| words.extend([name.to_owned(), quoted(value)]);
    for (name, file) in
        [("--market", &args.market), ("--jobs", &args.jobs), ("--from-export", &args.from_export)]
    {
        if let Some(file) = file {
            add(name, &file.display().to_string());
        }
    }
    add("--policy", &policies.join(","));
    add("--seed", &seed);
    if let Some(file) = &args.html {
        add("--html", &file.display().to_string());
    }
    words.join(" ")
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,:=+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_a_shell_wants_them() {
        let all = ["a/b-1.json", "my file", "it's", ""].map(quoted);
        assert_eq!(all, ["a/b-1.json", "'my file'", r"'it'\''s'", "''"]);
    }

    #[test]
    fn faults_of_both_files_are_told_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("written");
            file
        };
        let market = write("market.json", "{\"gap_s\": 600,\n \"pools\": [{}], \"gaps\": 1}");
        let jobs = write("jobs.json", "[{\"id\": \"a\", \"work_s\": -1}]");
        let failure = read(&market, &jobs).err().expect("faults");
        let told = failure.to_string().replace(&folder.path().display().to_string(), "DIR");
        insta::assert_snapshot!(told, @"
        error: DIR/market.json and DIR/jobs.json have 11 faults; nothing was run
          DIR/market.json:2:17: /gaps: unknown field; known are gap_s, notice_s, boot_s, billing, decide_at, egress_usd_per_gb, pools
          DIR/market.json:2:12: /pools/0/zone: must be text of 1 to 256 printable bytes, is missing
          DIR/market.json:2:12: /pools/0/instance_type: must be text of 1 to 256 printable bytes, is missing
          DIR/market.json:2:12: /pools/0/cpu_millis: must be a whole number from 1 to 1000000000, is missing
          DIR/market.json:2:12: /pools/0/memory_mib: must be a whole number from 1 to 1000000000, is missing
          DIR/market.json:2:12: /pools/0/on_demand_usd_per_hour: must be a number of USD from 0 to 1000000, is missing
          DIR/market.json:2:12: /pools/0/spot_usd_per_hour: must be a number of USD, or a list of them, one a tick, is missing
          DIR/market.json:2:12: /pools/0/capacity: must be a number of machines, or a list of them, one a tick, is missing
          DIR/jobs.json:1:14: /0/work_s: must be a number of seconds from 0.001 to 3155760000, is -1
          DIR/jobs.json:1:2: /0/cpu_millis: must be a whole number from 1 to 1000000000, is missing
          DIR/jobs.json:1:2: /0/memory_mib: must be a whole number from 0 to 1000000000, is missing
        ");
        assert_eq!(failure.exit(), Exit::Usage);
        let same = read(Path::new("-"), Path::new("-")).err().expect("a fault");
        assert_eq!(same.exit(), Exit::Usage);
    }
}
