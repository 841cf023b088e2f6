//! One commit, wall time. SQLite's file is in memory where the machine has such a folder, so that
//! its figure is CPU time; Postgres (`EBB_TEST_POSTGRES_URL`) includes its fsync.

#![expect(clippy::unwrap_used, reason = "a bench stops at its first failure")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use model::{
    After, AttemptEnd, Change, Counters, JobId, JobSpec, LogPart, NodeId, Outcome, Phase,
    Placement, Task, TaskId, TaskResult, TaskState, Timestamp, World,
};
use store::{Batch, Committed, Store};
use tokio::runtime::Runtime;

const TASKS: u32 = 1_000;

struct Bench {
    store: Store,
    world: World,
    next_job: u64,
}

impl Bench {
    async fn open(url: &str) -> Self {
        let store = Store::open(url).await.unwrap();
        let now = Timestamp::from_ms(1_790_000_000_000);
        store.acquire("bench", "http://bench", 600_000, now).await.unwrap().unwrap();
        let world = World::new(store.load().await.unwrap());
        Self { store, world, next_job: u64::from(rand_start()) << 20 }
    }

    fn submit(&mut self, tasks: u32) -> (JobId, Change) {
        self.next_job += 1;
        let job = JobId::from_number(self.next_job);
        let document = serde_json::json!({
            "name": "bench",
            "group": [{ "count": tasks, "command": ["sh", "-c", "true"] }],
        });
        let spec = Arc::new(JobSpec::parse(&document).unwrap());
        let at = self.world.durable.head.now;
        (job, Change::JobSubmitted { job, spec, at, taken_in: true })
    }

    fn batch(&mut self, changes: &[Change]) -> Batch {
        for change in changes {
            self.world.apply(change);
        }
        self.world.durable.head.seq += 1;
        self.world.durable.head.now = self.world.durable.head.now.plus_ms(10);
        Batch::collect(&self.world, changes)
    }

    async fn commit(&mut self, changes: &[Change]) -> Duration {
        let begin = Instant::now();
        let batch = self.batch(changes);
        let committed = self.store.commit(&batch).await;
        assert!(matches!(committed, Committed::Committed), "{committed:?}");
        begin.elapsed()
    }
}

/// Another part of the ids for each run on one database.
fn rand_start() -> u32 {
    std::process::id()
}

fn placed(task: TaskId) -> Change {
    let node = NodeId::from_number(u64::from(task.index % 50));
    let at = Timestamp::from_ms(1_790_000_000_000);
    let started = Some(at);
    let placement = Placement { node, assigned: at, started, phase: Phase::Admitted };
    let state = TaskState::Placed(placement);
    let entry = Task { state, attempt: 1, counters: Counters::default() };
    Change::Placed { attempt: task.attempt(1), task: entry }
}

fn ended(change: &Change) -> Change {
    let Change::Placed { attempt, task } = change else { panic!("{change:?}") };
    let result = TaskResult {
        outcome: Outcome::Exited { code: 0 },
        run_ms: 3,
        stdout: LogPart { size_bytes: 16, text: Some("sixteen letters\n".into()) },
        stderr: LogPart::default(),
        outputs: Vec::new(),
        message: None,
    };
    Change::Ended {
        attempt: *attempt,
        placement: *task.placement().unwrap(),
        end: AttemptEnd::Succeeded,
        at: Timestamp::from_ms(1_790_000_000_100),
        after: After::Succeeded,
        result: Some(Box::new(result)),
    }
}

/// Of each commit: 1,000 tasks are placed, and the 1,000 of the commit before end.
async fn turnover(bench: &mut Bench, commits: u64) -> Duration {
    let (job, submit) = bench.submit(TASKS * 1_000);
    bench.commit(&[submit]).await;
    let mut spent = Duration::ZERO;
    let mut running: Vec<Change> = Vec::new();
    for commit in 0..=commits {
        let first = u32::try_from(commit % 1_000).unwrap() * TASKS;
        let place = |index| placed(TaskId { job, group: 0, index });
        let next: Vec<Change> = (first..first + TASKS).map(place).collect();
        let changes: Vec<Change> = running.iter().map(ended).chain(next.iter().cloned()).collect();
        let time = bench.commit(&changes).await;
        // The first commit ends nothing.
        if commit > 0 {
            spent += time;
        }
        running = next;
    }
    spent
}

/// Single jobs that a commit has gathered.
async fn submits(bench: &mut Bench, commits: u64, jobs: u32) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..commits {
        let changes: Vec<Change> = (0..jobs).map(|_| bench.submit(1).1).collect();
        spent += bench.commit(&changes).await;
    }
    spent
}

fn commits(criterion: &mut Criterion) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let mut databases = vec![("sqlite", format!("sqlite:{}/ebb.db", folder.path().display()))];
    if let Ok(url) = std::env::var("EBB_TEST_POSTGRES_URL") {
        databases.push(("postgres", url));
    }
    let runtime = Runtime::new().unwrap();
    for (name, url) in databases {
        let mut bench = runtime.block_on(Bench::open(&url));
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        group.bench_function("1000 placed + 1000 ended", |bencher| {
            bencher.iter_custom(|commits| runtime.block_on(turnover(&mut bench, commits)));
        });
        for jobs in [1, 16, 1_000] {
            group.bench_function(format!("{jobs} jobs submitted"), |bencher| {
                bencher.iter_custom(|commits| runtime.block_on(submits(&mut bench, commits, jobs)));
            });
        }
        group.bench_function("collecting 1000 placed", |bencher| {
            let (job, submit) = bench.submit(TASKS);
            let place = |index| placed(TaskId { job, group: 0, index });
            let changes: Vec<Change> = (0..TASKS).map(place).collect();
            let mut world = bench.world.clone();
            world.apply(&submit);
            changes.iter().for_each(|change| world.apply(change));
            bencher.iter(|| Batch::collect(&world, &changes));
        });
        group.finish();
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
