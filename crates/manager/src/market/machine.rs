//! One machine of the market on this host: a folder, a worker process, and what is shown to it.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ::market::IdentityDocument;
use model::{NoticeKind, Timestamp};
use serde::Serialize;
use tokio::process::{Child, Command};

use super::processes::{MACHINE, Process};
use super::record::replace;

/// What a worker inherits of the manager's environment: a machine has its own, and nothing of a
/// manager's secrets is in it.
const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
];

/// How workers are started.
#[derive(Debug, Clone)]
pub(super) struct Launcher {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

/// What the notice file says, as EC2's metadata service would.
#[derive(Debug, Serialize)]
struct NoticeFile {
    kind: NoticeKind,
    /// From `at` on.
    remaining_ms: u64,
    /// When this was written.
    at: Timestamp,
}

impl Launcher {
    /// Starts a machine's worker.
    pub(super) fn start(
        &self,
        folder: &Path,
        document: &IdentityDocument,
        manager_url: &str,
    ) -> io::Result<(Child, Process)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let identity = folder.join("identity.json");
        replace(&identity, &serde_json::to_vec(document).map_err(io::Error::other)?)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(folder.join("worker.log"))?;
        let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .args(["--manager", manager_url])
            .arg("--identity")
            .arg(identity)
            .arg("--notice-file")
            .arg(notice_file(folder))
            .arg("--data-dir")
            .arg(folder)
            .current_dir(folder)
            .env_clear()
            .envs(inherited)
            .env(MACHINE, document.instance.as_str())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: a Ctrl-C at the manager's terminal is none on the machine.
            .process_group(0)
            .spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        // It cannot be reaped before this process waits for it, so the number is its own.
        let process = Process::of(pid.ok_or_else(|| io::Error::other("no process number"))?)?;
        Ok((child, process))
    }
}

fn notice_file(folder: &Path) -> PathBuf {
    folder.join("notice.json")
}

/// Shows a machine that it will be reclaimed.
pub(super) fn show_notice(folder: &Path, deadline: Timestamp, now: Timestamp) -> io::Result<()> {
    let remaining_ms = deadline.since(now);
    let notice = NoticeFile { kind: NoticeKind::Interruption, remaining_ms, at: now };
    replace(&notice_file(folder), &serde_json::to_vec(&notice).map_err(io::Error::other)?)
}
