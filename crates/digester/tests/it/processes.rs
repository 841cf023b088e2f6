//! Real processes through the spawner: codes, signals, whole trees, limits, and what is left when
//! digester, spawner or both are killed.

use std::time::Duration;

use crate::fake::{self, Manager, Node, attempt, eventually, gated};
use model::{Outcome, Transition};
use nix::sys::signal::Signal;
use serde_json::json;

fn sh(script: &str) -> serde_json::Value {
    json!({"command": ["sh", "-c", script], "resources": {"memory": "1MiB"}})
}

#[tokio::test]
async fn codes_signals_and_text_come_back() {
    let manager = Manager::start().await;
    let node = Node::start(&manager, &[]);
    manager.assign(0, 0..1, sh("echo $EBB_ITEM of $EBB_TASK_INDEX; echo no >&2; exit 3"));
    manager.assign(1, 0..1, sh("kill -11 $$"));
    manager.assign(2, 0..1, json!({"command": ["no-such-program"]}));
    manager.assign(3, 0..1, json!({"command": ["true"], "workdir": "/no/such/folder"}));
    manager.assign(4, 0..1, json!({"command": ["/etc/passwd"]}));
    manager.assign(5, 0..1, json!({"command": ["pwd"], "workdir": "/tmp"}));
    manager.assign(
        6,
        0..1,
        json!({"command": ["sh", "-c", "echo $LEVEL; env | wc -l"], "env": {"LEVEL": "9"}}),
    );
    let first = manager.ended(attempt(0, 0)).await;
    assert_eq!(first.outcome, Outcome::Exited { code: 3 });
    assert_eq!(first.stdout.text.as_deref(), Some("item 0 of 0\n"));
    assert_eq!(first.stderr.text.as_deref(), Some("no\n"));
    assert_eq!(manager.outcome(attempt(1, 0)).await, Outcome::Signalled { signal: 11 });
    for (group, word) in [(2, "no program `no-such-program`"), (3, "workdir"), (4, "Permission")] {
        let result = manager.ended(attempt(group, 0)).await;
        assert_eq!(result.outcome, Outcome::NotStarted);
        assert!(result.message.as_deref().unwrap().contains(word), "{:?}", result.message);
    }
    assert_eq!(manager.ended(attempt(5, 0)).await.stdout.text.as_deref(), Some("/tmp\n"));
    let env = manager.ended(attempt(6, 0)).await.stdout.text.unwrap();
    assert!(env.starts_with("9\n"), "{env}");
    // What is over leaves nothing behind but empty files, which serve again.
    eventually("the folders are empty", || left_files(&node).iter().all(|size| *size == 0)).await;
}

fn left_files(node: &Node) -> Vec<u64> {
    let folders = node.data().join("attempts").read_dir().unwrap().flatten();
    let files = folders.filter_map(|folder| folder.path().read_dir().ok()).flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).collect()
}

#[tokio::test]
async fn a_whole_tree_ends() {
    let manager = Manager::start().await;
    let node = Node::start(&manager, &["--grace-ms", "200"]);
    // Two that left the group, one of them deaf to TERM, and one that did not.
    let script = "setsid sleep 600 & setsid sh -c 'trap \"\" TERM; sleep 600' & sleep 600 & ";
    manager.assign(0, 0..1, sh(&format!("{script} wait")));
    manager.assign(1, 0..1, sh(&format!("{script} sleep 0.2; exit 0")));
    let timed = json!({"command": ["sh", "-c", format!("{script} wait")], "timeout": "300ms"});
    manager.assign(2, 0..1, timed);
    assert_eq!(manager.outcome(attempt(1, 0)).await, Outcome::Exited { code: 0 });
    assert_eq!(manager.outcome(attempt(2, 0)).await, Outcome::TimedOut);
    manager.set(|book| book.cancel.push(attempt(0, 0)));
    assert_eq!(manager.outcome(attempt(0, 0)).await, Outcome::Stopped);
    eventually("nobody is left", || node.task_pids().is_empty()).await;
}

#[tokio::test]
async fn too_much_output_ends_a_task() {
    let manager = Manager::start().await;
    let node = Node::start(&manager, &["--cap", "100000"]);
    manager.assign(0, 0..1, sh("yes"));
    manager.assign(1, 0..1, sh("head -c 100001 /dev/zero >&2"));
    manager.assign(2, 0..1, sh("head -c 100000 /dev/zero"));
    assert_eq!(manager.outcome(attempt(2, 0)).await, Outcome::Exited { code: 0 });
    for group in 0..2 {
        let result = manager.ended(attempt(group, 0)).await;
        assert_eq!(result.outcome, Outcome::OutputLimit);
        assert_eq!(result.stdout.size_bytes.max(result.stderr.size_bytes), 100_000);
    }
    let kept = node.objects().join(format!("default/{}/0/0/1/stdout", fake::job()));
    assert_eq!(kept.metadata().unwrap().len(), 100_000);
}

#[tokio::test]
async fn outputs_are_kept_before_the_report() {
    let manager = Manager::start().await;
    let node = Node::start(&manager, &[]);
    let mut spec = sh("echo kept > $EBB_OUTPUT_DIR/a; echo lost > $EBB_OUTPUT_DIR/b.tmp");
    spec["outputs"] = json!(["out/a"]);
    manager.assign(0, 0..1, spec);
    let result = manager.ended(attempt(0, 0)).await;
    assert_eq!(result.outputs.len(), 1);
    let kept = node.objects().join(format!("default/{}/0/0/1/outputs/out/a", fake::job()));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept\n");
}

#[tokio::test]
async fn tasks_survive_the_digester() {
    let manager = Manager::start().await;
    let mut node = Node::start(&manager, &[]);
    let gates = tempfile::tempdir().unwrap();
    manager.assign(0, 0..3, gated(gates.path(), "exit $((40 + EBB_TASK_INDEX))"));
    let other = tempfile::tempdir().unwrap();
    manager.assign(1, 0..1, gated(other.path(), "exit 7"));
    for index in 0..3 {
        manager.started(attempt(0, index)).await;
    }
    manager.started(attempt(1, 0)).await;
    node.kill_digester();
    // Three end while there is no digester, one goes on.
    std::fs::write(gates.path().join("go"), "").unwrap();
    eventually("the three are over", || node.task_pids().len() <= 2).await;
    node.start_digester();
    for index in 0..3 {
        let code = 40 + i32::try_from(index).unwrap();
        assert_eq!(manager.outcome(attempt(0, index)).await, Outcome::Exited { code });
    }
    std::fs::write(other.path().join("go"), "").unwrap();
    assert_eq!(manager.outcome(attempt(1, 0)).await, Outcome::Exited { code: 7 });
    let begun = std::fs::read_to_string(gates.path().join("begun")).unwrap();
    assert_eq!(begun.lines().count(), 3, "each ran once");
    let book = manager.book();
    assert_eq!(book.joins.len(), 2);
    assert_eq!(book.joins[0].session, book.joins[1].session);
    let first_of_second = book.polls.iter().rfind(|poll| poll.poll == 1).unwrap();
    assert!(first_of_second.inventory.as_ref().is_some_and(|all| !all.is_empty()));
}

#[tokio::test]
async fn exit_codes_survive_the_spawner() {
    let manager = Manager::start().await;
    let node = Node::start(&manager, &["--grace-ms", "300"]);
    let gates = tempfile::tempdir().unwrap();
    manager.assign(0, 0..2, gated(gates.path(), "exit $((40 + EBB_TASK_INDEX))"));
    manager.assign(1, 0..1, sh("sleep 600 & wait"));
    for id in [attempt(0, 0), attempt(0, 1), attempt(1, 0)] {
        manager.started(id).await;
    }
    let old = node.kill_spawner();
    std::fs::write(gates.path().join("go"), "").unwrap();
    for index in 0..2 {
        let code = 40 + i32::try_from(index).unwrap();
        assert_eq!(manager.outcome(attempt(0, index)).await, Outcome::Exited { code });
    }
    manager.assign(2, 0..1, sh("exit 5"));
    assert_eq!(manager.outcome(attempt(2, 0)).await, Outcome::Exited { code: 5 });
    assert!(!node.spawners().contains(&old));
    // One that the digester has become the parent of is stopped like any other.
    manager.set(|book| book.cancel.push(attempt(1, 0)));
    assert_eq!(manager.outcome(attempt(1, 0)).await, Outcome::Stopped);
    eventually("nobody is left", || node.task_pids().is_empty()).await;
}

#[tokio::test]
async fn without_both_tasks_vanish_and_are_not_run_again() {
    let manager = Manager::start().await;
    let mut node = Node::start(&manager, &["--regulator", "slots:2"]);
    let gates = tempfile::tempdir().unwrap();
    manager.assign(0, 0..3, gated(gates.path(), "exit 0"));
    manager.started(attempt(0, 0)).await;
    manager.started(attempt(0, 1)).await;
    let spawner = node.spawners().pop().unwrap();
    node.kill_digester();
    fake::kill(spawner, Signal::SIGKILL);
    eventually("the spawner is gone", || !node.spawners().contains(&spawner)).await;
    let before = node.task_pids();
    assert!(before.len() >= 2);
    node.start_digester();
    for index in 0..2 {
        assert_eq!(manager.outcome(attempt(0, index)).await, Outcome::Vanished);
    }
    // The third had not started: it starts now, and it alone.
    manager.started(attempt(0, 2)).await;
    eventually("the old ones are gone", || {
        node.task_pids().iter().all(|pid| !before.contains(pid))
    })
    .await;
    std::fs::write(gates.path().join("go"), "").unwrap();
    assert_eq!(manager.outcome(attempt(0, 2)).await, Outcome::Exited { code: 0 });
    let begun = std::fs::read_to_string(gates.path().join("begun")).unwrap();
    let mut begun: Vec<&str> = begun.lines().collect();
    begun.sort_unstable();
    assert_eq!(begun, ["0", "1", "2"]);
}

#[tokio::test]
async fn told_to_end_it_evicts_returns_and_leaves_nothing() {
    let manager = Manager::start().await;
    let mut node = Node::start(&manager, &["--regulator", "slots:1", "--grace-ms", "100"]);
    manager.assign(0, 0..2, sh("sleep 600"));
    manager.started(attempt(0, 0)).await;
    let told = std::thread::spawn(move || {
        let status = node.terminate();
        (status, node)
    });
    assert_eq!(manager.outcome(attempt(0, 1)).await, Outcome::Returned);
    assert_eq!(manager.outcome(attempt(0, 0)).await, Outcome::Evicted);
    let (status, node) = told.join().unwrap();
    assert!(status.success());
    assert!(node.spawners().is_empty() && node.task_pids().is_empty());
}

#[tokio::test]
async fn without_a_manager_for_too_long_it_ends() {
    let manager = Manager::start().await;
    let mut node = Node::start(&manager, &["--orphan-after-ms", "700", "--grace-ms", "100"]);
    manager.assign(0, 0..1, sh("sleep 600"));
    manager.started(attempt(0, 0)).await;
    manager.set(|book| book.problem = Some(fake::not_leader("http://127.0.0.1:9")));
    let mut node = tokio::task::spawn_blocking(move || {
        let status = node.wait();
        assert!(!status.success());
        node
    })
    .await
    .unwrap();
    eventually("nobody is left", || node.task_pids().is_empty() && node.spawners().is_empty())
        .await;
    manager.set(|book| book.problem = None);
    node.start_digester();
    let outcome = manager.outcome(attempt(0, 0)).await;
    // Nobody's fault, either way.
    assert!(matches!(outcome, Outcome::Evicted | Outcome::Vanished), "{outcome:?}");
}

#[tokio::test]
async fn many_short_tasks_are_each_reported_once() {
    let manager = Manager::start().await;
    let _node = Node::start(&manager, &["--regulator", "slots:16"]);
    manager.assign(0, 0..500, json!({"command": ["true"], "resources": {"memory": "1MiB"}}));
    let done = |book: &fake::Book| {
        let ends = book.transitions.iter().filter(|transition| {
            matches!(transition, Transition::Ended { result, .. }
                if result.outcome == Outcome::Exited { code: 0 })
        });
        (ends.count() == 500).then_some(())
    };
    manager.until("500 ends", done).await;
    manager.set(|book| book.assign.clear());
    tokio::time::timeout(
        Duration::from_millis(200),
        manager.until("no 501st", |book| {
            (book.transitions.iter().filter(|t| matches!(t, Transition::Ended { .. })).count()
                > 500)
                .then_some(())
        }),
    )
    .await
    .unwrap_err();
}
