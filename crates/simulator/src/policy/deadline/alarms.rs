//! When a task has to be looked at again though nothing happens: a market by events has no ticks.

use super::rules::{Mode, Rule, View};
use crate::work::Checkpoint;

/// The moments at which a rule or the net would decide otherwise than now, from the arrival.
pub(super) fn of(view: &View, rule: Rule) -> impl Iterator<Item = u64> {
    [net(view), line(view, rule)].into_iter().flatten()
}

/// When the net takes hold, from the arrival.
fn net(view: &View) -> Option<u64> {
    let need = view.need_ms(view.done_ms);
    let last_start = |ms: u64| Some(view.limit_ms?.saturating_sub(ms));
    match view.mode {
        Mode::Idle => last_start(need.saturating_add(view.delay_ms)),
        Mode::Spot if view.delay_left_ms > 0 => last_start(need),
        Mode::Spot if view.work.checkpoint != Checkpoint::Continuous => last_start(need),
        Mode::Spot | Mode::OnDemand => None,
    }
}

/// When what is done crosses the straight line, from the arrival.
fn line(view: &View, rule: Rule) -> Option<u64> {
    let Rule::UniformProgress { hysteresis } = rule else { return None };
    let limit = i128::from(view.limit_ms?);
    let work = i128::from(view.work.work_ms);
    let done = i128::from(view.done_ms);
    match view.mode {
        // It falls behind: done x limit < elapsed x work.
        Mode::Idle if work > 0 => u64::try_from(done * limit / work + 1).ok(),
        // It gets ahead: (done + x) x limit > (begin + x + two delays) x work.
        Mode::OnDemand if hysteresis && (view.spot || view.several) && limit > work => {
            let begin = view.elapsed_ms.saturating_add(view.delay_left_ms);
            let line = begin.saturating_add(view.delay_ms.saturating_mul(2));
            let behind = i128::from(line) * work - done * limit;
            let later = (behind.max(0) / (limit - work) + 1).max(least_ms(view));
            u64::try_from(i128::from(begin) + later).ok()
        }
        Mode::Idle | Mode::Spot | Mode::OnDemand => None,
    }
}

/// What is done is seen to grow when a checkpoint is written, and not before.
fn least_ms(view: &View) -> i128 {
    match view.work.checkpoint {
        Checkpoint::Periodic { period_ms, .. } => i128::from(period_ms),
        Checkpoint::Continuous | Checkpoint::None => 1,
    }
}
