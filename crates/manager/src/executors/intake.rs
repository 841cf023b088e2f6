//! Rows that any replica may insert -> inputs of the leader (DESIGN §3): the inbox, and jobs that
//! wait in their table.

use std::collections::BTreeSet;
use std::time::Duration;

use control::{BacklogJob, Input};
use model::{JobId, JobStatus};
use store::{InboxMessage, InboxRow, StoreError};

use super::Executors;
use crate::leader::NoAnswer;

/// Rows of one step.
const INBOX_ROWS: u32 = 10_000;
/// Backlog jobs of one step.
const BACKLOG_JOBS: u32 = 5_000;
/// After a fault of the database.
const WAIT: Duration = Duration::from_millis(500);

/// Reads all rows that are there, never those past the last: rows of a slow transaction show up
/// late. The next read waits until these are deleted by their commit.
pub(super) async fn inbox(shared: Executors) {
    let period = Duration::from_millis(shared.timing.inbox_ms);
    loop {
        match take_inbox(&shared).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(Fault::Deposed) => return,
            Err(Fault::Store(fault)) => {
                tracing::warn!(%fault, "inbox");
                tokio::time::sleep(WAIT).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = shared.lead.posted.notified() => {}
        }
    }
}

enum Fault {
    Deposed,
    Store(StoreError),
}

impl From<NoAnswer> for Fault {
    fn from(_: NoAnswer) -> Self {
        Self::Deposed
    }
}

impl From<StoreError> for Fault {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

/// One round; whether there may be more.
async fn take_inbox(shared: &Executors) -> Result<bool, Fault> {
    let rows = shared.store.inbox(INBOX_ROWS).await?;
    let full = rows.len() >= usize::try_from(INBOX_ROWS).unwrap_or(usize::MAX);
    let (mut submits, mut submitted) = (Vec::new(), Vec::new());
    let (mut stops, mut stopped, mut jobs) = (Vec::new(), Vec::new(), BTreeSet::new());
    for InboxRow { row, message } in rows {
        let (stop, job) = match message {
            InboxMessage::Submit { job, spec, .. } => {
                submits.push(Input::Submit { job, spec });
                submitted.push(row);
                continue;
            }
            InboxMessage::StopJob { job } => (Input::StopJob { job }, job),
            InboxMessage::StopTask { task } => (Input::StopTask { task }, task.job),
        };
        stops.push(stop);
        stopped.push(row);
        jobs.insert(job);
    }
    if !submits.is_empty() {
        submits.push(Input::InboxDone { rows: submitted });
        shared.lead.ask(submits).await?;
    }
    if !stops.is_empty() {
        // A job that waits in its table is taken in to be stopped: only World can stop anything.
        let mut inputs = vec![Input::TakeIn { jobs: waiting(shared, jobs).await? }];
        inputs.append(&mut stops);
        inputs.push(Input::InboxDone { rows: stopped });
        shared.lead.ask(inputs).await?;
    }
    Ok(full)
}

/// Those of the jobs that wait in their table.
async fn waiting(shared: &Executors, jobs: BTreeSet<JobId>) -> Result<Vec<BacklogJob>, Fault> {
    let unknown = shared.lead.look(move |world, _, _| {
        jobs.into_iter().filter(|job| !world.durable.jobs.contains_key(job)).collect::<Vec<_>>()
    });
    let mut waiting = Vec::new();
    for id in unknown.await? {
        let job = shared.store.job(id).await?;
        if let Some(job) = job.filter(|job| job.job.status == JobStatus::Submitted) {
            waiting.push(BacklogJob { id, spec: job.spec, submitted: job.job.submitted });
        }
    }
    Ok(waiting)
}

/// Hands jobs of the backlog to the step as it asks for them.
pub(super) async fn backlog(mut shared: Executors) {
    loop {
        let room = shared.rows.borrow_and_update().take_in;
        if room == 0 {
            if shared.rows.changed().await.is_err() {
                return;
            }
            continue;
        }
        match shared.store.backlog(room.min(BACKLOG_JOBS)).await {
            Ok(rows) if rows.is_empty() => {
                if shared.rows.changed().await.is_err() {
                    return;
                }
            }
            Ok(rows) => {
                let jobs = rows.into_iter().map(backlog_job).collect();
                if shared.lead.ask_one(Input::TakeIn { jobs }).await.is_err() {
                    return;
                }
            }
            Err(fault) => {
                tracing::warn!(%fault, "backlog");
                tokio::time::sleep(WAIT).await;
            }
        }
    }
}

fn backlog_job(row: store::BacklogRow) -> BacklogJob {
    BacklogJob { id: row.id, spec: row.spec, submitted: row.submitted }
}
