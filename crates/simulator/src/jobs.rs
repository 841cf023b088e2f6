//! What is to be run.

use std::sync::Arc;

use model::{MicroUsd, PurchaseOption, Resources};

use market::recorded::{Exact, Recording};

use crate::work::Work;

/// A job of a workload: `count` equal tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobWork {
    /// Unique in its workload.
    pub id: Arc<str>,
    /// When it comes.
    pub arrival_ms: u64,
    /// When it should be done, from its arrival.
    pub deadline_ms: Option<u64>,
    /// Tasks.
    pub count: u32,
    /// What each task needs.
    pub ask: Resources,
    /// What each task does.
    pub work: Work,
    /// What moves when a task goes on in another zone, in thousandths of a GiB. Egress prices are
    /// per GB; the two are taken for one, as SkyNomad does.
    pub checkpoint_milligib: u64,
}

/// A task: its job's place in the workload, and its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Its job.
    pub job: u32,
    /// Which of the job's tasks.
    pub index: u32,
}

impl JobWork {
    /// When it should be done, from the begin of the run.
    pub fn due_ms(&self) -> Option<u64> {
        self.deadline_ms.map(|deadline| self.arrival_ms.saturating_add(deadline))
    }

    /// What moving a checkpoint costs.
    pub fn egress(&self, recording: &Recording, from: &str, to: &str) -> MicroUsd {
        let price = i128::from(recording.egress_per_gb(from, to).0);
        let cost = (price * i128::from(self.checkpoint_milligib) + 500) / 1_000;
        MicroUsd(model::Clamp::clamped(cost))
    }

    /// What its tasks would cost on demand, each alone on the cheapest type that fits: work and one
    /// changeover, rounded once a task. Nothing when no type fits.
    pub fn on_demand(&self, recording: &Recording) -> MicroUsd {
        let held_ms = self.work.changeover_ms.saturating_add(self.work.work_ms);
        let cheapest = recording
            .pools
            .iter()
            .enumerate()
            .filter(|(_, pool)| pool.capacity.holds(&self.ask))
            .map(|(at, pool)| {
                let (from, to) = recording.billed(at, (0, held_ms));
                let price = pool.price(PurchaseOption::OnDemand, 0);
                Exact(i128::from(price.0) * i128::from(to - from))
            })
            .min();
        let each = cheapest.unwrap_or_default().rounded();
        MicroUsd(each.0.saturating_mul(i64::from(self.count)))
    }
}
