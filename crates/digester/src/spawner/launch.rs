//! Starts one process: `posix_spawn` with a group of its own, its output straight into files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::protocol::Launch;

/// Programs found before, by `PATH` and name. `Command` would take the slow way (fork, then try
/// one folder after the other) for a name without a slash.
#[derive(Default)]
pub(super) struct Programs {
    found: BTreeMap<(String, String), PathBuf>,
}

/// More than the different commands of a node at a time.
const MOST_PROGRAMS: usize = 1_000;

impl Programs {
    fn find(&mut self, path: &str, name: &str) -> Result<PathBuf, String> {
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        let key = (path.to_owned(), name.to_owned());
        if let Some(found) = self.found.get(&key) {
            return Ok(found.clone());
        }
        let found = std::env::split_paths(path)
            .map(|folder| folder.join(name))
            .find(|file| is_program(file))
            .ok_or_else(|| format!("no program `{name}` in {path}"))?;
        if self.found.len() >= MOST_PROGRAMS {
            self.found.clear();
        }
        self.found.insert(key, found.clone());
        Ok(found)
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Starts a process; answers its pid, or for people why not.
pub(super) fn launch(launch: &Launch, programs: &mut Programs) -> Result<u32, String> {
    let words = |what: &str, error: io::Error| format!("{what}: {error}");
    let dir = Path::new(&launch.dir);
    // A folder that serves again has its files already.
    let stdout = match open(dir, "stdout") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(dir).map_err(|error| words("the attempt's folder", error))?;
            open(dir, "stdout")
        }
        opened => opened,
    };
    let stdout = stdout.map_err(|error| words("the file of stdout", error))?;
    let stderr = open(dir, "stderr").map_err(|error| words("the file of stderr", error))?;
    if launch.out {
        make_dir(&dir.join("out")).map_err(|error| words("the output folder", error))?;
    }
    let (name, arguments) = launch.command.split_first().ok_or("the command is empty")?;
    let path = launch.env.iter().find(|(key, _)| key == "PATH").map_or("", |(_, value)| value);
    let workdir = launch.workdir.as_deref().map_or(dir, Path::new);
    let program = programs.find(path, name)?;
    let spawned = Command::new(&program)
        .arg0(name)
        .args(arguments)
        .env_clear()
        .envs(launch.env.iter().map(|(key, value)| (key, value)))
        .current_dir(workdir)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .spawn();
    match spawned {
        Ok(child) => Ok(child.id()),
        Err(error) => {
            programs.found.clear();
            Err(why_not(&program, name, workdir, &error))
        }
    }
}

fn open(dir: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(name))
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn why_not(program: &Path, name: &str, workdir: &Path, error: &io::Error) -> String {
    let folder = workdir.display();
    match workdir.metadata() {
        Err(error) => return format!("workdir {folder}: {error}"),
        Ok(data) if !data.is_dir() => return format!("workdir {folder} is no folder"),
        Ok(_) => {}
    }
    let file = workdir.join(program);
    if !file.exists() {
        return format!("no program `{name}`");
    }
    let shown = OsString::from(name);
    format!("cannot start {}: {error}", Path::new(&shown).display())
}
