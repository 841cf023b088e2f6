//! What a replica counts and measures, by Prometheus's rules: base units, `_total` for counters, a
//! name for what is measured and labels for which. `docs/guide/metrics.md` lists all of it.

mod families;
mod seen;

use std::fmt;
use std::sync::atomic::AtomicU64;

use control::Invariant;
use model::AttemptEnd;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use self::families::{CostLabels, InvariantLabels, StateLabels, StatusLabels};
pub(crate) use self::families::{DeletedLabels, EndLabels, RequestLabels, RouteLabels};
pub(crate) use self::seen::Seen;

/// A gauge of money and other fractions.
type Fraction = Gauge<f64, AtomicU64>;

/// Everything that this replica counts.
pub(crate) struct Metrics {
    registry: Registry,
    /// Answers.
    pub(crate) requests: Family<RequestLabels, Counter>,
    /// Time to an answer's head.
    pub(crate) request_seconds: Family<RouteLabels, Histogram>,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Open event streams.
    pub(crate) event_streams: Gauge,
    /// Time of a commit; its count is that of the durable commits.
    pub(crate) commit_seconds: Histogram,
    /// Time of a step.
    pub(crate) step_seconds: Histogram,
    /// Time of a plan.
    pub(crate) plan_seconds: Histogram,
    /// Inputs of steps.
    pub(crate) inputs: Counter,
    /// Tasks that this leader has settled.
    pub(crate) tasks_settled: Family<StatusLabels, Counter>,
    /// Attempts that ended under this leader.
    pub(crate) attempts_ended: Family<EndLabels, Counter>,
    /// Messages that waited for the leader when its last step began.
    pub(crate) queue: Gauge,
    /// How often this replica came to lead.
    pub(crate) terms: Counter,
    /// Steps that panicked.
    pub(crate) step_panics: Counter,
    /// Promises that steps of this leader broke.
    invariant_violations: Family<InvariantLabels, Counter>,
    /// Rows and objects that were too old to be kept.
    pub(crate) deleted: Family<DeletedLabels, Counter>,
    /// The rest is looked up when somebody asks.
    term: Gauge,
    round_trips: Counter,
    jobs: Family<StateLabels, Gauge>,
    tasks: Family<StatusLabels, Gauge>,
    nodes: Family<StateLabels, Gauge>,
    machines_ordered: Gauge,
    pools_hidden: Gauge,
    launches_paused: Gauge,
    cost: Family<CostLabels, Fraction>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Upper bounds in seconds: from a cached write to a stalled disk.
const FAST: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];
/// Upper bounds in seconds of requests, which may wait for a commit.
const REQUESTS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// How an attempt can end.
const ENDS: [AttemptEnd; 7] = [
    AttemptEnd::Succeeded,
    AttemptEnd::Failed,
    AttemptEnd::TimedOut,
    AttemptEnd::Interrupted,
    AttemptEnd::NodeLost,
    AttemptEnd::Cancelled,
    AttemptEnd::Returned,
];
/// What retention deletes.
const DELETED: [&str; 8] =
    ["commits", "answers", "jobs", "objects", "explanations", "nodes", "intents", "items"];

fn fast() -> Histogram {
    Histogram::new(FAST)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ebb");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What this replica was built from", Info::new(version));
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(REQUESTS)),
            connections: Gauge::default(),
            event_streams: Gauge::default(),
            commit_seconds: fast(),
            step_seconds: fast(),
            plan_seconds: fast(),
            inputs: Counter::default(),
            tasks_settled: Family::default(),
            attempts_ended: Family::default(),
            queue: Gauge::default(),
            terms: Counter::default(),
            step_panics: Counter::default(),
            invariant_violations: Family::default(),
            deleted: Family::default(),
            term: Gauge::default(),
            round_trips: Counter::default(),
            jobs: Family::default(),
            tasks: Family::default(),
            nodes: Family::default(),
            machines_ordered: Gauge::default(),
            pools_hidden: Gauge::default(),
            launches_paused: Gauge::default(),
            cost: Family::default(),
        };
        metrics.begin_at_zero();
        metrics.register_own(&mut registry);
        metrics.register_seen(&mut registry);
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A series that is not there yet and one that has stopped look alike to an alert.
    fn begin_at_zero(&self) {
        for status in ["succeeded", "failed", "cancelled"] {
            self.settled(status, 0);
        }
        for end in ENDS {
            self.attempts_ended.get_or_create(&EndLabels { end: end.as_str() }).inc_by(0);
        }
        for kind in DELETED {
            self.forgot(kind, 0);
        }
        for invariant in Invariant::ALL {
            self.broken(invariant, 0);
        }
    }

    /// What is counted where it happens.
    fn register_own(&self, to: &mut Registry) {
        to.register("http_requests", "Requests answered", self.requests.clone());
        let help = "Time from a request's head to its answer's";
        let seconds = self.request_seconds.clone();
        to.register_with_unit("http_request_duration", help, Unit::Seconds, seconds);
        to.register("http_connections", "Open connections", self.connections.clone());
        to.register("event_streams", "Open streams of events", self.event_streams.clone());
        for (name, help, histogram) in [
            ("commit_duration", "Time of a durable commit", &self.commit_seconds),
            ("step_duration", "Time of a step of the leader", &self.step_seconds),
            ("plan_duration", "Time of a plan of the planner", &self.plan_seconds),
        ] {
            to.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        to.register("inputs", "Inputs of steps", self.inputs.clone());
        to.register("tasks_settled", "Tasks settled", self.tasks_settled.clone());
        to.register("attempts_ended", "Attempts ended", self.attempts_ended.clone());
        let help = "Messages that the last step of the leader gathered";
        to.register("leader_queue_messages", help, self.queue.clone());
        to.register("terms", "Terms led by this replica", self.terms.clone());
        to.register("step_panics", "Steps that panicked", self.step_panics.clone());
        let help = "Promises that steps broke";
        to.register("invariant_violations", help, self.invariant_violations.clone());
        let help = "Things that were too old to be kept";
        to.register("retention_deleted", help, self.deleted.clone());
    }

    /// What is looked up when somebody asks.
    fn register_seen(&self, to: &mut Registry) {
        let help = "Term under which this replica leads; 0 when it does not";
        to.register("leader_term", help, self.term.clone());
        let help = "Round trips to the database";
        to.register("database_round_trips", help, self.round_trips.clone());
        to.register("jobs", "Unsettled jobs, at the leader", self.jobs.clone());
        let help = "Unsettled tasks of jobs that are taken in, at the leader";
        to.register("tasks", help, self.tasks.clone());
        to.register("nodes", "Nodes that are not gone, at the leader", self.nodes.clone());
        let help = "Machines that are ordered and not yet seen";
        to.register("machines_ordered", help, self.machines_ordered.clone());
        let help = "Pools that are not asked because they refused";
        to.register("pools_hidden", help, self.pools_hidden.clone());
        let help = "Whether nothing is bought at this moment: 1 or 0";
        to.register("launches_paused", help, self.launches_paused.clone());
        to.register("cost_usd", "What was spent, in US dollars", self.cost.clone());
    }

    /// All of it in the text that Prometheus reads.
    pub(crate) fn to_text(&self, seen: &Seen) -> String {
        self.see(seen);
        let mut out = String::new();
        if let Err(fault) = text::encode(&mut out, &self.registry) {
            tracing::error!(%fault, "metrics cannot be written");
        }
        out
    }

    fn see(&self, seen: &Seen) {
        self.term.set(i64::try_from(seen.term).unwrap_or(i64::MAX));
        let so_far = self.round_trips.get();
        self.round_trips.inc_by(seen.round_trips.saturating_sub(so_far));
        // What a former leader saw is not what is.
        self.jobs.clear();
        self.tasks.clear();
        self.nodes.clear();
        for (state, count) in &seen.jobs {
            self.jobs.get_or_create(&StateLabels { state }).set(*count);
        }
        for (status, count) in &seen.tasks {
            self.tasks.get_or_create(&StatusLabels { status }).set(*count);
        }
        for (state, count) in &seen.nodes {
            self.nodes.get_or_create(&StateLabels { state }).set(*count);
        }
        self.machines_ordered.set(seen.machines_ordered);
        self.pools_hidden.set(seen.pools_hidden);
        self.launches_paused.set(i64::from(seen.launches_paused));
        for (kind, usd) in seen.cost_usd {
            self.cost.get_or_create(&CostLabels { kind }).set(usd);
        }
    }

    /// So many tasks were settled.
    pub(crate) fn settled(&self, status: &'static str, count: u64) {
        self.tasks_settled.get_or_create(&StatusLabels { status }).inc_by(count);
    }

    /// A promise was broken so many times.
    pub(crate) fn broken(&self, invariant: Invariant, count: u64) {
        let invariant = invariant.id();
        self.invariant_violations.get_or_create(&InvariantLabels { invariant }).inc_by(count);
    }

    /// Old things were deleted.
    pub(crate) fn forgot(&self, kind: &'static str, count: u64) {
        self.deleted.get_or_create(&DeletedLabels { kind }).inc_by(count);
    }
}
