//! The spool's file. Its state in memory is always what a replay would give.
//!
//! No fsync: the page cache survives a `kill -9` of the process, and a machine that loses power
//! loses its tasks with it; the leader then settles by the node's loss. A rewritten file that did
//! not survive such a loss is empty or torn, and gives a new session.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model::{AttemptId, Clamp};
use node::{Record, Spool};

/// A file of this size is written anew, if that makes it much smaller.
const REWRITE_ABOVE_BYTES: u64 = 1 << 20;

pub(crate) struct SpoolFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Its size when it was last written anew.
    least: u64,
    state: Spool,
}

impl SpoolFile {
    /// Reads the file; without a good one, begins another session.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let state = match Spool::replay(&bytes) {
            Ok(replayed) => replayed.spool,
            Err(fault) => {
                if !bytes.is_empty() {
                    tracing::error!(%fault, "the spool is lost; this is another session now");
                    std::fs::rename(path, path.with_extension("bad"))?;
                }
                Spool::new(random_session()?)
            }
        };
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut spool = Self { path: path.to_owned(), file, bytes: 0, least: 0, state };
        // Also cuts off a torn last line.
        spool.rewrite()?;
        Ok(spool)
    }

    pub(crate) fn state(&self) -> &Spool {
        &self.state
    }

    /// Appends records; on return they survive this process.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::with_capacity(records.len() * 160);
        for record in records {
            record.write_line(&mut lines)?;
            self.state.apply(record);
        }
        self.write(&lines)
    }

    /// Forgets transitions below `offset`; answers the attempts that are over with them.
    pub(crate) fn acknowledge(&mut self, offset: u64) -> io::Result<Vec<AttemptId>> {
        if offset <= self.state.acked() || offset > self.state.next_offset() {
            return Ok(Vec::new());
        }
        let over = self.state.acknowledge(offset);
        let mut line = Vec::new();
        Record::Acked { offset }.write_line(&mut line)?;
        self.write(&line)?;
        Ok(over)
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.bytes += Clamp::<u64>::clamped(lines.len());
        if self.bytes > REWRITE_ABOVE_BYTES.max(self.least.saturating_mul(4)) {
            self.rewrite()?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let next = self.path.with_extension("next");
        let mut lines = Vec::new();
        for record in self.state.records() {
            record.write_line(&mut lines)?;
        }
        std::fs::write(&next, &lines)?;
        std::fs::rename(&next, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.bytes = lines.len().clamped();
        self.least = self.bytes;
        Ok(())
    }
}

fn random_session() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    // 63 bits: signed SQL integers hold it.
    Ok(u64::from_le_bytes(bytes) >> 1)
}

#[cfg(test)]
mod tests {
    use model::{JobId, Outcome, TaskId, Transition};

    use super::*;

    fn ended(index: u32) -> [Record; 2] {
        let attempt = TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1);
        let transition = Transition::ended_without_trace(attempt, Outcome::Returned);
        let Transition::Ended { result, .. } = transition else { unreachable!() };
        [Record::Assigned { attempt, held: false, item: None }, Record::Ended { attempt, result }]
    }

    #[test]
    fn it_stays_small_and_survives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = SpoolFile::open(&path).unwrap();
        let session = spool.state().session();
        for round in 0..200u32 {
            for index in 0..100 {
                spool.append(&ended(round * 100 + index)).unwrap();
            }
            let over = spool.acknowledge(u64::from(round) * 100 + 90).unwrap();
            assert_eq!(over.len(), if round == 0 { 90 } else { 100 });
        }
        assert!(path.metadata().unwrap().len() <= REWRITE_ABOVE_BYTES + 100_000);
        let before = spool.state().clone();
        drop(spool);
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"acked\":{").unwrap();
        let mut spool = SpoolFile::open(&path).unwrap();
        assert_eq!(spool.state(), &before);
        assert_eq!(spool.state().session(), session);
        assert_eq!(spool.state().next_offset(), 20_000);
        // An acknowledgement of what never was is not believed.
        assert!(spool.acknowledge(20_001).unwrap().is_empty());
        assert_eq!(spool.acknowledge(20_000).unwrap().len(), 10);
    }

    #[test]
    fn a_lost_spool_is_another_session() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let first = SpoolFile::open(&path).unwrap().state().session();
        std::fs::write(&path, "rubbish\n").unwrap();
        let second = SpoolFile::open(&path).unwrap().state().session();
        assert_ne!(first, second);
        assert!(second < 1 << 63);
    }
}
