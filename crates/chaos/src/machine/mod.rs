//! A machine with its digester, its spawner, its processes and its disk: `node`'s decisions, in a
//! shell that can be killed at any moment.

use std::sync::Arc;

use control::Joiner;
use model::{AttemptId, GroupSpec, InventoryItem, NodeId, NodeNotice, Resources, Transition};

use crate::Dice;

/// What happens to a machine.
#[derive(Debug, Clone)]
pub enum Happening {
    /// It has booted, with what is on its disk.
    Boots,
    /// The moment that it asked for has come.
    Wakes,
    /// A call of its digester is answered.
    Heard {
        /// Which.
        call: u64,
        /// How.
        told: Told,
    },
    /// Its metadata shows a notice.
    Metadata(NodeNotice),
    /// Its digester is killed, and started again after a while.
    DigesterKilled {
        /// How long after.
        back_in_ms: u64,
    },
    /// Its digester stands still.
    DigesterStopped {
        /// For how long.
        for_ms: u64,
    },
    /// Its spawner is killed.
    SpawnerKilled,
    /// All is over at once; what was not synced is lost, perhaps in the middle of a line.
    PowerCut,
}

/// What comes of it.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Its digester calls the manager.
    Calls {
        /// Its number, for the answer: later calls have higher ones.
        call: u64,
        /// What it says.
        said: Said,
    },
    /// It is to be woken.
    WakeAt(u64),
    /// A process of an attempt has started.
    Started(AttemptId),
    /// A process of an attempt is over.
    Over(AttemptId),
    /// Its digester's connections have closed.
    Closed {
        /// Of which session.
        session: u64,
        /// Of which node.
        node: NodeId,
    },
    /// It turns itself off: nobody wants it, or no manager was there for too long.
    PowersOff,
}

/// What a digester says to a manager.
#[derive(Debug, Clone)]
pub enum Said {
    /// It joins.
    Join {
        /// Who it is.
        joiner: Joiner,
        /// Its session.
        session: u64,
        /// What tasks may use.
        capacity: Resources,
        /// The highest term that it has heard of.
        term_seen: u64,
    },
    /// It polls.
    Poll(Box<Poll>),
}

/// A poll, as `POST /v1/nodes/{id}/sync` has it.
#[derive(Debug, Clone)]
pub struct Poll {
    /// Its node.
    pub node: NodeId,
    /// Its session.
    pub session: u64,
    /// Its number: a higher one ends it.
    pub poll: u64,
    /// The highest poll whose answer was read.
    pub answered: u64,
    /// The highest term that it has heard of.
    pub term_seen: u64,
    /// The offset of the first transition.
    pub spool_offset: u64,
    /// What changed.
    pub transitions: Vec<Transition>,
    /// All that it has, on the first poll of a process and of a term.
    pub inventory: Option<Vec<InventoryItem>>,
    /// A notice that it has seen itself.
    pub notice: Option<NodeNotice>,
}

/// What it is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// It has joined.
    Joined {
        /// As this node.
        node: NodeId,
        /// By this leader.
        term: u64,
    },
    /// What it is to do.
    Orders {
        /// By this leader.
        term: u64,
        /// Transitions below are durable.
        acked_offset: u64,
        /// What to do.
        orders: Orders,
    },
    /// Its node is unknown or bound to another session: it joins again.
    Unknown,
    /// Its join is refused for good.
    Refused,
    /// The one that it asked does not lead, or nobody answered: it asks again in a moment.
    Later,
}

/// What a node is to do.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Attempts to run.
    pub assign: Vec<Assignment>,
    /// Attempts to stop, or whose number is void.
    pub cancel: Vec<AttemptId>,
    /// Held attempts to give back.
    pub retract: Vec<AttemptId>,
    /// Whether it starts nothing more.
    pub drain: bool,
    /// What was announced for it.
    pub notices: Vec<NodeNotice>,
}

/// An attempt to run.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The fence.
    pub attempt: AttemptId,
    /// Whether it is a prefetch.
    pub held: bool,
    /// What to run.
    pub spec: Arc<GroupSpec>,
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    who: Joiner,
    capacity: Resources,
    seed: u64,
}

impl Machine {
    /// One that is off, with an empty disk.
    pub fn new(who: Joiner, capacity: Resources, seed: u64) -> Self {
        Self { who, capacity, seed }
    }

    /// Something happens to it.
    pub fn happen(&mut self, happening: Happening, now_ms: u64, dice: &mut Dice) -> Vec<Effect> {
        let _ = (happening, now_ms, dice, &self.who, self.capacity, self.seed);
        Vec::new()
    }

    /// In a word: off, joining, idle, holding, running, leaving, hung or down.
    pub fn state(&self) -> &'static str {
        "off"
    }

    /// Attempts whose processes live.
    pub fn running(&self) -> Vec<AttemptId> {
        Vec::new()
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        false
    }

    /// The node that it has joined as.
    pub fn node(&self) -> Option<NodeId> {
        None
    }

    /// The session of its spool, once its digester has begun.
    pub fn session(&self) -> Option<u64> {
        None
    }
}
