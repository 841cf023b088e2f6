//! A look at a pool that costs a minute of it.

use market::recorded::Ended;
use model::PurchaseOption;

use crate::arena::Desk;

/// EC2 bills so much of a machine that is ended at once.
const PROBE_MS: u64 = 60_000;

impl Desk {
    /// Asks a pool for a spot machine and ends it at once; whether there was one. It costs a minute,
    /// in a market that bills by ticks too: nobody holds it for a tick. The minute is idle.
    pub fn probe(&mut self, pool: usize) -> bool {
        let bought = self.market.launch(pool, PurchaseOption::Spot);
        let Some(ended) = bought.and_then(|no| self.market.end(no)) else { return false };
        let billed_ms = (ended.at_ms, ended.at_ms.saturating_add(PROBE_MS));
        let cost = self.market.cost(pool, PurchaseOption::Spot, billed_ms);
        self.books.ended(&self.market, &Ended { billed_ms, cost, ..ended });
        true
    }
}
