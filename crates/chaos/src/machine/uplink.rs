//! The way to the manager: join, then polls. Decides when a poll is due and what an answer is worth.
//! As `digester::sync`: at most one poll with transitions is under way, and beside it at most one that
//! waits for commands.

use std::collections::BTreeMap;

use model::NodeId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Orders, Told};

/// Back-off while the manager is away: from, to.
const FIRST_WAIT_MS: u64 = 50;
const LONGEST_WAIT_MS: u64 = 2_000;
/// For an answer that nothing holds back but a commit.
const ANSWER_WITHIN_MS: u64 = 10_000;
/// A poll without transitions waits so long for commands.
const POLL_WAIT_MS: u64 = 15_000;

/// What there is to tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct News {
    pub(super) transitions: bool,
    pub(super) notice: bool,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    poll: u64,
    transitions: bool,
    inventory: bool,
    notice: bool,
    until_ms: u64,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Apart { joining: Option<Joining> },
    Joined { node: NodeId },
}

#[derive(Debug, Clone, Copy)]
struct Joining {
    call: u64,
    until_ms: u64,
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Join,
    /// A poll.
    Poll {
        node: NodeId,
        inventory: bool,
    },
}

/// What came of something that was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing to be done.
    Nothing,
    /// It has joined.
    Joined(NodeId),
    /// It is not wanted, and never was.
    Unwanted,
    /// Transitions below are durable, and this is to be done.
    Answer(u64, Orders),
}

#[derive(Debug)]
pub(super) struct Uplink {
    standing: Standing,
    poll: u64,
    pub(super) answered: u64,
    pub(super) term: u64,
    inventory_due: bool,
    notice_told: bool,
    /// By call, so by poll.
    open: BTreeMap<u64, Open>,
    failures: u32,
    retry_at_ms: Option<u64>,
    last_contact_ms: u64,
}

impl Uplink {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            standing: Standing::Apart { joining: None },
            poll: 0,
            answered: 0,
            term: 0,
            inventory_due: true,
            notice_told: false,
            open: BTreeMap::new(),
            failures: 0,
            retry_at_ms: None,
            last_contact_ms: now_ms,
        }
    }

    pub(super) fn node(&self) -> Option<NodeId> {
        match self.standing {
            Standing::Joined { node } => Some(node),
            Standing::Apart { .. } => None,
        }
    }

    pub(super) fn due(&self, now_ms: u64, news: News) -> Due {
        if self.retry_at_ms.is_some_and(|at_ms| at_ms > now_ms) {
            return Due::Nothing;
        }
        let node = match self.standing {
            Standing::Apart { joining: Some(_) } => return Due::Nothing,
            Standing::Apart { joining: None } => return Due::Join,
            Standing::Joined { node } => node,
        };
        let reporting = self.open.values().any(|open| open.transitions);
        let urgent = news.transitions || (news.notice && !self.notice_told);
        if !reporting && (urgent || self.open.is_empty()) {
            Due::Poll { node, inventory: self.inventory_due }
        } else {
            Due::Nothing
        }
    }

    pub(super) fn join(&mut self, call: u64, now_ms: u64) {
        let joining = Some(Joining { call, until_ms: now_ms + ANSWER_WITHIN_MS });
        self.standing = Standing::Apart { joining };
    }

    /// A poll leaves; answers its number.
    pub(super) fn poll(
        &mut self,
        call: u64,
        transitions: bool,
        inventory: bool,
        notice: bool,
        now_ms: u64,
    ) -> u64 {
        self.poll += 1;
        self.notice_told |= notice;
        let wait_ms = if transitions { 0 } else { POLL_WAIT_MS };
        let until_ms = now_ms + wait_ms + ANSWER_WITHIN_MS;
        let open = Open { poll: self.poll, transitions, inventory, notice, until_ms };
        self.open.insert(call, open);
        self.poll
    }

    /// When it has something to do by itself.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let joining = match self.standing {
            Standing::Apart { joining } => joining.map(|it| it.until_ms),
            Standing::Joined { .. } => None,
        };
        let calls = self.open.values().map(|open| open.until_ms).min();
        [self.retry_at_ms, joining, calls].into_iter().flatten().min()
    }

    /// Gives up what was not answered in time; a wait may be over.
    pub(super) fn wake(&mut self, now_ms: u64, rng: &mut ChaCha8Rng) {
        if self.retry_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.retry_at_ms = None;
        }
        if let Standing::Apart { joining: Some(joining) } = self.standing
            && joining.until_ms <= now_ms
        {
            self.standing = Standing::Apart { joining: None };
            self.fail(now_ms, rng);
        }
        while let Some(call) =
            self.open.iter().find(|(_, open)| open.until_ms <= now_ms).map(|(call, _)| *call)
        {
            self.heard(call, Told::Later, now_ms, rng);
        }
    }

    /// Takes in an answer. One to a call that was given up, or made by a process before, is none.
    pub(super) fn heard(
        &mut self,
        call: u64,
        told: Told,
        now_ms: u64,
        rng: &mut ChaCha8Rng,
    ) -> Heard {
        if let Standing::Apart { joining: Some(joining) } = self.standing
            && joining.call == call
        {
            return self.on_joined(told, now_ms, rng);
        }
        let Some(open) = self.open.remove(&call) else { return Heard::Nothing };
        match told {
            Told::Orders { term, .. } if term < self.term => {
                self.fail(now_ms, rng);
                Heard::Nothing
            }
            Told::Orders { term, acked_offset, orders } => {
                self.contact(now_ms);
                self.answered = self.answered.max(open.poll);
                // What an older poll would say is said again in the next.
                self.open.retain(|later, _| *later > call);
                let another_term = term > self.term;
                self.term = term;
                self.inventory_due = another_term || (self.inventory_due && !open.inventory);
                // Another leader may not have kept it.
                self.notice_told &= !another_term;
                Heard::Answer(acked_offset, orders)
            }
            failure => {
                self.notice_told &= !open.notice;
                // One that a later poll has ended is missed by nobody.
                if !self.open.keys().any(|later| *later > call) {
                    if let Told::Unknown | Told::Refused = failure {
                        self.standing = Standing::Apart { joining: None };
                        self.open.clear();
                    }
                    self.fail(now_ms, rng);
                }
                Heard::Nothing
            }
        }
    }

    fn on_joined(&mut self, told: Told, now_ms: u64, rng: &mut ChaCha8Rng) -> Heard {
        self.standing = Standing::Apart { joining: None };
        match told {
            Told::Joined { node, term } if term >= self.term => {
                self.standing = Standing::Joined { node };
                self.term = term;
                self.inventory_due = true;
                self.notice_told = false;
                self.contact(now_ms);
                Heard::Joined(node)
            }
            Told::Refused if self.answered == 0 => Heard::Unwanted,
            _ => {
                self.fail(now_ms, rng);
                Heard::Nothing
            }
        }
    }

    fn contact(&mut self, now_ms: u64) {
        self.last_contact_ms = now_ms;
        self.failures = 0;
        self.retry_at_ms = None;
    }

    fn fail(&mut self, now_ms: u64, rng: &mut ChaCha8Rng) {
        self.retry_at_ms = Some(now_ms + back_off_ms(self.failures, rng.random()));
        self.failures = self.failures.saturating_add(1);
    }

    /// When the last manager answered.
    pub(super) fn last_contact_ms(&self) -> u64 {
        self.last_contact_ms
    }

    /// Whether the next poll has to carry the node's notice.
    pub(super) fn wants_notice(&self) -> bool {
        !self.notice_told
    }

    /// A new notice is to be told.
    pub(super) fn notice_is_new(&mut self) {
        self.notice_told = false;
    }
}

/// Doubles from [`FIRST_WAIT_MS`] to [`LONGEST_WAIT_MS`]; between half and the whole of it.
fn back_off_ms(failures: u32, noise: u8) -> u64 {
    let full = FIRST_WAIT_MS.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT_MS);
    (full / 2 + full / 2 * u64::from(noise) / 255).max(1)
}
