//! Jobs with a deadline: spot while there is time to spare.

use cloud::Launched;
use model::{NoticeKind, Offer, Outcome, PurchaseOption, Refusal, RefusalScope};
use serde_json::{Value, json};

use crate::cluster::{Cluster, job, offer};

const MINUTE: i64 = 60_000;
const GOOD: Outcome = Outcome::Exited { code: 0 };

/// A task that takes 20 minutes, due in an hour.
fn due(deadline: &str) -> Value {
    let mut document = job(1, 1_000);
    document["deadline"] = deadline.into();
    document["group"][0]["expect"] = "20m".into();
    document
}

fn on_demand() -> Offer {
    let mut offer = offer("od", 96_000);
    offer.pool.option = PurchaseOption::OnDemand;
    offer
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.offers(vec![offer("a", 70_000), on_demand()]);
    cluster.forget();
    cluster
}

fn refuse(cluster: &mut Cluster) {
    let scope = RefusalScope::Pools(vec![offer("a", 0).pool]);
    let refusal = Some(Refusal { scope, message: "no capacity".into() });
    cluster.launched(Ok(Launched { machines: Vec::new(), refusal }));
}

#[test]
fn it_waits_for_spot_until_time_runs_out() {
    let mut cluster = cluster();
    cluster.submit(1, due("1h"));
    cluster.plan();
    refuse(&mut cluster);
    cluster.pass(10 * MINUTE);
    cluster.explain_task(1, 0, 0);
    cluster.pass(26 * MINUTE - 1);
    cluster.say("an hour, less 20 minutes and two starts");
    cluster.pass(1);
    cluster.plan();
    cluster.pass(1_000);
    cluster.explain_task(1, 0, 0);
    let node = cluster.boot("i-1", 2_000);
    cluster.end(node, 0, GOOD);
    insta::assert_snapshot!(cluster.story(), @"
          0 job 1 is submitted
              job 1 taken in
              asks for a plan
          0 the plan arrives
              intent1 1 in a: requested
          0 the cloud answers
              intent1 1 in a: launch-failed: no capacity
     600000 
    1.0.0 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - its deadline is in 50m, and it needs 24m, a reserve of 4m a group included: spot until 2026-09-21T14:49:20.000Z (in 26m)
      - there is no node
      - a/m5.large/spot will do, at $0.070000 an hour
    2159999 
    # an hour, less 20 minutes and two starts
    2160000 
              asks for a plan
    2160000 the plan arrives
              intent2 1 in od: requested
    2161000 
    1.0.0 waits for machines that were bought
      - it needs 1 core, 1 MiB memory
      - on-demand since 2026-09-21T14:49:20.000Z: 23m 59s left of the deadline, needs 24m, a reserve of 4m a group included
      - there is no node
      - on order or booting, and large enough: 1 machine
      - od/m5.large/on-demand will do, at $0.096000 an hour
    2161000 the cloud answers
              node1 booting: seen
              intent2 1 in od: closed(filled)
    2162000 i-1 joins
              node1 ready: joined
              $0.000026 for node1: Boot
              0.1 placed on node1
              > node1: assign 0.1
    2162000 node1: 0.1 Exited { code: 0 }
              0.1 succeeded, then succeeded
              job 1 succeeded
    ");
}

#[test]
fn what_runs_is_not_moved_and_what_is_lost_is_replaced_on_demand() {
    let mut cluster = cluster();
    cluster.submit(1, due("1h"));
    cluster.plan();
    cluster.boot("i-1", 2_000);
    cluster.forget();
    cluster.pass(40 * MINUTE);
    cluster.demand();
    cluster.notice("i-1", NoticeKind::Interruption, 2 * MINUTE);
    insta::assert_snapshot!(cluster.story(), @"
    2401000 
    # 0 tasks ask for room
    2401000 Interruption of i-1 in 120000 ms
              node1 draining: notice
              0.1 leaving by 2521000
              intent2 1 in od: requested
              > node1: drain true
    ");
}

#[test]
fn groups_that_come_after_need_time_too() {
    let mut cluster = cluster();
    let mut document = due("2h");
    document["group"][0]["name"] = "first".into();
    for (name, expect) in [("long", "40m"), ("short", "5m")] {
        let after =
            json!({"name": name, "after": ["first"], "command": ["true"], "expect": expect});
        document["group"].as_array_mut().expect("a list").push(after);
    }
    cluster.submit(1, document);
    cluster.forget();
    cluster.explain_task(1, 0, 0);
    insta::assert_snapshot!(cluster.story(), @"
    1.0.0 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - its deadline is in 2h, and it needs 1h 8m, a reserve of 4m a group included: spot until 2026-09-21T15:05:20.000Z (in 52m)
      - there is no node
      - a/m5.large/spot will do, at $0.070000 an hour
    ");
}

#[test]
fn what_takes_nobody_knows_how_long_is_on_demand_from_the_start() {
    let mut cluster = cluster();
    let mut document = job(4, 1_000);
    document["deadline"] = "1h".into();
    cluster.submit(1, document);
    cluster.explain_task(1, 0, 0);
    cluster.plan();
    let node = cluster.boot("i-1", 2_000);
    cluster.say("three ended after half a second: now it is known");
    for index in 0..3 {
        cluster.end(node, index, GOOD);
    }
    cluster.pass(MINUTE);
    cluster.forget();
    cluster.closed(node);
    cluster.pass(MINUTE);
    cluster.explain_task(1, 0, 3);
    insta::assert_snapshot!(cluster.story(), @"
      61000 node1's socket closes
     121000 
              3.1 returned, then ready
    1.0.3 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - its deadline is in 57m 59s, and it needs 4m, a reserve of 4m a group included: spot until 2026-09-21T15:09:19.500Z (in 53m 58s)
      - of 1 node: 1 excluded by its constraints
      - a/m5.large/spot will do, at $0.070000 an hour
    ");
}

#[test]
fn a_deadline_may_be_moved_and_missed() {
    let mut cluster = cluster();
    cluster.submit(1, due("10m"));
    cluster.explain_task(1, 0, 0);
    cluster.patch(1, &json!({"deadline": "3h"}));
    cluster.explain_task(1, 0, 0);
    cluster.patch(1, &json!({"deadline": null}));
    cluster.explain_task(1, 0, 0);
    cluster.patch(1, &json!({"deadline": "30m"}));
    cluster.say("a new leader knows it as well");
    cluster.take_over();
    cluster.offers(vec![offer("a", 70_000), on_demand()]);
    cluster.pass(7 * MINUTE);
    cluster.explain_task(1, 0, 0);
    cluster.pass(30 * MINUTE);
    cluster.explain_task(1, 0, 0);
    insta::assert_snapshot!(cluster.story(), @r#"
          0 job 1 is submitted
              job 1 taken in
              asks for a plan
    1.0.0 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - on-demand since 2026-09-21T14:13:20.000Z: 10m left of the deadline, needs 24m, a reserve of 4m a group included
      - there is no node
      - od/m5.large/on-demand will do, at $0.096000 an hour
          0 job 1 is patched
              job 1 patched: {"deadline":{"after_ms":10800000}}
              asks for a plan
    1.0.0 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - its deadline is in 3h, and it needs 24m, a reserve of 4m a group included: spot until 2026-09-21T16:49:20.000Z (in 2h 36m)
      - there is no node
      - a/m5.large/spot will do, at $0.070000 an hour
          0 job 1 is patched
              job 1 patched: {"deadline":null}
    1.0.0 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - there is no node
      - a/m5.large/spot will do, at $0.070000 an hour
          0 job 1 is patched
              job 1 patched: {"deadline":{"after_ms":1800000}}
              asks for a plan
    # a new leader knows it as well
    # another manager takes over
          0 offers are read
              asks for a plan
     420000 
              asks for a plan
    1.0.0 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - on-demand since 2026-09-21T14:19:20.000Z: 23m left of the deadline, needs 24m, a reserve of 4m a group included
      - there is no node
      - od/m5.large/on-demand will do, at $0.096000 an hour
    2220000 
    1.0.0 waits for a machine to be bought
      - it needs 1 core, 1 MiB memory
      - its deadline, 2026-09-21T14:43:20.000Z, was missed 7m ago; it asks for on-demand machines only, and nothing is stopped for it
      - there is no node
      - od/m5.large/on-demand will do, at $0.096000 an hour
    "#);
}
