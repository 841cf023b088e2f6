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
    let mut clock = Clock { desk: desk(recording, jobs), arrivals: arrivals(jobs), jobs };
    clock.arrive();
    clock.desk.boot();
    policy.decide(&mut clock.desk);
    while !clock.is_over() {
        let before = clock.desk.fingerprint();
        clock.desk.news.clear();
        if !clock.go_on() || clock.is_over() {
            break;
        }
        policy.decide(&mut clock.desk);
        if clock.stands_still(before) {
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
        news: Vec::new(),
        finishes: BTreeSet::new(),
        boots: BTreeSet::new(),
        wakes: BTreeSet::new(),
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

    /// By ticks there is always a next one. When all records are over, nobody runs, nothing is to
    /// come and the policy has done nothing, it never will.
    fn stands_still(&self, before: (u64, usize)) -> bool {
        let desk = &self.desk;
        desk.recording().decide_at == DecideAt::Tick
            && desk.now_ms() > desk.recording().end_ms()
            && self.next_event().is_none()
            && desk.fingerprint() == before
            && desk.machines.is_empty()
            && desk
                .tasks
                .values()
                .all(|task| task.job.due_ms().is_none_or(|due| due < desk.now_ms()))
    }
}

impl Desk {
    /// Changes with all that a policy does.
    fn fingerprint(&self) -> (u64, usize) {
        let starts: u64 = self.tasks.values().map(|task| u64::from(task.starts)).sum();
        (starts, self.machines.len())
    }

    fn finish(&mut self, key: TaskKey, at_ms: u64) {
        self.detach(key, Cut::Sudden);
        self.tasks.remove(&key);
        self.books.finished(key, at_ms);
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
