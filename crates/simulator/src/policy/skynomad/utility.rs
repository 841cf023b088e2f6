//! What a machine is worth an hour to a task, in micro-USD.

use model::{MicroUsd, PurchaseOption};

/// Utility of what is of no use at all.
const USELESS: i64 = i64::MIN;

/// A pool as a task sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// Which of the recording's.
    pub(super) pool: usize,
    /// Spot price an hour.
    pub(super) spot: MicroUsd,
    /// On-demand price an hour.
    pub(super) on_demand: MicroUsd,
    /// Hours that a spot machine is expected to live, not beyond the deadline.
    pub(super) life_h: f64,
    /// What moving the checkpoint there costs; none where the task is or was last.
    pub(super) egress: Option<MicroUsd>,
}

/// A task's place, of which the value of all actions depends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// What an hour of progress is worth: [`worth`].
    pub(super) worth: i64,
    /// Hours without progress after a start: boot, changeover, and work that a move throws away.
    pub(super) delay_h: f64,
    /// What the task is on.
    pub(super) holds: Option<(usize, PurchaseOption)>,
    /// Its checkpoint, in thousandths of a GB.
    pub(super) checkpoint: u64,
}

/// What a task can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing.
    Wait,
    /// Ask for a machine.
    Buy(usize, PurchaseOption),
}

/// An hour of progress: the cheapest on-demand price when on schedule, more when behind, less when
/// ahead; in the paper the derivative of a log barrier. At least the cheapest spot price, for done it
/// must be. `work` and `span` are the whole of the work and of the time for it.
pub(super) fn worth(
    (on_demand, spot): (MicroUsd, MicroUsd),
    (work_left_ms, work_ms): (u64, u64),
    (left_ms, span_ms): (u64, u64),
) -> i64 {
    let over = i128::from(left_ms.max(1)).saturating_mul(i128::from(work_ms.max(1)));
    let rate = i128::from(work_left_ms).saturating_mul(i128::from(span_ms));
    let scaled = i128::from(on_demand.0).saturating_mul(rate).saturating_add(over / 2) / over;
    i64::try_from(scaled).unwrap_or(i64::MAX).max(spot.0)
}

/// The value of what the task has, and all actions that it should try, the best first.
pub(super) fn ranked(place: &Place, offers: &[Offer]) -> (i64, Vec<(i64, Act)>) {
    let holds = |pool, option| place.holds == Some((pool, option));
    let has = offers.iter().find_map(|offer| match place.holds {
        Some((pool, PurchaseOption::Spot)) if pool == offer.pool => Some(spot(place, offer, 0.0)),
        Some((pool, PurchaseOption::OnDemand)) if pool == offer.pool => {
            Some(place.worth.saturating_sub(offer.on_demand.0))
        }
        _ => None,
    });
    let has = has.unwrap_or(0);
    // It does not move for less.
    let least = match place.holds {
        Some(_) => has.saturating_add(margin(place)),
        None => USELESS,
    };
    let mut acts = vec![(0, Act::Wait)];
    for offer in offers.iter().filter(|offer| !holds(offer.pool, PurchaseOption::Spot)) {
        let egress = offer.egress.map_or(0.0, |cost| float(cost.0) / offer.life_h.max(1e-6));
        let value = spot(place, offer, place.delay_h).saturating_sub(quantised(egress));
        let at_home = place.holds.is_some_and(|(pool, _)| pool == offer.pool);
        if value >= 0 && (at_home || value > least) {
            acts.push((value, Act::Buy(offer.pool, PurchaseOption::Spot)));
        }
    }
    for offer in offers.iter().filter(|offer| !holds(offer.pool, PurchaseOption::OnDemand)) {
        // It lives for ever: only what is lost on the way counts, as if in the first hour.
        let move_there =
            offer.egress.map_or(0.0, |cost| place.delay_h * float(place.worth) + float(cost.0));
        let value = place.worth.saturating_sub(offer.on_demand.0);
        let value = value.saturating_sub(quantised(move_there));
        if value >= 0 && value > least {
            acts.push((value, Act::Buy(offer.pool, PurchaseOption::OnDemand)));
        }
    }
    acts.retain(|(value, _)| *value > has);
    acts.sort_by_key(|(value, _)| std::cmp::Reverse(*value));
    (has, acts)
}

/// Half a dollar, 0.02 cents a GB of checkpoint and a twentieth of what progress is worth.
fn margin(place: &Place) -> i64 {
    let checkpoint = i64::try_from(place.checkpoint / 5).unwrap_or(i64::MAX);
    500_000_i64.saturating_add(checkpoint).saturating_add(place.worth / 20)
}

fn spot(place: &Place, offer: &Offer, delay_h: f64) -> i64 {
    let useful_h = offer.life_h - delay_h;
    if useful_h <= 0.0 {
        return USELESS;
    }
    let gain = float(place.worth) * useful_h - float(offer.spot.0) * offer.life_h;
    quantised(gain / offer.life_h)
}

fn float(value: i64) -> f64 {
    value as f64
}

/// To whole micro-USD: nothing finer is ever compared.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond 64 bits stays at their end")]
fn quantised(value: f64) -> i64 {
    (value + 0.5).floor() as i64
}
