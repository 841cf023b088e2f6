//! Lengths of time with a mean and a tail, in integers only.

use market::random::{between, exponential};
use rand_chacha::ChaCha8Rng;

/// Of so many thousandths of all lengths the mean is so many thousandths of the mean of all: a
/// mixture of memoryless classes. Weights add up to 1,000, and their products to 1,000,000.
pub(super) type Classes = [(u32, u64)];

/// One class: memoryless.
pub(super) const MEMORYLESS: &Classes = &[(1_000, 1_000)];

/// Shortages: the median is 0.22 of the mean, three in five are shorter than 0.3 of it.
pub(super) const SPELLS: &Classes = &[(700, 200), (250, 1_400), (50, 10_200)];

/// The times between them: four in five are a tenth as long as the mean, and the hazard falls with
/// age.
pub(super) const BETWEEN: &Classes = &[(800, 100), (150, 1_600), (50, 13_600)];

/// Run times of jobs: the median is 0.05 of the mean, one in two hundred is 69 times as long. Both
/// recorded workloads are heavier still (openb 0.02, SURF 0.015).
pub(super) const RUN_TIMES: &Classes =
    &[(500, 20), (300, 200), (150, 1_500), (45, 8_000), (5, 69_000)];

/// A length with that mean.
pub(super) fn length_ms(rng: &mut ChaCha8Rng, classes: &Classes, mean_ms: u64) -> u64 {
    memoryless_ms(rng, classes, mean_ms, |(weight, _)| u64::from(*weight))
}

/// What is left of a length into which one looks at random: longer ones are met more often, and
/// within a class nothing is remembered.
pub(super) fn rest_ms(rng: &mut ChaCha8Rng, classes: &Classes, mean_ms: u64) -> u64 {
    memoryless_ms(rng, classes, mean_ms, |(weight, mean)| u64::from(*weight) * mean)
}

fn memoryless_ms(
    rng: &mut ChaCha8Rng,
    classes: &Classes,
    mean_ms: u64,
    weight: impl Fn(&(u32, u64)) -> u64,
) -> u64 {
    let total: u64 = classes.iter().map(&weight).sum();
    let mut left = below(rng, total);
    let mut permille = 1_000;
    for class in classes {
        permille = class.1;
        match left.checked_sub(weight(class)) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    let units = u128::from(exponential(rng)) * u128::from(mean_ms) * u128::from(permille);
    u64::try_from((units / 1_000) >> 32).unwrap_or(u64::MAX)
}

/// A number below `end`, every one as likely; 0 when there is none.
pub(super) fn below(rng: &mut ChaCha8Rng, end: u64) -> u64 {
    use rand::RngExt;
    if end == 0 { 0 } else { rng.random_range(0..end) }
}

/// Whether something happens that does so in so many of a thousand cases.
pub(super) fn chance(rng: &mut ChaCha8Rng, permille: u32) -> bool {
    between(rng, 1, 1_000) <= permille
}

/// Stretches of time, in order, the last of them perhaps past the end.
pub(super) type Spells = Vec<(u64, u64)>;

/// The spells of something that comes and goes: from a typical moment until `end_ms`, of `spell_ms`
/// on average with `between_ms` between. A `between_ms` of `None` is for ever.
pub(super) fn spells(
    rng: &mut ChaCha8Rng,
    (spell_ms, between_ms): (u64, Option<u64>),
    end_ms: u64,
) -> Spells {
    let Some(between_ms) = between_ms else { return Vec::new() };
    let mut spells = Vec::new();
    let mut at_ms = if below(rng, spell_ms.saturating_add(between_ms)) < spell_ms {
        let rest = rest_ms(rng, SPELLS, spell_ms);
        spells.push((0, rest));
        rest.saturating_add(length_ms(rng, BETWEEN, between_ms))
    } else {
        rest_ms(rng, BETWEEN, between_ms)
    };
    while at_ms < end_ms {
        let until_ms = at_ms.saturating_add(length_ms(rng, SPELLS, spell_ms));
        spells.push((at_ms, until_ms));
        // However short the lengths are, time goes on.
        at_ms = until_ms.saturating_add(length_ms(rng, BETWEEN, between_ms).max(1));
    }
    spells
}

/// Of each tick's start, which spell it falls into.
pub(super) fn by_tick(
    spells: &[(u64, u64)],
    gap_ms: u64,
    ticks: usize,
) -> impl Iterator<Item = Option<usize>> {
    let mut next = 0;
    (0..ticks).map(move |tick| {
        let at_ms = u64::try_from(tick).unwrap_or(u64::MAX).saturating_mul(gap_ms);
        while spells.get(next).is_some_and(|(_, until)| *until <= at_ms) {
            next += 1;
        }
        spells.get(next).filter(|(from, _)| *from <= at_ms).map(|_| next)
    })
}

#[cfg(test)]
mod tests {
    use market::random::stream;

    use super::*;

    fn sorted(classes: &Classes, draw: fn(&mut ChaCha8Rng, &Classes, u64) -> u64) -> Vec<u64> {
        let mut rng = stream(3, "test", &[]);
        let mut draws: Vec<u64> = (0..200_000).map(|_| draw(&mut rng, classes, 1_000)).collect();
        draws.sort_unstable();
        draws
    }

    #[test]
    fn classes_add_up() {
        for classes in [MEMORYLESS, SPELLS, BETWEEN, RUN_TIMES] {
            assert_eq!(classes.iter().map(|class| class.0).sum::<u32>(), 1_000);
            let mean: u64 = classes.iter().map(|(weight, mean)| u64::from(*weight) * mean).sum();
            assert_eq!(mean, 1_000_000);
        }
    }

    #[test]
    fn lengths_have_their_mean_and_their_median() {
        for (classes, medians) in
            [(MEMORYLESS, 680..706), (SPELLS, 205..230), (BETWEEN, 95..115), (RUN_TIMES, 35..60)]
        {
            let draws = sorted(classes, length_ms);
            let mean = draws.iter().sum::<u64>() / 200_000;
            assert!((950..1_050).contains(&mean), "{mean}");
            assert!(medians.contains(&draws[100_000]), "{}", draws[100_000]);
        }
    }

    #[test]
    fn what_is_left_of_a_long_spell_is_long() {
        // Memoryless: as long as ever. Else the mean rest is E[X^2] / 2 E[X] = sum of w m^2.
        let mean = |draws: &[u64]| draws.iter().sum::<u64>() / 200_000;
        assert!((985..1_015).contains(&mean(&sorted(MEMORYLESS, rest_ms))));
        // 0.7 x 0.04 + 0.25 x 1.96 + 0.05 x 104.04 = 5.72
        assert!((5_500..5_900).contains(&mean(&sorted(SPELLS, rest_ms))));
    }

    #[test]
    fn spells_take_their_share_of_time() {
        let end = 20_000_000;
        let spells = spells(&mut stream(1, "test", &[]), (300, Some(700)), end);
        let down: u64 = spells.iter().map(|(from, until)| (*until).min(end) - from).sum();
        assert!((280..320).contains(&(down * 1_000 / end)), "{}", down * 1_000 / end);
        assert!(spells.windows(2).all(|pair| pair[0].1 < pair[1].0));
        let ticks: Vec<_> = by_tick(&[(0, 10), (25, 30), (31, 32)], 10, 5).collect();
        assert_eq!(ticks, [Some(0), None, None, None, None]);
        let ticks: Vec<_> = by_tick(&[(5, 21), (30, 41)], 10, 6).collect();
        assert_eq!(ticks, [None, Some(0), Some(0), Some(1), Some(1), None]);
    }
}
