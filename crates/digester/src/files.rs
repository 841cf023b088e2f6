//! Where things are in the data folder, and the thread that removes what is done with.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

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
}

/// Free folders that are kept for use again.
const MOST_FREE: usize = 256;

/// The folders of attempts, by number.
///
/// A folder that is as it was at the start (two empty files) serves again: ext4 does not give an
/// inode that was freed in the last seconds to a new file, and its search for another one takes
/// longer than a short task.
pub(crate) struct Folders {
    root: PathBuf,
    next: u32,
    free: Vec<u32>,
    remover: Remover,
}

impl Folders {
    /// Removes all folders but those in use.
    pub(crate) fn open(root: PathBuf, in_use: &BTreeSet<u32>) -> io::Result<Self> {
        let (remover, mut next, mut strange) = (Remover::start()?, 0, Vec::new());
        for entry in std::fs::read_dir(&root)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            next = next.max(number.map_or(0, |number| number.saturating_add(1)));
            if number.is_none_or(|number| !in_use.contains(&number)) {
                strange.push(entry.path());
            }
        }
        remover.remove(strange);
        Ok(Self { root, next, free: Vec::new(), remover })
    }

    pub(crate) fn path(&self, folder: u32) -> PathBuf {
        self.root.join(folder.to_string())
    }

    /// A folder for an attempt: one that is free, or a number whose folder is yet to be made.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(folder) = self.free.pop() {
            return folder;
        }
        let folder = self.next;
        self.next = self.next.wrapping_add(1);
        folder
    }

    /// Its attempt's end is spooled. `alone`: nobody has its files open any more.
    pub(crate) fn give_back(&mut self, folder: u32, alone: bool) {
        let path = self.path(folder);
        if alone && self.free.len() < MOST_FREE && is_as_new(&path).unwrap_or(false) {
            self.free.push(folder);
        } else {
            self.remover.remove(vec![path]);
        }
    }
}

/// Whether the folder holds its two files and nothing else; empties them.
fn is_as_new(folder: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !["stdout", "stderr"].iter().any(|name| entry.file_name() == *name) {
            return Ok(false);
        }
        // The file that is there, and of which nobody made a second name or a link.
        let data = entry.metadata()?;
        if !data.is_file() || data.nlink() != 1 || data.mode() & 0o7777 != 0o600 {
            return Ok(false);
        }
        if data.len() > 0 {
            File::options().write(true).truncate(true).open(entry.path())?;
        }
    }
    Ok(true)
}

/// Removes folders off the path of those who wait.
struct Remover {
    queue: Sender<Vec<PathBuf>>,
}

impl Remover {
    fn start() -> io::Result<Self> {
        let (queue, folders) = channel::<Vec<PathBuf>>();
        std::thread::Builder::new().name("remover".into()).spawn(move || {
            for folder in folders.into_iter().flatten() {
                remove(&folder);
            }
        })?;
        Ok(Self { queue })
    }

    fn remove(&self, folders: Vec<PathBuf>) {
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn fill(folder: &Path, text: &str) {
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::create_dir_all(folder).unwrap();
        for name in ["stdout", "stderr"] {
            let mut options = File::options();
            let file = options.create(true).append(true).mode(0o600).open(folder.join(name));
            std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_folder_serves_again_only_as_new() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["3", "8", "rubbish"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut folders = Folders::open(dir.path().to_owned(), &BTreeSet::from([3])).unwrap();
        let taken: Vec<u32> = (0..4).map(|_| folders.take()).collect();
        assert_eq!(taken, [9, 10, 11, 12]);
        for folder in &taken {
            fill(&folders.path(*folder), "text");
        }
        // One was left alone, one was not, one has another file, one has another name.
        std::fs::write(folders.path(11).join("core"), "").unwrap();
        std::fs::hard_link(folders.path(12).join("stdout"), dir.path().join("kept")).unwrap();
        for folder in taken {
            folders.give_back(folder, folder != 10);
        }
        assert_eq!(folders.take(), 9);
        assert_eq!(folders.take(), 13);
        assert_eq!(std::fs::read(folders.path(9).join("stdout")).unwrap(), b"");
        // The remover ends with its queue: then all is removed but what is in use.
        drop(folders);
        let left = || {
            let entries = dir.path().read_dir().unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        let begun = Instant::now();
        while left() != ["3", "9", "kept"] {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", left());
            std::thread::yield_now();
        }
    }
}
