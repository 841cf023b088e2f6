//! Decisions as stories: what happens on the left, what the step decides on the right.

mod after;
mod cluster;
mod deadline;
mod explain;
mod users;

use cloud::{CloudError, Launched};
use cluster::{Cluster, job, machine, offer};
use model::{Machine, MachineState, NoticeKind, Outcome, Refusal, RefusalScope};

#[test]
fn a_job_settles() {
    let mut cluster = Cluster::new();
    let node = cluster.join("a", 2_000);
    cluster.submit(1, job(3, 1_000));
    cluster.start(node, [0, 1]);
    cluster.pass(500);
    cluster.end(node, 0, Outcome::Exited { code: 0 });
    cluster.end(node, 1, Outcome::Exited { code: 0 });
    cluster.end(node, 2, Outcome::Exited { code: 0 });
    insta::assert_snapshot!(cluster.story(), @"
      0 a joins
          node1 booting: seen
          node1 ready: joined
      0 job 1 is submitted
          job 1 taken in
          0.1 placed on node1
          1.1 placed on node1
          > node1: assign 0.1 1.1
      0 node1: [0, 1] started
          0.1 admitted started
          1.1 admitted started
    500 
    500 node1: 0.1 Exited { code: 0 }
          0.1 succeeded, then succeeded
          2.1 placed on node1
          > node1: assign 2.1
    500 node1: 1.1 Exited { code: 0 }
          1.1 succeeded, then succeeded
    500 node1: 2.1 Exited { code: 0 }
          2.1 succeeded, then succeeded
          job 1 succeeded
    ");
}

#[test]
fn a_report_with_an_old_number_changes_nothing() {
    let mut cluster = Cluster::new();
    let node = cluster.join("a", 1_000);
    cluster.submit(1, job(1, 1_000));
    cluster.end(node, 0, Outcome::Exited { code: 7 });
    cluster.pass(5_000);
    cluster.end(node, 0, Outcome::Exited { code: 0 });
    cluster.say("the same report again");
    cluster.end_attempt(node, 0, 1, Outcome::Exited { code: 0 });
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is submitted
              job 1 taken in
              0.1 placed on node1
              > node1: assign 0.1
          0 node1: 0.1 Exited { code: 7 }
              0.1 failed, then backoff until 5000
       5000 
              0 due
              0.2 placed on node1
              > node1: assign 0.2
       5000 node1: 0.2 Exited { code: 0 }
              0.2 succeeded, then succeeded
              job 1 succeeded
    # the same report again
       5000 node1: 0.1 Exited { code: 0 }
    ");
}

#[test]
fn what_is_silent_at_its_deadline_is_queued_at_it() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.submit(1, job(1, 1_000));
    cluster.plan();
    let node = cluster.boot("i-1", 2_000);
    cluster.start(node, [0]);
    cluster.notice("i-1", NoticeKind::Interruption, 5_000);
    cluster.forget();
    cluster.pass(4_999);
    cluster.pass(1);
    insta::assert_snapshot!(cluster.story(), @"
    5999 
    6000 
           $0.000024 for node1: Waste
           0.1 interrupted, then ready
           node1 retiring: notice
    ");
}

#[test]
fn a_notice_is_a_deadline() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000), offer("b", 75_000)]);
    cluster.submit(1, job(2, 1_000));
    cluster.plan();
    let node = cluster.boot("i-1", 2_000);
    cluster.start(node, [0, 1]);
    cluster.pass(1_000);
    cluster.notice("i-1", NoticeKind::Interruption, 10_000);
    cluster.pass(2_000);
    cluster.say("one ends in time, one is stopped by its node");
    cluster.end(node, 0, Outcome::Exited { code: 0 });
    cluster.end(node, 1, Outcome::Evicted);
    cluster.pass(8_000);
    cluster.notice("i-1", NoticeKind::StateChange, 0);
    insta::assert_snapshot!(cluster.story(), @"
          0 offers are read
          0 job 1 is submitted
              job 1 taken in
          0 the plan arrives
              intent1 1 in a,b: requested
          0 the cloud answers
              node1 booting: seen
              intent1 1 in a,b: closed(filled)
       1000 i-1 joins
              node1 ready: joined
              $0.000019 for node1: Boot
              0.1 placed on node1
              1.1 placed on node1
              > node1: assign 0.1 1.1
       1000 node1: [0, 1] started
              0.1 admitted started
              1.1 admitted started
       2000 
       2000 Interruption of i-1 in 10000 ms
              node1 draining: notice
              0.1 leaving by 12000 started
              1.1 leaving by 12000 started
              intent2 1 in a,b: requested
              > node1: drain true
       4000 
    # one ends in time, one is stopped by its node
       4000 node1: 0.1 Exited { code: 0 }
              $0.000014 for node1: Task
              0.1 succeeded, then succeeded
       4000 node1: 1.1 Evicted
              $0.000014 for node1: Waste
              1.1 interrupted, then ready
              node1 retiring: notice
      12000 
      12000 StateChange of i-1 in 0 ms
              $0.001119 for node1: Idle
              node1 gone: ended
    ");
}

/// Three machines of two tasks each.
fn three_machines() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000), offer("b", 75_000)]);
    for (number, name) in [(1, "i-1"), (2, "i-2"), (3, "i-3")] {
        cluster.submit(number, job(2, 1_000));
        cluster.plan();
        cluster.boot(name, 2_000);
    }
    cluster.forget();
    cluster
}

#[test]
fn what_leaves_together_is_replaced_together() {
    let mut cluster = three_machines();
    cluster.interruptions(&["i-1", "i-2"], 120_000);
    cluster.say("what was ordered for them is not there for the next");
    cluster.interruptions(&["i-3"], 120_000);
    insta::assert_snapshot!(cluster.story(), @"
       3000 i-1 and i-2 have to go in 120000 ms
              node1 draining: notice
              0.1 leaving by 123000
              1.1 leaving by 123000
              node2 draining: notice
              job 2: 0.1 leaving by 123000
              job 2: 1.1 leaving by 123000
              intent4 1 in a,b: requested
              intent5 1 in b,a: requested
              > node1: drain true
              > node2: drain true
    # what was ordered for them is not there for the next
       3000 i-3 have to go in 120000 ms
              node3 draining: notice
              job 3: 0.1 leaving by 123000
              job 3: 1.1 leaving by 123000
              intent6 1 in a,b: requested
              > node3: drain true
    ");
}

#[test]
fn two_may_tell_of_one_notice() {
    let mut cluster = three_machines();
    cluster.interruptions(&["i-1"], 120_000);
    cluster.say("its deadline by another way, a little earlier: the same");
    cluster.notice("i-1", NoticeKind::Interruption, 119_950);
    cluster.say("much earlier: another");
    cluster.notice("i-1", NoticeKind::Interruption, 60_000);
    insta::assert_snapshot!(cluster.story(), @"
       3000 i-1 have to go in 120000 ms
              node1 draining: notice
              0.1 leaving by 123000
              1.1 leaving by 123000
              intent4 1 in a,b: requested
              > node1: drain true
    # its deadline by another way, a little earlier: the same
       3000 Interruption of i-1 in 119950 ms
    # much earlier: another
       3000 Interruption of i-1 in 60000 ms
              node1 draining: notice
              0.1 leaving by 63000
              1.1 leaving by 63000
              > node1: drain true
    ");
}

#[test]
fn a_bill_ends_when_the_machine_did() {
    let mut cluster = three_machines();
    cluster.pass(600_000);
    cluster.say("the cloud's word comes ten seconds late");
    cluster.notice("i-1", NoticeKind::StateChange, -10_000);
    cluster.say("and so does a listing");
    let reclaimed = MachineState::Reclaimed(cluster.now().plus_ms(-10_000));
    let launched = cluster.now().plus_ms(-602_000);
    cluster.list(&[
        Machine { state: reclaimed, ..machine("i-2", 2, launched) },
        machine("i-3", 3, launched),
    ]);
    insta::assert_snapshot!(cluster.story(), @"
     603000 
    # the cloud's word comes ten seconds late
     603000 StateChange of i-1 in -10000 ms
              0.1 returned, then ready
              1.1 returned, then ready
              $0.011511 for node1: Idle
              node1 gone: reclaimed
    # and so does a listing
     603000 machines are listed
              job 2: 0.1 returned, then ready
              job 2: 1.1 returned, then ready
              $0.011492 for node2: Idle
              node2 gone: reclaimed
    ");
}

#[test]
fn a_notice_before_its_machine_is_kept() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.submit(1, job(1, 1_000));
    cluster.plan();
    cluster.notice("i-1", NoticeKind::Interruption, 10_000);
    cluster.boot("i-1", 2_000);
    insta::assert_snapshot!(cluster.story(), @"
       0 offers are read
       0 job 1 is submitted
           job 1 taken in
       0 the plan arrives
           intent1 1 in a: requested
       0 Interruption of i-1 in 10000 ms
           notice for i-1 kept
       0 the cloud answers
           node1 booting: seen
           intent1 1 in a: closed(filled)
           notice for i-1 done
           node1 booting: notice
           > node1: drain true
    1000 i-1 joins
           node1 draining: notice
           $0.000019 for node1: Boot
           node1 retiring: notice
    ");
}

#[test]
fn a_closed_socket_moves_short_tasks_at_once_and_long_ones_later() {
    let mut cluster = Cluster::new();
    let gone = cluster.join("a", 2_000);
    cluster.submit(1, job(2, 1_000));
    cluster.start(gone, [0]);
    cluster.pass(60_000);
    cluster.start(gone, [1]);
    cluster.pass(20);
    cluster.join("b", 2_000);
    cluster.closed(gone);
    cluster.say("task 1 had run for 20 ms");
    cluster.pass(20);
    cluster.say("task 0 for a minute: the grace is 10 s");
    cluster.pass(9_979);
    cluster.pass(1);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is submitted
              job 1 taken in
              0.1 placed on node1
              1.1 placed on node1
              > node1: assign 0.1 1.1
          0 node1: [0] started
              0.1 admitted started
      60000 
      60000 node1: [1] started
              1.1 admitted started
      60020 
      60020 b joins
              node2 booting: seen
              node2 ready: joined
      60020 node1's socket closes
    # task 1 had run for 20 ms
      60040 
              1.1 node-lost, then ready
              1.2 placed on node2
              > node2: assign 1.2
    # task 0 for a minute: the grace is 10 s
      70019 
      70020 
              0.1 node-lost, then ready
              0.2 placed on node2
              > node2: assign 0.2
    ");
}

#[test]
fn after_a_take_over_what_runs_is_adopted() {
    let mut cluster = Cluster::new();
    let node = cluster.join("a", 2_000);
    let lost = cluster.join("b", 1_000);
    cluster.submit(1, job(3, 1_000));
    cluster.start(node, [1, 2]);
    cluster.start(lost, [0]);
    cluster.take_over();
    cluster.inventory(node, [(1, true), (2, true)]);
    cluster.say("the other node has a full grace");
    cluster.pass(9_999);
    cluster.pass(1);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 b joins
              node2 booting: seen
              node2 ready: joined
          0 job 1 is submitted
              job 1 taken in
              0.1 placed on node2
              1.1 placed on node1
              2.1 placed on node1
              > node2: assign 0.1
              > node1: assign 1.1 2.1
          0 node1: [1, 2] started
              1.1 admitted started
              2.1 admitted started
          0 node2: [0] started
              0.1 admitted started
    # another manager takes over
          0 node1: its inventory
              > node1: drain false
    # the other node has a full grace
       9999 
      10000 
              0.1 node-lost, then ready
    ");
}

#[test]
fn what_a_node_lacks_is_sent_again_or_given_up() {
    let mut cluster = Cluster::new();
    let node = cluster.join("a", 3_000);
    cluster.submit(1, job(3, 1_000));
    cluster.start(node, [0, 1]);
    cluster.say("0 runs, 1 had started and is unknown there, 2 never arrived, 9 is nobody's");
    cluster.inventory(node, [(0, true), (9, true)]);
    insta::assert_snapshot!(cluster.story(), @"
          0 a joins
              node1 booting: seen
              node1 ready: joined
          0 job 1 is submitted
              job 1 taken in
              0.1 placed on node1
              1.1 placed on node1
              2.1 placed on node1
              > node1: assign 0.1 1.1 2.1
          0 node1: [0, 1] started
              0.1 admitted started
              1.1 admitted started
    # 0 runs, 1 had started and is unknown there, 2 never arrived, 9 is nobody's
          0 node1: its inventory
              1.1 node-lost, then ready
              1.2 placed on node1
              > node1: assign 2.1 1.2
              > node1: cancel 9.1
              > node1: drain false
    ");
}

#[test]
fn refusals_are_heeded_by_scope() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000), offer("b", 75_000)]);
    cluster.submit(1, job(1, 1_000));
    cluster.plan();
    let message = "InsufficientInstanceCapacity".into();
    let pools = vec![offer("a", 0).pool, offer("b", 0).pool];
    let refusal = Some(Refusal { scope: RefusalScope::Pools(pools), message });
    cluster.launched(Ok(Launched { machines: Vec::new(), refusal }));
    cluster.say("both pools are hidden");
    cluster.plan();
    cluster.pass(30_000);
    cluster.plan();
    cluster.launched(Err(CloudError::Retry("timed out".into())));
    cluster.pass(600_000);
    insta::assert_snapshot!(cluster.story(), @"
          0 offers are read
          0 job 1 is submitted
              job 1 taken in
          0 the plan arrives
              intent1 1 in a,b: requested
          0 the cloud answers
              intent1 1 in a,b: launch-failed: InsufficientInstanceCapacity
    # both pools are hidden
          0 the plan arrives
      30000 
      30000 the plan arrives
              intent2 1 in a,b: requested
      30000 the cloud answers
              intent2 1 in a,b: launching
     630000 
              intent2 1 in a,b: closed(expired)
    ");
}

#[test]
fn orphans_are_ended_after_two_listings_unless_there_are_many() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000)]);
    let orphan = machine("i-9", 5, cluster.now());
    cluster.list(std::slice::from_ref(&orphan));
    cluster.pass(61_000);
    cluster.list(std::slice::from_ref(&orphan));
    cluster.pass(2_000);
    cluster.list(std::slice::from_ref(&orphan));
    cluster.say("four at once are our mistake");
    let many: Vec<_> = (1..=4).map(|n| machine(&format!("i-{n}"), 5, cluster::START)).collect();
    cluster.list(&many);
    cluster.list(&many);
    insta::assert_snapshot!(cluster.story(), @"
          0 offers are read
          0 machines are listed
      61000 
      61000 machines are listed
      63000 
      63000 machines are listed
              node1 retiring: never-joined
    # four at once are our mistake
      63000 machines are listed
      63000 machines are listed
    ");
}

#[test]
fn a_failed_task_may_stop_its_siblings() {
    let mut cluster = Cluster::new();
    let node = cluster.join("a", 2_000);
    let mut document = job(4, 1_000);
    document["on_task_failure"] = "stop".into();
    document["group"][0]["restart"] = serde_json::json!({"max_failures": 0});
    cluster.submit(1, document);
    cluster.start(node, [0, 1]);
    cluster.end(node, 0, Outcome::Exited { code: 1 });
    cluster.end(node, 1, Outcome::Stopped);
    insta::assert_snapshot!(cluster.story(), @"
    0 a joins
        node1 booting: seen
        node1 ready: joined
    0 job 1 is submitted
        job 1 taken in
        0.1 placed on node1
        1.1 placed on node1
        > node1: assign 0.1 1.1
    0 node1: [0, 1] started
        0.1 admitted started
        1.1 admitted started
    0 node1: 0.1 Exited { code: 1 }
        0.1 failed, then failed: Failed
        job 1 stopping: SiblingFailed
        2..4 cancelled
        1.1 stopping started
        > node1: cancel 1.1
    0 node1: 1.1 Stopped
        1.1 cancelled, then cancelled
        job 1 failed
    ");
}

#[test]
fn intake_is_bounded() {
    let mut cluster = Cluster::new();
    cluster.config.max_jobs = 2;
    for number in 1..=3 {
        cluster.submit(number, job(1, 1_000));
    }
    let node = cluster.join("a", 1_000);
    cluster.end(node, 0, Outcome::Exited { code: 0 });
    cluster.say("half is free: the next is asked for");
    cluster.take_in(3, &job(1, 1_000));
    insta::assert_snapshot!(cluster.story(), @"
          0 job 1 is submitted
              job 1 taken in
          0 job 2 is submitted
              job 2 taken in
          0 job 3 is submitted
              job 3 waits
          0 a joins
              node1 booting: seen
              node1 ready: joined
              0.1 placed on node1
              > node1: assign 0.1
          0 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              job 1 succeeded
              job 2: 0.1 placed on node1
              > node1: assign job 2: 0.1
              asks for 1 jobs
    # half is free: the next is asked for
          0 a job of the backlog is handed over
              job 3 taken in
    ");
}

#[test]
fn nothing_is_kept_for_what_cannot_be_taken_in() {
    let mut cluster = Cluster::new();
    cluster.config.max_jobs = 1;
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.submit(1, job(1, 1_000));
    cluster.plan();
    let node = cluster.boot("i-1", 2_000);
    cluster.submit(2, job(1, 64_000));
    cluster.end(node, 0, Outcome::Exited { code: 0 });
    cluster.take_in(2, &job(1, 64_000));
    cluster.submit(3, job(1, 1_000));
    cluster.forget();
    cluster.say("job 2 is larger than any machine; job 3 would fit, and World is full");
    cluster.pass(61_000);
    let launched = cluster.now().plus_ms(-61_000);
    cluster.list(&[machine("i-1", 1, launched)]);
    cluster.plan();
    insta::assert_snapshot!(cluster.story(), @"
    # job 2 is larger than any machine; job 3 would fit, and World is full
      62000 
      62000 machines are listed
      62000 the plan arrives
              node1 retiring: idle
    ");
}

#[test]
fn nothing_is_bought_for_what_cannot_be_taken_in() {
    let mut cluster = Cluster::new();
    cluster.config.max_jobs = 1;
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.submit(1, job(1, 64_000));
    cluster.submit(2, job(1, 1_000));
    cluster.forget();
    cluster.say("job 1 is larger than any machine, and while it waits job 2 stays in its table");
    cluster.plan();
    insta::assert_snapshot!(cluster.story(), @"
    # job 1 is larger than any machine, and while it waits job 2 stays in its table
          0 the plan arrives
    ");
}
