//! The market as a [`Cloud`] whose machines are real worker processes on this host.
//!
//! One task, the keeper, owns the [`::market::Market`] and its file. It saves before it acts, and
//! acts by comparing what the market says with what it has done, so that a restart goes on where
//! the last one stopped: machines outlive their manager and are adopted by the next.
//!
//! What is absent: a call from here into the manager. What happens to machines is told by the
//! [`Cloud`] trait alone, and on the machine by a notice file, a signal or a closed socket.

mod keeper;
mod machine;
mod processes;
mod record;
mod shared;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use ::market::{Drill, Weather};
use cloud::{Answer, Cloud, CloudError, Identity, Launched, Received};
use model::{InstanceId, Intent, Machine, Offer};
use tokio::sync::{mpsc, oneshot, watch};

pub use shared::SharedMarket;

use keeper::{Ask, Keeper};

/// A call of [`Cloud::notices`] without any answers after this.
const NOTICES_WAIT: Duration = Duration::from_secs(10);
/// Calls that wait for the keeper.
const CALLS: usize = 64;

/// How a market is opened.
#[derive(Debug, Clone)]
pub struct MarketConfig {
    /// Its files are in `market` under it.
    pub data_dir: PathBuf,
    /// The `ebb` binary.
    pub program: PathBuf,
    /// What comes before the worker's own arguments: `worker`.
    pub arguments: Vec<String>,
    /// Where workers find their manager. Without it machines are sold, and start once
    /// [`MarketCloud::point_to`] has told.
    pub manager_url: Option<String>,
    /// What a new market is like; one that is opened again stays as it was.
    pub weather: Weather,
    /// Machines at once: each is a process of this host.
    pub max_machines: u32,
}

/// Why a market cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// Another process has it: use another data folder, or end that one.
    #[error("the market in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Its file is damaged or of another version: nothing was changed.
    #[error("the market's file {} cannot be read: {fault}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where.
        fault: String,
    },
    /// A file cannot be made, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random bytes for the market's key.
    #[error("no random bytes: {0}")]
    NoRandomness(String),
}

/// The market. Cheap to clone; all clones are one market, which goes on until
/// [`MarketCloud::shutdown`] or until the last of them is dropped. Its machines go on even then.
#[derive(Debug, Clone)]
pub struct MarketCloud {
    asks: mpsc::Sender<Ask>,
    /// Changes when there are notices to fetch.
    news: watch::Receiver<u64>,
}

impl MarketCloud {
    /// Opens the market of a data folder, or makes it: adopts the machines that still run, and
    /// tells of those that have ended meanwhile.
    pub async fn open(config: MarketConfig) -> Result<Self, MarketError> {
        let (asks, calls) = mpsc::channel(CALLS);
        let (keeper, news) = Keeper::open(config).await?;
        tokio::spawn(keeper.run(calls));
        Ok(Self { asks, news })
    }

    /// Where workers that are started from now on find their manager.
    pub async fn point_to(&self, manager_url: &str) -> Result<(), CloudError> {
        let url = manager_url.to_owned();
        self.ask(|reply| Ask::PointTo(url, reply)).await
    }

    /// Closes the market once all that it has told is saved. With `kill` all machines are ended
    /// first, and no process of theirs is left; without, they go on and are adopted when the market
    /// is opened again.
    pub async fn shutdown(&self, kill: bool) -> Result<(), CloudError> {
        self.ask(|reply| Ask::Shutdown { kill, reply }).await?
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, CloudError> {
        let closed = || CloudError::Retry("the market is closed".to_owned());
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }

    async fn wait_for_notices(&self) -> Result<Vec<Received>, CloudError> {
        let mut news = self.news.clone();
        let late = tokio::time::sleep(NOTICES_WAIT);
        tokio::pin!(late);
        loop {
            // Marked as seen before the question: what comes in between is not missed.
            news.mark_unchanged();
            let received = self.ask(Ask::Receive).await?;
            if !received.is_empty() {
                return Ok(received);
            }
            tokio::select! {
                changed = news.changed() => {
                    changed.map_err(|_| CloudError::Retry("the market is closed".to_owned()))?;
                }
                () = &mut late => return Ok(Vec::new()),
            }
        }
    }
}

impl Cloud for MarketCloud {
    fn offers(&self) -> Answer<'_, Vec<Offer>> {
        Box::pin(self.ask(Ask::Offers))
    }

    fn launch<'a>(&'a self, intent: &'a Intent) -> Answer<'a, Launched> {
        let intent = Box::new(intent.clone());
        Box::pin(async move { self.ask(|reply| Ask::Launch(intent, reply)).await? })
    }

    fn retire<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<InstanceId>> {
        let instances = instances.to_vec();
        Box::pin(async move { self.ask(|reply| Ask::Retire(instances, reply)).await? })
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(self.ask(Ask::List))
    }

    fn notices(&self) -> Answer<'_, Vec<Received>> {
        Box::pin(self.wait_for_notices())
    }

    fn acknowledge<'a>(&'a self, receipts: &'a [String]) -> Answer<'a, ()> {
        let receipts = receipts.to_vec();
        Box::pin(async move { self.ask(|reply| Ask::Acknowledge(receipts, reply)).await? })
    }

    fn identify<'a>(&'a self, document: &'a str) -> Answer<'a, Identity> {
        let document = document.to_owned();
        Box::pin(async move { self.ask(|reply| Ask::Identify(document, reply)).await? })
    }
}
