//! The clock of a baseline's run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use market::recorded::{DecideAt, MachineNo, Recorded, Recording};

use crate::arena::desk::{Desk, News, TaskState};
use crate::books::Books;
use crate::jobs::{JobWork, TaskKey};
use crate::policy::{Policy, PolicyName};
use crate::result::Outcome;
use crate::work::Cut;

/// Runs a policy to the end of the workload, or until nothing can happen any more.
pub fn run(
    recording: &Arc<Recording>,
    jobs: &[Arc<JobWork>],
    name: PolicyName,
    seed: u64,
    policy: &mut dyn Policy,
) -> Outcome {
    let patience = Patience::new(recording, jobs);
    let mut clock = Clock { desk: desk(recording, jobs), arrivals: arrivals(jobs), jobs, patience };
    clock.arrive();
    clock.desk.boot();
    policy.decide(&mut clock.desk);
    while !clock.is_over() {
        clock.desk.news.clear();
        if !clock.go_on() || clock.is_over() {
            break;
        }
        policy.decide(&mut clock.desk);
        if clock.gives_up() {
            break;
        }
    }
    let machines: Vec<MachineNo> = clock.desk.machines.keys().copied().collect();
    for machine in machines {
        clock.desk.end(machine);
    }
    let Desk { market, books, .. } = clock.desk;
    books.close(&market, name.as_str().into(), seed)
}

fn desk(recording: &Arc<Recording>, jobs: &[Arc<JobWork>]) -> Desk {
    Desk {
        market: Recorded::new(recording.clone()),
        books: Books::new(jobs),
        tasks: BTreeMap::new(),
        machines: BTreeMap::new(),
        idle: BTreeSet::new(),
        news: Vec::new(),
        finishes: BTreeSet::new(),
        boots: BTreeSet::new(),
        wakes: BTreeSet::new(),
        acted_ms: 0,
        done_ms: 0,
    }
}

/// Jobs by arrival, the last one first.
fn arrivals(jobs: &[Arc<JobWork>]) -> Vec<(u64, u32)> {
    let mut arrivals: Vec<(u64, u32)> = jobs.iter().map(|job| job.arrival_ms).zip(0..).collect();
    arrivals.sort_unstable_by(|one, other| other.cmp(one));
    arrivals
}

struct Clock<'j> {
    desk: Desk,
    arrivals: Vec<(u64, u32)>,
    jobs: &'j [Arc<JobWork>],
    patience: Patience,
}

impl Clock<'_> {
    fn is_over(&self) -> bool {
        self.arrivals.is_empty() && self.desk.tasks.is_empty()
    }

    /// Goes to the next moment at which the policy may act; false when there is none.
    fn go_on(&mut self) -> bool {
        let recording = self.desk.recording().clone();
        match recording.decide_at {
            DecideAt::Event => match self.next_event() {
                Some(at) => self.pass(at),
                None => return false,
            },
            DecideAt::Tick => {
                let until = recording.tick_at_or_after(self.desk.now_ms() + 1);
                // What lies between two ticks happens at its own time, unseen by the policy.
                while let Some(at) = self.next_event().filter(|at| *at < until) {
                    self.pass(at);
                    if self.is_over() {
                        return true;
                    }
                }
                self.pass(until);
            }
        }
        true
    }

    fn next_event(&self) -> Option<u64> {
        let desk = &self.desk;
        let own = [
            self.arrivals.last().map(|(at, _)| *at),
            desk.market.next_event_ms(),
            desk.finishes.first().map(|(at, _)| *at),
            desk.boots.first().map(|(at, _)| *at),
            desk.wakes.first().copied(),
        ];
        own.into_iter().flatten().min()
    }

    /// Work that ends at the very moment at which its machine is taken was done in time.
    fn pass(&mut self, at_ms: u64) {
        for event in self.desk.market.advance_before(at_ms) {
            self.desk.heed(event);
        }
        while let Some((_, task)) = self.desk.finishes.first().copied().filter(|it| it.0 <= at_ms) {
            self.desk.finish(task, at_ms);
        }
        // The run ends with its last task: what would be taken at this very moment is not.
        if self.is_over() {
            return;
        }
        for event in self.desk.market.advance(at_ms) {
            self.desk.heed(event);
        }
        self.arrive();
        self.desk.boot();
        while self.desk.wakes.first().is_some_and(|at| *at <= at_ms) {
            self.desk.wakes.pop_first();
        }
    }

    fn arrive(&mut self) {
        let now = self.desk.now_ms();
        while let Some((_, ordinal)) = self.arrivals.pop_if(|(at, _)| *at <= now) {
            let job = usize::try_from(ordinal).ok().and_then(|at| self.jobs.get(at));
            let Some(job) = job else { continue };
            for index in 0..job.count {
                let key = TaskKey { job: ordinal, index };
                let (job, done_ms, attempt) = (job.clone(), 0, None);
                let state = TaskState { job, done_ms, attempt, starts: 0, zone: None };
                self.desk.tasks.insert(key, state);
                self.desk.news.push(News::Arrived(key));
            }
        }
    }

    /// By ticks there is always a next one, and a policy may wake itself for ever. When nothing in
    /// the market will change any more and no deadline is to come, what nobody gets done is given up.
    fn gives_up(&self) -> bool {
        let desk = &self.desk;
        let Patience { calm_ms, still_ms, busy_ms } = self.patience;
        if desk.now_ms() <= calm_ms || !self.arrivals.is_empty() {
            return false;
        }
        let since = |at_ms: u64| desk.now_ms() - at_ms.max(calm_ms);
        let is_still = desk.machines.is_empty() && self.next_event().is_none();
        is_still && since(desk.acted_ms) > still_ms || since(desk.done_ms) > busy_ms
    }
}

/// How long a run goes on in which nothing gets done.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until then the market may change, or a deadline move a policy.
    calm_ms: u64,
    /// Without a machine: longer than a policy waits between two of its rounds.
    still_ms: u64,
    /// In any case: longer than any task takes, several times over.
    busy_ms: u64,
}

impl Patience {
    fn new(recording: &Recording, jobs: &[Arc<JobWork>]) -> Self {
        const HOUR_MS: u64 = 3_600_000;
        let dues = jobs.iter().map(|job| job.due_ms().unwrap_or(job.arrival_ms));
        let longest = jobs.iter().map(|job| job.work.runtime_ms(0)).max().unwrap_or(0);
        let held_ms = longest.saturating_add(recording.boot_ms).saturating_add(recording.gap_ms);
        Self {
            calm_ms: dues.max().unwrap_or(0).max(recording.end_ms()),
            still_ms: recording.gap_ms.saturating_mul(10).saturating_add(HOUR_MS),
            busy_ms: held_ms.saturating_mul(4).saturating_add(HOUR_MS * 24),
        }
    }
}

impl Desk {
    fn finish(&mut self, key: TaskKey, at_ms: u64) {
        self.detach(key, Cut::Sudden);
        self.tasks.remove(&key);
        self.books.finished(key, at_ms);
        self.done_ms = at_ms;
        self.news.push(News::Done(key));
    }

    fn boot(&mut self) {
        let now = self.now_ms();
        while let Some((_, machine)) = self.boots.first().copied().filter(|(at, _)| *at <= now) {
            self.boots.pop_first();
            self.news.push(News::Booted(machine));
        }
    }
}
