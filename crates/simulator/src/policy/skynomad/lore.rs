//! What a task has seen of a pool, and how long it expects a spot machine there to live.
//!
//! Floats stay in here: a lifetime leaves as hours for [`super::utility`], which quantises what it
//! makes of it before anything is compared.

use std::collections::VecDeque;

use model::MicroUsd;

const MS_PER_HOUR: f64 = 3_600_000.0;
/// Hazard of a pool of which no loss is known, a tick.
const LEAST_HAZARD: f64 = 1e-8;
/// Expected losses that are remembered; a burst is looked for in the last one of them.
const MEMORY: f64 = 8.0;

/// How a pool was seen to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// By holding a machine of it.
    Held,
    /// By a probe.
    Probed,
}

/// How that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The market took it.
    Lost,
    /// The task left it: a censored sample.
    Left,
}

/// What a task has seen of a pool.
#[derive(Debug, Clone, Default)]
pub(super) struct Lore {
    /// Lifetimes seen, by length; whether they ended by a loss.
    lives: Vec<(u64, bool)>,
    /// The one that goes on: since when.
    open: Option<(u64, Seen)>,
    /// Losses and refusals since the last look.
    losses: u32,
    /// The age at the last look, if a machine was held.
    held_ms: Option<u64>,
    /// The age at the last look at a probed one; it outlives the run.
    probed_ms: Option<u64>,
    /// Whether the pool is believed to be there, if anything is.
    believed: Option<bool>,
    /// A probe has found it, and it has not been taken since.
    pub(super) is_probed: bool,
    /// It was refused at this decision.
    pub(super) is_refused: bool,
    /// Not probed before.
    pub(super) next_probe_ms: u64,
    /// What probes cost since the last look, in micro-USD an hour x milliseconds.
    paid: i128,
    /// What all probes cost before, in hours of its spot price.
    paid_h: f64,
    bursts: Bursts,
}

impl Lore {
    /// It is seen to be there from now on.
    pub(super) fn begin(&mut self, now_ms: u64, seen: Seen) {
        self.open = Some((now_ms, seen));
    }

    /// It is not seen any longer.
    pub(super) fn end(&mut self, now_ms: u64, end: End) {
        let lost = end == End::Lost;
        if let Some((since, _)) = self.open.take() {
            let life = (now_ms.saturating_sub(since), lost);
            let at = self.lives.partition_point(|other| *other < life);
            self.lives.insert(at, life);
        }
        self.losses += u32::from(lost);
    }

    /// A spot machine was bought.
    pub(super) fn hold(&mut self, now_ms: u64) {
        self.begin(now_ms, Seen::Held);
        self.held_ms = Some(0);
        self.probed_ms = None;
        self.is_refused = false;
    }

    /// Before a spot machine is asked for, a probed life ends.
    pub(super) fn before_launch(&mut self, now_ms: u64) {
        if self.is_probed {
            self.end(now_ms, End::Left);
            self.is_probed = false;
            self.probed_ms = None;
        }
    }

    /// A spot machine was refused.
    pub(super) fn refuse(&mut self, now_ms: u64) {
        self.is_refused = true;
        self.losses += 1;
        self.believe(now_ms, false);
    }

    /// A probe found it, at a price; `held` says that the task has a spot machine there.
    pub(super) fn found(&mut self, now_ms: u64, price: i128, held: bool) {
        self.paid += price;
        self.begin(now_ms, Seen::Probed);
        self.is_probed = true;
        self.probed_ms = Some(0);
        if !held {
            self.believe(now_ms, true);
        }
    }

    /// A probe did not find it.
    pub(super) fn missed(&mut self, now_ms: u64) {
        self.losses += 1;
        self.probed_ms = None;
        self.believe(now_ms, false);
    }

    /// Not to be told of the pool whose machine is held.
    pub(super) fn believe(&mut self, now_ms: u64, is_there: bool) {
        match (self.believed.replace(is_there), is_there) {
            (Some(true), false) => self.end(now_ms, End::Lost),
            (None | Some(false), true) => self.begin(now_ms, Seen::Probed),
            (Some(true), true) | (None | Some(false), false) => {}
        }
    }

    /// Hours that a spot machine bought now is expected to live, or the one held to live on; to be
    /// asked once a decision.
    pub(super) fn look(&mut self, now_ms: u64, gap_ms: u64, spot: MicroUsd) -> f64 {
        if spot.0 > 0 {
            self.paid_h += float(self.paid) / float(i128::from(spot.0)) / MS_PER_HOUR;
        }
        self.paid = 0;
        let curve = Curve::of(&self.lives, self.age_ms(now_ms));
        self.heed(now_ms, gap_ms, &curve);
        let age_h = hours(self.age_ms(now_ms).unwrap_or(0)).max(self.paid_h);
        curve.expected_h(age_h, self.bursts.haste(), hours(gap_ms))
    }

    fn age_ms(&self, now_ms: u64) -> Option<u64> {
        self.open.map(|(since, _)| now_ms.saturating_sub(since))
    }

    /// Sets the losses since the last look against those that the curve made expect.
    fn heed(&mut self, now_ms: u64, gap_ms: u64, curve: &Curve) {
        let seen = self.open.map(|(_, seen)| seen);
        let age_ms = self.age_ms(now_ms);
        let before = match seen {
            Some(Seen::Held) => self.held_ms,
            Some(Seen::Probed) => self.probed_ms,
            None => None,
        };
        let ages = age_ms.map(|age| (before.unwrap_or_else(|| age.saturating_sub(gap_ms)), age));
        match seen {
            Some(Seen::Held) => self.held_ms = age_ms,
            Some(Seen::Probed) => (self.held_ms, self.probed_ms) = (None, age_ms),
            None => self.held_ms = None,
        }
        let losses = std::mem::take(&mut self.losses);
        let mut risk = ages.map_or(0.0, |(from, to)| curve.hazard(to) - curve.hazard(from));
        if risk <= 0.0 && (ages.is_some() || losses > 0) {
            risk = match (curve.last_ms(), ages) {
                (None, _) => curve.tail * hours(gap_ms),
                (Some(last), Some((from, to))) if from >= last => {
                    curve.tail * hours(to.saturating_sub(from))
                }
                (Some(_), _) => 0.0,
            };
        }
        if losses > 0 && risk <= 0.0 {
            risk = curve.tail * hours(gap_ms);
        }
        self.bursts.push(risk.max(0.0), losses);
    }
}

/// Nelson-Aalen: how the hazard of a pool's machines adds up with their age.
#[derive(Debug)]
struct Curve {
    /// Ages at which machines were lost, and the share that was.
    steps: Vec<(u64, f64)>,
    /// Hazard a tick past the last one.
    tail: f64,
}

impl Curve {
    /// Of lives by length, and the one that goes on.
    fn of(lives: &[(u64, bool)], open_ms: Option<u64>) -> Self {
        let open_ms = open_ms.filter(|age| *age > 0);
        let mut steps = Vec::new();
        let mut reached = count(lives.iter());
        for same in lives.chunk_by(|one, other| one.0 == other.0) {
            let Some((age, _)) = same.first() else { continue };
            let lost = count(same.iter().filter(|life| life.1));
            if lost > 0 {
                let open = u32::from(open_ms.is_some_and(|open| open >= *age));
                steps.push((*age, f64::from(lost) / f64::from(reached + open)));
            }
            reached -= count(same.iter());
        }
        let tail = steps.last().map_or(LEAST_HAZARD, |step| step.1.max(LEAST_HAZARD));
        Self { steps, tail }
    }

    fn last_ms(&self) -> Option<u64> {
        self.steps.last().map(|step| step.0)
    }

    /// Expected losses until an age.
    fn hazard(&self, age_ms: u64) -> f64 {
        let passed = self.steps.iter().take_while(|step| step.0 < age_ms);
        let (sum, last) = passed.fold((0.0, 0), |(sum, _), step| (sum + step.1, step.0));
        sum + hours(age_ms.saturating_sub(last)) * self.tail
    }

    /// Hours to live on from an age, with all hazard `haste` times as high.
    fn expected_h(&self, age_h: f64, haste: f64, gap_h: f64) -> f64 {
        let (mut expected, mut alive, mut at_h) = (0.0, 1.0, age_h);
        for (age_ms, step) in &self.steps {
            let to_h = hours(*age_ms);
            if to_h > at_h + 1e-12 {
                expected += alive * (to_h - at_h);
                alive *= (-haste * step).exp();
                at_h = to_h;
            }
        }
        let dies = 1.0 - (-haste * self.tail).exp();
        expected + alive * gap_h / if dies > 1e-9 { dies } else { (haste * self.tail).max(1e-9) }
    }
}

/// Losses set against the losses that were expected: more of them lately than the curve says make it
/// steeper.
#[derive(Debug, Clone, Default)]
struct Bursts {
    /// Expected and seen, the latest last; stretches without a loss are one.
    events: VecDeque<(f64, u32)>,
    /// Expected, of all of these.
    expected: f64,
}

impl Bursts {
    fn push(&mut self, risk: f64, losses: u32) {
        if risk <= 0.0 && losses == 0 {
            return;
        }
        self.expected += risk;
        match self.events.back_mut() {
            Some((sum, 0)) if losses == 0 => *sum += risk,
            _ => self.events.push_back((risk, losses)),
        }
        while self.events.front().is_some_and(|oldest| self.expected - oldest.0 >= MEMORY) {
            self.expected -= self.events.pop_front().map_or(0.0, |oldest| oldest.0);
        }
    }

    /// Losses by expected loss in the densest stretch until now with at most one expected; 1 at least,
    /// and until one loss was to be expected in all.
    fn haste(&self) -> f64 {
        if self.expected < 1.0 {
            return 1.0;
        }
        let (mut risk, mut losses, mut densest) = (0.0, 0, 1.0_f64);
        for (at, event) in self.events.iter().rev().enumerate() {
            risk += event.0;
            losses += event.1;
            let ratio = f64::from(losses) / if risk > 0.0 { risk } else { 1e-6 };
            if risk <= 1.0 + 1e-9 || at == 0 {
                densest = densest.max(ratio);
            }
            if risk > 1.0 + 1e-9 {
                break;
            }
        }
        densest
    }
}

fn count<T>(of: impl Iterator<Item = T>) -> u32 {
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}

fn hours(ms: u64) -> f64 {
    float(i128::from(ms)) / MS_PER_HOUR
}

/// To the nearest double.
fn float(value: i128) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::{Bursts, Curve, End, Lore, Seen};
    use model::MicroUsd;

    const HOUR_MS: u64 = 3_600_000;

    /// Lives of 1 (lost), 2 (left) and 4 hours (lost), and one that is 3 hours old now. At 1 hour one
    /// of four was lost, at 4 hours one of one.
    #[test]
    fn a_curve_by_hand() {
        let lives = [(HOUR_MS, true), (2 * HOUR_MS, false), (4 * HOUR_MS, true)];
        let curve = Curve::of(&lives, Some(3 * HOUR_MS));
        assert_eq!(curve.steps, [(HOUR_MS, 0.25), (4 * HOUR_MS, 1.0)]);
        // At 3 hours a step of 1/4 is behind it, and two hours at the tail's hazard of 1.
        assert!((curve.hazard(3 * HOUR_MS) - 2.25).abs() < 1e-12);
        // From 3 hours: 1 hour for sure, then e^-1 x 0.5 / (1 - e^-1), with ticks of half an hour.
        let e = (-1.0_f64).exp();
        let expected = 1.0 + e * 0.5 / (1.0 - e);
        assert!((curve.expected_h(3.0, 1.0, 0.5) - expected).abs() < 1e-12);
        // Twice the hazard: e^-2.
        let expected = 1.0 + e * e * 0.5 / (1.0 - e * e);
        assert!((curve.expected_h(3.0, 2.0, 0.5) - expected).abs() < 1e-12);
    }

    #[test]
    fn bursts_are_of_the_last_expected_loss() {
        let mut bursts = Bursts::default();
        bursts.push(0.5, 3);
        // Not enough seen.
        assert!((bursts.haste() - 1.0).abs() < 1e-12);
        bursts.push(0.25, 0);
        bursts.push(0.25, 0);
        // Three where one was expected.
        assert!((bursts.haste() - 3.0).abs() < 1e-12);
        bursts.push(0.5, 1);
        // The three are beyond one expected loss by now.
        assert!((bursts.haste() - 2.0).abs() < 1e-12);
        assert_eq!(bursts.events.len(), 3);
    }

    #[test]
    fn a_refusal_of_what_was_believed_ends_a_life() {
        let mut lore = Lore::default();
        lore.found(0, 0, false);
        assert_eq!(lore.open, Some((0, Seen::Probed)));
        lore.before_launch(HOUR_MS);
        lore.refuse(HOUR_MS);
        // The probed life was left before it was asked for, and nothing was open then.
        assert_eq!((lore.lives.clone(), lore.losses), (vec![(HOUR_MS, false)], 2));
        lore.hold(2 * HOUR_MS);
        lore.end(3 * HOUR_MS, End::Lost);
        assert_eq!(lore.lives, [(HOUR_MS, false), (HOUR_MS, true)]);
        assert!(lore.look(3 * HOUR_MS, HOUR_MS, MicroUsd(0)).is_finite());
    }
}
