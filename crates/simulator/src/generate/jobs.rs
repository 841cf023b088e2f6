//! A workload: when jobs come, how long they run, what they need, and when they should be done.

use std::sync::Arc;

use market::random::{between, stream};
use model::{Clamp, Fault, Resources};
use rand_chacha::ChaCha8Rng;

use crate::files::limits;
use crate::import::Each;
use crate::jobs::JobWork;
use crate::work::{Checkpoint, Work};

use super::Absurd;
use super::draw::{Classes, MEMORYLESS, RUN_TIMES, below, chance, length_ms};

/// When jobs come, given how many come in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// All at 0.
    AtOnce,
    /// At any moment alike: a Poisson process of which the number is known.
    Poisson,
    /// More by day: from the least at 4 o'clock, straight up to `peak_permille` thousandths of it at
    /// 16, and down again. The run begins at midnight.
    Diurnal {
        /// 1,000 = by day as by night.
        peak_permille: u32,
    },
}

/// How long tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// All the same.
    Equal,
    /// Memoryless.
    Exponential,
    /// Half are shorter than a twentieth of the mean, one in two hundred is 69 times as long.
    HeavyTailed,
}

/// A size of tasks, and how many jobs have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Of the sum of all weights.
    pub weight: u32,
    /// What each task needs; disk is not looked at.
    pub ask: Resources,
}

/// Deadlines: so many thousandths of a task's changeover and work, every value between as likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slack {
    /// Thousandths of jobs that have a deadline.
    pub of_jobs_permille: u32,
    /// The tightest.
    pub least_permille: u32,
    /// The loosest.
    pub most_permille: u32,
}

/// What a generated workload is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsParams {
    /// How many jobs.
    pub jobs: u32,
    /// In which time they come.
    pub span_ms: u64,
    /// When in it.
    pub arrivals: Arrivals,
    /// Mean run time of a task; 1.26 h by default, as SURF's.
    pub mean_work_ms: u64,
    /// Around that mean.
    pub lengths: Lengths,
    /// None runs shorter or longer.
    pub work_bounds_ms: (u64, u64),
    /// What they need.
    pub sizes: Vec<Size>,
    /// Thousandths of jobs that are arrays.
    pub arrays_permille: u32,
    /// Arrays have 2 to so many tasks, each power of two as likely as another.
    pub largest_array: u32,
    /// Deadlines, if any.
    pub slack: Option<Slack>,
    /// What every job has.
    pub each: Each,
}

impl Default for JobsParams {
    fn default() -> Self {
        let size = |weight, cores: u32, gib: u32, gpus| Size {
            weight,
            ask: Resources {
                cpu_millis: cores * 1_000,
                memory_mib: gib * 1_024,
                disk_mib: 0,
                gpus,
            },
        };
        Self {
            jobs: 1_000,
            span_ms: 86_400_000,
            arrivals: Arrivals::Poisson,
            mean_work_ms: 4_536_000,
            lengths: Lengths::HeavyTailed,
            work_bounds_ms: (1_000, 172_800_000),
            sizes: vec![
                size(50, 1, 2, 0),
                size(30, 2, 8, 0),
                size(15, 4, 16, 0),
                size(5, 8, 60, 1),
            ],
            arrays_permille: 100,
            largest_array: 64,
            slack: Some(Slack {
                of_jobs_permille: 500,
                least_permille: 1_500,
                most_permille: 4_000,
            }),
            each: Each {
                changeover_ms: 60_000,
                checkpoint: Checkpoint::Periodic { period_ms: 600_000, cost_ms: 20_000 },
                checkpoint_milligib: 1_000,
            },
        }
    }
}

/// Makes a workload, in order of arrival.
pub fn jobs(params: &JobsParams, seed: u64) -> Result<Vec<Arc<JobWork>>, Vec<Fault>> {
    check(params).or(|| {
        let mut rng = stream(seed, "arrivals", &[]);
        let mut arrivals: Vec<u64> =
            (0..params.jobs).map(|_| arrival_ms(&mut rng, params)).collect();
        arrivals.sort_unstable();
        let width = params.jobs.saturating_sub(1).to_string().len();
        let mut streams = Streams::new(seed);
        let job = |(index, arrival_ms): (usize, u64)| {
            let id = format!("job-{index:0width$}");
            Arc::new(streams.job(id, arrival_ms, params))
        };
        arrivals.into_iter().enumerate().map(job).collect()
    })
}

fn check(params: &JobsParams) -> Absurd {
    let mut absurd = Absurd::default();
    absurd.within(u64::from(params.jobs), (0, limits::JOBS.clamped()), "jobs");
    absurd.within(params.span_ms, (0, limits::DURATION_MS), "span_ms");
    if let Arrivals::Diurnal { peak_permille } = params.arrivals {
        absurd.within(u64::from(peak_permille), (1_000, 1_000_000), "arrivals/peak_permille");
    }
    absurd.within(params.mean_work_ms, (1, limits::DURATION_MS), "mean_work_ms");
    let (least, most) = params.work_bounds_ms;
    absurd.unless(
        1 <= least && least <= most && most <= limits::DURATION_MS,
        "work_bounds_ms",
        format!("must be 1 <= least <= most <= {}, are {least} and {most}", limits::DURATION_MS),
    );
    let weights: u64 = params.sizes.iter().map(|size| u64::from(size.weight)).sum();
    absurd.unless(weights > 0, "sizes", "must have one with a weight at least");
    for (index, Size { ask, .. }) in params.sizes.iter().enumerate() {
        absurd.unless(
            ask.cpu_millis > 0
                && [ask.cpu_millis, ask.memory_mib]
                    .iter()
                    .all(|part| u64::from(*part) <= limits::AMOUNT)
                && u64::from(ask.gpus) <= limits::GPUS,
            &format!("sizes/{index}"),
            format!("must need cpu, and of nothing more than {}", limits::AMOUNT),
        );
    }
    absurd.within(u64::from(params.arrays_permille), (0, 1_000), "arrays_permille");
    let tasks = u64::from(params.jobs).saturating_mul(u64::from(params.largest_array.max(1)));
    let arrays = params.arrays_permille > 0;
    absurd.unless(
        !arrays || (params.largest_array >= 2 && tasks <= limits::TASKS),
        "largest_array",
        format!("must be 2 at least, and times jobs {} at most", limits::TASKS),
    );
    if let Some(Slack { of_jobs_permille, least_permille, most_permille }) = params.slack {
        absurd.within(u64::from(of_jobs_permille), (0, 1_000), "slack/of_jobs_permille");
        absurd.unless(
            1 <= least_permille && least_permille <= most_permille && most_permille <= 1_000_000,
            "slack",
            "must be 1 <= least_permille <= most_permille <= 1000000",
        );
    }
    let Each { changeover_ms, checkpoint, checkpoint_milligib } = params.each;
    absurd.within(changeover_ms, (0, limits::DURATION_MS), "each/changeover_ms");
    absurd.within(
        checkpoint_milligib,
        (0, limits::CHECKPOINT_MILLIGIB),
        "each/checkpoint_milligib",
    );
    if let Checkpoint::Periodic { period_ms, cost_ms } = checkpoint {
        absurd.within(period_ms, (1, limits::DURATION_MS), "each/checkpoint/period_ms");
        absurd.within(cost_ms, (0, limits::DURATION_MS), "each/checkpoint/cost_ms");
    }
    absurd
}

fn arrival_ms(rng: &mut ChaCha8Rng, params: &JobsParams) -> u64 {
    match params.arrivals {
        Arrivals::AtOnce => 0,
        Arrivals::Poisson => below(rng, params.span_ms),
        Arrivals::Diurnal { peak_permille } => loop {
            let at_ms = below(rng, params.span_ms);
            if below(rng, u64::from(peak_permille)) < rate_permille(at_ms, peak_permille) {
                return at_ms;
            }
        },
    }
}

/// How many come then, in thousandths of the least.
fn rate_permille(at_ms: u64, peak_permille: u32) -> u64 {
    const DAY_MS: u64 = 86_400_000;
    const LEAST_MS: u64 = 4 * 3_600_000;
    let since = (at_ms + DAY_MS - LEAST_MS) % DAY_MS;
    let from_least = since.min(DAY_MS - since);
    1_000 + u64::from(peak_permille - 1_000) * from_least / (DAY_MS / 2)
}

/// One for each thing that is drawn: another mean leaves sizes and deadlines as they were.
struct Streams {
    work: ChaCha8Rng,
    size: ChaCha8Rng,
    array: ChaCha8Rng,
    slack: ChaCha8Rng,
}

impl Streams {
    fn new(seed: u64) -> Self {
        let of = |what| stream(seed, "jobs", &[what]);
        Self { work: of("work"), size: of("size"), array: of("array"), slack: of("slack") }
    }

    fn job(&mut self, id: String, arrival_ms: u64, params: &JobsParams) -> JobWork {
        let each = params.each;
        let (least, most) = params.work_bounds_ms;
        let drawn =
            |rng: &mut ChaCha8Rng, classes: &Classes| length_ms(rng, classes, params.mean_work_ms);
        let work_ms = match params.lengths {
            Lengths::Equal => params.mean_work_ms,
            Lengths::Exponential => drawn(&mut self.work, MEMORYLESS),
            Lengths::HeavyTailed => drawn(&mut self.work, RUN_TIMES),
        };
        let work_ms = work_ms.clamp(least, most);
        let ask = self.ask(&params.sizes);
        JobWork {
            id: id.into(),
            arrival_ms,
            deadline_ms: self.deadline_ms(params, each.changeover_ms + work_ms),
            count: self.count(params),
            ask: Resources { disk_mib: 0, ..ask },
            work: Work { work_ms, changeover_ms: each.changeover_ms, checkpoint: each.checkpoint },
            checkpoint_milligib: each.checkpoint_milligib,
        }
    }

    fn ask(&mut self, sizes: &[Size]) -> Resources {
        let total: u64 = sizes.iter().map(|size| u64::from(size.weight)).sum();
        let mut left = below(&mut self.size, total);
        for size in sizes {
            match left.checked_sub(u64::from(size.weight)) {
                Some(rest) => left = rest,
                None => return size.ask,
            }
        }
        Resources::default()
    }

    fn count(&mut self, params: &JobsParams) -> u32 {
        // Both are drawn for every job, so that what one has does not shift the next.
        let is_array = chance(&mut self.array, params.arrays_permille);
        let most = params.largest_array.max(2);
        let octave = between(&mut self.array, 1, most.ilog2());
        let first = 1_u32 << octave;
        let last = first.saturating_mul(2).saturating_sub(1).min(most);
        let count = between(&mut self.array, first, last);
        if is_array { count } else { 1 }
    }

    fn deadline_ms(&mut self, params: &JobsParams, alone_ms: u64) -> Option<u64> {
        let slack = params.slack?;
        let has_one = chance(&mut self.slack, slack.of_jobs_permille);
        let permille = between(&mut self.slack, slack.least_permille, slack.most_permille);
        let deadline = u128::from(alone_ms) * u128::from(permille) / 1_000;
        has_one.then(|| deadline.clamp(1, u128::from(limits::DURATION_MS)).clamped())
    }
}
