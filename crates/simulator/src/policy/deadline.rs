//! Spot until time runs out.

use crate::arena::Desk;
use crate::policy::Policy;

/// Spot until time runs out.
#[derive(Debug, Default)]
pub(crate) struct Greedy;

impl Policy for Greedy {
    fn decide(&mut self, _desk: &mut Desk) {}
}
