//! Seeded streams of randomness: one for each purpose, so that one more draw shifts nothing else.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The stream of a purpose: `parts` say whose (a pool, a machine's ordinal).
pub fn stream(seed: u64, purpose: &str, parts: &[&str]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for part in std::iter::once(&purpose).chain(parts) {
        hash.update([0]);
        hash.update(part.as_bytes());
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// An exponentially distributed number with mean 1, in units of 2^-32.
///
/// Von Neumann's method of 1951 needs comparisons only, and so gives the same bits on every
/// machine, which a logarithm in floating point does not promise.
pub fn exponential(rng: &mut ChaCha8Rng) -> u64 {
    // Each round fails with probability 1/e; 64 in a row do not happen.
    for whole in 0..64_u64 {
        let first = rng.next_u32();
        let (mut last, mut length) = (first, 1_u32);
        loop {
            let next = rng.next_u32();
            if next >= last {
                break;
            }
            last = next;
            length += 1;
        }
        if length % 2 == 1 {
            return (whole << 32) | u64::from(first);
        }
    }
    u64::MAX >> 1
}

/// A number of `low..=high`.
pub fn between(rng: &mut ChaCha8Rng, low: u32, high: u32) -> u32 {
    rng.random_range(low..=high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_has_mean_and_median_of_its_law() {
        let mut rng = stream(7, "test", &[]);
        let mut draws: Vec<u64> = (0..20_000).map(|_| exponential(&mut rng)).collect();
        draws.sort_unstable();
        let mean = draws.iter().sum::<u64>() / 20_000;
        let permille = |units: u64| (units * 1000) >> 32;
        assert!((970..1030).contains(&permille(mean)), "{}", permille(mean));
        // ln 2 = 0.693, and ln 10 = 2.303 for the last decile.
        assert!((670..716).contains(&permille(draws[10_000])), "{}", permille(draws[10_000]));
        assert!((2230..2380).contains(&permille(draws[18_000])), "{}", permille(draws[18_000]));
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_part() {
        let first = |seed, purpose, parts: &[&str]| stream(seed, purpose, parts).next_u64();
        let base = first(1, "a", &["b"]);
        assert_eq!(base, first(1, "a", &["b"]));
        for other in [first(2, "a", &["b"]), first(1, "b", &["b"]), first(1, "a", &["c"])] {
            assert_ne!(base, other);
        }
    }
}
