//! What a pick is decided by.

use model::NodeId;

use crate::epvm::Epvm;
use crate::{Candidate, Policy, Want};

/// How well a node suits a task: the least is picked. Fields in the order of their importance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// It will end, and nobody knows how long the task takes.
    pub ends: bool,
    /// `best-fit`: it costs money.
    pub paid: bool,
    /// `best-fit`: it costs money and nothing runs there: left alone, it can be retired.
    pub empty: bool,
    /// `best-fit`: the share of the node, in millionths, that is free once the task is there.
    /// `round-robin`: tasks on the node.
    /// `epvm`: the marginal cost, in units of 2^-32 (see [`Policy::EPvm`]).
    pub cost: u64,
    /// Interruptions per million machine hours.
    pub hazard_ppm_hour: u32,
    /// Decides between equals.
    pub node: NodeId,
}

/// Scores candidates of one call.
pub(crate) struct Scorer<'a> {
    want: &'a Want,
    policy: Policy,
    epvm: Epvm,
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(want: &'a Want, policy: Policy, candidates: usize) -> Self {
        Self { want, policy, epvm: Epvm::new(candidates) }
    }

    /// The score of a candidate that has room.
    pub(crate) fn score(&self, candidate: &Candidate) -> Score {
        let best_fit = self.policy == Policy::BestFit;
        let paid = best_fit && candidate.paid;
        Score {
            ends: candidate.life_left_ms.is_some() && self.want.expect_ms.is_none(),
            paid,
            empty: paid && candidate.tasks == 0,
            cost: match self.policy {
                Policy::BestFit => {
                    let left = candidate.free - self.want.resources;
                    u64::from(candidate.capacity.share_ppm(&left))
                }
                Policy::RoundRobin => u64::from(candidate.tasks),
                Policy::EPvm => self.epvm.marginal_cost(candidate, &self.want.resources),
            },
            hazard_ppm_hour: candidate.hazard_ppm_hour,
            node: candidate.node,
        }
    }
}
