//! The linter finds what is wrong: each fault made on purpose.

use model::{MicroUsd, NodeId, NodeReason, Purchase};
use planner::{Limits, Plan, PlanNode, Problem, Retirement, check, plan};

use crate::build::{ask, node, on_demand, problem, resources, spot};

fn scene() -> Problem {
    let offers = vec![
        spot("a", "m", 8, 16),
        spot("b", "m", 8, 16),
        on_demand("a", "m", 8, 48),
        spot("a", "s", 2, 9),
    ];
    let demand = [(ask(2_000, 1_024, Purchase::SpotThenOnDemand), 40)];
    let nodes = vec![node(1, None), node(2, Some(spot("a", "m", 8, 16)))];
    Problem { nodes, ..problem(&demand, offers) }
}

#[track_caller]
fn expect(problem: &Problem, plan: &Plan, fault: &str) {
    let faults = check(problem, plan);
    assert!(faults.iter().any(|found| found.contains(fault)), "{fault}: {faults:?}");
}

#[test]
fn a_good_plan_has_no_fault() {
    let scene = scene();
    let plan = plan(&scene);
    assert!(!plan.launches.is_empty());
    assert_eq!(check(&scene, &plan), Vec::<String>::new());
}

#[test]
fn bad_launches_are_found() {
    let scene = scene();
    let good = plan(&scene);
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let on_demand = scene.offers[2].clone();
    let small = scene.offers[3].clone();
    expect(&scene, &with(&|plan| plan.based_on += 1), "the plan is for 8, not 7");
    expect(&scene, &with(&|plan| plan.launches[0].offers.clear()), "names no offer");
    expect(&scene, &with(&|plan| plan.launches[0].count = 501), "is of 501 machines");
    expect(&scene, &with(&|plan| plan.launches[0].count += 1), "1 machines are not needed");
    expect(&scene, &with(&|plan| plan.launches[0].count -= 1), "would do");
    expect(&scene, &with(&|plan| plan.launches.clear()), "are left");
    expect(
        &scene,
        &with(&|plan| plan.launches[0].offers = vec![on_demand.clone()]),
        "is on-demand where spot would do",
    );
    expect(&scene, &with(&|plan| plan.launches[0].offers.push(small.clone())), "is smaller than");
    expect(
        &scene,
        &with(&|plan| {
            let again = plan.launches[0].offers[0].clone();
            plan.launches[0].offers.push(again);
        }),
        "names a pool twice",
    );
    expect(
        &scene,
        &with(&|plan| plan.launches[0].offers[0].price = MicroUsd(1)),
        "is not on offer like that",
    );
    expect(&scene, &with(&|plan| plan.launches[0].reason = "".into()), "has no reason");
    expect(&scene, &with(&|plan| plan.report.asks[0].on_ready += 1), "do not add up");
    expect(&scene, &with(&|plan| plan.report.asks.clear()), "does not say");
}

#[test]
fn exceeded_limits_are_found() {
    let scene = scene();
    let good = plan(&scene);
    for (limits, fault) in [
        (Limits { max_nodes: 2, ..scene.limits }, "the limit of 2 machines is exceeded"),
        (Limits { max_cpu_millis: 9_000, ..scene.limits }, "the limit of 9 cores is exceeded"),
        (Limits { max_usd_per_hour: MicroUsd(170_000), ..scene.limits }, "an hour is exceeded"),
        (Limits { max_nodes: 0, ..scene.limits }, "buys although a limit is exceeded"),
    ] {
        expect(&Problem { limits, ..scene.clone() }, &good, fault);
    }
}

#[test]
fn bad_retirements_are_found() {
    let m = spot("a", "m", 8, 16);
    let free = resources(0, 0);
    let busy = PlanNode { tasks: 1, free, idle_ms: None, ..node(3, Some(m.clone())) };
    let scene = Problem {
        demand: Vec::new(),
        nodes: vec![node(1, None), node(2, Some(m)), busy],
        ..scene()
    };
    let good = plan(&scene);
    let retire = |numbers: &[u64]| Plan {
        retirements: numbers
            .iter()
            .map(|number| Retirement {
                node: NodeId::from_number(*number),
                reason: NodeReason::Idle,
                words: "idle".to_owned(),
            })
            .collect(),
        ..good.clone()
    };
    assert_eq!(check(&scene, &retire(&[2])), Vec::<String>::new());
    expect(&scene, &retire(&[1]), "is not an idle machine");
    expect(&scene, &retire(&[3]), "is not an idle machine");
    expect(&scene, &retire(&[2, 2]), "retires a node twice");
    let frozen = Problem { frozen: Some("stale".into()), ..scene.clone() };
    expect(&frozen, &retire(&[2]), "retirements are frozen");
    let two = Problem { limits: Limits { min_nodes: 2, ..scene.limits }, ..scene.clone() };
    expect(&two, &retire(&[2]), "it leaves 1 nodes");
    let demand = problem(&[(ask(8_000, 1_024, Purchase::Spot), 1)], Vec::new()).demand;
    expect(&Problem { demand, ..scene }, &retire(&[2]), "are left");
}
