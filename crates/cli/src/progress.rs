//! What is shown of work that takes its time, on stderr: a bar on a terminal, otherwise a line every
//! few seconds once it takes longer than two.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Screen;

/// What takes longer than this is told of where no bar can be shown.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two lines where no bar can be shown.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Tasks,
    Jobs,
    Cases,
    Bytes,
}

impl Unit {
    fn amount(self, count: u64) -> String {
        match self {
            Self::Bytes => bytes(count),
            _ => count.to_string(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Tasks => " tasks",
            Self::Jobs => " jobs",
            Self::Cases => " cases",
            Self::Bytes => "",
        }
    }
}

/// An amount of bytes in three or four digits.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scale = 0;
    let mut tenths = u128::from(count) * 10;
    while tenths >= 10_240 && scale + 1 < UNITS.len() {
        tenths /= 1024;
        scale += 1;
    }
    let unit = UNITS[scale];
    if scale == 0 {
        format!("{count} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// Work under way.
pub(crate) struct Progress {
    screen: Screen,
    unit: Unit,
    bar: ProgressBar,
    start: Instant,
    /// Where it stood when we began to look.
    first: Option<u64>,
    last_line: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(screen: Screen, unit: Unit) -> Self {
        let target =
            if screen.live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:10.cyan/blue} {wide_msg}") {
            bar.set_style(style);
        }
        Self { screen, unit, bar, start: Instant::now(), first: None, last_line: None }
    }

    /// Shows where it stands; `more` is what else there is to say. With a total of 0 nobody knows how
    /// much there is.
    pub(crate) fn at(&mut self, position: u64, total: u64, more: &str) {
        let first = *self.first.get_or_insert(position);
        let elapsed = self.start.elapsed();
        let text = text(self.unit, elapsed, [first, position, total], more);
        if self.screen.live {
            self.bar.set_length(total);
            self.bar.set_position(position);
            self.bar.set_message(text);
            return;
        }
        let due = self.last_line.map_or(elapsed >= PATIENCE, |last| last.elapsed() >= LINE_EVERY);
        if due {
            self.last_line = Some(Instant::now());
            self.screen.say(&format!("{} s: {text}", elapsed.as_secs()));
        }
    }

    /// Writes to the terminal without disturbing the bar.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Where it stands, how fast it goes and when it will be done, if it goes on so.
fn text(unit: Unit, elapsed: Duration, [first, position, total]: [u64; 3], more: &str) -> String {
    let of = if total > 0 { format!("/{}", unit.amount(total)) } else { String::new() };
    let mut parts = vec![format!("{}{of}{}", unit.amount(position), unit.word())];
    let (ms, done) = (elapsed.as_millis(), u128::from(position.saturating_sub(first)));
    if ms >= 1000 && done > 0 {
        let tenths = u64::try_from(done * 10_000 / ms).unwrap_or(u64::MAX);
        parts.push(match unit {
            Unit::Bytes => format!("{}/s", bytes(tenths / 10)),
            _ => format!("{}.{}/s", tenths / 10, tenths % 10),
        });
        if total > 0 {
            let left_ms = ms * u128::from(total.saturating_sub(position)) / done;
            let left_ms = u64::try_from(left_ms).unwrap_or(u64::MAX);
            parts.push(format!("{} left", crate::render::short(left_ms)));
        }
    }
    let text = parts.join(", ");
    if more.is_empty() { text } else { format!("{text}; {more}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_amount_rate_and_rest() {
        let at = |unit, seconds, numbers| text(unit, Duration::from_secs(seconds), numbers, "");
        assert_eq!(at(Unit::Tasks, 0, [0, 0, 2000]), "0/2000 tasks");
        assert_eq!(at(Unit::Tasks, 10, [100, 350, 2000]), "350/2000 tasks, 25.0/s, 1m 6s left");
        assert_eq!(
            at(Unit::Bytes, 2, [0, 3 << 20, 300 << 20]),
            "3.0 MiB/300.0 MiB, 1.5 MiB/s, 3m 18s left"
        );
        assert_eq!(
            text(Unit::Jobs, Duration::from_secs(1), [0, 1, 1], "done"),
            "1/1 jobs, 1.0/s, 0s left; done"
        );
        // How much there is to come is not known of a stream.
        assert_eq!(at(Unit::Cases, 10, [0, 25, 0]), "25 cases, 2.5/s");
        // Nothing has moved since we look: no rate, and no promise.
        assert_eq!(at(Unit::Jobs, 60, [5, 5, 9]), "5/9 jobs");
    }

    #[test]
    fn bytes_are_short() {
        let told: Vec<_> = [0, 1023, 1024, 1536, 1 << 20, u64::MAX].map(bytes).to_vec();
        assert_eq!(told, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "16777215.9 TiB"]);
    }
}
