//! A place of one test: folders, a database, and the end of everything that was started in it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::processes;

/// Which database a manager uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file in the data folder.
    Sqlite,
    /// A fresh database in the server of `EBB_TEST_POSTGRES_URL`.
    Postgres,
}

/// A place of one test. Every process that is started here carries the folder's path in its
/// environment; what is left of them is killed when this is dropped.
pub struct Scratch {
    folder: TempDir,
    database_url: Option<String>,
    listen: SocketAddr,
}

impl Scratch {
    /// A new place.
    ///
    /// # Panics
    /// Without a temporary folder; with [`Database::Postgres`], without a server.
    pub fn new(database: Database) -> Self {
        let folder = tempfile::Builder::new().prefix("ebb-test-").tempdir().expect("a folder");
        for name in ["run", "home", "data", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder of our own");
        }
        let database_url = (database == Database::Postgres).then(|| create(folder.path()));
        Self { folder, database_url, listen: free_address() }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the manager keeps its data.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Where the manager listens, also after a restart.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// `--database`, unless the default will do.
    pub fn database_url(&self) -> Option<&str> {
        self.database_url.as_deref()
    }

    /// `ebb` in this place: it finds the manager of this place and no other.
    pub fn ebb(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::ebb::binary());
        command.args(arguments).current_dir(self.path());
        for key in ["EBB_URL", "EBB_TOKEN", "EBB_DATABASE_URL", "XDG_DATA_HOME"] {
            command.env_remove(key);
        }
        command.env("XDG_RUNTIME_DIR", self.path().join("run"));
        command.env("HOME", self.path().join("home")).env("TMPDIR", self.path().join("tmp"));
        command
    }

    /// Everything that runs in this place.
    pub fn processes(&self) -> Vec<processes::Process> {
        processes::that_mention(self.path())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A parent may start another child while we look: look until nothing is left.
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for process in left {
                process.signal(Signal::SIGKILL);
            }
        }
    }
}

/// An address of the loopback that nobody listens on.
///
/// # Panics
/// When there is none.
pub fn free_address() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.local_addr().expect("bound")
}

/// Creates a database named after the folder, and gives its URL.
fn create(folder: &Path) -> String {
    let server = std::env::var("EBB_TEST_POSTGRES_URL")
        .expect("EBB_TEST_POSTGRES_URL names a server; `cargo xtask test` starts one");
    let unique = folder.file_name().expect("a name").to_string_lossy();
    let name: String =
        unique.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    // Upper and lower case are one to this name and two to the folder's.
    let name = format!("{name}_{}", std::process::id());
    let made = Command::new("psql")
        .arg(&server)
        .args(["--no-psqlrc", "--quiet", "--command"])
        .arg(format!("CREATE DATABASE {name}"))
        .status()
        .expect("psql comes with Postgres");
    assert!(made.success(), "psql could not create a database");
    let (base, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{name}")
}
