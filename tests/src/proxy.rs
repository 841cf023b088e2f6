//! A TCP proxy that mistreats connections: it drops, delays and half-closes them.
//!
//! It stands before one manager; when that one refuses connections, they go to the others, as a load
//! balancer would do. A manager that is stopped does not refuse: its callers wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Dice;

/// What of a half-closed connection still flows is cut off after this.
const HALF: Duration = Duration::from_secs(3);
/// Bytes that are carried at once.
const PIECE: usize = 16 << 10;

/// A proxy; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    /// Where connections go: to the first that takes them.
    behind: Vec<SocketAddr>,
    dice: Mutex<Dice>,
    /// Of a thousand connections, so many are mistreated.
    mischief: AtomicU64,
    counts: [AtomicU64; 3],
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Carried,
    /// Both ways end at once, after this.
    Dropped(Duration),
    /// Each piece comes so much later.
    Delayed(Duration),
    /// One way ends after this, the other a little later.
    HalfClosed {
        after: Duration,
        up: bool,
    },
}

/// How many connections were mistreated, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mistreated {
    /// Dropped.
    pub dropped: u64,
    /// Delayed.
    pub delayed: u64,
    /// Half-closed.
    pub half_closed: u64,
}

impl Proxy {
    /// A proxy on a free port of the loopback.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(behind: Vec<SocketAddr>, dice: Dice, mischief: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            behind,
            dice: Mutex::new(dice),
            mischief: AtomicU64::new(mischief),
            counts: Default::default(),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Mistreats no more; what was drawn for open connections still happens.
    pub fn calm(&self) {
        self.shared.mischief.store(0, Ordering::Relaxed);
    }

    /// What it has done.
    pub fn mistreated(&self) -> Mistreated {
        let count = |at: usize| self.shared.counts[at].load(Ordering::Relaxed);
        Mistreated { dropped: count(0), delayed: count(1), half_closed: count(2) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn fate(&self) -> Fate {
        let mischief = self.mischief.load(Ordering::Relaxed);
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        if !dice.per_mille(mischief) {
            return Fate::Carried;
        }
        let kind = dice.between(0, 3);
        if let Some(count) = usize::try_from(kind).ok().and_then(|at| self.counts.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let after = Duration::from_millis(dice.between(0, 6_000));
        match kind {
            0 => Fate::Dropped(after),
            1 => Fate::Delayed(Duration::from_millis(dice.between(20, 600))),
            _ => Fate::HalfClosed { after, up: dice.per_mille(500) },
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            for address in &shared.behind {
                if let Ok(manager) = TcpStream::connect(address).await {
                    carry(client, manager, shared.fate()).await;
                    return;
                }
            }
        });
    }
}

async fn carry(client: TcpStream, manager: TcpStream, fate: Fate) {
    let _ = (client.set_nodelay(true), manager.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_manager, to_manager) = manager.into_split();
    let delay = match fate {
        Fate::Delayed(delay) => delay,
        Fate::Carried | Fate::Dropped(_) | Fate::HalfClosed { .. } => Duration::ZERO,
    };
    let cut = |up: bool| match fate {
        Fate::HalfClosed { after, up: this } if this == up => Some(after),
        _ => None,
    };
    let up = pump(from_client, to_manager, delay, cut(true));
    let down = pump(from_manager, to_client, delay, cut(false));
    match fate {
        Fate::Carried | Fate::Delayed(_) => drop(tokio::join!(up, down)),
        Fate::Dropped(after) => drop(timeout(after, async { tokio::join!(up, down) }).await),
        Fate::HalfClosed { after, .. } => {
            drop(timeout(after + HALF, async { tokio::join!(up, down) }).await);
        }
    }
}

/// Carries one way to its end, or until it is cut.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    cut: Option<Duration>,
) {
    let mut piece = vec![0; PIECE];
    let carried = async {
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            if !delay.is_zero() {
                sleep(delay).await;
            }
            if to.write_all(&piece[..length]).await.is_err() {
                break;
            }
        }
    };
    match cut {
        Some(after) => drop(timeout(after, carried).await),
        None => carried.await,
    }
    let _ = to.shutdown().await;
    // Whoever writes to a way that is cut is not told: what comes is held, not refused.
    if cut.is_some() {
        sleep(HALF).await;
    }
}
