//! How a task gets on: changeover, work, checkpoints, and what an interruption leaves of them.

/// What of a task's work outlives its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// All of it, at no cost: as the papers have it.
    Continuous,
    /// Nothing.
    None,
    /// What was done at the last checkpoint.
    Periodic {
        /// Work between two checkpoints.
        period_ms: u64,
        /// What writing one takes; no work is done meanwhile.
        cost_ms: u64,
    },
}

/// What a task has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// In all, without anything around it.
    pub work_ms: u64,
    /// What each start takes before work begins.
    pub changeover_ms: u64,
    /// What outlives an attempt.
    pub checkpoint: Checkpoint,
}

/// How an attempt was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Without a word.
    Sudden,
    /// It was told so long before, and has written a checkpoint if that sufficed.
    Told {
        /// From the word to the end.
        notice_ms: u64,
    },
}

/// Where an attempt's time went: the four add up to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Course {
    /// Before work began.
    pub changeover_ms: u64,
    /// Work that need not be done again.
    pub lasting_ms: u64,
    /// Writing checkpoints.
    pub checkpoint_ms: u64,
    /// Work that has to be done again.
    pub lost_ms: u64,
}

impl Work {
    /// How long an undisturbed attempt takes from its start, when `done_ms` of the work are done.
    pub fn runtime_ms(&self, done_ms: u64) -> u64 {
        let left = self.work_ms.saturating_sub(done_ms);
        let checkpoints = match self.checkpoint {
            Checkpoint::Continuous | Checkpoint::None => 0,
            // None is written at the very end.
            Checkpoint::Periodic { period_ms, cost_ms } => {
                (left.saturating_sub(1) / period_ms.max(1)).saturating_mul(cost_ms)
            }
        };
        self.changeover_ms.saturating_add(left).saturating_add(checkpoints)
    }

    /// Where the time of an attempt went that began with `done_ms` done and was cut off after
    /// `ran_ms`; or ended by itself, if that is its whole run time.
    pub fn course(&self, done_ms: u64, ran_ms: u64, cut: Cut) -> Course {
        let changeover_ms = ran_ms.min(self.changeover_ms);
        let worked = ran_ms - changeover_ms;
        if ran_ms >= self.runtime_ms(done_ms) {
            let lasting_ms = self.work_ms.saturating_sub(done_ms).min(worked);
            return Course {
                changeover_ms,
                lasting_ms,
                checkpoint_ms: worked - lasting_ms,
                lost_ms: 0,
            };
        }
        let (lasting_ms, lost_ms) = match self.checkpoint {
            Checkpoint::Continuous => (worked, 0),
            Checkpoint::None => (0, worked),
            Checkpoint::Periodic { period_ms, cost_ms } => {
                kept_and_lost(period_ms.max(1), cost_ms, worked, cut)
            }
        };
        Course { changeover_ms, lasting_ms, checkpoint_ms: worked - lasting_ms - lost_ms, lost_ms }
    }
}

/// Of the time after the changeover: work that is kept, and work that is not.
fn kept_and_lost(period_ms: u64, cost_ms: u64, worked: u64, cut: Cut) -> (u64, u64) {
    let cycle = period_ms.saturating_add(cost_ms);
    let by_then = |ms: u64| (ms / cycle * period_ms, (ms % cycle).min(period_ms));
    match cut {
        Cut::Told { notice_ms } if notice_ms >= cost_ms && worked >= cost_ms => {
            let (written, since) = by_then(worked - cost_ms);
            (written + since, 0)
        }
        Cut::Told { .. } | Cut::Sudden => by_then(worked),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIODIC: Checkpoint = Checkpoint::Periodic { period_ms: 100, cost_ms: 10 };

    fn course(checkpoint: Checkpoint, ran_ms: u64, cut: Cut) -> (u64, u64, u64, u64) {
        let work = Work { work_ms: 300, changeover_ms: 20, checkpoint };
        let course = work.course(0, ran_ms, cut);
        (course.changeover_ms, course.lasting_ms, course.checkpoint_ms, course.lost_ms)
    }

    #[test]
    fn where_time_goes() {
        let told = Cut::Told { notice_ms: 10 };
        assert_eq!(course(Checkpoint::Continuous, 15, Cut::Sudden), (15, 0, 0, 0));
        assert_eq!(course(Checkpoint::Continuous, 150, Cut::Sudden), (20, 130, 0, 0));
        assert_eq!(course(Checkpoint::None, 150, told), (20, 0, 0, 130));
        assert_eq!(course(PERIODIC, 120, Cut::Sudden), (20, 0, 0, 100));
        assert_eq!(course(PERIODIC, 125, Cut::Sudden), (20, 0, 5, 100));
        assert_eq!(course(PERIODIC, 130, Cut::Sudden), (20, 100, 10, 0));
        assert_eq!(course(PERIODIC, 150, Cut::Sudden), (20, 100, 10, 20));
        assert_eq!(course(PERIODIC, 150, told), (20, 110, 20, 0));
        assert_eq!(course(PERIODIC, 150, Cut::Told { notice_ms: 9 }), (20, 100, 10, 20));
        // Two checkpoints on the way, none at the end.
        let work = Work { work_ms: 300, changeover_ms: 20, checkpoint: PERIODIC };
        assert_eq!(work.runtime_ms(0), 340);
        assert_eq!(course(PERIODIC, 340, Cut::Sudden), (20, 300, 20, 0));
    }

    proptest! {
        #[test]
        fn the_four_add_up_and_progress_never_shrinks(
            work_ms in 1_u64..1_000, changeover_ms in 0_u64..50, done in 0_u64..1_000,
            ran in 0_u64..2_000, period_ms in 1_u64..200, cost_ms in 0_u64..30, kind in 0..3,
            notice_ms in 0_u64..40,
        ) {
            let checkpoint = match kind {
                0 => Checkpoint::Continuous,
                1 => Checkpoint::None,
                _ => Checkpoint::Periodic { period_ms, cost_ms },
            };
            let work = Work { work_ms, changeover_ms, checkpoint };
            let done = done.min(work_ms);
            let ran = ran.min(work.runtime_ms(done));
            for cut in [Cut::Sudden, Cut::Told { notice_ms }] {
                let it = work.course(done, ran, cut);
                prop_assert_eq!(
                    it.changeover_ms + it.lasting_ms + it.checkpoint_ms + it.lost_ms, ran
                );
                prop_assert!(done + it.lasting_ms <= work_ms);
                let more = work.course(done, ran + 1, cut);
                prop_assert!(checkpoint == Checkpoint::None || more.lasting_ms >= it.lasting_ms);
            }
        }
    }
}
