//! The lease: taken and renewed by the database's clock, trusted by our own only until a margin
//! before the end of what was asked for, counted from before the asking.

use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio::sync::watch;
use tokio::time::Instant;

/// Who asks, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) replica: String,
    pub(super) lease_ms: u64,
    pub(super) margin_ms: u64,
}

impl Terms {
    /// Until when a lease is trusted that was asked for at `asked`.
    pub(super) fn until(&self, asked: Instant) -> Instant {
        asked + Duration::from_millis(self.lease_ms.saturating_sub(self.margin_ms))
    }

    /// Three chances within a lease.
    fn period(&self) -> Duration {
        Duration::from_millis((self.lease_ms / 4).max(1))
    }
}

/// Renews until it is told to stop or another one leads. Moves `until` on with each success; the
/// reign ends by itself when it stands still.
pub(super) async fn renew(
    store: Arc<Store>,
    terms: Terms,
    term: u64,
    until: watch::Sender<Instant>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(terms.period()) => {}
            () = until.closed() => return,
        }
        let asked = Instant::now();
        match store.renew(&terms.replica, term, terms.lease_ms).await {
            Ok(true) => {
                until.send_replace(terms.until(asked));
            }
            Ok(false) => {
                tracing::warn!(term, "the lease went to another replica");
                until.send_replace(asked);
                return;
            }
            Err(fault) => tracing::warn!(term, %fault, "the lease could not be renewed"),
        }
    }
}
