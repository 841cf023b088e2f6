//! One market for all managers of a database. Only the leader calls its cloud, so whoever is called
//! takes the market's folder, and lets go of it when no call has come for a while: by then another
//! leads, or soon will.
//!
//! A leader that is stopped keeps the folder until it wakes up. The next one is told to try again
//! meanwhile, as by a cloud that does not answer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cloud::{Answer, Cloud, CloudError, Identity, Launched, Received};
use model::{InstanceId, Intent, Machine, Offer};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{MarketCloud, MarketConfig, MarketError};

/// A leader asks for all machines every two seconds: without any call for so long, this is none.
const LET_GO: Duration = Duration::from_secs(6);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A market that the managers of one database share. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct SharedMarket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: MarketConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    manager_url: Option<String>,
    held: Option<MarketCloud>,
    called: Instant,
}

impl SharedMarket {
    /// The market of a folder, which is taken at the first call.
    pub fn new(config: MarketConfig) -> Self {
        let manager_url = config.manager_url.clone();
        let state = Mutex::new(State { manager_url, held: None, called: Instant::now() });
        let shared = Arc::new(Shared { config, state });
        tokio::spawn(let_go(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// Where workers that are started from here find their manager. Nothing is sold before.
    pub async fn point_to(&self, manager_url: &str) {
        let mut state = self.0.state.lock().await;
        state.manager_url = Some(manager_url.to_owned());
    }

    /// Lets go of the market; with `kill`, its machines are ended first.
    ///
    /// # Errors
    /// It cannot be saved, or with `kill`, another manager has it.
    pub async fn shutdown(&self, kill: bool) -> Result<(), CloudError> {
        if kill {
            self.take().await?;
        }
        let held = self.0.state.lock().await.held.take();
        match held {
            Some(market) => market.shutdown(kill).await,
            None => Ok(()),
        }
    }

    async fn take(&self) -> Result<MarketCloud, CloudError> {
        let mut state = self.0.state.lock().await;
        state.called = Instant::now();
        if let Some(market) = &state.held {
            return Ok(market.clone());
        }
        let Some(manager_url) = state.manager_url.clone() else {
            return Err(CloudError::Retry("this manager does not serve yet".to_owned()));
        };
        let config = MarketConfig { manager_url: Some(manager_url), ..self.0.config.clone() };
        let market = MarketCloud::open(config).await.map_err(|error| match error {
            MarketError::Unreadable { .. } => CloudError::Wrong(error.to_string()),
            MarketError::InUse(_) | MarketError::Io { .. } | MarketError::NoRandomness(_) => {
                CloudError::Retry(error.to_string())
            }
        })?;
        tracing::info!("this manager has the market now");
        state.held = Some(market.clone());
        Ok(market)
    }
}

/// Gives the folder back when nobody calls, as long as there is a market.
async fn let_go(shared: Weak<Shared>) {
    loop {
        sleep(LOOK).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.state.lock().await;
        if state.called.elapsed() < LET_GO {
            continue;
        }
        if let Some(market) = state.held.take() {
            match market.shutdown(false).await {
                Ok(()) => tracing::info!("the market is another manager's to take"),
                Err(error) => tracing::error!(%error, "the market was not let go of in order"),
            }
        }
    }
}

impl Cloud for SharedMarket {
    fn offers(&self) -> Answer<'_, Vec<Offer>> {
        Box::pin(async move { self.take().await?.offers().await })
    }

    fn launch<'a>(&'a self, intent: &'a Intent) -> Answer<'a, Launched> {
        Box::pin(async move { self.take().await?.launch(intent).await })
    }

    fn retire<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<InstanceId>> {
        Box::pin(async move { self.take().await?.retire(instances).await })
    }

    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async move { self.take().await?.list().await })
    }

    fn notices(&self) -> Answer<'_, Vec<Received>> {
        Box::pin(async move { self.take().await?.notices().await })
    }

    fn acknowledge<'a>(&'a self, receipts: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move { self.take().await?.acknowledge(receipts).await })
    }

    fn identify<'a>(&'a self, document: &'a str) -> Answer<'a, Identity> {
        Box::pin(async move { self.take().await?.identify(document).await })
    }
}
