//! What the planner does, scene by scene, in its own words.

use insta::assert_snapshot;
use model::{MicroUsd, NodeId, Offer, Purchase};
use planner::{Limits, OpenIntent, PlanNode, Problem, check, nearest, plan};

use crate::build::{ask, in_zones, node, on_demand, problem, resources, spot};

/// The plan in words, once the linter has passed it.
fn words(problem: &Problem) -> String {
    let plan = plan(problem);
    assert_eq!(check(problem, &plan), Vec::<String>::new());
    plan.to_string()
}

/// Three sizes in two zones, at one price a core.
fn two_zones() -> Vec<Offer> {
    ["a", "b"]
        .into_iter()
        .flat_map(|zone| [spot(zone, "s", 2, 4), spot(zone, "m", 8, 16), spot(zone, "l", 32, 64)])
        .collect()
}

#[test]
fn nothing_to_do() {
    assert_snapshot!(words(&problem(&[], two_zones())), @"
    no demand
    ");
}

#[test]
fn a_single_small_task_gets_a_small_machine() {
    let demand = [(ask(500, 256, Purchase::Spot), 1)];
    assert_snapshot!(words(&problem(&demand, two_zones())), @"
    1 x (0.5 cores, 256 MiB memory; spot): 1 bought in a/s/spot
    launch 1 x a/s/spot at $0.040000 an hour for 1 x (0.5 cores, 256 MiB memory; spot): 15 % full; 1 other pool will do
    ");
}

#[test]
fn many_tasks_get_large_machines_in_two_pools() {
    let demand = [(ask(1_000, 1_024, Purchase::Spot), 20_000)];
    assert_snapshot!(words(&problem(&demand, two_zones())), @"
    20000 x (1 core, 1 GiB memory; spot): 4992 bought in a/l/spot, 4992 bought in b/l/spot, 16 bought in a/m/spot, 10000 refused: a/s/spot would do, but the limit of 10000 cores is reached
    launch 156 x a/l/spot at $0.640000 an hour for 4992 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    launch 156 x b/l/spot at $0.640000 an hour for 4992 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    launch 2 x a/m/spot at $0.160000 an hour for 16 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
}

#[test]
fn no_pool_gets_more_than_half_when_another_is_near() {
    let mut offers = vec![spot("a", "m", 8, 16), spot("b", "m", 8, 20), spot("c", "m", 8, 60)];
    let demand = [(ask(1_000, 1_024, Purchase::Spot), 80)];
    assert_snapshot!(words(&problem(&demand, offers.clone())), @"
    80 x (1 core, 1 GiB memory; spot): 40 bought in a/m/spot, 40 bought in b/m/spot
    launch 5 x a/m/spot at $0.160000 an hour for 40 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    launch 5 x b/m/spot at $0.200000 an hour for 40 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
    // Zone b is no longer near.
    offers[1].price = MicroUsd(300_000);
    assert_snapshot!(words(&problem(&demand, offers)), @"
    80 x (1 core, 1 GiB memory; spot): 80 bought in a/m/spot
    launch 10 x a/m/spot at $0.160000 an hour for 80 x (1 core, 1 GiB memory; spot): 75 % full; no other pool will do
    ");
}

#[test]
fn risk_makes_a_pool_dearer() {
    let risky = Offer { hazard_ppm_hour: 1_000_000, ..spot("a", "m", 8, 16) };
    let demand = [(ask(1_000, 1_024, Purchase::Spot), 8)];
    // One interruption an hour wastes a quarter of the machine: 20 cents.
    let dearer = vec![risky.clone(), spot("b", "m", 8, 19)];
    assert_snapshot!(words(&problem(&demand, dearer)), @"
    8 x (1 core, 1 GiB memory; spot): 8 bought in b/m/spot
    launch 1 x b/m/spot at $0.190000 an hour for 8 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
    let cheaper = vec![risky, spot("b", "m", 8, 21)];
    assert_snapshot!(words(&problem(&demand, cheaper)), @"
    8 x (1 core, 1 GiB memory; spot): 8 bought in a/m/spot
    launch 1 x a/m/spot at $0.160000 an hour for 8 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
}

#[test]
fn asks_that_complement_each_other_share_machines() {
    let demand = [(ask(7_000, 1_024, Purchase::Spot), 4), (ask(500, 13_000, Purchase::Spot), 4)];
    assert_snapshot!(words(&problem(&demand, two_zones())), @"
    4 x (7 cores, 1 GiB memory; spot): 2 bought in a/m/spot, 2 bought in b/m/spot
    4 x (0.5 cores, 12.6 GiB memory; spot): 2 bought in a/m/spot, 2 bought in b/m/spot
    launch 2 x a/m/spot at $0.160000 an hour for 2 x (7 cores, 1 GiB memory; spot) and 2 x (0.5 cores, 12.6 GiB memory; spot): 89 % full; 1 other pool will do
    launch 2 x b/m/spot at $0.160000 an hour for 2 x (7 cores, 1 GiB memory; spot) and 2 x (0.5 cores, 12.6 GiB memory; spot): 89 % full; 1 other pool will do
    ");
}

#[test]
fn what_exists_boots_or_is_ordered_is_used_first() {
    let m = spot("a", "m", 8, 16);
    let half = PlanNode {
        free: resources(4_000, 8_192),
        tasks: 1,
        idle_ms: None,
        ..node(1, Some(m.clone()))
    };
    let booting = PlanNode { booting: true, takes_work: false, ..node(2, Some(m.clone())) };
    let drained =
        PlanNode { takes_work: false, tasks: 1, idle_ms: None, ..node(3, Some(m.clone())) };
    let scene = Problem {
        nodes: vec![half, booting, drained],
        intents: vec![OpenIntent { offers: vec![m], machines: 2 }],
        ..problem(&[(ask(1_000, 1_024, Purchase::Spot), 30)], two_zones())
    };
    assert_snapshot!(words(&scene), @"
    30 x (1 core, 1 GiB memory; spot): 4 on nodes, 8 on booting nodes, 16 on ordered machines, 2 bought in a/s/spot
    launch 1 x a/s/spot at $0.040000 an hour for 2 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
}

#[test]
fn on_demand_is_bought_where_no_spot_is_left() {
    let offers = vec![spot("a", "s", 2, 4), on_demand("a", "m", 8, 48), on_demand("b", "m", 8, 48)];
    let demand = [
        (ask(1_000, 1_024, Purchase::SpotThenOnDemand), 2),
        (ask(4_000, 1_024, Purchase::SpotThenOnDemand), 2),
        (ask(4_000, 2_048, Purchase::OnDemand), 1),
        (ask(4_000, 4_096, Purchase::Spot), 1),
    ];
    assert_snapshot!(words(&problem(&demand, offers)), @"
    2 x (4 cores, 1 GiB memory; spot, then on-demand): 2 bought in a/m/on-demand
    1 x (4 cores, 2 GiB memory; on-demand): 1 bought in b/m/on-demand
    1 x (4 cores, 4 GiB memory; spot): 1 refused: no offer is large enough: the nearest, a/s/spot (2 cores, 4 GiB memory), lacks 2 cores
    2 x (1 core, 1 GiB memory; spot, then on-demand): 2 bought in b/m/on-demand
    launch 1 x a/m/on-demand at $0.480000 an hour for 2 x (4 cores, 1 GiB memory; spot, then on-demand): 56 % full; 1 other pool will do
    launch 1 x b/m/on-demand at $0.480000 an hour for 1 x (4 cores, 2 GiB memory; on-demand) and 2 x (1 core, 1 GiB memory; spot, then on-demand): 50 % full; 1 other pool will do
    ");
}

#[test]
fn limits_stop_it_and_are_named() {
    let demand = [(ask(1_000, 1_024, Purchase::Spot), 500)];
    let wide = problem(&demand, two_zones());
    let few = Limits { max_nodes: 3, ..wide.limits };
    assert_snapshot!(words(&Problem { limits: few, ..wide.clone() }), @"
    500 x (1 core, 1 GiB memory; spot): 64 bought in a/l/spot, 32 bought in b/l/spot, 404 refused: a/s/spot would do, but the limit of 3 machines is reached
    launch 2 x a/l/spot at $0.640000 an hour for 64 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    launch 1 x b/l/spot at $0.640000 an hour for 32 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
    let small = Limits { max_cpu_millis: 41_000, ..wide.limits };
    assert_snapshot!(words(&Problem { limits: small, ..wide.clone() }), @"
    500 x (1 core, 1 GiB memory; spot): 24 bought in a/m/spot, 16 bought in b/m/spot, 460 refused: a/s/spot would do, but the limit of 41 cores is reached
    launch 3 x a/m/spot at $0.160000 an hour for 24 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    launch 2 x b/m/spot at $0.160000 an hour for 16 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
    let poor = Limits { max_usd_per_hour: MicroUsd(850_000), ..wide.limits };
    assert_snapshot!(words(&Problem { limits: poor, ..wide }), @"
    500 x (1 core, 1 GiB memory; spot): 24 bought in a/m/spot, 16 bought in b/m/spot, 2 bought in a/s/spot, 458 refused: a/s/spot would do, but the limit of $0.850000 an hour is reached
    launch 3 x a/m/spot at $0.160000 an hour for 24 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    launch 2 x b/m/spot at $0.160000 an hour for 16 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    launch 1 x a/s/spot at $0.040000 an hour for 2 x (1 core, 1 GiB memory; spot): 75 % full; 1 other pool will do
    ");
}

#[test]
fn idle_machines_that_nobody_needs_are_retired() {
    let nodes = vec![
        node(1, Some(spot("a", "m", 8, 16))),
        node(2, Some(spot("a", "l", 32, 64))),
        node(3, None),
        PlanNode { idle_ms: Some(59_999), ..node(4, Some(spot("a", "m", 8, 16))) },
        PlanNode { held: 1, ..node(5, Some(spot("a", "m", 8, 16))) },
        PlanNode { takes_work: false, ..node(6, Some(spot("a", "m", 8, 16))) },
        node(7, Some(spot("a", "m", 8, 17))),
    ];
    let idle = Problem { nodes, ..problem(&[], two_zones()) };
    assert_snapshot!(words(&idle), @"
    no demand
    retire node_0000000000001: idle for 1m, and no demand needs it: $0.160000 an hour saved
    retire node_0000000000002: idle for 1m, and no demand needs it: $0.640000 an hour saved
    retire node_0000000000006: idle for 1m, and it takes no work: $0.160000 an hour saved
    retire node_0000000000007: idle for 1m, and no demand needs it: $0.170000 an hour saved
    ");
    // Somebody needs one of them: the smallest that will do, after those that cost nothing.
    let busy = Problem {
        demand: problem(&[(ask(4_000, 1_024, Purchase::Spot), 3)], vec![]).demand,
        ..idle.clone()
    };
    assert_snapshot!(words(&busy), @"
    3 x (4 cores, 1 GiB memory; spot): 3 on nodes
    retire node_0000000000002: idle for 1m, and no demand needs it: $0.640000 an hour saved
    retire node_0000000000006: idle for 1m, and it takes no work: $0.160000 an hour saved
    retire node_0000000000007: idle for 1m, and no demand needs it: $0.170000 an hour saved
    ");
    let kept = Problem { limits: Limits { min_nodes: 4, ..idle.limits }, ..idle.clone() };
    assert_snapshot!(words(&kept), @"
    no demand
    retire node_0000000000002: idle for 1m, and no demand needs it: $0.640000 an hour saved
    retire node_0000000000006: idle for 1m, and it takes no work: $0.160000 an hour saved
    ");
    let frozen = Problem { frozen: Some("the last listing is 3m old".into()), ..idle };
    assert_snapshot!(words(&frozen), @"
    no demand
    nothing is retired: the last listing is 3m old
    ");
}

#[test]
fn a_refused_ask_hears_of_the_nearest_offer() {
    let say = |ask, offers| nearest(&problem(&[], offers), &ask);
    let asked = ask(48_000, 98_304, Purchase::Spot);
    assert_snapshot!(say(asked.clone(), two_zones()), @"no offer is large enough: the nearest, a/l/spot (32 cores, 64 GiB memory), lacks 16 cores and 32 GiB of memory");
    assert_snapshot!(say(in_zones(ask(500, 256, Purchase::Spot), &["z"]), two_zones()), @"
    a/s/spot is large enough, but the zone is not asked for
    ");
    assert_snapshot!(say(in_zones(ask(500, 256, Purchase::OnDemand), &["z"]), two_zones()), @"
    a/s/spot is large enough, but only on-demand is asked for and the zone is not asked for
    ");
    assert_snapshot!(say(in_zones(asked.clone(), &["z"]), two_zones()), @"a/l/spot comes nearest, but it lacks 16 cores and 32 GiB of memory and the zone is not asked for");
    assert_snapshot!(say(asked, vec![]), @"
    nothing is on offer
    ");
    assert_snapshot!(say(ask(500, 256, Purchase::Spot), two_zones()), @"
    a/s/spot will do, at $0.040000 an hour
    ");
}

#[test]
fn a_launch_names_only_pools_that_will_do_for_all_its_tasks() {
    let offers = vec![
        spot("a", "m", 8, 16),
        spot("b", "m", 8, 17),
        spot("c", "m", 8, 18),
        spot("b", "l", 32, 23),
        spot("c", "s", 2, 12),
    ];
    let demand = [
        (in_zones(ask(4_000, 1_024, Purchase::Spot), &["a", "b"]), 1),
        (ask(3_000, 1_024, Purchase::Spot), 1),
    ];
    let scene = problem(&demand, offers);
    assert_snapshot!(words(&scene), @"
    1 x (4 cores, 1 GiB memory; spot; zone a or b): 1 bought in a/m/spot
    1 x (3 cores, 1 GiB memory; spot): 1 bought in a/m/spot
    launch 1 x a/m/spot at $0.160000 an hour for 1 x (4 cores, 1 GiB memory; spot; zone a or b) and 1 x (3 cores, 1 GiB memory; spot): 50 % full; 2 other pools will do
    ");
    let pools = plan(&scene).launches.swap_remove(0).offers;
    let pools: Vec<String> = pools.iter().map(|offer| offer.pool.to_string()).collect();
    assert_snapshot!(pools.join(" "), @"
    a/m/spot b/m/spot b/l/spot
    ");
}

#[test]
fn launches_are_of_at_most_five_hundred_machines() {
    let demand = [(ask(2_000, 1_024, Purchase::Spot), 1_201)];
    let scene = problem(&demand, vec![spot("a", "s", 2, 4)]);
    let scene = Problem { limits: Limits { max_nodes: 5_000, ..scene.limits }, ..scene };
    let counts: Vec<u32> = plan(&scene).launches.iter().map(|launch| launch.count).collect();
    assert_eq!(counts, [500, 500, 201]);
}

#[test]
fn a_static_node_takes_what_names_no_zone() {
    let demand = [
        (ask(1_000, 256, Purchase::OnDemand), 1),
        (in_zones(ask(1_000, 256, Purchase::Spot), &["a"]), 1),
    ];
    let scene = Problem { nodes: vec![node(1, None)], ..problem(&demand, vec![]) };
    assert_eq!(scene.nodes[0].id, NodeId::from_number(1));
    assert_snapshot!(words(&scene), @"
    1 x (1 core, 256 MiB memory; spot; zone a): 1 refused: nothing is on offer
    1 x (1 core, 256 MiB memory; on-demand): 1 on nodes
    ");
}
