//! Jobs that others come after, and that World does not have: whether they are settled stands in
//! their rows.

use std::time::Duration;

use control::Input;

use super::Executors;

/// Between two looks while somebody waits: such a job ends by a step of ours, which tells it at
/// once; only what was settled before this leader began, or waits in its table, is found here.
const PERIOD: Duration = Duration::from_millis(500);

/// Looks the jobs up that the step asks for, as long as it asks.
pub(super) async fn run(mut shared: Executors) {
    loop {
        let wanted: Vec<_> = shared.rows.borrow_and_update().lookup.iter().copied().collect();
        if wanted.is_empty() {
            if shared.rows.changed().await.is_err() {
                return;
            }
            continue;
        }
        match shared.store.statuses(&wanted).await {
            Ok(settled) if settled.is_empty() => {}
            Ok(settled) => {
                let input = Input::DependenciesSettled(settled);
                if shared.lead.ask_one(input).await.is_err() {
                    return;
                }
            }
            Err(fault) => tracing::warn!(%fault, "jobs that others come after"),
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            changed = shared.rows.changed() => if changed.is_err() { return },
        }
    }
}
