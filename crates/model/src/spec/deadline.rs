//! When a job should be done.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::reader::Reader;
use super::{Fault, limits};
use crate::{Timestamp, parse_duration_ms};

/// When a job should be done.
///
/// The absolute form is kept as it was given: who parses a document has no clock, and whoever
/// takes the job in may do so much later than it was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deadline {
    /// So many milliseconds after its submission.
    AfterMs(u64),
    /// At this time.
    At(Timestamp),
}

impl Deadline {
    /// The moment, for a job that was submitted at this time.
    pub fn of(self, submitted: Timestamp) -> Timestamp {
        match self {
            Self::AfterMs(ms) => submitted.later_by(ms),
            Self::At(at) => at,
        }
    }
}

impl std::str::FromStr for Deadline {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is not a deadline: write how long after submission (\"60h\", \"90m\") or \
                 a time like \"2031-05-01T18:00:00Z\""
            )
        };
        if text.contains(':') {
            return moment(text).map(Self::At).ok_or_else(expected);
        }
        let ms = parse_duration_ms(text).map_err(|_| expected())?;
        if (1..=limits::DURATION_MS).contains(&ms) {
            Ok(Self::AfterMs(ms))
        } else {
            Err(format!("`{text}` is outside 1 ms to ten years"))
        }
    }
}

/// RFC 3339, in UTC or with an offset.
fn moment(text: &str) -> Option<Timestamp> {
    let offset_at = text.len().checked_sub(6).filter(|at| text.is_char_boundary(*at));
    let offset = offset_at.map(|at| text.split_at(at)).and_then(|(local, offset)| {
        let sign = match offset.as_bytes().first()? {
            b'+' => -1,
            b'-' => 1,
            _ => return None,
        };
        let (hours, minutes) = offset.get(1..)?.split_once(':')?;
        let two = |text: &str| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse::<i64>().ok() } else { None }
        };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        (hours < 24 && minutes < 60).then_some((local, sign * (hours * 60 + minutes) * 60_000))
    });
    match offset {
        Some((local, ms)) => format!("{local}Z").parse().ok().map(|at: Timestamp| at.plus_ms(ms)),
        None => text.parse().ok(),
    }
}

pub(super) fn parse_deadline(field: Reader<'_, '_>) -> Option<Deadline> {
    field.parsed(str::parse)
}

/// The fault of a document whose deadline is past at `now`, as far as it can be read: beside those
/// that [`JobSpec::parse`](super::JobSpec::parse) tells without a clock.
pub fn past_deadline(document: &Value, now: Timestamp) -> Option<Fault> {
    let text = document.get("deadline")?.as_str()?;
    match text.parse().ok()? {
        Deadline::At(at) if at <= now => Some(Fault {
            pointer: "/deadline".to_owned(),
            detail: format!("`{text}` is past: it is {now}"),
        }),
        Deadline::At(_) | Deadline::AfterMs(_) => None,
    }
}
