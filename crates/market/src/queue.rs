//! The queue of notices on the cloud's side: each is delivered again until it is acknowledged.

use std::collections::BTreeMap;

use model::{Notice, Timestamp};
use serde::{Deserialize, Serialize};

/// A notice that was received is not delivered again for so long (SQS calls it the visibility
/// time-out): a commit takes milliseconds, so one without acknowledgement by then is lost.
const INVISIBLE_MS: i64 = 5_000;

/// A notice that nobody fetched is dropped after a day; the listing tells its end by then.
const KEEP_MS: u64 = 86_400_000;

/// Notices not yet acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// Counts all notices ever queued.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    notice: Notice,
    queued: Timestamp,
    /// Not delivered before this.
    visible: Timestamp,
}

/// A notice with what it takes to delete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// For [`crate::Market::acknowledge`].
    pub receipt: String,
    /// What it says.
    pub notice: Notice,
}

impl Queue {
    pub(crate) fn push(&mut self, notice: Notice, now: Timestamp) {
        self.waiting.insert(self.next, Waiting { notice, queued: now, visible: now });
        self.next += 1;
    }

    pub(crate) fn receive(&mut self, now: Timestamp) -> Vec<Received> {
        let visible = self.waiting.iter_mut().filter(|(_, waiting)| waiting.visible <= now);
        visible
            .map(|(number, waiting)| {
                waiting.visible = now.plus_ms(INVISIBLE_MS);
                Received { receipt: format!("r-{number}"), notice: waiting.notice.clone() }
            })
            .collect()
    }

    /// True when it was there.
    pub(crate) fn acknowledge(&mut self, receipt: &str) -> bool {
        let number = receipt.strip_prefix("r-").and_then(|number| number.parse().ok());
        number.is_some_and(|number: u64| self.waiting.remove(&number).is_some())
    }

    /// Whoever had received is no more: everything is delivered again at once.
    pub(crate) fn redeliver(&mut self, now: Timestamp) {
        for waiting in self.waiting.values_mut() {
            waiting.visible = waiting.visible.min(now);
        }
    }

    pub(crate) fn trim(&mut self, now: Timestamp) {
        self.waiting.retain(|_, waiting| now.since(waiting.queued) < KEEP_MS);
    }

    pub(crate) fn deliverable(&self, now: Timestamp) -> bool {
        self.waiting.values().any(|waiting| waiting.visible <= now)
    }

    /// When the next one becomes visible that is not now.
    pub(crate) fn next_delivery(&self, now: Timestamp) -> Option<Timestamp> {
        self.waiting.values().map(|waiting| waiting.visible).filter(|at| *at > now).min()
    }
}
