//! `ebb export`.

use std::path::{Path, PathBuf};

use model::{Timestamp, parse_duration_ms};
use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::{Answer, Look, now, write_all};
use crate::progress::bytes;

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    pub(crate) to_file: PathBuf,
    pub(crate) bytes: u64,
}

impl Answer for Exported {
    fn text(&self, _look: Look) -> String {
        let file = self.to_file.display();
        format!("{} in {file}; ebb simulate --from-export {file} --policy all", bytes(self.bytes))
    }
}

pub(crate) async fn export(client: &Client, args: &args::Export) -> Result<Exit, Failure> {
    let now = now();
    let at = |moment: &Moment| moment.at(now);
    let (from, to) = (args.from.as_ref().map(at), args.to.as_ref().map(at));
    let text = client.remote.export(from, to).await?;
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    match args.to_file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) => {
            std::fs::write(file, &text).map_err(|fault| {
                Failure::usage(format!("cannot write {}: {fault}", file.display()))
                    .next("choose another file by --to-file")
            })?;
            client.screen.show(&Exported { to_file: file.to_owned(), bytes: length })?;
        }
        None => {
            let mut out = std::io::stdout().lock();
            write_all(&mut out, &text)?;
            write_all(&mut out, b"\n")?;
        }
    }
    Ok(Exit::Ok)
}

/// A time, or how long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    AgoMs(u64),
}

impl Moment {
    fn at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::AgoMs(ms) => now.plus_ms(-i64::try_from(*ms).unwrap_or(i64::MAX)),
        }
    }
}

impl std::str::FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        parse_duration_ms(text).map(Self::AgoMs).map_err(|_| {
            format!("`{text}` is neither a time (2031-05-01T18:00:00Z) nor how long ago (7d, 36h)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_or_ago() {
        let now = Timestamp::from_ms(1_790_000_000_000);
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.at(now));
        assert_eq!(at("7d"), Ok(now.plus_ms(-604_800_000)));
        assert_eq!(at("2026-09-21T14:13:20Z"), Ok(now));
        assert!(at("yesterday").is_err_and(|fault| fault.contains("7d")));
    }
}
