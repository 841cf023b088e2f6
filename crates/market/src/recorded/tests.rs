use std::collections::BTreeMap;
use std::sync::Arc;

use model::{MicroUsd, PurchaseOption, Resources};

use super::*;

const SPOT: PurchaseOption = PurchaseOption::Spot;

fn recording(depth: &[u32], prices: &[i64], billing: Billing) -> Arc<Recording> {
    let pool = PoolTrace {
        zone: "us-east-1a".into(),
        instance_type: "m5.large".into(),
        capacity: Resources { cpu_millis: 2_000, memory_mib: 8_000, disk_mib: 0, gpus: 0 },
        on_demand: MicroUsd(96_000),
        spot: Prices::PerTick(prices.iter().map(|price| MicroUsd(*price)).collect()),
        machines: Depth::PerTick(depth.to_vec()),
        gap_ms: 600_000,
        hazard_ppm_hour: 0,
    };
    Arc::new(Recording {
        gap_ms: 600_000,
        notice_ms: 120_000,
        boot_ms: 0,
        billing,
        decide_at: DecideAt::Event,
        egress: BTreeMap::new(),
        pools: vec![pool],
    })
}

#[test]
fn the_newest_are_told_and_taken_when_the_depth_falls() {
    let mut run = Recorded::new(recording(&[3, 3, 1], &[36_000], Billing::Second));
    let all: Vec<MachineNo> = (0..3).map(|_| run.launch(0, SPOT).expect("room")).collect();
    assert_eq!(run.launch(0, SPOT), None);
    assert_eq!(run.next_event_ms(), Some(1_080_000));
    let deadline_ms = 1_200_000;
    assert_eq!(
        run.advance(1_080_000),
        [all[2], all[1]].map(|machine| Event::Notice { machine, deadline_ms })
    );
    let taken: Vec<MachineNo> = run
        .advance(1_200_000)
        .into_iter()
        .filter_map(|event| match event {
            Event::Reclaimed(ended) => Some(ended.machine.no),
            Event::Notice { .. } | Event::Moved { .. } => None,
        })
        .collect();
    assert_eq!(taken, [all[2], all[1]]);
    // Past the end of the record there is nothing: the last one goes, too, and was told.
    let events = run.advance(1_800_000);
    assert!(matches!(events[0], Event::Notice { machine, .. } if machine == all[0]));
    assert!(matches!(events[1], Event::Reclaimed(_)));
    assert_eq!(run.room(0), 0);
    assert!(run.launch(0, PurchaseOption::OnDemand).is_some());
}

#[test]
fn bills_are_exact_by_the_second_and_whole_by_the_tick() {
    // 36,000 micro-dollars an hour are 10 a second; in the second tick it is 20 a second.
    for (billing, held_ms, micro_usd) in [
        (Billing::Second, 1_500, 600),
        (Billing::Second, 600_500, 6_020),
        (Billing::Second, 1_200_000, 18_000),
        (Billing::Tick, 1, 6_000),
        (Billing::Tick, 600_000, 6_000),
        (Billing::Tick, 600_001, 18_000),
    ] {
        let mut run = Recorded::new(recording(&[1, 1, 1], &[36_000, 72_000, 72_000], billing));
        let no = run.launch(0, SPOT).expect("room");
        let _ = run.advance(held_ms);
        let ended = run.end(no).expect("runs");
        assert_eq!(ended.cost.rounded(), MicroUsd(micro_usd), "{billing:?} {held_ms}");
    }
}

#[test]
fn egress_is_by_zone_or_by_region() {
    let mut recording = Arc::unwrap_or_clone(recording(&[1], &[1], Billing::Tick));
    let row = |to: &str, price| BTreeMap::from([(Arc::from(to), MicroUsd(price))]);
    recording.egress.insert("us-east-1".into(), row("us-east-2", 10_000));
    recording.egress.insert("us-east-1a".into(), row("us-east-1b", 5_000));
    let cost = |from, to| recording.egress_per_gb(from, to).0;
    assert_eq!(cost("us-east-1a", "us-east-2b"), 10_000);
    assert_eq!(cost("us-east-1a", "us-east-1b"), 5_000);
    assert_eq!(cost("us-east-1a", "us-east-1a"), 0);
    assert_eq!(cost("us-east-2b", "us-east-1a"), 0);
}
