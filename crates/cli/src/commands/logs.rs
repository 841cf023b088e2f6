//! `ebb logs`: what tasks wrote.

use std::io;

use api::sync::Stream;
use model::{JobId, TaskId};
use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::{Format, Screen, write_all};
use crate::selector::{Selector, task_of};

/// A piece of a task's output as one line of JSON; bytes that are no UTF-8 become U+FFFD.
#[derive(Debug, Serialize)]
struct Piece<'a> {
    task: TaskId,
    stream: Stream,
    text: &'a str,
}

pub(crate) async fn logs(client: &Client, args: &args::Logs) -> Result<Exit, Failure> {
    let streams: &[Stream] = match (args.stdout, args.stderr) {
        (true, _) => &[Stream::Stdout],
        (_, true) => &[Stream::Stderr],
        _ => &[Stream::Stdout, Stream::Stderr],
    };
    match &args.selector {
        Selector::Task(job, group, index) => {
            let task = task_of(client.select_one(job).await?, *group, *index);
            copy_task(client, task, streams, args.attempt, args.follow).await?;
        }
        Selector::Job(_) if args.attempt.is_some() => {
            return Err(Failure::usage("--attempt is of one task")
                .next("ebb logs JOB.GROUP.INDEX --attempt N"));
        }
        Selector::Job(selector) => {
            let job = client.select_one(selector).await?;
            if args.follow {
                follow_job(client, job, streams).await?;
            } else {
                print_job(client, job, streams).await?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Every settled task's output by index, a page at a time. Short ones come in the page;
/// a long one costs a request.
async fn print_job(client: &Client, job: JobId, streams: &[Stream]) -> Result<(), Failure> {
    let mut cursor = None;
    loop {
        let page = client.remote.results(job, cursor).await?;
        for result in page.items {
            for stream in streams {
                match (stream, &result.stdout.text) {
                    (Stream::Stdout, Some(text)) => {
                        put(client.screen, result.task, *stream, text.as_bytes())?;
                    }
                    (Stream::Stdout, None) if result.stdout.size_bytes == 0 => {}
                    _ => copy_task(client, result.task, &[*stream], None, false).await?,
                }
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Every task's output by index, each until its task is settled.
async fn follow_job(client: &Client, job: JobId, streams: &[Stream]) -> Result<(), Failure> {
    let detail = client.remote.job(job).await?;
    for (group, spec) in detail.spec.groups.iter().enumerate() {
        let group = u16::try_from(group).unwrap_or(u16::MAX);
        for index in 0..spec.count {
            copy_task(client, task_of(job, group, index), streams, None, true).await?;
        }
    }
    Ok(())
}

/// A task's streams, side by side.
pub(crate) async fn copy_task(
    client: &Client,
    task: TaskId,
    streams: &[Stream],
    attempt: Option<u32>,
    follow: bool,
) -> Result<(), Failure> {
    let copies = streams.iter().map(async |stream| {
        let mut log = client.remote.logs(task, *stream, attempt, follow).await?;
        while let Some(piece) = log.next().await? {
            put(client.screen, task, *stream, &piece)?;
        }
        Ok(())
    });
    futures::future::try_join_all(copies).await.map(|_| ())
}

fn put(screen: Screen, task: TaskId, stream: Stream, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    match (screen.format, stream) {
        (Format::Json, _) => {
            let text = String::from_utf8_lossy(bytes);
            screen.show(&Piece { task, stream, text: &text }, |_| String::new())
        }
        (Format::Table, Stream::Stdout) => write_all(&mut io::stdout().lock(), bytes),
        (Format::Table, Stream::Stderr) => write_all(&mut io::stderr().lock(), bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_piece_is_one_line() {
        let task = samples::task(17).id;
        let piece = Piece { task, stream: Stream::Stderr, text: "a\nb" };
        let text = serde_json::to_string(&piece).expect("JSON");
        assert_eq!(text, r#"{"task":"job_0000000000007.0.17","stream":"stderr","text":"a\nb"}"#);
    }
}
