//! Which machines to buy for what fits on none.

use market::recorded::PoolTrace;
use model::Resources;

use crate::jobs::TaskKey;
use crate::policy::eva::Choice;
use crate::policy::packing::Offer;

/// A task that waits for a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Whose it is.
    pub task: TaskKey,
    /// What it needs.
    pub ask: Resources,
    /// How long it would run.
    pub runtime_ms: u64,
}

/// Of what waits, the longest first, the next 1, then the next 2, and so on: as many of them as one
/// machine holds together. What no machine holds must not be among them.
pub(super) fn groups(mut waiting: Vec<Waiting>, choices: &[Choice]) -> Vec<Vec<Waiting>> {
    waiting.sort_by_key(|it| (std::cmp::Reverse(it.runtime_ms), it.task));
    let mut groups = Vec::new();
    let mut rest = waiting.into_iter().peekable();
    while let Some(first) = rest.next() {
        let at_most = groups.len() + 1;
        let (mut sum, mut group) = (first.ask, vec![first]);
        let mut holder = 0;
        while group.len() < at_most {
            let Some(next) = rest.peek().map(|next| sum + next.ask) else { break };
            let holds = |at: &usize| choices.get(*at).is_some_and(|it| it.capacity.holds(&next));
            // A sum only grows: what did not hold the last one does not hold this one.
            let Some(found) = (holder..choices.len()).find(holds) else { break };
            holder = found;
            sum = next;
            group.extend(rest.next());
        }
        groups.push(group);
    }
    groups
}

/// Resources one by one, the one that is asked first whether it constrains first.
fn amounts(of: &Resources) -> [u32; 4] {
    [of.gpus, of.cpu_millis, of.memory_mib, of.disk_mib]
}

/// What the smallest machines have, resource by resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Smallest([u32; 4]);

impl Smallest {
    /// Of all types.
    pub(super) fn of(pools: &[PoolTrace]) -> Self {
        let mut least = [u32::MAX; 4];
        for pool in pools {
            for (least, amount) in least.iter_mut().zip(amounts(&pool.capacity)) {
                if amount > 0 {
                    *least = amount.min(*least);
                }
            }
        }
        Self(least)
    }

    /// The choice of the best cost-efficiency for tasks that need `sum` together: what they use of
    /// the resource that constrains them there, in units of the smallest type's, for the price. At
    /// the same efficiency the cheaper.
    pub(super) fn best(&self, sum: &Resources, choices: &[Choice]) -> Option<Offer> {
        let mut best: Option<(u128, u128, Offer)> = None;
        for choice in choices.iter().filter(|choice| choice.capacity.holds(sum)) {
            let (used, unit) = self.constraining(sum, &choice.capacity);
            let cost = unit * u128::from(choice.offer.price.0.max(0).unsigned_abs());
            // Cheaper ones come first: what is only as good does not replace them.
            if best.is_none_or(|(best_used, best_cost, _)| used * best_cost > best_used * cost) {
                best = Some((used, cost, choice.offer));
            }
        }
        best.map(|(_, _, offer)| offer)
    }

    fn constraining(&self, sum: &Resources, capacity: &Resources) -> (u128, u128) {
        let mut most = (0, 1, 1);
        for ((used, whole), unit) in amounts(sum).into_iter().zip(amounts(capacity)).zip(self.0) {
            if whole > 0 && u64::from(used) * most.1 > most.0 * u64::from(whole) {
                most = (u64::from(used), u64::from(whole), unit);
            }
        }
        (u128::from(most.0), u128::from(most.2))
    }
}

/// Whether less than half of everything that a machine has is used.
pub(super) fn is_underused(capacity: &Resources, free: &Resources) -> bool {
    amounts(capacity).into_iter().zip(amounts(free)).all(|(whole, free)| {
        whole == 0 || u64::from(whole.saturating_sub(free)) * 2 < u64::from(whole)
    })
}
