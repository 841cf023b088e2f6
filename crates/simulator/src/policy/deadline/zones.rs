//! Where a task's machine is bought, when there are several pools.

use model::PurchaseOption;

use crate::arena::Desk;
use crate::jobs::TaskKey;

/// The cheapest spot pool that has room now and holds the task; among equals the first.
pub(super) fn spot(desk: &Desk, key: TaskKey) -> Option<usize> {
    cheapest(desk, key, PurchaseOption::Spot, |pool| desk.room(pool) > 0)
}

/// The cheapest on-demand machine that holds the task.
pub(super) fn on_demand(desk: &Desk, key: TaskKey) -> Option<usize> {
    cheapest(desk, key, PurchaseOption::OnDemand, |_| true)
}

fn cheapest(
    desk: &Desk,
    key: TaskKey,
    option: PurchaseOption,
    is_open: impl Fn(usize) -> bool,
) -> Option<usize> {
    let ask = desk.tasks().get(&key)?.job.ask;
    let pools = desk.recording().pools.iter().enumerate();
    let fitting = pools.filter(|(at, pool)| pool.capacity.holds(&ask) && is_open(*at));
    fitting.map(|(at, _)| at).min_by_key(|at| (desk.price(*at, option), *at))
}
