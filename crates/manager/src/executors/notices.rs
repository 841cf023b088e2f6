//! Notices of the cloud -> inputs; deleted from its queue only when they are committed.

use std::time::Duration;

use control::Input;

use super::Executors;

/// After a fault of the queue: a notice is a deadline, so not long.
const WAIT: Duration = Duration::from_millis(500);
/// A queue that answers at once with nothing would spin.
const EMPTY_WAIT: Duration = Duration::from_millis(50);

pub(super) async fn run(shared: Executors) {
    loop {
        let received = match shared.cloud.notices().await {
            Ok(received) => received,
            Err(fault) => {
                tracing::warn!(%fault, "notices");
                tokio::time::sleep(WAIT).await;
                continue;
            }
        };
        if received.is_empty() {
            tokio::time::sleep(EMPTY_WAIT).await;
            continue;
        }
        let mut receipts = Vec::with_capacity(received.len());
        let mut inputs = Vec::with_capacity(received.len());
        for one in received {
            let (instance, kind, deadline) =
                (&one.notice.instance, one.notice.kind, one.notice.deadline);
            tracing::info!(%instance, ?kind, %deadline, "notice received");
            receipts.push(one.receipt);
            inputs.push(Input::Notice(one.notice));
        }
        if shared.lead.ask(inputs).await.is_err() {
            return;
        }
        // Not deleted, they come again, and mean nothing the second time.
        if let Err(fault) = shared.cloud.acknowledge(&receipts).await {
            tracing::warn!(%fault, "acknowledge");
        }
    }
}
