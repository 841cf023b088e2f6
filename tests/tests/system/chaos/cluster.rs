//! The cluster: two managers, each behind a proxy, and static workers beside the market's machines.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::history::{Left, Record};
use nix::sys::signal::Signal;
use serde_json::json;
use system_tests::{Database, Dice, Proxy, Rest, Scratch, Server, Worker, processes, until};

use super::Log;

/// Of a thousand connections, so many are mistreated.
const MISCHIEF: u64 = 250;
/// Below what the system gives to outgoing connections: while a manager is away, no connection of
/// the proxy may sit on its port.
const PORTS: std::ops::Range<u64> = 20_000..30_000;
pub(crate) const STATICS: [&str; 2] = ["s0", "s1"];

/// A manager's place; its process comes and goes.
struct Slot {
    data: PathBuf,
    listen: SocketAddr,
    server: Option<Server>,
}

pub(crate) struct Cluster {
    scratch: Scratch,
    slots: Vec<Slot>,
    proxies: Vec<Proxy>,
    workers: Vec<Option<Worker>>,
    token: String,
    join_token: String,
}

impl Cluster {
    pub(crate) async fn start(dice: &Dice) -> Self {
        let scratch = Scratch::new(Database::Postgres);
        let mut own = dice.fork(1);
        let slots: Vec<_> = (0..2)
            .map(|at| Slot {
                data: scratch.path().join(format!("manager-{at}")),
                listen: free_port(&mut own),
                server: None,
            })
            .collect();
        let mut proxies = Vec::new();
        for at in 0..2 {
            let behind = vec![slots[at].listen, slots[1 - at].listen];
            let whose = u64::try_from(at).unwrap_or(0);
            proxies.push(Proxy::start(behind, dice.fork(10 + whose), MISCHIEF).await);
        }
        let mut cluster = Self {
            scratch,
            slots,
            proxies,
            workers: vec![None, None],
            token: String::new(),
            join_token: String::new(),
        };
        std::fs::create_dir(cluster.runs()).expect("a folder");
        cluster.start_manager(0).await;
        cluster.token = cluster.token_of(0);
        let rest = cluster.direct();
        let made = until("a join token is made", async || {
            let request = json!({ "purpose": "join", "uses": 10_000 });
            rest.try_post("/v1/tokens", &request).await.filter(|(status, _)| *status == 201)
        })
        .await;
        cluster.join_token = made.1["token"].as_str().expect("a token").to_owned();
        cluster.start_manager(1).await;
        for at in 0..STATICS.len() {
            cluster.start_worker(at);
        }
        cluster
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Where tasks write down their runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.path().join("runs")
    }

    /// The ways in that clients use.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.proxies.iter().map(Proxy::url).collect()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The first manager that runs, without a proxy between.
    pub(crate) fn direct(&self) -> Rest {
        let slot = self.slots.iter().find(|slot| slot.server.is_some()).expect("one runs");
        Rest::new(&format!("http://{}", slot.listen), &self.token)
    }

    fn token_of(&self, at: usize) -> String {
        let server = self.slots[at].server.as_ref().expect("it was started");
        server.rest().token().to_owned()
    }

    pub(crate) fn calm(&self) {
        for proxy in &self.proxies {
            proxy.calm();
        }
    }

    pub(crate) fn mistreated(&self) -> String {
        let all: Vec<_> = self.proxies.iter().map(Proxy::mistreated).collect();
        format!(
            "connections: {} dropped, {} delayed, {} half-closed",
            all.iter().map(|it| it.dropped).sum::<u64>(),
            all.iter().map(|it| it.delayed).sum::<u64>(),
            all.iter().map(|it| it.half_closed).sum::<u64>()
        )
    }

    pub(crate) async fn start_manager(&mut self, at: usize) {
        let shared = self.path().join("shared");
        let (shared, url) = (shared.to_str().expect("text"), self.proxies[at].url());
        let arguments =
            ["manager", "--cloud", "market", "--shared-dir", shared, "--public-url", &url];
        let slot = &self.slots[at];
        let server = self.scratch.replica(&slot.data, slot.listen, &arguments).await;
        self.slots[at].server = Some(server);
    }

    pub(crate) fn kill_manager(&mut self, at: usize) -> bool {
        let server = self.slots[at].server.take();
        server.map(Server::kill).is_some()
    }

    pub(crate) fn manager_pid(&self, at: usize) -> Option<i32> {
        self.slots[at].server.as_ref().map(Server::pid)
    }

    pub(crate) fn start_worker(&mut self, at: usize) {
        let objects = self.path().join("shared/objects");
        let (url, name) = (self.proxies[at % self.proxies.len()].url(), STATICS[at]);
        let worker = self.scratch.start_worker(&url, &self.join_token, name, &objects);
        self.workers[at] = Some(worker);
    }

    pub(crate) fn kill_worker(&mut self, at: usize) -> bool {
        self.workers[at].take().map(Worker::kill).is_some()
    }

    /// Static workers that have ended by themselves; they are taken away.
    pub(crate) fn ended_workers(&mut self) -> Vec<usize> {
        let ended = |worker: &mut Option<Worker>| worker.as_mut().is_some_and(|it| !it.runs());
        let at: Vec<_> =
            (0..self.workers.len()).filter(|at| ended(&mut self.workers[*at])).collect();
        for at in &at {
            self.workers[*at] = None;
        }
        at
    }

    /// Processes of this place that have this word and this kind of owner.
    pub(crate) fn that_are(&self, word: &str, machine: bool) -> Vec<i32> {
        let all = self.scratch.processes().into_iter();
        let found = all.filter(|process| process.words.get(1).is_some_and(|it| it == word));
        found.map(|it| it.pid).filter(|pid| machine_of(*pid).is_some() == machine).collect()
    }

    /// Ends what still runs, and notes what does not end.
    pub(crate) async fn end(&mut self, log: &Log, limit: Duration) {
        for worker in self.workers.iter().flatten() {
            worker.signal(Signal::SIGTERM);
        }
        for worker in self.workers.iter_mut().flatten() {
            worker.ended().await;
        }
        for slot in &self.slots {
            if let Some(server) = &slot.server {
                server.signal(Signal::SIGTERM);
            }
        }
        for slot in &mut self.slots {
            if let Some(server) = &mut slot.server {
                server.ended().await;
            }
        }
        let late = tokio::time::Instant::now() + limit;
        while !self.scratch.processes().is_empty() && tokio::time::Instant::now() < late {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let left = self.scratch.processes().into_iter().map(|process| {
            machine_of(process.pid).unwrap_or_else(|| format!("{:?}", process.words))
        });
        log.note(Record::Left(Left { machines: left.collect() }));
    }
}

impl Drop for Cluster {
    /// Copies the history and all logs to where they outlive the test, if that was named.
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os("EBB_CHAOS_KEEP") else { return };
        if std::thread::panicking() {
            let mut copy = std::process::Command::new("cp");
            // A failure to copy must not hide why the test fails.
            let _ = copy.arg("-a").arg(self.path()).arg(&folder).status();
        }
    }
}

/// The market marks the processes of its machines.
fn machine_of(pid: i32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"EBB_MACHINE="))?;
    processes::read(pid)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn free_port(dice: &mut Dice) -> SocketAddr {
    // Not the seed's alone: another run of the same seed may be beside us.
    let mut own = dice.fork(u64::from(std::process::id()));
    dice.throw();
    loop {
        let port = u16::try_from(own.between(PORTS.start, PORTS.end)).expect("a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
