//! One term of this replica: decide, apply in memory, commit in order, release.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use control::{Decision, Input, Invariant, Note, NoteKind, StepClock};
use model::{Clamp, Timestamp, World};
use store::{Batch, Committed, Explanation, Store};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Message;
use super::gather::{Gathered, Wait, gather};
use super::release::Releaser;
use crate::clock;
use crate::executors::Planning;
use crate::metrics::Metrics;

/// The leader's task and all that only it may touch.
pub(super) struct Reign {
    pub(super) world: World,
    pub(super) config: Arc<control::Config>,
    pub(super) store: Arc<Store>,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) until: watch::Receiver<Instant>,
    pub(super) releaser: Releaser,
    pub(super) planning: Planning,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
    /// When it began to lead, and its steps' time since.
    pub(super) began: StdInstant,
    pub(super) clock: StepClock,
}

/// How a term ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    /// This replica was asked to stop; what it accepted is committed.
    #[error("asked to stop")]
    Stopped,
    /// The lease could not be renewed in time.
    #[error("the lease ran out")]
    LeaseOver,
    /// Another replica leads under a higher term.
    #[error("another replica leads")]
    Fenced,
    /// The database failed; World may be ahead of it and is dropped.
    #[error("a commit failed: {0}")]
    CommitFailed(String),
    /// The step panicked; World may be half changed and is dropped.
    #[error("the step panicked: {0}")]
    Panicked(String),
}

impl Reign {
    /// Leads until the end. Whoever still waits then is told so by the drop of the queue.
    pub(super) async fn run(mut self) -> End {
        // The first step has no inputs: what the last leader left undone is due now.
        let mut wake = Some(Instant::now());
        loop {
            let next = earlier(wake, self.planning.due(&self.world));
            let gathered = match gather(&mut self.queue, next, &mut self.until, &self.stop).await {
                Wait::Step(gathered) => gathered,
                Wait::LeaseOver => return End::LeaseOver,
                Wait::Stop => return End::Stopped,
            };
            let mut gathered = self.look(gathered);
            let due = wake.is_some_and(|wake| wake <= Instant::now());
            if due || !gathered.inputs.is_empty() {
                let now = self.now();
                let decision = match self.step(std::mem::take(&mut gathered.inputs), now) {
                    Ok(decision) => decision,
                    Err(words) => return End::Panicked(words),
                };
                if let Err(end) = self.commit(&decision).await {
                    return end;
                }
                wake = next_wake(&decision, now);
                self.releaser.release(&self.world, decision, gathered.askers, now);
            }
            let now = self.now();
            self.planning.go_on(&self.world, &self.config, now);
        }
    }

    /// The time of a step and of a look.
    fn now(&mut self) -> Timestamp {
        let passed_ms = self.began.elapsed().as_millis().clamped();
        self.clock.now(clock::now(), passed_ms)
    }

    /// World is what is durable between two commits: now it may be looked at.
    fn look(&mut self, mut gathered: Gathered) -> Gathered {
        for look in gathered.looks.drain(..) {
            if let Message::Look(look) = look {
                let now = self.now();
                let looked = AssertUnwindSafe(|| look(&self.world, &self.config, now));
                if catch_unwind(looked).is_err() {
                    tracing::error!("a look at World panicked; the leader goes on");
                }
            }
        }
        gathered
    }

    fn step(&mut self, inputs: Vec<Input>, now: Timestamp) -> Result<Decision, String> {
        let began = StdInstant::now();
        self.planning.heed(&inputs);
        self.metrics.inputs.inc_by(inputs.len() as u64);
        let (world, config) = (&mut self.world, &*self.config);
        let step = AssertUnwindSafe(|| control::step(world, config, inputs, now));
        let decision = catch_unwind(step).map_err(|panic| {
            self.metrics.step_panics.inc();
            self.metrics.broken(Invariant::NoPanic, 1);
            words_of(panic.as_ref())
        })?;
        self.metrics.step_seconds.observe(began.elapsed().as_secs_f64());
        Ok(decision)
    }

    /// One step is one commit under one seq; a step without changes needs none.
    async fn commit(&mut self, decision: &Decision) -> Result<(), End> {
        if decision.replan {
            self.planning.changed();
        }
        if decision.changes.is_empty() {
            // Without a commit nobody has checked the term; the clock has to do.
            return if Instant::now() < *self.until.borrow() {
                Ok(())
            } else {
                Err(End::LeaseOver)
            };
        }
        self.planning.changed();
        let began = StdInstant::now();
        let batch = Batch::collect(&self.world, &decision.changes)
            .with_explanations(&kept(&decision.notes));
        match self.store.commit(&batch).await {
            Committed::Committed => {
                self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                Ok(())
            }
            Committed::Fenced => Err(End::Fenced),
            Committed::Failed(fault) => Err(End::CommitFailed(fault.to_string())),
        }
    }
}

/// What somebody may ask after when World has forgotten it.
fn kept(notes: &[Note]) -> Vec<Explanation> {
    let explanation =
        |note: &Note| Explanation { subject: note.subject.clone(), words: note.words.clone() };
    notes.iter().filter(|note| note.kind == NoteKind::Kept).map(explanation).collect()
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// A timer that is due again at once although nothing came of it would spin.
const LEAST_WAIT_MS: u64 = 10;

fn next_wake(decision: &Decision, now: Timestamp) -> Option<Instant> {
    let least_ms = if decision.changes.is_empty() { LEAST_WAIT_MS } else { 0 };
    let wait_ms = decision.wake?.since(now).max(least_ms);
    Some(Instant::now() + Duration::from_millis(wait_ms))
}

/// What a panic said.
pub(super) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".into())
}
