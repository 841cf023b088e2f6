//! Jobs that others come after, and that World does not have: whether they are settled stands in
//! their rows.

use std::time::Duration;

use control::Input;
use model::JobId;

use super::Executors;

/// Between two looks while somebody waits: such a job ends by a step of ours, which tells it at
/// once; only what was settled before this leader began, or waits in its table, is found here.
const PERIOD: Duration = Duration::from_millis(500);

/// Looks the jobs up that the step asks for, as long as it asks.
pub(super) async fn run(mut shared: Executors) {
    loop {
        let wanted = match shared.rows.wait_for(|rows| !rows.lookup.is_empty()).await {
            Ok(rows) => rows.lookup.clone(),
            Err(_) => return,
        };
        let ids: Vec<JobId> = wanted.iter().copied().collect();
        match shared.store.statuses(&ids).await {
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
            other = shared.rows.wait_for(|rows| rows.lookup != wanted) => {
                if other.is_err() {
                    return;
                }
            }
        }
    }
}
