//! What the leader has to say to nodes, from the moment that it is durable until it was read.

mod acked;
mod connections;
mod outbox;
mod tails;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::sync::{SyncAnswer, TailRequest};
use bytes::Bytes;
use model::{AttemptId, NodeId};
use tokio::sync::Notify;

use self::acked::Acked;
pub(crate) use self::connections::{ConnectionId, Connections};
use self::outbox::Outbox;
pub(crate) use self::outbox::{Orders, Work};
pub(crate) use self::tails::Follower;
use self::tails::{Delivered, Tails};

/// The mailboxes of one term. A new leader begins with none: the first sync of a term brings the
/// node's inventory, and the step says again what the node lacks.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    mailboxes: Mutex<HashMap<NodeId, Arc<Mailbox>>>,
    /// Streams that somebody reads.
    tails: Tails,
}

/// What waits for one node, and whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    outbox: Mutex<Outbox>,
    acked: Mutex<Acked>,
    news: Notify,
}

impl Hub {
    /// A node's mailbox.
    pub(crate) fn mailbox(&self, node: NodeId) -> Arc<Mailbox> {
        Arc::clone(locked(&self.mailboxes).entry(node).or_default())
    }

    /// A node's process has joined.
    pub(crate) fn joined(&self, node: NodeId) {
        locked(&self.mailbox(node).outbox).joined();
        self.spool_joined(node);
    }

    /// A poll comes in; false when it or a later one of its process came before.
    pub(crate) fn poll_arrives(&self, node: NodeId, poll: u64) -> bool {
        locked(&self.mailbox(node).outbox).arrives(poll)
    }

    /// Durable commands for a node.
    pub(crate) fn deliver(&self, node: NodeId, orders: Orders) {
        let mailbox = self.mailbox(node);
        locked(&mailbox.outbox).add(orders, Instant::now());
        mailbox.news.notify_waiters();
    }

    /// An attempt is over: what was not yet said of it need not be.
    pub(crate) fn forget_attempt(&self, node: NodeId, attempt: AttemptId) {
        let mailbox = locked(&self.mailboxes).get(&node).cloned();
        if let Some(mailbox) = mailbox {
            locked(&mailbox.outbox).forget(attempt);
        }
        self.tails.end(attempt);
    }

    /// A node is gone: its open poll ends.
    pub(crate) fn forget_node(&self, node: NodeId) {
        if let Some(mailbox) = locked(&self.mailboxes).remove(&node) {
            locked(&mailbox.outbox).supersede();
            mailbox.news.notify_waiters();
        }
    }

    /// Begins to read a stream of a running attempt from `offset`.
    pub(crate) fn follow(&self, node: NodeId, request: TailRequest) -> Follower {
        let TailRequest { attempt, stream, offset } = request;
        let follower = self.tails.follow(attempt, stream, node, offset);
        self.want_tail(node, request);
        follower
    }

    fn want_tail(&self, node: NodeId, request: TailRequest) {
        let mailbox = self.mailbox(node);
        locked(&mailbox.outbox).want_tail(request);
        mailbox.news.notify_waiters();
    }

    /// A node sent what a stream has from `offset` on. False when nobody reads it any more.
    pub(crate) async fn deliver_tail(
        &self,
        node: NodeId,
        request: TailRequest,
        bytes: &Bytes,
    ) -> bool {
        let TailRequest { attempt, stream, offset } = request;
        match self.tails.deliver(node, (attempt, stream), offset, bytes).await {
            Delivered::Nobody => false,
            Delivered::Taken => true,
            Delivered::Behind(offset) => {
                self.want_tail(node, TailRequest { offset, ..request });
                true
            }
        }
    }
}

/// A poll of which the leader has taken all that it brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// Its number.
    pub(crate) number: u64,
    /// The highest one whose answer was read.
    pub(crate) answered: u64,
    /// Whether it is the first of a process or of a term.
    pub(crate) is_first: bool,
    /// Whether it is answered even if there is nothing to say.
    pub(crate) at_once: bool,
    /// How long it waits otherwise.
    pub(crate) patience: Duration,
}

impl Mailbox {
    /// Waits until there is something to say to this poll. The answer lacks term and offset. `None` for
    /// a poll that came late or twice: it must not be answered.
    pub(crate) async fn answer(&self, poll: Poll) -> Option<SyncAnswer> {
        let begun = locked(&self.outbox).begin(poll.number, poll.answered, poll.is_first);
        // Whoever waits for the older poll of this node is answered now.
        self.news.notify_waiters();
        let nothing =
            || SyncAnswer { drain: locked(&self.outbox).drain(), ..SyncAnswer::default() };
        let ticket = begun?;
        let end = tokio::time::Instant::now() + poll.patience;
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on no news is missed, also not between the look and the wait.
            news.as_mut().enable();
            if let Some(answer) = self.look(ticket, poll.at_once) {
                return Some(answer);
            }
            if tokio::time::timeout_at(end, news).await.is_err() {
                return Some(nothing());
            }
        }
    }

    /// Assignments of the last answer that had no room in it: they are for the next.
    pub(crate) fn say_again(&self, attempts: &[AttemptId]) {
        if !attempts.is_empty() {
            locked(&self.outbox).say_again(attempts);
        }
    }

    /// The answer, if there is something to say or somebody else to say it to.
    fn look(&self, ticket: u64, at_once: bool) -> Option<SyncAnswer> {
        let mut outbox = locked(&self.outbox);
        if !outbox.is_current(ticket) {
            return Some(SyncAnswer { drain: outbox.drain(), ..SyncAnswer::default() });
        }
        (at_once || outbox.has_news()).then(|| outbox.take(Instant::now()))
    }
}

/// A lock whose holder panicked is still a lock: what it guards is replaced whole or not at all.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
