//! The run.

use crate::{Dice, Outcome, Plan};

/// Runs a plan to its end, or to the first broken promise.
pub fn run(plan: &Plan) -> Outcome {
    let dice = Dice::new(plan);
    Outcome {
        breach: None,
        fired: dice.fired().clone(),
        simulated_ms: 0,
        events: 0,
        tasks: 0,
        machines: 0,
        log: Vec::new(),
    }
}
