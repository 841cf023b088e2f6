//! What a run came to over time, in few figures: what a report draws.
//!
//! Buckets are of one width, which doubles whenever the run outgrows them; so a run of any length and
//! any number of tasks keeps the same few hundred figures. Nothing here reaches a decision.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use market::recorded::{Bought, Ended, Exact, MachineNo, Recorded, Recording};
use model::{Clamp, MicroUsd, PurchaseOption};

use crate::books::Stay;
use crate::jobs::{JobWork, TaskKey};

/// Buckets at most; a full row is folded to half of it.
const BUCKETS: usize = 512;
/// With more jobs than these, progress is kept of all together only.
const JOBS: usize = 20;
/// Where widths begin: no bucket is much shorter.
const LEAST_WIDTH_MS: u64 = 1_000;

/// A run over time. All rows are of one length; bucket `i` covers `i * width_ms..(i + 1) * width_ms`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// Of a bucket.
    pub width_ms: u64,
    /// When the last machine ended, or the last task, from the begin of the run.
    pub end_ms: u64,
    /// All cost until the end of each bucket; the last one is the run's.
    pub cost: Vec<MicroUsd>,
    /// Machines, by pool and purchase option.
    pub machines: Vec<MachinesRow>,
    /// Work done for good until the end of each bucket, all jobs', in milliseconds of work.
    pub done_ms: Vec<u64>,
    /// The same by job, in the workload's order; nothing with more than 20 jobs.
    pub done_by_job_ms: Vec<Vec<u64>>,
    /// Where money went that made no progress.
    pub waste: Waste,
}

/// Machines of a pool and purchase option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinesRow {
    /// Which of the recording's pools.
    pub pool: usize,
    /// How they were paid for.
    pub option: PurchaseOption,
    /// In each bucket, machines x time held. Over the width it is their mean number.
    pub held_ms: Vec<u64>,
}

/// Money that made no progress, by cause. The first three are what a result calls wasted; boot and
/// idle together are what it calls idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waste {
    /// Starts of attempts.
    pub changeover: MicroUsd,
    /// Work that had to be done again.
    pub lost: MicroUsd,
    /// Writing checkpoints.
    pub checkpoints: MicroUsd,
    /// Machines that booted.
    pub boot: MicroUsd,
    /// Machines, and parts of machines, that no task used.
    pub idle: MicroUsd,
    /// Of idle: parts of machines that had a task at that time. What is left is machines that had
    /// none.
    pub unreserved: MicroUsd,
    /// Moving checkpoints between zones. It is a cost of the work, not waste.
    pub egress: MicroUsd,
}

impl Waste {
    /// Causes by name, in the order in which they are shown.
    pub fn causes(&self) -> [(&'static str, MicroUsd); 7] {
        [
            ("changeover", self.changeover),
            ("lost work", self.lost),
            ("checkpoints", self.checkpoints),
            ("boot", self.boot),
            ("idle", self.idle - self.unreserved),
            ("unreserved", self.unreserved),
            ("egress", self.egress),
        ]
    }
}

/// Gathers a [`Series`] while the books are kept.
#[derive(Debug)]
pub(crate) struct Tally {
    /// 0 until the market is known.
    width_ms: u64,
    /// Buckets that anything has reached.
    reached: usize,
    end_ms: u64,
    cost: Vec<i128>,
    machines: BTreeMap<(usize, PurchaseOption), Vec<u64>>,
    done: Vec<u64>,
    by_job: Vec<Vec<u64>>,
    changeover: Exact,
    lost: Exact,
    checkpoints: Exact,
    boot: MicroUsd,
    idle: MicroUsd,
    unreserved: MicroUsd,
    /// When machines that run have had tasks.
    busy: BTreeMap<MachineNo, Vec<(u64, u64)>>,
    egress: MicroUsd,
    watch: Option<Arc<Watch>>,
}

impl Tally {
    pub(crate) fn new(jobs: &[Arc<JobWork>]) -> Self {
        let each = if jobs.len() <= JOBS { jobs.len() } else { 0 };
        Self {
            width_ms: 0,
            reached: 0,
            end_ms: 0,
            cost: vec![0; BUCKETS],
            machines: BTreeMap::new(),
            done: vec![0; BUCKETS],
            by_job: vec![vec![0; BUCKETS]; each],
            changeover: Exact::default(),
            lost: Exact::default(),
            checkpoints: Exact::default(),
            boot: MicroUsd(0),
            idle: MicroUsd(0),
            unreserved: MicroUsd(0),
            busy: BTreeMap::new(),
            egress: MicroUsd(0),
            watch: WATCH.with_borrow(Clone::clone),
        }
    }

    /// An attempt's stay on a machine is over; what its parts cost.
    pub(crate) fn stay(
        &mut self,
        market: &Recorded,
        machine: MachineNo,
        stay: &Stay,
        parts: &StayCost,
    ) {
        let busy = self.busy.entry(machine).or_default();
        match busy.last_mut() {
            Some((from, to)) if stay.from_ms <= *to && *from <= stay.to_ms => {
                (*from, *to) = (stay.from_ms.min(*from), stay.to_ms.max(*to));
            }
            _ => busy.push((stay.from_ms, stay.to_ms)),
        }
        self.changeover += parts.changeover;
        self.lost += parts.lost;
        self.checkpoints += parts.checkpoints;
        let course = stay.course;
        let from = stay.from_ms.saturating_add(course.changeover_ms);
        let to = stay.to_ms.saturating_sub(course.lost_ms);
        self.reach(market.recording(), to);
        let width = self.width_ms;
        spread(width, &mut self.done, (from, to), course.lasting_ms);
        if let Some(row) =
            usize::try_from(stay.task.job).ok().and_then(|job| self.by_job.get_mut(job))
        {
            spread(width, row, (from, to), course.lasting_ms);
        }
    }

    /// A machine has ended; `idle` of its bill was used by no task.
    pub(crate) fn ended(&mut self, market: &Recorded, ended: &Ended, idle: MicroUsd) {
        let machine = &ended.machine;
        let (from, to) = ended.billed_ms;
        self.reach(market.recording(), to.max(ended.at_ms));
        self.see(ended.at_ms);
        let boot = boot(market, machine, ended).min(idle);
        self.boot += boot;
        self.idle += idle - boot;
        let busy = self.busy.remove(&machine.no).unwrap_or_default();
        let had_tasks = union_cost(market, machine, busy).rounded();
        let charged = ended.cost.rounded() - idle;
        self.unreserved += (had_tasks - charged).max(MicroUsd(0)).min(idle - boot);
        let width = self.width_ms;
        let held = ended.at_ms.saturating_sub(machine.launched_ms);
        let row = self.machines.entry((machine.pool, machine.option));
        let row = row.or_insert_with(|| vec![0; BUCKETS]);
        spread(width, row, (machine.launched_ms, ended.at_ms), held);
        // What the rounding of the bill adds comes with its last moment: the row's sum is the bills'.
        let mut left = i128::from(ended.cost.rounded().0) * MS_PER_HOUR;
        let last = bucket(width, to.saturating_sub(1));
        for at in bucket(width, from)..last {
            let (start, end) = (bound(width, at), bound(width, at + 1));
            let cost = market.cost(machine.pool, machine.option, (start.max(from), end)).0;
            left -= cost;
            if let Some(row) = self.cost.get_mut(at) {
                *row += cost;
            }
        }
        if let Some(row) = self.cost.get_mut(last) {
            *row += left;
        }
    }

    /// A checkpoint was moved.
    pub(crate) fn egress(&mut self, market: &Recorded, cost: MicroUsd) {
        self.egress += cost;
        let now = market.now_ms();
        self.reach(market.recording(), now.saturating_add(1));
        if let Some(row) = self.cost.get_mut(bucket(self.width_ms, now)) {
            *row += i128::from(cost.0) * MS_PER_HOUR;
        }
    }

    /// A task is done.
    pub(crate) fn finished(&mut self, _task: TaskKey, at_ms: u64) {
        self.see(at_ms);
        if let Some(watch) = &self.watch {
            watch.done_tasks.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn see(&mut self, at_ms: u64) {
        self.end_ms = self.end_ms.max(at_ms);
        if let Some(watch) = &self.watch {
            watch.now_ms.fetch_max(at_ms, Ordering::Relaxed);
        }
    }

    /// Makes room for what happens before `to_ms`.
    fn reach(&mut self, recording: &Recording, to_ms: u64) {
        if self.width_ms == 0 {
            self.width_ms = first_width(recording.gap_ms);
        }
        while bucket(self.width_ms, to_ms.saturating_sub(1)) >= BUCKETS {
            self.width_ms = self.width_ms.saturating_mul(2);
            self.reached = self.reached.div_ceil(2);
            let rows = self.machines.values_mut().chain(&mut self.by_job);
            rows.chain([&mut self.done]).for_each(|row| fold(row));
            fold(&mut self.cost);
        }
        self.reached = self.reached.max(bucket(self.width_ms, to_ms.saturating_sub(1)) + 1);
    }

    /// What was gathered.
    pub(crate) fn close(self) -> Series {
        let rows = self.reached;
        let sums = |row: &[u64]| -> Vec<u64> {
            let row = row.iter().take(rows);
            row.scan(0, |sum: &mut u64, value| {
                *sum = sum.saturating_add(*value);
                Some(*sum)
            })
            .collect()
        };
        let cost = self.cost.iter().take(rows).scan(Exact::default(), |sum, value| {
            sum.0 += value;
            Some(sum.rounded())
        });
        let machines = self.machines.into_iter().map(|((pool, option), mut held_ms)| {
            held_ms.truncate(rows);
            MachinesRow { pool, option, held_ms }
        });
        // Each rounded as a part of the sum, so that they add up to what is rounded once.
        let changeover = self.changeover.rounded();
        let with_lost = (self.changeover + self.lost).rounded();
        let wasted = (self.changeover + self.lost + self.checkpoints).rounded();
        Series {
            width_ms: self.width_ms,
            end_ms: self.end_ms,
            cost: cost.collect(),
            machines: machines.collect(),
            done_ms: sums(&self.done),
            done_by_job_ms: self.by_job.iter().map(|row| sums(row)).collect(),
            waste: Waste {
                changeover,
                lost: with_lost - changeover,
                checkpoints: wasted - with_lost,
                boot: self.boot,
                idle: self.idle,
                unreserved: self.unreserved,
                egress: self.egress,
            },
        }
    }
}

/// What the parts of a stay cost that made no progress.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StayCost {
    pub(crate) changeover: Exact,
    pub(crate) lost: Exact,
    pub(crate) checkpoints: Exact,
}

const MS_PER_HOUR: i128 = 3_600_000;

/// Widths are gaps, or halves of them, so that no bucket's end is within a tick once they are wider.
fn first_width(gap_ms: u64) -> u64 {
    let mut width = if gap_ms == 0 { LEAST_WIDTH_MS } else { gap_ms };
    while width.is_multiple_of(2) && width / 2 >= LEAST_WIDTH_MS {
        width /= 2;
    }
    width
}

fn bucket(width_ms: u64, at_ms: u64) -> usize {
    usize::try_from(at_ms / width_ms.max(1)).unwrap_or(usize::MAX)
}

fn bound(width_ms: u64, bucket: usize) -> u64 {
    u64::try_from(bucket).unwrap_or(u64::MAX).saturating_mul(width_ms)
}

/// What of a machine's bill was its boot.
fn boot(market: &Recorded, machine: &Bought, ended: &Ended) -> MicroUsd {
    let until = machine.launched_ms.saturating_add(market.recording().boot_ms).min(ended.at_ms);
    market.cost(machine.pool, machine.option, (machine.launched_ms, until)).rounded()
}

/// What the time costs that any of the stretches covers.
fn union_cost(market: &Recorded, machine: &Bought, mut stretches: Vec<(u64, u64)>) -> Exact {
    stretches.sort_unstable();
    let (mut cost, mut until) = (Exact::default(), 0);
    for (from, to) in stretches {
        let from = from.max(until);
        if from < to {
            cost += market.cost(machine.pool, machine.option, (from, to));
            until = to;
        }
    }
    cost
}

/// Spreads an amount evenly over a stretch of time; the parts add up to it.
fn spread(width_ms: u64, row: &mut [u64], (from, to): (u64, u64), amount: u64) {
    if amount == 0 {
        return;
    }
    let (first, last) = (bucket(width_ms, from), bucket(width_ms, to.saturating_sub(1).max(from)));
    let length = u128::from(to.saturating_sub(from).max(1));
    let mut given = 0;
    for at in first..=last {
        let passed = u128::from(bound(width_ms, at + 1).min(to).saturating_sub(from));
        let until: u64 =
            if at == last { amount } else { (u128::from(amount) * passed / length).clamped() };
        if let Some(value) = row.get_mut(at) {
            *value = value.saturating_add(until - given);
        }
        given = until;
    }
}

/// Two buckets into one.
fn fold<T: Copy + Default + std::ops::Add<Output = T>>(row: &mut [T]) {
    for at in 0..row.len() {
        let value = |at: usize| row.get(at).copied().unwrap_or_default();
        let sum = value(2 * at) + value(2 * at + 1);
        if let Some(slot) = row.get_mut(at) {
            *slot = sum;
        }
    }
}

/// How far a run is, for those who wait for it. It is told, never asked.
#[derive(Debug, Default)]
pub struct Watch {
    done_tasks: AtomicU64,
    now_ms: AtomicU64,
}

thread_local! {
    static WATCH: RefCell<Option<Arc<Watch>>> = const { RefCell::new(None) };
}

impl Watch {
    /// Tasks that are done, in all runs so far.
    pub fn done_tasks(&self) -> u64 {
        self.done_tasks.load(Ordering::Relaxed)
    }

    /// The latest time in a run at which something ended.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// Is told of the runs that begin in `run`, on this thread. A run of any policy opens its books
    /// itself; so this way nobody hands it through who has nothing to do with it.
    pub fn over<T>(self: &Arc<Self>, run: impl FnOnce() -> T) -> T {
        WATCH.set(Some(self.clone()));
        let done = run();
        WATCH.set(None);
        done
    }
}

#[cfg(test)]
mod tests {
    use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices};
    use model::Resources;

    use super::*;
    use crate::arena::{Desk, Held, TaskState};
    use crate::policy::{Policy, PolicyName};
    use crate::result::Outcome;
    use crate::work::{Checkpoint, Work};

    #[test]
    fn amounts_are_spread_without_a_rest() {
        let mut row = [0; 4];
        spread(10, &mut row, (5, 35), 100);
        assert_eq!(row, [16, 34, 33, 17]);
        spread(10, &mut row, (39, 39), 1);
        assert_eq!(row, [16, 34, 33, 18]);
        fold(&mut row);
        assert_eq!(row, [50, 51, 0, 0]);
    }

    /// One pool whose price moves and whose machines go away every now and then.
    fn recording(ticks: usize) -> Arc<Recording> {
        let pool = PoolTrace {
            zone: "us-east-1a".into(),
            instance_type: "m5.large".into(),
            capacity: Resources { cpu_millis: 2_000, memory_mib: 8_000, disk_mib: 0, gpus: 0 },
            on_demand: MicroUsd(96_000),
            spot: Prices::PerTick(
                (0..ticks).map(|at| MicroUsd(30_000 + (at as i64 % 7))).collect(),
            ),
            machines: Depth::PerTick((0..ticks).map(|at| u32::from(at % 5 > 0) * 3).collect()),
            gap_ms: 60_000,
            hazard_ppm_hour: 0,
        };
        Arc::new(Recording {
            gap_ms: 60_000,
            notice_ms: 0,
            boot_ms: 7_000,
            billing: Billing::Second,
            decide_at: DecideAt::Event,
            egress: BTreeMap::new(),
            pools: vec![pool],
        })
    }

    fn job(count: u32, work_ms: u64) -> Arc<JobWork> {
        let work = Work {
            work_ms,
            changeover_ms: 1_500,
            checkpoint: Checkpoint::Periodic { period_ms: 20_000, cost_ms: 700 },
        };
        let ask = Resources { cpu_millis: 2_000, memory_mib: 4_000, disk_mib: 0, gpus: 0 };
        Arc::new(JobWork {
            id: "a".into(),
            arrival_ms: 0,
            deadline_ms: Some(work_ms * 40),
            count,
            ask,
            work,
            checkpoint_milligib: 0,
        })
    }

    /// Buys for each task that waits, keeps what it has for a while.
    struct Simple;

    impl Policy for Simple {
        fn decide(&mut self, desk: &mut Desk) {
            let old = |held: &&Held| held.idle_since_ms.is_some_and(|at| at < desk.now_ms());
            let old: Vec<_> = desk.machines().values().filter(old).map(|it| it.bought.no).collect();
            old.into_iter().for_each(|no| desk.end(no));
            let waits =
                |(key, task): (&TaskKey, &TaskState)| task.attempt.is_none().then_some(*key);
            let waiting: Vec<_> = desk.tasks().iter().filter_map(waits).collect();
            for task in waiting {
                let machine = desk.launch(0, PurchaseOption::Spot);
                let machine = machine.or_else(|| desk.launch(0, PurchaseOption::OnDemand));
                assert!(desk.assign(task, machine.expect("on-demand is unlimited")));
            }
        }
    }

    fn simple(jobs: &[Arc<JobWork>]) -> Outcome {
        crate::arena::run(&recording(8_000), jobs, PolicyName::Greedy, 1, &mut Simple)
    }

    #[test]
    fn rows_end_in_what_the_result_says() {
        for (count, work_ms) in [(1, 10_000), (3, 1_000_000), (2, 40_000_000)] {
            let jobs = [job(count, work_ms), job(1, 30_000)];
            let outcome = simple(&jobs);
            let (result, series) = (&outcome.result, &outcome.series);
            let rows = series.cost.len();
            assert!(rows > 0 && rows <= BUCKETS, "{rows}");
            assert_eq!(series.cost.last(), Some(&result.cost_micro_usd));
            let waste = series.waste;
            assert_eq!(waste.changeover + waste.lost + waste.checkpoints, result.wasted_micro_usd);
            assert_eq!(waste.boot + waste.idle, result.idle_micro_usd);
            assert!(waste.boot > MicroUsd(0) && waste.changeover > MicroUsd(0));
            assert!(result.jobs.iter().all(|job| job.finished_s.is_some()), "{result:?}");
            let work = u64::from(count) * work_ms;
            assert_eq!(series.done_ms.last(), Some(&(work + 30_000)));
            let by_job = series.done_by_job_ms.iter().filter_map(|row| row.last());
            assert_eq!(by_job.copied().collect::<Vec<_>>(), [work, 30_000]);
            let last = result.jobs.iter().filter_map(|job| job.finished_s).max();
            assert_eq!(last.map(|last| last.ms), Some(series.end_ms));
            let width = series.width_ms;
            assert!(
                series.machines.iter().all(|row| row.held_ms.iter().all(|ms| *ms <= 4 * width))
            );
            assert!(series.machines.iter().all(|row| row.held_ms.len() == rows));
        }
    }

    #[test]
    fn who_waits_is_told_how_far_it_is() {
        let watch = Arc::new(Watch::default());
        let jobs = [job(3, 30_000)];
        let watched = watch.over(|| simple(&jobs));
        assert_eq!((watch.done_tasks(), watch.now_ms()), (3, watched.series.end_ms));
        assert_eq!(simple(&jobs), watched);
        assert_eq!(watch.done_tasks(), 3);
    }

    #[test]
    fn widths_meet_the_ticks() {
        assert_eq!(first_width(600_000), 9_375);
        assert_eq!(first_width(195_000), 24_375);
        assert_eq!(first_width(0), 1_000);
        assert_eq!(first_width(1), 1);
    }
}
