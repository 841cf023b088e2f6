//! The life of a node.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{InstanceId, IntentId, MicroUsd, NodeId, Offer, Resources, Timestamp};

/// A machine of the cluster, from the moment that its instance was first seen.
///
/// What is not yet born (requested, launching, launch-failed) is its intent's
/// [`IntentState`](crate::IntentState): a node has an instance id from its first day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where it comes from.
    pub origin: NodeOrigin,
    /// What tasks can use of it: the offer's until it joins, then what its digester says.
    pub capacity: Resources,
    /// Where it stands.
    pub state: NodeState,
    /// When it entered that state.
    pub since: Timestamp,
    /// Why it entered that state.
    pub reason: NodeReason,
    /// When its life (and its bill) began.
    pub launched: Timestamp,
    /// When its digester first joined.
    pub joined: Option<Timestamp>,
    /// The digester's session: a join binds the instance to it.
    pub session: Option<u64>,
    /// When it will be taken, if a notice said so.
    pub deadline: Option<Timestamp>,
    /// What the ledger holds of its bill so far.
    pub booked: MicroUsd,
}

/// Where a node comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeOrigin {
    /// Somebody's own machine, joined by token; costs nothing here.
    Static {
        /// The name that it gave itself.
        name: Arc<str>,
    },
    /// A machine that we launched.
    Cloud {
        /// The cloud's name for it.
        instance: InstanceId,
        /// The launch that it came of.
        intent: IntentId,
        /// What was bought.
        offer: Offer,
    },
}

/// Where a node stands. `suspect` is not here: a lost connection is observed, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Seen, its digester has not joined.
    Booting,
    /// Takes work.
    Ready,
    /// Takes no new work; what runs may end.
    Draining,
    /// To be ended; the cloud is told until it says gone.
    Retiring,
    /// Gone. Leaves World in the same change.
    Gone,
}

/// Why a node is in its state.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NodeReason {
    /// An answer, a listing or a join showed it.
    Seen,
    /// Its digester joined.
    Joined,
    /// A person asked.
    Asked,
    /// A notice.
    Notice,
    /// It had nothing to do for long enough.
    Idle,
    /// It never joined.
    NeverJoined,
    /// No sign of its digester for too long.
    Lost,
    /// The cloud took it back.
    Reclaimed,
    /// The cloud says that it has ended.
    Ended,
}

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEvent {
    /// Its digester joined with this session.
    Joined {
        /// The digester's session.
        session: u64,
        /// What the machine has.
        capacity: Resources,
    },
    /// A person wants it drained.
    Drain,
    /// A person takes that back.
    Undrain,
    /// It will be taken.
    Notice {
        /// When.
        deadline: Timestamp,
    },
    /// It is to be ended.
    Retire(NodeReason),
    /// It is gone.
    Gone(NodeReason),
}

impl Node {
    /// What the event makes of it; `None` when it changes nothing.
    pub fn on(&self, event: NodeEvent, now: Timestamp) -> Option<Self> {
        let to = |state, reason| Some(Self { state, reason, since: now, ..self.clone() });
        match (self.state, event) {
            (NodeState::Gone, _) => None,
            (_, NodeEvent::Gone(reason)) => to(NodeState::Gone, reason),
            (NodeState::Retiring, _) => None,
            (_, NodeEvent::Retire(reason)) => to(NodeState::Retiring, reason),
            (NodeState::Booting, NodeEvent::Joined { session, capacity }) => {
                let (state, reason) = match self.deadline {
                    Some(_) => (NodeState::Draining, NodeReason::Notice),
                    None => (NodeState::Ready, NodeReason::Joined),
                };
                let joined = Some(now);
                let session = Some(session);
                Some(Self { session, capacity, joined, state, reason, since: now, ..self.clone() })
            }
            // A digester that came back: the machine, its state and its bill go on.
            (NodeState::Ready | NodeState::Draining, NodeEvent::Joined { session, capacity }) => {
                Some(Self { session: Some(session), capacity, ..self.clone() })
            }
            (_, NodeEvent::Notice { deadline }) => {
                if self.deadline.is_some_and(|earlier| earlier <= deadline) {
                    return None;
                }
                let state = match self.state {
                    NodeState::Booting => NodeState::Booting,
                    _ => NodeState::Draining,
                };
                Some(Self {
                    deadline: Some(deadline),
                    state,
                    reason: NodeReason::Notice,
                    since: now,
                    ..self.clone()
                })
            }
            (NodeState::Ready, NodeEvent::Drain) => to(NodeState::Draining, NodeReason::Asked),
            (NodeState::Draining, NodeEvent::Undrain) if self.reason == NodeReason::Asked => {
                to(NodeState::Ready, NodeReason::Asked)
            }
            (NodeState::Booting | NodeState::Draining, NodeEvent::Drain)
            | (NodeState::Booting | NodeState::Ready | NodeState::Draining, NodeEvent::Undrain) => {
                None
            }
        }
    }

    /// The cloud's name for it, if it has one.
    pub fn instance(&self) -> Option<&InstanceId> {
        self.offer_of().map(|(instance, _)| instance)
    }

    /// What was bought, if it was.
    pub fn offer(&self) -> Option<&Offer> {
        self.offer_of().map(|(_, offer)| offer)
    }

    fn offer_of(&self) -> Option<(&InstanceId, &Offer)> {
        match &self.origin {
            NodeOrigin::Static { .. } => None,
            NodeOrigin::Cloud { instance, offer, .. } => Some((instance, offer)),
        }
    }

    /// The price of an hour; 0 for a static node.
    pub fn price(&self) -> MicroUsd {
        self.offer().map_or(MicroUsd(0), |offer| offer.price)
    }

    /// Whether it may be given new work.
    pub fn takes_work(&self) -> bool {
        self.state == NodeState::Ready && self.deadline.is_none()
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Booting => "booting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Retiring => "retiring",
            Self::Gone => "gone",
        })
    }
}

impl fmt::Display for NodeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Seen => "seen",
            Self::Joined => "joined",
            Self::Asked => "asked",
            Self::Notice => "notice",
            Self::Idle => "idle",
            Self::NeverJoined => "never-joined",
            Self::Lost => "lost",
            Self::Reclaimed => "reclaimed",
            Self::Ended => "ended",
        })
    }
}
