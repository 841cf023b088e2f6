//! Why nothing is bought for an ask, in words.

use model::{Ask, Offer, Purchase};
use scheduler::{Listed, lacks, missing_ppm};

use crate::Problem;
use crate::budget::Budget;
use crate::market::{effective_price, suits};

/// The offer that comes nearest to the ask, and what it lacks.
pub fn nearest(problem: &Problem, ask: &Ask) -> String {
    why_refused(problem, ask, &Budget::of(problem))
}

/// [`nearest`], given what is ordered already.
pub(crate) fn why_refused(problem: &Problem, ask: &Ask, budget: &Budget) -> String {
    let offers = || problem.offers.iter();
    let least = |offer: &&Offer| (effective_price(offer), offer.pool.clone());
    if let Some(offer) = offers().filter(|offer| suits(ask, offer)).min_by_key(least) {
        return match budget.headroom(offer) {
            (0, stop) => format!("{} would do, but {stop} is reached", offer.pool),
            _ => format!("{} will do, at {} an hour", offer.pool, offer.price),
        };
    }
    let allowed = |offer: &&Offer| ask.constraints.allow_pool(&offer.pool);
    let missing = |offer: &&Offer| {
        (missing_ppm(&offer.capacity, &ask.resources), effective_price(offer), offer.pool.clone())
    };
    if let Some(offer) = offers().filter(allowed).min_by_key(missing) {
        let what = lacks(&offer.capacity, &ask.resources);
        return format!(
            "no offer is large enough: the nearest, {} ({}), lacks {}",
            offer.pool,
            offer.capacity,
            Listed(&what)
        );
    }
    let fits = |offer: &&Offer| offer.capacity.holds(&ask.resources);
    if let Some(offer) = offers().filter(fits).min_by_key(least) {
        return format!("{} is large enough, but {}", offer.pool, Listed(&objections(ask, offer)));
    }
    match offers().min_by_key(missing) {
        Some(offer) => {
            let lacking = lacks(&offer.capacity, &ask.resources);
            let mut why = vec![format!("it lacks {}", Listed(&lacking))];
            why.extend(objections(ask, offer));
            format!("{} comes nearest, but {}", offer.pool, Listed(&why))
        }
        None => "nothing is on offer".to_owned(),
    }
}

fn objections(ask: &Ask, offer: &Offer) -> Vec<String> {
    let constraints = &ask.constraints;
    let mut why = Vec::new();
    if !constraints.purchase.allows(offer.pool.option) {
        let wanted = match constraints.purchase {
            Purchase::Spot => "spot",
            Purchase::OnDemand => "on-demand",
            Purchase::SpotThenOnDemand => "either",
        };
        why.push(format!("only {wanted} is asked for"));
    }
    if !constraints.zones.is_empty() && !constraints.zones.contains(&offer.pool.zone) {
        why.push("the zone is not asked for".to_owned());
    }
    let types = &constraints.instance_types;
    if !types.is_empty() && !types.contains(&offer.pool.instance_type) {
        why.push("the type is not asked for".to_owned());
    }
    why
}
