//! How long a configuration lasts: events, and how many of them made all be configured anew.

/// Arrivals and completions of jobs, and full reconfigurations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct History {
    events: u64,
    first_ms: u64,
    last_ms: u64,
    fulls: u64,
}

impl History {
    /// A job has come or is done.
    pub(super) fn event(&mut self, at_ms: u64) {
        self.first_ms = if self.events == 0 { at_ms } else { self.first_ms.min(at_ms) };
        self.last_ms = self.last_ms.max(at_ms);
        self.events += 1;
    }

    /// A full reconfiguration was chosen.
    pub(super) fn full(&mut self) {
        self.fulls += 1;
    }

    /// The mean time to the next full reconfiguration, D̂ = −1 / (λ ln(1 − p)): λ is the rate of
    /// events, p how many of them have led to one. Before the first one it is as long as the run
    /// has lasted, as Eva's code has it. In whole milliseconds.
    pub(super) fn lasts_ms(&self, now_ms: u64) -> u64 {
        if self.fulls == 0 {
            return now_ms;
        }
        if self.fulls >= self.events || self.events < 2 {
            return 0;
        }
        let between_ms = lossy(self.last_ms.saturating_sub(self.first_ms)) / lossy(self.events - 1);
        let p = lossy(self.fulls) / lossy(self.events);
        whole(-between_ms / (1.0 - p).ln())
    }
}

/// Counts and times of a run are far below 2^53.
fn lossy(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from float stops at the ends of the integer, and the value is not negative"
)]
fn whole(ms: f64) -> u64 {
    ms.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasts_as_long_as_events_do_not_lead_to_another() {
        let mut history = History::default();
        assert_eq!(history.lasts_ms(60_000), 60_000);
        // Five events in 400 s: one in 100 s.
        for at_s in [10, 20, 60, 300, 410] {
            history.event(at_s * 1_000);
        }
        assert_eq!(history.lasts_ms(500_000), 500_000);
        // p = 1/5: 100 s / -ln 0.8 = 100 s / 0.2231436 = 448.142 s.
        history.full();
        assert_eq!(history.lasts_ms(500_000), 448_142);
        // p = 2/5: 100 s / -ln 0.6 = 100 s / 0.5108256 = 195.762 s.
        history.full();
        assert_eq!(history.lasts_ms(500_000), 195_762);
        for _ in 0..3 {
            history.full();
        }
        assert_eq!(history.lasts_ms(500_000), 0);
    }
}
