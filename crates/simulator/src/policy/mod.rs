//! What others would do: the baselines of the literature behind one trait.

pub mod bound;
pub mod deadline;
pub mod eva;
pub mod karpenter;
pub mod omniscient;
pub mod packing;
pub mod skynomad;
pub mod stratus;

use std::fmt;
use std::str::FromStr;

use crate::arena::Desk;
use crate::policy::deadline::Rule;

/// A policy: looks at its desk whenever something has happened, and acts there.
pub trait Policy {
    /// Called at each moment at which it may act: the starts of ticks, or after each event.
    fn decide(&mut self, desk: &mut Desk);
}

/// All policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyName {
    /// Ours, as the manager runs it.
    Ebbtide,
    /// Spot when there is some, else wait; on-demand when time runs out.
    Greedy,
    /// Can't Be Late's Uniform Progress, with hysteresis.
    UniformProgress,
    /// The same without hysteresis.
    UniformProgressPlain,
    /// SkyNomad: utility with a survival model.
    SkyNomad,
    /// Knows the whole record: the exact optimum of one task, a lower bound for more.
    Omniscient,
    /// Each task alone on the cheapest machine that fits.
    NoPacking,
    /// First-fit decreasing onto the machines of the lowest price.
    FfdLowestPrice,
    /// Karpenter's choice and consolidation.
    KarpenterLike,
    /// Stratus: run-time bins.
    Stratus,
    /// Eva: reservation prices, full and partial reconfiguration.
    Eva,
}

impl PolicyName {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::Ebbtide,
        Self::Greedy,
        Self::UniformProgress,
        Self::UniformProgressPlain,
        Self::SkyNomad,
        Self::Omniscient,
        Self::NoPacking,
        Self::FfdLowestPrice,
        Self::KarpenterLike,
        Self::Stratus,
        Self::Eva,
    ];

    /// As files and commands write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ebbtide => "ebbtide",
            Self::Greedy => "greedy",
            Self::UniformProgress => "uniform-progress",
            Self::UniformProgressPlain => "uniform-progress-plain",
            Self::SkyNomad => "skynomad",
            Self::Omniscient => "omniscient",
            Self::NoPacking => "no-packing",
            Self::FfdLowestPrice => "ffd-lowest-price",
            Self::KarpenterLike => "karpenter-like",
            Self::Stratus => "stratus",
            Self::Eva => "eva",
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PolicyName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        known.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
            format!("`{text}` is not a policy; there are {}", names.join(", "))
        })
    }
}

/// The policy of a name. `ebbtide` and `omniscient` do not sit at a desk.
pub(crate) fn at_desk(name: PolicyName, _seed: u64) -> Box<dyn Policy> {
    match name {
        PolicyName::Greedy | PolicyName::Ebbtide | PolicyName::Omniscient => {
            Box::new(deadline::Deadline::new(Rule::Greedy))
        }
        PolicyName::UniformProgress => {
            Box::new(deadline::Deadline::new(Rule::UniformProgress { hysteresis: true }))
        }
        PolicyName::UniformProgressPlain => {
            Box::new(deadline::Deadline::new(Rule::UniformProgress { hysteresis: false }))
        }
        PolicyName::SkyNomad => Box::new(skynomad::SkyNomad::default()),
        PolicyName::NoPacking => Box::new(packing::NoPacking::default()),
        PolicyName::FfdLowestPrice => Box::new(packing::FfdLowestPrice::default()),
        PolicyName::KarpenterLike => Box::new(karpenter::KarpenterLike::default()),
        PolicyName::Stratus => Box::new(stratus::Stratus::default()),
        PolicyName::Eva => Box::new(eva::Eva::default()),
    }
}
