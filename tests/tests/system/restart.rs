//! `kill -9` of the manager: what was accepted is settled once, what runs goes on running.

use model::JobStatus;
use nix::sys::signal::Signal;
use serde_json::json;
use system_tests::{Database, Scratch, until};

use crate::work::Work;

const TASKS: u32 = 500;

async fn killed_manager_loses_nothing(database: Database) {
    let scratch = Scratch::new(database);
    let work = Work::new(&scratch);
    let manager = scratch.server(&["manager"]).await;
    let _worker = scratch.worker(&manager, "w1", "4").await;
    let job = manager.rest().submit_group(work.group(TASKS, 25)).await;
    work.started(100).await;
    assert!(work.starts().len() < TASKS as usize, "killed in the midst");
    manager.kill();
    // What waited ends while nobody leads; the worker keeps what it has to report.
    work.open();

    let manager = scratch.server(&["manager"]).await;
    let detail = manager.rest().settled(&job).await;
    assert_eq!(detail.job.status, JobStatus::Succeeded, "{detail:#?}");
    assert_eq!(detail.job.tasks.succeeded, u64::from(TASKS));
    let starts = work.starts();
    assert_eq!(starts.len(), TASKS as usize);
    let twice: Vec<_> = starts.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "started more than once: {twice:?}");
    for task in manager.rest().tasks(&job).await {
        assert_eq!(task.attempt, 1, "{task:#?}");
    }
}

#[tokio::test]
async fn a_killed_manager_loses_nothing_sqlite() {
    killed_manager_loses_nothing(Database::Sqlite).await;
}

#[tokio::test]
async fn a_killed_manager_loses_nothing_postgres() {
    killed_manager_loses_nothing(Database::Postgres).await;
}

async fn killed_up_settles_each_task_once(database: Database) {
    let scratch = Scratch::new(database);
    let work = Work::new(&scratch);
    let up = scratch.server(&["up"]).await;
    let job = up.rest().submit_group(work.group(TASKS, 100)).await;
    work.started(100).await;
    up.kill();
    work.open();

    let up = scratch.server(&["up"]).await;
    let detail = up.rest().settled(&job).await;
    assert_eq!(detail.job.status, JobStatus::Succeeded, "{detail:#?}");
    assert_eq!(detail.job.tasks.succeeded, u64::from(TASKS));
    let settling = settling_attempts(&up, &job).await;
    assert_eq!(settling, u64::from(TASKS), "each task settled once");
    let again = work.starts().values().filter(|times| **times > 1).count();
    assert_eq!(again, 0, "the spawner outlives `ebb up`, so nothing is run again");
}

/// How many attempts of a job say that they settled their task.
async fn settling_attempts(up: &system_tests::Server, job: &str) -> u64 {
    let mut settling = 0;
    for task in up.rest().tasks(job).await {
        let page: api::view::Page<api::view::AttemptView> =
            up.rest().get(&format!("/v1/tasks/{}/attempts", task.id)).await;
        settling += page.items.iter().filter(|attempt| attempt.settles).count() as u64;
    }
    settling
}

#[tokio::test]
async fn a_killed_up_settles_each_task_once_sqlite() {
    killed_up_settles_each_task_once(Database::Sqlite).await;
}

#[tokio::test]
async fn a_killed_up_settles_each_task_once_postgres() {
    killed_up_settles_each_task_once(Database::Postgres).await;
}

#[tokio::test]
async fn a_terminated_up_leaves_no_process_and_no_loss() {
    let scratch = Scratch::new(Database::Sqlite);
    let work = Work::new(&scratch);
    let mut up = scratch.server(&["up"]).await;
    let job = up.rest().submit_group(work.group(20, 1)).await;
    work.started(1).await;
    up.signal(Signal::SIGTERM);
    assert!(up.ended().await.success());
    until("nothing is left", async || scratch.processes().is_empty().then_some(())).await;

    work.open();
    let up = scratch.server(&["up"]).await;
    let detail = up.rest().settled(&job).await;
    assert_eq!(detail.job.status, JobStatus::Succeeded, "{detail:#?}");
    for task in up.rest().tasks(&job).await {
        assert_eq!(task.counters.failed, 0, "our own stop is not the task's failure: {task:#?}");
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_told_why_not() {
    let scratch = Scratch::new(Database::Sqlite);
    let _up = scratch.server(&["up"]).await;
    let data = scratch.data();
    let second = scratch.run(&["up", "--data-dir", data.to_str().expect("text")]).await;
    assert!(second.code.is_some_and(|code| code != 0), "{second:#?}");
    assert!(second.stderr.contains("another"), "{second:#?}");
}

#[tokio::test]
async fn a_task_can_be_followed_through_the_log_by_its_id() {
    let scratch = Scratch::new(Database::Sqlite);
    let up = scratch.server(&["up", "-v"]).await;
    let job = up.rest().submit_group(json!({ "command": ["true"] })).await;
    up.rest().settled(&job).await;
    let task = format!("{job}.0.0");
    let lines = until("the log tells of the end", async || {
        let lines: Vec<String> = up
            .log()
            .iter()
            .map(ToString::to_string)
            .filter(|line| line.contains(&task) || line.contains(&format!("{job}\"")))
            .collect();
        lines.last()?.contains("settled").then_some(lines)
    })
    .await;
    let mut at = 0;
    for stage in ["submitted", "placed", "settled"] {
        let found = lines[at..].iter().position(|line| line.contains(stage));
        at += found.unwrap_or_else(|| panic!("no `{stage}` after line {at} of {lines:#?}"));
    }
}
