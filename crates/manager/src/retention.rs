//! Forgets what is over and too old, the leader alone and in small batches: no commit waits long
//! for one.

use std::time::Duration;

use api::sync::job_key;
use futures::{StreamExt as _, TryStreamExt as _};
use model::{JobId, Namespace};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use store::StoreError;

use crate::clock;
use crate::rest::App;

/// Between two batches: commits go first.
const PAUSE: Duration = Duration::from_millis(20);
/// Jobs of one batch: users' patches and retries wait for it.
const JOBS: usize = 50;
/// Objects that are deleted side by side.
const AT_ONCE: usize = 8;

/// Why a round ended early; the next one goes on from there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object store.
    #[error("objects: {0}")]
    Objects(#[from] object_store::Error),
}

/// One round: all that is due now.
pub(crate) async fn forget(app: &App) -> Result<(), Fault> {
    trim(app).await?;
    jobs(app).await
}

/// Whether this replica still leads: two that delete would only be in each other's way.
fn leads(app: &App) -> bool {
    app.seat.lead().is_some() && !app.stop.is_cancelled()
}

async fn trim(app: &App) -> Result<(), Fault> {
    while leads(app) {
        let trimmed = app.store.trim(&app.config.retention.rest, clock::now()).await?;
        app.metrics.forgot("commits", trimmed.log);
        app.metrics.forgot("answers", trimmed.answers);
        app.metrics.forgot("explanations", trimmed.explanations);
        app.metrics.forgot("nodes", trimmed.nodes);
        app.metrics.forgot("intents", trimmed.intents);
        app.metrics.forgot("items", trimmed.items);
        if !trimmed.more {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// A job's objects go before its rows: whatever stops this, the next round finds the job again.
async fn jobs(app: &App) -> Result<(), Fault> {
    let retention = &app.config.retention;
    // Rows that an earlier round has left.
    delete_rows(app, &[]).await?;
    while leads(app) {
        // A job that is being deleted must not be retried, nor one that is retried be deleted.
        let alone = app.patching.lock().await;
        let before = clock::now().plus_ms(-i64::try_from(retention.jobs_ms).unwrap_or(i64::MAX));
        let mut due = app.store.settled_before(before, retention.jobs).await?;
        due.truncate(JOBS);
        if due.is_empty() {
            break;
        }
        for (job, namespace) in &due {
            let objects = delete_objects(app, namespace, *job).await?;
            app.metrics.forgot("objects", objects);
        }
        let ids: Vec<JobId> = due.into_iter().map(|(job, _)| job).collect();
        if delete_rows(app, &ids).await? == 0 {
            // All of them are wanted again.
            break;
        }
        drop(alone);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn delete_objects(app: &App, namespace: &Namespace, job: JobId) -> Result<u64, Fault> {
    let prefix = Path::from(job_key(namespace, job));
    let found = app.objects.list(Some(&prefix)).map_ok(|object| object.location);
    let deleted = found.map(|path| async {
        let path = path?;
        match app.objects.delete(&path).await {
            // Somebody was there before us.
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            other => other.map(|()| 1),
        }
    });
    let counts = deleted.buffer_unordered(AT_ONCE);
    Ok(counts.try_fold(0, |sum, one| std::future::ready(Ok(sum + one))).await?)
}

/// How many jobs went.
async fn delete_rows(app: &App, ids: &[JobId]) -> Result<u64, Fault> {
    let mut deleted = app.store.delete_jobs(ids).await?;
    let jobs = deleted.jobs;
    app.metrics.forgot("jobs", jobs);
    while deleted.more && leads(app) {
        tokio::time::sleep(PAUSE).await;
        deleted = app.store.delete_jobs(&[]).await?;
    }
    Ok(jobs)
}
