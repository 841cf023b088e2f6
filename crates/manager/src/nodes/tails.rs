//! Streams of running attempts that somebody reads. The node is asked once, from where the reader
//! begins, and posts piece after piece until nobody reads any more.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use api::sync::Stream;
use bytes::Bytes;
use model::{AttemptId, NodeId};
use tokio::sync::mpsc;

use super::locked;

/// Pieces that wait for a slow reader; past them the node's post waits, and so the node.
const WAITING_PIECES: usize = 16;
/// How long a post waits: below what a digester waits for its answer (10 s).
const SLOW_READER: Duration = Duration::from_secs(5);

/// All streams that are read now.
#[derive(Debug)]
pub(crate) struct Tails {
    streams: Mutex<BTreeMap<(AttemptId, Stream), Tail>>,
    /// How many, so that the many steps that end attempts need no lock when nobody reads.
    open: AtomicUsize,
    next_reader: AtomicU64,
    /// How long a post waits for a slow reader.
    patience: Duration,
}

impl Default for Tails {
    fn default() -> Self {
        Self {
            streams: Mutex::default(),
            open: AtomicUsize::default(),
            next_reader: AtomicU64::default(),
            patience: SLOW_READER,
        }
    }
}

#[derive(Debug)]
struct Tail {
    node: NodeId,
    readers: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    offset: u64,
    /// Whether a piece is on its way to it.
    busy: bool,
    pieces: mpsc::Sender<Bytes>,
}

/// A piece on its way to a reader.
struct Passage {
    reader: u64,
    piece: Bytes,
    pieces: mpsc::Sender<Bytes>,
}

/// The reader's side: pieces in order, without gaps, until the attempt is over.
#[derive(Debug)]
pub(crate) struct Follower {
    pieces: mpsc::Receiver<Bytes>,
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// Nobody reads the stream any more: the node may stop.
    Nobody,
    /// Whoever reads has it.
    Taken,
    /// Somebody is not that far, and has to be sent what begins here.
    Behind(u64),
}

impl Follower {
    /// The next piece; `None` when the attempt is over or the leader changed.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.pieces.recv().await
    }
}

impl Tails {
    /// Begins to read an attempt's stream from `offset`.
    pub(super) fn follow(
        &self,
        attempt: AttemptId,
        stream: Stream,
        node: NodeId,
        offset: u64,
    ) -> Follower {
        let (sender, pieces) = mpsc::channel(WAITING_PIECES);
        let mut streams = locked(&self.streams);
        let empty = || Tail { node, readers: BTreeMap::new() };
        let tail = streams.entry((attempt, stream)).or_insert_with(empty);
        let reader = self.next_reader.fetch_add(1, Ordering::Relaxed);
        tail.readers.insert(reader, Reader { offset, busy: false, pieces: sender });
        self.open.store(streams.len(), Ordering::Relaxed);
        Follower { pieces }
    }

    /// A node sent what its stream has from `offset` on. Waits for slow readers.
    pub(super) async fn deliver(
        &self,
        node: NodeId,
        (attempt, stream): (AttemptId, Stream),
        offset: u64,
        bytes: &Bytes,
    ) -> Delivered {
        let passages = self.passages(node, (attempt, stream), offset, bytes);
        for Passage { reader, piece, pieces } in passages {
            let length = u64::try_from(piece.len()).unwrap_or(0);
            let sent = pieces.send_timeout(piece, self.patience).await;
            let mut streams = locked(&self.streams);
            let tail = streams.get_mut(&(attempt, stream));
            if let Some(reader) = tail.and_then(|tail| tail.readers.get_mut(&reader)) {
                reader.busy = false;
                reader.offset += if sent.is_ok() { length } else { 0 };
            }
        }
        let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        self.standing(node, (attempt, stream), end)
    }

    /// What of the piece is new to whom.
    fn passages(
        &self,
        node: NodeId,
        key: (AttemptId, Stream),
        offset: u64,
        bytes: &Bytes,
    ) -> Vec<Passage> {
        let mut streams = locked(&self.streams);
        let Some(tail) = streams.get_mut(&key).filter(|tail| tail.node == node) else {
            return Vec::new();
        };
        let mut passages = Vec::new();
        for (id, reader) in &mut tail.readers {
            let known = reader.offset.checked_sub(offset);
            let known = known.and_then(|known| usize::try_from(known).ok());
            let Some(known) = known.filter(|known| !reader.busy && *known < bytes.len()) else {
                continue;
            };
            reader.busy = true;
            let (piece, pieces) = (bytes.slice(known..), reader.pieces.clone());
            passages.push(Passage { reader: *id, piece, pieces });
        }
        passages
    }

    /// Who still reads, and from where, after a piece that ended at `end`.
    fn standing(&self, node: NodeId, key: (AttemptId, Stream), end: u64) -> Delivered {
        let mut streams = locked(&self.streams);
        let Some(tail) = streams.get_mut(&key).filter(|tail| tail.node == node) else {
            return Delivered::Nobody;
        };
        tail.readers.retain(|_, reader| !reader.pieces.is_closed());
        match tail.readers.values().map(|reader| reader.offset).min() {
            None => {
                streams.remove(&key);
                self.open.store(streams.len(), Ordering::Relaxed);
                Delivered::Nobody
            }
            Some(offset) if offset < end => Delivered::Behind(offset),
            Some(_) => Delivered::Taken,
        }
    }

    /// An attempt is over: its readers are told by the end of their pieces.
    pub(super) fn end(&self, attempt: AttemptId) {
        if self.open.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut streams = locked(&self.streams);
        for stream in [Stream::Stdout, Stream::Stderr] {
            streams.remove(&(attempt, stream));
        }
        self.open.store(streams.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use model::{JobId, TaskId};

    use super::*;

    #[tokio::test]
    async fn each_reader_gets_every_byte_once() {
        let tails = Tails::default();
        let attempt = TaskId { job: JobId::from_number(1), group: 0, index: 0 }.attempt(1);
        let (node, other) = (NodeId::from_number(2), NodeId::from_number(3));
        let key = (attempt, Stream::Stdout);
        let mut early = tails.follow(attempt, Stream::Stdout, node, 0);
        let send = async |node, offset, text: &'static str| {
            tails.deliver(node, key, offset, &Bytes::from(text)).await
        };
        assert_eq!(send(node, 0, "abc").await, Delivered::Taken);
        let mut late = tails.follow(attempt, Stream::Stdout, node, 1);
        assert_eq!(send(node, 3, "de").await, Delivered::Behind(1), "the late one has a gap");
        assert_eq!(send(node, 1, "bcde").await, Delivered::Taken);
        assert_eq!(send(other, 5, "not its own").await, Delivered::Nobody);
        tails.end(attempt);
        let mut all = Vec::new();
        while let Some(piece) = early.next().await {
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, b"abcde");
        assert_eq!(late.next().await.as_deref(), Some(&b"bcde"[..]));
        assert_eq!(late.next().await, None);
        assert_eq!(send(node, 5, "f").await, Delivered::Nobody);
    }

    #[tokio::test]
    async fn a_slow_reader_is_sent_the_rest_later() {
        let tails = Tails { patience: Duration::from_millis(1), ..Tails::default() };
        let attempt = TaskId { job: JobId::from_number(1), group: 0, index: 0 }.attempt(1);
        let node = NodeId::from_number(2);
        let key = (attempt, Stream::Stderr);
        let mut slow = tails.follow(attempt, Stream::Stderr, node, 0);
        for offset in 0..WAITING_PIECES as u64 {
            let taken = tails.deliver(node, key, offset, &Bytes::from("x")).await;
            assert_eq!(taken, Delivered::Taken);
        }
        let full = WAITING_PIECES as u64;
        let behind = tails.deliver(node, key, full, &Bytes::from("x")).await;
        assert_eq!(behind, Delivered::Behind(full));
        assert!(slow.next().await.is_some());
        let again = tails.deliver(node, key, full, &Bytes::from("x")).await;
        assert_eq!(again, Delivered::Taken);
    }
}
