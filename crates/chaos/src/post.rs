//! What one leader has to say to one node: repeated until a poll says that it was read. As
//! `manager::nodes`.

use std::collections::BTreeMap;

use model::{AttemptId, NodeNotice};

use crate::machine::{Assignment, Orders};

/// The poll by whose answer something was said last; 0 before the first.
type Said = u64;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) body: usize,
    pub(crate) call: u64,
    pub(crate) until_ms: u64,
}

/// One node's.
#[derive(Debug, Default)]
pub(crate) struct Post {
    assign: BTreeMap<AttemptId, (Assignment, Said)>,
    cancel: BTreeMap<AttemptId, Said>,
    retract: BTreeMap<AttemptId, Said>,
    notices: Vec<(NodeNotice, u64, Said)>,
    drain: bool,
    drain_news: Option<Said>,
    arrived: u64,
    poll: u64,
    /// The poll that is open.
    pub(crate) open: Option<Waiting>,
    session: u64,
    acked: Option<u64>,
}

impl Post {
    /// The offset that is expected, when transitions begin past it.
    pub(crate) fn gap(&self, session: u64, offset: u64) -> bool {
        self.acked.is_some_and(|known| self.session == session && offset > known)
    }

    /// Transitions up to there are durable; answers how far all of them are.
    pub(crate) fn taken(&mut self, session: u64, end: u64) -> u64 {
        if self.session != session {
            (self.session, self.acked) = (session, None);
        }
        let end = self.acked.map_or(end, |known| known.max(end));
        self.acked = Some(end);
        end
    }

    pub(crate) fn assign(&mut self, assignment: Assignment) {
        self.assign.insert(assignment.attempt, (assignment, 0));
    }

    pub(crate) fn cancel(&mut self, attempt: AttemptId) {
        self.cancel.insert(attempt, 0);
    }

    pub(crate) fn retract(&mut self, attempt: AttemptId) {
        self.retract.insert(attempt, 0);
    }

    pub(crate) fn notice(&mut self, notice: NodeNotice, now_ms: u64) {
        self.notices.push((notice, now_ms, 0));
    }

    pub(crate) fn drain(&mut self, drain: bool) {
        if drain != self.drain {
            self.drain = drain;
            self.drain_news = Some(0);
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain
    }

    /// An attempt is over. A cancel stays: the node may still have it.
    pub(crate) fn forget(&mut self, attempt: AttemptId) {
        self.assign.remove(&attempt);
        self.retract.remove(&attempt);
    }

    /// A process has joined: it counts its polls from 1, and has read nothing.
    pub(crate) fn joined(&mut self) {
        self.repeat_all();
        (self.arrived, self.poll, self.acked) = (0, 0, None);
    }

    /// A poll comes in; false when it or a later one came before.
    pub(crate) fn arrives(&mut self, poll: u64) -> bool {
        let is_newest = poll > self.arrived;
        self.arrived = self.arrived.max(poll);
        is_newest
    }

    /// Begins a poll; false when it or a later one has begun already: it must not be answered.
    pub(crate) fn begin(&mut self, poll: u64, answered: u64, first: bool) -> bool {
        let unread = |said: Said| said == 0 || said > answered;
        if first {
            self.repeat_all();
        } else {
            self.assign.retain(|_, (_, said)| unread(*said));
            self.cancel.retain(|_, said| unread(*said));
            self.retract.retain(|_, said| unread(*said));
            self.notices.retain(|(_, _, said)| unread(*said));
            self.drain_news = self.drain_news.filter(|said| unread(*said));
        }
        if poll <= self.poll {
            return false;
        }
        self.poll = poll;
        true
    }

    fn repeat_all(&mut self) {
        self.assign.values_mut().for_each(|(_, said)| *said = 0);
        self.cancel.values_mut().for_each(|said| *said = 0);
        self.retract.values_mut().for_each(|said| *said = 0);
        self.notices.iter_mut().for_each(|(_, _, said)| *said = 0);
        self.drain_news = self.drain_news.map(|_| 0);
    }

    pub(crate) fn has_news(&self) -> bool {
        !(self.assign.is_empty()
            && self.cancel.is_empty()
            && self.retract.is_empty()
            && self.notices.is_empty()
            && self.drain_news.is_none())
    }

    /// All of it, as the answer to the current poll.
    pub(crate) fn take(&mut self, now_ms: u64) -> (u64, Orders) {
        let poll = self.poll.max(1);
        let assign = self.assign.values_mut().map(|(assignment, said)| {
            *said = poll;
            assignment.clone()
        });
        let assign = assign.collect();
        let keys = |said: &mut BTreeMap<AttemptId, Said>| {
            said.values_mut().for_each(|said| *said = poll);
            said.keys().copied().collect()
        };
        let (cancel, retract) = (keys(&mut self.cancel), keys(&mut self.retract));
        self.drain_news = self.drain_news.map(|_| poll);
        let notices = self.notices.iter_mut().map(|(notice, since_ms, said)| {
            *said = poll;
            let passed_ms = now_ms.saturating_sub(*since_ms);
            NodeNotice { remaining_ms: notice.remaining_ms.saturating_sub(passed_ms), ..*notice }
        });
        let notices = notices.collect();
        let orders = Orders { assign, cancel, retract, drain: self.drain, notices };
        (self.acked.unwrap_or(0), orders)
    }
}
