//! Why things are as they are, by the functions that decided it, in sentences for whoever asks.

mod job;
mod node;
mod placed;
mod waiting;
mod withheld;

use model::{Cause, Timestamp, format_duration};

pub use job::{explain_job, explain_task};
pub use node::explain_node;
pub(crate) use node::reason_words;
pub use withheld::{Scope, Withheld, withheld};

/// A sentence, and the reasons behind it, most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// One sentence, of which the thing asked for is the subject.
    pub summary: String,
    /// The reasons.
    pub details: Vec<String>,
}

fn plain(words: impl Into<String>) -> Explanation {
    Explanation { summary: words.into(), details: Vec::new() }
}

/// `until 2026-09-21T14:13:20.123Z (in 1m 30s)`
pub(crate) fn until(at: Timestamp, now: Timestamp) -> String {
    format!("until {at} (in {})", span(at.since(now)))
}

/// A length of time without the milliseconds that nobody wants to read.
pub(crate) fn span(ms: u64) -> String {
    format_duration(if ms < 1_000 { ms } else { ms / 1_000 * 1_000 })
}

/// `1 task`, `2 tasks`
fn tasks(count: u64) -> String {
    counted(count, "task")
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Why something is settled without success, as a clause.
pub fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Failed => "its own failures spent its retries",
        Cause::TimedOut => "it ran longer than its time-out once too often",
        Cause::NoRetry => "it exited with a code that says not to retry",
        Cause::Poison => "three machines died under it without any other reason",
        Cause::Stopped => "somebody stopped it",
        Cause::SiblingFailed => "a task of its job failed, and on_task_failure is stop",
        Cause::Dependency => "what it comes after did not succeed",
    }
}
