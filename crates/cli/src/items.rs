//! A file of items, one a line: short ones go into the job's document, long ones are uploaded as
//! they are read, so that no file is held in memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use model::{Fault, ItemsKey, limits};
use serde_json::Value;
use tempfile::TempPath;
use tokio::sync::mpsc;

use crate::error::{Failure, Spot};
use crate::output::Screen;
use crate::progress::{Progress, Unit};
use crate::remote::Remote;

/// A file up to this long goes into the document.
pub(crate) const INLINE_BYTES: u64 = 1 << 20;
/// The manager takes no more in one upload.
const MOST_BYTES: u64 = 256 << 20;
/// Faults of one file that are told.
const FAULTS: usize = 100;
/// Sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait to be sent.
const PIECES: usize = 4;
/// Between two looks at how far an upload is.
const LOOK: Duration = Duration::from_millis(200);

/// A file that has been read once and has nothing wrong.
#[derive(Debug)]
pub(crate) struct ItemsFile {
    path: PathBuf,
    bytes: u64,
    pub(crate) count: u64,
    /// The copy of what can be read only once (a pipe), for as long as it is needed.
    _copy: Option<TempPath>,
}

/// What is wrong with a file, in the words that a fault of the document has, or with places of its
/// own lines.
#[derive(Debug)]
pub(crate) enum BadItems {
    File(String),
    Lines(Vec<Spot>),
}

impl ItemsFile {
    /// Reads the file (`-` is standard input) from end to end and keeps nothing of it.
    pub(crate) fn check(path: &Path) -> Result<Self, BadItems> {
        let name = path.display().to_string();
        let wrong = |fault: std::io::Error| BadItems::File(format!("cannot read {name}: {fault}"));
        let (path, copy) = readable_twice(path).map_err(wrong)?;
        let bytes = std::fs::metadata(&path).map_err(wrong)?.len();
        let (mut count, mut faults) = (0, Vec::new());
        each_line(&path, |line| {
            count += 1;
            if let Err(detail) = text_of(line)
                && faults.len() < FAULTS
            {
                let fault = Fault { pointer: String::new(), detail };
                faults.push(Spot { fault, place: Some(format!("{name}:{count}")) });
            }
            true
        })
        .map_err(wrong)?;
        match count {
            _ if !faults.is_empty() => Err(BadItems::Lines(faults)),
            0 => Err(BadItems::File(format!("{name} has no line"))),
            _ if bytes > MOST_BYTES => {
                let most = crate::progress::bytes(MOST_BYTES);
                Err(BadItems::File(format!("{name} is longer than {most}; split it into groups")))
            }
            _ if count > limits::TASKS => {
                Err(BadItems::File(format!("{name} has more than {} lines", limits::TASKS)))
            }
            _ => Ok(Self { path, bytes, count, _copy: copy }),
        }
    }

    pub(crate) fn is_short(&self) -> bool {
        self.bytes <= INLINE_BYTES
    }

    /// Its lines, for the document.
    pub(crate) fn lines(&self) -> Result<Value, Failure> {
        let mut items = Vec::new();
        each_line(&self.path, |line| {
            items.push(Value::String(String::from_utf8_lossy(line).into_owned()));
            true
        })
        .map_err(|fault| self.cannot(&fault))?;
        Ok(Value::Array(items))
    }

    /// Uploads its lines and answers their key.
    pub(crate) async fn upload(
        &self,
        remote: &Remote,
        namespace: Option<&str>,
        screen: Screen,
    ) -> Result<ItemsKey, Failure> {
        let done = Arc::new(AtomicU64::new(0));
        let (path, counter) = (self.path.clone(), Arc::clone(&done));
        let stored = remote
            .upload_items(namespace, move || reqwest::Body::wrap_stream(pieces(&path, &counter)));
        tokio::pin!(stored);
        let mut progress = Progress::new(screen, Unit::Bytes);
        let more = format!("uploading {}", self.path.display());
        let stored = loop {
            progress.at(done.load(Ordering::Relaxed).min(self.bytes), self.bytes, &more);
            match tokio::time::timeout(LOOK, &mut stored).await {
                Ok(stored) => break stored,
                Err(_) => continue,
            }
        };
        progress.end();
        let stored = stored?;
        if u64::from(stored.count) != self.count {
            let name = self.path.display();
            return Err(Failure::local(format!("{name} has changed while it was uploaded"))
                .next("the same again"));
        }
        Ok(stored.key)
    }

    fn cannot(&self, fault: &std::io::Error) -> Failure {
        Failure::local(format!("cannot read {}: {fault}", self.path.display()))
    }
}

/// The file itself, or a copy of what is none: it is read twice, and again when the upload is sent
/// again.
fn readable_twice(path: &Path) -> std::io::Result<(PathBuf, Option<TempPath>)> {
    let mut from: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else if std::fs::metadata(path)?.is_file() {
        return Ok((path.to_owned(), None));
    } else {
        Box::new(File::open(path)?)
    };
    let mut copy = tempfile::NamedTempFile::new()?;
    std::io::copy(&mut from, &mut copy)?;
    let copy = copy.into_temp_path();
    Ok((copy.to_path_buf(), Some(copy)))
}

/// Gives each line, without its end, until `take` has enough. One that is longer than a text may be
/// is given as its beginning, one byte too long.
fn each_line(path: &Path, mut take: impl FnMut(&[u8]) -> bool) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(PIECE_BYTES, File::open(path)?);
    let mut line = Vec::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            if !line.is_empty() {
                take(&line);
            }
            return Ok(());
        }
        let (part, used, ended) = match piece.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&piece[..at], at + 1, true),
            None => (piece, piece.len(), false),
        };
        let room = (limits::TEXT_BYTES + 2).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        reader.consume(used);
        if ended {
            let end = line.len() - usize::from(line.ends_with(b"\r"));
            if !take(&line[..end]) {
                return Ok(());
            }
            line.clear();
        }
    }
}

/// The line as an item, or what is wrong with it.
fn text_of(line: &[u8]) -> Result<&str, String> {
    if line.len() > limits::TEXT_BYTES {
        return Err(format!("longer than {} bytes", limits::TEXT_BYTES));
    }
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    if text.contains('\0') { Err("has a NUL byte".to_owned()) } else { Ok(text) }
}

/// A JSON string a line, read on a thread of its own as it is sent.
fn pieces(
    path: &Path,
    done: &Arc<AtomicU64>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let (give, take) = mpsc::channel(PIECES);
    let (path, done) = (path.to_owned(), Arc::clone(done));
    done.store(0, Ordering::Relaxed);
    tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES * 2);
        let read = each_line(&path, |line| {
            let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut piece, &String::from_utf8_lossy(line));
            piece.push(b'\n');
            done.fetch_add(length + 1, Ordering::Relaxed);
            piece.len() < PIECE_BYTES
                || give.blocking_send(Ok(std::mem::take(&mut piece).into())).is_ok()
        });
        // Nobody listens any more: then there is nobody to tell.
        let _ = match read {
            Ok(()) => give.blocking_send(Ok(piece.into())),
            Err(fault) => give.blocking_send(Err(fault)),
        };
    });
    futures::stream::unfold(
        take,
        |mut take| async move { take.recv().await.map(|piece| (piece, take)) },
    )
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list");
        std::fs::write(&path, bytes).expect("written");
        (folder, path)
    }

    fn faults(bytes: &[u8]) -> Vec<String> {
        let (folder, path) = file(bytes);
        let told = match ItemsFile::check(&path) {
            Ok(_) => vec![],
            Err(BadItems::File(detail)) => vec![detail],
            Err(BadItems::Lines(spots)) => spots.iter().map(ToString::to_string).collect(),
        };
        let folder = folder.path().display().to_string();
        told.iter().map(|line| line.replace(&folder, "DIR")).collect()
    }

    #[test]
    fn lines_are_items_whatever_ends_them() {
        let (_folder, path) = file(b"a\r\n\nb c\nlast");
        let items = ItemsFile::check(&path).expect("right");
        assert_eq!((items.count, items.is_short()), (4, true));
        assert_eq!(items.lines().expect("read"), serde_json::json!(["a", "", "b c", "last"]));
    }

    #[test]
    fn each_bad_line_is_told_with_its_number() {
        let mut bytes = b"good\nbad\xff\n\0\n".to_vec();
        bytes.extend(vec![b'x'; limits::TEXT_BYTES + 1]);
        bytes.push(b'\n');
        insta::assert_snapshot!(faults(&bytes).join("\n"), @"
        DIR/list:2: /: not UTF-8
        DIR/list:3: /: has a NUL byte
        DIR/list:4: /: longer than 131072 bytes
        ");
        assert_eq!(faults(b""), ["DIR/list has no line"]);
        let mut long = vec![b'x'; limits::TEXT_BYTES];
        long.extend(b"\r\n");
        assert!(faults(&long).is_empty(), "as long as it may be");
        let many = b"\xff\n".repeat(500);
        assert_eq!(faults(&many).len(), FAULTS);
    }

    #[tokio::test]
    async fn a_body_is_a_json_string_a_line_in_pieces() {
        let lines: Vec<String> = (0..50_000).map(|n| format!("line \"{n}\"")).collect();
        let (_folder, path) = file(lines.join("\n").as_bytes());
        let done = Arc::new(AtomicU64::new(7));
        // Again, as when the upload is sent again.
        for _ in 0..2 {
            let pieces: Vec<Bytes> = pieces(&path, &done).try_collect().await.expect("read");
            let read: Result<Vec<String>, _> =
                serde_json::Deserializer::from_slice(&pieces.concat()).into_iter().collect();
            assert_eq!(read.expect("JSON"), lines);
            assert!(pieces.len() > 5, "in {} pieces", pieces.len());
        }
    }
}
