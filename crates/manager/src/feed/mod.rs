//! Events for whoever listens: the newest commits in memory, all others in the log.
//!
//! At the leader the releaser hands over what has become durable; other replicas read the log, as
//! long as somebody listens. A reader that is not at the newest commits reads the log itself, so
//! that memory is bounded by the [`Ring`] and not by its readers.

mod ring;
mod tell;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Change, Timestamp};
use store::{LogEntry, Store, StoreError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

pub(crate) use self::ring::{After, Told, write_message};
use self::ring::{Bounds, Ring};
use self::tell::events_of;
use crate::config::Limits;
use crate::leader::Seat;

/// Commits that are kept in memory while somebody listens.
const COMMITS: usize = 4_096;
/// Commits of the leader that wait to be told; past them the log is read.
const WAITING: usize = 64;
/// Between two looks into the log where no leader tells what is new.
const LOOK: Duration = Duration::from_millis(200);
/// Commits that are read from the log at once.
const PAGE: u32 = 16;
/// Pages of the log that are read at once by all readers: a commit may be large.
const READERS: usize = 4;

/// What has become durable, as the leader hands it over.
struct Commit {
    seq: u64,
    at: Timestamp,
    changes: Vec<Change>,
}

/// The newest events of a replica, and whoever listens.
pub(crate) struct Feed {
    store: Arc<Store>,
    ring: Mutex<Ring>,
    listeners: AtomicUsize,
    /// Says that the ring knows of something new.
    news: watch::Sender<()>,
    commits: mpsc::Sender<Commit>,
    /// Something was committed that nobody has handed over.
    missed: Notify,
    reading: Semaphore,
    room: Arc<Semaphore>,
}

/// The other end of [`Feed`], for the task that fills it.
pub(crate) struct Intake(mpsc::Receiver<Commit>);

/// Somebody who listens, until it is dropped.
pub(crate) struct Listener {
    feed: Arc<Feed>,
    news: watch::Receiver<()>,
    _place: OwnedSemaphorePermit,
}

/// What a reader of the log found.
pub(crate) enum Page {
    /// Commits, the first of which follows what the reader has.
    Commits(Vec<Told>),
    /// What follows has been trimmed.
    Gap,
}

impl Feed {
    /// With room for listeners and for what they hear.
    pub(crate) fn new(store: Arc<Store>, limits: &Limits) -> (Arc<Self>, Intake) {
        let (commits, intake) = mpsc::channel(WAITING);
        let bounds = Bounds { commits: COMMITS, bytes: limits.events_bytes };
        let feed = Self {
            store,
            ring: Mutex::new(Ring::new(bounds)),
            listeners: AtomicUsize::new(0),
            news: watch::Sender::new(()),
            commits,
            missed: Notify::new(),
            reading: Semaphore::new(READERS),
            room: Arc::new(Semaphore::new(limits.streams)),
        };
        (Arc::new(feed), Intake(intake))
    }

    /// Begins to listen; `None` when too many do.
    pub(crate) fn listen(self: &Arc<Self>) -> Option<Listener> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        // From here on what is committed is handed over; what was committed before is in the log.
        // Under the lock, so that the last one that leaves clears nothing of what comes now.
        let ring = self.ring();
        self.listeners.fetch_add(1, Ordering::SeqCst);
        drop(ring);
        Some(Listener { feed: Arc::clone(self), news: self.news.subscribe(), _place: place })
    }

    fn is_heard(&self) -> bool {
        self.listeners.load(Ordering::SeqCst) > 0
    }

    /// The leader has made a commit durable. Costs next to nothing while nobody listens.
    pub(crate) fn publish(&self, seq: u64, at: Timestamp, changes: Vec<Change>) {
        if self.is_heard() && self.commits.try_send(Commit { seq, at, changes }).is_err() {
            self.missed.notify_one();
        }
    }

    /// A term begins here: nobody hands over what the last leader committed.
    pub(crate) fn term_begins(&self) {
        self.missed.notify_one();
    }

    /// Fills the feed. Never returns.
    pub(crate) async fn run(&self, mut intake: Intake, seat: &Seat) -> Infallible {
        loop {
            let commit = tokio::select! {
                commit = intake.0.recv() => commit,
                () = self.missed.notified() => None,
                () = tokio::time::sleep(LOOK) => {
                    if seat.lead().is_some() {
                        continue;
                    }
                    None
                }
            };
            if !self.is_heard() {
                continue;
            }
            match commit {
                Some(Commit { seq, at, changes }) => {
                    self.push(Told::new(seq, &events_of(seq, at, &changes)));
                }
                None => {
                    if let Err(fault) = self.catch_up().await {
                        tracing::warn!(%fault, "events are late: the log could not be read");
                        self.missed.notify_one();
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        }
    }

    fn push(&self, told: Told) {
        self.ring().push(told);
        self.news.send_replace(());
    }

    /// Adds what the log has past the newest commit that is known.
    async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let known = self.ring().known();
            let Some(known) = known else {
                let last = self.store.log_bounds().await?.map_or(0, |(_, last)| last);
                self.ring().begin_after(last);
                self.news.send_replace(());
                return Ok(());
            };
            let entries = self.store.log(known, PAGE).await?;
            let is_last = entries.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            for entry in &entries {
                self.push(told(entry));
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// What the log has after a commit, up to some amount of text.
    pub(crate) async fn read(&self, seq: u64, most_bytes: usize) -> Result<Page, StoreError> {
        // Never closed: it ends with the feed.
        let _place = self.reading.acquire().await;
        let entries = self.store.log(seq, PAGE).await?;
        if entries.first().is_none_or(|entry| entry.seq != seq + 1) {
            return Ok(Page::Gap);
        }
        let (mut commits, mut bytes) = (Vec::new(), 0);
        for entry in entries {
            let told = told(&entry);
            bytes += told.bytes();
            commits.push(told);
            if bytes >= most_bytes {
                break;
            }
        }
        Ok(Page::Commits(commits))
    }

    /// One commit of the log, if it has it.
    pub(crate) async fn one(&self, seq: u64) -> Result<Option<Told>, StoreError> {
        let entries = self.store.log(seq.saturating_sub(1), 1).await?;
        Ok(entries.iter().find(|entry| entry.seq == seq).map(told))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(entry: &LogEntry) -> Told {
    Told::new(entry.seq, &events_of(entry.seq, entry.at, &entry.changes))
}

impl Listener {
    /// What follows a commit, as far as memory knows.
    pub(crate) fn after(&mut self, seq: u64) -> After {
        // Marked as seen before the look: what comes later wakes the wait.
        self.news.mark_unchanged();
        self.feed.ring().after(seq)
    }

    /// Waits until something is new.
    pub(crate) async fn news(&mut self) {
        // The feed lives as long as its listeners.
        let _ = self.news.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut ring = self.feed.ring();
        if self.feed.listeners.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Memory is for listeners.
            ring.clear();
        }
    }
}
