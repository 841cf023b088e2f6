use std::sync::Arc;

use model::{MicroUsd, Offer, Pool, PurchaseOption, Resources};

use super::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 3_600_000;

fn resources(cores: u32) -> Resources {
    Resources { cpu_millis: cores * 1_000, memory_mib: cores * 2_048, disk_mib: 0, gpus: 0 }
}

fn offer(zone: &str, option: PurchaseOption, hazard_ppm_hour: u32) -> Offer {
    let pool = Pool { zone: zone.into(), instance_type: "m5.xlarge".into(), option };
    let price = match option {
        PurchaseOption::Spot => 60_000,
        PurchaseOption::OnDemand => 200_000,
    };
    let on_demand_price = MicroUsd(200_000);
    Offer { pool, capacity: resources(4), price: MicroUsd(price), on_demand_price, hazard_ppm_hour }
}

fn item(id: &str, run_ms: u64) -> Item {
    Item {
        id: Arc::from(id),
        ask: resources(4),
        count: 1,
        run_ms,
        after: Vec::new(),
        due_ms: None,
        is_asked: true,
    }
}

fn question(hazard_ppm_hour: u32, items: Vec<Item>) -> Question {
    let offers = vec![
        offer("a", PurchaseOption::Spot, hazard_ppm_hour),
        offer("a", PurchaseOption::OnDemand, 0),
    ];
    let present = Present { offers, boot_ms: MINUTE, ..Present::default() };
    Question { present, items, deadline_ms: None, on_demand_only: false, seeds: 20 }
}

#[test]
fn an_hour_on_a_calm_pool_costs_an_hour_and_its_boot() {
    let forecast = forecast(&question(0, vec![item("job", HOUR)]), || true);
    let took = forecast.took_ms.expect("done");
    assert_eq!((forecast.runs, forecast.done), (20, 20));
    assert!((61 * MINUTE..62 * MINUTE).contains(&took.low), "{took:?}");
    assert!(took.high < 62 * MINUTE, "{took:?}");
    let cost = forecast.cost.expect("done");
    assert!((MicroUsd(61_000)..MicroUsd(63_000)).contains(&cost.median), "{cost:?}");
    assert_eq!((forecast.spot_ppm, forecast.in_time_ppm), (Some(1_000_000), None));
}

#[test]
fn a_wild_pool_takes_longer_and_is_less_sure() {
    // One reclaim in two hours on average, and nothing of the work outlives it.
    let mut wild = question(500_000, vec![item("job", HOUR)]);
    wild.deadline_ms = Some(90 * MINUTE);
    let wild = forecast(&wild, || true);
    let took = wild.took_ms.expect("done");
    assert!(took.high > took.low, "{took:?}");
    assert!(wild.in_time_ppm.is_some_and(|ppm| (100_000..1_000_000).contains(&ppm)), "{wild:?}");
    assert!(wild.cost.is_some_and(|cost| cost.high > cost.low), "{wild:?}");
}

#[test]
fn a_tight_deadline_is_met_on_demand() {
    let mut tight =
        question(500_000, vec![Item { due_ms: Some(62 * MINUTE), ..item("job", HOUR) }]);
    tight.deadline_ms = Some(62 * MINUTE);
    let tight = forecast(&tight, || true);
    assert_eq!((tight.in_time_ppm, tight.spot_ppm), (Some(1_000_000), Some(0)));
}

#[test]
fn what_comes_after_takes_its_time_after() {
    let after = Item { after: vec![0], ..item("next", 30 * MINUTE) };
    let chain = forecast(&question(0, vec![item("job", HOUR), after]), || true);
    let took = chain.took_ms.expect("done");
    assert!((91 * MINUTE..93 * MINUTE).contains(&took.median), "{took:?}");
}

#[test]
fn work_of_others_is_served_first_and_not_paid_for() {
    let others = Item { is_asked: false, count: 3, ..item("others", HOUR) };
    let mut question = question(0, vec![others, item("job", HOUR)]);
    let node = PresentNode { capacity: resources(4), offer: None };
    question.present.nodes = vec![node.clone(), node];
    question.present.offers.clear();
    let forecast = forecast(&question, || true);
    let took = forecast.took_ms.expect("done");
    assert!((2 * HOUR..2 * HOUR + MINUTE).contains(&took.median), "{took:?}");
    assert_eq!(forecast.cost.map(|cost| cost.high), Some(MicroUsd(0)));
    assert_eq!(forecast.spot_ppm, None);
}

#[test]
fn limits_bind() {
    let mut question = question(0, vec![Item { count: 4, ..item("job", HOUR) }]);
    question.present.limits = Some(Limits {
        max_nodes: 2,
        max_cpu_millis: 1_000_000,
        max_usd_per_hour: MicroUsd(100_000_000),
        idle_retire_ms: MINUTE,
        min_nodes: 0,
    });
    let took = forecast(&question, || true).took_ms.expect("done");
    assert!((2 * HOUR..2 * HOUR + 3 * MINUTE).contains(&took.median), "{took:?}");
}

#[test]
fn withheld_pools_and_no_offers() {
    let mut held = question(0, vec![item("job", HOUR)]);
    held.present.withheld = vec![offer("a", PurchaseOption::Spot, 0).pool];
    assert_eq!(forecast(&held, || true).spot_ppm, Some(0));
    held.present.offers.clear();
    let none = forecast(&held, || true);
    assert_eq!((none.done, none.cost, none.took_ms), (0, None, None));
}

#[test]
fn the_same_question_has_the_same_answer_and_runs_end_when_time_does() {
    let question = question(300_000, vec![item("job", 3 * HOUR)]);
    assert_eq!(forecast(&question, || true), forecast(&question, || true));
    let mut left = 3;
    let cut = forecast(&question, || {
        left -= 1;
        left > 0
    });
    assert_eq!(cut.runs, 3);
}

#[test]
fn ranks_are_the_nearest() {
    let spread = |values: std::ops::RangeInclusive<u64>| {
        let spread = summary::spread(values.collect()).expect("some");
        (spread.low, spread.median, spread.high)
    };
    assert_eq!(spread(1..=10), (1, 5, 9));
    assert_eq!(spread(1..=20), (2, 10, 18));
    assert_eq!(spread(7..=7), (7, 7, 7));
    assert_eq!(summary::spread::<u64>(Vec::new()), None);
}
