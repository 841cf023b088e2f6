//! `load(commit(changes)) == apply(changes)` over histories that the leader's own step makes of
//! random inputs; and a replay of the log gives the same.
//!
//! `EBB_HISTORIES` says how many a database gets (200), `EBB_HISTORY` that it is this one only.

use control::scenario::Scenario;
use model::{TaskState, TaskStatus, World};
use sqlx::{AssertSqlSafe, Connection, Executor};
use store::{Batch, Committed, JobRecord, RetryOf, TaskRecord};
use tokio::task::JoinSet;

use crate::support::{Database, Leading, assert_same, at};

const STEPS: u32 = 100;
/// Commits between two loads, if not one history is looked at.
const LOAD_EVERY: u32 = 9;
/// Databases at work at once, each emptied between two histories: commits of several share an
/// fsync.
const POSTGRES_WORKERS: u64 = 4;

const TABLES: [&str; 14] = [
    "log",
    "jobs",
    "job_labels",
    "job_after",
    "job_groups",
    "tasks",
    "attempts",
    "nodes",
    "intents",
    "notices",
    "ledger",
    "ledger_sums",
    "inbox",
    "explanations",
];

macro_rules! parts {
    ($($name:ident = $part:literal),*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::on_sqlite($part).await; })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::on_postgres($part).await; })*
        }
    };
}

parts!(part_0 = 0, part_1 = 1, part_2 = 2, part_3 = 3);
/// Of all histories, so that a busy machine has time enough for each.
const PARTS: u64 = 4;

async fn on_sqlite(part: u64) {
    let database = Database::sqlite_in_memory().await;
    let path = database.url.strip_prefix("sqlite:").unwrap();
    let raw = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut raw = sqlx::SqliteConnection::connect_with(&raw).await.unwrap();
    for seed in seeds(part, PARTS) {
        database.lead().await;
        raw.execute(AssertSqlSafe(emptied(seed))).await.unwrap();
        history(&database, seed).await;
    }
}

async fn on_postgres(part: u64) {
    let mut workers = JoinSet::new();
    for worker in 0..POSTGRES_WORKERS {
        workers.spawn(async move {
            let database = Database::postgres().await;
            let mut raw = sqlx::PgConnection::connect(&database.url).await.unwrap();
            for seed in seeds(part + PARTS * worker, PARTS * POSTGRES_WORKERS) {
                database.lead().await;
                raw.execute(AssertSqlSafe(emptied(seed))).await.unwrap();
                history(&database, seed).await;
            }
            raw.close().await.unwrap();
            database.drop().await;
        });
    }
    workers.join_all().await;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Those that leave this remainder.
fn seeds(remainder: u64, divisor: u64) -> Vec<u64> {
    let all = match number("EBB_HISTORY") {
        Some(only) => only..only + 1,
        None => 0..number("EBB_HISTORIES").unwrap_or(200),
    };
    all.filter(|seed| seed % divisor == remainder).collect()
}

/// A new cluster of this seed.
fn emptied(seed: u64) -> String {
    let mut sql: Vec<String> = TABLES.iter().map(|table| format!("DELETE FROM {table}")).collect();
    sql.push(format!("UPDATE head SET seq = 0, now_ms = 0, seed = {seed}, cluster = {seed}"));
    sql.join("; ")
}

async fn history(database: &Database, seed: u64) {
    let mut scenario = Scenario::new(seed);
    scenario.take_over(database.store.load().await.unwrap());
    let mut commits = 0;
    for step in 0..STEPS {
        let context = || format!("history {seed}, step {step}");
        let decision = scenario.advance();
        if decision.changes.is_empty() {
            continue;
        }
        let batch = Batch::collect(&scenario.world, &decision.changes);
        let committed = database.store.commit(&batch).await;
        assert!(matches!(committed, Committed::Committed), "{}: {committed:?}", context());
        commits += 1;
        if commits % LOAD_EVERY == 0 || step + 1 == STEPS || number("EBB_HISTORY").is_some() {
            let loaded = database.store.load().await.unwrap();
            assert_same(&loaded, &scenario.world.durable, &context());
            // What World derives of it is the same as what it derived on the way.
            let mut rebuilt = World::new(loaded.clone());
            for (job, status) in &scenario.world.observed.settled {
                rebuilt.observe_settled(*job, *status);
            }
            assert_eq!(rebuilt.index, scenario.world.index, "{}", context());
            if commits % 5 == 0 {
                scenario.take_over(loaded);
            }
        }
    }
    assert!(scenario.world.durable.head.now > at(0), "history {seed} did nothing");
    let leading = Leading { store: &database.store, world: scenario.world };
    leading.expect_replayed().await;
    if seed.is_multiple_of(8) {
        jobs_add_up(database).await;
    }
}

/// With the settled jobs that the other one has seen: what waits for them follows from that, too.
pub(crate) fn seen_again(mut world: World, other: &World) -> World {
    for (job, status) in &other.observed.settled {
        world.observe_settled(*job, *status);
    }
    world
}

/// Whatever a job has been through, each of its tasks is counted and listed once.
async fn jobs_add_up(database: &Database) {
    let filter = store::JobFilter { limit: 1_000, ..store::JobFilter::default() };
    for job in database.store.jobs(&filter).await.unwrap() {
        let mut counted =
            model::TaskCounts { total: job.tasks.total, ..model::TaskCounts::default() };
        let page = database.store.tasks(job.id, &crate::commits::page()).await.unwrap().unwrap();
        for task in &page {
            use model::TaskStatus as Status;
            *match task.status {
                Status::Waiting => &mut counted.waiting,
                Status::Backoff => &mut counted.backoff,
                Status::Assigned => &mut counted.assigned,
                Status::Running => &mut counted.running,
                Status::Leaving => &mut counted.leaving,
                Status::Succeeded => &mut counted.succeeded,
                Status::Failed => &mut counted.failed,
                Status::Cancelled => &mut counted.cancelled,
            } += 1;
        }
        assert_eq!(counted, job.tasks, "{}", job.id);
        if job.status.is_settled() {
            assert_eq!(
                job.tasks.succeeded + job.tasks.failed + job.tasks.cancelled,
                job.tasks.total,
                "{} settled as {}",
                job.id,
                job.status
            );
            comes_back_whole(database, &job, &page).await;
        }
    }
}

/// As it would come back, each task that did not succeed is one that runs again, under a number
/// that it has not had; and of each task one attempt settles it at most.
async fn comes_back_whole(database: &Database, job: &JobRecord, tasks: &[TaskRecord]) {
    let found = database.store.settled_job(job.id, RetryOf::Unsuccessful).await.unwrap().unwrap();
    assert_eq!(found.tasks, job.tasks.failed + job.tasks.cancelled, "{}", job.id);
    for task in tasks.iter().filter(|task| task.status != TaskStatus::Succeeded) {
        let entry = found.groups[usize::from(task.id.group)].tasks.get(&task.id.index);
        let attempt = entry.map_or(0, |entry| entry.attempt);
        assert_eq!(attempt, task.attempt, "{}", task.id);
        assert!(entry.is_none_or(|entry| entry.state == TaskState::Ready), "{}", task.id);
    }
    let results = database.store.results(job.id, None, 1_000).await.unwrap();
    let mut settled: Vec<_> = results.iter().map(|result| result.id.task).collect();
    settled.dedup();
    assert_eq!(settled.len(), results.len(), "{}: a task is settled twice", job.id);
}
