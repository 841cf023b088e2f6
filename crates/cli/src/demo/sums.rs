//! The same sums as the demo's tasks make, by another implementation: `sha2`, `flate2` and a loop.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::corpus::{Corpus, sorted_files};

/// What a task's result must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) sha256: String,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// The sums of all light and of all heavy tasks, in the order of their indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) files: Vec<Sum>,
    pub(crate) bundles: Vec<Sum>,
}

/// Reads the whole corpus, on one thread: the tasks want the other cores.
pub(crate) fn of_corpus(corpus: &Corpus) -> io::Result<Sums> {
    let files = corpus.files.iter().map(|path| of_file(&corpus.root.join(path))).collect();
    let bundles = corpus.bundles.iter().map(|folders| of_bundle(&corpus.root, folders)).collect();
    Ok(Sums { files: collect(files)?, bundles: collect(bundles)? })
}

fn collect(sums: Vec<io::Result<Sum>>) -> io::Result<Vec<Sum>> {
    sums.into_iter().collect()
}

struct Counter {
    hash: Sha256,
    lines: u64,
    bytes: u64,
}

impl Counter {
    fn new() -> Self {
        Self { hash: Sha256::new(), lines: 0, bytes: 0 }
    }

    fn read(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Err(fault) => return Err(fault),
            };
            let part = &buffer[..length];
            self.hash.update(part);
            self.lines += count(part.iter().filter(|byte| **byte == b'\n').count());
            self.bytes += count(length);
        }
    }

    fn finish(self) -> Sum {
        Sum { sha256: hex(&self.hash.finalize()), lines: self.lines, bytes: self.bytes }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

pub(crate) fn of_file(path: &Path) -> io::Result<Sum> {
    let mut counter = Counter::new();
    counter.read(std::fs::File::open(path)?)?;
    Ok(counter.finish())
}

/// Of the files of each folder one after another.
pub(crate) fn of_bundle(root: &Path, folders: &[String]) -> io::Result<Sum> {
    let mut counter = Counter::new();
    for folder in folders {
        for file in sorted_files(&root.join(folder))? {
            counter.read(std::fs::File::open(file)?)?;
        }
    }
    Ok(counter.finish())
}

/// Of what a gzip file holds.
pub(crate) fn of_gzip(bytes: &[u8]) -> io::Result<Sum> {
    let mut counter = Counter::new();
    counter.read(flate2::read::MultiGzDecoder::new(bytes))?;
    Ok(counter.finish())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn sums_are_those_of_coreutils() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").expect("written");
        let sum = of_file(&path).expect("read");
        // FIPS 180-2, appendix B.1.
        assert_eq!(sum.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((sum.lines, sum.bytes), (0, 3));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(b"abc").expect("written");
        assert_eq!(of_gzip(&packed.finish().expect("packed")).expect("unpacked"), sum);
        assert!(of_gzip(b"abc").is_err());
    }
}
