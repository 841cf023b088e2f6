//! What a task does next: its rule's wish, and the safety net over it.
//!
//! In a market by ticks these are the rules of the paper's own simulator, rounding to whole ticks
//! included. In one by events the same inequalities hold without rounding.
//!
//! With several pools the net and the hysteresis are those of SkyNomad's authors, who run the same
//! policy over several zones: at the last moment spot is left for on-demand even if it goes on; idle
//! time is ended only when the time does not suffice for two starts; and what is so far ahead that it
//! need not stay on-demand leaves it, whether or not there is spot.

use market::recorded::{DecideAt, Recording};

use crate::arena::TaskState;
use crate::work::{Checkpoint, Cut, Work};

/// How a task is run while the safety net does not hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Spot when there is some, else wait.
    Greedy,
    /// Uniform Progress: spot when there is some; without it on-demand while behind a straight line
    /// from the arrival to the deadline.
    UniformProgress {
        /// Leaves on-demand only when so far ahead that two changeovers do not throw it behind.
        hysteresis: bool,
    },
}

/// What a task is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Idle,
    /// A spot machine.
    Spot,
    /// An on-demand machine.
    OnDemand,
}

/// A task at a moment, as the rules see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// What it is on, after any loss.
    pub(crate) mode: Mode,
    /// Whether it is on a spot machine or could have one.
    pub(crate) spot: bool,
    /// Whether several pools hold it.
    pub(crate) several: bool,
    /// Since its arrival.
    pub(crate) elapsed_ms: u64,
    /// Its deadline, from its arrival.
    pub(crate) limit_ms: Option<u64>,
    /// Length of the market's ticks; none in one by events.
    pub(crate) gap_ms: Option<u64>,
    /// Its work, and what would be left of it if its machine were lost now.
    pub(crate) work: Work,
    /// Work done that would outlive that loss.
    pub(crate) done_ms: u64,
    /// What a start takes: boot and changeover.
    pub(crate) delay_ms: u64,
    /// What of that is still to come on its machine.
    pub(crate) delay_left_ms: u64,
    /// What is done after one more tick on this or a new spot machine that is then lost; all of it
    /// when it ends before. Continuous checkpoints do not ask.
    pub(crate) after_a_tick_ms: u64,
}

impl View {
    /// Of a task.
    pub(crate) fn new(
        task: &TaskState,
        mode: Mode,
        spot: bool,
        recording: &Recording,
        now_ms: u64,
    ) -> Self {
        let work = task.job.work;
        let gap_ms = match recording.decide_at {
            DecideAt::Tick => Some(recording.gap_ms.max(1)),
            DecideAt::Event => None,
        };
        let ran_ms = |at_ms: u64| task.attempt.map(|it| at_ms.saturating_sub(it.start_ms));
        let done_at =
            |ran_ms: u64| task.done_ms + work.course(task.done_ms, ran_ms, Cut::Sudden).lasting_ms;
        let then_ms = now_ms.saturating_add(gap_ms.unwrap_or(0));
        let next_ms = match mode {
            Mode::Spot => ran_ms(then_ms).unwrap_or(0),
            Mode::Idle | Mode::OnDemand => gap_ms.unwrap_or(0).saturating_sub(recording.boot_ms),
        };
        Self {
            mode,
            spot,
            several: false,
            elapsed_ms: now_ms.saturating_sub(task.job.arrival_ms),
            limit_ms: task.job.deadline_ms,
            gap_ms,
            work,
            done_ms: ran_ms(now_ms).map_or(task.done_ms, done_at),
            delay_ms: recording.boot_ms.saturating_add(work.changeover_ms),
            delay_left_ms: task.changeover_left_ms(now_ms),
            after_a_tick_ms: done_at(next_ms),
        }
    }

    /// Time left; by ticks only whole ones count.
    pub(crate) fn left_ms(&self) -> Option<u64> {
        let left = self.limit_ms?.saturating_sub(self.elapsed_ms);
        Some(self.gap_ms.map_or(left, |gap| left / gap * gap))
    }

    /// What on-demand from a start now takes to the end of the work.
    pub(crate) fn need_ms(&self, done_ms: u64) -> u64 {
        let boot = self.delay_ms - self.work.changeover_ms;
        boot.saturating_add(self.work.runtime_ms(done_ms))
    }

    /// Whether what is done is below the straight line, `ahead_ms` from now. `or_on` counts the line
    /// itself.
    fn is_behind(&self, ahead_ms: u64, or_on: bool) -> bool {
        let Some(limit) = self.limit_ms else { return false };
        let line = u128::from(self.elapsed_ms + ahead_ms) * u128::from(self.work.work_ms);
        let done = u128::from(self.done_ms) * u128::from(limit);
        done < line || or_on && done == line
    }

    fn rounded_up(&self, ms: u64) -> u64 {
        self.gap_ms.map_or(ms, |gap| ms.div_ceil(gap).saturating_mul(gap))
    }

    /// Whether a spot machine that is lost at the next moment at which anything can be done leaves
    /// enough time for on-demand.
    fn spot_is_safe(&self, left_ms: u64) -> bool {
        let on_spot = self.mode == Mode::Spot;
        match (self.work.checkpoint, self.gap_ms) {
            // Work on spot is as good as work on demand, once it goes on.
            (Checkpoint::Continuous, _) => on_spot && self.delay_left_ms == 0,
            (_, Some(gap)) => {
                self.after_a_tick_ms >= self.work.work_ms
                    || self.rounded_up(self.need_ms(self.after_a_tick_ms)).saturating_add(gap)
                        <= left_ms
            }
            (_, None) => self.need_ms(self.done_ms) < left_ms,
        }
    }

    /// Whether a spot machine could be of use. Without checkpoints only one that ends the work before
    /// the net takes it away.
    fn is_worth_spot(&self) -> bool {
        if self.mode == Mode::Spot || self.work.checkpoint != Checkpoint::None {
            return true;
        }
        let needed = self.need_ms(0).saturating_mul(2);
        self.limit_ms.is_none_or(|limit| limit.saturating_sub(self.elapsed_ms) >= needed)
    }
}

/// Whether on-demand, started now, would just be in time.
pub(crate) fn is_late(view: &View) -> bool {
    let once = view.rounded_up(view.need_ms(view.done_ms));
    view.left_ms().is_some_and(|left| once >= left)
}

/// What a task should be on from now on.
pub(crate) fn mode(rule: Rule, view: &View) -> Mode {
    let wish = wish(rule, view);
    let Some(left) = view.left_ms() else { return wish };
    let twice = view.rounded_up(view.need_ms(view.done_ms).saturating_add(view.delay_ms));
    if view.several && view.work.checkpoint == Checkpoint::Continuous {
        return with_several(rule, view, (wish, twice, left));
    }
    // The net looks at what the task is on, not at what it wants: from spot it may still fall.
    if view.mode != Mode::Spot && twice >= left {
        return Mode::OnDemand;
    }
    let must = match view.work.checkpoint {
        Checkpoint::Continuous => is_late(view),
        Checkpoint::None | Checkpoint::Periodic { .. } => wish == Mode::Spot,
    };
    match (must, view.spot_is_safe(left)) {
        (false, _) => wish,
        (true, true) => Mode::Spot,
        (true, false) => Mode::OnDemand,
    }
}

/// The net over several pools.
fn with_several(rule: Rule, view: &View, (wish, twice, left): (Mode, u64, u64)) -> Mode {
    // Without ticks nobody looks again a moment later.
    let is_short = twice > left || twice == left && view.gap_ms.is_none();
    let may_fall = match (view.mode, rule) {
        (Mode::Idle, _) => true,
        (Mode::Spot, _) | (Mode::OnDemand, Rule::UniformProgress { hysteresis: true }) => false,
        (Mode::OnDemand, _) => true,
    };
    if is_late(view) || may_fall && is_short { Mode::OnDemand } else { wish }
}

fn wish(rule: Rule, view: &View) -> Mode {
    let spot = view.spot && view.is_worth_spot();
    match rule {
        Rule::Greedy if spot => Mode::Spot,
        Rule::Greedy => Mode::Idle,
        Rule::UniformProgress { hysteresis } => {
            let two_changeovers = view.delay_ms.saturating_mul(2);
            let waits_on_it = !(spot || hysteresis && view.several);
            let stays = view.mode == Mode::OnDemand
                && (waits_on_it || hysteresis && view.is_behind(two_changeovers, true));
            if stays {
                Mode::OnDemand
            } else if spot {
                Mode::Spot
            } else if view.is_behind(0, false) {
                Mode::OnDemand
            } else {
                Mode::Idle
            }
        }
    }
}
