//! `ebb outputs`: the files that settled tasks have left.

use std::path::{Component, Path, PathBuf};

use api::view::{OutputView, Page};
use futures::StreamExt;
use model::TaskId;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure, Kind};
use crate::output::{Answer, Look};
use crate::progress::{Progress, Unit, bytes};
use crate::render::many;
use crate::selector::{Selector, task_of};

/// Downloads at once.
const PARALLEL: usize = 8;
/// Failures that are told in words; the rest is counted.
const TOLD: usize = 10;

/// What was downloaded.
#[derive(Debug, Serialize)]
pub(crate) struct Downloaded {
    pub(crate) to: PathBuf,
    /// All files.
    pub(crate) files: u64,
    /// Those that were there already.
    pub(crate) kept: u64,
    /// What was downloaded now.
    pub(crate) bytes: u64,
}

impl Answer for Downloaded {
    fn text(&self, _look: Look) -> String {
        let kept = match self.kept {
            0 => String::new(),
            kept => format!(", {kept} of them were there already"),
        };
        let (files, to) = (many(self.files, "file"), self.to.display());
        format!("{files} in {to}{kept}; {} downloaded", bytes(self.bytes))
    }
}

pub(crate) async fn outputs(client: &Client, args: &args::Outputs) -> Result<Exit, Failure> {
    let items = listed(client, &args.selector).await?;
    let Some(to) = &args.to else {
        client.screen.show(&Page { items, next_cursor: None })?;
        return Ok(Exit::Ok);
    };
    let done = download(client, &items, to).await?;
    client.screen.show(&done)?;
    Ok(Exit::Ok)
}

async fn listed(client: &Client, selector: &Selector) -> Result<Vec<OutputView>, Failure> {
    match selector {
        Selector::Job(selector) => client.remote.outputs(client.select_one(selector).await?).await,
        Selector::Task(job, group, index) => {
            let task = task_of(client.select_one(job).await?, *group, *index);
            let attempts = client.remote.attempts(task).await?;
            let settling = attempts.into_iter().filter(|attempt| attempt.settles);
            let files = settling.flat_map(|attempt| attempt.outputs);
            let view = |file: model::OutputFile| OutputView {
                task,
                path: file.path.to_string(),
                size_bytes: file.size_bytes,
            };
            Ok(files.map(view).collect())
        }
    }
}

/// Where a file goes: `DIR/GROUP.INDEX/PATH`. The path is a task's word: one that leads out of its
/// folder is refused.
fn place(to: &Path, task: TaskId, path: &str) -> Option<PathBuf> {
    let inner = Path::new(path);
    let inside = inner.components().all(|part| matches!(part, Component::Normal(_)));
    let good = inside && inner.components().next().is_some() && !path.contains('\0');
    good.then(|| to.join(format!("{}.{}", task.group, task.index)).join(inner))
}

async fn download(client: &Client, items: &[OutputView], to: &Path) -> Result<Downloaded, Failure> {
    let mut plan = Vec::with_capacity(items.len());
    for item in items {
        let place = place(to, item.task, &item.path).ok_or_else(|| {
            let cause = format!("{} has an output that leads elsewhere: {}", item.task, item.path);
            Failure::new(Kind::Refused, cause)
        })?;
        plan.push((item, place));
    }
    let total: u64 = items.iter().map(|item| item.size_bytes).sum();
    let mut progress = Progress::new(client.screen, Unit::Bytes);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut done = Downloaded { to: to.to_owned(), files: count(items.len()), kept: 0, bytes: 0 };
    let (mut settled, mut kept_bytes, mut failed) = (0, 0, Vec::new());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut running = futures::stream::iter(plan)
        .map(|(item, place)| fetch(client, item, place, tell.clone()))
        .buffer_unordered(PARALLEL);
    loop {
        progress.at(kept_bytes + done.bytes, total, &format!("{settled}/{} files", items.len()));
        tokio::select! {
            Some(piece) = told.recv() => done.bytes += piece,
            next = running.next() => match next {
                None => break,
                Some(Ok(kept)) => {
                    settled += 1;
                    done.kept += u64::from(kept.is_some());
                    kept_bytes += kept.unwrap_or(0);
                }
                Some(Err(failure)) => failed.push(failure),
            },
        }
    }
    while let Ok(piece) = told.try_recv() {
        done.bytes += piece;
    }
    progress.end();
    whole(done, failed)
}

/// What is done, if nothing failed.
fn whole(done: Downloaded, mut failed: Vec<Failure>) -> Result<Downloaded, Failure> {
    if failed.is_empty() {
        return Ok(done);
    }
    let count = u64::try_from(failed.len()).unwrap_or(u64::MAX);
    let causes: Vec<_> = failed.iter().take(TOLD).map(|failure| failure.cause.clone()).collect();
    let more = failed.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!("\n  … and {more} more") };
    let first = failed.swap_remove(0);
    Err(Failure::new(
        first.kind,
        format!("{} of {} not downloaded:\n  {}{more}", count, done.files, causes.join("\n  ")),
    )
    .next("the same again: what is there already is kept"))
}

/// Downloads one file beside its place and moves it there when it is whole. Answers its size if it
/// is there already.
async fn fetch(
    client: &Client,
    item: &OutputView,
    place: PathBuf,
    tell: tokio::sync::mpsc::UnboundedSender<u64>,
) -> Result<Option<u64>, Failure> {
    let there = tokio::fs::metadata(&place).await.ok().filter(std::fs::Metadata::is_file);
    if there.is_some_and(|there| there.len() == item.size_bytes) {
        return Ok(Some(item.size_bytes));
    }
    let cannot = |fault: std::io::Error| {
        Failure::local(format!("cannot write {}: {fault}", place.display()))
    };
    let folder = place.parent().unwrap_or_else(|| Path::new("."));
    tokio::fs::create_dir_all(folder).await.map_err(cannot)?;
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = place.with_file_name(name);
    let mut from = client.remote.watching().open_output(item.task, &item.path).await?;
    let mut file = tokio::fs::File::create(&part).await.map_err(cannot)?;
    let mut size = 0;
    while let Some(piece) = from.next().await? {
        file.write_all(&piece).await.map_err(cannot)?;
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        size += length;
        // Who counts ends after us.
        let _ = tell.send(length);
    }
    file.flush().await.map_err(cannot)?;
    drop(file);
    if size != item.size_bytes {
        let cause =
            format!("{} of {}: {size} of {} bytes came", item.path, item.task, item.size_bytes);
        return Err(Failure::unreachable(cause));
    }
    tokio::fs::rename(&part, &place).await.map_err(cannot)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn no_file_leaves_its_folder() {
        let task = samples::task(17).id;
        let at = |path| place(Path::new("to"), task, path);
        assert_eq!(at("out/a b.gz"), Some(PathBuf::from("to/0.17/out/a b.gz")));
        for bad in ["", "/etc/passwd", "../x", "out/../../x", "out/./../..", "a\0b", ".."] {
            assert_eq!(at(bad), None, "{bad:?}");
        }
    }
}
