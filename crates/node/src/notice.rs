//! The notice policy: a notice is a deadline, not an alarm (DESIGN §4.5).

use model::AttemptId;

/// Room before the deadline for the last reports and uploads, at most: two minutes' notice
/// leaves 100 s of work.
pub const MAX_MARGIN_MS: u64 = 20_000;
/// Room before the deadline, at least: one upload and one round trip.
pub const MIN_MARGIN_MS: u64 = 300;

/// An attempt that runs when a notice comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runner {
    /// The fence.
    pub attempt: AttemptId,
    /// How long it has run.
    pub elapsed_ms: u64,
    /// What it is believed to take in all.
    pub expect_ms: Option<u64>,
}

/// What to do about a notice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoticePlan {
    /// From now: whoever still runs then is told to end.
    pub stop_in_ms: u64,
    /// From a stop: whoever still runs then is killed. Leaves a third of the margin for the
    /// reports.
    pub grace_ms: u64,
    /// These may run on until then: they finish before, or nobody knows.
    pub finish: Vec<AttemptId>,
    /// These would need far longer: they are told to end at once, so that they begin elsewhere
    /// the sooner.
    pub stop_now: Vec<AttemptId>,
    /// These have not started: they go back at once.
    pub give_back: Vec<AttemptId>,
}

/// How long before the deadline work stops: a quarter of what is left, within the limits.
pub fn margin_ms(remaining_ms: u64) -> u64 {
    (remaining_ms / 4).clamp(MIN_MARGIN_MS, MAX_MARGIN_MS)
}

/// What to do when the machine goes in `remaining_ms`. `grace_ms` is what a process usually gets
/// between TERM and KILL.
///
/// An expectation is a mean and no promise: only an attempt that would need more than twice the
/// time there is is given up at once.
pub fn on_notice(
    remaining_ms: u64,
    grace_ms: u64,
    running: &[Runner],
    waiting: &[AttemptId],
) -> NoticePlan {
    let margin = margin_ms(remaining_ms);
    let stop_in_ms = remaining_ms.saturating_sub(margin);
    let mut plan = NoticePlan {
        stop_in_ms,
        grace_ms: grace_ms.min(margin.min(remaining_ms) * 2 / 3),
        give_back: waiting.to_vec(),
        ..NoticePlan::default()
    };
    for runner in running {
        let needs = runner.expect_ms.map(|expect| expect.saturating_sub(runner.elapsed_ms));
        let hopeless = needs.is_some_and(|needs| needs > stop_in_ms.saturating_mul(2));
        if hopeless || stop_in_ms == 0 {
            plan.stop_now.push(runner.attempt);
        } else {
            plan.finish.push(runner.attempt);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use model::{JobId, TaskId};
    use proptest::prelude::*;

    use super::*;

    fn attempt(index: u32) -> AttemptId {
        TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1)
    }

    #[test]
    fn who_may_finish() {
        let running =
            |elapsed_ms, expect_ms| [Runner { attempt: attempt(7), elapsed_ms, expect_ms }];
        let mut out = String::new();
        for (remaining, elapsed, expect) in [
            (120_000, 0, None),
            (120_000, 500_000, None),
            (120_000, 0, Some(90_000)),
            (120_000, 0, Some(190_000)),
            (120_000, 0, Some(300_000)),
            (120_000, 250_000, Some(300_000)),
            (10_000, 0, Some(5_000)),
            (1_000, 0, Some(5_000)),
            (1_000, 0, None),
            (200, 0, None),
            (0, 0, None),
        ] {
            let plan = on_notice(remaining, 5_000, &running(elapsed, expect), &[]);
            let verdict = if plan.finish.is_empty() { "stop now" } else { "finish" };
            writeln!(
                out,
                "{remaining:>6} left, ran {elapsed:>6} of {expect:?}: {verdict}; stop in {}, grace {}",
                plan.stop_in_ms, plan.grace_ms
            )
            .unwrap();
        }
        insta::assert_snapshot!(out, @"
        120000 left, ran      0 of None: finish; stop in 100000, grace 5000
        120000 left, ran 500000 of None: finish; stop in 100000, grace 5000
        120000 left, ran      0 of Some(90000): finish; stop in 100000, grace 5000
        120000 left, ran      0 of Some(190000): finish; stop in 100000, grace 5000
        120000 left, ran      0 of Some(300000): stop now; stop in 100000, grace 5000
        120000 left, ran 250000 of Some(300000): finish; stop in 100000, grace 5000
         10000 left, ran      0 of Some(5000): finish; stop in 7500, grace 1666
          1000 left, ran      0 of Some(5000): stop now; stop in 700, grace 200
          1000 left, ran      0 of None: finish; stop in 700, grace 200
           200 left, ran      0 of None: stop now; stop in 0, grace 133
             0 left, ran      0 of None: stop now; stop in 0, grace 0
        ");
    }

    proptest! {
        #[test]
        fn nobody_is_forgotten_and_all_is_over_in_time(
            remaining in 0u64..400_000,
            grace in 0u64..30_000,
            running in prop::collection::vec((0u64..500_000, prop::option::of(0u64..500_000)), 0..20),
            waiting in 0u32..20,
        ) {
            let running: Vec<Runner> = running.iter().zip(0..).map(|((elapsed_ms, expect_ms), index)| {
                Runner { attempt: attempt(index), elapsed_ms: *elapsed_ms, expect_ms: *expect_ms }
            }).collect();
            let waiting: Vec<AttemptId> = (1_000..1_000 + waiting).map(attempt).collect();
            let plan = on_notice(remaining, grace, &running, &waiting);
            let mut all: Vec<AttemptId> =
                plan.finish.iter().chain(&plan.stop_now).chain(&plan.give_back).copied().collect();
            all.sort();
            let mut before: Vec<AttemptId> =
                running.iter().map(|runner| runner.attempt).chain(waiting.clone()).collect();
            before.sort();
            prop_assert_eq!(all, before);
            prop_assert_eq!(&plan.give_back, &waiting);
            prop_assert!(plan.stop_in_ms + plan.grace_ms <= remaining);
            prop_assert!(remaining < MIN_MARGIN_MS || remaining - plan.stop_in_ms >= MIN_MARGIN_MS);
            for runner in &running {
                let in_time = runner.expect_ms.is_none_or(|expect| {
                    runner.elapsed_ms + plan.stop_in_ms >= expect
                });
                if in_time && plan.stop_in_ms > 0 {
                    prop_assert!(plan.finish.contains(&runner.attempt));
                }
            }
        }
    }
}
