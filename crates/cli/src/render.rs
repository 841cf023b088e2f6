//! Answers of the API as text for people: pure functions from values.

mod jobs;
mod nodes;

use model::{Clamp, JobStatus, MicroUsd, TaskStatus, Timestamp, format_duration};

pub(crate) use jobs::{attempts, counts, jobs, task, tasks};

use crate::output::{Paint, Tone};

/// How long ago, in at most two units.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    short(now.since(at))
}

/// A duration in whole seconds, in at most two units.
pub(crate) fn short(ms: u64) -> String {
    let text = format_duration(ms / 1000 * 1000);
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Money to a hundredth of a cent; the exact amount is in the JSON.
pub(crate) fn dollars(amount: MicroUsd) -> String {
    let micro = amount.0.unsigned_abs();
    let sign = if amount.0 < 0 { "-" } else { "" };
    format!("{sign}${}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
}

/// The share that was saved against on-demand, in whole percent.
pub(crate) fn saved(paid: MicroUsd, on_demand: MicroUsd) -> String {
    if on_demand.0 <= 0 {
        return "-".to_owned();
    }
    let percent: i64 = (i128::from(on_demand.0 - paid.0) * 100 / i128::from(on_demand.0)).clamped();
    format!("{percent}%")
}

/// `1 task`, `2 tasks`.
pub(crate) fn many(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

pub(crate) fn job_status(status: JobStatus, paint: Paint) -> String {
    let tone = match status {
        JobStatus::Submitted | JobStatus::Waiting => Tone::Dim,
        JobStatus::Running | JobStatus::Stopping => Tone::Busy,
        JobStatus::Succeeded => Tone::Good,
        JobStatus::Failed | JobStatus::Cancelled => Tone::Bad,
    };
    paint.paint(status.as_str(), tone)
}

fn task_tone(status: TaskStatus) -> Tone {
    match status {
        TaskStatus::Waiting | TaskStatus::Backoff => Tone::Dim,
        TaskStatus::Assigned | TaskStatus::Running | TaskStatus::Leaving => Tone::Busy,
        TaskStatus::Succeeded => Tone::Good,
        TaskStatus::Failed | TaskStatus::Cancelled => Tone::Bad,
    }
}

/// The word that JSON uses for a closed enum.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_time_are_short() {
        assert_eq!(dollars(MicroUsd(1_234_567)), "$1.2345");
        assert_eq!(dollars(MicroUsd(-99)), "-$0.0000");
        assert_eq!(short(83_999), "1m 23s");
        assert_eq!(short(90_061_000), "1day 1h");
        assert_eq!(short(10), "0s");
        assert_eq!(saved(MicroUsd(40), MicroUsd(100)), "60%");
        assert_eq!(saved(MicroUsd(0), MicroUsd(0)), "-");
        assert_eq!((many(1, "task"), many(0, "task")), ("1 task".into(), "0 tasks".into()));
    }
}
