//! Where things are in the data folder, and the thread that removes what is done with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

use model::AttemptId;

/// The data folder.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    /// Makes the folder if need be; its path becomes absolute, for tasks start elsewhere.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let files = Self { root: root.canonicalize()? };
        std::fs::create_dir_all(files.attempts())?;
        std::fs::create_dir_all(files.spawner())?;
        Ok(files)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }
    pub(crate) fn spawner(&self) -> PathBuf {
        self.root.join("spawner")
    }
    pub(crate) fn socket(&self) -> PathBuf {
        self.spawner().join("socket")
    }
    pub(crate) fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }
    pub(crate) fn attempt(&self, attempt: AttemptId) -> PathBuf {
        self.attempts().join(attempt.to_string())
    }
    pub(crate) fn deadline(&self, attempt: AttemptId) -> PathBuf {
        self.attempt(attempt).join("deadline")
    }
}

/// Removes folders off the path of those who wait.
pub(crate) struct Remover {
    queue: Sender<Vec<PathBuf>>,
}

impl Remover {
    pub(crate) fn start() -> io::Result<Self> {
        let (queue, folders) = channel::<Vec<PathBuf>>();
        std::thread::Builder::new().name("remover".into()).spawn(move || {
            for folder in folders.into_iter().flatten() {
                remove(&folder);
            }
        })?;
        Ok(Self { queue })
    }

    pub(crate) fn remove(&self, folders: Vec<PathBuf>) {
        if !folders.is_empty() && self.queue.send(folders).is_err() {
            tracing::error!("the thread that removes folders is gone");
        }
    }
}

/// Most folders hold two files; the general way lists and stats everything.
fn remove(folder: &Path) {
    let _ = std::fs::remove_file(folder.join("stdout"));
    let _ = std::fs::remove_file(folder.join("stderr"));
    if std::fs::remove_dir(folder).is_ok() {
        return;
    }
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "a folder could not be removed");
        }
        Ok(()) | Err(_) => {}
    }
}
