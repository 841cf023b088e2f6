//! Candidates, a score each, a pick: which nodes run tasks of one ask.
//!
//! Pure integers. A [`Score`] is a struct whose field order is the order of importance, the node's
//! id last, so ties do not exist and the order in which candidates are given changes nothing.
//! Constraints and node states are the caller's: it hands over only nodes that may be picked.

mod epvm;
mod place;
mod score;
mod verdict;

use model::{NodeId, Resources};

pub use place::place;
pub use score::Score;
pub use verdict::{Lack, Listed, Resource, Verdict, explain, lacks, missing_ppm};

/// By which law a node is picked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Fills static nodes, then paid machines that are in use, and leaves the rest empty so that
    /// they can be retired. For capacity that is paid by the hour.
    #[default]
    BestFit,
    /// The node with the fewest tasks.
    RoundRobin,
    /// The node whose marginal cost is the least (see [`Score::cost`]). Spreads by load; for fleets
    /// of a fixed size.
    EPvm,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::BestFit => "best-fit",
            Self::RoundRobin => "round-robin",
            Self::EPvm => "epvm",
        })
    }
}

impl std::str::FromStr for Policy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::BestFit, Self::RoundRobin, Self::EPvm]
            .into_iter()
            .find(|policy| policy.to_string() == text)
            .ok_or_else(|| format!("`{text}` is not a policy: best-fit, round-robin or epvm"))
    }
}

/// A node as the scheduler sees it. Ids are unique among the candidates of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub node: NodeId,
    /// What is not reserved. Nothing while a task runs alone there: a caller whose asks may be
    /// empty leaves such a node out.
    pub free: Resources,
    /// What it has.
    pub capacity: Resources,
    /// Tasks that reserve something of it.
    pub tasks: u32,
    /// Whether it costs money while it exists; static nodes do not.
    pub paid: bool,
    /// Interruptions per million machine hours that it is believed to suffer.
    pub hazard_ppm_hour: u32,
    /// How long it will live, where that is known.
    pub life_left_ms: Option<u64>,
}

/// Interchangeable tasks to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// What each of them needs.
    pub resources: Resources,
    /// How many they are.
    pub count: u32,
    /// How long one takes, where that is known.
    pub expect_ms: Option<u64>,
    /// Each wants a node on which nothing runs, and takes it whole.
    pub alone: bool,
}

/// So many tasks on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// The node.
    pub node: NodeId,
    /// How many; never 0.
    pub count: u32,
}

impl Candidate {
    /// How many of these tasks it would take, their number aside.
    pub fn room(&self, want: &Want) -> u32 {
        if self.is_short_lived(want) {
            0
        } else if want.alone {
            u32::from(self.tasks == 0 && self.free.holds(&want.resources))
        } else {
            self.free.times(&want.resources)
        }
    }

    /// Whether it is known to end before such a task would.
    fn is_short_lived(&self, want: &Want) -> bool {
        matches!((self.life_left_ms, want.expect_ms), (Some(left), Some(expect)) if left < expect)
    }

    /// Puts tasks on it.
    fn take(&mut self, want: &Want, count: u32) {
        self.tasks = self.tasks.saturating_add(count);
        self.free = if want.alone {
            Resources::default()
        } else {
            self.free - want.resources.scaled(count)
        };
    }
}
