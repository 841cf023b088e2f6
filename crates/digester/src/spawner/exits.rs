//! The exits that the spawner keeps until the digester has spooled them: in memory, and in an
//! append-only file that the next spawner reads when this one is killed.
//!
//! No fsync: the file has to survive processes, not the machine. With the machine all processes
//! are gone, and their attempts with the node.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::AttemptId;
use node::Exit;

/// Above this the file is written anew with what is still in it.
const REWRITE_ABOVE_BYTES: u64 = 1 << 20;
/// Above this it is emptied when nothing is in it any more: what it still says would be told to the
/// next digester, which then has thousands of exits to look at before its first task.
const EMPTY_ABOVE_BYTES: u64 = 8 << 10;

pub(super) struct Exits {
    path: PathBuf,
    file: File,
    bytes: u64,
    kept: BTreeMap<AttemptId, Exit>,
}

impl Exits {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("exits");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        // A line that was not written to its end is an exit that its parent had not reaped yet:
        // whoever inherited the process knows the code.
        let kept = text
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<(AttemptId, Exit)>(line).ok())
            .collect();
        let file = append(&path)?;
        let mut exits = Self { path, file, bytes: 0, kept };
        exits.rewrite()?;
        Ok(exits)
    }

    /// Keeps an exit; on return it survives this process.
    pub(super) fn keep(&mut self, attempt: AttemptId, exit: Exit) -> io::Result<()> {
        self.kept.insert(attempt, exit);
        self.write_line(attempt, exit)
    }

    fn write_line(&mut self, attempt: AttemptId, exit: Exit) -> io::Result<()> {
        let line = super::protocol::line(&(attempt, exit))?;
        self.file.write_all(&line)?;
        self.bytes += model::Clamp::<u64>::clamped(line.len());
        Ok(())
    }

    pub(super) fn forget(&mut self, attempts: &[AttemptId]) -> io::Result<()> {
        for attempt in attempts {
            self.kept.remove(attempt);
        }
        let most = if self.kept.is_empty() { EMPTY_ABOVE_BYTES } else { REWRITE_ABOVE_BYTES };
        if self.bytes > most { self.rewrite() } else { Ok(()) }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let next = self.path.with_extension("next");
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.file = append(&next)?;
        self.bytes = 0;
        for (attempt, exit) in self.kept.clone() {
            self.write_line(attempt, exit)?;
        }
        std::fs::rename(&next, &self.path)
    }

    pub(super) fn kept(&self) -> impl Iterator<Item = (AttemptId, Exit)> {
        self.kept.iter().map(|(attempt, exit)| (*attempt, *exit))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use model::{JobId, TaskId};
    use node::ExitStatus;

    use super::*;

    #[test]
    fn exits_that_nobody_needs_do_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let exit = Exit { status: ExitStatus::Code(0), run_ms: 1, signalled: false, alone: true };
        let mut exits = Exits::open(dir.path()).unwrap();
        for index in 0..1_000 {
            let task = TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1);
            exits.keep(task, exit).unwrap();
            exits.forget(&[task]).unwrap();
        }
        let left = Exits::open(dir.path()).unwrap().kept().count();
        assert!(left < 200, "{left} of 1,000 are back");
    }

    #[test]
    fn exits_survive_their_keeper_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let task = |index| TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1);
        let exit = Exit { status: ExitStatus::Code(3), run_ms: 1, signalled: false, alone: true };
        let mut exits = Exits::open(dir.path()).unwrap();
        for index in 0..3 {
            exits.keep(task(index), exit).unwrap();
        }
        drop(exits);
        let mut file = append(&dir.path().join("exits")).unwrap();
        file.write_all(b"[\"job_0000").unwrap();
        let mut exits = Exits::open(dir.path()).unwrap();
        assert_eq!(exits.kept().collect::<Vec<_>>(), [0, 1, 2].map(|index| (task(index), exit)));
        exits.forget(&[task(1), task(9)]).unwrap();
        exits.rewrite().unwrap();
        let exits = Exits::open(dir.path()).unwrap();
        assert_eq!(exits.kept().collect::<Vec<_>>(), [0, 2].map(|index| (task(index), exit)));
    }
}
