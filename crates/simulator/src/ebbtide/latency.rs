//! How long things take between the parts of a cluster, drawn from the seed. A run by ticks knows no
//! latency: there each of these is zero.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Takes {
    /// A commit: one fsync of SQLite or Postgres on a cloud disk.
    Commit,
    /// A report or an answer on its way: one way within a region.
    Network,
    /// The planner, from problem to plan.
    Planner,
    /// A launch call: EC2's `CreateFleet` answers within one to two seconds.
    LaunchCall,
    /// A call that ends machines.
    RetireCall,
    /// The cloud's word by its queue: EventBridge to SQS to a long poll.
    CloudQueue,
    /// A node's look at its metadata: the digester looks every 100 ms.
    Metadata,
    /// A read of the backlog's table.
    Read,
    /// From a new price to the next look at what is on offer, every 10 s.
    Offers,
}

const KINDS: u64 = 9;

impl Takes {
    /// Least and most, in milliseconds.
    fn range_ms(self) -> (u64, u64) {
        match self {
            Self::Commit => (2, 6),
            Self::Network => (1, 3),
            Self::Planner => (2, 20),
            Self::LaunchCall => (1_000, 2_000),
            Self::RetireCall => (300, 1_000),
            Self::CloudQueue => (500, 2_000),
            Self::Metadata => (0, 100),
            Self::Read => (2, 10),
            Self::Offers => (0, 10_000),
        }
    }

    fn ordinal(self) -> u64 {
        match self {
            Self::Commit => 0,
            Self::Network => 1,
            Self::Planner => 2,
            Self::LaunchCall => 3,
            Self::RetireCall => 4,
            Self::CloudQueue => 5,
            Self::Metadata => 6,
            Self::Read => 7,
            Self::Offers => 8,
        }
    }
}

/// One stream for each kind, so that one more draw of one shifts nothing of the others.
#[derive(Debug)]
pub(super) struct Latency {
    streams: Option<Vec<ChaCha8Rng>>,
}

impl Latency {
    /// Of a run; `none` for one by ticks.
    pub(super) fn new(seed: u64, none: bool) -> Self {
        let stream = |kind: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..16].copy_from_slice(&kind.to_le_bytes());
            bytes[16..23].copy_from_slice(b"latency");
            ChaCha8Rng::from_seed(bytes)
        };
        Self { streams: (!none).then(|| (0..KINDS).map(stream).collect()) }
    }

    /// How long it takes this time.
    pub(super) fn of(&mut self, what: Takes) -> u64 {
        let at = usize::try_from(what.ordinal()).unwrap_or(0);
        let Some(stream) = self.streams.as_mut().and_then(|streams| streams.get_mut(at)) else {
            return 0;
        };
        let (least, most) = what.range_ms();
        stream.random_range(least..=most)
    }
}
