//! The end of an attempt: what it wrote, what it keeps.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::sync::{Stream, log_key, output_key};
use globset::{Glob, GlobSet, GlobSetBuilder};
use model::{AttemptId, Clamp, LogPart, Namespace, Outcome, OutputFile, TaskResult};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// Files of one attempt: a manifest travels in one report.
const MAX_OUTPUTS: usize = 10_000;
/// Between the tries of an upload: it doubles from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// An object store that takes nothing is tried for so long. What ran for hours is not thrown away for
/// an outage of minutes; nor may a store that is configured wrongly hold a task for ever.
const KEEP_TRYING: Duration = Duration::from_secs(600);
/// The part that an upload holds in memory.
const PART_BYTES: usize = 8 << 20;
/// What `ebb` itself failed at, as an exit code (DESIGN §6, "Exit").
const OUR_FAILURE: i32 = 125;

/// An attempt whose process is over.
#[derive(Debug, Clone)]
pub(crate) struct Finish {
    pub(crate) attempt: AttemptId,
    pub(crate) namespace: Namespace,
    pub(crate) dir: PathBuf,
    pub(crate) outcome: Outcome,
    pub(crate) run_ms: u64,
    pub(crate) message: Option<Arc<str>>,
    pub(crate) patterns: Vec<String>,
    pub(crate) cap_bytes: u64,
}

/// One stream, looked at.
struct Look {
    part: LogPart,
    upload: bool,
}

impl Finish {
    /// The report, if there is nothing to upload: reads two small files of the page cache.
    pub(crate) fn at_once(&mut self) -> Option<TaskResult> {
        let stdout = self.look(Stream::Stdout).ok()?;
        let stderr = self.look(Stream::Stderr).ok()?;
        if stdout.part.size_bytes.max(stderr.part.size_bytes) > self.cap_bytes {
            self.outcome = Outcome::OutputLimit;
        }
        if self.outcome == Outcome::OutputLimit {
            let words = format!("it wrote more than {} bytes to one stream", self.cap_bytes);
            self.message = Some(words.into());
        }
        if self.keeps_outputs() {
            return None;
        }
        let nothing_to_upload = !stdout.upload && !stderr.upload;
        nothing_to_upload.then(|| self.result(stdout.part, stderr.part, Vec::new()))
    }

    fn keeps_outputs(&self) -> bool {
        !self.patterns.is_empty() && self.outcome == Outcome::Exited { code: 0 }
    }

    fn result(&self, stdout: LogPart, stderr: LogPart, outputs: Vec<OutputFile>) -> TaskResult {
        let (outcome, run_ms, message) = (self.outcome, self.run_ms, self.message.clone());
        TaskResult { outcome, run_ms, stdout, stderr, outputs, message }
    }

    fn file(&self, stream: Stream) -> PathBuf {
        self.dir.join(stream.as_str())
    }

    fn look(&self, stream: Stream) -> io::Result<Look> {
        let path = self.file(stream);
        let size_bytes = match path.metadata() {
            Ok(data) => data.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if size_bytes > LogPart::INLINE_BYTES {
            return Ok(Look { part: LogPart { size_bytes, text: None }, upload: true });
        }
        if size_bytes == 0 {
            return Ok(Look { part: LogPart::default(), upload: false });
        }
        let mut bytes = Vec::with_capacity(size_bytes.clamped_usize());
        File::open(path)?.take(LogPart::INLINE_BYTES).read_to_end(&mut bytes)?;
        let size_bytes = bytes.len().clamped();
        let text = String::from_utf8(bytes).ok().map(Arc::from);
        Ok(Look { upload: text.is_none(), part: LogPart { size_bytes, text } })
    }

    /// The report, after all that outlives the node is in the object store.
    pub(crate) async fn with_uploads(mut self, store: Arc<LocalFileSystem>) -> TaskResult {
        match self.upload_all(&store).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(attempt = %self.attempt, %error, "an upload failed");
                if self.outcome == (Outcome::Exited { code: 0 }) {
                    self.outcome = Outcome::Exited { code: OUR_FAILURE };
                }
                self.message = Some(format!("its files could not be kept: {error}").into());
                self.result(LogPart::default(), LogPart::default(), Vec::new())
            }
        }
    }

    async fn upload_all(&mut self, store: &LocalFileSystem) -> Result<TaskResult, UploadError> {
        let mut parts = [LogPart::default(), LogPart::default()];
        for (part, stream) in parts.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            let look = self.look(stream)?;
            *part = look.part;
            if look.upload {
                let key = log_key(&self.namespace, self.attempt, stream);
                part.size_bytes = part.size_bytes.min(self.cap_bytes);
                self.upload(store, &self.file(stream), &key, part.size_bytes).await?;
            }
        }
        let mut outputs = Vec::new();
        if self.keeps_outputs() {
            let (dir, patterns) = (self.dir.clone(), self.patterns.clone());
            let found = tokio::task::spawn_blocking(move || matching(&dir, &patterns))
                .await
                .map_err(|_| UploadError::Listing)??;
            for output in found {
                let key = output_key(&self.namespace, self.attempt, &output.path);
                let file = self.dir.join(&*output.path);
                self.upload(store, &file, &key, output.size_bytes).await?;
                outputs.push(output);
            }
        }
        let [stdout, stderr] = parts;
        Ok(self.result(stdout, stderr, outputs))
    }

    async fn upload(
        &self,
        store: &LocalFileSystem,
        file: &Path,
        key: &str,
        size_bytes: u64,
    ) -> Result<(), UploadError> {
        let key = Key::from(key);
        let mut wait = FIRST_WAIT;
        let until = Instant::now() + KEEP_TRYING;
        loop {
            let error = match upload_once(store, file, &key, size_bytes).await {
                Ok(()) => return Ok(()),
                Err(error @ UploadError::Store(_)) if Instant::now() + wait < until => error,
                Err(error) => return Err(error),
            };
            if wait == FIRST_WAIT {
                tracing::warn!(%key, %error, "an upload failed and is tried again");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Why something could not be uploaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("the pattern {0}")]
    Pattern(#[from] globset::Error),
    #[error("more than {MAX_OUTPUTS} files match `outputs`")]
    TooMany,
    #[error("its folder could not be listed")]
    Listing,
}

async fn upload_once(
    store: &LocalFileSystem,
    file: &Path,
    key: &Key,
    size_bytes: u64,
) -> Result<(), UploadError> {
    let mut bytes = tokio::fs::File::open(file).await?.take(size_bytes);
    let mut part = Vec::with_capacity(size_bytes.clamped_usize().min(PART_BYTES));
    (&mut bytes).take(PART_BYTES.clamped()).read_to_end(&mut part).await?;
    if Clamp::<u64>::clamped(part.len()) >= size_bytes {
        store.put(key, PutPayload::from(part)).await?;
        return Ok(());
    }
    let mut upload =
        WriteMultipart::new_with_chunk_size(store.put_multipart(key).await?, PART_BYTES);
    while !part.is_empty() {
        upload.wait_for_capacity(2).await?;
        upload.write(&part);
        part.clear();
        (&mut bytes).take(PART_BYTES.clamped()).read_to_end(&mut part).await?;
    }
    upload.finish().await?;
    Ok(())
}

/// The regular files in the attempt's folder that match, by path. The digester's own are none.
fn matching(dir: &Path, patterns: &[String]) -> Result<Vec<OutputFile>, UploadError> {
    let patterns = globs(patterns)?;
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(dir).follow_links(false).sort_by_file_name() {
        let entry = entry.map_err(io::Error::from)?;
        let Ok(relative) = entry.path().strip_prefix(dir) else { continue };
        let ours = ["stdout", "stderr", "deadline"].iter().any(|name| relative == Path::new(name));
        if ours || !entry.file_type().is_file() || !patterns.is_match(relative) {
            continue;
        }
        // A key is text.
        let Some(path) = relative.to_str() else { continue };
        let size_bytes = entry.metadata().map_err(io::Error::from)?.len();
        found.push(OutputFile { path: path.into(), size_bytes });
        if found.len() > MAX_OUTPUTS {
            return Err(UploadError::TooMany);
        }
    }
    Ok(found)
}

fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern)?);
    }
    set.build()
}

/// Lengths as sizes in memory.
trait ClampedUsize {
    fn clamped_usize(self) -> usize;
}
impl ClampedUsize for u64 {
    fn clamped_usize(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use model::{JobId, TaskId};

    use super::*;

    fn finish(dir: &Path, patterns: &[&str]) -> Finish {
        Finish {
            attempt: TaskId { job: JobId::from_number(1), group: 0, index: 0 }.attempt(1),
            namespace: Namespace::default(),
            dir: dir.to_owned(),
            outcome: Outcome::Exited { code: 0 },
            run_ms: 1,
            message: None,
            patterns: patterns.iter().map(|&text| text.to_owned()).collect(),
            cap_bytes: 1 << 30,
        }
    }

    #[test]
    fn small_text_travels_in_the_report() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("stdout"), "hé\n").unwrap();
        std::fs::write(dir.path().join("stderr"), "").unwrap();
        let result = finish(dir.path(), &[]).at_once().unwrap();
        assert_eq!(result.stdout, LogPart { size_bytes: 4, text: Some("hé\n".into()) });
        assert_eq!(result.stderr, LogPart::default());
        std::fs::write(dir.path().join("stderr"), b"\xff").unwrap();
        assert_eq!(finish(dir.path(), &[]).at_once(), None);
        std::fs::write(dir.path().join("stderr"), "x".repeat(2049)).unwrap();
        assert_eq!(finish(dir.path(), &[]).at_once(), None);
    }

    #[tokio::test]
    async fn the_rest_is_in_the_object_store() {
        let (dir, objects) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Arc::new(LocalFileSystem::new_with_prefix(objects.path()).unwrap());
        let large = vec![7; PART_BYTES * 2 + 5];
        std::fs::write(dir.path().join("stdout"), &large).unwrap();
        std::fs::write(dir.path().join("stderr"), b"\xff").unwrap();
        std::fs::create_dir_all(dir.path().join("out/deep")).unwrap();
        std::fs::write(dir.path().join("out/a b.txt"), "a").unwrap();
        std::fs::write(dir.path().join("out/deep/c"), "cc").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out/link")).unwrap();
        let result = finish(dir.path(), &["out/**", "std*"]).with_uploads(store).await;
        let paths: Vec<&str> = result.outputs.iter().map(|output| &*output.path).collect();
        assert_eq!(paths, ["out/a b.txt", "out/deep/c"]);
        let kept = |path: &str| {
            let key = format!("default/job_0000000000001/0/0/1/{path}");
            std::fs::read(objects.path().join(key)).unwrap()
        };
        assert!(kept("stdout") == large);
        assert_eq!(kept("stderr"), b"\xff");
        assert_eq!(kept("outputs/out/a b.txt"), b"a");
        assert_eq!(kept("outputs/out/deep/c"), b"cc");
        assert_eq!(result.outcome, Outcome::Exited { code: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_for_minutes_costs_no_attempt() {
        let (dir, objects) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Arc::new(LocalFileSystem::new_with_prefix(objects.path()).unwrap());
        std::fs::write(dir.path().join("stdout"), b"\xff").unwrap();
        let obstacle = objects.path().join("default");
        std::fs::write(&obstacle, "in the way").unwrap();
        let back = async {
            tokio::time::sleep(KEEP_TRYING / 2).await;
            std::fs::remove_file(&obstacle).unwrap();
        };
        let finish = finish(dir.path(), &[]);
        let (result, ()) = tokio::join!(finish.with_uploads(store), back);
        assert_eq!(result.outcome, Outcome::Exited { code: 0 });
        assert_eq!(result.message, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_kept_is_a_failure() {
        let (dir, objects) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Arc::new(LocalFileSystem::new_with_prefix(objects.path()).unwrap());
        std::fs::write(dir.path().join("stdout"), b"\xff").unwrap();
        std::fs::write(objects.path().join("default"), "in the way").unwrap();
        let result = finish(dir.path(), &[]).with_uploads(store).await;
        assert_eq!(result.outcome, Outcome::Exited { code: 125 });
        assert!(result.message.unwrap().starts_with("its files could not be kept"));
    }
}
