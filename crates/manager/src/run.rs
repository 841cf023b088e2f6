//! Start and end of a manager.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cloud::{Cloud, NoCloud};
use model::IdMaker;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use store::{Store, StoreError, Token, TokenKind};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::announce::{self, Announced};
use crate::config::{CloudChoice, Config, Listen};
use crate::executors::Planner;
use crate::feed::Feed;
use crate::items::Items;
use crate::leader::{Campaign, Seat, supervise};
use crate::metrics::Metrics;
use crate::nodes::Connections;
use crate::rest::{App, Hosts, Rates, router};
use crate::serve::serve;
use crate::tokens::Tokens;
use crate::{clock, feed, secret, upkeep};

/// Ports that are tried after the one that is taken.
const MORE_PORTS: u16 = 100;

/// Why a manager did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data folder belongs to a manager that runs.
    #[error("{} is in use by another manager; stop it, or give another --data-dir", .0.display())]
    DataDirInUse(PathBuf),
    /// A file or folder cannot be made or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The cloud does not take the manager's address.
    #[error("the cloud: {0}")]
    Cloud(#[from] cloud::CloudError),
    /// The system gives no thread or no random bytes.
    #[error("the system: {0}")]
    System(String),
}

/// A manager that runs. Dropped without [`Manager::shutdown`], it goes on until the process ends.
#[derive(Debug)]
pub struct Manager {
    url: String,
    token: String,
    data_dir: PathBuf,
    store: Arc<Store>,
    announced: Announced,
    serving: TaskTracker,
    leading: TaskTracker,
    stop_serving: CancellationToken,
    stop_leading: CancellationToken,
    /// Held as long as the data folder is ours.
    _lock: Flock<std::fs::File>,
}

impl Manager {
    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A user's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where its files are.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Stops accepting, finishes what is open, commits what was accepted, gives the lease back.
    pub async fn shutdown(self) {
        self.stop_serving.cancel();
        self.serving.close();
        self.serving.wait().await;
        self.stop_leading.cancel();
        self.leading.close();
        self.leading.wait().await;
        self.store.close().await;
        self.announced.withdraw();
        tracing::info!(url = %self.url, "ended in order");
    }
}

/// Starts a manager; it serves when this returns, and leads as soon as the lease is free.
///
/// # Errors
/// What keeps it from starting; nothing is left running then.
pub async fn run(config: Config) -> Result<Manager, StartError> {
    let data_dir = prepare_data_dir(&config)?;
    let lock = lock(&data_dir)?;
    raise_descriptor_limit();
    let store = Store::open(&config.database_url()).await?;
    let store = Arc::new(store.with_inbox_rows(config.limits.inbox_rows));
    let tokens = Tokens::open(Arc::clone(&store)).await?;
    let token = user_token(&tokens, &data_dir).await?;
    let (listener, address) = listen(config.listen).await?;
    let url = public_url(&config, address);
    let cloud: Arc<dyn Cloud> = match &config.cloud {
        CloudChoice::Static => Arc::new(NoCloud),
        CloudChoice::Market(market) => {
            market.point_to(&url).await?;
            Arc::new(market.clone())
        }
        CloudChoice::Other(cloud) => Arc::clone(cloud),
    };
    let objects = objects(&config)?;
    let replica = replica(&data_dir)?;
    let metrics = Arc::new(Metrics::default());
    let planner = Planner::start(Arc::clone(&metrics))
        .map_err(|fault| StartError::System(fault.to_string()))?;
    let announced = announce::announce(&url, &token, &data_dir, config.runtime_dir.as_deref())
        .map_err(in_file(&data_dir))?;
    let config = Arc::new(Config { data_dir: data_dir.clone(), ..config });
    let seat = Arc::new(Seat::default());
    let (feed, commits) = Feed::new(Arc::clone(&store), &config.limits);
    let (stop_serving, stop_leading) = (CancellationToken::new(), CancellationToken::new());
    let app = Arc::new(App {
        slots: Semaphore::new(config.limits.requests),
        rates: Rates::new(&config.limits),
        patching: tokio::sync::Mutex::new(()),
        config: Arc::clone(&config),
        store: Arc::clone(&store),
        seat: Arc::clone(&seat),
        tokens,
        connections: Arc::new(Connections::default()),
        metrics: Arc::clone(&metrics),
        objects,
        cloud: Arc::clone(&cloud),
        hosts: Hosts::new(address, &url),
        url: url.clone(),
        ids: Mutex::new(IdMaker::default()),
        feed: Arc::clone(&feed),
        items: Items::default(),
        uploads: Semaphore::new(config.limits.uploads),
        plans: Semaphore::new(config.limits.plans),
        stop: stop_serving.clone(),
    });
    let campaign = Campaign {
        store: Arc::clone(&store),
        replica,
        url: url.clone(),
        config,
        cloud,
        seat,
        planner: Arc::new(planner),
        metrics,
        feed,
        stop: stop_leading.clone(),
    };
    let (serving, leading) = (TaskTracker::new(), TaskTracker::new());
    leading.spawn(supervise(Arc::new(campaign)));
    serving.spawn(fill_feed(Arc::clone(&app), commits));
    serving.spawn(upkeep::run(Arc::clone(&app)));
    serving.spawn(serve(listener, Arc::clone(&app), router(app)));
    tracing::info!(%url, data_dir = %data_dir.display(), "serves");
    Ok(Manager {
        url,
        token,
        data_dir,
        store,
        announced,
        serving,
        leading,
        stop_serving,
        stop_leading,
        _lock: lock,
    })
}

async fn fill_feed(app: Arc<App>, commits: feed::Intake) {
    tokio::select! {
        () = app.stop.cancelled() => {}
        never = app.feed.run(commits, &app.seat) => match never {},
    }
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> StartError + '_ {
    move |source| StartError::File { path: path.to_owned(), source }
}

fn prepare_data_dir(config: &Config) -> Result<PathBuf, StartError> {
    let dir = std::path::absolute(&config.data_dir).map_err(in_file(&config.data_dir))?;
    announce::make_private_dir(&dir).map_err(in_file(&dir))?;
    Ok(dir)
}

/// Two managers in one folder would be one replica twice.
fn lock(data_dir: &Path) -> Result<Flock<std::fs::File>, StartError> {
    let path = data_dir.join("manager.lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(in_file(&path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| StartError::DataDirInUse(data_dir.to_owned()))
}

/// A connection is a descriptor, and the usual 1,024 are fewer than a cluster's nodes.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(fault) = raised {
        tracing::warn!(%fault, "the limit of open files stays as it is");
    }
}

/// The token of the first start; made then, and known to whatever database is used later.
async fn user_token(tokens: &Tokens, data_dir: &Path) -> Result<String, StartError> {
    let file = data_dir.join(announce::TOKEN_FILE);
    let text = match announce::read_token(data_dir).map_err(in_file(&file))? {
        Some(text) => text,
        None => {
            let text =
                secret::new_token("ebbu").map_err(|fault| StartError::System(fault.to_string()))?;
            announce::write_private(&file, &text).map_err(in_file(&file))?;
            text
        }
    };
    if tokens.caller(&text).await?.is_none() {
        let (kind, hash) = (TokenKind::User, secret::hash(&text));
        let name = "first start".to_owned();
        let created = clock::now();
        tokens.keep(Token { hash, kind, name, uses_left: None, expires: None, created }).await?;
    }
    Ok(text)
}

async fn listen(listen: Listen) -> Result<(TcpListener, SocketAddr), StartError> {
    let mut address = listen.address;
    let failed = |source| StartError::Listen { address: listen.address, source };
    let last = address.port().saturating_add(if listen.or_next { MORE_PORTS } else { 0 });
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr().map_err(failed)?;
                return Ok((listener, address));
            }
            Err(fault) if fault.kind() == io::ErrorKind::AddrInUse && address.port() < last => {
                address.set_port(address.port() + 1);
            }
            Err(fault) => return Err(failed(fault)),
        }
    }
}

fn public_url(config: &Config, address: SocketAddr) -> String {
    let local = |address: SocketAddr| {
        let mut address = address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    };
    let given = config.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    given.unwrap_or_else(|| local(address))
}

fn objects(config: &Config) -> Result<Arc<dyn ObjectStore>, StartError> {
    let dir = config.objects_dir();
    announce::make_private_dir(&dir).map_err(in_file(&dir))?;
    let store = LocalFileSystem::new_with_prefix(&dir)
        .map_err(|fault| in_file(&dir)(io::Error::other(fault)))?;
    Ok(Arc::new(store))
}

/// The replica's own name: the same after a restart, which so has its lease back at once.
fn replica(data_dir: &Path) -> Result<String, StartError> {
    let file = data_dir.join("replica");
    match std::fs::read_to_string(&file) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(in_file(&file)(fault)),
        _ => {}
    }
    let name = format!("replica-{:016x}", secret::noise());
    announce::write_private(&file, &name).map_err(in_file(&file))?;
    Ok(name)
}
