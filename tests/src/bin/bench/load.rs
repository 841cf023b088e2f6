//! A manager and its workers under load, by REST.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use api::client::Client;
use api::view::TaskView;
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use system_tests::{Database, Rest, Scratch, Server, processes, until};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

use crate::machine::{micros, per_second};
use crate::report::{Figures, Machine, Spread};
use crate::{Options, progress};

const CLIENTS: u32 = 16;
/// Connections that only stand there, beside those that submit.
const IDLE: usize = 1_000;
const BULK: usize = 10_000;
const MILLION: u32 = 1_000_000;
/// Of the kernel's accounting, in microseconds.
const TICK_US: u64 = 10_000;

pub(crate) async fn measure(database: Database, options: &Options, machine: &Machine) -> Figures {
    let name = match database {
        Database::Sqlite => "SQLite",
        Database::Postgres => "Postgres",
    };
    let mut figures = Figures { database: name, ..Figures::default() };
    progress(&format!("{name}: no-op process tasks end to end"));
    tasks(database, options.tasks, machine, &mut figures).await;
    progress(&format!("{name}: durable submits"));
    submits(database, options.submits, &mut figures).await;
    progress(&format!("{name}: submit to start"));
    figures.submit_to_start = submit_to_start(database, options.samples).await;
    progress(&format!("{name}: worker killed to start elsewhere"));
    figures.kill_to_start_elsewhere = kills(database, options.kills).await;
    figures
}

/// No-op processes from submit to settled, with outputs, fences and all.
async fn tasks(database: Database, count: u32, machine: &Machine, figures: &mut Figures) {
    let scratch = Scratch::new(database);
    let up = scratch.server(&["up"]).await;
    let warm = up.rest().submit_group(noop(200)).await;
    up.rest().settled(&warm).await;
    let before = cpu_ticks(&scratch);
    let start = Instant::now();
    let job = up.rest().submit_group(noop(count)).await;
    let detail = up.rest().settled_after(&job, u64::from(count)).await;
    let wall = start.elapsed();
    let cpu = cpu_ticks(&scratch).saturating_sub(before) * TICK_US;
    assert_eq!(detail.job.tasks.succeeded, u64::from(count), "all succeed");
    figures.tasks_per_s = per_second(count.into(), wall);
    figures.share_percent = figures.tasks_per_s * 100 / machine.bare_spawns_per_s.max(1);
    figures.cpu_us_per_task = cpu / u64::from(count);
}

fn noop(count: u32) -> Value {
    json!({
        "count": count,
        "command": ["/bin/true"],
        "resources": { "cpu": "250m", "memory": "8MiB" },
    })
}

/// Of the manager, its workers, their tasks and the database, whether they still run or not.
fn cpu_ticks(scratch: &Scratch) -> u64 {
    let mut all: std::collections::BTreeMap<i32, u64> =
        scratch.processes().into_iter().map(|process| (process.pid, process.ticks)).collect();
    if let Some(port) = scratch.database_url().and_then(port_of) {
        let postmaster = processes::all()
            .into_iter()
            .find(|process| process.has_word(&port) && process.words[0].ends_with("postgres"));
        for process in postmaster.into_iter().flat_map(|found| processes::tree(found.pid)) {
            all.insert(process.pid, process.ticks);
        }
    }
    all.values().sum()
}

fn port_of(url: &str) -> Option<String> {
    let (_, rest) = url.rsplit_once(':')?;
    rest.split_once('/').map(|(port, _)| port.to_owned())
}

/// Submits to a manager without any worker, so that nothing but acceptance is measured.
async fn submits(database: Database, count: u32, figures: &mut Figures) {
    let scratch = Scratch::new(database);
    let manager = scratch.server(&["manager"]).await;
    let client = manager.client();
    let one = json!({ "group": [{ "command": ["true"] }] });

    figures.single_submits_per_s = single_submits(&client, &one, count).await;
    let idle = idle_connections(&scratch).await;
    figures.crowded_submits_per_s = single_submits(&client, &one, count).await;
    drop(idle);

    let many = vec![one; BULK];
    let start = Instant::now();
    let accepted = client.submit_many(&many, None).await.expect("accepted");
    assert_eq!(accepted.len(), BULK, "one answer a job");
    figures.bulk_submits_per_s = per_second(BULK as u64, start.elapsed());

    let array = json!({ "group": [noop(MILLION)] });
    let mut samples = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        client.submit(&array, None).await.expect("accepted");
        samples.push(micros(start.elapsed()));
    }
    figures.array_of_a_million_us = Spread::of(samples).median_us;
}

/// One job a request, by clients that wait for each answer; a second.
async fn single_submits(client: &Client, one: &Value, count: u32) -> u64 {
    let next = Arc::new(AtomicU32::new(0));
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (next, client, one) = (Arc::clone(&next), client.clone(), one.clone());
            tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    client.submit(&one, None).await.expect("accepted");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("every submit is accepted");
    }
    per_second(count.into(), start.elapsed())
}

/// Connections that never say anything.
async fn idle_connections(scratch: &Scratch) -> Vec<TcpStream> {
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(scratch.listen()).await.expect("accepted"));
    }
    idle
}

/// Tells when a task has started: tasks write a line into a named pipe.
struct Starts {
    lines: tokio::io::Lines<BufReader<pipe::Receiver>>,
    path: String,
}

impl Starts {
    fn new(folder: &Path) -> Self {
        let path = folder.join("starts");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
        // With a writer of our own it never ends.
        let receiver = pipe::OpenOptions::new().read_write(true).open_receiver(&path);
        let lines = BufReader::new(receiver.expect("opened")).lines();
        Self { lines, path: path.display().to_string() }
    }

    /// One task that tells of its start by its attempt's id, then runs `rest`.
    fn group(&self, rest: &str) -> Value {
        json!({
            "command": ["sh", "-c", format!("echo $EBB_ATTEMPT >{}\n{rest}", self.path)],
            "resources": { "cpu": "500m", "memory": "8MiB" },
        })
    }

    /// The next start that is `wanted`.
    async fn next(&mut self, wanted: &str) {
        let read = async {
            while let Some(line) = self.lines.next_line().await.expect("a pipe") {
                if line == wanted {
                    return;
                }
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, read).await.unwrap_or_else(|_| panic!("no start: {wanted}"));
    }
}

async fn submit_to_start(database: Database, samples: u32) -> Spread {
    let scratch = Scratch::new(database);
    let up = scratch.server(&["up"]).await;
    let mut starts = Starts::new(scratch.path());
    let mut out = Vec::new();
    // The first few fill caches and pools.
    for round in 0..samples + 5 {
        let group = starts.group("");
        let start = Instant::now();
        let job = up.rest().submit_group(group).await;
        starts.next(&format!("{job}.0.0.1")).await;
        let taken = micros(start.elapsed());
        if round >= 5 {
            out.push(taken);
        }
        // Idle again before the next.
        up.rest().settled(&job).await;
    }
    Spread::of(out)
}

/// Kills a worker's whole machine under one short task, until the task starts on the other.
async fn kills(database: Database, count: u32) -> Spread {
    let scratch = Scratch::new(database);
    let manager = scratch.server(&["manager"]).await;
    let mut starts = Starts::new(scratch.path());
    let mut workers = std::collections::BTreeMap::new();
    for number in 0..2 {
        let name = format!("worker-{number}");
        workers.insert(name.clone(), scratch.worker(&manager, &name, "1").await);
    }
    let mut out = Vec::new();
    for number in 0..count {
        let job = manager.rest().submit_group(starts.group("exec sleep 30")).await;
        starts.next(&format!("{job}.0.0.1")).await;
        let name = name_of_node(&manager, &job, &workers.keys().cloned().collect()).await;
        let worker = workers.remove(&name).expect("one of ours");
        let start = Instant::now();
        worker.kill_machine();
        starts.next(&format!("{job}.0.0.2")).await;
        out.push(micros(start.elapsed()));
        assert_eq!(manager.rest().delete(&format!("/v1/jobs/{job}")).await, 202);
        manager.rest().settled(&job).await;
        let name = format!("worker-{}", number + 2);
        workers.insert(name.clone(), scratch.worker(&manager, &name, "1").await);
    }
    Spread::of(out)
}

/// On which worker the job's one task is.
async fn name_of_node(manager: &Server, job: &str, known: &BTreeSet<String>) -> String {
    let rest: &Rest = manager.rest();
    until("the task is on a worker of ours", async || {
        let task: TaskView = rest.try_get(&format!("/v1/tasks/{job}.0.0")).await?;
        let node = task.node?.to_string();
        let nodes = rest.nodes().await;
        let name = nodes.into_iter().find(|known| known.id == node)?.name?;
        known.contains(&name).then_some(name)
    })
    .await
}
