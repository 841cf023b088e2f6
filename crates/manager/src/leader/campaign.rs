//! The life of a replica: wait for the lease, lead, and after the end of a term, again.

use std::sync::Arc;
use std::time::Duration;

use control::StepClock;
use model::{Change, World};
use store::{Store, StoreError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lease::{self, Terms};
use super::reign::{End, Reign};
use super::release::Releaser;
use super::{Lead, Seat};
use crate::clock;
use crate::config::Config;
use crate::executors::{self, Executors, Planner, Planning};
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::nodes::{Hub, Orders};

/// What a replica needs to lead.
pub(crate) struct Campaign {
    /// The database.
    pub(crate) store: Arc<Store>,
    /// Its own name.
    pub(crate) replica: String,
    /// Where it answers.
    pub(crate) url: String,
    /// What it was started with.
    pub(crate) config: Arc<Config>,
    /// Who sells machines.
    pub(crate) cloud: Arc<dyn cloud::Cloud>,
    /// Where the rest of the process finds the leader.
    pub(crate) seat: Arc<Seat>,
    /// The planner's thread.
    pub(crate) planner: Arc<Planner>,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// What happens, for whoever listens.
    pub(crate) feed: Arc<Feed>,
    /// Says stop.
    pub(crate) stop: CancellationToken,
}

/// After a term that ended badly, and between two looks at a lease that another one holds.
const WAIT_MS: u64 = 500;
/// The wait doubles while terms end badly, up to this.
const MAX_WAIT_MS: u64 = 8_000;
/// A term of this length was a good one.
const GOOD_TERM: Duration = Duration::from_secs(30);

/// Campaigns until it is told to stop, also after a panic: then World is gone, and loaded again.
pub(crate) async fn supervise(shared: Arc<Campaign>) {
    loop {
        let Err(fault) = tokio::spawn(campaign(Arc::clone(&shared))).await else { return };
        shared.seat.set(None);
        tracing::error!(%fault, "the leader's task panicked; it begins anew");
        tokio::time::sleep(Duration::from_millis(WAIT_MS)).await;
    }
}

async fn campaign(campaign: Arc<Campaign>) {
    let terms = Terms {
        replica: campaign.replica.clone(),
        lease_ms: campaign.config.timing.lease_ms,
        margin_ms: campaign.config.timing.lease_margin_ms,
    };
    let mut wait_ms = WAIT_MS;
    while !campaign.stop.is_cancelled() {
        let asked = Instant::now();
        let (store, url) = (&campaign.store, &campaign.url);
        match store.acquire(&terms.replica, url, terms.lease_ms, clock::now()).await {
            Ok(Some(term)) => {
                let end = Box::pin(lead(&campaign, &terms, term, asked)).await;
                campaign.seat.set(None);
                if matches!(end, Ok(End::Stopped)) {
                    break;
                }
                let lasted = asked.elapsed() >= GOOD_TERM;
                wait_ms = if lasted { WAIT_MS } else { (wait_ms * 2).min(MAX_WAIT_MS) };
                match end {
                    Ok(end) => tracing::error!(term, %end, "leadership ended; World is dropped"),
                    Err(fault) => tracing::error!(term, %fault, "World could not be loaded"),
                }
                release(&campaign, term).await;
            }
            Ok(None) => wait_ms = WAIT_MS,
            Err(fault) => {
                tracing::warn!(%fault, "the lease could not be asked for");
                wait_ms = (wait_ms * 2).min(MAX_WAIT_MS);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            () = campaign.stop.cancelled() => {}
        }
    }
}

/// Gives the lease back, so that nobody waits for its end. A leader that was fenced has none.
async fn release(campaign: &Campaign, term: u64) {
    if let Err(fault) = campaign.store.release(&campaign.replica, term).await {
        tracing::warn!(term, %fault, "the lease was not given back; it will run out");
    }
}

/// One term, from the loading of World to the end.
async fn lead(
    campaign: &Campaign,
    terms: &Terms,
    term: u64,
    asked: Instant,
) -> Result<End, StoreError> {
    campaign.metrics.terms.inc();
    let (until_sender, until) = watch::channel(terms.until(asked));
    let renewal =
        tokio::spawn(lease::renew(campaign.store.clone(), terms.clone(), term, until_sender));
    let durable = campaign.store.load().await?;
    let mut world = World::new(durable);
    let wall = clock::now();
    let step_clock = StepClock::begin(world.durable.head.now, wall, 0);
    world.observed.leader_since = wall.max(world.durable.head.now);
    let (jobs, nodes) = (world.durable.jobs.len(), world.durable.nodes.len());
    tracing::info!(term, seq = world.durable.head.seq, jobs, nodes, "leads");

    let (sender, queue) = mpsc::channel(campaign.config.limits.queue);
    let hub = Hub::default();
    tell_drains(&world, &hub);
    let lead = Arc::new(Lead { term, hub, posted: Notify::new(), queue: sender });
    let control = Arc::new(campaign.config.control.clone());
    let (metrics, feed) = (Arc::clone(&campaign.metrics), Arc::clone(&campaign.feed));
    feed.term_begins();
    let (releaser, rows) = Releaser::new(&world, Arc::clone(&lead), metrics, feed);
    let timing = campaign.config.timing.clone();
    let reign = Reign {
        planning: Planning::new(Arc::clone(&campaign.planner), Arc::clone(&lead), &timing),
        world,
        config: control,
        store: campaign.store.clone(),
        queue,
        until,
        releaser,
        metrics: Arc::clone(&campaign.metrics),
        stop: campaign.stop.clone(),
        began: std::time::Instant::now(),
        clock: step_clock,
    };
    let executors = TaskTracker::new();
    let ended = CancellationToken::new();
    executors::start(
        &executors,
        &ended,
        Executors {
            lead: Arc::clone(&lead),
            cloud: Arc::clone(&campaign.cloud),
            store: campaign.store.clone(),
            rows,
            timing,
        },
    );
    campaign.seat.set(Some(lead));
    let end = reign.run().await;
    campaign.seat.set(None);
    ended.cancel();
    executors.close();
    executors.wait().await;
    renewal.abort();
    if end == End::Stopped {
        release(campaign, term).await;
        tracing::info!(term, "leadership given back");
    }
    Ok(end)
}

/// Nodes that take no new work know it from their first answer on.
fn tell_drains(world: &World, hub: &Hub) {
    for node in world.durable.nodes.values().filter(|node| !node.takes_work()) {
        if node.joined.is_some() {
            hub.deliver(node.id, Orders { drain: Some(true), ..Orders::default() });
        }
    }
}

/// Whether the executors' rows may differ after these changes.
pub(super) fn concerns_executors(change: &Change) -> bool {
    matches!(change, Change::Intent(_) | Change::Node(_))
}
