//! Death on the node: of the digester, of the spawner, of both, of the whole machine.

use model::{JobStatus, TaskStatus};
use nix::sys::signal::Signal;
use serde_json::json;
use system_tests::{Database, Scratch, Server, until};

use crate::work::Work;

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
async fn tasks_of_a_dead_spawner_are_run_again_and_not_blamed() {
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
    let first = scratch.worker(&manager, "w1", "2").await;
    let _second = scratch.worker(&manager, "w2", "2").await;
    let job = manager.rest().submit_group(work.group(40, 1)).await;
    work.started(40).await;
    first.kill_machine();
    let lost = until("lost tasks start elsewhere", async || {
        let again = work.starts().values().filter(|times| **times > 1).count();
        (again > 0).then_some(again)
    })
    .await;
    work.open();
    settles_without_blame(&manager, &job, 40).await;
    let counted: u32 = manager
        .rest()
        .tasks(&job)
        .await
        .iter()
        .map(|task| u32::from(task.counters.node_lost))
        .sum();
    assert!(counted as usize >= lost, "{lost} ran again, {counted} are counted as lost");
}
