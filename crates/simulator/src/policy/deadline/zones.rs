//! Where a task's machine is bought, when there are several pools.
//!
//! In spot the cheapest, but for those in the region of the machine that the task had when it last
//! decided: what was lost there is scarce there, and they come last. On demand in the zone where the
//! task was last, but where the net takes a task that is on nothing, wherever the rest of the work is
//! cheapest, the move of its checkpoint included. These are the rules of Uniform Progress with eager
//! failover, as SkyNomad's authors run it against theirs.

use market::recorded::region;
use model::PurchaseOption;

use crate::arena::Desk;
use crate::jobs::TaskKey;

/// Why on-demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A rule wants it.
    Wish,
    /// The net, and the task is on nothing.
    Rescue,
}

/// A spot pool that has room now and holds the task; among equals the first. `seen` is the zone of the
/// machine that it had.
pub(super) fn spot(desk: &Desk, key: TaskKey, seen: Option<&str>) -> Option<usize> {
    let price = |pool: usize| desk.price(pool, PurchaseOption::Spot);
    let open = fitting(desk, key).filter(|pool| desk.room(*pool) > 0);
    let is_scarce = |pool: usize| {
        seen.is_some_and(|seen| zone(desk, pool).is_some_and(|zone| region(zone) == region(seen)))
    };
    open.min_by_key(|pool| (is_scarce(*pool), price(*pool), *pool))
}

/// An on-demand machine that holds the task; nothing when none does.
pub(super) fn on_demand(desk: &Desk, key: TaskKey, need: Need) -> Option<usize> {
    let task = desk.tasks().get(&key)?;
    let price = |pool: usize| i128::from(desk.price(pool, PurchaseOption::OnDemand).0);
    let last = task.zone.as_deref();
    let stay = fitting(desk, key).filter(|pool| last.is_some() && last == zone(desk, *pool));
    let stay = stay.min_by_key(|pool| (price(*pool), *pool));
    if need == Need::Wish && stay.is_some() {
        return stay;
    }
    let left_ms = i128::from(task.left_ms(desk.now_ms()));
    let rest = |pool: usize| {
        let egress = match (last, zone(desk, pool)) {
            (Some(from), Some(to)) => i128::from(task.job.egress(desk.recording(), from, to).0),
            _ => 0,
        };
        price(pool) * left_ms + egress * 3_600_000
    };
    fitting(desk, key).min_by_key(|pool| (rest(*pool), *pool))
}

/// Whether more than one pool holds the task.
pub(super) fn are_several(desk: &Desk, key: TaskKey) -> bool {
    fitting(desk, key).nth(1).is_some()
}

fn zone(desk: &Desk, pool: usize) -> Option<&str> {
    desk.recording().pools.get(pool).map(|pool| pool.zone.as_ref())
}

/// Pools that hold the task.
fn fitting(desk: &Desk, key: TaskKey) -> impl Iterator<Item = usize> {
    let ask = desk.tasks().get(&key).map(|task| task.job.ask);
    let pools = desk.recording().pools.iter().enumerate();
    let fitting = pools.filter(move |(_, pool)| ask.is_some_and(|ask| pool.capacity.holds(&ask)));
    fitting.map(|(at, _)| at)
}
