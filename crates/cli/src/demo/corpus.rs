//! The real files that the demo digests: which, in which order, by a seed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::error::Failure;

/// Files above are left to the heavy tasks: a light one is to take milliseconds.
const LARGEST_LIGHT_BYTES: u64 = 64 * 1024;
/// What `gzip -9` takes one to two seconds for on one core.
const BUNDLE_BYTES: u64 = 12 << 20;
/// A folder above would take much longer than the others.
const LARGEST_FOLDER_BYTES: u64 = 3 * BUNDLE_BYTES;
/// Folders of a bundle: each costs a `find` and a `sort`.
const FOLDERS_IN_BUNDLE: usize = 100;
/// The folders that bundles are filled with: the largest, so that few are needed.
const FILLERS: usize = 200;
/// A corpus is read no further than this.
const MOST_FILES: usize = 300_000;

/// Where the files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Given,
    Registry,
    Docs,
    Generated,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "the folder that you named",
            Self::Registry => "the sources of crates in Cargo's registry folder",
            Self::Docs => "the documentation of this machine's packages",
            Self::Generated => "a generated corpus (no Cargo registry, no /usr/share/doc)",
        })
    }
}

/// What there is to digest; all paths are relative to `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Corpus {
    pub(crate) source: Source,
    pub(crate) root: PathBuf,
    /// One light task each.
    pub(crate) files: Vec<String>,
    /// One heavy task each: folders, in order; one may come more than once.
    pub(crate) bundles: Vec<Vec<String>>,
    /// How many different files there were to choose from.
    pub(crate) choice: usize,
}

/// How much of it is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) light: usize,
    pub(crate) heavy: usize,
    pub(crate) seed: u64,
}

/// Gathers the corpus: `dir`, else the registry, else the docs, else one generated in `scratch`.
pub(crate) fn gather(dir: Option<&Path>, size: Size, scratch: &Path) -> Result<Corpus, Failure> {
    if let Some(dir) = dir {
        let root = dir.canonicalize().map_err(|fault| {
            Failure::not_found(format!("cannot read the corpus {}: {fault}", dir.display()))
        })?;
        return choose(Source::Given, root, 1, size).ok_or_else(|| {
            let cause = format!("{} has no file of 1 byte to 64 KiB", dir.display());
            Failure::usage(cause).next("ebb demo, which finds a corpus by itself")
        });
    }
    let registry = registry().and_then(|root| choose(Source::Registry, root, 2, size));
    let docs = || choose(Source::Docs, PathBuf::from("/usr/share/doc"), 1, size);
    if let Some(corpus) = registry.or_else(docs) {
        return Ok(corpus);
    }
    let root = scratch.join("corpus");
    generate(&root, size.seed)
        .map_err(|fault| Failure::local(format!("cannot write {}: {fault}", root.display())))?;
    choose(Source::Generated, root, 1, size)
        .ok_or_else(|| Failure::local("the generated corpus is empty"))
}

fn registry() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    home.map(|home| home.join("registry/src")).filter(|root| root.is_dir())
}

struct File {
    path: String,
    bytes: u64,
}

/// Chooses files and bundles below `root`, whose folders lie `depth` levels down.
fn choose(source: Source, root: PathBuf, depth: usize, size: Size) -> Option<Corpus> {
    let files = list(&root);
    let small: Vec<_> =
        files.iter().filter(|file| (1..=LARGEST_LIGHT_BYTES).contains(&file.bytes)).collect();
    let order = drawn(size.seed, small.iter().map(|file| file.path.as_str()));
    let readable: Vec<_> = order
        .into_iter()
        .filter(|path| std::fs::File::open(root.join(path)).is_ok())
        .take(size.light)
        .collect();
    if readable.is_empty() {
        return None;
    }
    let light = readable.iter().cycle().take(size.light).map(|path| (*path).to_owned()).collect();
    let bundles = bundles(&files, depth, size);
    Some(Corpus { source, root, files: light, bundles, choice: small.len() })
}

/// All regular files with plain names, by path.
fn list(root: &Path) -> Vec<File> {
    let walk = WalkDir::new(root).sort_by_file_name().into_iter().filter_map(Result::ok);
    walk.filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(root).ok()?.to_str()?.to_owned();
            let bytes = entry.metadata().ok()?.len();
            (!path.contains('\n')).then_some(File { path, bytes })
        })
        .take(MOST_FILES)
        .collect()
}

/// In an order that the seed gives and that no neighbour disturbs.
fn drawn<'a>(seed: u64, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut keyed: Vec<([u8; 32], &str)> = names
        .map(|name| {
            let hash = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name);
            (hash.finalize().into(), name)
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, name)| name).collect()
}

/// The largest folders, one a bundle, each filled up with others to the same size.
fn bundles(files: &[File], depth: usize, size: Size) -> Vec<Vec<String>> {
    let mut folders = BTreeMap::<&str, u64>::new();
    for file in files {
        let folder = folder_of(&file.path, depth);
        *folders.entry(folder).or_default() += file.bytes;
    }
    let mut sorted: Vec<_> = folders
        .iter()
        .map(|(name, bytes)| (*name, *bytes))
        .filter(|(_, bytes)| *bytes > 0)
        .collect();
    sorted.sort_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), *name));
    if sorted.iter().any(|(_, bytes)| *bytes <= LARGEST_FOLDER_BYTES) {
        sorted.retain(|(_, bytes)| *bytes <= LARGEST_FOLDER_BYTES);
    }
    let fillers = drawn(size.seed, sorted.iter().take(FILLERS).map(|(name, _)| *name));
    let mut next = fillers.iter().cycle();
    let mut bundles = Vec::with_capacity(size.heavy);
    for (name, bytes) in sorted.iter().cycle().take(size.heavy) {
        let (mut bundle, mut sum) = (vec![(*name).to_owned()], *bytes);
        while sum < BUNDLE_BYTES && bundle.len() < FOLDERS_IN_BUNDLE {
            let Some(filler) = next.next() else { break };
            sum += folders.get(filler).copied().unwrap_or(0);
            bundle.push((*filler).to_owned());
        }
        bundles.push(bundle);
    }
    bundles
}

/// The folder `depth` levels down that the file lies in, or the file's own if there are fewer.
fn folder_of(path: &str, depth: usize) -> &str {
    let cut = path.match_indices('/').nth(depth - 1).or_else(|| path.rmatch_indices('/').next());
    cut.map_or(".", |(at, _)| &path[..at])
}

/// The regular files below a folder in the order of `find -type f | LC_ALL=C sort`.
pub(crate) fn sorted_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    files.sort_by(|a, b| bytes(a).cmp(bytes(b)));
    Ok(files)
}

fn bytes(path: &Path) -> &[u8] {
    AsRef::<OsStr>::as_ref(path).as_bytes()
}

/// Text that looks like text to gzip: words of a small vocabulary, by the seed.
fn generate(root: &Path, seed: u64) -> std::io::Result<()> {
    const FOLDERS: u64 = 24;
    const FILES: u64 = 30;
    const WORDS: [&str; 16] = [
        "tide", "ebb", "task", "node", "pool", "price", "notice", "worker", "settle", "attempt",
        "offer", "market", "spot", "zone", "queue", "hazard",
    ];
    let mut state = seed;
    for folder in 0..FOLDERS {
        let at = root.join(format!("part-{folder:02}"));
        std::fs::create_dir_all(&at)?;
        for file in 0..FILES {
            let lines = 8 + splitmix(&mut state) % 800;
            let mut text = String::new();
            for _ in 0..lines {
                let mut draw = splitmix(&mut state);
                for _ in 0..10 {
                    text.push_str(WORDS[usize::from(draw.to_le_bytes()[0] & 15)]);
                    text.push(' ');
                    draw >>= 4;
                }
                text.push_str(&draw.to_string());
                text.push('\n');
            }
            std::fs::write(at.join(format!("text-{file:02}.txt")), text)?;
        }
    }
    Ok(())
}

/// Steele, Lea and Flood's 64-bit mixer: enough to make text.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { light: 50, heavy: 20, seed: 7 };

    fn generated(seed: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        generate(folder.path(), seed).expect("written");
        folder
    }

    #[test]
    fn the_same_seed_chooses_the_same() {
        let (one, two) = (generated(3), generated(3));
        let a = gather(Some(one.path()), SIZE, one.path()).expect("a corpus");
        let b = gather(Some(two.path()), SIZE, two.path()).expect("a corpus");
        assert_eq!((&a.files, &a.bundles), (&b.files, &b.bundles));
        let other = Size { seed: 8, ..SIZE };
        let c = gather(Some(one.path()), other, one.path()).expect("a corpus");
        assert_ne!(a.files, c.files);
        for path in &a.files {
            let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(path)).ok();
            assert_eq!(read(&one), read(&two));
        }
    }

    #[test]
    fn there_are_as_many_as_asked_even_of_few() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a"), "x\n").expect("written");
        std::fs::write(folder.path().join("empty"), "").expect("written");
        let corpus = gather(Some(folder.path()), SIZE, folder.path()).expect("a corpus");
        assert_eq!(corpus.files, vec!["a"; 50]);
        assert_eq!((corpus.bundles.len(), corpus.choice), (20, 1));
        assert!(corpus.bundles.iter().all(|bundle| bundle.iter().all(|folder| folder == ".")));
    }

    #[test]
    fn bundles_are_of_one_size() {
        let file = |name: &str, bytes| File { path: name.to_owned(), bytes };
        let mut files: Vec<_> =
            (0..40).map(|n| file(&format!("index/crate-{n}/src/lib.rs"), 1 << 20)).collect();
        files.push(file("index/giant/data", LARGEST_FOLDER_BYTES + 1));
        let bundles = bundles(&files, 2, SIZE);
        assert_eq!(bundles.len(), 20);
        for bundle in bundles {
            assert_eq!(bundle.len(), 12);
            assert!(!bundle.contains(&"index/giant".to_owned()));
        }
    }

    #[test]
    fn an_empty_folder_is_no_corpus() {
        let folder = tempfile::tempdir().expect("a folder");
        let failure = gather(Some(folder.path()), SIZE, folder.path()).expect_err("empty");
        assert_eq!(failure.exit().code(), 2);
        let absent = folder.path().join("absent");
        let failure = gather(Some(&absent), SIZE, folder.path()).expect_err("absent");
        assert_eq!(failure.exit().code(), 3);
    }

    #[test]
    fn folders_are_cut_at_their_depth() {
        assert_eq!(folder_of("index/serde-1.0/src/lib.rs", 2), "index/serde-1.0");
        assert_eq!(folder_of("apt/copyright", 1), "apt");
        assert_eq!(folder_of("index/file", 2), "index");
        assert_eq!(folder_of("file", 1), ".");
    }
}
