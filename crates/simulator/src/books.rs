//! Where the money of a run goes: machines' bills split among tasks by reserved share, the rest idle.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Bought, Ended, Ending, Exact, MachineNo, Recorded};
use model::MicroUsd;

use crate::jobs::{JobWork, TaskKey};
use crate::result::{JobResult, Outcome, RunResult, Seconds};
use crate::series::{StayCost, Tally};
use crate::work::Course;

/// An attempt's stay on a machine, at its end.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// Whose.
    pub task: TaskKey,
    /// From its start to its end.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Of the machine, in millionths: [`model::Resources::share_ppm`].
    pub share_ppm: u32,
    /// Where its time went.
    pub course: Course,
}

/// The books of a run.
#[derive(Debug)]
pub struct Books {
    jobs: Vec<JobBook>,
    /// What tasks used of each open machine so far: unrounded, and what they were charged for it.
    open: BTreeMap<MachineNo, (Exact, MicroUsd)>,
    cost: MicroUsd,
    idle: MicroUsd,
    wasted: Exact,
    interruptions: u64,
    tally: Tally,
}

#[derive(Debug)]
struct JobBook {
    job: Arc<JobWork>,
    unfinished: u32,
    finished_ms: u64,
    cost: MicroUsd,
    starts: u64,
}

impl Books {
    /// Empty ones for a workload.
    pub fn new(jobs: &[Arc<JobWork>]) -> Self {
        let tally = Tally::new(jobs);
        let jobs = jobs.iter().map(|job| JobBook {
            job: job.clone(),
            unfinished: job.count,
            finished_ms: 0,
            cost: MicroUsd(0),
            starts: 0,
        });
        Self {
            jobs: jobs.collect(),
            open: BTreeMap::new(),
            cost: MicroUsd(0),
            idle: MicroUsd(0),
            wasted: Exact::default(),
            interruptions: 0,
            tally,
        }
    }

    fn job(&mut self, task: TaskKey) -> Option<&mut JobBook> {
        self.jobs.get_mut(usize::try_from(task.job).unwrap_or(usize::MAX))
    }

    /// An attempt begins.
    pub fn start(&mut self, task: TaskKey) {
        if let Some(job) = self.job(task) {
            job.starts += 1;
        }
    }

    /// An attempt is over: its share of the machine is charged to its job. Before
    /// [`Books::ended`] of the same machine.
    pub fn stay(&mut self, market: &Recorded, machine: &Bought, stay: &Stay) {
        let cost =
            |from, to| market.cost(machine.pool, machine.option, (from, to)).share(stay.share_ppm);
        let open = self.open.entry(machine.no).or_default();
        open.0 += cost(stay.from_ms, stay.to_ms);
        // Rounded as a running sum, so that shares that make up a machine add up to its bill.
        let charged = open.0.rounded() - open.1;
        open.1 = open.0.rounded();
        let course = stay.course;
        let worked_from = stay.from_ms + course.changeover_ms;
        let lost_from = stay.to_ms - course.lost_ms;
        let mut parts = StayCost {
            changeover: cost(stay.from_ms, worked_from),
            lost: cost(lost_from, stay.to_ms),
            checkpoints: Exact::default(),
        };
        let middle = lost_from - worked_from;
        if middle > 0 {
            let whole = cost(worked_from, lost_from).0;
            parts.checkpoints =
                Exact(whole * i128::from(course.checkpoint_ms) / i128::from(middle));
        }
        self.wasted += parts.changeover + parts.lost + parts.checkpoints;
        self.tally.stay(market, machine.no, stay, &parts);
        if let Some(job) = self.job(stay.task) {
            job.cost += charged;
        }
    }

    /// A checkpoint was moved.
    pub fn egress(&mut self, market: &Recorded, task: TaskKey, cost: MicroUsd) {
        self.cost += cost;
        self.tally.egress(market, cost);
        if let Some(job) = self.job(task) {
            job.cost += cost;
        }
    }

    /// A machine has ended: what no task used of its bill was idle.
    pub fn ended(&mut self, market: &Recorded, ended: &Ended) {
        let (_, charged) = self.open.remove(&ended.machine.no).unwrap_or_default();
        let bill = ended.cost.rounded();
        self.cost += bill;
        self.idle += bill - charged;
        self.tally.ended(market, ended, bill - charged);
        self.interruptions += u64::from(ended.ending == Ending::Reclaimed);
    }

    /// A task is done.
    pub fn finished(&mut self, task: TaskKey, at_ms: u64) {
        self.tally.finished(task, at_ms);
        if let Some(job) = self.job(task) {
            job.unfinished = job.unfinished.saturating_sub(1);
            job.finished_ms = job.finished_ms.max(at_ms);
        }
    }

    /// Closes them. All machines have ended.
    pub fn close(self, market: &Recorded, policy: Arc<str>, seed: u64) -> Outcome {
        let recording = market.recording();
        let on_demand = self.jobs.iter().map(|book| book.job.on_demand(recording));
        let on_demand = on_demand.fold(MicroUsd(0), |sum, cost| sum + cost);
        let jobs = self.jobs.into_iter().map(|book| {
            let finished = (book.unfinished == 0).then_some(book.finished_ms);
            let in_time = |at: u64| book.job.due_ms().is_none_or(|due| at <= due);
            JobResult {
                id: book.job.id.clone(),
                finished_s: finished.map(|ms| Seconds { ms }),
                deadline_met: finished.is_some_and(in_time),
                cost_micro_usd: book.cost,
                starts: book.starts,
            }
        });
        let result = RunResult {
            policy,
            seed,
            cost_micro_usd: self.cost,
            on_demand_micro_usd: on_demand,
            wasted_micro_usd: self.wasted.rounded(),
            idle_micro_usd: self.idle,
            interruptions: self.interruptions,
            jobs: jobs.collect(),
        };
        Outcome { result, series: self.tally.close() }
    }
}
