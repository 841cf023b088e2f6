//! Two managers on one Postgres: a stopped leader that wakes up has lost, and writes nothing.

use std::process::Command;

use model::JobStatus;
use nix::sys::signal::Signal;
use serde_json::json;
use system_tests::{Database, Rest, Scratch, free_address, until};

/// What a query of one value answers.
fn ask(scratch: &Scratch, query: &str) -> String {
    let url = scratch.database_url().expect("Postgres");
    let arguments = ["--no-psqlrc", "--tuples-only", "--no-align", "--command", query];
    let output = Command::new("psql").arg(url).args(arguments).output().expect("psql starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_leader_that_was_stopped_past_its_lease_writes_nothing_postgres() {
    let scratch = Scratch::new(Database::Postgres);
    let first = scratch.server(&["manager"]).await;
    let _worker = scratch.worker(&first, "w1", "2").await;
    let job = first.rest().submit_group(json!({ "count": 20, "command": ["true"] })).await;
    first.rest().settled(&job).await;
    let old_term: u64 = ask(&scratch, "SELECT term FROM head").parse().expect("a term");

    // More work is under way when the leader stops.
    let under_way = first.rest().submit_group(json!({ "count": 200, "command": ["true"] })).await;
    first.signal(Signal::SIGSTOP);
    let data = scratch.path().join("data-2");
    let second = scratch.replica(&data, free_address(), &["manager"]).await;
    until("another leads", async || {
        (ask(&scratch, "SELECT term FROM head").parse::<u64>().ok()? > old_term).then_some(())
    })
    .await;
    let _worker = scratch.worker(&second, "w2", "2").await;
    let job = second.rest().submit_group(json!({ "count": 20, "command": ["true"] })).await;
    let detail = second.rest().settled(&job).await;
    assert_eq!(detail.job.status, JobStatus::Succeeded);

    let term = ask(&scratch, "SELECT term FROM head");
    first.signal(Signal::SIGCONT);
    until("the old leader notices", async || {
        let lost = ["leadership ended", "went to another replica"];
        first
            .log()
            .iter()
            .find(|line| lost.iter().any(|word| line.to_string().contains(word)))
            .map(drop)
    })
    .await;
    // What is submitted to it is run by the leader. Connections of before the stop may be closing.
    let old = Rest::new(first.rest().url(), first.rest().token());
    let job = old.submit_group(json!({ "command": ["true"] })).await;
    let detail = second.rest().settled(&job).await;
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    let detail = second.rest().settled(&under_way).await;
    assert_eq!(detail.job.tasks.succeeded, 200, "{detail:#?}");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM attempts WHERE settles \
                 GROUP BY job, grp, idx HAVING count(*) > 1) AS twice";
    assert_eq!(ask(&scratch, twice), "0", "each task is settled once");
    assert_eq!(ask(&scratch, "SELECT term FROM head"), term, "the second leads on");
    // Log order is commit order: had the old leader written, a number would be missing or double.
    let gaps = "SELECT count(*) FROM (SELECT seq - lag(seq) OVER (ORDER BY seq) AS step \
                FROM (SELECT DISTINCT seq FROM log) AS seqs) AS steps WHERE step <> 1";
    assert_eq!(ask(&scratch, gaps), "0");
}
