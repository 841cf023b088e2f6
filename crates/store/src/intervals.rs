//! Interval sets as text with both ends included: `0-99,105`.

use std::fmt::Write as _;

use model::IntervalSet;

use crate::StoreError;

pub(crate) fn to_text(set: &IntervalSet) -> String {
    let mut text = String::new();
    for (from, to) in set.spans() {
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ =
            if from + 1 == to { write!(text, "{from}") } else { write!(text, "{from}-{}", to - 1) };
    }
    text
}

pub(crate) fn from_text(text: &str) -> Result<IntervalSet, StoreError> {
    let mut set = IntervalSet::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parsed = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
        let Some((from, to)) =
            parsed.and_then(|(first, last)| last.checked_add(1).map(|end| (first, end)))
        else {
            return Err(StoreError::Corrupt(format!("`{part}` is not an interval")));
        };
        set.insert(from, to);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_survive_text() {
        let mut set = IntervalSet::span(0, 100);
        set.insert(105, 106);
        assert_eq!(to_text(&set), "0-99,105");
        assert_eq!(from_text("0-99,105").unwrap(), set);
        assert_eq!(from_text("").unwrap(), IntervalSet::default());
        assert!(from_text("1-").is_err() && from_text("x").is_err());
    }
}
