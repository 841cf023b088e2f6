//! What a replica counts, in Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters and durations since this process began.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Commits that are durable.
    pub(crate) commits: AtomicU64,
    /// How long they took.
    pub(crate) commit_seconds: Durations,
    /// How long steps took.
    pub(crate) step_seconds: Durations,
    /// Inputs of those steps.
    pub(crate) inputs: AtomicU64,
    /// Tasks that this leader has settled.
    pub(crate) tasks_settled: AtomicU64,
    /// Messages that waited for the leader when its last step began.
    pub(crate) queue: AtomicU64,
    /// How often this replica came to lead.
    pub(crate) terms: AtomicU64,
    /// Steps that panicked.
    pub(crate) step_panics: AtomicU64,
    /// Open connections.
    pub(crate) connections: AtomicU64,
}

/// Upper bounds of the buckets, in microseconds: from a cached write to a stalled disk.
const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    buckets: [AtomicU64; BOUNDS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Durations {
    /// Counts one.
    pub(crate) fn add(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            if us <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        head(out, name, help, "histogram");
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            let (value, bound) = (bucket.load(Ordering::Relaxed), seconds(bound));
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {value}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = seconds(self.sum_us.load(Ordering::Relaxed));
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {count}");
    }
}

/// Microseconds as decimal seconds.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn value(out: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    head(out, name, help, kind);
    let _ = writeln!(out, "{name} {value}");
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    /// All of it, with what others count: the database's round trips, and the term if this replica
    /// leads.
    pub(crate) fn to_text(&self, round_trips: u64, term: Option<u64>) -> String {
        let mut out = String::new();
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        value(&mut out, "ebb_commits_total", "Durable commits.", "counter", now(&self.commits));
        self.commit_seconds.write(&mut out, "ebb_commit_seconds", "Time of a commit.");
        self.step_seconds.write(&mut out, "ebb_step_seconds", "Time of a step.");
        value(&mut out, "ebb_inputs_total", "Inputs of steps.", "counter", now(&self.inputs));
        let settled = now(&self.tasks_settled);
        value(&mut out, "ebb_tasks_settled_total", "Tasks settled.", "counter", settled);
        let queue = now(&self.queue);
        value(&mut out, "ebb_leader_queue", "Messages gathered by the last step.", "gauge", queue);
        let help = "Round trips to the database.";
        value(&mut out, "ebb_database_round_trips_total", help, "counter", round_trips);
        let help = "Term under which this replica leads; 0 when it does not.";
        value(&mut out, "ebb_leader_term", help, "gauge", term.unwrap_or(0));
        value(&mut out, "ebb_terms_total", "Terms led.", "counter", now(&self.terms));
        let panics = now(&self.step_panics);
        value(&mut out, "ebb_step_panics_total", "Steps that panicked.", "counter", panics);
        let open = now(&self.connections);
        value(&mut out, "ebb_connections", "Open connections.", "gauge", open);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let durations = Durations::default();
        durations.add(Duration::from_micros(300));
        durations.add(Duration::from_secs(9));
        let mut out = String::new();
        durations.write(&mut out, "d", "D.");
        for line in [
            "d_bucket{le=\"0.000250\"} 0",
            "d_bucket{le=\"0.000500\"} 1",
            "d_bucket{le=\"2.500000\"} 1",
            "d_bucket{le=\"+Inf\"} 2",
            "d_sum 9.000300",
            "d_count 2",
        ] {
            assert!(out.lines().any(|have| have == line), "{line} in\n{out}");
        }
    }
}
