use std::collections::BTreeMap;

use ::market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{Clamp, Fault, MicroUsd, Resources};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::work::{Checkpoint, Work};

use super::*;

/// The example of DESIGN §6, with `..` filled in.
const MARKET: &str = r#"{"gap_s":600,"notice_s":0,"boot_s":0,"billing":"second","decide_at":"tick",
"egress_usd_per_gb":{"from":{"to":0.02}},"pools":[{"zone":"us-west-2a","instance_type":"p3.2xlarge",
"cpu_millis":8000,"memory_mib":62464,"gpus":1,"on_demand_usd_per_hour":3.06,
"spot_usd_per_hour":[0.9731,1],"capacity":[1,1,0,16]}]}"#;
const JOBS: &str = r#"[{"id":"a","arrival_s":0,"work_s":172800,"deadline_s":216000,"count":1,
"cpu_millis":8000,"memory_mib":61000,"gpus":1,"changeover_s":720,
"checkpoint":{"period_s":600,"cost_s":20},"checkpoint_gib":0}]"#;

fn shown<T: std::fmt::Debug>(read: Result<T, Vec<Fault>>) -> String {
    let faults = read.expect_err("must be refused");
    let lines = faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_contracts_market_is_read_exactly() {
    let recording = market::parse(MARKET).expect("a market");
    let micro = |price: i64| MicroUsd(price);
    assert_eq!(
        recording,
        Recording {
            gap_ms: 600_000,
            notice_ms: 0,
            boot_ms: 0,
            billing: Billing::Second,
            decide_at: DecideAt::Tick,
            egress: BTreeMap::from([(
                "from".into(),
                BTreeMap::from([("to".into(), micro(20_000))])
            )]),
            pools: vec![PoolTrace {
                zone: "us-west-2a".into(),
                instance_type: "p3.2xlarge".into(),
                capacity: Resources {
                    cpu_millis: 8_000,
                    memory_mib: 62_464,
                    disk_mib: MACHINE_DISK_MIB,
                    gpus: 1,
                },
                on_demand: micro(3_060_000),
                spot: Prices::PerTick(vec![micro(973_100), micro(1_000_000)]),
                machines: Depth::PerTick(vec![1, 1, 0, 16]),
                gap_ms: 600_000,
                hazard_ppm_hour: 0,
            }],
        }
    );
    assert_eq!(market::parse(&market::write(&recording)), Ok(recording));
}

#[test]
fn the_contracts_jobs_are_read_exactly() {
    let jobs = jobs::parse(JOBS).expect("jobs");
    let expected = JobWork {
        id: "a".into(),
        arrival_ms: 0,
        deadline_ms: Some(216_000_000),
        count: 1,
        ask: Resources { cpu_millis: 8_000, memory_mib: 61_000, disk_mib: 0, gpus: 1 },
        work: Work {
            work_ms: 172_800_000,
            changeover_ms: 720_000,
            checkpoint: Checkpoint::Periodic { period_ms: 600_000, cost_ms: 20_000 },
        },
        checkpoint_milligib: 0,
    };
    assert_eq!(jobs, [Arc::new(expected)]);
}

#[test]
fn what_is_left_out_has_defaults() {
    let recording = market::parse(
        r#"{"gap_s":0.5,"boot_s":null,"pools":[{"zone":"a","instance_type":"b","cpu_millis":1e3,
        "memory_mib":1,"on_demand_usd_per_hour":1,"spot_usd_per_hour":0.0000005,"capacity":3,
        "gap_s":195,"hazard_per_hour":0.56}]}"#,
    )
    .expect("a market");
    assert_eq!((recording.gap_ms, recording.pools[0].gap_ms), (500, 195_000));
    assert_eq!(recording.pools[0].spot, Prices::Constant(MicroUsd(1)));
    assert_eq!(recording.pools[0].machines, Depth::Constant(3));
    assert_eq!(recording.pools[0].hazard_ppm_hour, 560_000);
    assert_eq!((recording.billing, recording.decide_at), (Billing::Second, DecideAt::Event));
    assert_eq!((recording.notice_ms, recording.boot_ms, recording.egress.len()), (0, 0, 0));

    let text = "\u{feff}[{\"id\":\"a\",\"work_s\":143780.00000000003,\"cpu_millis\":1,\
                \"memory_mib\":0,\"deadline_s\":null}]";
    let job = &jobs::parse(text).expect("jobs")[0];
    assert_eq!((job.count, job.work.work_ms, job.deadline_ms), (1, 143_780_000, None));
    assert_eq!((job.work.checkpoint, job.work.changeover_ms), (Checkpoint::None, 0));
    assert_eq!(jobs::parse("[]"), Ok(Vec::new()));
}

#[test]
fn every_fault_of_a_market_is_told_at_once() {
    let text = r#"{"gap_s":0,"notice_s":-1,"boot_s":"5","billing":"minute","decide_at":null,"gap":1,
    "egress_usd_per_gb":{"a":{"b/c":-0.02},"d":3},
    "pools":[{"zone":"","instance_type":"b","cpu_millis":0.5,"memory_mib":99999999999,"gpus":-1,
      "on_demand_usd_per_hour":1e7,"spot_usd_per_hour":[1,"x",-2],"capacity":[1,1.5,true],
      "gap_s":0.0001,"hazard_per_hour":[],"price~":1},
     {"zone":"a","zone":"a","instance_type":"b","cpu_millis":1,"memory_mib":1,
      "on_demand_usd_per_hour":1,"spot_usd_per_hour":[],"capacity":{}},
     7,
     {"zone":"z","instance_type":"b","cpu_millis":1,"memory_mib":1,"on_demand_usd_per_hour":1,
      "spot_usd_per_hour":1,"capacity":0},
     {"zone":"z","instance_type":"b","cpu_millis":1,"memory_mib":1,"on_demand_usd_per_hour":1,
      "spot_usd_per_hour":1,"capacity":0}]}"#;
    insta::assert_snapshot!(shown(market::parse(text)), @r#"
    /gap: unknown field; known are gap_s, notice_s, boot_s, billing, decide_at, egress_usd_per_gb, pools
    /gap_s: must be a number of seconds from 0.001 to 31622400, is 0
    /notice_s: must be a number of seconds from 0 to 3155760000, is -1
    /boot_s: must be a number of seconds from 0 to 3155760000, is "5"
    /billing: must be "second" or "tick", is "minute"
    /egress_usd_per_gb/a/b~1c: must be a number of USD from 0 to 1000000, is -0.02
    /egress_usd_per_gb/d: must be an object {"from": {"to": USD}}, is 3
    /pools/0/price~0: unknown field; known are zone, instance_type, cpu_millis, memory_mib, gpus, on_demand_usd_per_hour, spot_usd_per_hour, capacity, gap_s, hazard_per_hour
    /pools/0/zone: must be text of 1 to 256 printable bytes, is ""
    /pools/0/cpu_millis: must be a whole number from 1 to 1000000000, is 0.5
    /pools/0/memory_mib: must be a whole number from 1 to 1000000000, is 99999999999
    /pools/0/gpus: must be a whole number from 0 to 1000000, is -1
    /pools/0/on_demand_usd_per_hour: must be a number of USD from 0 to 1000000, is 1e7
    /pools/0/spot_usd_per_hour/1: must be a number of USD from 0 to 1000000, is "x"
    /pools/0/spot_usd_per_hour/2: must be a number of USD from 0 to 1000000, is -2
    /pools/0/capacity/1: must be a whole number from 0 to 1000000000, is 1.5
    /pools/0/capacity/2: must be a whole number from 0 to 1000000000, is true
    /pools/0/gap_s: must be a number of seconds from 0.001 to 31622400, is 0.0001
    /pools/0/hazard_per_hour: must be a number of interruptions an hour from 0 to 1000, is a list
    /pools/1/zone: is there more than once
    /pools/1/spot_usd_per_hour: must be a number of USD, or a list of them, one a tick, one at least, is a list
    /pools/1/capacity: must be a number of machines, or a list of them, one a tick, is an object
    /pools/2: must be an object, is 7
    /pools/4: has the zone and instance_type of pool 3; a pair is one pool
    "#);
}

#[test]
fn every_fault_of_jobs_is_told_at_once() {
    let text = r#"[{"id":7,"arrival_s":-1,"work_s":0,"deadline_s":0,"count":0,"cpu_millis":0,
    "memory_mib":-1,"gpus":1.5,"changeover_s":[],"checkpoint":"sometimes","checkpoint_gib":"1"},
    {"id":"a","checkpoint":{"period_s":0,"cost":1},"work_s":1e30},
    {"id":"a","work_s":1,"cpu_millis":1,"memory_mib":1,"checkpoint":7,"prio":1},
    {"id":"a","work_s":1,"cpu_millis":1,"memory_mib":1,"count":1000000000000},
    {"id":"b","work_s":1,"cpu_millis":1,"memory_mib":1},
    {"id":"b","work_s":1,"cpu_millis":1,"memory_mib":1}]"#;
    insta::assert_snapshot!(shown(jobs::parse(text)), @r#"
    /0/id: must be text of 1 to 256 printable bytes, is 7
    /0/arrival_s: must be a number of seconds from 0 to 3155760000, is -1
    /0/work_s: must be a number of seconds from 0.001 to 3155760000, is 0
    /0/deadline_s: must be a number of seconds from 0.001 to 3155760000, is 0
    /0/count: must be a whole number from 1 to 100000000, is 0
    /0/cpu_millis: must be a whole number from 1 to 1000000000, is 0
    /0/memory_mib: must be a whole number from 0 to 1000000000, is -1
    /0/gpus: must be a whole number from 0 to 1000000, is 1.5
    /0/changeover_s: must be a number of seconds from 0 to 3155760000, is a list
    /0/checkpoint: must be "continuous" or "none" or {"period_s": .., "cost_s": ..}, is "sometimes"
    /0/checkpoint_gib: must be a number of GiB from 0 to 1000000, is "1"
    /1/work_s: must be a number of seconds from 0.001 to 3155760000, is 1e30
    /1/cpu_millis: must be a whole number from 1 to 1000000000, is missing
    /1/memory_mib: must be a whole number from 0 to 1000000000, is missing
    /1/checkpoint/cost: unknown field; known are period_s, cost_s
    /1/checkpoint/period_s: must be a number of seconds from 0.001 to 3155760000, is 0
    /1/checkpoint/cost_s: must be a number of seconds from 0 to 3155760000, is missing
    /2/prio: unknown field; known are id, arrival_s, work_s, deadline_s, count, cpu_millis, memory_mib, gpus, changeover_s, checkpoint, checkpoint_gib
    /2/checkpoint: must be "continuous" or "none" or {"period_s": .., "cost_s": ..}, is 7
    /3/count: must be a whole number from 1 to 100000000, is 1000000000000
    /5: has the id of job 4; ids must be unique
    "#);
}

#[test]
fn what_is_no_such_document() {
    for text in ["", "{", "nul", "[1,]", "{}", "[]", "7", "\"\u{0}\""] {
        let faults = market::parse(text).expect_err(text);
        assert!(faults.iter().all(|fault| !fault.detail.is_empty()));
    }
    insta::assert_snapshot!(shown(market::parse("{\"gap_s\": 600,")), @": is not JSON: EOF while parsing an object at line 1 column 14");
    insta::assert_snapshot!(shown(market::parse("[]")), @": must be an object, is a list");
    insta::assert_snapshot!(shown(jobs::parse("{}")), @": must be a list of jobs, is an object");
    // Deep nesting is no way to the end of the stack.
    let deep = format!("{{\"pools\":{}", "[".repeat(1_000_000));
    assert!(market::parse(&deep).is_err());
    let deep = format!("{{\"pools\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(market::parse(&deep).is_err());
}

#[test]
fn faults_are_listed_up_to_a_hundred() {
    let text = format!("[{}]", vec!["1"; 1_000].join(","));
    let faults = jobs::parse(&text).expect_err("no jobs");
    assert_eq!(faults.len(), limits::FAULTS + 1);
    assert_eq!(faults[limits::FAULTS].detail, "more than 100 faults; the rest is not listed");
}

#[test]
fn too_many_tasks_are_refused() {
    let job = |id: &str| {
        format!(r#"{{"id":"{id}","work_s":1,"cpu_millis":1,"memory_mib":1,"count":60000000}}"#)
    };
    let text = format!("[{},{}]", job("a"), job("b"));
    insta::assert_snapshot!(shown(jobs::parse(&text)), @": the jobs have 120000000 tasks; at most 100000000 are allowed");
}

#[test]
fn a_batchs_line_names_places_within_it() {
    let line = format!(r#"{{"id":"one","market":{MARKET},"jobs":{JOBS}}}"#);
    let case = batch::parse_line(&line).expect("a case");
    assert_eq!(case.id, batch::CaseId::Name("one".into()));
    assert_eq!((case.recording.pools.len(), case.jobs.len()), (1, 1));
    let line = format!(r#"{{"id":17,"market":{MARKET},"jobs":{JOBS}}}"#);
    let case = batch::parse_line(&line).expect("a case");
    assert_eq!(serde_json::to_string(&case.id).expect("json"), "17");
    let line = r#"{"id":-1,"market":{"gap_s":1,"pools":[{}]},"jobs":[{"id":"a"}],"seed":1}"#;
    insta::assert_snapshot!(shown(batch::parse_line(line)), @"
    /seed: unknown field; known are id, market, jobs
    /id: must be a whole number from 0 to 9007199254740992, is -1
    /market/pools/0/zone: must be text of 1 to 256 printable bytes, is missing
    /market/pools/0/instance_type: must be text of 1 to 256 printable bytes, is missing
    /market/pools/0/cpu_millis: must be a whole number from 1 to 1000000000, is missing
    /market/pools/0/memory_mib: must be a whole number from 1 to 1000000000, is missing
    /market/pools/0/on_demand_usd_per_hour: must be a number of USD from 0 to 1000000, is missing
    /market/pools/0/spot_usd_per_hour: must be a number of USD, or a list of them, one a tick, is missing
    /market/pools/0/capacity: must be a number of machines, or a list of them, one a tick, is missing
    /jobs/0/work_s: must be a number of seconds from 0.001 to 3155760000, is missing
    /jobs/0/cpu_millis: must be a whole number from 1 to 1000000000, is missing
    /jobs/0/memory_mib: must be a whole number from 0 to 1000000000, is missing
    ");
}

#[test]
fn jobs_that_fit_nowhere_are_found() {
    let mut recording = market::parse(MARKET).expect("a market");
    let mut small = recording.pools[0].clone();
    small.capacity = Resources { cpu_millis: 64_000, gpus: 0, ..small.capacity };
    recording.pools.push(small);
    let text = r#"[{"id":"fits","work_s":1,"cpu_millis":64000,"memory_mib":62464},
    {"id":"both","work_s":1,"cpu_millis":64000,"memory_mib":1,"gpus":1},
    {"id":"memory","work_s":1,"cpu_millis":1,"memory_mib":62465}]"#;
    let jobs = jobs::parse(text).expect("jobs");
    let never: Vec<&str> = never_fits(&recording, &jobs).map(|job| job.id.as_ref()).collect();
    assert_eq!(never, ["both", "memory"]);
}

const NAME: &str = "[a-z0-9\"\\\\/~äß.-]{1,12}";

fn prices() -> impl Strategy<Value = Prices> {
    let price = || (0..=limits::PRICE_MICRO_USD).prop_map(|micro| MicroUsd(micro.clamped()));
    prop_oneof![price().prop_map(Prices::Constant), vec(price(), 1..20).prop_map(Prices::PerTick),]
}

fn depth() -> impl Strategy<Value = Depth> {
    prop_oneof![
        (0..=1_000_000_000_u32).prop_map(Depth::Constant),
        vec(0..=1_000_000_000_u32, 0..20).prop_map(Depth::PerTick),
    ]
}

prop_compose! {
    fn pool()(
        instance_type in NAME, cpu_millis in 1..=1_000_000_000_u32,
        memory_mib in 1..=1_000_000_000_u32, gpus in 0..=1_000_000_u32, spot in prices(),
        machines in depth(), gap_ms in option::of(1..=limits::GAP_MS),
        hazard_ppm_hour in 0..=1_000_000_000_u32, on_demand in 0..=1_000_000_000_000_i64,
    ) -> (PoolTrace, bool) {
        let capacity = Resources { cpu_millis, memory_mib, disk_mib: MACHINE_DISK_MIB, gpus };
        let pool = PoolTrace {
            zone: "".into(), instance_type: instance_type.into(), capacity,
            on_demand: MicroUsd(on_demand), spot, machines, gap_ms: gap_ms.unwrap_or(0),
            hazard_ppm_hour,
        };
        (pool, gap_ms.is_some())
    }
}

prop_compose! {
    fn recording()(
        gap_ms in 1..=limits::GAP_MS, notice_ms in 0..=limits::DURATION_MS,
        boot_ms in 0..=limits::DURATION_MS, billing: bool, decide_at: bool,
        egress in btree_map(NAME, btree_map(NAME, 0..=1_000_000_000_000_i64, 0..3), 0..3),
        pools in vec(pool(), 1..5),
    ) -> Recording {
        let egress = egress.into_iter().map(|(from, row)| {
            let row = row.into_iter().map(|(to, micro)| (Arc::from(to), MicroUsd(micro)));
            (Arc::from(from), row.collect())
        });
        let pools = pools.into_iter().enumerate().map(|(index, (mut pool, has_gap))| {
            pool.zone = format!("zone-{index}").into();
            if !has_gap {
                pool.gap_ms = gap_ms;
            }
            pool
        });
        Recording {
            gap_ms, notice_ms, boot_ms,
            billing: if billing { Billing::Second } else { Billing::Tick },
            decide_at: if decide_at { DecideAt::Event } else { DecideAt::Tick },
            egress: egress.collect(), pools: pools.collect(),
        }
    }
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let time = || 0..=limits::DURATION_MS;
    prop_oneof![
        Just(Checkpoint::Continuous),
        Just(Checkpoint::None),
        (1..=limits::DURATION_MS, time())
            .prop_map(|(period_ms, cost_ms)| Checkpoint::Periodic { period_ms, cost_ms }),
    ]
}

prop_compose! {
    fn job()(
        id in NAME, arrival_ms in 0..=limits::DURATION_MS,
        deadline_ms in option::of(1..=limits::DURATION_MS), count in 1..=1_000_000_u32,
        cpu_millis in 1..=1_000_000_000_u32, memory_mib in 0..=1_000_000_000_u32,
        gpus in 0..=1_000_000_u32, work_ms in 1..=limits::DURATION_MS,
        changeover_ms in 0..=limits::DURATION_MS, checkpoint in checkpoint(),
        checkpoint_milligib in 0..=limits::CHECKPOINT_MILLIGIB,
    ) -> JobWork {
        JobWork {
            id: id.into(), arrival_ms, deadline_ms, count,
            ask: Resources { cpu_millis, memory_mib, disk_mib: 0, gpus },
            work: Work { work_ms, changeover_ms, checkpoint }, checkpoint_milligib,
        }
    }
}

proptest! {
    #[test]
    fn a_market_reads_back_as_it_was_written(recording in recording()) {
        prop_assert_eq!(market::parse(&market::write(&recording)), Ok(recording));
    }

    #[test]
    fn jobs_read_back_as_they_were_written(jobs in vec(job(), 0..5)) {
        let unique = jobs.into_iter().enumerate().map(|(index, mut job)| {
            job.id = format!("{index}{}", job.id).into();
            Arc::new(job)
        });
        let jobs: Vec<_> = unique.collect();
        prop_assert_eq!(jobs::parse(&jobs::write(&jobs)), Ok(jobs));
    }

    /// Cut or with one character changed, a document gives faults or another market: never a panic.
    #[test]
    fn broken_documents_are_refused_calmly(at in 0_usize..600, with in "[\\[\\]{}\",:0-9a-z-]?") {
        let mut text: String = MARKET.into();
        let at = at.min(text.len() - 1);
        text.replace_range(at..=at, &with);
        let _ = market::parse(&text);
        let _ = market::parse(text.get(..at).unwrap_or_default());
        let _ = jobs::parse(&text);
    }
}
