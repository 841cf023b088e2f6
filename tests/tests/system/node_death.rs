//! Death on the node: of the digester, of the spawner, of both, of the whole machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{JobStatus, TaskStatus};
use nix::sys::signal::Signal;
use serde_json::json;
use system_tests::{Database, Scratch, Server, until};

use crate::work::Work;

/// Longer than a digester's restart takes on a busy machine.
const RESTART: Duration = Duration::from_secs(4);

struct Scene {
    scratch: Scratch,
    work: Work,
    manager: Server,
}

async fn scene() -> Scene {
    let scratch = Scratch::new(Database::Sqlite);
    let work = Work::new(&scratch);
    let manager = scratch.server(&["manager"]).await;
    Scene { scratch, work, manager }
}

fn spawners(scratch: &Scratch) -> Vec<system_tests::processes::Process> {
    scratch.processes().into_iter().filter(|process| process.has_word("spawner")).collect()
}

#[tokio::test]
async fn exit_codes_survive_the_digester() {
    let Scene { scratch, work, manager } = scene().await;
    let worker = scratch.worker(&manager, "w1", "4").await;
    let mut group = work.group(8, 1);
    let script = group["command"][2].as_str().expect("text").to_owned();
    group["command"][2] = json!(format!("{script}; exit $((EBB_TASK_INDEX % 2 * 7))"));
    group["restart"] = json!({ "max_failures": 0 });
    let job = manager.rest().submit_group(group).await;
    work.started(8).await;
    // A closed connection moves an attempt once it is away for as long as it had run: these must
    // have run for longer than the digester's restart takes.
    let started = Instant::now();
    until("they are older than a restart takes", async || {
        (started.elapsed() > RESTART).then_some(())
    })
    .await;

    worker.signal(Signal::SIGKILL);
    // They end while no digester is there to see it.
    work.open();
    until("the tasks end", async || {
        let tasks = scratch.processes().into_iter().filter(|process| process.has_word("sh"));
        (tasks.count() == 0).then_some(())
    })
    .await;
    let _worker = scratch.worker(&manager, "w1", "4").await;
    let detail = manager.rest().settled(&job).await;
    assert_eq!((detail.job.tasks.succeeded, detail.job.tasks.failed), (4, 4), "{detail:#?}");
    for task in manager.rest().tasks(&job).await {
        let (status, code) = match task.id.index % 2 {
            0 => (TaskStatus::Succeeded, 0),
            _ => (TaskStatus::Failed, 7),
        };
        assert_eq!((task.status, task.exit_code), (status, Some(code)), "{task:#?}");
    }
    assert!(work.starts().values().all(|times| *times == 1), "{:?}", work.starts());
}

#[tokio::test]
async fn tasks_of_a_dead_spawner_settle_and_are_not_blamed() {
    let Scene { scratch, work, manager } = scene().await;
    let _worker = scratch.worker(&manager, "w1", "4").await;
    let job = manager.rest().submit_group(work.group(8, 1)).await;
    work.started(8).await;
    let before = spawners(&scratch);
    assert!(!before.is_empty(), "a spawner runs");
    for spawner in before {
        spawner.signal(Signal::SIGKILL);
    }
    work.open();
    settles_without_blame(&manager, &job, 8).await;
}

#[tokio::test]
async fn tasks_of_a_dead_digester_and_spawner_are_run_again_and_not_blamed() {
    let Scene { scratch, work, manager } = scene().await;
    let worker = scratch.worker(&manager, "w1", "4").await;
    let job = manager.rest().submit_group(work.group(8, 1)).await;
    work.started(8).await;
    worker.signal(Signal::SIGKILL);
    for spawner in spawners(&scratch) {
        spawner.signal(Signal::SIGKILL);
    }
    work.open();
    let _worker = scratch.worker(&manager, "w1", "4").await;
    settles_without_blame(&manager, &job, 8).await;
}

async fn settles_without_blame(manager: &Server, job: &str, tasks: u64) {
    let detail = manager.rest().settled(job).await;
    assert_eq!(detail.job.status, JobStatus::Succeeded, "{detail:#?}");
    assert_eq!(detail.job.tasks.succeeded, tasks);
    for task in manager.rest().tasks(job).await {
        assert_eq!((task.counters.failed, task.counters.timed_out), (0, 0), "{task:#?}");
    }
}

#[tokio::test]
async fn short_tasks_of_a_dead_worker_run_elsewhere() {
    let Scene { scratch, work, manager } = scene().await;
    let mut workers = BTreeMap::new();
    for name in ["w1", "w2"] {
        workers.insert(name.to_owned(), scratch.worker(&manager, name, "2").await);
    }
    let job = manager.rest().submit_group(work.group(20, 1)).await;
    work.started(20).await;
    // Either of them could take all: kill the one that runs most, so that the other has room.
    let nodes = manager.rest().nodes().await;
    let busiest = nodes.into_iter().max_by_key(|node| node.running).expect("two nodes");
    let victim = busiest.name.and_then(|name| workers.remove(&name)).expect("one of ours");
    victim.kill_machine();
    let lost = usize::try_from(busiest.running).expect("few");
    until("what ran there starts elsewhere", async || {
        let again = work.starts().values().filter(|times| **times > 1).count();
        (again == lost).then_some(())
    })
    .await;
    work.open();
    settles_without_blame(&manager, &job, 20).await;
    for task in manager.rest().tasks(&job).await {
        let times = work.starts()[&task.id.index];
        assert_eq!(u32::from(task.counters.node_lost), times - 1, "{task:#?}");
    }
}
