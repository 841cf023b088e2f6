//! What is told of runs: lines for people, an object for programs.

use std::fmt::Write as _;
use std::time::Duration;

use chaos::{Breach, Fault, Plan};
use control::Invariant;
use serde_json::{Value, json};

use crate::coverage::{self, Coverage};
use crate::minimise::Smallest;
use crate::seeds::{Failure, Tally};

/// With fewer seeds it means nothing that a fault has not fired.
const COVERAGE_FROM: u64 = 20;

/// The command that runs this plan again. With a breach it goes no further than that needs.
pub(crate) fn reproduce(plan: &Plan, breach: Option<&Breach>) -> String {
    let faults: Vec<_> = plan.faults.iter().copied().map(Fault::id).collect();
    let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(",") };
    let seed = plan.seed;
    let mut line = format!("cargo xtask simulate --seeds 1 --from {seed} --faults {faults}");
    let until_ms = breach.map_or(plan.until_ms, |breach| until_ms(plan, breach));
    if until_ms < u64::MAX {
        // Writing to a string does not fail.
        let _ = write!(line, " --until-ms {until_ms}");
    }
    line + " --log"
}

/// Faults after the breach do not matter. When a panic was is not known.
fn until_ms(plan: &Plan, breach: &Breach) -> u64 {
    let known = breach.invariant != Invariant::NoPanic || breach.at_ms > 0;
    if known { plan.until_ms.min(breach.at_ms.saturating_add(1)) } else { plan.until_ms }
}

/// Two lines: what was seen, and how it is seen again.
pub(crate) fn failed(failure: &Failure) -> String {
    let Failure { plan, breach } = failure;
    let Breach { invariant, at_ms, words } = breach;
    let (seed, at) = (plan.seed, clock(*at_ms));
    let again = reproduce(plan, Some(breach));
    format!("FAILED seed {seed} {invariant} at {at}: {words}\n  {again}\n")
}

/// Hours, minutes, seconds and thousandths.
fn clock(ms: u64) -> String {
    let (seconds, rest) = (ms / 1_000, ms % 1_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{rest:03}", seconds % 60)
}

/// The plan of which nothing more can be left out.
pub(crate) fn smallest(smallest: &Smallest) -> String {
    let Smallest { plan, breach, runs, cut_short } = smallest;
    let and = if *cut_short { ", and no more were allowed" } else { "" };
    let (faults, invariant) = (plan.faults.len(), breach.invariant);
    let (at, words) = (clock(breach.at_ms), &breach.words);
    let again = reproduce(plan, Some(breach));
    format!(
        "smallest after {runs} runs{and}: {faults} faults\n  {invariant} at {at}: {words}\n  {again}\n"
    )
}

/// The summary for people.
pub(crate) fn table(tally: &Tally, took: Duration) -> String {
    let mut out = String::new();
    if tally.seeds >= COVERAGE_FROM {
        for line in coverage::lines(&tally.fired) {
            out += &line;
            out.push('\n');
        }
        let Coverage { silent, unseen } = Coverage::of(&tally.fired, &tally.enabled);
        let silent = silent.iter().map(|fault| format!("warning: never fired: {}\n", fault.id()));
        let unseen = unseen
            .iter()
            .map(|(fault, state)| format!("warning: never seen: {} in {state}\n", fault.id()));
        out.extend(silent.chain(unseen));
    }
    let (seeds, failures) = (tally.seeds, tally.failures.len());
    let hours = tally.simulated_ms / 3_600_000;
    let Tally { tasks, machines, events, .. } = tally;
    let rate = tenths(per_second(seeds, took));
    let cpu = [50, 95, 100].map(|percent| tenths(percentile(&tally.cpu_us, percent) / 100));
    let [median, p95, most] = cpu;
    let _ = writeln!(
        out,
        "{seeds} seeds, {failures} failed, {rate} seeds/s; CPU ms a seed: median {median}, p95 \
         {p95}, most {most}; {hours} simulated hours, {tasks} tasks, {machines} machines, {events} \
         events"
    );
    out
}

/// The same for programs.
pub(crate) fn json(tally: &Tally, took: Duration, smallest: Option<&Smallest>) -> Value {
    let cpu = |percent| percentile(&tally.cpu_us, percent);
    let failures: Vec<_> =
        tally.failures.iter().map(|failure| failure_json(&failure.plan, &failure.breach)).collect();
    let smallest = smallest.map(|smallest| {
        let mut value = failure_json(&smallest.plan, &smallest.breach);
        value["runs"] = smallest.runs.into();
        value["cut_short"] = smallest.cut_short.into();
        value
    });
    let fired: Vec<_> = tally
        .fired
        .iter()
        .map(|((fault, state), count)| json!({"fault": fault.id(), "state": state, "count": count}))
        .collect();
    let Coverage { silent, unseen } = Coverage::of(&tally.fired, &tally.enabled);
    let silent: Vec<_> = silent.iter().map(|fault| fault.id()).collect();
    let unseen: Vec<_> =
        unseen.iter().map(|(fault, state)| json!({"fault": fault.id(), "state": state})).collect();
    json!({
        "seeds": tally.seeds,
        "failures": failures,
        "stopped_after": tally.stopped_after,
        "smallest": smallest,
        "seeds_per_second_tenths": per_second(tally.seeds, took),
        "cpu_us": {"median": cpu(50), "p95": cpu(95), "max": cpu(100)},
        "simulated_ms": tally.simulated_ms,
        "tasks": tally.tasks,
        "machines": tally.machines,
        "events": tally.events,
        "fired": fired,
        "never_fired": silent,
        "never_seen": unseen,
    })
}

fn failure_json(plan: &Plan, breach: &Breach) -> Value {
    json!({
        "seed": plan.seed,
        "invariant": breach.invariant.id(),
        "at_ms": breach.at_ms,
        "words": breach.words,
        "faults": plan.faults.iter().map(|fault| fault.id()).collect::<Vec<_>>(),
        "until_ms": (plan.until_ms < u64::MAX).then_some(plan.until_ms),
        "command": reproduce(plan, Some(breach)),
    })
}

/// Tenths of seeds a second.
fn per_second(seeds: u64, took: Duration) -> u64 {
    let ms = took.as_millis().max(1);
    u64::try_from(u128::from(seeds) * 10_000 / ms).unwrap_or(u64::MAX)
}

fn tenths(count: u64) -> String {
    format!("{}.{}", count / 10, count % 10)
}

/// Of an ascending list; 0 of an empty one.
fn percentile(ascending: &[u64], percent: usize) -> u64 {
    let at = (ascending.len() * percent).div_ceil(100).saturating_sub(1);
    ascending.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn failure() -> Failure {
        let faults = BTreeSet::from([Fault::CutOff, Fault::ManagerDies]);
        let plan = Plan { seed: 1234, faults, until_ms: u64::MAX, log: false };
        let words = "job_1.0.0.2 ended twice".to_owned();
        let breach = Breach { invariant: Invariant::SettledOnce, at_ms: 723_441, words };
        Failure { plan, breach }
    }

    #[test]
    fn a_failure_is_told_with_the_line_that_reproduces_it() {
        let mut failure = failure();
        assert_eq!(
            failed(&failure),
            "FAILED seed 1234 settled-once at 00:12:03.441: job_1.0.0.2 ended twice\n  cargo xtask \
             simulate --seeds 1 --from 1234 --faults cut-off,manager-dies --until-ms 723442 --log\n"
        );
        failure.plan.until_ms = 500;
        assert!(failed(&failure).ends_with("--until-ms 500 --log\n"));
        failure.plan = Plan { until_ms: u64::MAX, faults: BTreeSet::new(), ..failure.plan };
        failure.breach.invariant = Invariant::NoPanic;
        failure.breach.at_ms = 0;
        assert!(failed(&failure).ends_with("--from 1234 --faults none --log\n"));
    }

    #[test]
    fn the_summary_has_coverage_warnings_and_percentiles() {
        let tally = Tally {
            seeds: 20,
            failures: vec![failure()],
            fired: BTreeMap::from([((Fault::ListingStale, "list"), 7)]),
            enabled: BTreeSet::from([Fault::ListingStale, Fault::PlanLate]),
            cpu_us: (1..=20).map(|at| at * 1_000).collect(),
            simulated_ms: 7_200_000,
            events: 9,
            tasks: 8,
            machines: 7,
            ..Tally::default()
        };
        assert_eq!(
            table(&tally, Duration::from_secs(4)),
            "listing-stale              7  list 7\nwarning: never fired: plan-late\n20 seeds, 1 \
             failed, 5.0 seeds/s; CPU ms a seed: median 10.0, p95 19.0, most 20.0; 2 simulated \
             hours, 8 tasks, 7 machines, 9 events\n"
        );
        let value = json(&tally, Duration::from_secs(4), None);
        assert_eq!(value["cpu_us"]["p95"], 19_000);
        assert_eq!(value["failures"][0]["invariant"], "settled-once");
        assert_eq!(value["never_fired"], json!(["plan-late"]));
    }

    #[test]
    fn with_one_seed_nothing_is_said_of_coverage() {
        let enabled = BTreeSet::from([Fault::PlanLate]);
        let tally = Tally { seeds: 1, enabled, ..Tally::default() };
        assert!(!table(&tally, Duration::from_secs(1)).contains("warning"));
    }
}
