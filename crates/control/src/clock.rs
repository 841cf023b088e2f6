//! The time of a step.

use model::{Clamp, Timestamp};

/// What a leader's steps take for the time: what has passed by a clock that does not jump, led slowly to
/// the wall clock. A wall clock that is set while somebody leads must neither let all leases run out at
/// once nor stop all timers; and the leader before may have had one that was far ahead.
#[derive(Debug, Clone, Copy)]
pub struct StepClock {
    last: Timestamp,
    /// When that was, in milliseconds of a clock that does not jump.
    passed_ms: u64,
    /// What is left of a division.
    rest_ms: u64,
}

impl StepClock {
    /// A difference to the wall clock is made up for by one part in so many of what passes: a lease of
    /// 30 s takes 27 s at the worst, and a clock that was ten minutes off is right after 100 minutes.
    /// (chrony slews by up to 8.3 %, `maxslewrate`.)
    pub const SLEW: u64 = 10;

    /// For a leader that begins now, with the last step at `head`: nothing runs yet that could run out.
    pub fn begin(head: Timestamp, wall: Timestamp, passed_ms: u64) -> Self {
        Self { last: head.max(wall), passed_ms, rest_ms: 0 }
    }

    /// The time at `passed_ms`; it never runs backwards.
    pub fn now(&mut self, wall: Timestamp, passed_ms: u64) -> Timestamp {
        let elapsed_ms = passed_ms.saturating_sub(self.passed_ms);
        self.passed_ms = self.passed_ms.max(passed_ms);
        let straight = self.last.later_by(elapsed_ms);
        let (most_ms, rest_ms) =
            ((elapsed_ms + self.rest_ms) / Self::SLEW, (elapsed_ms + self.rest_ms) % Self::SLEW);
        self.rest_ms = rest_ms;
        let ahead_ms = wall.since(straight).min(most_ms);
        let behind_ms = straight.since(wall).min(most_ms).min(elapsed_ms);
        self.last = straight.later_by(ahead_ms).plus_ms(-Clamp::<i64>::clamped(behind_ms));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn time_goes_on_after_a_clock_that_was_ahead() {
        let mut clock = StepClock::begin(at(1_000_000), at(400_000), 0);
        assert_eq!(clock.now(at(400_000), 0), at(1_000_000));
        // Slower than the wall, until that has caught up.
        assert_eq!(clock.now(at(410_000), 10_000), at(1_009_000));
        let mut passed_ms = 10_000;
        while passed_ms < 7_000_000 {
            passed_ms += 7;
            clock.now(at(400_000 + i64::try_from(passed_ms).expect("small")), passed_ms);
        }
        assert_eq!(clock.now(at(7_410_000), 7_010_000), at(7_410_000));
    }

    #[test]
    fn a_clock_that_jumps_is_followed_slowly() {
        let mut clock = StepClock::begin(at(0), at(1_000_000), 50);
        assert_eq!(clock.now(at(1_000_100), 150), at(1_000_100));
        // Ten minutes ahead all of a sudden: a lease of 30 s still takes 27 s.
        let later = clock.now(at(1_627_100), 27_150);
        assert_eq!(later, at(1_029_800));
        // And set back again.
        assert_eq!(clock.now(at(1_027_200), 27_250), at(1_029_890));
    }
}
