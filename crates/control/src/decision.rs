//! What a step hands back.

use std::collections::{BTreeMap, BTreeSet};

use model::{AttemptId, Change, JobId, NodeId, NodeNotice, Timestamp};

use crate::Violation;

/// The outcome of a step. Nothing of it leaves the process before the changes are durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// To be committed, in order; World has them already.
    pub changes: Vec<Change>,
    /// One for each input, in their order.
    pub replies: Vec<Reply>,
    /// To be delivered to nodes.
    pub commands: BTreeMap<NodeId, Commands>,
    /// The next timer.
    pub wake: Option<Timestamp>,
    /// What waits asks for something else than before, though no change says so: the planner is to
    /// be asked anew.
    pub replan: bool,
    /// How many jobs of the backlog the next step would like to be handed.
    pub take_in: u32,
    /// Jobs that others come after and that World does not have: whoever can see their rows answers
    /// with those that are settled, by [`Input::DependenciesSettled`](crate::Input). The same until
    /// they are.
    pub lookup: BTreeSet<JobId>,
    /// Promises that a change of this step breaks: a fault of ours, loudly counted.
    pub violations: Vec<Violation>,
    /// Explanations: one for each launch, retirement, and (ask, step).
    pub notes: Vec<Note>,
}

/// The answer to an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was done, or means nothing any more.
    Done,
    /// The digester is this node.
    Joined(NodeId),
    /// It may not, and why.
    Refused(String),
    /// So many tasks run again.
    Retried(u64),
    /// World has no such thing.
    NotFound,
    /// The session is not the node's: join again.
    Fenced,
}

/// What a node is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    /// Attempts to run; `true` for prefetch.
    pub assign: Vec<(AttemptId, bool)>,
    /// Attempts to stop, or whose number is void.
    pub cancel: Vec<AttemptId>,
    /// Held attempts to give back.
    pub retract: Vec<AttemptId>,
    /// Whether it starts nothing more; `None` leaves it as it was.
    pub drain: Option<bool>,
    /// What was announced for it.
    pub notices: Vec<NodeNotice>,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// A launch, a retirement, a refusal: kept in the database (DESIGN §3).
    Kept,
    /// For the log: it is computed again when somebody asks.
    Passing,
    /// For the log, loudly: somebody says what cannot be.
    Odd,
}

/// A decision in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about: an id, or an ask.
    pub subject: String,
    /// Whether it is kept, for somebody who asks later.
    pub kind: NoteKind,
    /// What was decided and why.
    pub words: String,
}
