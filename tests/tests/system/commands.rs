//! The command line against a running `ebb up`, with its exit codes.

use serde_json::json;
use system_tests::{Database, Scratch};

#[tokio::test]
async fn run_streams_the_output_and_exits_with_the_code() {
    let scratch = Scratch::new(Database::Sqlite);
    let _up = scratch.server(&["up"]).await;
    let run = scratch.run(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).await;
    assert_eq!(run.code, Some(3), "{run:#?}");
    assert_eq!(run.stdout, "out\n");
    assert!(run.stderr.contains("err\n"), "{run:#?}");
    let run = scratch.run(&["run", "--", "sh", "-c", "kill -TERM $$"]).await;
    assert_eq!(run.code, Some(128 + 15), "{run:#?}");
    let run = scratch.run(&["run", "--", "no-such-program-anywhere"]).await;
    assert!(matches!(run.code, Some(125..=127)), "{run:#?}");
}

#[tokio::test]
async fn a_job_file_goes_from_submit_to_logs() {
    let scratch = Scratch::new(Database::Sqlite);
    let _up = scratch.server(&["up"]).await;
    let file = scratch.path().join("job.toml");
    std::fs::write(
        &file,
        "name = \"counts\"\n[[group]]\nitems = [\"a\", \"bb\", \"ccc\"]\n\
         command = [\"sh\", \"-c\", \"printf '%s\\\\n' \\\"$EBB_ITEM\\\"\"]\n",
    )
    .expect("a file");
    let submit =
        scratch.run(&["submit", "--wait", "--output", "json", file.to_str().expect("text")]).await;
    assert_eq!(submit.code, Some(0), "{submit:#?}");
    let status = scratch.run(&["status", "last", "--output", "json"]).await;
    assert_eq!(status.code, Some(0), "{status:#?}");
    assert_eq!(status.json()["status"], json!("succeeded"));
    assert_eq!(status.json()["tasks"]["succeeded"], json!(3));
    let logs = scratch.run(&["logs", "last", "--stdout"]).await;
    assert_eq!((logs.code, logs.stdout.as_str()), (Some(0), "a\nbb\nccc\n"), "{logs:#?}");
    let wait = scratch.run(&["wait", "last"]).await;
    assert_eq!(wait.code, Some(0), "{wait:#?}");
}

#[tokio::test]
async fn a_job_that_failed_is_exit_code_1() {
    let scratch = Scratch::new(Database::Sqlite);
    let up = scratch.server(&["up"]).await;
    let group = json!({ "command": ["false"], "restart": { "max_failures": 1, "backoff": "1ms" } });
    let job = up.rest().submit_group(group).await;
    let wait = scratch.run(&["wait", &job]).await;
    assert_eq!(wait.code, Some(1), "{wait:#?}");
    let task = &up.rest().tasks(&job).await[0];
    assert_eq!((task.counters.failed, task.attempt), (2, 2), "{task:#?}");
}

#[tokio::test]
async fn a_waiting_job_is_explained_and_stopped() {
    let scratch = Scratch::new(Database::Sqlite);
    let up = scratch.server(&["up"]).await;
    let group = json!({ "command": ["true"], "resources": { "cpu": 1000 } });
    let job = up.rest().submit_group(group).await;
    let explain = scratch.run(&["explain", &format!("{job}.0.0")]).await;
    assert_eq!(explain.code, Some(0), "{explain:#?}");
    assert!(explain.stdout.contains("cores"), "{explain:#?}");
    let stop = scratch.run(&["stop", &job]).await;
    assert_eq!(stop.code, Some(0), "{stop:#?}");
    let detail = up.rest().settled(&job).await;
    assert_eq!(detail.job.status, model::JobStatus::Cancelled);
    // Again: it is idempotent.
    assert_eq!(scratch.run(&["stop", &job]).await.code, Some(0));
}

#[tokio::test]
async fn stopping_a_running_task_ends_its_whole_tree() {
    let scratch = Scratch::new(Database::Sqlite);
    let up = scratch.server(&["up"]).await;
    let pids = scratch.path().join("pids");
    let script =
        format!("sleep 1000 & echo $! >>{0}; sleep 1000 & echo $! >>{0}; wait", pids.display());
    let job = up.rest().submit_group(json!({ "command": ["sh", "-c", script] })).await;
    let sleepers = system_tests::until("both children run", async || {
        let text = std::fs::read_to_string(&pids).ok()?;
        let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    })
    .await;
    assert_eq!(scratch.run(&["stop", "last"]).await.code, Some(0));
    let detail = up.rest().settled(&job).await;
    assert_eq!(detail.job.status, model::JobStatus::Cancelled);
    for pid in sleepers {
        assert_eq!(system_tests::processes::read(pid), None, "a child outlived its task");
    }
}

#[tokio::test]
async fn bad_input_has_an_exit_code_for_each_reason() {
    let scratch = Scratch::new(Database::Sqlite);
    let nobody = scratch.run(&["status"]).await;
    assert_eq!(nobody.code, Some(5), "{nobody:#?}");
    assert!(nobody.stderr.contains("ebb up"), "{nobody:#?}");
    let up = scratch.server(&["up"]).await;
    assert_eq!(scratch.run(&["status", "job_0000000000000"]).await.code, Some(3));
    assert_eq!(scratch.run(&["no-such-command"]).await.code, Some(2));
    let file = scratch.path().join("bad.json");
    std::fs::write(&file, r#"{"group":[{"count":0,"colour":"red"}]}"#).expect("a file");
    let bad = scratch.run(&["submit", file.to_str().expect("text")]).await;
    assert_eq!(bad.code, Some(2), "{bad:#?}");
    for pointer in ["/group/0/count", "/group/0/colour", "command"] {
        assert!(bad.stderr.contains(pointer), "{pointer} is missing in {bad:#?}");
    }
    let mut stranger = scratch.ebb(&["status"]);
    stranger.env("EBB_TOKEN", "wrong");
    let status = stranger.status().expect("ebb starts");
    assert_eq!(status.code(), Some(4));
    assert!(up.rest().try_get::<serde_json::Value>("/v1/jobs").await.is_some());
}
