//! Each task alone.

use crate::arena::Desk;
use crate::policy::Policy;

/// Each task alone.
#[derive(Debug, Default)]
pub(crate) struct NoPacking;

impl Policy for NoPacking {
    fn decide(&mut self, _desk: &mut Desk) {}
}
