//! A machine's disk: the spool's file, of which a power cut leaves what was synced and perhaps a piece
//! of the rest. As `digester::spool_file`, whose state in memory is always what a replay would give.

use model::AttemptId;
use node::{Record, Spool};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A file of this size is written anew, if that makes it much smaller. Less than a digester's, so
/// that a run sees it.
const REWRITE_ABOVE_BYTES: usize = 16 << 10;

/// The spool's file.
#[derive(Debug, Default)]
pub(super) struct Disk {
    bytes: Vec<u8>,
    /// So much of it survives a power cut.
    synced: usize,
    /// The file that this one has replaced, until that is synced.
    older: Option<Vec<u8>>,
    /// Its size when it was last written anew.
    least: usize,
    /// Whether something may not be said before a sync.
    needs_sync: bool,
}

/// A spool, open.
#[derive(Debug)]
pub(super) struct Open {
    state: Spool,
}

impl Disk {
    /// Reads the file; without a good one, begins another session.
    pub(super) fn open(&mut self, new_session: u64) -> Open {
        let state =
            Spool::replay(&self.bytes).map_or_else(|_| Spool::new(new_session), |it| it.spool);
        let open = Open { state };
        // Also cuts off a torn last line.
        self.rewrite(&open);
        open
    }

    fn rewrite(&mut self, open: &Open) {
        let old = std::mem::take(&mut self.bytes);
        self.older.get_or_insert_with(|| old.into_iter().take(self.synced).collect());
        for record in open.state.records() {
            self.write_line(&record);
        }
        self.synced = 0;
        self.least = self.bytes.len();
        self.needs_sync = true;
    }

    fn write_line(&mut self, record: &Record) {
        let before = self.bytes.len();
        if record.write_line(&mut self.bytes).is_err() {
            self.bytes.truncate(before);
        }
    }

    fn rewrite_if_large(&mut self, open: &Open) {
        if self.bytes.len() > REWRITE_ABOVE_BYTES.max(self.least.saturating_mul(4)) {
            self.rewrite(open);
        }
    }

    /// Whether what was written has to be synced before anything leaves.
    pub(super) fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.bytes.len();
        self.older = None;
        self.needs_sync = false;
    }

    /// What was not synced is lost, perhaps in the middle of a line.
    pub(super) fn lose_power(&mut self, rng: &mut ChaCha8Rng) {
        if let Some(older) = self.older.take()
            && rng.random_bool(0.5)
        {
            self.synced = older.len();
            self.bytes = older;
        } else if self.synced == 0 && self.least > 0 {
            // A rename reaches the disk after the file that it names.
            self.synced = self.least.min(self.bytes.len());
        }
        let kept = rng.random_range(self.synced.min(self.bytes.len())..=self.bytes.len());
        self.bytes.truncate(kept);
        self.sync();
    }
}

impl Open {
    pub(super) fn state(&self) -> &Spool {
        &self.state
    }

    pub(super) fn append(&mut self, disk: &mut Disk, records: &[Record]) {
        for record in records {
            disk.write_line(record);
            self.state.apply(record);
        }
        if !records.is_empty() {
            disk.needs_sync = true;
            disk.rewrite_if_large(self);
        }
    }

    /// Forgets transitions below `offset`; answers the attempts that are over with them.
    pub(super) fn acknowledge(&mut self, disk: &mut Disk, offset: u64) -> Vec<AttemptId> {
        if offset <= self.state.acked() || offset > self.state.next_offset() {
            return Vec::new();
        }
        let over = self.state.acknowledge(offset);
        disk.write_line(&Record::Acked { offset });
        disk.rewrite_if_large(self);
        over
    }
}
