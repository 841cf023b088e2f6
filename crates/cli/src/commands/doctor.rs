//! `ebb doctor`: this machine and the way to the manager, thing by thing, each with what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::discovery::{self, Endpoint, Surroundings};
use crate::error::{Exit, Failure};
use crate::output::{Answer, Look, Screen, Tone};
use crate::progress::bytes;
use crate::remote::Remote;
use crate::render::{many, short};
use crate::table::{Column, col, table, wrapped};

/// What does not answer within this is not there.
const PATIENCE: Duration = Duration::from_secs(3);
/// Below this nothing more should be stored; outputs and logs come in unasked.
const DISK_FAILS: u64 = 256 << 20;
const DISK_WARNS: u64 = 2 << 30;
/// A manager holds a connection or two for each node and client.
const OPEN_FILES: u64 = 4_096;
/// Answers bear their time in whole seconds.
const SKEW_WARNS: u64 = 5;

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Finding {
    Ok,
    /// It works, and not as well as it could.
    Warn,
    Fail,
}

/// A thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) finding: Finding,
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, finding: Finding::Ok, found: found.into(), next: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        let next = Some(next.into());
        Self { name, finding: Finding::Warn, found: found.into(), next }
    }

    fn fail(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { finding: Finding::Fail, ..Self::warn(name, found, next) }
    }
}

/// All that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// Whether nothing fails.
    pub(crate) ok: bool,
    pub(crate) checks: Vec<Check>,
}

impl Diagnosis {
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.finding != Finding::Fail), checks }
    }
}

impl Answer for Diagnosis {
    fn text(&self, look: Look) -> String {
        const COLUMNS: [Column; 3] = [col("CHECK"), col("RESULT"), col("FOUND").cut(40)];
        let rows = self.checks.iter().map(|check| {
            let (word, tone) = match check.finding {
                Finding::Ok => ("ok", Tone::Good),
                Finding::Warn => ("warn", Tone::Busy),
                Finding::Fail => ("fail", Tone::Bad),
            };
            vec![check.name.to_owned(), look.paint.paint(word, tone), check.found.clone()]
        });
        let mut lines = vec![table(&COLUMNS, look.width, rows.collect())];
        let advice =
            self.checks.iter().filter_map(|check| Some((check.name, check.next.as_ref()?)));
        let advice: Vec<_> =
            advice.map(|(name, next)| wrapped(&format!("{name}: {next}"), look.width, 2)).collect();
        if !advice.is_empty() {
            lines.push(String::new());
            lines.extend(advice);
        }
        lines.join("\n")
    }
}

pub(crate) async fn doctor(url: Option<&str>, screen: Screen) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let endpoint = discovery::find(url, &around);
    let data_dir = data_dir(endpoint.as_ref().ok(), &around);
    let mut checks = vec![engine().await, cgroups(Path::new("/")), pressure(Path::new("/"))];
    checks.extend(data_dir.as_deref().map(disk));
    checks.push(open_files());
    checks.push(database(data_dir.as_deref(), std::env::var("EBB_DATABASE_URL").ok()).await);
    checks.extend(manager(endpoint).await);
    let diagnosis = Diagnosis::new(checks);
    screen.show(&diagnosis)?;
    Ok(if diagnosis.ok { Exit::Ok } else { Exit::NotSucceeded })
}

/// Where the manager of this machine keeps its data, or would.
fn data_dir(endpoint: Option<&Endpoint>, around: &Surroundings) -> Option<PathBuf> {
    let told = endpoint.and_then(|endpoint| endpoint.data_dir.clone());
    told.or_else(|| around.data_dir().ok())
}

/// Docker's, for tasks with an `image`.
async fn engine() -> Check {
    const NAME: &str = "engine";
    const NEXT: &str = "processes run without one; start Docker, or set DOCKER_HOST=unix://SOCKET";
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = match host.strip_prefix("unix://") {
        Some(socket) => PathBuf::from(socket),
        None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
        None => return Check::warn(NAME, format!("{host} is not asked: no unix socket"), NEXT),
    };
    match timeout(PATIENCE, ping(&socket)).await {
        Ok(Ok(version)) => {
            Check::ok(NAME, format!("docker answers at {}{version}", socket.display()))
        }
        Ok(Err(fault)) => Check::warn(NAME, format!("{}: {fault}", socket.display()), NEXT),
        Err(_) => Check::warn(NAME, format!("{} does not answer", socket.display()), NEXT),
    }
}

/// Asks an engine for a sign of life, and answers the version of its API in words.
async fn ping(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").await?;
    let mut bytes = Vec::new();
    stream.take(64 << 10).read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    if !text.lines().next().is_some_and(|line| line.contains(" 200")) {
        return Err(std::io::Error::other("no engine answers there"));
    }
    let version = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("api-version").then(|| value.trim().to_owned())
    });
    Ok(version.map(|version| format!(", API {version}")).unwrap_or_default())
}

/// Version 2 with what confines a task, and the right to use it.
fn cgroups(root: &Path) -> Check {
    const NAME: &str = "cgroups";
    let mounted = root.join("sys/fs/cgroup");
    let Ok(all) = fs::read_to_string(mounted.join("cgroup.controllers")) else {
        return Check::warn(
            NAME,
            "version 2 is not mounted as the only one",
            "tasks run, and are not confined to what they ask for; boot with systemd.unified_cgroup_hierarchy=1",
        );
    };
    let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let folder = mounted.join(own);
    let given = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or(all);
    let lacks: Vec<_> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|wanted| !given.split_whitespace().any(|there| there == *wanted))
        .collect();
    if !lacks.is_empty() {
        return Check::warn(
            NAME,
            format!("version 2, /{own} lacks {}", lacks.join(", ")),
            "run it by a systemd unit with Delegate=yes",
        );
    }
    let control = folder.join("cgroup.subtree_control");
    let may = nix::unistd::access(&control, nix::unistd::AccessFlags::W_OK).is_ok();
    if may {
        Check::ok(NAME, format!("version 2, /{own} is ours with cpu, memory, pids"))
    } else {
        Check::warn(
            NAME,
            format!("version 2, /{own} is not delegated to us"),
            "run it by a systemd unit with Delegate=yes, or: systemd-run --user -p Delegate=yes --scope ebb up",
        )
    }
}

/// Pressure stall information, by which a node could tell that it is overloaded.
fn pressure(root: &Path) -> Check {
    const NAME: &str = "pressure";
    let read = |what: &str| fs::read_to_string(root.join("proc/pressure").join(what));
    match (read("cpu"), read("memory")) {
        (Ok(cpu), Ok(_)) => {
            let average = cpu.split_whitespace().find_map(|word| word.strip_prefix("avg10="));
            Check::ok(NAME, format!("cpu waits {} % of the time", average.unwrap_or("?")))
        }
        _ => Check::warn(
            NAME,
            "/proc/pressure is not there",
            "only the regulator `pressure` needs it; boot with psi=1",
        ),
    }
}

fn disk(data_dir: &Path) -> Check {
    const NAME: &str = "disk";
    let there = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(data_dir);
    let Ok(stat) = statvfs(there) else {
        let found = format!("{} cannot be looked at", there.display());
        return Check::fail(NAME, found, "say another --data-dir");
    };
    #[expect(clippy::useless_conversion, reason = "its width is the platform's")]
    let free = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
    let found = format!("{} free for {}", bytes(free), data_dir.display());
    let next = "make room, or say another --data-dir";
    match free {
        ..DISK_FAILS => Check::fail(NAME, found, next),
        DISK_FAILS..DISK_WARNS => Check::warn(NAME, found, next),
        _ => Check::ok(NAME, found),
    }
}

fn open_files() -> Check {
    const NAME: &str = "open files";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < OPEN_FILES => {
            let found = format!("{soft} at once, {hard} if asked for");
            Check::warn(NAME, found, "ulimit -n 65536 before `ebb up` or `ebb manager`")
        }
        Ok((soft, _)) => Check::ok(NAME, format!("{soft} at once")),
        Err(fault) => Check::warn(NAME, fault.to_string(), "ulimit -n"),
    }
}

/// The database of a manager here; whether it serves is what the manager's readiness says.
async fn database(data_dir: Option<&Path>, url: Option<String>) -> Check {
    const NAME: &str = "database";
    if let Some(url) = url.filter(|url| url.starts_with("postgres")) {
        return postgres(NAME, &url).await;
    }
    let Some(file) = data_dir.map(|dir| dir.join("ebb.db")) else {
        return Check::ok(NAME, "none here");
    };
    let Ok(there) = fs::metadata(&file) else {
        return Check::ok(NAME, format!("{} is not there yet", file.display()));
    };
    let may = nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::W_OK;
    match nix::unistd::access(&file, may) {
        Ok(()) => Check::ok(NAME, format!("{} in {}", bytes(there.len()), file.display())),
        Err(fault) => {
            let next = "chown it to the user that runs the manager";
            Check::fail(NAME, format!("{}: {fault}", file.display()), next)
        }
    }
}

async fn postgres(name: &'static str, url: &str) -> Check {
    let next = "start it, or mend EBB_DATABASE_URL (postgres://USER:PASSWORD@HOST:PORT/DATABASE)";
    // The URL holds a password: only its address is told.
    let parsed = reqwest::Url::parse(url).ok();
    let Some((host, port)) =
        parsed.and_then(|url| Some((url.host_str()?.to_owned(), url.port().unwrap_or(5432))))
    else {
        return Check::ok(name, "Postgres, by an address that is not looked at here");
    };
    match timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => Check::ok(name, format!("Postgres listens at {host}:{port}")),
        Ok(Err(fault)) => Check::fail(name, format!("Postgres at {host}:{port}: {fault}"), next),
        Err(_) => Check::fail(name, format!("Postgres at {host}:{port} does not answer"), next),
    }
}

/// The way to the manager: each step only if the one before works.
async fn manager(endpoint: Result<Endpoint, Failure>) -> Vec<Check> {
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(failure) => return vec![failed("manager", &failure)],
    };
    let remote = match Remote::new(&endpoint) {
        Ok(remote) => remote,
        Err(failure) => return vec![failed("manager", &failure)],
    };
    let date = match remote.date().await {
        Ok(date) => date,
        Err(failure) => return vec![failed("manager", &failure)],
    };
    let mut checks = Vec::new();
    checks.push(match remote.ready().await {
        Ok(()) => Check::ok("manager", format!("{} is ready", endpoint.url)),
        Err(failure) => Check::fail(
            "manager",
            format!("{} answers and is not ready: {}", endpoint.url, failure.cause),
            "wait ten seconds for a leader; then look into the manager's log",
        ),
    });
    checks.extend(date.and_then(|date| clock(&date, SystemTime::now())));
    match remote.nodes(false).await {
        Err(failure) => checks.push(failed("token", &failure)),
        Ok(nodes) => {
            checks.push(Check::ok("token", "the manager takes it"));
            let ready = nodes.iter().filter(|node| node.state == "ready").count();
            let found = format!(
                "{ready} of {} ready",
                many(u64::try_from(nodes.len()).unwrap_or(0), "node")
            );
            checks.push(if ready > 0 {
                Check::ok("nodes", found)
            } else {
                Check::warn(
                    "nodes",
                    found,
                    "ebb worker adds this machine; ebb explain NODE says why one is not",
                )
            });
        }
    }
    checks
}

fn failed(name: &'static str, failure: &Failure) -> Check {
    let next = failure.next.clone().unwrap_or_else(|| "ebb up".to_owned());
    Check::fail(name, failure.cause.clone(), next)
}

/// How far our clock is from the manager's.
fn clock(date: &str, now: SystemTime) -> Option<Check> {
    const NAME: &str = "clock";
    let theirs = httpdate::parse_http_date(date).ok()?;
    let skew = match now.duration_since(theirs) {
        Ok(ahead) => ahead,
        Err(behind) => behind.duration(),
    };
    let found = format!("{} from the manager's", short(skew.as_secs().saturating_mul(1000)));
    Some(if skew.as_secs() >= SKEW_WARNS {
        let next = "ages are told wrong, nothing else; set the clock: timedatectl set-ntp true";
        Check::warn(NAME, found, next)
    } else {
        Check::ok(NAME, found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        }
        root
    }

    fn told(check: &Check) -> String {
        format!("{:?} {}", check.finding, check.found)
    }

    #[test]
    fn cgroups_are_ours_or_are_told_why_not() {
        let none = root(&[]);
        assert_eq!(told(&cgroups(none.path())), "Warn version 2 is not mounted as the only one");
        let own = ("proc/self/cgroup", "0::/user.slice/ebb\n");
        let all = ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids io\n");
        let bare = root(&[own, all, ("sys/fs/cgroup/user.slice/ebb/cgroup.controllers", "pids\n")]);
        assert_eq!(
            told(&cgroups(bare.path())),
            "Warn version 2, /user.slice/ebb lacks cpu, memory"
        );
        let ours = root(&[own, all, ("sys/fs/cgroup/user.slice/ebb/cgroup.subtree_control", "")]);
        let found = "Ok version 2, /user.slice/ebb is ours with cpu, memory, pids";
        assert_eq!(told(&cgroups(ours.path())), found);
        let not = root(&[own, all]);
        let found = "Warn version 2, /user.slice/ebb is not delegated to us";
        assert_eq!(told(&cgroups(not.path())), found);
    }

    #[test]
    fn pressure_is_there_or_not() {
        let there = root(&[
            ("proc/pressure/cpu", "some avg10=1.53 avg60=0.87 avg300=0.73 total=1\n"),
            ("proc/pressure/memory", ""),
        ]);
        assert_eq!(told(&pressure(there.path())), "Ok cpu waits 1.53 % of the time");
        assert_eq!(pressure(root(&[]).path()).finding, Finding::Warn);
    }

    #[test]
    fn a_clock_may_be_off_by_what_an_answer_takes() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds);
        let told =
            |seconds| clock("Sun, 06 Nov 1994 08:49:37 GMT", at(seconds)).map(|check| told(&check));
        assert_eq!(told(1), Some("Ok 1s from the manager's".to_owned()));
        assert_eq!(told(90), Some("Warn 1m 30s from the manager's".to_owned()));
        assert_eq!(clock("yesterday", at(0)), None);
    }

    #[tokio::test]
    async fn a_silent_database_is_told_without_its_password() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("bound").port();
        let url = format!("postgres://ebb:geheim@127.0.0.1:{port}/ebb");
        assert_eq!(database(None, Some(url.clone())).await.finding, Finding::Ok);
        drop(free);
        let check = database(None, Some(url)).await;
        assert_eq!(check.finding, Finding::Fail);
        assert!(!format!("{check:?}").contains("geheim"), "{check:?}");
    }

    #[test]
    fn one_failure_spoils_it_and_a_warning_does_not() {
        let warn = Check::warn("a", "b", "c");
        assert!(Diagnosis::new(vec![Check::ok("x", "y"), warn.clone()]).ok);
        assert!(!Diagnosis::new(vec![warn, Check::fail("a", "b", "c")]).ok);
    }
}
