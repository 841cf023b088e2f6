//! What the cloud has of ours, and what it sells: asked for on a period.

use std::time::Duration;

use control::Input;
use tokio::time::MissedTickBehavior;

use super::Executors;

/// All machines of ours.
pub(super) async fn listings(shared: Executors) {
    let mut ticks = ticks(shared.timing.list_ms);
    loop {
        ticks.tick().await;
        let asked = shared.rows.borrow().now();
        match shared.cloud.list().await {
            Ok(machines) => {
                if shared.lead.ask_one(Input::Listed { machines, asked }).await.is_err() {
                    return;
                }
            }
            Err(fault) => tracing::warn!(%fault, "list"),
        }
    }
}

/// What can be bought.
pub(super) async fn offers(shared: Executors) {
    let mut ticks = ticks(shared.timing.offers_ms);
    loop {
        ticks.tick().await;
        match shared.cloud.offers().await {
            Ok(offers) => {
                if shared.lead.ask_one(Input::Offers(offers)).await.is_err() {
                    return;
                }
            }
            Err(fault) => tracing::warn!(%fault, "offers"),
        }
    }
}

fn ticks(period_ms: u64) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_millis(period_ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
