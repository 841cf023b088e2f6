//! Open intents -> launches: unchanged, until there is a clear answer or nearly ten minutes have passed:
//! an old wish is better planned anew.

use std::collections::HashMap;
use std::time::Duration;

use cloud::CloudError;
use control::Input;
use model::IntentId;
use tokio::time::Instant;

use super::Executors;

/// Before the same request is sent again; doubles up to [`MAX_WAIT`].
const WAIT: Duration = Duration::from_secs(1);
/// A cloud that is down for long is asked twice a minute.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// When an intent may be sent again, and how long to wait after that.
struct Retry {
    at: Instant,
    wait: Duration,
}

/// Sends launches one after another: a cloud that throttles is never fanned out to (DESIGN §4.7).
pub(super) async fn run(mut shared: Executors) {
    let mut retries: HashMap<IntentId, Retry> = HashMap::new();
    let mut paused_until = Instant::now();
    loop {
        let (intents, leader_now) = {
            let rows = shared.rows.borrow_and_update();
            (rows.intents.clone(), rows.now())
        };
        retries.retain(|id, _| intents.iter().any(|intent| intent.id == *id));
        let now = Instant::now();
        let due = intents.iter().find(|intent| {
            intent.may_be_sent(leader_now)
                && paused_until <= now
                && retries.get(&intent.id).is_none_or(|retry| retry.at <= now)
        });
        let Some(intent) = due else {
            let next = retries.values().map(|retry| retry.at.max(paused_until)).min();
            tokio::select! {
                changed = shared.rows.changed() => if changed.is_err() { return },
                () = sleep_until_some(next.or_else(|| (paused_until > now).then_some(paused_until))) => {}
            }
            continue;
        };
        let answer = shared.cloud.launch(intent).await;
        let wait = retries.get(&intent.id).map_or(WAIT, |retry| (retry.wait * 2).min(MAX_WAIT));
        retries.insert(intent.id, Retry { at: Instant::now() + wait, wait });
        if let Err(CloudError::Throttled { wait_ms }) = &answer {
            paused_until = Instant::now() + Duration::from_millis(*wait_ms);
        }
        if let Err(fault) = &answer {
            tracing::warn!(intent = %intent.id, %fault, "launch");
        }
        // The rows that follow from the answer are there when this returns.
        let input = Input::Launched { intent: intent.id, answer };
        if shared.lead.ask_one(input).await.is_err() {
            return;
        }
    }
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
