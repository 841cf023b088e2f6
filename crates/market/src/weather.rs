//! What the market is told to be like.

use serde::{Deserialize, Serialize};

/// The configuration of a market. Part of its saved state: the weather of a market that is opened
/// again is the one that it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weather {
    /// Where all its randomness comes from.
    pub seed: u64,
    /// From an interruption's notice to the reclaim. EC2 gives 120 s.
    pub notice_ms: u64,
    /// How much worse interruptions are than the Spot Advisor says: 1 = as it says, 0 = never.
    pub hazard_scale: u32,
    /// Interruptions that happen for certain.
    pub drill: Drill,
}

/// Interruptions that happen for certain, each to another busy machine, in an order that the seed
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// Machines that get a notice and are reclaimed at its deadline.
    pub notices: u32,
    /// Machines that fail without any notice.
    pub kills: u32,
    /// A machine is struck when it has been busy for so long; for a notice one of its processes
    /// must have run for so long, or the machine been busy for four times as long.
    pub busy_ms: u64,
    /// From one strike to the next.
    pub gap_ms: u64,
}

impl Drill {
    /// None at all.
    pub const NONE: Self = Self { notices: 0, kills: 0, busy_ms: 1_000, gap_ms: 500 };
}

impl Default for Weather {
    fn default() -> Self {
        Self { seed: 1, notice_ms: 120_000, hazard_scale: 1, drill: Drill::NONE }
    }
}
