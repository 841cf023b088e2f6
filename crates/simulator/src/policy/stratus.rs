//! Stratus (SoCC 2018).

use crate::arena::Desk;
use crate::policy::Policy;

/// Stratus (SoCC 2018).
#[derive(Debug, Default)]
pub(crate) struct Stratus;

impl Policy for Stratus {
    fn decide(&mut self, _desk: &mut Desk) {}
}
