//! Many seeds over all cores.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use chaos::{Breach, Fault, Outcome, Plan};
use control::Invariant;
use nix::time::{ClockId, clock_gettime};

use crate::options::Options;

/// Which seeds, and when to stop before the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) from: u64,
    pub(crate) count: u64,
    pub(crate) jobs: NonZeroUsize,
    pub(crate) most_failures: usize,
    /// Stop at the first of these, and at nothing else; empty: stop after `most_failures`.
    pub(crate) stop_at: BTreeSet<Invariant>,
}

impl Seeds {
    pub(crate) fn of(options: &Options) -> Self {
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            from: options.from,
            count: options.seeds,
            jobs: options.jobs.unwrap_or_else(cores),
            most_failures: options.most_failures,
            stop_at: options.stop_at.iter().copied().collect(),
        }
    }
}

/// A seed that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) plan: Plan,
    pub(crate) breach: Breach,
}

/// What came of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Seeds that ran.
    pub(crate) seeds: u64,
    /// By seed.
    pub(crate) failures: Vec<Failure>,
    /// What happened in the first seed that failed, or in the only one; when it was asked for. A day
    /// has millions of lines.
    pub(crate) log: Option<(u64, Vec<String>)>,
    pub(crate) fired: BTreeMap<(Fault, &'static str), u64>,
    /// Faults that some plan allowed.
    pub(crate) enabled: BTreeSet<Fault>,
    /// CPU time of each seed, microseconds, ascending.
    pub(crate) cpu_us: Vec<u64>,
    pub(crate) simulated_ms: u64,
    pub(crate) events: u64,
    pub(crate) tasks: u64,
    pub(crate) machines: u64,
    /// Seeds up to the first that stopped it all, by its promise; that one included.
    pub(crate) stopped_after: Option<u64>,
}

/// Who is told meanwhile.
pub(crate) trait Watch: Sync {
    /// A seed has run; so many have failed.
    fn done(&self, failures: usize);
    /// One has failed.
    fn failed(&self, failure: &Failure);
}

/// Runs the seeds in their order, as many at once as there are threads.
pub(crate) fn over<R, P, W>(seeds: &Seeds, run: &R, plan_of: &P, watch: &W) -> Tally
where
    R: Fn(&Plan) -> Outcome + Sync,
    P: Fn(u64) -> Plan + Sync,
    W: Watch,
{
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failed = AtomicUsize::new(0);
    let worker = || {
        let mut tally = Tally::default();
        while !stop.load(Ordering::SeqCst) {
            let at = next.fetch_add(1, Ordering::SeqCst);
            if at >= seeds.count {
                break;
            }
            let plan = plan_of(seeds.from + at);
            let begin_us = cpu_us();
            let outcome = caught(run, &plan);
            tally.cpu_us.push(cpu_us().saturating_sub(begin_us));
            let failure =
                outcome.breach.clone().map(|breach| Failure { plan: plan.clone(), breach });
            if let Some(failure) = &failure {
                watch.failed(failure);
                let failures = failed.fetch_add(1, Ordering::SeqCst) + 1;
                let enough = if seeds.stop_at.is_empty() {
                    failures >= seeds.most_failures
                } else {
                    seeds.stop_at.contains(&failure.breach.invariant)
                };
                stop.fetch_or(enough, Ordering::SeqCst);
            }
            tally.add(plan, outcome, failure, seeds.count == 1);
            watch.done(failed.load(Ordering::SeqCst));
        }
        tally
    };
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let workers: Vec<_> = (0..seeds.jobs.get()).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.merge(tally);
    }
    all.failures.sort_by_key(|failure| failure.plan.seed);
    all.cpu_us.sort_unstable();
    let stopper = all.failures.iter().find(|it| seeds.stop_at.contains(&it.breach.invariant));
    all.stopped_after = stopper.map(|failure| failure.plan.seed - seeds.from + 1);
    all
}

impl Tally {
    fn add(&mut self, plan: Plan, outcome: Outcome, failure: Option<Failure>, only_one: bool) {
        self.seeds += 1;
        if !outcome.log.is_empty() && (failure.is_some() || only_one) && self.log.is_none() {
            self.log = Some((plan.seed, outcome.log));
        }
        self.failures.extend(failure);
        self.enabled.extend(plan.faults);
        for (what, count) in outcome.fired {
            *self.fired.entry(what).or_default() += count;
        }
        self.simulated_ms += outcome.simulated_ms;
        self.events += outcome.events;
        self.tasks += outcome.tasks;
        self.machines += outcome.machines;
    }

    fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.failures.extend(other.failures);
        let first = |log: &Option<(u64, _)>| log.as_ref().map_or(u64::MAX, |(seed, _)| *seed);
        if first(&other.log) < first(&self.log) {
            self.log = other.log;
        }
        self.enabled.extend(other.enabled);
        for (what, count) in other.fired {
            *self.fired.entry(what).or_default() += count;
        }
        self.cpu_us.extend(other.cpu_us);
        self.simulated_ms += other.simulated_ms;
        self.events += other.events;
        self.tasks += other.tasks;
        self.machines += other.machines;
    }
}

thread_local! {
    /// Where this thread panicked last, and with which words.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of seeds are breaches, and told as such.
pub(crate) fn silence_panics() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let words = payload
            .downcast_ref::<&str>()
            .map(|words| (*words).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without words".to_owned());
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        let place = place.unwrap_or_else(|| "an unknown place".to_owned());
        PANIC.with(|last| *last.borrow_mut() = Some(format!("{words} at {place}")));
    }));
}

/// A run whose panic is a breach. When that was is not known, and 0 here.
pub(crate) fn caught<R: Fn(&Plan) -> Outcome>(run: &R, plan: &Plan) -> Outcome {
    panic::catch_unwind(AssertUnwindSafe(|| run(plan))).unwrap_or_else(|_| {
        let words = PANIC.with(|last| last.borrow_mut().take());
        let words = words.unwrap_or_else(|| "panicked".to_owned());
        let breach = Breach { invariant: Invariant::NoPanic, at_ms: 0, words };
        Outcome {
            breach: Some(breach),
            fired: BTreeMap::new(),
            simulated_ms: 0,
            events: 0,
            tasks: 0,
            machines: 0,
            log: Vec::new(),
        }
    })
}

/// CPU time of this thread.
fn cpu_us() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID) else { return 0 };
    let (seconds, nanos) = (time.tv_sec(), time.tv_nsec());
    u64::try_from(seconds * 1_000_000 + nanos / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Nobody;
    impl Watch for Nobody {
        fn done(&self, _: usize) {}
        fn failed(&self, _: &Failure) {}
    }

    fn outcome(plan: &Plan, breach: Option<Invariant>) -> Outcome {
        let breach = breach.map(|invariant| Breach { invariant, at_ms: 5, words: "seen".into() });
        Outcome {
            breach,
            fired: plan.faults.iter().map(|fault| ((*fault, "idle"), 2)).collect(),
            simulated_ms: 1_000,
            events: 3,
            tasks: 4,
            machines: 1,
            log: vec![format!("{}", plan.seed)],
        }
    }

    fn seeds(count: u64, jobs: usize) -> Seeds {
        let jobs = NonZeroUsize::new(jobs).expect("threads");
        Seeds { from: 100, count, jobs, most_failures: 3, stop_at: BTreeSet::new() }
    }

    #[test]
    fn every_seed_runs_once_and_all_is_added_up() {
        let ran = Mutex::new(Vec::new());
        let run = |plan: &Plan| {
            ran.lock().expect("no panic").push(plan.seed);
            outcome(plan, None)
        };
        let tally = over(&seeds(50, 4), &run, &Plan::of_seed, &Nobody);
        let mut ran = ran.into_inner().expect("no panic");
        ran.sort_unstable();
        assert_eq!(ran, (100..150).collect::<Vec<_>>());
        let sums = (tally.seeds, tally.simulated_ms, tally.events, tally.tasks, tally.machines);
        assert_eq!(sums, (50, 50_000, 150, 200, 50));
        let faults: usize = (100..150).map(|seed| Plan::of_seed(seed).faults.len()).sum();
        assert_eq!(tally.fired.values().sum::<u64>(), 2 * u64::try_from(faults).expect("few"));
        assert!(tally.failures.is_empty() && tally.log.is_none() && tally.cpu_us.len() == 50);
    }

    #[test]
    fn no_seed_is_started_after_the_most_failures() {
        let run = |plan: &Plan| outcome(plan, Some(Invariant::SettledOnce));
        let tally = over(&seeds(50, 1), &run, &Plan::of_seed, &Nobody);
        assert_eq!((tally.seeds, tally.failures.len()), (3, 3));
        assert_eq!(tally.log, Some((100, vec!["100".to_owned()])));
    }

    #[test]
    fn a_promise_to_stop_at_stops_it_and_no_other_failure_does() {
        let run = |plan: &Plan| match plan.seed {
            117 => outcome(plan, Some(Invariant::OneWriter)),
            _ => outcome(plan, Some(Invariant::Liveness)),
        };
        let seeds = Seeds { stop_at: BTreeSet::from([Invariant::OneWriter]), ..seeds(50, 2) };
        let tally = over(&seeds, &run, &Plan::of_seed, &Nobody);
        assert_eq!(tally.stopped_after, Some(18));
        assert!((18..=19).contains(&tally.seeds), "{}", tally.seeds);
    }

    #[test]
    fn a_panic_is_a_breach_of_its_seed_alone() {
        silence_panics();
        let run = |plan: &Plan| {
            assert!(plan.seed != 103, "there is no {}", plan.seed);
            outcome(plan, None)
        };
        let tally = over(&seeds(10, 2), &run, &Plan::of_seed, &Nobody);
        assert_eq!((tally.seeds, tally.failures.len()), (10, 1));
        let failure = &tally.failures[0];
        assert_eq!((failure.plan.seed, failure.breach.invariant), (103, Invariant::NoPanic));
        let words = &failure.breach.words;
        assert!(words.starts_with("there is no 103 at ") && words.contains("seeds.rs:"), "{words}");
    }
}
