//! The log: to stderr, as text or JSON, by RUST_LOG or `-v`.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::args::{Common, LogFormat};

/// Our crates, whose words `-v` turns up; others stay at their warnings.
const OURS: [&str; 6] = ["ebb", "api", "control", "digester", "manager", "store"];

/// What is logged without `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Warnings: somebody should look.
    Warnings,
    /// Errors: interruptions are what the command is about, and it tells of them itself.
    Errors,
}

/// Starts it; a second start in one process (tests) changes nothing.
pub(crate) fn start(common: &Common, quiet: Quiet) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(directives(common.verbose, quiet)));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match common.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
}

fn directives(verbose: u8, quiet: Quiet) -> String {
    let level = match verbose {
        0 if quiet == Quiet::Errors => return "error".to_owned(),
        0 => return "warn".to_owned(),
        1 => "info",
        _ => "debug",
    };
    let ours: Vec<_> = OURS.iter().map(|name| format!("{name}={level}")).collect();
    format!("warn,{}", ours.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_is_of_our_own_crates() {
        let of = |verbose| directives(verbose, Quiet::Warnings);
        assert_eq!((of(0).as_str(), directives(0, Quiet::Errors).as_str()), ("warn", "error"));
        assert!(of(1).starts_with("warn,ebb=info,"));
        assert!(of(2).ends_with("store=debug"));
        for text in [of(0), of(1), of(2)] {
            assert!(EnvFilter::builder().parse(&text).is_ok(), "{text}");
        }
    }
}
