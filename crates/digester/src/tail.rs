//! Sends the output of running attempts to whoever is reading it now.
//!
//! A request holds until the attempt is over, or until the manager refuses a chunk because nobody
//! reads any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::sync::{Stream, TailRequest};
use model::{AttemptId, Clamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::sync::TailPost;

/// Between two looks at the file.
const EVERY: Duration = Duration::from_millis(100);
/// Of one request's body.
const CHUNK_BYTES: usize = 64 << 10;

/// All tails of a digester.
#[derive(Default)]
pub(crate) struct Tails {
    open: BTreeMap<(AttemptId, Stream), Tail>,
}

struct Tail {
    /// The last offset that was asked for: a request that repeats it is the same one.
    asked: u64,
    seek: watch::Sender<u64>,
    over: CancellationToken,
}

impl Tails {
    /// Begins to send, or goes back to where another reader begins.
    pub(crate) fn follow(&mut self, request: TailRequest, dir: &Path, post: &TailPost) {
        self.open.retain(|_, tail| !tail.seek.is_closed());
        let key = (request.attempt, request.stream);
        if let Some(tail) = self.open.get_mut(&key) {
            if tail.asked != request.offset {
                tail.asked = request.offset;
                tail.seek.send_replace(request.offset);
            }
            return;
        }
        let (seek, from) = watch::channel(request.offset);
        let over = CancellationToken::new();
        let file = Log::new(dir.join(request.stream.as_str()));
        tokio::spawn(follow(file, key, from, over.clone(), post.clone()));
        self.open.insert(key, Tail { asked: request.offset, seek, over });
    }

    /// The attempt's process is over: send the rest and stop. Answers whether there is a reader,
    /// who may be a while.
    pub(crate) fn over(&mut self, attempt: AttemptId) -> bool {
        let mut read = false;
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(tail) = self.open.remove(&(attempt, stream)) {
                tail.over.cancel();
                read = true;
            }
        }
        read
    }
}

async fn follow(
    mut file: Log,
    (attempt, stream): (AttemptId, Stream),
    mut from: watch::Receiver<u64>,
    over: CancellationToken,
    post: TailPost,
) {
    let mut offset = *from.borrow_and_update();
    loop {
        let last = over.is_cancelled();
        if from.has_changed().unwrap_or(false) {
            offset = *from.borrow_and_update();
        }
        while let Ok(bytes) = file.read(offset)
            && !bytes.is_empty()
        {
            let length: u64 = bytes.len().clamped();
            if let Err(gone) = post.send(attempt, stream, offset, bytes).await {
                tracing::debug!(%attempt, %gone, "nobody reads the output any more");
                return;
            }
            offset += length;
        }
        if last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = over.cancelled() => {}
        }
    }
}

/// A stream's file. Once it is open, it can be read to its end whenever the folder goes.
struct Log {
    path: PathBuf,
    file: Option<File>,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        let file = File::open(&path).ok();
        Self { path, file }
    }

    fn read(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        let file = match &mut self.file {
            Some(file) => file,
            // The process is about to start.
            none => none.insert(File::open(&self.path)?),
        };
        let mut bytes = vec![0; CHUNK_BYTES];
        let length = file.read_at(&mut bytes, offset)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}
