//! Databases of one's own, and a small leader.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Change, Durable, JobId, JobSpec, NodeId, TaskId, Timestamp, World};
use store::{Batch, Committed, Store};
use tempfile::TempDir;

/// An empty database.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) url: String,
    postgres: Option<(String, String)>,
    _folder: Option<TempDir>,
}

pub(crate) fn admin_url() -> String {
    std::env::var("EBB_TEST_POSTGRES_URL").expect(
        "EBB_TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a Postgres, or set \
         it to the URL of a server on which these tests may create databases",
    )
}

impl Database {
    pub(crate) async fn sqlite() -> Self {
        Self::sqlite_at(tempfile::tempdir().unwrap()).await
    }

    /// On a file system in memory where there is one: for tests that commit thousands of times.
    pub(crate) async fn sqlite_in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::sqlite_at(folder.unwrap()).await
    }

    async fn sqlite_at(folder: TempDir) -> Self {
        let url = format!("sqlite:{}", folder.path().join("ebb.db").display());
        let store = Store::open(&url).await.unwrap();
        Self { store, url, postgres: None, _folder: Some(folder) }
    }

    pub(crate) async fn postgres() -> Self {
        let admin = admin_url();
        let name = format!("ebb_test_{:016x}", getrandom::u64().unwrap());
        run(&admin, &format!("CREATE DATABASE {name}")).await;
        let url = with_database(&admin, &name);
        let store = Store::open(&url).await.unwrap();
        Self { store, url, postgres: Some((admin, name)), _folder: None }
    }

    /// Its file, of SQLite, which outlives the store.
    pub(crate) fn into_folder(self) -> Option<TempDir> {
        self._folder
    }

    /// A number that a statement of the test's own making gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        use sqlx::{AssertSqlSafe, Connection};
        if self.postgres.is_some() {
            let mut raw = sqlx::PgConnection::connect(&self.url).await.unwrap();
            return sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
                .fetch_one(&mut raw)
                .await
                .unwrap();
        }
        let options = sqlx::sqlite::SqliteConnectOptions::new();
        let options = options.filename(self.url.strip_prefix("sqlite:").unwrap());
        let mut raw = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut raw).await.unwrap()
    }

    /// Tests that fail leave theirs behind, to be looked at.
    pub(crate) async fn drop(self) {
        self.store.close().await;
        if let Some((admin, name)) = self.postgres {
            run(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }

    /// Takes the lease and loads, as a manager does.
    pub(crate) async fn lead(&self) -> Leading<'_> {
        let term = self.store.acquire("test", "http://test", 60_000, at(0)).await.unwrap();
        let durable = self.store.load().await.unwrap();
        assert_eq!(Some(durable.head.term), term);
        Leading { store: &self.store, world: World::new(durable) }
    }
}

/// Runs one statement of the test's own making.
pub(crate) async fn run(url: &str, sql: &str) {
    use sqlx::{AssertSqlSafe, Connection, Executor};
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}

fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, "sslmode=disable"));
    let (_, host) = base.split_once("://").unwrap();
    let base = match host.find('/') {
        Some(slash) => &base[..base.len() - (host.len() - slash)],
        None => base,
    };
    format!("{base}/{name}?{query}")
}

/// World and database side by side.
pub(crate) struct Leading<'d> {
    pub(crate) store: &'d Store,
    pub(crate) world: World,
}

impl Leading<'_> {
    /// Applies changes and makes their batch.
    pub(crate) fn batch(&mut self, changes: &[Change]) -> Batch {
        for change in changes {
            self.world.apply(change);
        }
        self.world.durable.head.seq += 1;
        self.world.durable.head.now = self.world.durable.head.now.plus_ms(10);
        Batch::collect(&self.world, changes)
    }

    /// Commits, and expects to load what it has.
    pub(crate) async fn commit(&mut self, changes: &[Change]) {
        let batch = self.batch(changes);
        let committed = self.store.commit(&batch).await;
        assert!(matches!(committed, Committed::Committed), "{committed:?} of {changes:?}");
        self.expect_loaded().await;
    }

    pub(crate) async fn expect_loaded(&self) {
        assert_same(&self.store.load().await.unwrap(), &self.world.durable, "load");
    }

    /// Replays the log from its beginning.
    pub(crate) async fn expect_replayed(&self) {
        let head = model::Head { seq: 0, now: at(0), ..self.world.durable.head };
        let mut world = World::new(Durable::new(head));
        loop {
            let entries = self.store.log(world.durable.head.seq, 37).await.unwrap();
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                assert_eq!(entry.seq, world.durable.head.seq + 1, "the log has a gap");
                for change in &entry.changes {
                    world.apply(change);
                }
                world.durable.head.seq = entry.seq;
                world.durable.head.now = entry.at;
            }
        }
        assert_same(&world.durable, &self.world.durable, "replay");
        // A replay sees each job settle, which a leader that took over has not.
        let durable = std::mem::replace(&mut world.durable, self.world.durable.clone());
        let again = crate::histories::seen_again(World::new(durable), &self.world).index;
        (world.index.queue, world.index.blocked) = (again.queue, again.blocked);
        assert_eq!(world.index, self.world.index);
    }
}

/// Part by part, so that a difference can be read.
pub(crate) fn assert_same(found: &Durable, expected: &Durable, context: &str) {
    assert_eq!(found.head, expected.head, "{context}");
    assert_eq!(found.backlog, expected.backlog, "{context}");
    assert_eq!(found.nodes, expected.nodes, "{context}");
    assert_eq!(found.intents, expected.intents, "{context}");
    assert_eq!(found.notices, expected.notices, "{context}");
    assert_eq!(found.jobs.keys().collect::<Vec<_>>(), expected.jobs.keys().collect::<Vec<_>>());
    for (id, job) in &expected.jobs {
        assert_eq!(found.jobs.get(id), Some(job), "{context}, {id}");
    }
    assert_eq!(found, expected, "{context}");
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

pub(crate) fn job_id(number: u64) -> JobId {
    JobId::from_number(number)
}

pub(crate) fn node_id(number: u64) -> NodeId {
    NodeId::from_number(number)
}

pub(crate) fn task_id(job: u64, group: u16, index: u32) -> TaskId {
    TaskId { job: job_id(job), group, index }
}

/// A job of groups of these sizes.
pub(crate) fn job(name: &str, counts: &[u32]) -> Arc<JobSpec> {
    labelled(name, counts, &[])
}

pub(crate) fn labelled(name: &str, counts: &[u32], labels: &[(&str, &str)]) -> Arc<JobSpec> {
    let groups: Vec<serde_json::Value> = counts
        .iter()
        .map(|count| serde_json::json!({ "count": count, "command": ["true"] }))
        .collect();
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    let document = serde_json::json!({ "name": name, "labels": labels, "group": groups });
    Arc::new(JobSpec::parse(&document).unwrap())
}
