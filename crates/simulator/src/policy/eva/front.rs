//! Offers that no other beats.

use std::collections::BTreeMap;

use model::{PurchaseOption, Resources};

use crate::arena::Desk;
use crate::policy::packing::{Offer, Shelf};

/// An offer with what its machines hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The offer.
    pub offer: Offer,
    /// What tasks can use of one.
    pub capacity: Resources,
}

/// What is worth buying now, the cheapest first: offers that are to be had and for which no other
/// holds as much at the same price or less. Types that are beaten so are never bought, and so a
/// catalogue of a thousand types is about a hundred.
#[derive(Debug, Default)]
pub(crate) struct Front {
    shelf: Shelf,
    list: Option<Vec<Choice>>,
}

impl Front {
    /// Forgets what news has changed.
    pub(crate) fn heed(&mut self, desk: &Desk) {
        use crate::arena::News;
        self.shelf.heed(desk);
        let moved = |news: &News| matches!(news, News::Moved(_) | News::Reclaimed(..));
        if desk.news().iter().any(moved) {
            self.list = None;
        }
    }

    /// A machine was bought, or has ended: its pool may have run dry, or has room again.
    pub(crate) fn touch(&mut self, desk: &Desk, pool: usize, option: PurchaseOption) {
        if option == PurchaseOption::Spot && desk.room(pool) <= 1 {
            self.list = None;
        }
    }

    /// What is worth buying now.
    pub(crate) fn now(&mut self, desk: &Desk) -> &[Choice] {
        let shelf = &self.shelf;
        self.list.get_or_insert_with(|| unbeaten(shelf, desk, &BTreeMap::new()))
    }

    /// The same when so many of some pools' spot machines are spoken for.
    pub(crate) fn without(&self, desk: &Desk, taken: &BTreeMap<usize, u32>) -> Vec<Choice> {
        unbeaten(&self.shelf, desk, taken)
    }
}

fn unbeaten(shelf: &Shelf, desk: &Desk, taken: &BTreeMap<usize, u32>) -> Vec<Choice> {
    let mut list: Vec<Choice> = Vec::new();
    for offer in shelf.offers() {
        let spoken_for = taken.get(&offer.pool).copied().unwrap_or(0);
        if offer.is_spot && desk.room(offer.pool) <= spoken_for {
            continue;
        }
        let Some(pool) = desk.recording().pools.get(offer.pool) else { continue };
        let capacity = pool.capacity;
        if !list.iter().any(|other| other.capacity.holds(&capacity)) {
            list.push(Choice { offer: *offer, capacity });
        }
    }
    list
}
