//! Several replicas on one Postgres.

use std::time::Duration;

use api::problem::ProblemKind;
use model::{JobStatus, Timestamp};
use store::{JobFilter, Store};

use crate::scene::{Digester, config, job, postgres, problem, user_of};

#[tokio::test]
async fn a_follower_on_postgres_accepts_and_the_leader_runs() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let database = postgres(&folders[0]);
    let [first, second] = folders.each_ref().map(|folder| {
        let mut config = config(folder);
        config.database = Some(database.clone());
        config
    });
    let leader = manager::run(first).await.expect("it starts");
    let at_leader = user_of(&leader).await;
    let follower = manager::run(second).await.expect("it starts");
    let at_follower = user_of(&follower).await;

    let submitted = at_follower.submit(&job(2), None).await.expect("accepted");
    // Visible at every replica at once.
    at_leader.job(submitted.id).await.expect("it is there");
    let keyed = at_follower.submit(&job(1), Some("key")).await.expect("accepted");
    let replayed = at_leader.submit(&job(1), Some("key")).await.expect("replayed");
    assert_eq!(keyed.id, replayed.id);
    assert_eq!(problem(at_leader.submit(&job(2), Some("key")).await), ProblemKind::KeyReused);

    // What needs World is answered where it is: the client goes there by itself.
    let mut node = Digester::join(&at_follower, "one", 1).await;
    let mut settled = 0;
    while settled < 3 {
        let work = node.work().await;
        settled += work.len();
        node.succeed(&work).await;
    }
    let detail = at_follower.job(submitted.id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    let stopped = at_follower.submit(&job(1), None).await.expect("accepted");
    at_follower.stop_job(stopped.id).await.expect("accepted");

    // The leader gives its lease back: the other one leads at once, under a higher term.
    leader.shutdown().await;
    let mut node = Digester::join(&at_follower, "two", 2).await;
    let later = at_follower.submit(&job(1), None).await.expect("accepted");
    let work = loop {
        let work = node.work().await;
        if work.iter().any(|attempt| attempt.task.job == later.id) {
            break work;
        }
        node.succeed(&work).await;
    };
    node.succeed(&work).await;
    let detail = at_follower.job(later.id).await.expect("it is there");
    assert_eq!(detail.job.status, JobStatus::Succeeded);
    follower.shutdown().await;
}

#[tokio::test]
async fn a_leader_that_was_passed_over_on_postgres_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = postgres(&folder);
    let mut config = config(&folder);
    config.database = Some(database.clone());
    // It finds out by its commit, not by its renewal.
    config.timing.lease_ms = 600_000;
    let manager = manager::run(config).await.expect("it starts");
    let user = user_of(&manager).await.with_patience(Duration::ZERO);
    let mut node = Digester::join(&user, "one", 1).await;
    user.submit(&job(1), None).await.expect("accepted");
    let work = node.work().await;
    let replica = std::fs::read_to_string(manager.data_dir().join("replica")).expect("its name");
    let other = Store::open(&database).await.expect("opened");
    other.release(&replica, 1).await.expect("as if it had run out");
    let term = other.acquire("other", "http://127.0.0.1:9", 600_000, Timestamp::from_ms(0)).await;
    assert_eq!(term.expect("acquired"), Some(2));
    assert_eq!(problem(user.submit(&job(1), None).await), ProblemKind::NotLeader);
    let late = node.request(vec![crate::scene::ended(work[0], 0, "late")]);
    assert_eq!(problem(node.client.sync(node.node, &late).await), ProblemKind::NotLeader);
    let jobs = other.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.expect("read");
    assert_eq!(jobs.len(), 1, "nothing was written under the old term");
    assert_eq!(jobs[0].status, JobStatus::Running);
    // A submit still is accepted: as a message to whoever leads.
    let user = user_of(&manager).await;
    user.submit(&job(1), None).await.expect("accepted by a follower");
    assert_eq!(other.inbox(10).await.expect("read").len(), 1);
    other.close().await;
    manager.shutdown().await;
}
