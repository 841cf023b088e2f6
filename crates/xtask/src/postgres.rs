//! A Postgres of our own: a fresh cluster in a temporary folder on a free port, gone afterwards.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::steps::{Failure, read};

/// Where Debian keeps the programs of one major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Another program may take the port between our look and the start.
const TRIES: u32 = 3;

/// Ends the server and removes its folder when the pipe on its input closes: that happens however
/// this process ends, be it Ctrl-C or `kill -9`. `$1` is the folder, the rest stops the server.
const GUARD: &str =
    r#"trap "" INT TERM HUP; cat >/dev/null; d=$1; shift; "$@" >/dev/null 2>&1; rm -rf -- "$d""#;

/// How much a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing: for measurements.
    Full,
    /// Everything: for tests, where the machine's crash is not what is tested.
    None,
}

/// The running server; stopped when dropped.
pub(crate) struct Postgres {
    url: String,
    guard: Child,
}

/// The folder with `initdb` and `pg_ctl`, of the newest version there is.
pub(crate) fn programs() -> Option<PathBuf> {
    let whole = |folder: &Path| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file();
    let newest = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| whole(folder))
        .max();
    if let Some((_, folder)) = newest {
        return Some(folder);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| whole(folder))
}

impl Postgres {
    /// Creates a cluster and starts it.
    pub(crate) fn start(durability: Durability) -> Result<Self, Failure> {
        let programs = programs().ok_or_else(|| {
            Failure::Failed("no Postgres is installed; `cargo xtask test` installs one".to_owned())
        })?;
        let folder = std::env::temp_dir().join(format!("ebbtide-postgres-{}", std::process::id()));
        std::fs::create_dir(&folder)
            .map_err(|fault| Failure::Failed(format!("{}: {fault}", folder.display())))?;
        let server = Server { programs, folder };
        let started = server.create(durability).and_then(|()| server.start());
        match started {
            Ok((url, guard)) => Ok(Self { url, guard }),
            Err(failure) => {
                let _ = std::fs::remove_dir_all(&server.folder);
                Err(failure)
            }
        }
    }

    /// What to connect to.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

struct Server {
    programs: PathBuf,
    folder: PathBuf,
}

impl Server {
    /// One of the server's programs. They refuse to run as root, so root becomes `postgres`.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(&self.folder);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn create(&self, durability: Durability) -> Result<(), Failure> {
        if nix::unistd::geteuid().is_root() {
            let mut own = Command::new("chown");
            read(own.arg("postgres:").arg(&self.folder))?;
        }
        let mut create = self.program("initdb");
        create.args(["--username=ebbtide", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        create.args(["--no-sync", "--pgdata"]).arg(self.data());
        read(&mut create)?;
        let fsync = match durability {
            Durability::Full => "on",
            Durability::None => "off",
        };
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n\
             shared_buffers = '256MB'\nmax_wal_size = '4GB'\nfsync = {fsync}\n"
        );
        let path = self.data().join("postgresql.auto.conf");
        std::fs::write(&path, settings)
            .map_err(|fault| Failure::Failed(format!("{}: {fault}", path.display())))
    }

    fn start(&self) -> Result<(String, Child), Failure> {
        let mut failure = Failure::Failed("no port is free".to_owned());
        for _ in 0..TRIES {
            let port = free_port()?;
            let mut start = self.program("pg_ctl");
            start.args(["start", "--wait", "--silent", "--options"]).arg(format!("-p {port}"));
            start.arg("--log").arg(self.folder.join("log")).arg("--pgdata").arg(self.data());
            match read(start.stdin(Stdio::null())) {
                Ok(_) => {
                    let url = format!("postgres://ebbtide@127.0.0.1:{port}/postgres");
                    return Ok((url, self.guard()?));
                }
                Err(found) => failure = found,
            }
        }
        Err(failure)
    }

    fn guard(&self) -> Result<Child, Failure> {
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "--silent", "--mode=immediate", "--pgdata"]).arg(self.data());
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&self.folder);
        guard.arg(stop.get_program()).args(stop.get_args());
        guard.current_dir("/").stdin(Stdio::piped()).process_group(0);
        guard.spawn().map_err(|fault| Failure::Failed(format!("sh: {fault}")))
    }
}

fn free_port() -> Result<u16, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.local_addr())
        .map(|address| address.port())
        .map_err(|fault| Failure::Failed(format!("no free port on the loopback: {fault}")))
}
