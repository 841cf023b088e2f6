//! What is for sale, the cheapest first.

use std::collections::BTreeMap;

use model::{MicroUsd, PurchaseOption, Resources};

use crate::arena::{Desk, News};

/// A pool and how it is paid for. At one price what nobody takes back comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offer {
    /// Price an hour.
    pub price: MicroUsd,
    /// Whether it may be taken back.
    pub is_spot: bool,
    /// Which of the recording's pools.
    pub pool: usize,
}

impl Offer {
    /// How it is paid for.
    pub(crate) fn option(&self) -> PurchaseOption {
        if self.is_spot { PurchaseOption::Spot } else { PurchaseOption::OnDemand }
    }

    /// Whether one is to be had now.
    pub(crate) fn is_there(&self, desk: &Desk) -> bool {
        !self.is_spot || desk.room(self.pool) > 0
    }
}

/// All offers by present price, and for each ask those that hold it.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    offers: Vec<Offer>,
    fitting: BTreeMap<Resources, Vec<Offer>>,
}

impl Shelf {
    /// Sorts anew when prices may have moved; tells whether it did.
    pub(crate) fn heed(&mut self, desk: &Desk) -> bool {
        let moved = desk.news().iter().any(|news| matches!(news, News::Moved(_)));
        let is_stale = moved || self.offers.is_empty();
        if is_stale {
            self.offers = offers(desk);
            self.fitting.clear();
        }
        is_stale
    }

    /// The cheapest first.
    pub(crate) fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// Those that hold an ask, the cheapest first, whether one is to be had now or not.
    pub(crate) fn fitting(&mut self, desk: &Desk, ask: Resources) -> &[Offer] {
        let pools = &desk.recording().pools;
        let holds =
            |offer: &&Offer| pools.get(offer.pool).is_some_and(|pool| pool.capacity.holds(&ask));
        let offers = &self.offers;
        self.fitting.entry(ask).or_insert_with(|| offers.iter().filter(holds).copied().collect())
    }

    /// The cheapest that is to be had now and holds an ask.
    pub(crate) fn cheapest(&mut self, desk: &Desk, ask: Resources) -> Option<Offer> {
        self.fitting(desk, ask).iter().find(|offer| offer.is_there(desk)).copied()
    }
}

fn offers(desk: &Desk) -> Vec<Offer> {
    let pools = 0..desk.recording().pools.len();
    let mut offers: Vec<Offer> = pools
        .flat_map(|pool| [false, true].map(|is_spot| Offer { price: MicroUsd(0), is_spot, pool }))
        .map(|offer| Offer { price: desk.price(offer.pool, offer.option()), ..offer })
        .collect();
    offers.sort_unstable();
    offers
}
