//! `ebb manager`, and how `up` and `demo` start a manager in their own process.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use manager::market::{MarketCloud, MarketConfig, MarketError, SharedMarket, Weather};
use manager::{CloudChoice, Config, Listen, StartError};
use serde::Serialize;
use tracing::info;

use crate::args::{self, CloudKind, ManagerArgs};
use crate::discovery::{self, Surroundings};
use crate::error::{Exit, Failure, Kind};
use crate::output::{Answer, Look, Screen};
use crate::signals::Signals;

/// Machines of a market at once, unless said otherwise: each is a process here.
const MACHINES: u32 = 16;
/// A machine of a market whose manager was killed stops its tasks and ends after this.
const ORPHAN_AFTER: &str = "1m";

/// What is printed once it is ready.
#[derive(Debug, Serialize)]
pub(crate) struct Ready<'a> {
    pub(crate) url: &'a str,
    pub(crate) data_dir: &'a Path,
    pub(crate) token: &'a str,
    /// What is ready.
    #[serde(skip)]
    pub(crate) what: &'static str,
}

impl Answer for Ready<'_> {
    fn text(&self, _look: Look) -> String {
        format!("{} is ready at {}, data in {}", self.what, self.url, self.data_dir.display())
    }
}

/// Runs a manager until it is told to end.
pub(crate) async fn manager(screen: Screen, args: &args::Manager) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let around = Surroundings::of_process();
    let data_dir = data_dir(&args.manager, &around)?;
    let here = Here::start(&args.manager, &data_dir, &around).await?;
    show_ready(screen, &here, &data_dir, "a manager")?;
    let signal = signals.next().await;
    info!(signal, "told to end");
    tokio::select! {
        () = here.end(Machines::Leave) => {}
        _ = signals.next() => {}
    }
    Ok(Exit::Ok)
}

pub(crate) fn show_ready(
    screen: Screen,
    here: &Here,
    data_dir: &Path,
    what: &'static str,
) -> Result<(), Failure> {
    screen.show(&Ready { url: here.url(), data_dir, token: here.token(), what })
}

/// The data folder, made if it is not there, for us alone.
pub(crate) fn data_dir(args: &ManagerArgs, around: &Surroundings) -> Result<PathBuf, Failure> {
    let dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => around.data_dir()?,
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.and_then(|()| dir.canonicalize())
        .map_err(|fault| Failure::usage(format!("cannot use {}: {fault}", dir.display())))
}

/// Whether the market's machines end with their manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machines {
    /// They go on: a cloud does not die with its manager.
    Leave,
    /// They end, and no process of theirs is left.
    End,
}

/// A manager in this process, with the market if it has one.
pub(crate) struct Here {
    manager: manager::Manager,
    market: Option<Market>,
}

/// Whose the market is.
enum Market {
    /// This manager's alone.
    Own(MarketCloud),
    /// That of whoever leads.
    Shared(SharedMarket),
}

impl Here {
    /// Starts what the arguments say.
    pub(crate) async fn start(
        args: &ManagerArgs,
        data_dir: &Path,
        around: &Surroundings,
    ) -> Result<Self, Failure> {
        let mut config = Config::new(data_dir);
        config.database.clone_from(&args.database);
        config.public_url = args.public_url.as_deref().map(discovery::checked).transpose()?;
        config.shared_dir = args.shared_dir.as_deref().map(shared_dir).transpose()?;
        config.runtime_dir = around.runtime_dir.as_ref().map(|dir| dir.join("ebb"));
        if let Some(address) = args.listen {
            config.listen = Listen { address, or_next: false };
        }
        match args.cloud {
            CloudKind::Static => Self::with(config, None).await,
            CloudKind::Market => {
                let weather = Weather { seed: args.seed, ..Weather::default() };
                Self::with(config, Some((weather, MACHINES))).await
            }
            CloudKind::Aws => Err(Failure::usage("--cloud aws is not built yet")
                .next("the same with --cloud static or --cloud market")),
        }
    }

    /// Starts a manager; with a weather, on a market of at most so many machines.
    pub(crate) async fn with(
        mut config: Config,
        market: Option<(Weather, u32)>,
    ) -> Result<Self, Failure> {
        let market = match market {
            None => None,
            Some((weather, machines)) => Some(open_market(&config, weather, machines).await?),
        };
        match &market {
            None => {}
            Some(Market::Own(market)) => config.cloud = CloudChoice::Market(market.clone()),
            Some(Market::Shared(market)) => {
                config.cloud = CloudChoice::Other(Arc::new(market.clone()));
            }
        }
        let manager = manager::run(config).await.map_err(|error| start_failure(&error))?;
        if let Some(Market::Shared(market)) = &market {
            market.point_to(manager.url()).await;
        }
        Ok(Self { manager, market })
    }

    pub(crate) fn url(&self) -> &str {
        self.manager.url()
    }

    pub(crate) fn token(&self) -> &str {
        self.manager.token()
    }

    /// Ends in order: no new requests, what is under way is answered, the lease is given back.
    pub(crate) async fn end(self, machines: Machines) {
        let Self { manager, market } = self;
        let close = async |end: bool| {
            let closed = match &market {
                None => return,
                Some(Market::Own(market)) => market.shutdown(end).await,
                Some(Market::Shared(market)) => market.shutdown(end).await,
            };
            match closed {
                Ok(()) => info!(end, "the market is closed"),
                Err(error) => tracing::error!(%error, "the market did not end in order"),
            }
        };
        match machines {
            Machines::Leave => {
                manager.shutdown().await;
                close(false).await;
            }
            // The machines first: the manager waits for their open requests.
            Machines::End => {
                close(true).await;
                manager.shutdown().await;
            }
        }
    }
}

async fn open_market(config: &Config, weather: Weather, machines: u32) -> Result<Market, Failure> {
    let program = std::env::current_exe()
        .map_err(|fault| Failure::local(format!("cannot find our own program: {fault}")))?;
    let objects = config.objects_dir();
    let objects = objects.to_str().ok_or_else(|| {
        Failure::usage(format!("the folder {} has no UTF-8 name", objects.display()))
    })?;
    let words = ["worker", "--objects", objects, "--orphan-after", ORPHAN_AFTER];
    let market = MarketConfig {
        data_dir: config.shared_dir.as_ref().unwrap_or(&config.data_dir).clone(),
        program,
        arguments: words.map(str::to_owned).to_vec(),
        manager_url: None,
        weather,
        max_machines: machines,
    };
    if config.shared_dir.is_some() {
        return Ok(Market::Shared(SharedMarket::new(market)));
    }
    let opened = MarketCloud::open(market).await;
    opened.map(Market::Own).map_err(|error| market_failure(&error))
}

/// A folder that is there, or is made now, by its one name.
fn shared_dir(dir: &Path) -> Result<PathBuf, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| dir.canonicalize())
        .map_err(|fault| Failure::usage(format!("cannot use {}: {fault}", dir.display())))
}

fn start_failure(error: &StartError) -> Failure {
    let kind = match error {
        StartError::DataDirInUse(_) | StartError::Listen { .. } => Kind::Refused,
        StartError::Store(_)
        | StartError::File { .. }
        | StartError::Cloud(_)
        | StartError::System(_) => Kind::Local,
    };
    Failure::new(kind, error.to_string())
}

fn market_failure(error: &MarketError) -> Failure {
    match error {
        MarketError::InUse(_) => Failure::new(Kind::Refused, error.to_string())
            .next("end that manager, or say another --data-dir"),
        MarketError::Unreadable { .. } => Failure::new(Kind::Refused, error.to_string()),
        MarketError::Io { .. } | MarketError::NoRandomness(_) => Failure::local(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn aws_is_a_usage_error() {
        let args = ManagerArgs {
            listen: None,
            data_dir: None,
            database: None,
            public_url: None,
            shared_dir: None,
            cloud: CloudKind::Aws,
            seed: 1,
        };
        let started = Here::start(&args, Path::new("/nowhere"), &Surroundings::default()).await;
        let failure = started.err().expect("a failure");
        assert_eq!((failure.exit().code(), failure.cause.contains("not built yet")), (2, true));
    }
}
