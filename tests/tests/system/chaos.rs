//! A cluster as users run it, broken at random for minutes: two managers on one Postgres that share
//! a market, its machines, two static workers, clients that submit all the time, and between all of
//! them a network that drops, delays and half-closes. Afterwards everything must settle, nothing may
//! be left, and what the clients and the tasks saw must break no promise.
//!
//! `EBB_CHAOS_S` is for how long (300), `EBB_CHAOS_SEED` what is drawn.

mod clients;
mod cluster;
mod gather;
mod torment;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::history::{Record, Workload, Writer, check};
use system_tests::{Dice, until_within};

use clients::Clients;
use cluster::Cluster;
use torment::Tormentor;

/// After the last fault, everything is settled within this.
const SETTLE: Duration = Duration::from_secs(120);
/// And after that, idle machines are given back within this: a minute of idleness, and a margin.
const RETIRE: Duration = Duration::from_secs(150);
/// All processes are gone so long after their managers.
const END: Duration = Duration::from_secs(20);

/// What everybody writes what he saw to.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Arc<Mutex<(Writer, Vec<Record>)>>,
    start: Instant,
}

impl Log {
    fn new(path: &Path) -> Self {
        let writer = Writer::create(path).expect("a history");
        let lines = Arc::new(Mutex::new((writer, Vec::new())));
        Self { lines, start: Instant::now() }
    }

    pub(crate) fn note(&self, record: Record) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.0.write(&record).and_then(|()| lines.0.flush()).expect("written");
        lines.1.push(record);
    }

    pub(crate) fn at_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Everything so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.1.clone()
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_broken_on_purpose_keeps_its_promises_postgres() {
    let length = Duration::from_secs(number("EBB_CHAOS_S", 300));
    let seed = number("EBB_CHAOS_SEED", u64::from(std::process::id()));
    println!("chaos: EBB_CHAOS_SEED={seed} EBB_CHAOS_S={}", length.as_secs());
    let dice = Dice::new(seed);

    let mut cluster = Cluster::start(&dice).await;
    let kept = std::env::var_os("EBB_CHAOS_HISTORY").map(PathBuf::from);
    let path = kept.unwrap_or_else(|| cluster.path().join("history.jsonl"));
    let log = Log::new(&path);
    log.note(Record::Workload(Workload {
        never_fails: true,
        notes_runs: true,
        alone: true,
        all_retired: true,
        cut_off: true,
    }));
    let mut clients = Clients::start(&cluster, &log, &dice).await;
    let mut tormentor = Tormentor::new(&dice, &log);
    tormentor.rage(&mut cluster, length).await;
    tormentor.heal(&mut cluster).await;
    let healed = Instant::now();
    let jobs = clients.stop_submitting().await;

    let rest = cluster.direct();
    gather::settled(&rest, &jobs, SETTLE).await;
    let settled_s = healed.elapsed().as_secs();
    until_within(RETIRE, "machines are given back", async || {
        rest.try_get::<serde_json::Value>("/v1/nodes?limit=1000")
            .await
            .and_then(gather::none_bought)
    })
    .await;
    let retired_s = healed.elapsed().as_secs();
    clients.stop_listening().await;
    gather::end_state(&rest, &jobs, &log).await;
    gather::runs(&cluster.runs(), &log);
    let mistreated = cluster.mistreated();
    cluster.end(&log, END).await;

    let records = log.records();
    let summary = gather::summary(&records, &jobs);
    println!(
        "chaos: seed {seed}, {} s: {}; {mistreated}; {summary}; all settled {settled_s} s and all \
         machines gone {retired_s} s after the last fault",
        length.as_secs(),
        tormentor.told()
    );
    let breaches = check(&records);
    let told: Vec<String> = breaches.iter().take(20).map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "seed {seed}: {} broken promises: {told:#?}", breaches.len());
    assert!(jobs.len() > 10, "clients were served: {} jobs", jobs.len());
}
