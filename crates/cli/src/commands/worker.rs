//! `ebb worker` and its child, `ebb spawner`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use digester::{Config, DigesterError, Joiner, SpawnerArgs};
use model::{Clamp, Resources, parse_cpu_millis, parse_mebibytes};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::args;
use crate::discovery::{self, Surroundings};
use crate::error::{Exit, Failure, Kind};
use crate::signals::Signals;

/// What is left to the system, to us and to the tasks' files in the page cache.
const MEMORY_FOR_TASKS_PERCENT: u64 = 80;

/// What an identity document says of the machine, beside what only the cloud understands.
#[derive(Debug, Deserialize)]
struct Machine {
    cpu_millis: u32,
    memory_mib: u32,
    disk_mib: u32,
    gpus: u32,
}

/// Runs a worker until it is told to end.
pub(crate) async fn worker(url: Option<&str>, args: &args::Worker) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let config = config(url, args, &Surroundings::of_process())?;
    let shutdown = CancellationToken::new();
    let told = shutdown.clone();
    let running = digester::run(config, shutdown);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        _ = signals.next() => {
            told.cancel();
            running.await
        }
    };
    ended.map(|()| Exit::Ok).map_err(|error| failure(&error))
}

fn failure(error: &DigesterError) -> Failure {
    let (kind, next) = match error {
        DigesterError::Machine { .. } => (Kind::Local, "mend that, then the same again"),
        DigesterError::InUse(_) => (Kind::Refused, "end that worker, or say another --data-dir"),
        DigesterError::Refused(_) => (Kind::Refused, "a new token: ebb token create --join"),
        DigesterError::Orphaned(_) => {
            (Kind::Unreachable, "the same again when the manager is back")
        }
    };
    Failure::new(kind, error.to_string()).next(next)
}

/// Runs a spawner.
pub(crate) fn spawner(args: args::Spawner) -> ExitCode {
    digester::spawner_main(&SpawnerArgs {
        socket: args.socket,
        dir: args.dir,
        attempts: args.attempts,
        orphan_after: Duration::from_millis(args.orphan_after_ms),
    })
}

fn config(
    url: Option<&str>,
    args: &args::Worker,
    around: &Surroundings,
) -> Result<Config, Failure> {
    let known = discovery::known(around);
    let manager = match (args.manager.as_deref().or(url), &known) {
        (Some(url), _) => discovery::checked(url)?,
        (None, Some(known)) => known.url.clone(),
        (None, None) => return Err(Failure::no_manager()),
    };
    let joiner = joiner(args)?;
    let data_dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => around.data_dir()?.join("worker"),
    };
    let objects = objects(args.objects.as_deref(), &manager, known.as_ref())?;
    let data_dir = std::path::absolute(&data_dir)
        .map_err(|fault| Failure::usage(format!("{}: {fault}", data_dir.display())))?;
    let capacity = match &joiner {
        Joiner::Identity { document } => machine(document)?,
        Joiner::Token { .. } => {
            own_capacity(args.cpu.as_deref(), args.memory.as_deref(), &data_dir)?
        }
    };
    let mut config = Config::new(manager, joiner, data_dir, own_spawner()?, objects, capacity);
    config.notice_file.clone_from(&args.notice_file);
    config.orphan_after = Duration::from_millis(args.orphan_after);
    Ok(config)
}

fn own_spawner() -> Result<Vec<String>, Failure> {
    let program = std::env::current_exe()
        .map_err(|fault| Failure::local(format!("cannot find our own program: {fault}")))?;
    let program = program.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("our own program {} has no UTF-8 name", program.display()))
    })?;
    Ok(vec![program, "spawner".to_owned()])
}

fn joiner(args: &args::Worker) -> Result<Joiner, Failure> {
    if let Some(file) = &args.identity {
        return Ok(Joiner::Identity { document: read(file)? });
    }
    let token = match &args.join_token_file {
        Some(file) => read(file)?.trim().to_owned(),
        None => std::env::var("EBB_JOIN_TOKEN").unwrap_or_default(),
    };
    if token.is_empty() {
        return Err(Failure::usage(
            "a worker needs a join token: --join-token-file or EBB_JOIN_TOKEN",
        )
        .next("on the manager's machine: ebb token create --join"));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => read(Path::new("/proc/sys/kernel/hostname"))?.trim().to_owned(),
    };
    Ok(Joiner::Token { token, name })
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|fault| Failure::usage(format!("cannot read {}: {fault}", file.display())))
}

fn machine(document: &str) -> Result<Resources, Failure> {
    let machine: Machine = serde_json::from_str(document)
        .map_err(|fault| Failure::usage(format!("the identity document: {fault}")))?;
    Ok(Resources {
        cpu_millis: machine.cpu_millis,
        memory_mib: machine.memory_mib,
        disk_mib: machine.disk_mib,
        gpus: machine.gpus,
    })
}

/// What this machine has for tasks, or what was said.
fn own_capacity(
    cpu: Option<&str>,
    memory: Option<&str>,
    data_dir: &Path,
) -> Result<Resources, Failure> {
    let cpu_millis = match cpu {
        Some(text) => parse_cpu_millis(text).map_err(Failure::usage)?,
        None => std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok())
            .map_or(1_000, |cores| cores.saturating_mul(1_000)),
    };
    let memory_mib = match memory {
        Some(text) => parse_mebibytes(text).map_err(Failure::usage)?,
        None => memory_for_tasks(&read(Path::new("/proc/meminfo"))?)
            .ok_or_else(|| Failure::usage("/proc/meminfo is not understood; say --memory"))?,
    };
    Ok(Resources { cpu_millis, memory_mib, disk_mib: free_disk(data_dir), gpus: 0 })
}

/// What is free where the folder is or will be; 0 where the system does not say.
fn free_disk(folder: &Path) -> u32 {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("/"));
    nix::sys::statvfs::statvfs(there)
        .map(|disk| (disk.blocks_available() * disk.fragment_size() / (1 << 20)).clamped())
        .unwrap_or(0)
}

fn memory_for_tasks(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    u32::try_from(kib / 1024 * MEMORY_FOR_TASKS_PERCENT / 100).ok()
}

/// The object store's folder: said, or that of the manager which this user started.
fn objects(
    said: Option<&Path>,
    manager: &str,
    known: Option<&discovery::Endpoint>,
) -> Result<PathBuf, Failure> {
    let folder = match (said, known) {
        (Some(folder), _) => Some(folder.to_owned()),
        (None, Some(known)) if known.url.trim_end_matches('/') == manager => {
            known.data_dir.as_ref().map(|dir| dir.join("objects"))
        }
        _ => None,
    };
    let folder = folder.ok_or_else(|| {
        Failure::usage(format!("where {manager} keeps its objects is not known here"))
            .next("the same with --objects DIR (the manager's data folder, then /objects)")
    })?;
    std::path::absolute(&folder)
        .map_err(|fault| Failure::usage(format!("{}: {fault}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_memory_is_for_tasks() {
        assert_eq!(memory_for_tasks("MemTotal:       10240000 kB\nMemFree: 1 kB\n"), Some(8_000));
        assert_eq!(memory_for_tasks("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn a_launched_machine_has_what_its_document_says() {
        let document = r#"{"instance": "i-1", "cpu_millis": 2000, "memory_mib": 3500,
            "disk_mib": 20000, "gpus": 1, "signature": "00"}"#;
        let capacity = machine(document).expect("understood");
        assert_eq!(capacity.to_string(), "2 cores, 3500 MiB memory, 19.5 GiB disk, 1 gpu");
        assert!(machine("{}").is_err());
    }

    #[test]
    fn objects_are_those_of_the_same_manager() {
        let known = discovery::Endpoint {
            url: "http://h:1".into(),
            token: "t".into(),
            data_dir: Some("/data".into()),
        };
        let of = |said: Option<&str>, url: &str| {
            objects(said.map(Path::new), url, Some(&known)).map_err(|f| f.exit().code())
        };
        assert_eq!(of(None, "http://h:1"), Ok(PathBuf::from("/data/objects")));
        assert_eq!(of(None, "http://h:2"), Err(2));
        assert_eq!(of(Some("/mnt/o"), "http://h:2"), Ok(PathBuf::from("/mnt/o")));
    }
}
