//! Removes a folder of thousands of small files in a second or two.
//!
//! On some disks each removal waits for the disk, three milliseconds and more, so that one after
//! another they take longer than the demo. Side by side they wait together.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use walkdir::WalkDir;

/// Removals that wait at once.
const PARALLEL: usize = 16;

/// Removes everything in a folder, and the folder.
pub(crate) fn remove(root: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    let mut folders = BTreeMap::<usize, Vec<PathBuf>>::new();
    for entry in WalkDir::new(root) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            folders.entry(entry.depth()).or_default().push(entry.into_path());
        } else {
            files.push(entry.into_path());
        }
    }
    side_by_side(&files, |file| std::fs::remove_file(file))?;
    // The deepest first: only an empty folder can be removed.
    folders
        .values()
        .rev()
        .try_for_each(|level| side_by_side(level, |folder| std::fs::remove_dir(folder)))
}

fn side_by_side(
    paths: &[PathBuf],
    remove: impl Fn(&Path) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let part = paths.len().div_ceil(PARALLEL).max(1);
    let remove = &remove;
    thread::scope(|scope| {
        let threads: Vec<_> = paths
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().try_for_each(|path| remove(path))))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_and_links_are_not_followed() {
        let base = tempfile::tempdir().expect("a folder");
        let root = base.path().join("root");
        std::fs::write(base.path().join("kept"), "x").expect("written");
        for number in 0..40 {
            let deep = root.join(format!("{number}/a/b"));
            std::fs::create_dir_all(&deep).expect("made");
            std::fs::write(deep.join("file"), "x").expect("written");
        }
        std::os::unix::fs::symlink(base.path(), root.join("link")).expect("linked");
        remove(&root).expect("removed");
        assert!(!root.exists() && base.path().join("kept").exists());
    }
}
