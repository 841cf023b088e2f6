//! `ebb retry`: tasks that did not succeed run again.

use api::view::{Retried, RetryWhich};
use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::{Answer, Look};
use crate::render::many;

/// What runs again, job by job.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RetriedJobs {
    pub(crate) retried: Vec<Retried>,
}

impl Answer for RetriedJobs {
    fn text(&self, _look: Look) -> String {
        let line = |job: &Retried| {
            format!("{} of {} again; ebb wait {1}", many(job.tasks, "task"), job.id)
        };
        self.retried.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

pub(crate) async fn retry(client: &Client, args: &args::Retry) -> Result<Exit, Failure> {
    let which = match (args.which.cancelled, args.which.all) {
        (_, true) => RetryWhich::Unsuccessful,
        (true, _) => RetryWhich::Cancelled,
        _ => RetryWhich::Failed,
    };
    let ids = client.select_all(&args.jobs).await?;
    let (mut done, mut refused) = (RetriedJobs::default(), Vec::new());
    for id in ids {
        match client.remote.retry_job(id, which).await {
            Ok(retried) => done.retried.push(retried),
            Err(failure) => refused.push(failure.about(id)),
        }
    }
    if !done.retried.is_empty() {
        client.screen.show(&done)?;
    }
    // Of several refusals the first is the exit; the others are told, too.
    let mut refused = refused.into_iter();
    let first = refused.next();
    for other in refused {
        client.screen.fail(&other);
    }
    first.map_or(Ok(Exit::Ok), Err)
}
