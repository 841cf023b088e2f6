//! Plots as SVG, in tenths of a unit and without a float: the same figures give the same bytes.

use std::fmt::Write as _;

use crate::report::words::escape;

/// Of the whole plot, in units.
pub(super) const WIDTH: u64 = 480;
pub(super) const HEIGHT: u64 = 280;

/// The field inside the axes, in tenths.
const LEFT: u64 = 620;
const TOP: u64 = 140;
const RIGHT: u64 = 4_560;
const BOTTOM: u64 = 2_420;

/// What a number along an axis stands for.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// What lies at its end.
    pub(super) max: u128,
    /// Values and what is written there.
    pub(super) marks: Vec<(u128, String)>,
    /// What it shows.
    pub(super) name: &'static str,
}

/// A plot under way.
#[derive(Debug)]
pub(super) struct Plot {
    body: String,
    x: Axis,
    y: Axis,
}

fn along(value: u128, max: u128, from: u64, to: u64) -> u64 {
    let length = u128::from(to.abs_diff(from));
    let part = (value.min(max) * length).checked_div(max).unwrap_or(0);
    let part = u64::try_from(part).unwrap_or(0);
    if to >= from { from + part } else { from - part }
}

/// Tenths as SVG reads them.
fn place(tenths: u64) -> String {
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

impl Plot {
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        let mut plot = Self { body: String::new(), x, y };
        plot.axes();
        plot
    }

    fn at(&self, x: u128, y: u128) -> (u64, u64) {
        (along(x, self.x.max, LEFT, RIGHT), along(y, self.y.max, BOTTOM, TOP))
    }

    fn axes(&mut self) {
        let marks = self.y.marks.clone();
        for (value, text) in marks {
            let (_, y) = self.at(0, value);
            self.push(&format!(
                r#"<path class="grid" d="M{} {y}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>"#,
                place(LEFT),
                place(RIGHT),
                place(LEFT - 60),
                place(y + 45),
                escape(&text),
                y = place(y),
            ));
        }
        let marks = self.x.marks.clone();
        for (value, text) in marks {
            let (x, _) = self.at(value, 0);
            self.push(&format!(
                r#"<path class="mark" d="M{x} {}v5"/><text x="{x}" y="{}" text-anchor="middle">{}</text>"#,
                place(BOTTOM),
                place(BOTTOM + 190),
                escape(&text),
                x = place(x),
            ));
        }
        self.push(&format!(
            r#"<path class="axis" d="M{} {}H{}"/><text class="name" x="{}" y="{}" text-anchor="end">{}</text>"#,
            place(LEFT),
            place(BOTTOM),
            place(RIGHT),
            place(RIGHT),
            place(BOTTOM + 340),
            escape(self.x.name),
        ));
    }

    fn push(&mut self, text: &str) {
        self.body.push_str(text);
    }

    /// A path through points, by straight lines.
    pub(super) fn line(&mut self, class: &str, points: &[(u128, u128)]) {
        let d = self.path(points);
        self.push(&format!(r#"<path class="{class}" d="{d}"/>"#));
    }

    /// The same, filled down to a lower path that runs back.
    pub(super) fn area(&mut self, class: &str, upper: &[(u128, u128)], lower: &[(u128, u128)]) {
        let back: Vec<_> = lower.iter().rev().copied().collect();
        let (there, back) = (self.path(upper), self.path(&back));
        self.push(&format!(
            r#"<path class="{class}" d="{there}L{}Z"/>"#,
            back.strip_prefix('M').unwrap_or_default(),
        ));
    }

    /// A line across, or up, with its name.
    pub(super) fn upright(&mut self, class: &str, x: u128, name: &str) {
        let (x, _) = self.at(x, 0);
        // What is named near the right end is named to the left of its line.
        let (anchor, text_x) =
            if x > (LEFT + RIGHT) / 2 { ("end", x - 50) } else { ("start", x + 50) };
        self.push(&format!(
            r#"<path class="{class}" d="M{} {}V{}"/><text x="{}" y="{}" text-anchor="{anchor}">{}</text>"#,
            place(x),
            place(TOP),
            place(BOTTOM),
            place(text_x),
            place(BOTTOM - 70),
            escape(name),
        ));
    }

    /// A level with its name.
    pub(super) fn level(&mut self, class: &str, y: u128, name: &str) {
        let (_, y) = self.at(0, y);
        self.push(&format!(
            r#"<path class="{class}" d="M{} {}H{}"/><text x="{}" y="{}">{}</text>"#,
            place(LEFT),
            place(y),
            place(RIGHT),
            place(LEFT + 60),
            place(y.saturating_sub(50)),
            escape(name),
        ));
    }

    /// What does not move either way is left out.
    fn path(&self, points: &[(u128, u128)]) -> String {
        let mut places: Vec<(u64, u64)> = Vec::with_capacity(points.len());
        for (x, y) in points {
            let here = self.at(*x, *y);
            if let [.., before, last] = places.as_mut_slice() {
                let straight = (before.1 == last.1 && last.1 == here.1)
                    || (before.0 == last.0 && last.0 == here.0);
                if straight {
                    *last = here;
                    continue;
                }
            }
            places.push(here);
        }
        let mut d = String::new();
        for (at, (x, y)) in places.into_iter().enumerate() {
            let verb = if at == 0 { 'M' } else { 'L' };
            // Writing to a string does not fail.
            let _ = write!(d, "{verb}{} {}", place(x), place(y));
        }
        d
    }

    /// The whole, with what is read out.
    pub(super) fn end(self, id: &str, title: &str, description: &str) -> String {
        svg((WIDTH, HEIGHT), id, (title, description), &self.body)
    }
}

/// An SVG element of a size in units.
pub(super) fn svg(
    (width, height): (u64, u64),
    id: &str,
    (title, description): (&str, &str),
    body: &str,
) -> String {
    format!(
        r#"<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{id}-title {id}-desc"><title id="{id}-title">{}</title><desc id="{id}-desc">{}</desc>{body}</svg>"#,
        escape(title),
        escape(description),
    )
}

/// Bars beside each other in one row: from, length, class, name.
pub(super) fn bar(y: u64, parts: &[(u64, u64, String, String)]) -> String {
    let mut body = String::new();
    for (from, length, class, name) in parts.iter().filter(|part| part.1 > 0) {
        let _ = write!(
            body,
            r#"<rect class="{class}" x="{}" y="{y}" width="{}" height="18"><title>{}</title></rect>"#,
            place(*from),
            place(*length),
            escape(name),
        );
    }
    body
}

/// A text at a place in units.
pub(super) fn text(x: u64, y: u64, anchor: &str, text: &str) -> String {
    format!(r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#, escape(text))
}

/// Round numbers up to a value, five or so: 1, 2 or 5 times a power of ten.
pub(super) fn round_marks(max: u128) -> (u128, Vec<u128>) {
    let mut power = 1_u128;
    loop {
        for step in [power, 2 * power, 5 * power] {
            if step * 5 >= max {
                let top = max.div_ceil(step).max(1);
                return (top * step, (0..=top).map(|at| at * step).collect());
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Steps of time that people count in, in milliseconds.
const TIME_STEPS: [u64; 24] = [
    1_000,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    432_000_000,
    604_800_000,
    1_209_600_000,
    2_592_000_000,
    7_776_000_000,
    15_552_000_000,
    31_104_000_000,
    155_520_000_000,
    311_040_000_000,
];

/// Round times up to one, six or so.
pub(super) fn time_marks(max_ms: u64) -> Vec<u64> {
    let fits = |step: &&u64| max_ms / **step <= 6;
    let longest = TIME_STEPS.last().copied().unwrap_or(1);
    let step = TIME_STEPS.iter().find(fits).copied();
    let step = step.unwrap_or_else(|| (max_ms / 6).max(longest));
    (0..=max_ms / step).map(|at| at * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(round_marks(0), (1, vec![0, 1]));
        assert_eq!(round_marks(47), (50, vec![0, 10, 20, 30, 40, 50]));
        assert_eq!(round_marks(11), (15, vec![0, 5, 10, 15]));
        let hour = 3_600_000;
        assert_eq!(time_marks(60 * hour), [0, 12, 24, 36, 48, 60].map(|h| h * hour));
        assert_eq!(time_marks(500), [0]);
        assert!(time_marks(u64::MAX).len() <= 7);
    }

    #[test]
    fn paths_keep_only_their_corners() {
        let axis = |max| Axis { max, marks: Vec::new(), name: "" };
        let plot = Plot::new(axis(100), axis(10));
        let path = plot.path(&[(0, 0), (50, 0), (100, 0), (100, 5), (100, 10)]);
        assert_eq!(path, "M62 242L456 242L456 14");
    }
}
