//! `ebb demo`: a real job on a market that interrupts it, and every result checked.
//!
//! The demo talks to its manager by REST alone, as any client does; that both share a process is
//! of no use to it but to start and end together. What becomes of the machines is the market's
//! affair: the demo says how many are to be struck, never which or when.

mod cluster;
mod corpus;
mod folder;
mod history;
mod job;
mod progress;
mod report;
mod sums;
mod verify;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use api::view::{CostView, TaskCounts};
use model::{Clamp, JobId};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use cluster::Cluster;
use corpus::{Corpus, Size};
use history::History;
use progress::{Look, Progress};
use report::Report;
use sums::Sums;
use verify::{Findings, TOLD};

use crate::args;
use crate::error::{Exit, Failure};
use crate::output::{self, Answer, Format, Screen};
use crate::remote::Remote;
use crate::signals::Signals;
use crate::table::wrapped;

/// Between two looks while it runs.
const LOOK: Duration = Duration::from_millis(250);
/// Idle machines are given back within this; the rest is ended with the cluster.
const RETIRE_LIMIT: Duration = Duration::from_secs(5);

pub(crate) async fn demo(screen: Screen, args: &args::Demo) -> Result<Exit, Failure> {
    let folder = tempfile::Builder::new()
        .prefix("ebb-demo-")
        .tempdir()
        .map_err(|fault| Failure::local(format!("cannot make a temporary folder: {fault}")))?;
    let done = in_folder(screen, args, folder.path()).await;
    // What cannot be removed so is left to the folder's own end.
    let removed = tokio::task::spawn_blocking(move || folder::remove(folder.path())).await;
    if !matches!(removed, Ok(Ok(()))) {
        warn!(?removed, "the demo's folder was not removed at once");
    }
    done
}

async fn in_folder(screen: Screen, args: &args::Demo, folder: &Path) -> Result<Exit, Failure> {
    let start = Instant::now();
    let mut signals = Signals::listen()?;
    let corpus = tokio::select! {
        corpus = gather(args, folder) => corpus?,
        signal = signals.next() => return Ok(Exit::Signal(signal)),
    };
    screen.say(&describe(&corpus, args));
    let cluster = Cluster::start(folder, args.seed).await?;
    let done = tokio::select! {
        done = work(screen, &cluster, corpus) => done,
        signal = signals.next() => {
            end(screen, cluster, &mut signals).await?;
            return Ok(Exit::Signal(signal));
        }
    };
    let mut done = match done {
        Ok(done) => done,
        Err(failure) => {
            end(screen, cluster, &mut signals).await?;
            return Err(failure);
        }
    };
    if args.keep {
        // The cluster goes on: only its strays are told.
        done.check_history();
        let report = done.report(start.elapsed());
        let next = next_with(&cluster, done.job);
        tell(screen, &report, &done.findings, &next)?;
        if screen.format == Format::Json {
            screen.say(&next.join("\n"));
        }
        signals.next().await;
        end(screen, cluster, &mut signals).await?;
        return Ok(exit_of(&report));
    }
    let (left, signal) = end_quietly(cluster, &mut signals).await?;
    if let Some(signal) = signal {
        return Ok(Exit::Signal(signal));
    }
    done.leaked.extend(left);
    done.check_history();
    let report = done.report(start.elapsed());
    tell(screen, &report, &done.findings, &next_without())?;
    Ok(exit_of(&report))
}

/// Ends the cluster because somebody asked for it, and says so.
async fn end(screen: Screen, cluster: Cluster, signals: &mut Signals) -> Result<(), Failure> {
    screen.say("ending the cluster; again to kill it");
    end_quietly(cluster, signals).await.map(|_| ())
}

/// Ends the cluster; at a signal, at once. Answers the machines that it did not end.
async fn end_quietly(
    cluster: Cluster,
    signals: &mut Signals,
) -> Result<(BTreeSet<String>, Option<u8>), Failure> {
    let folder = cluster.folder().to_owned();
    tokio::select! {
        left = cluster.end() => Ok((left?, None)),
        signal = signals.next() => {
            cluster::end_at_once(folder).await;
            Ok((BTreeSet::new(), Some(signal)))
        }
    }
}

fn exit_of(report: &Report) -> Exit {
    if report.is_good() { Exit::Ok } else { Exit::NotSucceeded }
}

async fn gather(args: &args::Demo, scratch: &Path) -> Result<Corpus, Failure> {
    let light = args.tasks.saturating_sub(job::HEAVY);
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let size = Size { light: count(light), heavy: count(job::HEAVY), seed: args.seed };
    let (dir, scratch) = (args.dir.clone(), scratch.to_owned());
    tokio::task::spawn_blocking(move || corpus::gather(dir.as_deref(), size, &scratch))
        .await
        .map_err(|fault| Failure::local(format!("the corpus was not read: {fault}")))?
}

fn describe(corpus: &Corpus, args: &args::Demo) -> String {
    let root = corpus.root.display();
    format!(
        "corpus: {} ({root}), {} of {} small files and {} bundles of folders, seed {}",
        corpus.source,
        corpus.files.len().min(corpus.choice),
        corpus.choice,
        corpus.bundles.len(),
        args.seed
    )
}

/// What there is to tell once the work is done.
struct Done {
    job: JobId,
    tasks: TaskCounts,
    cost: CostView,
    findings: Findings,
    leaked: BTreeSet<String>,
    history: History,
}

/// Submits, watches and checks.
async fn work(screen: Screen, cluster: &Cluster, corpus: Corpus) -> Result<Done, Failure> {
    let remote = cluster.remote()?;
    let history = History::begin(&remote, cluster.folder()).await?;
    let document = job::document(&corpus, &history.runs())?;
    history.sent((corpus.files.len() + corpus.bundles.len()).clamped());
    let submitted = remote.submit(&document, None).await?;
    history.accepted(&submitted);
    // Machines boot meanwhile: the time costs nothing.
    let sums: JoinHandle<std::io::Result<Sums>> =
        tokio::task::spawn_blocking(move || sums::of_corpus(&corpus));
    let look = watch(screen, &remote, submitted.id).await?;
    info!(job = %submitted.id, "settled");
    let sums = sums
        .await
        .map_err(|fault| Failure::local(format!("the corpus was not read: {fault}")))?
        .map_err(|fault| Failure::local(format!("the corpus cannot be read: {fault}")))?;
    info!("our own sums are made");
    let mut findings = verify::verify(&remote, submitted.id, &sums).await?;
    info!(faults = findings.faults.len(), "all results are read and checked");
    let leaked = all_retired(&remote, cluster).await?;
    info!(strays = leaked.len(), "machines are given back");
    let cost = remote.cost().await?;
    findings.check_cost(&cost);
    history.gather(&remote, submitted.id, &cost).await?;
    Ok(Done { job: submitted.id, tasks: look.job.job.tasks, cost, findings, leaked, history })
}

async fn watch(screen: Screen, remote: &Remote, job: JobId) -> Result<Look, Failure> {
    let mut progress = Progress::new(screen);
    loop {
        let look = Look {
            job: remote.job(job).await?,
            nodes: remote.nodes(true).await?,
            cost: remote.cost().await?,
        };
        progress.show(&look);
        if look.job.job.status.is_settled() {
            progress.end();
            return Ok(look);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the manager has given idle machines back, and answers those that run without its
/// knowledge. What it keeps for a good reason (it fails closed) ends with the cluster.
async fn all_retired(remote: &Remote, cluster: &Cluster) -> Result<BTreeSet<String>, Failure> {
    let start = Instant::now();
    loop {
        let machines = cluster.machines()?;
        // Asked after we looked: a machine that is born in between is known by now.
        let strays = cluster::unaccounted(&machines, &remote.nodes(false).await?);
        if machines.is_empty() || start.elapsed() > RETIRE_LIMIT {
            return Ok(strays);
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Done {
    /// What was seen from outside must break no promise, either.
    fn check_history(&mut self) {
        let broken = self.history.broken(self.leaked.iter().cloned());
        info!(broken = broken.len(), "the history is checked");
        self.findings.faults.extend(broken);
    }

    fn report(&self, wall: Duration) -> Report {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Report {
            tasks: self.tasks.total,
            settled: self.tasks.settled(),
            succeeded: self.tasks.succeeded,
            failed: self.tasks.failed,
            attempts: self.findings.attempts,
            interrupted: self.findings.interrupted,
            node_lost: self.findings.node_lost,
            duplicate_settlements: self.findings.duplicate_settlements,
            verified: self.findings.faults.is_empty(),
            instances_launched: self.cost.instances,
            instances_leaked: count(self.leaked.len()),
            cost_micro_usd: self.cost.total_micro_usd,
            on_demand_micro_usd: self.cost.on_demand_micro_usd,
            wall_ms: wall.as_millis().clamped(),
        }
    }
}

/// The report, and for people what to try next.
#[derive(Debug, serde::Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip)]
    next: &'a [String],
}

/// What a demo that went well says.
#[cfg(test)]
pub(crate) fn sample() -> impl Answer {
    let report: &Report = Box::leak(Box::new(report::good()));
    Told { report, next: Vec::leak(next_without()) }
}

impl Answer for Told<'_> {
    fn text(&self, look: output::Look) -> String {
        let summary = self.report.summary();
        let lines: Vec<_> = summary.lines().map(|line| wrapped(line, look.width, 2)).collect();
        format!("{}\n\ntry next:\n  {}", lines.join("\n"), self.next.join("\n  "))
    }
}

fn tell(
    screen: Screen,
    report: &Report,
    findings: &Findings,
    next: &[String],
) -> Result<(), Failure> {
    for fault in findings.faults.iter().take(TOLD) {
        screen.say(&format!("wrong: {fault}"));
    }
    if findings.faults.len() > TOLD {
        screen.say(&format!("wrong: … and {} more", findings.faults.len() - TOLD));
    }
    screen.show(&Told { report, next })
}

fn next_without() -> Vec<String> {
    vec![
        "ebb demo --keep       # the same, and its manager stays for a look around".to_owned(),
        "ebb up                # your own manager, with a worker that nobody interrupts".to_owned(),
        "ebb run -- echo hello # there, from another terminal: a first job of your own".to_owned(),
    ]
}

fn next_with(cluster: &Cluster, job: JobId) -> Vec<String> {
    let data = cluster.folder().display();
    vec![
        format!("export EBB_DATA_DIR={data}   # in another terminal; {}", cluster.url()),
        "ebb nodes --all                # every machine, and why it went".to_owned(),
        format!("ebb status {job}.{}.0 # a task with its attempts", job::PACK),
        format!("ebb logs {job} --stdout | head"),
        "Ctrl-C here ends it all".to_owned(),
    ]
}
