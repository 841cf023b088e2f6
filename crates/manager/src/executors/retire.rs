//! Retiring nodes -> the cloud ends their machines, in one call, until it says that they are gone.

use std::time::Duration;

use control::Input;

use super::Executors;

/// Before a machine that is still there is ended again; doubles up to [`MAX_WAIT`].
const WAIT: Duration = Duration::from_secs(1);
/// Somebody pays for a machine that does not end.
const MAX_WAIT: Duration = Duration::from_secs(15);

pub(super) async fn run(mut shared: Executors) {
    let mut wait = WAIT;
    loop {
        let retiring = shared.rows.borrow_and_update().retiring.clone();
        if retiring.is_empty() {
            wait = WAIT;
            if shared.rows.changed().await.is_err() {
                return;
            }
            continue;
        }
        match shared.cloud.retire(&retiring).await {
            Ok(instances) if !instances.is_empty() => {
                if shared.lead.ask_one(Input::Retired { instances }).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!(machines = retiring.len(), %fault, "retire"),
        }
        let left = |now: &Vec<model::InstanceId>| retiring.iter().any(|old| now.contains(old));
        if left(&shared.rows.borrow().retiring) {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(MAX_WAIT);
        } else {
            wait = WAIT;
        }
    }
}
