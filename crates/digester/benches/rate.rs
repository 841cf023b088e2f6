//! Short processes a second: bare, through the spawner alone, and through a whole digester with a
//! manager that keeps nothing. `cargo bench -p digester`.

#[path = "../tests/it/fake.rs"]
#[expect(dead_code, clippy::unwrap_used, clippy::panic, reason = "the tests use the rest")]
mod fake;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use model::Transition;
use serde_json::{Value, json};

type Fault = Box<dyn std::error::Error>;

const TASKS: u32 = 3_000;
/// In flight at a time: what a node of two cores with tasks of 0.1 cores admits.
const AT_ONCE: u32 = 20;

fn main() -> Result<(), Fault> {
    for _ in 0..3 {
        let bare = rate(bare()?);
        let spawner = rate(spawner()?);
        let (took, cpu) = digester()?;
        let digester = rate(took);
        let share = |rate: u64| rate * 100 / bare.max(1);
        #[expect(clippy::print_stdout, reason = "a benchmark's result")]
        {
            println!(
                "bare {bare}/s, spawner {spawner}/s ({} %), digester {digester}/s ({} %); \
                 cpu a task: digester {} us, spawner {} us without its children's",
                share(spawner),
                share(digester),
                cpu[0],
                cpu[1],
            );
        }
    }
    Ok(())
}

fn rate(took: Duration) -> u64 {
    u64::from(TASKS) * 1_000_000 / u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// `posix_spawn` and wait, in this thread, so many at a time.
fn bare() -> Result<Duration, Fault> {
    let begun = Instant::now();
    let mut running = std::collections::VecDeque::new();
    for _ in 0..TASKS {
        if running.len() >= usize::try_from(AT_ONCE)? {
            let oldest: Option<std::process::Child> = running.pop_front();
            oldest.map(|mut child| child.wait()).transpose()?;
        }
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        running.push_back(command.process_group(0).spawn()?);
    }
    for mut child in running {
        child.wait()?;
    }
    Ok(begun.elapsed())
}

fn spawner() -> Result<Duration, Fault> {
    let dir = tempfile::tempdir()?;
    let attempts = dir.path().join("attempts");
    std::fs::create_dir(&attempts)?;
    let socket = dir.path().join("socket");
    let mut child = Command::new(env!("CARGO_BIN_EXE_digester-test-helper"))
        .arg("spawner")
        .arg("--socket")
        .arg(&socket)
        .arg("--dir")
        .arg(dir.path())
        .arg("--attempts")
        .arg(&attempts)
        .args(["--orphan-after-ms", "10000"])
        .spawn()?;
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut stream = UnixStream::connect(&socket)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    lines.next();
    let begun = Instant::now();
    let (mut sent, mut ended) = (0, 0);
    while ended < TASKS {
        let room = (AT_ONCE - (sent - ended)).min(TASKS - sent);
        if room > 0 {
            let launches: Vec<Value> = (sent..sent + room).map(|n| launch(n, &attempts)).collect();
            stream.write_all(format!("{}\n", json!({ "spawn": launches })).as_bytes())?;
            sent += room;
        }
        let said: Value = serde_json::from_str(&lines.next().ok_or("the spawner is gone")??)?;
        let Some(exits) = said.get("exited").and_then(Value::as_array) else { continue };
        ended += u32::try_from(exits.len())?;
        let ids: Vec<&Value> = exits.iter().map(|exit| &exit[0]).collect();
        stream.write_all(format!("{}\n", json!({ "forget": ids })).as_bytes())?;
    }
    let took = begun.elapsed();
    stream.write_all(b"\"quit\"\n")?;
    child.wait()?;
    Ok(took)
}

fn launch(index: u32, attempts: &Path) -> Value {
    let attempt = fake::attempt(0, index).to_string();
    // Folders serve again, as a digester lets them.
    let dir = attempts.join((index % 40).to_string());
    json!({
        "attempt": attempt, "command": ["true"], "dir": dir, "workdir": null, "out": false,
        "env": [["PATH", "/usr/bin:/bin"], ["EBB_ATTEMPT", attempt],
                ["EBB_DEADLINE_FILE", dir.join("deadline")]],
    })
}

#[tokio::main(flavor = "current_thread")]
async fn digester() -> Result<(Duration, [u64; 2]), Fault> {
    let manager = fake::Manager::start().await;
    let node = fake::Node::start(&manager, &["--regulator", &format!("slots:{AT_ONCE}")]);
    manager.until("the first poll", |book| book.polls.first().map(|_| ())).await;
    let begun = Instant::now();
    let spec = json!({"command": ["true"], "resources": {"memory": "1MiB"}});
    manager.assign(0, 0..TASKS, spec);
    // Once is enough: this is not what is measured.
    manager.until("they are given", |book| (book.polls.len() > 1).then_some(())).await;
    manager.set(|book| book.assign.clear());
    let (mut seen, mut ended) = (0, 0);
    manager
        .until("all ended", move |book| {
            let fresh = &book.transitions[seen..];
            seen = book.transitions.len();
            ended += fresh.iter().filter(|one| matches!(one, Transition::Ended { .. })).count();
            (ended >= TASKS as usize).then_some(())
        })
        .await;
    let took = begun.elapsed();
    let spawner = node.spawners().pop().ok_or("no spawner")?;
    let cpu = [cpu_us(node.digester_pid())?, cpu_us(spawner)?].map(|us| us / u64::from(TASKS));
    drop(node);
    Ok((took, cpu))
}

/// What a process has used: user and system time, in ticks of 10 ms.
fn cpu_us(pid: u32) -> Result<u64, Fault> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').ok_or("no stat")?;
    let times = fields.split_ascii_whitespace().skip(11).take(2);
    Ok(times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000)
}
