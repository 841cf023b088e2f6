//! Two hundred seeds, in eight tests so that they run side by side, and that a plan says it all.

use chaos::{Plan, run};

/// Seeds of a test.
const SEEDS: u64 = 25;

fn keeps_every_promise(part: u64) {
    let mut broken = Vec::new();
    for seed in part * SEEDS..(part + 1) * SEEDS {
        let outcome = run(&Plan::of_seed(seed));
        if let Some(breach) = outcome.breach {
            let (invariant, words) = (breach.invariant, breach.words);
            broken.push(format!(
                "{invariant}: {words}\n  cargo xtask simulate --seeds 1 --from {seed} --log"
            ));
        }
    }
    assert!(broken.is_empty(), "{} of {SEEDS} seeds failed:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn seeds_0_to_24_keep_every_promise() {
    keeps_every_promise(0);
}

#[test]
fn seeds_25_to_49_keep_every_promise() {
    keeps_every_promise(1);
}

#[test]
fn seeds_50_to_74_keep_every_promise() {
    keeps_every_promise(2);
}

#[test]
fn seeds_75_to_99_keep_every_promise() {
    keeps_every_promise(3);
}

#[test]
fn seeds_100_to_124_keep_every_promise() {
    keeps_every_promise(4);
}

#[test]
fn seeds_125_to_149_keep_every_promise() {
    keeps_every_promise(5);
}

#[test]
fn seeds_150_to_174_keep_every_promise() {
    keeps_every_promise(6);
}

#[test]
fn seeds_175_to_199_keep_every_promise() {
    keeps_every_promise(7);
}

#[test]
fn meta_the_same_plan_gives_the_same_run_event_by_event() {
    for seed in 0..5 {
        let plan = Plan { log: true, ..Plan::of_seed(seed) };
        let (one, other) = (run(&plan), run(&plan));
        let differs = one.log.iter().zip(&other.log).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert!(one == other, "seed {seed}: one log is longer, or the sums differ");
    }
}
