//! What users change of jobs that are there.

use model::{Cause, Counters, IntervalSet, Outcome, RetriedGroup, Task, TaskState};
use serde_json::{Value, json};

use crate::cluster::{Cluster, job};

const GOOD: Outcome = Outcome::Exited { code: 0 };
const BAD: Outcome = Outcome::Exited { code: 2 };

/// Of which each failure is final.
fn brittle(count: u32) -> Value {
    let mut document = job(count, 1_000);
    document["group"][0]["restart"] = json!({"max_failures": 0});
    document
}

#[test]
fn a_patched_priority_changes_the_order() {
    let mut cluster = Cluster::new();
    let node = cluster.join("a", 1_000);
    for number in 1..=3 {
        cluster.submit(number, job(1, 1_000));
    }
    cluster.patch(3, &json!({"priority": 5, "labels": {"urgent": "yes"}}));
    cluster.end(node, 0, GOOD);
    cluster.patch(2, &json!({"max_running": 1, "name": "later"}));
    insta::assert_snapshot!(cluster.story(), @r#"
    0 a joins
        node1 booting: seen
        node1 ready: joined
    0 job 1 is submitted
        job 1 taken in
        0.1 placed on node1
        > node1: assign 0.1
    0 job 2 is submitted
        job 2 taken in
    0 job 3 is submitted
        job 3 taken in
    0 job 3 is patched
        job 3 patched: {"labels":{"urgent":"yes"},"priority":5}
    0 node1: 0.1 Exited { code: 0 }
        0.1 succeeded, then succeeded
        job 1 succeeded
        job 3: 0.1 placed on node1
        > node1: assign job 3: 0.1
    0 job 2 is patched
        job 2 patched: {"name":"later","max_running":1}
    "#);
}

#[test]
fn a_job_may_be_made_to_wait_and_let_go() {
    let mut cluster = Cluster::new();
    cluster.submit(1, job(1, 1_000));
    cluster.submit(2, job(1, 1_000));
    let other = |number| model::JobId::from_number(number).to_string();
    cluster.patch(2, &json!({"after": [other(7)]}));
    cluster.join("a", 1_000);
    cluster.join("b", 1_000);
    cluster.say("one that has begun cannot wait any more");
    cluster.patch(1, &json!({"after": [other(7)]}));
    cluster.patch(2, &json!({"after": null}));
    insta::assert_snapshot!(cluster.story(), @r#"
          0 job 1 is submitted
              job 1 taken in
          0 job 2 is submitted
              job 2 taken in
          0 job 2 is patched
              job 2 patched: {"after":["job_0000000000007"]}
              looks up jobs [7]
          0 a joins
              node1 booting: seen
              node1 ready: joined
              0.1 placed on node1
              > node1: assign 0.1
          0 b joins
              node2 booting: seen
              node2 ready: joined
    # one that has begun cannot wait any more
          0 job 1 is patched
              Refused("job_0000000000001 has begun: what it comes after does not matter any more")
          0 job 2 is patched
              job 2 patched: {"after":[]}
              job 2: 0.1 placed on node2
              > node2: assign job 2: 0.1
              looks up jobs []
    "#);
}

#[test]
fn a_patch_may_stop_the_siblings_of_a_failed_task() {
    let mut cluster = Cluster::new();
    let node = cluster.join("a", 1_000);
    cluster.submit(1, brittle(3));
    cluster.end(node, 0, BAD);
    cluster.patch(1, &json!({"on_task_failure": "stop"}));
    cluster.end_all(Outcome::Stopped);
    insta::assert_snapshot!(cluster.story(), @r#"
    0 a joins
        node1 booting: seen
        node1 ready: joined
    0 job 1 is submitted
        job 1 taken in
        0.1 placed on node1
        > node1: assign 0.1
    0 node1: 0.1 Exited { code: 2 }
        0.1 failed, then failed: Failed
        1.1 placed on node1
        > node1: assign 1.1
    0 job 1 is patched
        job 1 patched: {"on_task_failure":"stop"}
        job 1 stopping: SiblingFailed
        2..3 cancelled
        1.1 stopping
        > node1: cancel 1.1
    0 node1: 1.1 Stopped
        1.1 cancelled, then cancelled
        job 1 failed
    "#);
}

#[test]
fn a_patch_of_a_job_in_its_table_is_not_lost_by_an_old_reading() {
    let mut cluster = Cluster::new();
    cluster.config.max_jobs = 1;
    cluster.submit(1, job(1, 1_000));
    cluster.submit(2, job(1, 1_000));
    cluster.patch(2, &json!({"priority": 9}));
    cluster.take_in(2, &job(1, 1_000));
    cluster.say("so it is served before job 1");
    cluster.join("a", 1_000);
    insta::assert_snapshot!(cluster.story(), @r#"
          0 job 1 is submitted
              job 1 taken in
          0 job 2 is submitted
              job 2 waits
          0 job 2 is patched
              job 2 patched: {"priority":9}
          0 a job of the backlog is handed over
              job 2 taken in
    # so it is served before job 1
          0 a joins
              node1 booting: seen
              node1 ready: joined
              job 2: 0.1 placed on node1
              > node1: assign job 2: 0.1
    "#);
}

#[test]
fn failed_tasks_of_an_unsettled_job_run_again() {
    let mut cluster = Cluster::new();
    cluster.join("a", 3_000);
    cluster.submit(1, brittle(3));
    cluster.end_task(1, 0, 1, BAD);
    cluster.retry(1);
    cluster.say("nothing has failed now; and a job that is being stopped is not retried");
    cluster.retry(1);
    cluster.stop(1);
    cluster.retry(1);
    cluster.retry(7);
    insta::assert_snapshot!(cluster.story(), @r#"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is submitted
              job 1 taken in
              0.1 placed on node1
              1.1 placed on node1
              2.1 placed on node1
              > node1: assign 0.1 1.1 2.1
          0 node1: 1.1 Exited { code: 2 }
              1.1 failed, then failed: Failed
          0 job 1 is retried
              1 retried
              1.2 placed on node1
              Retried(1)
              > node1: assign 1.2
    # nothing has failed now; and a job that is being stopped is not retried
          0 job 1 is retried
              Retried(0)
          0 job 1 is stopped
              job 1 stopping: Stopped
              0.1 stopping
              1.2 stopping
              2.1 stopping
              > node1: cancel 0.1 1.2 2.1
          0 job 1 is retried
              Refused("job_0000000000001 is being stopped: retry it when it is settled")
          0 job 7 is retried
              NotFound
    "#);
}

/// Attempts that are to go on: index and the number of the last one.
fn entries<const N: usize>(last: [(u32, u32); N]) -> RetriedGroup {
    let task = |(index, attempt)| {
        (index, Task { state: TaskState::Ready, attempt, counters: Counters::default() })
    };
    RetriedGroup { tasks: last.into_iter().map(task).collect(), ..RetriedGroup::default() }
}

#[test]
fn a_settled_job_comes_back_and_its_numbers_go_on() {
    let mut cluster = Cluster::new();
    cluster.join("a", 3_000);
    let mut document = brittle(4);
    document["after"] = json!([model::JobId::from_number(7).to_string()]);
    let failed = Task {
        state: TaskState::Failed(Cause::Failed),
        attempt: 2,
        counters: Counters { failed: 1, ..Counters::default() },
    };
    let mut group = entries([(0, 3)]);
    group.tasks.insert(1, failed);
    group.succeeded = IntervalSet::span(2, 3);
    cluster.come_back(1, &document, vec![group]);
    cluster.say("it is looked at as one that has begun, also by another manager");
    cluster.take_over();
    cluster.end_all(GOOD);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is retried
              job 1 comes back
              0.4 placed on node1
              3.1 placed on node1
              Retried(2)
              > node1: assign 0.4 3.1
              looks up jobs [7]
    # it is looked at as one that has begun, also by another manager
    # another manager takes over
          0 node1: 0.4 Exited { code: 0 }
              0.4 succeeded, then succeeded
          0 node1: 3.1 Exited { code: 0 }
              3.1 succeeded, then succeeded
              job 1 failed
              looks up jobs []
    ");
}

#[test]
fn groups_that_were_cancelled_for_a_lost_one_come_back_with_it() {
    let mut cluster = Cluster::new();
    cluster.join("a", 3_000);
    let one = |name: &str, after: &[&str]| {
        json!({"name": name, "after": after, "command": ["true"],
            "resources": {"cpu": "1000m", "memory": "1MiB"}, "restart": {"max_failures": 0}})
    };
    let document = json!({"group": [
        one("last", &["next"]), one("next", &["first"]), one("first", &[]), one("lost", &[]),
        one("never", &["lost"]),
    ]});
    let cancelled =
        || RetriedGroup { cancelled: IntervalSet::span(0, 1), ..RetriedGroup::default() };
    let groups = vec![cancelled(), cancelled(), entries([(0, 1)]), cancelled(), cancelled()];
    cluster.come_back(1, &document, groups);
    cluster.end_all(GOOD);
    cluster.say("what can only be cancelled again does not come back");
    let groups =
        vec![entries([(0, 1)]), cancelled(), cancelled(), cancelled(), RetriedGroup::default()];
    cluster.come_back(2, &document, groups);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is retried
              job 1 comes back
              group 2: 0.2 placed on node1
              Retried(3)
              > node1: assign group 2: 0.2
          0 node1: group 2: 0.2 Exited { code: 0 }
              group 2: 0.2 succeeded, then succeeded
              group 1: 0.1 placed on node1
              > node1: assign group 1: 0.1
          0 node1: group 1: 0.1 Exited { code: 0 }
              group 1: 0.1 succeeded, then succeeded
              0.1 placed on node1
              > node1: assign 0.1
          0 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              job 1 cancelled
    # what can only be cancelled again does not come back
          0 job 2 is retried
              Retried(0)
    ");
}
