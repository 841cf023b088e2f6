//! What the demo sees of its cluster, as a client: written to `history.jsonl` in its folder, and
//! checked against the promises at its end.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::client::{EventStream, EventsQuery};
use api::event::EventKind;
use api::history::{
    Accepted, Left, Record, Sent, StreamBegun, TaskSeen, Told, Workload, Writer, check, read_runs,
};
use api::view::{CostView, Submitted};
use futures::{StreamExt, TryStreamExt};
use model::{Clamp, JobId, TaskId};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::error::Failure;
use crate::remote::Remote;

/// Its name in the demo's folder.
const FILE: &str = "history.jsonl";
/// The stream tells of the job's end within this, or it does not.
const TELL_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// Questions at once.
const PARALLEL: usize = 16;

/// A history that is being written.
pub(crate) struct History {
    lines: Arc<Lines>,
    folder: PathBuf,
    listener: JoinHandle<()>,
}

struct Lines {
    start: Instant,
    written: Mutex<(Writer, Vec<Record>)>,
}

impl History {
    /// Begins one, and listens to events from now on.
    pub(crate) async fn begin(remote: &Remote, folder: &Path) -> Result<Self, Failure> {
        let runs = runs(folder);
        let made = std::fs::create_dir(&runs).and_then(|()| Writer::create(&folder.join(FILE)));
        let writer = made.map_err(|fault| {
            Failure::local(format!("cannot write a history in {}: {fault}", folder.display()))
        })?;
        let written = Mutex::new((writer, Vec::new()));
        let lines = Arc::new(Lines { start: Instant::now(), written });
        // The corpus may be anybody's, and machines may be kept to the end.
        let workload = Workload { notes_runs: true, alone: true, ..Workload::default() };
        lines.note(Record::Workload(workload));
        let events = remote.events(EventsQuery::default()).await?;
        lines.note(Record::Stream(StreamBegun { stream: 0 }));
        let listener = tokio::spawn(listen(events, Arc::clone(&lines)));
        Ok(Self { lines, folder: folder.to_owned(), listener })
    }

    /// Where tasks note their runs.
    pub(crate) fn runs(&self) -> PathBuf {
        runs(&self.folder)
    }

    pub(crate) fn sent(&self, tasks: u64) {
        let at_ms = self.lines.at_ms();
        self.lines.note(Record::Sent(Sent { at_ms, key: None, tasks }));
    }

    pub(crate) fn accepted(&self, submitted: &Submitted) {
        let (at_ms, job, tasks) = (self.lines.at_ms(), submitted.id, submitted.tasks);
        self.lines.note(Record::Accepted(Accepted { at_ms, key: None, job, tasks }));
    }

    /// Reads how things stand in the end.
    pub(crate) async fn gather(
        &self,
        remote: &Remote,
        job: JobId,
        cost: &CostView,
    ) -> Result<(), Failure> {
        self.heard_of_the_end(job).await;
        self.listener.abort();
        self.lines.note(Record::Job(Box::new(remote.job(job).await?)));
        let tasks = remote.tasks(job).await?;
        let again = tasks.iter().filter(|task| task.attempt > 1).map(|task| task.id);
        let mut attempts: BTreeMap<TaskId, _> = futures::stream::iter(again)
            .map(async |id| remote.attempts(id).await.map(|attempts| (id, attempts)))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        for task in tasks {
            let attempts = attempts.remove(&task.id);
            self.lines.note(Record::Task(Box::new(TaskSeen { task, attempts })));
        }
        for node in remote.nodes(true).await? {
            self.lines.note(Record::Node(Box::new(node)));
        }
        self.lines.note(Record::Cost(*cost));
        let ran = read_runs(&self.runs()).map_err(|fault| Failure::local(fault.to_string()))?;
        for run in ran {
            self.lines.note(Record::Ran(run));
        }
        Ok(())
    }

    /// The promises that were broken, in words; the history is kept then. `left` are the machines
    /// that were not ended.
    pub(crate) fn broken(&self, left: impl IntoIterator<Item = String>) -> Vec<String> {
        let machines: Vec<_> = left.into_iter().collect();
        self.lines.note(Record::Left(Left { machines }));
        let lines = self.lines.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut broken: Vec<_> = check(&lines.1).iter().map(ToString::to_string).collect();
        if !broken.is_empty() {
            broken.push(self.keep());
        }
        broken
    }

    /// Copies the history out of the folder, which ends with the demo.
    fn keep(&self) -> String {
        let to = std::env::temp_dir().join(format!("ebb-demo-{}-{FILE}", std::process::id()));
        match std::fs::copy(self.folder.join(FILE), &to) {
            Ok(_) => format!("the history is kept in {}", to.display()),
            Err(fault) => format!("the history could not be kept in {}: {fault}", to.display()),
        }
    }

    async fn heard_of_the_end(&self, job: JobId) {
        let start = Instant::now();
        while !self.lines.tell_of_the_end(job) && start.elapsed() < TELL_LIMIT {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Lines {
    fn note(&self, record: Record) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let done: io::Result<()> = written.0.write(&record).and_then(|()| written.0.flush());
        if let Err(fault) = done {
            warn!(%fault, "the history's file lacks a line");
        }
        written.1.push(record);
    }

    fn at_ms(&self) -> u64 {
        self.start.elapsed().as_millis().clamped()
    }

    fn tell_of_the_end(&self, job: JobId) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.1.iter().rev().any(|record| match record {
            Record::Event(told) => {
                told.event.kind == EventKind::JobSettled && told.event.job == Some(job)
            }
            _ => false,
        })
    }
}

fn runs(folder: &Path) -> PathBuf {
    folder.join("runs")
}

async fn listen(mut events: EventStream, lines: Arc<Lines>) {
    loop {
        match events.next().await {
            Ok(Some(event)) => lines.note(Record::Event(Box::new(Told { stream: 0, event }))),
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "no more events are heard");
                return;
            }
        }
    }
}
