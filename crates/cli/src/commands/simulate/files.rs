//! Files that are read whole or by lines, packed or not, and files that are there whole or not at
//! all.

use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use api::document::{self, Language};
use flate2::bufread::MultiGzDecoder;
use model::Fault;
use tempfile::NamedTempFile;

use crate::error::{Failure, Spot};
use crate::jobfile::unreadable;
use crate::progress::bytes;

/// A file's text may be as long, unpacked.
pub(crate) const TEXT_BYTES: u64 = 1 << 30;
/// A line of a batch may be as long.
pub(crate) const LINE_BYTES: u64 = 128 << 20;
/// In longer texts no line and column of a fault is looked for: the pointer tells enough.
const PLACED_BYTES: usize = 16 << 20;

/// What a file is called in messages.
pub(crate) fn name(file: &Path) -> String {
    if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() }
}

/// A file's bytes as they come, unpacked if they are packed. `-` is stdin.
pub(crate) fn open(file: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    let unreadable = |fault| unreadable(file, &fault);
    let raw: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file).map_err(unreadable)?;
        if opened.metadata().map_err(unreadable)?.is_dir() {
            return Err(Failure::usage(format!("{} is a folder", name(file))));
        }
        Box::new(opened)
    };
    let mut raw = BufReader::with_capacity(1 << 18, raw);
    let packed = raw.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    if packed {
        Ok(Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(raw))))
    } else {
        Ok(Box::new(raw))
    }
}

/// A file's whole text.
pub(crate) fn text(file: &Path) -> Result<String, Failure> {
    let mut all = Vec::new();
    let read = open(file)?.take(TEXT_BYTES + 1).read_to_end(&mut all);
    read.map_err(|fault| unreadable(file, &fault))?;
    if u64::try_from(all.len()).unwrap_or(u64::MAX) > TEXT_BYTES {
        let limit = bytes(TEXT_BYTES);
        return Err(Failure::usage(format!("{} is longer than {limit}, unpacked", name(file))));
    }
    String::from_utf8(all).map_err(|fault| {
        let good = fault.utf8_error().valid_up_to();
        let line = 1 + fault.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        Failure::usage(format!("{}:{line}: not UTF-8", name(file)))
    })
}

/// Faults of a JSON text, each with its place.
pub(crate) fn placed(file: &Path, text: &str, faults: Vec<Fault>) -> Vec<Spot> {
    let name = name(file);
    let spot = |fault: Fault| {
        let known = text.len() <= PLACED_BYTES && !fault.pointer.is_empty();
        let place = known.then(|| document::place(text, Language::Json, &fault.pointer)).flatten();
        let place = place.map_or_else(|| name.clone(), |place| format!("{name}:{place}"));
        Spot { fault, place: Some(place) }
    };
    faults.into_iter().map(spot).collect()
}

/// Lines that are not blank, with their numbers, from 1. One that cannot be read is told and ends
/// them.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    number: u64,
    over: bool,
}

/// A line, or why it is none.
pub(crate) type Line = (u64, Result<String, String>);

impl Lines {
    pub(crate) fn open(file: &Path) -> Result<Self, Failure> {
        Ok(Self { reader: open(file)?, number: 0, over: false })
    }

    fn line(&mut self) -> Option<Result<String, String>> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(LINE_BYTES + 1).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return None,
            Ok(_) => line,
            Err(fault) => {
                self.over = true;
                return Some(Err(format!("cannot read: {fault}")));
            }
        };
        if u64::try_from(line.len()).unwrap_or(u64::MAX) > LINE_BYTES {
            self.over = true;
            return Some(Err(format!("longer than {}", bytes(LINE_BYTES))));
        }
        Some(String::from_utf8(line).map_err(|_| "not UTF-8".to_owned()))
    }
}

impl Iterator for Lines {
    type Item = Line;
    fn next(&mut self) -> Option<Line> {
        while !self.over {
            self.number += 1;
            let line = self.line()?;
            if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
                continue;
            }
            return Some((self.number, line));
        }
        None
    }
}

/// A file that is there, whole, once it is [`Whole::keep`]t: until then it has another name. What is
/// no file (a pipe, a terminal) is written to as it is.
pub(crate) struct Whole {
    to: BufWriter<Box<dyn Write>>,
    kept: Option<NamedTempFile>,
    path: PathBuf,
}

impl Whole {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let cannot = |fault: io::Error| unwritable(path, &fault);
        let there = std::fs::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir());
        let (to, kept): (Box<dyn Write>, _) = if there {
            (Box::new(File::options().write(true).open(path).map_err(cannot)?), None)
        } else {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let file = tempfile::Builder::new()
                .prefix(".ebb-")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
                .map_err(cannot)?;
            (Box::new(file.reopen().map_err(cannot)?), Some(file))
        };
        Ok(Self { to: BufWriter::new(to), kept, path: path.to_owned() })
    }

    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.to.write_all(text.as_bytes()).map_err(|fault| unwritable(&self.path, &fault))
    }

    pub(crate) fn keep(mut self) -> Result<(), Failure> {
        let cannot = |fault: io::Error| unwritable(&self.path, &fault);
        self.to.flush().map_err(cannot)?;
        match self.kept {
            Some(file) => file.persist(&self.path).map(drop).map_err(|fault| cannot(fault.error)),
            None => Ok(()),
        }
    }
}

/// Writes a whole file, or none.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = Whole::create(path)?;
    file.write(text)?;
    file.keep()
}

fn unwritable(path: &Path, fault: &io::Error) -> Failure {
    Failure::local(format!("cannot write {}: {fault}", path.display()))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).expect("written");
        packed.finish().expect("packed")
    }

    #[test]
    fn packed_files_are_read_as_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        // Two members, as `cat a.gz b.gz` makes them.
        std::fs::write(&file, [packed("one\n\ntw"), packed("o\n")].concat()).expect("written");
        assert_eq!(text(&file).expect("read"), "one\n\ntwo\n");
        let lines: Vec<_> = Lines::open(&file).expect("open").collect();
        assert_eq!(lines, [(1, Ok("one\n".into())), (3, Ok("two\n".into()))]);
        std::fs::write(&file, &packed(&"long ".repeat(1_000))[..40]).expect("written");
        assert!(text(&file).is_err(), "cut off");
        let lines: Vec<_> = Lines::open(&file).expect("open").collect();
        assert!(matches!(lines[..], [(1, Err(_))]), "{lines:?}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |file: &Path| {
            let failure = text(file).expect_err("unreadable").to_string();
            failure.replace(&folder.path().display().to_string(), "DIR")
        };
        let latin = folder.path().join("latin");
        std::fs::write(&latin, b"a\nb\xe9\n").expect("written");
        assert_eq!(told(&latin), "error: DIR/latin:2: not UTF-8");
        assert_eq!(told(folder.path()), "error: DIR is a folder");
        assert!(told(&folder.path().join("none")).contains("DIR/none"));
        let lines: Vec<_> = Lines::open(&latin).expect("open").collect();
        assert_eq!(lines, [(1, Ok("a\n".into())), (2, Err("not UTF-8".into()))]);
    }

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("out");
        write(&file, "old").expect("written");
        let mut half = Whole::create(&file).expect("created");
        half.write("half").expect("written");
        drop(half);
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "old");
        write(&file, "new").expect("written");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "new");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        // What is no file stays what it is.
        write(Path::new("/dev/null"), "x").expect("written");
        assert!(!std::fs::metadata("/dev/null").expect("there").is_file());
    }
}
