//! Where a command's answer goes: a table or one JSON value on stdout, all else on stderr.

use std::io::{self, IsTerminal, Write};

use model::Timestamp;
use serde::Serialize;

use crate::error::Failure;

/// `--output`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs; its shape is stable.
    Json,
}

/// Whether the words of a command line that is not understood ask for JSON.
pub(crate) fn wants_json(words: &[String]) -> bool {
    let ours = words.split(|word| word == "--").next().unwrap_or_default();
    let pair = |pair: &[String]| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json";
    ours.windows(2).any(pair)
        || ours.iter().any(|word| matches!(word.as_str(), "-ojson" | "-o=json" | "--output=json"))
}

/// A colour of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Busy,
    Dim,
}

/// Colours words, or leaves them: only a terminal gets escape codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    colours: bool,
}

impl Paint {
    /// For tests of text.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colours: false };

    fn of(stream: &impl IsTerminal) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours: wanted && stream.is_terminal() }
    }

    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Busy => 36,
            Tone::Dim => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What text for people depends on beside the value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) paint: Paint,
    /// Characters of a line; without end where nobody looks at a terminal.
    pub(crate) width: usize,
    /// The present, for ages.
    pub(crate) now: Timestamp,
}

/// What a command answers. As JSON its shape is a contract; as text it is for people.
pub(crate) trait Answer: Serialize {
    fn text(&self, look: Look) -> String;
}

/// How this process talks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) format: Format,
    pub(crate) paint: Paint,
    /// Whether somebody watches stderr, where progress goes.
    pub(crate) live: bool,
}

impl Screen {
    pub(crate) fn new(format: Format) -> Self {
        let paint = Paint::of(&io::stdout());
        Self { format, paint, live: io::stderr().is_terminal() }
    }

    /// Prints the answer in the form that was asked for.
    pub(crate) fn show<T: Answer + ?Sized>(&self, answer: &T) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.print(&answer.text(self.look())),
            Format::Json => self.print_json(answer),
        }
    }

    /// For text that is made now.
    pub(crate) fn look(&self) -> Look {
        Look { paint: self.paint, width: width(&io::stdout()), now: now() }
    }

    /// One line of JSON on stdout.
    pub(crate) fn print_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|fault| Failure::local(format!("cannot write JSON: {fault}")))?;
        self.print(&text)
    }

    /// One text on stdout, ended by a newline.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        write_all(&mut io::stdout().lock(), format!("{text}{end}").as_bytes())
    }

    /// A line for people, on stderr.
    pub(crate) fn say(&self, line: &str) {
        // Nobody is left to tell that stderr is closed.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// A failure on stderr, in the form that was asked for.
    pub(crate) fn fail(&self, failure: &Failure) {
        match self.format {
            Format::Table => self.say(&failure.to_string()),
            Format::Json => {
                self.say(&serde_json::to_string(failure).unwrap_or_else(|_| failure.to_string()));
            }
        }
    }
}

/// The terminal's width; what is read by programs has no end of line.
fn width(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> usize {
    if !stream.is_terminal() {
        return usize::MAX;
    }
    let size = terminal_size::terminal_size_of(stream);
    // One that has no size (a bare serial line) says 0.
    let columns = size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0);
    columns.unwrap_or(80)
}

/// The present, for ages: never a part of a decision.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_ms(
        since.map(|since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).unwrap_or(0),
    )
}

/// Writes and flushes. A reader that went away (`ebb logs … | head`) is no fault of ours.
pub(crate) fn write_all(to: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::local(format!("cannot write the answer: {fault}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misunderstood_words_are_answered_in_the_form_they_ask_for() {
        let of = |line: &str| wants_json(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(of("ebb nope --output json") && of("ebb -o json x") && of("ebb x --output=json"));
        assert!(!of("ebb nope") && !of("ebb run -- x -o json") && !of("ebb --output"));
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        assert_eq!(Paint::PLAIN.paint("ready", Tone::Good), "ready");
        assert_eq!(Paint { colours: true }.paint("ready", Tone::Good), "\x1b[32mready\x1b[0m");
    }
}
