//! What carries durable rows out. Each executor is level-triggered and idempotent: an activation
//! takes no input, runs on a signal and on a period, and may be run again at any time.

mod dependencies;
mod intake;
mod launch;
mod notices;
mod planning;
mod retire;
mod watch;

use std::sync::Arc;

use cloud::Cloud;
use store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::planning::{Planner, Planning};
use crate::config::Timing;
use crate::leader::{Lead, Rows};

/// What the executors of one term share.
#[derive(Clone)]
pub(crate) struct Executors {
    /// The leader that they serve.
    pub(crate) lead: Arc<Lead>,
    /// Who sells machines.
    pub(crate) cloud: Arc<dyn Cloud>,
    /// The database.
    pub(crate) store: Arc<Store>,
    /// What is durable and not yet done.
    pub(crate) rows: tokio::sync::watch::Receiver<Rows>,
    /// How often.
    pub(crate) timing: Timing,
}

/// Starts them for one term; they end with `ended`.
pub(crate) fn start(tracker: &TaskTracker, ended: &CancellationToken, shared: Executors) {
    let until_end = |name: &'static str, work: futures::future::BoxFuture<'static, ()>| {
        let ended = ended.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = work => tracing::debug!(executor = name, "ended by itself"),
            }
        });
    };
    until_end("launch", Box::pin(launch::run(shared.clone())));
    until_end("retire", Box::pin(retire::run(shared.clone())));
    until_end("listing", Box::pin(watch::listings(shared.clone())));
    until_end("offers", Box::pin(watch::offers(shared.clone())));
    until_end("notices", Box::pin(notices::run(shared.clone())));
    until_end("inbox", Box::pin(intake::inbox(shared.clone())));
    until_end("backlog", Box::pin(intake::backlog(shared.clone())));
    until_end("dependencies", Box::pin(dependencies::run(shared)));
}
