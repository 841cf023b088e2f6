//! As Karpenter chooses and consolidates.

use crate::arena::Desk;
use crate::policy::Policy;

/// As Karpenter chooses and consolidates.
#[derive(Debug, Default)]
pub(crate) struct KarpenterLike;

impl Policy for KarpenterLike {
    fn decide(&mut self, _desk: &mut Desk) {}
}
