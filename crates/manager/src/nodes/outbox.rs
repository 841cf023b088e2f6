//! The commands for one node, repeated until a poll says that it has read them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use api::sync::{Assignment, GroupWork, Stream, SyncAnswer, TailRequest};
use model::{AttemptId, GroupId, NodeNotice};

/// Assignments of one answer: the rest follows in the next, so that bodies stay bounded.
const MAX_ASSIGNED: usize = 5_000;

/// Commands with all that a node needs to carry them out; the specs are the leader's own.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Attempts to run.
    pub(crate) assign: Vec<(Assignment, Work)>,
    /// Attempts to stop.
    pub(crate) cancel: Vec<AttemptId>,
    /// Held attempts to give back.
    pub(crate) retract: Vec<AttemptId>,
    /// Whether it starts nothing more.
    pub(crate) drain: Option<bool>,
    /// What was announced for it.
    pub(crate) notices: Vec<NodeNotice>,
}

/// What an assignment's group shares.
pub(crate) type Work = Arc<GroupWork>;

/// The poll by whose answer something was said last; 0 before the first.
type Said = u64;

/// What is not yet known to be read.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    assign: BTreeMap<AttemptId, (Assignment, Work, Said)>,
    cancel: BTreeMap<AttemptId, Said>,
    retract: BTreeMap<AttemptId, Said>,
    /// From where which streams are read.
    tails: BTreeMap<(AttemptId, Stream), (u64, Said)>,
    notices: Vec<(NodeNotice, Instant, Said)>,
    drain: bool,
    /// Whether `drain` has changed, and who was told.
    drain_news: Option<Said>,
    /// The highest poll that came in, and the highest whose news were taken in.
    arrived: u64,
    poll: u64,
    /// Counts polls that were begun or ended from outside: only the newest is answered.
    ticket: u64,
}

impl Outbox {
    pub(super) fn add(&mut self, orders: Orders, now: Instant) {
        for (assignment, work) in orders.assign {
            self.assign.insert(assignment.attempt, (assignment, work, 0));
        }
        self.cancel.extend(orders.cancel.into_iter().map(|attempt| (attempt, 0)));
        self.retract.extend(orders.retract.into_iter().map(|attempt| (attempt, 0)));
        self.notices.extend(orders.notices.into_iter().map(|notice| (notice, now, 0)));
        if let Some(drain) = orders.drain.filter(|drain| *drain != self.drain) {
            self.drain = drain;
            self.drain_news = Some(0);
        }
    }

    /// A stream is read, from there.
    pub(super) fn want_tail(&mut self, request: TailRequest) {
        self.tails.insert((request.attempt, request.stream), (request.offset, 0));
    }

    /// An attempt is over. A cancel stays: the node may still have it.
    pub(super) fn forget(&mut self, attempt: AttemptId) {
        self.assign.remove(&attempt);
        self.retract.remove(&attempt);
        self.tails.retain(|(of, _), _| *of != attempt);
    }

    /// These assignments were not said after all.
    pub(super) fn say_again(&mut self, attempts: &[AttemptId]) {
        for attempt in attempts {
            if let Some((_, _, said)) = self.assign.get_mut(attempt) {
                *said = 0;
            }
        }
    }

    /// A process has joined: it counts its polls from 1, and has read nothing.
    pub(super) fn joined(&mut self) {
        self.repeat_all();
        self.arrived = 0;
        self.poll = 0;
    }

    /// A poll comes in; false when it or a later one came before. What such a one says of all that its
    /// node has is of the past.
    pub(super) fn arrives(&mut self, poll: u64) -> bool {
        let is_newest = poll > self.arrived;
        self.arrived = self.arrived.max(poll);
        is_newest
    }

    /// Begins a poll that has read the answers up to `answered`; `None` when it or a later one has
    /// begun already: then it must not be answered, or the node would take what was said to the other
    /// of the two for read. `first` is the first poll of a process or of a term: nothing was read by it.
    pub(super) fn begin(&mut self, poll: u64, answered: u64, first: bool) -> Option<u64> {
        if first {
            self.repeat_all();
        } else {
            self.forget_read(answered);
        }
        if poll <= self.poll {
            return None;
        }
        self.poll = poll;
        self.ticket += 1;
        Some(self.ticket)
    }

    fn repeat_all(&mut self) {
        self.assign.values_mut().for_each(|(_, _, said)| *said = 0);
        self.cancel.values_mut().for_each(|said| *said = 0);
        self.retract.values_mut().for_each(|said| *said = 0);
        self.tails.values_mut().for_each(|(_, said)| *said = 0);
        self.notices.iter_mut().for_each(|(_, _, said)| *said = 0);
        self.drain_news = self.drain_news.map(|_| 0);
    }

    fn forget_read(&mut self, answered: u64) {
        let unread = |said: Said| said == 0 || said > answered;
        self.assign.retain(|_, (_, _, said)| unread(*said));
        self.cancel.retain(|_, said| unread(*said));
        self.retract.retain(|_, said| unread(*said));
        self.tails.retain(|_, (_, said)| unread(*said));
        self.notices.retain(|(_, _, said)| unread(*said));
        self.drain_news = self.drain_news.filter(|said| unread(*said));
    }

    /// Whether nothing has begun or ended since.
    pub(super) fn is_current(&self, ticket: u64) -> bool {
        self.ticket == ticket
    }

    /// Ends the open poll.
    pub(super) fn supersede(&mut self) {
        self.ticket += 1;
    }

    pub(super) fn drain(&self) -> bool {
        self.drain
    }

    /// Whether there is anything to say.
    pub(super) fn has_news(&self) -> bool {
        !(self.assign.is_empty()
            && self.cancel.is_empty()
            && self.retract.is_empty()
            && self.tails.is_empty()
            && self.notices.is_empty()
            && self.drain_news.is_none())
    }

    /// All of it, as the answer to the current poll.
    pub(super) fn take(&mut self, now: Instant) -> SyncAnswer {
        // Poll numbers begin at 1; one that does not would never forget what it was told.
        let poll = self.poll.max(1);
        let mut groups: BTreeMap<GroupId, GroupWork> = BTreeMap::new();
        let mut assign = Vec::new();
        for (attempt, (assignment, work, said)) in self.assign.iter_mut().take(MAX_ASSIGNED) {
            *said = poll;
            groups.entry(attempt.task.group_id()).or_insert_with(|| GroupWork::clone(work));
            assign.push(assignment.clone());
        }
        let keys = |said: &mut BTreeMap<AttemptId, Said>| {
            said.values_mut().for_each(|said| *said = poll);
            said.keys().copied().collect()
        };
        let (cancel, retract) = (keys(&mut self.cancel), keys(&mut self.retract));
        self.drain_news = self.drain_news.map(|_| poll);
        let tail = self.tails.iter_mut().map(|(&(attempt, stream), (offset, said))| {
            *said = poll;
            TailRequest { attempt, stream, offset: *offset }
        });
        let notices = self.notices.iter_mut().map(|(notice, since, said)| {
            *said = poll;
            let passed = now.saturating_duration_since(*since).as_millis();
            let passed_ms = u64::try_from(passed).unwrap_or(u64::MAX);
            NodeNotice { remaining_ms: notice.remaining_ms.saturating_sub(passed_ms), ..*notice }
        });
        SyncAnswer {
            assign,
            groups,
            cancel,
            retract,
            tail: tail.collect(),
            drain: self.drain,
            notices: notices.collect(),
            ..SyncAnswer::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{JobId, TaskId};

    use super::*;

    fn attempt(index: u32) -> AttemptId {
        TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1)
    }

    fn cancels(attempts: &[u32]) -> Orders {
        let cancel = attempts.iter().map(|index| attempt(*index)).collect();
        Orders { cancel, ..Orders::default() }
    }

    #[test]
    fn commands_repeat_until_a_poll_has_read_them() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.add(cancels(&[1]), now);
        outbox.begin(5, 0, false).expect("begun");
        assert_eq!(outbox.take(now).cancel, [attempt(1)]);
        outbox.add(cancels(&[2]), now);
        outbox.begin(6, 4, false).expect("begun");
        assert_eq!(outbox.take(now).cancel, [attempt(1), attempt(2)], "5 was not read");
        outbox.begin(7, 6, false).expect("begun");
        assert!(!outbox.has_news());
    }

    #[test]
    fn a_lower_poll_is_old_and_a_higher_one_ends_it() {
        let mut outbox = Outbox::default();
        let first = outbox.begin(5, 0, false).expect("begun");
        assert!(outbox.is_current(first));
        assert_eq!(outbox.begin(4, 0, false), None);
        assert!(outbox.is_current(first));
        let second = outbox.begin(6, 0, false).expect("begun");
        assert!(!outbox.is_current(first) && outbox.is_current(second));
    }

    #[test]
    fn a_new_process_is_told_again_and_counts_from_one() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.add(cancels(&[1]), now);
        outbox.begin(9, 0, false).expect("begun");
        let _ = outbox.take(now);
        outbox.joined();
        assert!(outbox.arrives(1));
        outbox.begin(1, 0, true).expect("begun");
        assert_eq!(outbox.take(now).cancel, [attempt(1)]);
    }

    /// `cargo xtask simulate --seeds 1 --from 1093` found it: a poll came twice while it waited. The
    /// first was answered for the second's sake, the assignment went to the second, which nobody heard
    /// any more, and the next poll said that it had read the answer to both.
    #[test]
    fn a_poll_that_comes_twice_begins_once() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        assert!(outbox.arrives(118) && !outbox.arrives(118));
        let ticket = outbox.begin(118, 117, false).expect("begun");
        assert_eq!(outbox.begin(118, 117, false), None);
        assert!(outbox.is_current(ticket), "the first goes on");
        outbox.add(cancels(&[1]), now);
        assert_eq!(outbox.take(now).cancel, [attempt(1)]);
        outbox.begin(119, 117, false).expect("begun");
        assert_eq!(outbox.take(now).cancel, [attempt(1)], "118 was not read");
    }

    /// `cargo xtask simulate --seeds 1 --from 6` found it: the first poll of a term came again after
    /// the fourth. Its list of what the node had was believed, and the answer to it was taken for read
    /// because a later poll had read later answers: what it assigned was never said again.
    #[test]
    fn a_first_poll_that_comes_late_says_nothing() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        assert!(outbox.arrives(18));
        outbox.begin(18, 17, true).expect("begun");
        assert!(outbox.arrives(22));
        outbox.begin(22, 21, false).expect("begun");
        assert!(!outbox.arrives(18), "of the past");
        outbox.add(cancels(&[1]), now);
        assert_eq!(outbox.begin(18, 17, false), None);
        assert!(outbox.arrives(23));
        outbox.begin(23, 22, false).expect("begun");
        assert_eq!(outbox.take(now).cancel, [attempt(1)]);
    }

    #[test]
    fn an_attempt_that_is_over_is_not_assigned() {
        let mut outbox = Outbox::default();
        let orders = Orders { retract: vec![attempt(3)], ..cancels(&[3]) };
        outbox.add(orders, Instant::now());
        outbox.forget(attempt(3));
        outbox.begin(1, 0, false).expect("begun");
        let answer = outbox.take(Instant::now());
        assert_eq!((answer.retract.len(), answer.cancel.len()), (0, 1));
    }
}
