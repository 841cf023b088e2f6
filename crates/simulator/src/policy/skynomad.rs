//! SkyNomad (NSDI 2027).

use crate::arena::Desk;
use crate::policy::Policy;

/// SkyNomad (NSDI 2027).
#[derive(Debug, Default)]
pub(crate) struct SkyNomad;

impl Policy for SkyNomad {
    fn decide(&mut self, _desk: &mut Desk) {}
}
