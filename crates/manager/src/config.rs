//! What a manager is started with, one struct per concern.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use cloud::Cloud;

use crate::market::MarketCloud;

/// What a manager is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// Where tokens, objects, the SQLite file and the market are.
    pub data_dir: PathBuf,
    /// Where objects are, which all replicas of a database must see; by default the data folder.
    pub shared_dir: Option<PathBuf>,
    /// `sqlite:PATH` or `postgres://…`; by default a file in the data folder.
    pub database: Option<String>,
    /// Where it answers, as others see it; by default the address that it listens on.
    pub public_url: Option<String>,
    /// Whether url and token are also written to this folder (`$XDG_RUNTIME_DIR/ebb`).
    pub runtime_dir: Option<PathBuf>,
    /// Who sells machines.
    pub cloud: CloudChoice,
    /// The reactor's constants.
    pub control: control::Config,
    /// How often things are done.
    pub timing: Timing,
    /// What a client may ask of it.
    pub limits: Limits,
    /// How long what is over is kept.
    pub retention: Retention,
}

impl Config {
    /// With defaults: static nodes, SQLite, 127.0.0.1:7878 or the next free port.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: Listen::default(),
            data_dir: data_dir.into(),
            shared_dir: None,
            database: None,
            public_url: None,
            runtime_dir: None,
            cloud: CloudChoice::Static,
            control: control::Config::default(),
            timing: Timing::default(),
            limits: Limits::default(),
            retention: Retention::default(),
        }
    }

    /// The database's URL.
    pub fn database_url(&self) -> String {
        self.database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}", self.data_dir.join("ebb.db").display()))
    }

    /// The object store's folder.
    pub fn objects_dir(&self) -> PathBuf {
        self.shared_dir.as_ref().unwrap_or(&self.data_dir).join("objects")
    }
}

/// Where a manager listens.
#[derive(Debug, Clone, Copy)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// Whether the next free port will do.
    pub or_next: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7878), or_next: true }
    }
}

/// Who sells machines.
#[derive(Clone)]
pub enum CloudChoice {
    /// Nobody: machines join by token.
    Static,
    /// The simulated one; it is told where its workers find this manager.
    Market(MarketCloud),
    /// This one.
    Other(Arc<dyn Cloud>),
}

impl fmt::Debug for CloudChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Static => "static",
            Self::Market(_) => "market",
            Self::Other(_) => "other",
        })
    }
}

/// How often things are done.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Life of the lease: a dead leader's place is free after this.
    pub lease_ms: u64,
    /// A leader stops this long before its lease ends, by its own clock.
    pub lease_margin_ms: u64,
    /// How often the inbox is read.
    pub inbox_ms: u64,
    /// How often the cloud is asked for all machines of ours.
    pub list_ms: u64,
    /// How often the cloud is asked for what it sells.
    pub offers_ms: u64,
    /// Between two plans at the least.
    pub plan_ms: u64,
    /// And at the most, for what becomes due by time alone (idle nodes).
    pub replan_ms: u64,
    /// How long a shutdown waits for open requests.
    pub shutdown_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_ms: 10_000,
            lease_margin_ms: 2_000,
            inbox_ms: 100,
            list_ms: 2_000,
            offers_ms: 10_000,
            plan_ms: 50,
            replan_ms: 1_000,
            shutdown_ms: 5_000,
        }
    }
}

/// How long what is over is kept. What is unsettled, and what it comes after, is always kept; so
/// is every dollar of the bill.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Settled jobs with their tasks, attempts, logs and outputs.
    pub jobs_ms: u64,
    /// At most so many settled jobs.
    pub jobs: u64,
    /// Everything else.
    pub rest: store::Keep,
    /// Between two rounds.
    pub round_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            jobs_ms: 30 * 24 * 3_600_000,
            jobs: 1_000_000,
            rest: store::Keep::default(),
            round_ms: 60_000,
        }
    }
}

/// What a client may ask of a manager; each far above use and below harm.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a job's document.
    pub job_bytes: usize,
    /// Bytes of an NDJSON body.
    pub ndjson_bytes: usize,
    /// Lines of it.
    pub ndjson_lines: usize,
    /// Bytes of uploaded items.
    pub items_bytes: usize,
    /// Time for all of them.
    pub items_ms: u64,
    /// Uploads of items at once.
    pub uploads: usize,
    /// Plans and exports at once: each may take a core for seconds.
    pub plans: usize,
    /// Tasks of a job that a plan looks into.
    pub plan_tasks: u64,
    /// After which a plan begins no further run.
    pub plan_ms: u64,
    /// Jobs of an export.
    pub export_jobs: u32,
    /// Tasks of an export that are settled.
    pub export_tasks: u32,
    /// Nodes of an export.
    pub export_nodes: u32,
    /// Bytes of a sync.
    pub sync_bytes: usize,
    /// Bytes of any other body.
    pub other_bytes: usize,
    /// Time for a request's head, from the end of the one before: an idle connection ends with it.
    pub head_ms: u64,
    /// Time for a request's body; of uploaded items, between two pieces.
    pub body_ms: u64,
    /// Time for which a client may read nothing of its answer.
    pub write_ms: u64,
    /// Open connections: one or two for each node and client.
    pub connections: usize,
    /// Requests at work, syncs and followed logs not counted.
    pub requests: usize,
    /// Streams of events.
    pub streams: usize,
    /// Bytes of the newest events that are kept in memory while somebody listens; who is further
    /// behind reads the log.
    pub events_bytes: usize,
    /// Messages that wait for the leader's next step.
    pub queue: usize,
    /// Messages and jobs that wait in the inbox of a leader that is slow or away.
    pub inbox_rows: u64,
    /// Bytes of a request's head: its path, its query and its headers.
    pub head_bytes: usize,
    /// Requests a second with one token, in the long run.
    pub token_per_s: u32,
    /// And at once, after a quiet time.
    pub token_burst: u32,
    /// Requests a second with unknown tokens from one address, in the long run.
    pub guesses_per_s: u32,
    /// And at once, after a quiet time.
    pub guesses_burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            job_bytes: 10 << 20,
            ndjson_bytes: 64 << 20,
            ndjson_lines: 10_000,
            items_bytes: 256 << 20,
            items_ms: 600_000,
            uploads: 32,
            plans: 2,
            plan_tasks: 20_000,
            plan_ms: 10_000,
            export_jobs: 50_000,
            export_tasks: 2_000_000,
            export_nodes: 50_000,
            sync_bytes: 8 << 20,
            other_bytes: 64 << 10,
            head_ms: 30_000,
            body_ms: 30_000,
            write_ms: 30_000,
            connections: 24_000,
            requests: 1_024,
            streams: 1_000,
            events_bytes: 32 << 20,
            queue: 16_384,
            inbox_rows: store::INBOX_ROWS,
            head_bytes: 64 << 10,
            token_per_s: 10_000,
            token_burst: 20_000,
            guesses_per_s: 10,
            guesses_burst: 50,
        }
    }
}
