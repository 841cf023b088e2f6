//! Shrinks what a failing run needs: its faults by delta debugging (Zeller and Hildebrandt 2002),
//! then how long they last by bisection.

use std::collections::BTreeSet;

use chaos::{Breach, Fault, Outcome, Plan};
use control::Invariant;

/// The smallest plan that was found to break the promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Smallest {
    pub(crate) plan: Plan,
    pub(crate) breach: Breach,
    /// Runs that it took.
    pub(crate) runs: u32,
    /// Whether more runs might have found a smaller one.
    pub(crate) cut_short: bool,
}

/// Shrinks a plan that breaks a promise, in at most `most_runs` runs.
pub(crate) fn minimise<R: Fn(&Plan) -> Outcome>(
    run: &R,
    plan: &Plan,
    breach: &Breach,
    most_runs: u32,
) -> Smallest {
    let smallest =
        Smallest { plan: plan.clone(), breach: breach.clone(), runs: 0, cut_short: false };
    let mut search = Search { run, invariant: breach.invariant, most_runs, smallest };
    search.faults();
    search.end();
    search.smallest
}

struct Search<'r, R> {
    run: &'r R,
    invariant: Invariant,
    most_runs: u32,
    smallest: Smallest,
}

impl<R: Fn(&Plan) -> Outcome> Search<'_, R> {
    /// Whether the same promise is broken; if so, this is the smallest so far.
    fn breaks(&mut self, plan: Plan) -> bool {
        if self.smallest.runs >= self.most_runs {
            self.smallest.cut_short = true;
            return false;
        }
        self.smallest.runs += 1;
        let breach = (self.run)(&plan).breach;
        let Some(breach) = breach.filter(|breach| breach.invariant == self.invariant) else {
            return false;
        };
        self.smallest.plan = plan;
        self.smallest.breach = breach;
        true
    }

    fn breaks_with(&mut self, faults: impl IntoIterator<Item = Fault>) -> bool {
        let faults: BTreeSet<Fault> = faults.into_iter().collect();
        let plan = Plan { faults, ..self.smallest.plan.clone() };
        self.breaks(plan)
    }

    /// Until no single fault can be left out: first each of `parts` parts alone, then all but each,
    /// then twice as many parts.
    fn faults(&mut self) {
        if self.smallest.plan.faults.is_empty() || self.breaks_with([]) {
            return;
        }
        let mut parts = 2;
        loop {
            let faults: Vec<Fault> = self.smallest.plan.faults.iter().copied().collect();
            if faults.len() < 2 || self.smallest.cut_short {
                return;
            }
            parts = parts.min(faults.len());
            let chunks: Vec<&[Fault]> = faults.chunks(faults.len().div_ceil(parts)).collect();
            let alone = chunks.iter().any(|chunk| self.breaks_with(chunk.iter().copied()));
            if alone {
                parts = 2;
                continue;
            }
            // Of two parts, all but one is the other one.
            let without = chunks.len() > 2
                && chunks.iter().any(|chunk| {
                    let rest = faults.iter().filter(|fault| !chunk.contains(fault)).copied();
                    self.breaks_with(rest)
                });
            if without {
                parts = (parts - 1).max(2);
            } else if parts < faults.len() {
                parts *= 2;
            } else {
                return;
            }
        }
    }

    /// The earliest end of the faults: one millisecond earlier the promise is kept, as far as a
    /// bisection can tell.
    fn end(&mut self) {
        let mut kept_ms = 0;
        loop {
            let Smallest { plan, breach, cut_short, .. } = &self.smallest;
            // What would come after the breach does not matter. When a panic was is not known.
            let seen_ms = if breach.at_ms == 0 { u64::MAX } else { breach.at_ms + 1 };
            let end_ms = plan.until_ms.min(seen_ms);
            if *cut_short || kept_ms + 1 >= end_ms {
                return;
            }
            let until_ms = match end_ms {
                // A run is a day and what heals it; no need to bisect all of time.
                u64::MAX => LONGEST_MS,
                _ => kept_ms + (end_ms - kept_ms) / 2,
            };
            let plan = Plan { until_ms, ..plan.clone() };
            if !self.breaks(plan) {
                if until_ms == LONGEST_MS {
                    return;
                }
                kept_ms = until_ms;
            }
        }
    }
}

/// No run is longer.
const LONGEST_MS: u64 = 7 * 86_400_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Breaks a promise once all of these faults may strike at this time.
    fn fake(needs: &[Fault], at_ms: u64, invariant: Invariant) -> impl Fn(&Plan) -> Outcome {
        let needs: BTreeSet<Fault> = needs.iter().copied().collect();
        move |plan: &Plan| {
            let breaks = needs.is_subset(&plan.faults) && (plan.until_ms > at_ms);
            let breach = Breach { invariant, at_ms: at_ms + 70_000, words: "seen".into() };
            Outcome {
                breach: breaks.then_some(breach),
                fired: BTreeMap::new(),
                simulated_ms: 0,
                events: 0,
                tasks: 0,
                machines: 0,
                log: Vec::new(),
            }
        }
    }

    fn all() -> Plan {
        Plan { seed: 1, faults: Fault::ALL.into(), until_ms: u64::MAX, log: false }
    }

    fn smallest(needs: &[Fault], at_ms: u64, most_runs: u32) -> Smallest {
        let run = fake(needs, at_ms, Invariant::SettledOnce);
        let breach = run(&all()).breach.expect("with all faults it breaks");
        minimise(&run, &all(), &breach, most_runs)
    }

    #[test]
    fn what_is_not_needed_goes_and_the_end_is_exact() {
        for needs in [
            &[][..],
            &[Fault::CutOff],
            &[Fault::ReportLost, Fault::ProcessFails],
            &[Fault::ReportLost, Fault::CutOff, Fault::ManagerDies, Fault::PlanLate],
        ] {
            let found = smallest(needs, 723_441, 400);
            assert_eq!(found.plan.faults, needs.iter().copied().collect());
            assert_eq!(found.plan.until_ms, 723_442);
            assert!(!found.cut_short && found.runs < 200, "{} runs", found.runs);
        }
    }

    #[test]
    fn another_promise_that_breaks_on_the_way_does_not_count() {
        let ours = fake(&[Fault::CutOff, Fault::ManagerDies], 10, Invariant::SettledOnce);
        let other = fake(&[Fault::CutOff], 10, Invariant::Liveness);
        let run = |plan: &Plan| {
            let outcome = ours(plan);
            if outcome.breach.is_some() { outcome } else { other(plan) }
        };
        let breach = run(&all()).breach.expect("with all faults it breaks");
        let found = minimise(&run, &all(), &breach, 400);
        assert_eq!(found.plan.faults, [Fault::CutOff, Fault::ManagerDies].into());
        assert_eq!(found.breach.invariant, Invariant::SettledOnce);
    }

    #[test]
    fn it_takes_no_more_runs_than_it_may_and_what_it_answers_breaks() {
        let needs = [Fault::ReportLost, Fault::CutOff, Fault::ManagerDies, Fault::PlanLate];
        let found = smallest(&needs, 723_441, 9);
        assert!(found.cut_short);
        assert_eq!(found.runs, 9);
        let run = fake(&needs, 723_441, Invariant::SettledOnce);
        assert_eq!(run(&found.plan).breach, Some(found.breach));
    }
}
