//! One table a policy: what it picks among the same nodes, in order, and what it says of each.

use std::fmt::Write;

use insta::assert_snapshot;
use model::{NodeId, Resources};
use scheduler::{Candidate, Policy, Want, explain, place};

fn resources(cpu_millis: u32, memory_mib: u32) -> Resources {
    Resources { cpu_millis, memory_mib, disk_mib: 0, gpus: 0 }
}

/// Names to read by; the id is the ordinal.
const NAMES: [&str; 7] =
    ["static", "paid-empty", "paid-half", "paid-most", "paid-risky", "paid-small", "paid-ending"];

fn nodes() -> Vec<Candidate> {
    let node = |number, cores: u32, used_cores: u32, tasks| Candidate {
        node: NodeId::from_number(number),
        free: resources((cores - used_cores) * 1_000, (cores - used_cores) * 2_048),
        capacity: resources(cores * 1_000, cores * 2_048),
        tasks,
        paid: number > 0,
        hazard_ppm_hour: 0,
        life_left_ms: None,
    };
    vec![
        node(0, 4, 0, 0),
        node(1, 4, 0, 0),
        node(2, 4, 2, 2),
        node(3, 4, 3, 1),
        Candidate { hazard_ppm_hour: 300_000, ..node(4, 4, 2, 2) },
        node(5, 1, 0, 0),
        Candidate { life_left_ms: Some(90_000), ..node(6, 4, 2, 3) },
    ]
}

fn table(want: &Want, policy: Policy) -> String {
    let mut nodes = nodes();
    let mut text = String::new();
    let name = |node: NodeId| NAMES[usize::try_from(node.number()).unwrap_or_default()];
    for node in &nodes {
        let verdict = explain(node, want, policy, nodes.len());
        writeln!(text, "{:<11} {verdict}", name(node.node)).unwrap_or_default();
    }
    let picks = place(&mut nodes, want, policy);
    let picks: Vec<String> =
        picks.iter().map(|pick| format!("{} {}", pick.count, name(pick.node))).collect();
    write!(text, "picks: {}", picks.join(", ")).unwrap_or_default();
    text
}

fn want(count: u32) -> Want {
    Want { resources: resources(1_000, 1_024), count, expect_ms: None, alone: false }
}

#[test]
fn best_fit_fills_what_is_in_use_before_what_is_empty() {
    assert_snapshot!(table(&want(14), Policy::BestFit), @"
    static      has room for 4; costs nothing, 81.2 % left over
    paid-empty  has room for 4; paid and empty, 81.2 % left over
    paid-half   has room for 2; paid and in use, 31.2 % left over
    paid-most   has room for 1; paid and in use, 6.2 % left over
    paid-risky  has room for 2; paid and in use, 31.2 % left over, 300000 interruptions in a million hours
    paid-small  has room for 1; paid and empty, 25.0 % left over
    paid-ending has room for 2; paid and in use, 31.2 % left over, will end
    picks: 4 static, 1 paid-most, 2 paid-half, 2 paid-risky, 1 paid-small, 4 paid-empty
    ");
}

#[test]
fn round_robin_levels_the_number_of_tasks() {
    assert_snapshot!(table(&want(6), Policy::RoundRobin), @"
    static      has room for 4; runs 0
    paid-empty  has room for 4; runs 0
    paid-half   has room for 2; runs 2
    paid-most   has room for 1; runs 1
    paid-risky  has room for 2; runs 2, 300000 interruptions in a million hours
    paid-small  has room for 1; runs 0
    paid-ending has room for 2; runs 3, will end
    picks: 2 static, 2 paid-empty, 1 paid-small, 1 paid-most
    ");
}

#[test]
fn epvm_levels_the_load() {
    assert_snapshot!(table(&want(6), Policy::EPvm), @"
    static      has room for 4; costs 1.528
    paid-empty  has room for 4; costs 1.528
    paid-half   has room for 2; costs 4.044
    paid-most   has room for 1; costs 4.900
    paid-risky  has room for 2; costs 4.044, 300000 interruptions in a million hours
    paid-small  has room for 1; costs 13.645
    paid-ending has room for 2; costs 5.082, will end
    picks: 3 static, 3 paid-empty
    ");
}

#[test]
fn who_ends_too_soon_or_is_too_small_is_left_out() {
    let large = Want { resources: resources(3_000, 7_000), expect_ms: Some(120_000), ..want(9) };
    assert_snapshot!(table(&large, Policy::BestFit), @"
    static      has room for 1; costs nothing, 19.7 % left over
    paid-empty  has room for 1; paid and empty, 19.7 % left over
    paid-half   lacks 1 core and 2904 MiB of memory
    paid-most   lacks 2 cores and 4952 MiB of memory
    paid-risky  lacks 1 core and 2904 MiB of memory
    paid-small  lacks 2 cores and 4952 MiB of memory, even when nothing runs there
    paid-ending ends in 1m 30s, and the task takes 2m
    picks: 1 static, 1 paid-empty
    ");
}

#[test]
fn a_known_short_task_may_use_a_node_that_ends_later() {
    let short = Want { expect_ms: Some(60_000), ..want(3) };
    assert_snapshot!(table(&short, Policy::BestFit), @"
    static      has room for 4; costs nothing, 81.2 % left over
    paid-empty  has room for 4; paid and empty, 81.2 % left over
    paid-half   has room for 2; paid and in use, 31.2 % left over
    paid-most   has room for 1; paid and in use, 6.2 % left over
    paid-risky  has room for 2; paid and in use, 31.2 % left over, 300000 interruptions in a million hours
    paid-small  has room for 1; paid and empty, 25.0 % left over
    paid-ending has room for 2; paid and in use, 31.2 % left over
    picks: 3 static
    ");
}

#[test]
fn who_must_be_alone_takes_an_empty_node_whole() {
    assert_snapshot!(table(&Want { alone: true, ..want(9) }, Policy::BestFit), @"
    static      has room for 1; costs nothing, 81.2 % left over
    paid-empty  has room for 1; paid and empty, 81.2 % left over
    paid-half   runs 2 tasks, and this one must be alone
    paid-most   runs 1 task, and this one must be alone
    paid-risky  runs 2 tasks, and this one must be alone
    paid-small  has room for 1; paid and empty, 25.0 % left over
    paid-ending runs 3 tasks, and this one must be alone
    picks: 1 static, 1 paid-small, 1 paid-empty
    ");
}
