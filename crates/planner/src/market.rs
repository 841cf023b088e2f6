//! Offers compared: what a task is worth, and what an offer costs for what would be packed on it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use model::{Ask, Clamp, Offer, Pool, Purchase, PurchaseOption};

use crate::budget::Budget;
use crate::problem::Order;
use crate::{MAX_POOL_SHARE_PPM, NEAR_PPM, Problem, WASTE_PER_INTERRUPTION_MS};

/// How many further asks are looked at for what would fill a machine up.
const FILLERS: usize = 8;
/// Offers whose cost is within 5 % are equals; their sizes then decide.
const EQUAL_PPM: u128 = 1_050_000;
/// Among equals: this many machines, as a power of two, for the demand. Fewer and an interruption
/// takes too large a part of the work; more are only more to boot and to manage.
const WANTED_MACHINES_LOG2: u32 = 2;

/// What is sold, and what each order is worth.
pub(crate) struct Market<'a> {
    /// By pool.
    pub(crate) offers: Vec<&'a Offer>,
    /// Per order, the least that one of its tasks costs an hour on a machine filled with them, in
    /// nano-dollars; 0 when no offer will do, or nothing is to be bought for it.
    worth: Vec<u64>,
}

/// An offer for an order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    pub(crate) offer: &'a Offer,
    /// How many machines to buy of it now; never 0.
    pub(crate) machines: u64,
}

#[derive(Debug, Clone, Copy)]
struct Quote<'a> {
    offer: &'a Offer,
    /// Tasks on a machine.
    fits: u64,
    /// Machines for the whole rest, as far as the limits allow.
    machines: u64,
    headroom: u64,
    /// Effective price over the worth of what would be packed, in millionths.
    cost_ppm: u128,
}

/// The price an hour, raised by what interruptions are thought to waste; in micro-dollars.
pub(crate) fn effective_price(offer: &Offer) -> u64 {
    const PPM_MS_PER_HOUR: u128 = 3_600_000 * 1_000_000;
    let price: u64 = offer.price.0.clamped();
    let waste = u128::from(price)
        * u128::from(offer.hazard_ppm_hour)
        * u128::from(WASTE_PER_INTERRUPTION_MS)
        / PPM_MS_PER_HOUR;
    price.saturating_add(waste.clamped())
}

/// Whether a machine of this offer could run a task of this ask.
pub(crate) fn suits(ask: &Ask, offer: &Offer) -> bool {
    offer.capacity.holds(&ask.resources) && ask.constraints.allow_pool(&offer.pool)
}

impl<'a> Market<'a> {
    /// For the tasks of each order that have no place yet.
    pub(crate) fn new(problem: &'a Problem, orders: &[Order<'_>], rest: &[u64]) -> Self {
        let mut offers: Vec<&Offer> = problem.offers.iter().collect();
        offers.sort_by(|one, other| one.pool.cmp(&other.pool));
        offers.dedup_by(|one, other| one.pool == other.pool);
        let worth = |(order, rest): (&Order<'_>, &u64)| match rest {
            0 => 0,
            _ => worth(&offers, order.ask),
        };
        let worth = orders.iter().zip(rest).map(worth).collect();
        Self { offers, worth }
    }

    /// The offer to buy next for the order at `ordinal`, of which and of those after it so many
    /// tasks are left; none when no offer that suits is within the limits.
    pub(crate) fn choose(
        &self,
        orders: &[Order<'_>],
        ordinal: usize,
        rest: &[u64],
        budget: &Budget,
        bought: &BTreeMap<&Pool, u64>,
    ) -> Option<Choice<'a>> {
        let quotes = self.quotes(orders, ordinal, rest, budget);
        let least = quotes.iter().map(|quote| quote.cost_ppm).min()?;
        let near = |quote: &Quote<'_>| {
            quote.cost_ppm.saturating_mul(1_000_000) <= least.saturating_mul(NEAR_PPM.into())
        };
        let near: Vec<Quote<'_>> = quotes.into_iter().filter(near).collect();
        let spread = near.len() > 1;
        let left = rest.get(ordinal).copied().unwrap_or_default();
        let share = |quote: &Quote<'_>| {
            if spread { pool_share_left(bought, quote) } else { u64::MAX }
        };
        let best = near.iter().min_by_key(|quote| {
            let covered = budget.tasks_left(quote.offer, quote.fits).min(left);
            let equal = quote.cost_ppm.saturating_mul(1_000_000) <= least.saturating_mul(EQUAL_PPM);
            (
                share(quote) == 0,
                Reverse(covered),
                if equal { 0 } else { quote.cost_ppm },
                quote.machines.max(1).ilog2().abs_diff(WANTED_MACHINES_LOG2),
                quote.machines,
                quote.cost_ppm,
                quote.offer.price,
                &quote.offer.pool,
            )
        })?;
        let whole = (left / best.fits).max(1);
        let machines = whole.min(best.headroom).min(share(best).max(1));
        Some(Choice { offer: best.offer, machines })
    }

    fn quotes(
        &self,
        orders: &[Order<'_>],
        ordinal: usize,
        rest: &[u64],
        budget: &Budget,
    ) -> Vec<Quote<'a>> {
        let Some(order) = orders.get(ordinal) else { return Vec::new() };
        let fillers: Vec<usize> = (ordinal + 1..orders.len())
            .filter(|at| rest.get(*at).is_some_and(|count| *count > 0))
            .take(FILLERS)
            .collect();
        let mut quotes: Vec<Quote<'_>> = self
            .offers
            .iter()
            .filter(|offer| suits(order.ask, offer))
            .filter_map(|offer| {
                let (headroom, _) = budget.headroom(offer);
                (headroom > 0).then(|| self.quote(orders, ordinal, rest, &fillers, offer, headroom))
            })
            .collect();
        // On-demand is the last resort: only where no spot that will do can be had.
        let is_spot = |quote: &Quote<'_>| quote.offer.pool.option == PurchaseOption::Spot;
        if order.ask.constraints.purchase == Purchase::SpotThenOnDemand
            && quotes.iter().any(is_spot)
        {
            quotes.retain(is_spot);
        }
        quotes
    }

    fn quote(
        &self,
        orders: &[Order<'_>],
        ordinal: usize,
        rest: &[u64],
        fillers: &[usize],
        offer: &'a Offer,
        headroom: u64,
    ) -> Quote<'a> {
        let ask = orders.get(ordinal).map(|order| order.ask.resources).unwrap_or_default();
        let left = rest.get(ordinal).copied().unwrap_or_default();
        let worth = |at: usize| u128::from(self.worth.get(at).copied().unwrap_or_default());
        let fits = u64::from(offer.capacity.times(&ask)).max(1);
        let needed = left.div_ceil(fits);
        let mut packed = u128::from(fits.min(left)) * worth(ordinal);
        let mut free = offer.capacity - ask.scaled(fits.min(left).clamped());
        for at in fillers {
            let Some(filler) = orders.get(*at) else { continue };
            if !suits(filler.ask, offer) {
                continue;
            }
            // Its tasks are shared out over all the machines that this order needs.
            let each = rest.get(*at).copied().unwrap_or_default() / needed.max(1);
            let count: u32 = each.min(free.times(&filler.ask.resources).into()).clamped();
            packed += u128::from(count) * worth(*at);
            free -= filler.ask.resources.scaled(count);
        }
        const NANO_PPM: u128 = 1_000 * 1_000_000;
        let cost_ppm = u128::from(effective_price(offer)) * NANO_PPM / packed.max(1);
        Quote { offer, fits, machines: needed.min(headroom), headroom, cost_ppm }
    }
}

/// How many machines the pool may still get of this plan, were the whole rest bought this way.
fn pool_share_left(bought: &BTreeMap<&Pool, u64>, quote: &Quote<'_>) -> u64 {
    let total: u64 = bought.values().sum::<u64>() + quote.machines;
    let most = u128::from(total) * u128::from(MAX_POOL_SHARE_PPM);
    let most: u64 = most.div_ceil(1_000_000).clamped();
    most.saturating_sub(bought.get(&quote.offer.pool).copied().unwrap_or_default())
}

fn worth(offers: &[&Offer], ask: &Ask) -> u64 {
    let least = |option: Option<PurchaseOption>| {
        offers
            .iter()
            .filter(|offer| option.is_none_or(|option| offer.pool.option == option))
            .filter(|offer| suits(ask, offer))
            .map(|offer| {
                let fits = u64::from(offer.capacity.times(&ask.resources)).max(1);
                effective_price(offer).saturating_mul(1_000) / fits
            })
            .min()
    };
    let wanted = match ask.constraints.purchase {
        Purchase::SpotThenOnDemand => least(Some(PurchaseOption::Spot)),
        Purchase::Spot | Purchase::OnDemand => None,
    };
    wanted.or_else(|| least(None)).unwrap_or_default()
}
