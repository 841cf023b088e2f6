//! Why things are as they are, in words.

use cloud::{CloudError, Launched};
use model::{NoticeKind, Outcome, PurchaseOption, Refusal, RefusalScope};
use serde_json::{Value, json};

use crate::cluster::{Cluster, job, offer};

const GOOD: Outcome = Outcome::Exited { code: 0 };
const BAD: Outcome = Outcome::Exited { code: 2 };

fn large(cpu: &str, memory: &str) -> Value {
    let mut document = job(1, 1_000);
    document["group"][0]["resources"] = json!({"cpu": cpu, "memory": memory});
    document
}

#[test]
fn what_comes_first_is_told_first() {
    let mut cluster = Cluster::new();
    let mut document = job(4, 1_000);
    document["group"][0]["name"] = "first".into();
    let next = json!({"name": "next", "after": ["first"], "command": ["true"]});
    document["group"].as_array_mut().expect("a list").push(next);
    document["after"] = json!([model::JobId::from_number(7).to_string()]);
    cluster.submit(1, document);
    cluster.submit(2, job(1, 1_000));
    cluster.forget();
    cluster.explain_task(1, 0, 2);
    cluster.explain_task(1, 1, 0);
    cluster.explain_job(1);
    insta::assert_snapshot!(cluster.story(), @"
    1.0.2 waits for job_0000000000007 to succeed
      - job_0000000000007 is not settled, as far as this manager knows
      - nothing is placed or bought for it before
    1.1.0 waits for job_0000000000007 and group `first` to succeed
      - job_0000000000007 is not settled, as far as this manager knows
      - group `first` has 0 of 4 tasks succeeded
      - nothing is placed or bought for it before
    job 1 has 5 tasks: 0 settled, 0 on nodes, 5 to be placed
      - group `first`: 4 tasks to be placed; job_0000000000001.0.0 waits for job_0000000000007 to succeed
      - job_0000000000007 is not settled, as far as this manager knows
      - nothing is placed or bought for it before
      - group `next`: 1 task to be placed; job_0000000000001.1.0 waits for job_0000000000007 and group `first` to succeed
      - group `first` has 0 of 4 tasks succeeded
    ");
}

#[test]
fn a_task_that_is_larger_than_all_there_is() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.join("desk", 1_000);
    cluster.submit(1, large("4", "68GiB"));
    cluster.submit(2, large("1500m", "1GiB"));
    let mut elsewhere = large("1500m", "1GiB");
    elsewhere["group"][0]["zones"] = json!(["z"]);
    cluster.submit(3, elsewhere);
    cluster.forget();
    for job in 1..=3 {
        cluster.explain_task(job, 0, 0);
    }
    cluster.offers(Vec::new());
    cluster.explain_task(1, 0, 0);
    insta::assert_snapshot!(cluster.story(), @"
    1.0.0 needs more than any machine has that is here or on offer
      - it needs 4 cores, 68 GiB memory
      - the nearest node, node1, lacks 3 cores and 64 GiB of memory, even when nothing runs there
      - no offer is large enough: the nearest, a/m5.large/spot (2 cores, 4 GiB memory), lacks 2 cores and 64 GiB of memory
    2.0.0 waits for a machine to be bought
      - it needs 1.5 cores, 1 GiB memory
      - served before it: 1 task of other groups
      - the nearest node, node1, lacks 0.5 cores, even when nothing runs there
      - a/m5.large/spot will do, at $0.070000 an hour
    3.0.0 waits for a machine that its constraints allow, and none is on offer
      - it needs 1.5 cores, 1 GiB memory
      - served before it: 2 tasks of other groups
      - of 1 node: 1 excluded by its constraints
      - a/m5.large/spot is large enough, but the zone is not asked for
          0 offers are read
    1.0.0 waits for a machine, and nothing is on offer
      - it needs 4 cores, 68 GiB memory
      - the nearest node, node1, lacks 3 cores and 64 GiB of memory, even when nothing runs there
      - nothing is on offer
    ");
}

#[test]
fn the_queue_and_machines_on_order() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000)]);
    let node = cluster.join("desk", 2_000);
    cluster.submit(1, job(3, 1_000));
    let mut limited = job(3, 1_000);
    limited["max_running"] = 1.into();
    cluster.submit(2, limited);
    cluster.forget();
    cluster.explain_task(1, 0, 2);
    cluster.plan();
    cluster.explain_task(2, 0, 2);
    cluster.end(node, 0, GOOD);
    cluster.end(node, 1, GOOD);
    cluster.explain_task(2, 0, 2);
    cluster.explain_job(2);
    insta::assert_snapshot!(cluster.story(), @"
    1.0.2 waits for room on a node, or for a new machine
      - it needs 1 core, 1 MiB memory
      - the nearest node, node1, lacks 1 core
      - a/m5.large/spot will do, at $0.070000 an hour
          0 the plan arrives
              intent1 2 in a: requested
    2.0.2 waits for machines that were bought
      - it needs 1 core, 1 MiB memory
      - served before it: 1 task of other groups
      - the nearest node, node1, lacks 1 core
      - on order or booting, and large enough: 2 machines
      - a/m5.large/spot will do, at $0.070000 an hour
          0 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              2.1 placed on node1
              > node1: assign 2.1
          0 node1: 1.1 Exited { code: 0 }
              1.1 succeeded, then succeeded
              job 2: 0.1 placed on node1
              > node1: assign job 2: 0.1
    2.0.2 waits for other tasks of its job to end
      - max_running lets 1 task run at once
    job 2 has 3 tasks: 0 settled, 1 on nodes, 2 to be placed
      - group `group-0`: 2 tasks to be placed; job_0000000000002.0.1 waits for other tasks of its job to end
      - max_running lets 1 task run at once
    ");
}

#[test]
fn refusals_and_until_when_they_hold() {
    let mut cluster = Cluster::new();
    cluster.tells_notes = true;
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.submit(1, job(1, 1_000));
    let refuse = |cluster: &mut Cluster, scope, words: &str| {
        cluster.plan();
        let refusal = Refusal { scope, message: words.into() };
        cluster.launched(Ok(Launched { machines: Vec::new(), refusal: Some(refusal) }));
        cluster.withheld();
        cluster.explain_task(1, 0, 0);
    };
    let pools = || RefusalScope::Pools(vec![offer("a", 0).pool]);
    refuse(&mut cluster, pools(), "no capacity");
    cluster.pass(30_000);
    refuse(&mut cluster, pools(), "no capacity");
    cluster.pass(60_000);
    refuse(&mut cluster, RefusalScope::Quota(PurchaseOption::Spot), "32 of 32 vCPU used");
    cluster.pass(600_000);
    refuse(&mut cluster, RefusalScope::Configuration, "no such image");
    cluster.pass(300_000);
    cluster.plan();
    cluster.launched(Err(CloudError::Throttled { wait_ms: 2_000 }));
    cluster.launched(Err(CloudError::Throttled { wait_ms: 4_000 }));
    cluster.withheld();
    cluster.explain_task(1, 0, 0);
    insta::assert_snapshot!(cluster.story(), @"
          0 offers are read
          0 job 1 is submitted
              job 1 taken in
          0 the plan arrives
              intent1 1 in a: requested
              ! intent1: 1 machine ordered: 1 x a/m5.large/spot at $0.070000 an hour for 1 x (1 core, 1 MiB memory; spot): 25 % full; no other pool will do
          0 the cloud answers
              intent1 1 in a: launch-failed: no capacity
              ! intent1: closed with 0 of 1 machines: no capacity
              ! a/m5.large/spot: not asked until 2026-09-21T14:13:50.000Z (in 30s): no capacity
    a/m5.large/spot is not asked until 2026-09-21T14:13:50.000Z (in 30s): the cloud refused it
    1.0.0 waits for a machine; none is bought for it until 2026-09-21T14:13:50.000Z (in 30s)
      - it needs 1 core, 1 MiB memory
      - there is no node
      - it would run on a/m5.large/spot, but that is not asked until 2026-09-21T14:13:50.000Z (in 30s): the cloud refused it
      30000 
      30000 the plan arrives
              intent2 1 in a: requested
              ! intent2: 1 machine ordered: 1 x a/m5.large/spot at $0.070000 an hour for 1 x (1 core, 1 MiB memory; spot): 25 % full; no other pool will do
      30000 the cloud answers
              intent2 1 in a: launch-failed: no capacity
              ! intent2: closed with 0 of 1 machines: no capacity
              ! a/m5.large/spot: not asked until 2026-09-21T14:14:50.000Z (in 1m), refusal 2 in a row: no capacity
    a/m5.large/spot is not asked until 2026-09-21T14:14:50.000Z (in 1m): the cloud refused it 2 times in a row
    1.0.0 waits for a machine; none is bought for it until 2026-09-21T14:14:50.000Z (in 1m)
      - it needs 1 core, 1 MiB memory
      - there is no node
      - it would run on a/m5.large/spot, but that is not asked until 2026-09-21T14:14:50.000Z (in 1m): the cloud refused it 2 times in a row
      90000 
      90000 the plan arrives
              intent3 1 in a: requested
              ! intent3: 1 machine ordered: 1 x a/m5.large/spot at $0.070000 an hour for 1 x (1 core, 1 MiB memory; spot): 25 % full; no other pool will do
      90000 the cloud answers
              intent3 1 in a: launch-failed: 32 of 32 vCPU used
              ! intent3: closed with 0 of 1 machines: 32 of 32 vCPU used
              ! spot: none is bought until 2026-09-21T14:24:50.000Z (in 10m): 32 of 32 vCPU used
    no spot machine is bought until 2026-09-21T14:24:50.000Z (in 10m): the account's quota for it is used up
    1.0.0 waits for a machine; none is bought for it until 2026-09-21T14:24:50.000Z (in 10m)
      - it needs 1 core, 1 MiB memory
      - there is no node
      - it would run on a/m5.large/spot, but no spot machine is bought until 2026-09-21T14:24:50.000Z (in 10m): the account's quota for it is used up
     690000 
     690000 the plan arrives
              intent4 1 in a: requested
              ! intent4: 1 machine ordered: 1 x a/m5.large/spot at $0.070000 an hour for 1 x (1 core, 1 MiB memory; spot): 25 % full; no other pool will do
     690000 the cloud answers
              intent4 1 in a: launch-failed: no such image
              ! intent4: closed with 0 of 1 machines: no such image
              ! launches: nothing is bought until 2026-09-21T14:29:50.000Z (in 5m): no such image
    nothing is bought until 2026-09-21T14:29:50.000Z (in 5m): no such image
    1.0.0 waits for a machine; none is bought for it until 2026-09-21T14:29:50.000Z (in 5m)
      - it needs 1 core, 1 MiB memory
      - there is no node
      - it would run on a/m5.large/spot, but nothing is bought until 2026-09-21T14:29:50.000Z (in 5m): no such image
     990000 
     990000 the plan arrives
              intent5 1 in a: requested
              ! intent5: 1 machine ordered: 1 x a/m5.large/spot at $0.070000 an hour for 1 x (1 core, 1 MiB memory; spot): 25 % full; no other pool will do
     990000 the cloud answers
              intent5 1 in a: launching
              ! launches: nothing is bought until 2026-09-21T14:29:52.000Z (in 2s): the cloud wants fewer requests for a while
     990000 the cloud answers
    nothing is bought until 2026-09-21T14:29:54.000Z (in 4s): the cloud wants fewer requests for a while
    1.0.0 waits for machines that were bought
      - it needs 1 core, 1 MiB memory
      - there is no node
      - on order or booting, and large enough: 1 machine
      - it would run on a/m5.large/spot, but nothing is bought until 2026-09-21T14:29:54.000Z (in 4s): the cloud wants fewer requests for a while
    ");
}

#[test]
fn a_running_task_and_why_there() {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.submit(1, job(1, 1_000));
    cluster.plan();
    let bought = cluster.boot("i-1", 2_000);
    cluster.start(bought, [0]);
    cluster.pass(90_000);
    cluster.forget();
    cluster.explain_task(1, 0, 0);
    let desk = cluster.join("desk", 4_000);
    cluster.submit(2, job(2, 1_000));
    cluster.explain_task(1, 0, 0);
    cluster.explain_task(2, 0, 1);
    cluster.notice("i-1", NoticeKind::Interruption, 120_000);
    cluster.explain_task(1, 0, 0);
    cluster.explain_node(desk);
    insta::assert_snapshot!(cluster.story(), @"
    1.0.0 is running on node1
      - it started at 2026-09-21T14:13:21.000Z, 1m 30s ago
      - it is there because no other node takes such work
      - node1 is i-1 of a/m5.large/spot (2 cores, 4 GiB memory) at $0.070000 an hour
      - reserved there: 1 core, 1 MiB memory; free: 1 core, 4095 MiB memory
      91000 desk joins
              node2 booting: seen
              node2 ready: joined
      91000 job 2 is submitted
              job 2 taken in
              job 2: 0.1 placed on node2
              job 2: 1.1 placed on node2
              > node2: assign job 2: 0.1 job 2: 1.1
    1.0.0 is running on node1
      - it started at 2026-09-21T14:13:21.000Z, 1m 30s ago
      - best-fit chose that node when the task was placed; now 1 of 2 nodes would be better, but what runs is not moved for that
      - node1 is i-1 of a/m5.large/spot (2 cores, 4 GiB memory) at $0.070000 an hour
      - reserved there: 1 core, 1 MiB memory; free: 1 core, 4095 MiB memory
    2.0.1 is assigned on node2
      - it was assigned at 2026-09-21T14:14:51.000Z, and has not started yet
      - it is there because no other node takes such work
      - node2 is `desk`, somebody's own machine (4 cores, 4 GiB memory)
      - reserved there: 2 cores, 2 MiB memory; free: 2 cores, 4094 MiB memory
      91000 Interruption of i-1 in 120000 ms
              node1 draining: notice
              0.1 leaving by 211000 started
              > node1: drain true
    1.0.0 is leaving on node1
      - it started at 2026-09-21T14:13:21.000Z, 1m 30s ago
      - its node goes: it may run until 2026-09-21T14:16:51.000Z (in 2m); if it is not done then, it runs again elsewhere
      - node1 is i-1 of a/m5.large/spot (2 cores, 4 GiB memory) at $0.070000 an hour
      - reserved there: 1 core, 1 MiB memory; free: 1 core, 4095 MiB memory
      - it is there until 2026-09-21T14:16:51.000Z (in 2m)
    node2 is ready and has 2 tasks
      - node2 is `desk`, somebody's own machine (4 cores, 4 GiB memory)
      - reserved there: 2 cores, 2 MiB memory; free: 2 cores, 4094 MiB memory
      - it costs nothing here and is never retired
    ");
}

#[test]
fn the_best_node_and_the_next() {
    let mut cluster = Cluster::new();
    cluster.join("small", 2_000);
    cluster.join("large", 4_000);
    cluster.join("full", 0);
    cluster.submit(1, job(1, 1_000));
    cluster.forget();
    cluster.explain_task(1, 0, 0);
    insta::assert_snapshot!(cluster.story(), @"
    1.0.0 is assigned on node1
      - it was assigned at 2026-09-21T14:13:20.000Z, and has not started yet
      - by best-fit it would be placed there again: it has room for 2; costs nothing, 74.9 % left over; the next best, node2, has room for 4; costs nothing, 87.4 % left over
      - node1 is `small`, somebody's own machine (2 cores, 4 GiB memory)
      - reserved there: 1 core, 1 MiB memory; free: 1 core, 4095 MiB memory
    ");
}

#[test]
fn a_failed_task_and_one_that_is_tried_again() {
    let mut cluster = Cluster::new();
    let node = cluster.join("desk", 2_000);
    let mut document = job(3, 1_000);
    document["group"][0]["restart"] = json!({"no_retry_exit_codes": [2]});
    cluster.submit(1, document);
    cluster.end(node, 0, BAD);
    cluster.end(node, 1, Outcome::Exited { code: 1 });
    cluster.forget();
    for index in 0..4 {
        cluster.explain_task(1, 0, index);
    }
    cluster.end(node, 2, GOOD);
    cluster.explain_task(1, 0, 2);
    cluster.explain_job(1);
    insta::assert_snapshot!(cluster.story(), @"
    1.0.0 has failed: it exited with a code that says not to retry
      - it was tried 1 time; 1 failure of its own, 0 interruptions and 0 lost machines by nobody's fault
      - `ebb retry` lets it run again
    1.0.1 waits until 2026-09-21T14:13:25.000Z (in 5s) to be tried again
      - attempt 1 failed; 1 failure of its own so far, and it is tried again after up to 3
    1.0.2 is assigned on node1
      - it was assigned at 2026-09-21T14:13:20.000Z, and has not started yet
      - it is there because no other node takes such work
      - node1 is `desk`, somebody's own machine (2 cores, 4 GiB memory)
      - reserved there: 1 core, 1 MiB memory; free: 1 core, 4095 MiB memory
    1.0.3: nothing is known
          0 node1: 2.1 Exited { code: 0 }
              2.1 succeeded, then succeeded
    1.0.2 has succeeded
    job 1 has 3 tasks: 2 settled, 0 on nodes, 1 to be placed
      - failed for good so far: 1 task
      - failed, and to be tried again: 1 task, the first in 5s
    ");
}

#[test]
fn a_node_from_its_order_to_its_end() {
    let mut cluster = Cluster::new();
    cluster.tells_notes = true;
    cluster.offers(vec![offer("a", 70_000)]);
    cluster.submit(1, job(1, 1_000));
    cluster.plan();
    let node = cluster.boot("i-1", 2_000);
    cluster.explain_node(node);
    cluster.end(node, 0, GOOD);
    cluster.pass(15_000);
    cluster.explain_node(node);
    cluster.pass(14_000);
    cluster.inventory(node, []);
    cluster.pass(29_000);
    cluster.inventory(node, []);
    cluster.pass(2_000);
    cluster.explain_node(node);
    cluster.list(&[crate::cluster::machine("i-1", 1, cluster.now())]);
    cluster.plan();
    cluster.explain_node(node);
    insta::assert_snapshot!(cluster.story(), @"
          0 offers are read
          0 job 1 is submitted
              job 1 taken in
          0 the plan arrives
              intent1 1 in a: requested
              ! intent1: 1 machine ordered: 1 x a/m5.large/spot at $0.070000 an hour for 1 x (1 core, 1 MiB memory; spot): 25 % full; no other pool will do
          0 the cloud answers
              node1 booting: seen
              intent1 1 in a: closed(filled)
              ! node1: i-1 of a/m5.large/spot at $0.070000 an hour, bought by intent1: 1 x a/m5.large/spot at $0.070000 an hour for 1 x (1 core, 1 MiB memory; spot): 25 % full; no other pool will do
       1000 i-1 joins
              node1 ready: joined
              $0.000019 for node1: Boot
              0.1 placed on node1
              > node1: assign 0.1
    node1 is ready and has 1 task
      - node1 is i-1 of a/m5.large/spot (2 cores, 4 GiB memory) at $0.070000 an hour
      - reserved there: 1 core, 1 MiB memory; free: 1 core, 4095 MiB memory
      - bought by intent1 at 2026-09-21T14:13:20.000Z
      - kept for its tasks; once it has had nothing to do for 1m it is retired
       1000 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              job 1 succeeded
      16000 
    node1 is ready and has nothing to do
      - node1 is i-1 of a/m5.large/spot (2 cores, 4 GiB memory) at $0.070000 an hour
      - reserved there: 0 cores, 0 MiB memory; free: 2 cores, 4 GiB memory
      - bought by intent1 at 2026-09-21T14:13:20.000Z
      - idle since 2026-09-21T14:13:21.000Z; kept until 2026-09-21T14:14:21.000Z (in 45s), in case more work comes
      30000 
      30000 node1: its inventory
              > node1: drain false
      59000 
      59000 node1: its inventory
              > node1: drain false
      61000 
    node1 is ready and has nothing to do
      - node1 is i-1 of a/m5.large/spot (2 cores, 4 GiB memory) at $0.070000 an hour
      - reserved there: 0 cores, 0 MiB memory; free: 2 cores, 4 GiB memory
      - bought by intent1 at 2026-09-21T14:13:20.000Z
      - idle since 2026-09-21T14:13:21.000Z; kept, for nothing is retired now: the last listing of machines is too old
      61000 machines are listed
      61000 the plan arrives
              node1 retiring: idle
              ! node1: retired: idle for 1m, and no demand needs it: $0.070000 an hour saved
    node1 is being ended: it had nothing to do for long enough, and nothing that waits needs it
      - node1 is i-1 of a/m5.large/spot (2 cores, 4 GiB memory) at $0.070000 an hour
      - reserved there: 0 cores, 0 MiB memory; free: 2 cores, 4 GiB memory
      - bought by intent1 at 2026-09-21T14:13:20.000Z
    ");
}
