//! Amounts as they are read.

use std::fmt;

use model::{Clamp, MicroUsd};

/// Money: two decimals, four below a dollar; thousands apart.
pub fn dollars(amount: MicroUsd) -> String {
    let micro = amount.0.unsigned_abs();
    let sign = if amount.0 < 0 { "-" } else { "" };
    if micro == 0 {
        return "$0".to_owned();
    }
    if micro < 1_000_000 {
        let at = (micro + 50) / 100;
        return format!("{sign}${}.{:04}", at / 10_000, at % 10_000);
    }
    let cents = (micro + 5_000) / 10_000;
    format!("{sign}${}.{:02}", thousands(cents / 100), cents % 100)
}

/// `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Of a whole, in thousandths, to the nearest; nothing of nothing.
pub fn per_mille(part: MicroUsd, whole: MicroUsd) -> Option<u64> {
    if whole.0 <= 0 {
        return None;
    }
    let (part, whole) = (i128::from(part.0.max(0)), i128::from(whole.0));
    u64::try_from((part * 1_000 + whole / 2) / whole).ok()
}

/// `53.1 %` of thousandths.
pub(crate) fn percent(per_mille: u64) -> String {
    format!("{}.{}\u{a0}%", per_mille / 10, per_mille % 10)
}

/// A length of time in its two largest units: `2d 6h`, `12m`, `1.5s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Milliseconds.
    pub ms: u64,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms < 60_000 {
            let text = match (self.ms / 1_000, self.ms % 1_000) {
                (seconds, 0) => format!("{seconds}s"),
                (seconds, ms) => format!("{seconds}.{}s", ms / 100),
            };
            return f.pad(&text);
        }
        let seconds = (self.ms + 500) / 1_000;
        let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let mut left = seconds;
        let mut parts = Vec::new();
        for (name, size) in units {
            let count = left / size;
            left %= size;
            if count > 0 {
                parts.push(format!("{count}{name}"));
            } else if !parts.is_empty() {
                break;
            }
            if parts.len() == 2 {
                break;
            }
        }
        f.pad(&parts.join(" "))
    }
}

/// A number with one decimal, of tenths.
pub(crate) fn tenths(value: u64) -> String {
    if value.is_multiple_of(10) {
        thousands(value / 10)
    } else {
        format!("{}.{}", thousands(value / 10), value % 10)
    }
}

/// Hours with one decimal.
pub(crate) fn hours(ms: u128) -> String {
    let value: u64 = ((ms + 180_000) / 360_000).clamped();
    format!("{} h", tenths(value))
}

/// Text into HTML, wherever it stands: ids and names come from other people's files.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Marks that turn the direction of what follows would make one id look like another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.push('\u{fffd}');
            }
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

/// `1 job`, `2 jobs`.
pub(crate) fn many(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{} {word}s", thousands(count)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_right() {
        let money = [0, 49, 50, 999_949, 1_004_999, 1_005_000, 1_234_567_890_000, -2_500_000];
        let money: Vec<_> = money.map(|micro| dollars(MicroUsd(micro))).to_vec();
        assert_eq!(
            money,
            ["$0", "$0.0000", "$0.0001", "$0.9999", "$1.00", "$1.01", "$1,234,567.89", "-$2.50"]
        );
        let spans = [0, 1_500, 59_000, 90_000, 3_600_000, 7_260_000, 194_400_000, 86_401_000];
        let spans: Vec<_> = spans.map(|ms| Span { ms }.to_string()).to_vec();
        assert_eq!(spans, ["0s", "1.5s", "59s", "1m 30s", "1h", "2h 1m", "2d 6h", "1d"]);
        assert_eq!(per_mille(MicroUsd(1), MicroUsd(3)), Some(333));
        assert_eq!(per_mille(MicroUsd(1), MicroUsd(0)), None);
        assert_eq!((percent(531), hours(5_400_000)), ("53.1\u{a0}%".into(), "1.5 h".into()));
    }

    #[test]
    fn nothing_of_a_file_becomes_markup() {
        let hostile = "<script>alert('x')</script>&\"\u{202e}\n\x1b";
        assert_eq!(
            escape(hostile),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}  "
        );
    }
}
