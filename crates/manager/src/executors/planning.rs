//! The planner runs beside the step, never in it: on a thread of its own, over a snapshot of
//! counts, one problem at a time. Its plan comes back as an input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant as StdInstant};

use control::Input;
use model::{Timestamp, World};
use planner::{Plan, Problem};
use tokio::time::Instant;

use crate::config::Timing;
use crate::leader::Lead;
use crate::metrics::Metrics;

/// The planner's thread. It ends when this is dropped.
pub(crate) struct Planner {
    problems: SyncSender<(Problem, Arc<Lead>)>,
    busy: Arc<AtomicBool>,
}

impl Planner {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (problems, queue) = sync_channel(1);
        let busy = Arc::new(AtomicBool::new(false));
        let is_busy = Arc::clone(&busy);
        std::thread::Builder::new()
            .name("planner".into())
            .spawn(move || solve_all(&queue, &is_busy, &metrics))?;
        Ok(Self { problems, busy })
    }
}

fn solve_all(queue: &Receiver<(Problem, Arc<Lead>)>, busy: &AtomicBool, metrics: &Metrics) {
    while let Ok((problem, lead)) = queue.recv() {
        let began = StdInstant::now();
        let plan = catch_unwind(AssertUnwindSafe(|| solve(&problem)));
        metrics.plan_seconds.observe(began.elapsed().as_secs_f64());
        match plan {
            Ok(plan) if plan.launches.is_empty() && plan.retirements.is_empty() => {}
            Ok(plan) => lead.tell_blocking(Input::Plan(Box::new(plan))),
            Err(_) => tracing::error!("the planner panicked; its problem is dropped"),
        }
        // Not before the plan is on its way: the next problem is to know of it.
        busy.store(false, Ordering::Release);
    }
}

/// A plan that its linter finds fault with is not carried out.
fn solve(problem: &Problem) -> Plan {
    let mut plan = planner::plan(problem);
    let faults = planner::check(problem, &plan);
    if !faults.is_empty() {
        tracing::error!(?faults, "the plan breaks its own rules; nothing of it is done");
        plan.launches.clear();
        plan.retirements.clear();
    }
    plan
}

/// The leader's side: when to ask for a plan.
pub(crate) struct Planning {
    planner: Arc<Planner>,
    lead: Arc<Lead>,
    least: Duration,
    most: Duration,
    /// Whether something changed since the last problem.
    changed: bool,
    last: Instant,
}

impl Planning {
    pub(crate) fn new(planner: Arc<Planner>, lead: Arc<Lead>, timing: &Timing) -> Self {
        Self {
            planner,
            lead,
            least: Duration::from_millis(timing.plan_ms),
            most: Duration::from_millis(timing.replan_ms),
            changed: true,
            last: Instant::now(),
        }
    }

    /// World has changed.
    pub(crate) fn changed(&mut self) {
        self.changed = true;
    }

    /// What is observed changes without a commit.
    pub(crate) fn heed(&mut self, inputs: &[Input]) {
        let observed = |input: &Input| {
            matches!(input, Input::Offers(_) | Input::Listed { .. } | Input::Launched { .. })
        };
        self.changed |= inputs.iter().any(observed);
    }

    /// When [`Planning::go_on`] wants to be called next. Never where nothing can be bought or
    /// retired: in a cluster of static nodes.
    pub(crate) fn due(&self, world: &World) -> Option<Instant> {
        if world.observed.offers.is_empty() && world.index.instances.is_empty() {
            return None;
        }
        let has_work = !(world.durable.nodes.is_empty()
            && world.durable.jobs.is_empty()
            && world.durable.backlog.jobs == 0);
        match (self.changed, has_work) {
            (true, _) => Some(self.last + self.least),
            (false, true) => Some(self.last + self.most),
            (false, false) => None,
        }
    }

    /// Hands the planner a problem, if it is time and it has none.
    pub(crate) fn go_on(&mut self, world: &World, config: &control::Config, now: Timestamp) {
        let due = self.due(world).is_some_and(|due| due <= Instant::now());
        if !due {
            return;
        }
        self.last = Instant::now();
        if self.planner.busy.swap(true, Ordering::AcqRel) {
            // Still at the last one: looked at again after the least wait.
            self.changed = true;
            return;
        }
        self.changed = false;
        let problem = control::problem(world, config, now);
        if self.planner.problems.try_send((problem, Arc::clone(&self.lead))).is_err() {
            tracing::error!("the planner's thread is gone");
        }
    }
}
