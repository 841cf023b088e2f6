//! `ebb logs`: what tasks wrote.

use std::io;

use api::sync::Stream;
use api::view::{Page, ResultView};
use model::{JobId, TaskId};
use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::{Format, Screen, write_all};
use crate::progress::Progress;
use crate::selector::{Selector, task_of};

/// A page of results: what is printed comes soon.
const PAGE: u32 = 200;

/// A piece of a task's output as one line of JSON; bytes that are no UTF-8 become U+FFFD.
#[derive(Debug, Serialize)]
pub(crate) struct Piece<'a> {
    pub(crate) task: TaskId,
    pub(crate) stream: Stream,
    pub(crate) text: &'a str,
}

/// Where pieces of output go.
#[derive(Clone, Copy)]
pub(crate) struct Sink<'a> {
    pub(crate) screen: Screen,
    /// A bar that must not be written over.
    pub(crate) progress: Option<&'a Progress>,
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
            let sink = Sink { screen: client.screen, progress: None };
            copy_task(client, sink, task, streams, args.attempt, args.follow).await?;
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

/// Every settled task's output by index, a page at a time.
async fn print_job(client: &Client, job: JobId, streams: &[Stream]) -> Result<(), Failure> {
    let sink = Sink { screen: client.screen, progress: None };
    let mut cursor = None;
    loop {
        let page = client.remote.results(job, cursor, PAGE).await?;
        for result in &page.items {
            print_result(client, sink, result, streams).await?;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// What a settled task wrote: short outputs come with the result, a long one costs a request.
async fn print_result(
    client: &Client,
    sink: Sink<'_>,
    result: &ResultView,
    streams: &[Stream],
) -> Result<(), Failure> {
    for stream in streams {
        let part = match stream {
            Stream::Stdout => &result.stdout,
            Stream::Stderr => &result.stderr,
        };
        match &part.text {
            Some(text) => sink.put(result.task, *stream, text.as_bytes())?,
            None if part.size_bytes == 0 => {}
            None => copy_task(client, sink, result.task, &[*stream], None, false).await?,
        }
    }
    Ok(())
}

/// Every task's output by index, each until its task is settled.
async fn follow_job(client: &Client, job: JobId, streams: &[Stream]) -> Result<(), Failure> {
    let detail = client.remote.job(job).await?;
    for (group, spec) in detail.spec.groups.iter().enumerate() {
        let group = u16::try_from(group).unwrap_or(u16::MAX);
        let follow = Follow { job, group, tasks: spec.count };
        follow.print(client, streams, None).await?;
    }
    Ok(())
}

/// The tasks of a group, by index.
pub(crate) struct Follow {
    pub(crate) job: JobId,
    pub(crate) group: u16,
    pub(crate) tasks: u32,
}

impl Follow {
    /// Prints each task's output by index until all are settled: those that are settled already by
    /// the page, the first that is not as it comes.
    pub(crate) async fn print(
        &self,
        client: &Client,
        streams: &[Stream],
        mut progress: Option<&mut Progress>,
    ) -> Result<(), Failure> {
        let (mut cursor, mut next) = (None, 0);
        while next < self.tasks {
            let first = next;
            // One task has nothing to be read by the page.
            let page = match self.tasks {
                1 => Page { items: Vec::new(), next_cursor: None },
                _ => client.remote.results(self.job, cursor.clone(), PAGE).await?,
            };
            let ours = page.items.iter().filter(|result| result.task.group == self.group);
            for result in ours.filter(|result| result.task.index >= first) {
                if result.task.index != next {
                    break;
                }
                let sink = Sink { screen: client.screen, progress: progress.as_deref() };
                print_result(client, sink, result, streams).await?;
                next += 1;
            }
            if let Some(progress) = &mut progress {
                progress.at(next.into(), self.tasks.into(), "");
            }
            let last = page.items.last().map(|result| result.task);
            let read_all = last.is_some_and(|last| (last.group, last.index) < (self.group, next));
            if page.next_cursor.is_some() && read_all {
                cursor = page.next_cursor;
            } else if next < self.tasks {
                let sink = Sink { screen: client.screen, progress: progress.as_deref() };
                let task = task_of(self.job, self.group, next);
                copy_task(client, sink, task, streams, None, true).await?;
                next += 1;
            }
        }
        Ok(())
    }
}

/// A task's streams, side by side.
pub(crate) async fn copy_task(
    client: &Client,
    sink: Sink<'_>,
    task: TaskId,
    streams: &[Stream],
    attempt: Option<u32>,
    follow: bool,
) -> Result<(), Failure> {
    let copies = streams.iter().map(async |stream| {
        let mut log = client.remote.logs(task, *stream, attempt, follow).await?;
        while let Some(piece) = log.next().await? {
            sink.put(task, *stream, &piece)?;
        }
        Ok(())
    });
    futures::future::try_join_all(copies).await.map(|_| ())
}

impl Sink<'_> {
    fn put(&self, task: TaskId, stream: Stream, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        let write = || match (self.screen.format, stream) {
            (Format::Json, _) => {
                let text = String::from_utf8_lossy(bytes);
                self.screen.print_json(&Piece { task, stream, text: &text })
            }
            (Format::Table, Stream::Stdout) => write_all(&mut io::stdout().lock(), bytes),
            (Format::Table, Stream::Stderr) => write_all(&mut io::stderr().lock(), bytes),
        };
        match self.progress {
            Some(progress) => progress.aside(write),
            None => write(),
        }
    }
}
