//! What comes after what.

use model::{JobStatus, Outcome};
use serde_json::{Value, json};

use crate::cluster::{Cluster, job};

const GOOD: Outcome = Outcome::Exited { code: 0 };
const BAD: Outcome = Outcome::Exited { code: 2 };

/// Groups of one task each, by what they come after.
fn groups(after: &[(&str, &[&str])]) -> Value {
    let group = |(name, after): &(&str, &[&str])| {
        json!({
            "name": name, "after": after, "command": ["true"],
            "resources": {"cpu": "1000m", "memory": "1MiB"},
            "restart": {"no_retry_exit_codes": [2]},
        })
    };
    json!({"group": after.iter().map(group).collect::<Vec<_>>()})
}

/// A job that comes after others, by number.
fn after(jobs: &[u64]) -> Value {
    let mut document = job(1, 1_000);
    document["after"] =
        jobs.iter().map(|job| model::JobId::from_number(*job).to_string()).collect();
    document
}

#[test]
fn a_chain_of_groups_runs_in_order() {
    let mut cluster = Cluster::new();
    cluster.join("a", 4_000);
    let mut document = groups(&[("last", &["middle"]), ("middle", &["first"]), ("first", &[])]);
    document["group"][2]["count"] = 2.into();
    cluster.submit(1, document);
    cluster.demand();
    cluster.end_all(GOOD);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is submitted
              job 1 taken in
              group 2: 0.1 placed on node1
              group 2: 1.1 placed on node1
              > node1: assign group 2: 0.1 group 2: 1.1
    # 0 tasks ask for room
          0 node1: group 2: 0.1 Exited { code: 0 }
              group 2: 0.1 succeeded, then succeeded
          0 node1: group 2: 1.1 Exited { code: 0 }
              group 2: 1.1 succeeded, then succeeded
              group 1: 0.1 placed on node1
              > node1: assign group 1: 0.1
          0 node1: group 1: 0.1 Exited { code: 0 }
              group 1: 0.1 succeeded, then succeeded
              0.1 placed on node1
              > node1: assign 0.1
          0 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              job 1 succeeded
    ");
}

#[test]
fn a_diamond_waits_for_both_sides() {
    let mut cluster = Cluster::new();
    cluster.join("a", 1_000);
    cluster.submit(
        1,
        groups(&[
            ("top", &[]),
            ("left", &["top"]),
            ("right", &["top"]),
            ("end", &["left", "right"]),
        ]),
    );
    cluster.say("another manager may take over at any time");
    cluster.take_over();
    cluster.end_task(1, 0, 0, GOOD);
    cluster.join("b", 1_000);
    cluster.end_all(GOOD);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is submitted
              job 1 taken in
              0.1 placed on node1
              > node1: assign 0.1
    # another manager may take over at any time
    # another manager takes over
          0 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              group 1: 0.1 placed on node1
              > node1: assign group 1: 0.1
          0 b joins
              node2 booting: seen
              node2 ready: joined
              group 2: 0.1 placed on node2
              > node2: assign group 2: 0.1
          0 node1: group 1: 0.1 Exited { code: 0 }
              group 1: 0.1 succeeded, then succeeded
          0 node2: group 2: 0.1 Exited { code: 0 }
              group 2: 0.1 succeeded, then succeeded
              group 3: 0.1 placed on node1
              > node1: assign group 3: 0.1
          0 node1: group 3: 0.1 Exited { code: 0 }
              group 3: 0.1 succeeded, then succeeded
              job 1 succeeded
    ");
}

#[test]
fn what_comes_after_a_lost_group_is_cancelled_with_it() {
    let mut cluster = Cluster::new();
    cluster.join("a", 4_000);
    cluster.submit(
        1,
        groups(&[
            ("first", &[]),
            ("beside", &[]),
            ("next", &["first"]),
            ("last", &["next", "beside"]),
        ]),
    );
    cluster.end_task(1, 0, 0, BAD);
    cluster.end_task(1, 1, 0, GOOD);
    insta::assert_snapshot!(cluster.story(), @"
    0 a joins
        node1 booting: seen
        node1 ready: joined
    0 job 1 is submitted
        job 1 taken in
        0.1 placed on node1
        group 1: 0.1 placed on node1
        > node1: assign 0.1 group 1: 0.1
    0 node1: 0.1 Exited { code: 2 }
        0.1 failed, then failed: NoRetry
        group 2: 0..1 cancelled
        group 3: 0..1 cancelled
    0 node1: group 1: 0.1 Exited { code: 0 }
        group 1: 0.1 succeeded, then succeeded
        job 1 failed
    ");
}

#[test]
fn a_job_waits_for_one_that_runs() {
    let mut cluster = Cluster::new();
    cluster.join("a", 4_000);
    cluster.submit(1, job(1, 1_000));
    cluster.submit(2, after(&[1]));
    cluster.submit(3, after(&[1, 2]));
    cluster.demand();
    cluster.end_task(1, 0, 0, GOOD);
    cluster.end_task(2, 0, 0, GOOD);
    insta::assert_snapshot!(cluster.story(), @"
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
    # 0 tasks ask for room
          0 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              job 1 succeeded
              job 2: 0.1 placed on node1
              > node1: assign job 2: 0.1
          0 node1: job 2: 0.1 Exited { code: 0 }
              job 2: 0.1 succeeded, then succeeded
              job 2 succeeded
              job 3: 0.1 placed on node1
              > node1: assign job 3: 0.1
    ");
}

#[test]
fn a_job_that_is_settled_already_is_looked_up() {
    let mut cluster = Cluster::new();
    cluster.join("a", 4_000);
    cluster.submit(11, after(&[5, 6]));
    cluster.settled(5, JobStatus::Succeeded);
    cluster.say("what nobody comes after, and what is not settled, changes nothing");
    cluster.settled(7, JobStatus::Failed);
    cluster.settled(6, JobStatus::Running);
    cluster.settled(6, JobStatus::Succeeded);
    cluster.say("it has begun: another manager asks, and need not wait for the answer");
    cluster.take_over();
    cluster.end_task(11, 0, 0, GOOD);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 11 is submitted
              job 11 taken in
              looks up jobs [5, 6]
          0 job 5 is found succeeded
              looks up jobs [6]
    # what nobody comes after, and what is not settled, changes nothing
          0 job 7 is found failed
          0 job 6 is found running
          0 job 6 is found succeeded
              job 11: 0.1 placed on node1
              > node1: assign job 11: 0.1
              looks up jobs []
    # it has begun: another manager asks, and need not wait for the answer
    # another manager takes over
          0 node1: job 11: 0.1 Exited { code: 0 }
              job 11: 0.1 succeeded, then succeeded
              job 11 succeeded
    ");
}

#[test]
fn a_job_after_a_lost_one_is_cancelled_and_so_on() {
    let mut cluster = Cluster::new();
    cluster.join("a", 4_000);
    cluster.submit(1, job(2, 1_000));
    cluster.submit(2, after(&[1]));
    cluster.submit(3, after(&[2]));
    cluster.submit(4, after(&[9]));
    cluster.stop(1);
    cluster.end_all(Outcome::Stopped);
    cluster.settled(9, JobStatus::Failed);
    insta::assert_snapshot!(cluster.story(), @"
    0 a joins
        node1 booting: seen
        node1 ready: joined
    0 job 1 is submitted
        job 1 taken in
        0.1 placed on node1
        1.1 placed on node1
        > node1: assign 0.1 1.1
    0 job 2 is submitted
        job 2 taken in
    0 job 3 is submitted
        job 3 taken in
    0 job 4 is submitted
        job 4 taken in
        looks up jobs [9]
    0 job 1 is stopped
        job 1 stopping: Stopped
        0.1 stopping
        1.1 stopping
        > node1: cancel 0.1 1.1
    0 node1: 0.1 Stopped
        0.1 cancelled, then cancelled
    0 node1: 1.1 Stopped
        1.1 cancelled, then cancelled
        job 1 cancelled
        job 2 stopping: Dependency
        job 2: 0..1 cancelled
        job 2 cancelled
        job 3 stopping: Dependency
        job 3: 0..1 cancelled
        job 3 cancelled
    0 job 9 is found failed
        job 4 stopping: Dependency
        job 4: 0..1 cancelled
        job 4 cancelled
        looks up jobs []
    ");
}

#[test]
fn a_job_that_nobody_knows_is_waited_for() {
    let mut cluster = Cluster::new();
    cluster.join("a", 4_000);
    cluster.submit(2, after(&[1]));
    cluster.pass(5_000);
    cluster.say("it was in another replica's inbox");
    cluster.submit(1, job(1, 1_000));
    cluster.end_all(GOOD);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 2 is submitted
              job 2 taken in
              looks up jobs [1]
       5000 
    # it was in another replica's inbox
       5000 job 1 is submitted
              job 1 taken in
              0.1 placed on node1
              > node1: assign 0.1
              looks up jobs []
       5000 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              job 1 succeeded
              job 2: 0.1 placed on node1
              > node1: assign job 2: 0.1
       5000 node1: job 2: 0.1 Exited { code: 0 }
              job 2: 0.1 succeeded, then succeeded
              job 2 succeeded
    ");
}

#[test]
fn jobs_that_wait_for_others_do_not_keep_them_out() {
    let mut cluster = Cluster::new();
    cluster.config.max_jobs = 2;
    cluster.join("a", 4_000);
    cluster.submit(2, after(&[1]));
    cluster.submit(3, after(&[1]));
    cluster.say("but even those are bounded");
    cluster.submit(4, after(&[1]));
    cluster.submit(1, job(1, 1_000));
    cluster.take_in(1, &job(1, 1_000));
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 2 is submitted
              job 2 taken in
              looks up jobs [1]
          0 job 3 is submitted
              job 3 taken in
    # but even those are bounded
          0 job 4 is submitted
              job 4 waits
              asks for 2 jobs
          0 job 1 is submitted
              job 1 waits
              asks for 2 jobs
          0 a job of the backlog is handed over
              job 1 taken in
              0.1 placed on node1
              > node1: assign 0.1
              looks up jobs []
              asks for 1 jobs
    ");
}
