//! A waiting task costs nothing: a group of a million is one small write.

use std::time::Instant;

use api::view::JobDetail;
use serde_json::json;
use system_tests::{Database, Rest, Scratch, processes, until};

const TASKS: u64 = 1_000_000;
const GROWTH_KIB: u64 = 20 * 1024;

async fn succeeded(rest: &Rest, job: &str, count: u64) -> JobDetail {
    until(&format!("{count} tasks succeed"), async || {
        let detail: JobDetail = rest.try_get(&format!("/v1/jobs/{job}")).await?;
        (detail.job.tasks.succeeded >= count).then_some(detail)
    })
    .await
}

#[tokio::test]
async fn a_million_tasks_are_accepted_at_once_and_need_no_memory() {
    let scratch = Scratch::new(Database::Sqlite);
    let up = scratch.server(&["up"]).await;
    // Caches and pools fill before the measurement.
    let warm = up.rest().submit_group(json!({ "count": 50, "command": ["true"] })).await;
    up.rest().settled(&warm).await;
    let before = processes::resident_kib(up.pid()).expect("it runs");

    let start = Instant::now();
    let job = up
        .rest()
        .submit_group(json!({
            "count": TASKS,
            "command": ["true"],
            "resources": { "cpu": "100m", "memory": "1MiB" },
        }))
        .await;
    let accepted = start.elapsed();
    assert!(accepted.as_millis() < 1_000, "accepted after {accepted:?}");
    succeeded(up.rest(), &job, 1_000).await;
    let middle = format!("{job}.0.{}", TASKS / 2);
    let stopped = up.rest().delete(&format!("/v1/tasks/{middle}")).await;
    assert_eq!(stopped, 202);
    until("one in the middle is cancelled", async || {
        let task: api::view::TaskView = up.rest().try_get(&format!("/v1/tasks/{middle}")).await?;
        task.status.is_settled().then_some(())
    })
    .await;
    let after = processes::resident_kib(up.pid()).expect("it runs");
    assert!(after < before + GROWTH_KIB, "{before} KiB before, {after} KiB after");

    up.kill();
    let up = scratch.server(&["up"]).await;
    let detail: JobDetail = up.rest().job(&job).await;
    assert_eq!((detail.job.tasks.total, detail.job.tasks.cancelled), (TASKS, 1));
    succeeded(up.rest(), &job, detail.job.tasks.succeeded + 100).await;
    let again = processes::resident_kib(up.pid()).expect("it runs");
    assert!(again < before + GROWTH_KIB, "{before} KiB before, {again} KiB after the restart");
}
