//! What is kept of the market: one file, replaced whole, so that a reader sees the old or the new.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ::market::{FORMAT, Key, Market, Setup};
use model::{Clamp, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::processes::Process;
use super::{MarketConfig, MarketError};

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The market's clock is the host's and this.
    pub(super) clock_offset_ms: i64,
    pub(super) market: Market,
    /// The workers of machines that run.
    pub(super) processes: BTreeMap<InstanceId, Process>,
}

/// The folder of a market, held by one process.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Let go of when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Takes `DATA_DIR/market`.
    pub(super) fn take(data_dir: &Path) -> Result<Self, MarketError> {
        let path = std::path::absolute(data_dir.join("market")).map_err(at(data_dir))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(at(&path))?;
        let file = path.join("lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&file);
        let lock = lock.map_err(at(&file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(MarketError::InUse(path)),
            Err(fs::TryLockError::Error(fault)) => Err(at(&file)(fault)),
        }
    }

    /// Where a machine's files are.
    pub(super) fn machine(&self, id: &InstanceId) -> PathBuf {
        self.path.join(id.as_str())
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// The market as it was saved, or a new one.
    pub(super) fn load(&self, config: &MarketConfig) -> Result<Record, MarketError> {
        let file = self.state();
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return new(config),
            Err(fault) => return Err(at(&file)(fault)),
        };
        let unreadable = |fault: String| MarketError::Unreadable { path: file.clone(), fault };
        let mut record: Record =
            serde_json::from_slice(&text).map_err(|fault| unreadable(fault.to_string()))?;
        if record.market.format() != FORMAT {
            let format = record.market.format();
            return Err(unreadable(format!("format {format} instead of {FORMAT}")));
        }
        let now = record.now();
        record.market.reopen(config.max_machines, now);
        Ok(record)
    }
}

fn new(config: &MarketConfig) -> Result<Record, MarketError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|fault| MarketError::NoRandomness(fault.to_string()))?;
    let weather = config.weather.clone();
    let setup = Setup { weather, key: Key::new(key), quota: config.max_machines };
    let market = Market::new(setup, wall());
    Ok(Record { clock_offset_ms: 0, market, processes: BTreeMap::new() })
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(since.as_millis().clamped())
}

impl Record {
    /// The market's time. It goes on when the host's clock was set back, also while the market was
    /// not looked at.
    pub(super) fn now(&mut self) -> Timestamp {
        let now = wall().plus_ms(self.clock_offset_ms);
        let behind_ms = self.market.now().since(now);
        self.clock_offset_ms = self.clock_offset_ms.saturating_add(behind_ms.clamped());
        now.later_by(behind_ms)
    }

    /// The file's bytes.
    pub(super) fn text(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(io::Error::other)
    }
}

/// Replaces a file so that whoever reads it sees the old or the new one, whole. Others may not read
/// it: the market's key is in one, a machine's proof of identity in another.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = write_beside(path, text)?;
    fs::rename(temporary, path)
}

/// As [`replace`], and it is still so after a power loss.
pub(super) fn replace_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file without a folder"))?;
    let temporary = write_beside(path, text)?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(folder)?.sync_all()
}

fn write_beside(path: &Path, text: &[u8]) -> io::Result<PathBuf> {
    let temporary = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text)?;
    Ok(temporary)
}

/// Names the file of a fault.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> MarketError {
    let path = path.to_path_buf();
    move |source| MarketError::Io { path, source }
}
