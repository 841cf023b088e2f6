use model::{
    InstanceId, IntentId, MicroUsd, NodeId, NodeOrigin, NodeReason, NodeState, Pool, PurchaseOption,
};

use super::*;
use crate::files;

const HOUR: i64 = 3_600_000;
const FROM: Timestamp = Timestamp::from_ms(1_790_000_000_000);

fn resources(cores: u32) -> Resources {
    Resources { cpu_millis: cores * 1_000, memory_mib: cores * 2_048, disk_mib: 7, gpus: 0 }
}

fn offer(zone: &str, option: PurchaseOption, price: i64) -> Offer {
    Offer {
        pool: Pool { zone: zone.into(), instance_type: "m5.xlarge".into(), option },
        capacity: resources(4),
        price: MicroUsd(price),
        on_demand_price: MicroUsd(200_000),
        hazard_ppm_hour: 50_000,
    }
}

fn node(number: u64, launched: i64, price: Option<i64>) -> Node {
    let origin = match price {
        Some(price) => NodeOrigin::Cloud {
            instance: InstanceId::new(&format!("i-{number}")),
            intent: IntentId::from_number(1),
            offer: offer("a", PurchaseOption::Spot, price),
        },
        None => NodeOrigin::Static { name: "desk".into() },
    };
    Node {
        id: NodeId::from_number(number),
        origin,
        capacity: resources(if price.is_some() { 4 } else { 8 }),
        state: NodeState::Ready,
        since: FROM.plus_ms(launched),
        reason: NodeReason::Joined,
        launched: FROM.plus_ms(launched),
        joined: Some(FROM.plus_ms(launched + 60_000)),
        session: Some(1),
        deadline: None,
        booked: MicroUsd(0),
    }
}

fn gone(mut node: Node, at: i64, reason: NodeReason) -> Node {
    (node.state, node.since, node.reason) = (NodeState::Gone, FROM.plus_ms(at), reason);
    node
}

fn work(id: &str, arrived: i64, run_ms: &[u64]) -> PastWork {
    PastWork {
        id: id.into(),
        arrived: FROM.plus_ms(arrived),
        deadline: None,
        ask: resources(2),
        run_ms: run_ms.to_vec(),
    }
}

fn past() -> Past {
    Past { from: FROM, to: FROM.plus_ms(4 * HOUR), ..Past::default() }
}

#[test]
fn what_was_bought_and_lost_is_a_market() {
    let mut past = past();
    let mut noticed = gone(node(3, HOUR, Some(66_000)), 2 * HOUR, NodeReason::Ended);
    noticed.deadline = Some(FROM.plus_ms(2 * HOUR + 120_000));
    past.nodes = vec![
        node(1, -HOUR, Some(60_000)),
        gone(node(2, 0, Some(60_000)), HOUR + 30_000, NodeReason::Reclaimed),
        noticed,
        gone(node(4, 0, Some(60_000)), 3 * HOUR, NodeReason::Idle),
    ];
    past.offers = vec![
        offer("a", PurchaseOption::Spot, 70_000),
        offer("a", PurchaseOption::OnDemand, 210_000),
        offer("b", PurchaseOption::OnDemand, 210_000),
    ];
    let Replay { recording, assumed, .. } = replay(&past);
    assert_eq!(
        (recording.gap_ms, recording.notice_ms, recording.boot_ms),
        (60_000, 120_000, 60_000)
    );
    assert_eq!(recording.pools.len(), 2);
    let a = &recording.pools[0];
    let depth = |ms: i64| a.depth(u64::try_from(ms).unwrap());
    // At the reclaim of the second two were left, the first and the fourth; the third came before.
    assert_eq!((depth(HOUR - 60_000), depth(HOUR), depth(HOUR + 60_000)), (DEPTH, 3, DEPTH));
    assert_eq!((depth(2 * HOUR), depth(2 * HOUR + 120_000)), (DEPTH, 2));
    assert_eq!(depth(3 * HOUR), DEPTH, "one that was idle was not taken");
    assert_eq!(depth(20 * HOUR), DEPTH, "it goes on after the end");
    let price = |ms: i64| a.price(PurchaseOption::Spot, u64::try_from(ms).unwrap()).0;
    assert_eq!((price(0), price(HOUR), price(4 * HOUR)), (60_000, 66_000, 70_000));
    assert_eq!(a.on_demand, MicroUsd(210_000));
    let b = &recording.pools[1];
    assert_eq!((b.depth(0), b.on_demand), (0, MicroUsd(210_000)), "no spot there");
    assert_eq!(past.nodes.iter().filter(|node| was_taken(node, past.from, past.to)).count(), 2);
    insta::assert_snapshot!(assumed.join("\n"), @"
    a spot pool had 100000 machines but when it took some back: then it had no more than what was left, for 1m
    a spot price is the last that was paid, and the present one in the end; on-demand prices are the present ones
    machines boot in 1m, as half of them did
    a task's work is the run of the attempt that settled it; what it had done before on machines that were lost is not known to have lasted, so nothing of it outlives a machine
    tasks of a group that ran for different times are in up to 8 jobs, each of the mean
    what came after other work arrives when that had ended
    ");
}

#[test]
fn static_nodes_are_a_pool_without_a_price() {
    let mut past = past();
    past.nodes = vec![node(1, -HOUR, None), gone(node(2, HOUR, None), 2 * HOUR, NodeReason::Lost)];
    let recording = replay(&past).recording;
    assert_eq!((recording.boot_ms, recording.notice_ms), (0, 0));
    let [pool] = &recording.pools[..] else { panic!("one pool: {recording:?}") };
    assert_eq!((&*pool.zone, &*pool.instance_type), ("static", "8000m-16384MiB-0gpu"));
    assert_eq!(pool.price(PurchaseOption::Spot, 0), MicroUsd(0));
    let depth = |ms: i64| pool.depth(u64::try_from(ms).unwrap());
    assert_eq!((depth(0), depth(HOUR), depth(2 * HOUR), depth(9 * HOUR)), (1, 2, 1, 1));
}

#[test]
fn tasks_are_grouped_by_how_long_they_ran() {
    let mut past = past();
    let many: Vec<u64> = (1..=16).map(|minutes| minutes * 60_000).collect();
    past.work = vec![
        work("job_1.0", HOUR, &[100_000, 105_000]),
        work("job_1.1", HOUR, &many),
        work("job_2.0", 0, &[]),
        PastWork { deadline: Some(FROM.plus_ms(HOUR)), ..work("job_3.0", 0, &[0]) },
    ];
    let jobs = replay(&past).jobs;
    let told: Vec<String> = jobs
        .iter()
        .map(|job| format!("{} {}x{} at {}", job.id, job.count, job.work.work_ms, job.arrival_ms))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    job_1.0 2x102500 at 3600000
    job_1.1-1 2x90000 at 3600000
    job_1.1-2 2x210000 at 3600000
    job_1.1-3 2x330000 at 3600000
    job_1.1-4 2x450000 at 3600000
    job_1.1-5 2x570000 at 3600000
    job_1.1-6 2x690000 at 3600000
    job_1.1-7 2x810000 at 3600000
    job_1.1-8 2x930000 at 3600000
    job_3.0 1x1 at 0
    ");
    assert_eq!(jobs.last().and_then(|job| job.deadline_ms), Some(3_600_000));
}

#[test]
fn it_survives_its_files() {
    let mut past = past();
    past.nodes =
        vec![gone(node(2, 0, Some(60_000)), HOUR, NodeReason::Reclaimed), node(3, 0, None)];
    past.work = vec![work("job_1.0", HOUR, &[100_000, 900_000])];
    let Replay { recording, jobs, .. } = replay(&past);
    let read = files::market::parse(&files::market::write(&recording)).expect("a market");
    for (read, made) in read.pools.iter().zip(&recording.pools) {
        assert_eq!((&read.machines, &read.spot), (&made.machines, &made.spot));
    }
    assert_eq!(files::jobs::parse(&files::jobs::write(&jobs)).expect("jobs"), jobs);
}
