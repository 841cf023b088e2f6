//! Eva (EuroSys 2025).

use crate::arena::Desk;
use crate::policy::Policy;

/// Eva (EuroSys 2025).
#[derive(Debug, Default)]
pub(crate) struct Eva;

impl Policy for Eva {
    fn decide(&mut self, _desk: &mut Desk) {}
}
