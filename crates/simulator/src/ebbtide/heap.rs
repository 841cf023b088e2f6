//! What is to happen in a run of ebbtide.

use std::collections::BTreeSet;

use control::{Commands, Decision};
use model::{AttemptId, InstanceId, Intent};
use planner::Plan;

use super::leader::Asker;
use crate::heap::Ranked;

/// The heap of a run.
pub(super) type Heap = crate::heap::Heap<Event>;

/// Something that happens. Kinds of one moment happen in the order of this list: work that ends,
/// the market, arrivals, what nodes and the cloud do, and at last the leader, so that all that falls
/// together goes into one step.
#[derive(Debug)]
pub(super) enum Event {
    /// A process is over, if it is not disturbed before.
    Ends(usize, AttemptId),
    /// The market goes on by itself.
    Market,
    /// Jobs arrive.
    Arrivals,
    /// A machine has booted.
    Booted(usize),
    /// A node sees its notice.
    Notice(usize),
    /// Whoever still runs on a node that has to go is told to end.
    Stop(usize),
    /// An answer reaches a node.
    Commands(usize, Box<Commands>),
    /// A node's report reaches the leader.
    Report(usize),
    /// Something reaches the leader.
    Word(Box<control::Input>),
    /// Calls to the cloud that waited for the start of a tick are carried out.
    Calls,
    /// A launch call is carried out and answered.
    Launch(Box<Intent>),
    /// A call that ends machines is carried out and answered.
    Retire(BTreeSet<InstanceId>),
    /// What is on offer is looked at.
    Offers,
    /// Jobs of the backlog were read.
    Backlog,
    /// A plan comes back; `None` when nothing is to be done.
    Planned(Option<Box<Plan>>),
    /// A step is durable.
    Committed(Box<Decision>, Vec<Asker>),
    /// The leader steps.
    Step,
    /// The leader hands the planner a problem.
    Plan,
}

impl Ranked for Event {
    fn rank(&self) -> u8 {
        match self {
            Self::Ends(..) => 0,
            Self::Market => 1,
            Self::Arrivals => 2,
            Self::Booted(_) => 3,
            Self::Notice(_) => 4,
            Self::Stop(_) => 5,
            Self::Commands(..) => 6,
            Self::Report(_) => 7,
            Self::Word(_) => 8,
            Self::Calls => 9,
            Self::Launch(_) => 10,
            Self::Retire(_) => 11,
            Self::Offers => 12,
            Self::Backlog => 13,
            Self::Planned(_) => 14,
            Self::Committed(..) => 15,
            Self::Step => 16,
            Self::Plan => 17,
        }
    }
}
