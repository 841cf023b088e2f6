//! Each rule of Can't Be Late on five ticks of ten minutes, by hand.
//!
//! A tick of spot costs 1 USD, one on demand 3. `left`, `n1` and `n2` are the rules' own, in ticks.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, Resources};
use simulator::jobs::JobWork;
use simulator::policy::PolicyName;
use simulator::result::RunResult;
use simulator::simulate;
use simulator::work::{Checkpoint, Work};

const GREEDY: PolicyName = PolicyName::Greedy;
const PLAIN: PolicyName = PolicyName::UniformProgressPlain;
const UP: PolicyName = PolicyName::UniformProgress;

const ASK: Resources = Resources { cpu_millis: 1_000, memory_mib: 1_000, disk_mib: 0, gpus: 0 };
const GAP_S: u64 = 600;

/// Work, deadline and changeover in seconds; spot machines in each tick.
struct Case {
    work: u64,
    limit: u64,
    changeover: u64,
    spot: &'static str,
    count: u32,
    checkpoint: Checkpoint,
}

fn case(work: u64, changeover: u64, spot: &'static str) -> Case {
    let checkpoint = Checkpoint::Continuous;
    Case { work, limit: 5 * GAP_S, changeover, spot, count: 1, checkpoint }
}

impl Case {
    fn recording(&self, billing: Billing, decide_at: DecideAt) -> Arc<Recording> {
        let depth = self.spot.chars().map(|digit| digit.to_digit(10).expect("digits"));
        let pool = PoolTrace {
            zone: "a".into(),
            instance_type: "m5.large".into(),
            capacity: ASK,
            on_demand: MicroUsd(18_000_000),
            spot: Prices::Constant(MicroUsd(6_000_000)),
            machines: Depth::PerTick(depth.collect()),
            gap_ms: GAP_S * 1_000,
            hazard_ppm_hour: 0,
        };
        Arc::new(Recording {
            gap_ms: GAP_S * 1_000,
            notice_ms: 0,
            boot_ms: 0,
            billing,
            decide_at,
            egress: BTreeMap::new(),
            pools: vec![pool],
        })
    }

    fn run(&self, billing: Billing, decide_at: DecideAt, policy: PolicyName) -> RunResult {
        let job = Arc::new(JobWork {
            id: "a".into(),
            arrival_ms: 0,
            deadline_ms: Some(self.limit * 1_000),
            count: self.count,
            ask: ASK,
            work: Work {
                work_ms: self.work * 1_000,
                changeover_ms: self.changeover * 1_000,
                checkpoint: self.checkpoint,
            },
            checkpoint_milligib: 0,
        });
        let result = simulate(&self.recording(billing, decide_at), &[job], policy, 1).result;
        assert!(result.jobs[0].deadline_met, "{policy}: {result:?}");
        result
    }

    /// USD, starts, and the second in which it was done.
    fn ticks(&self, policy: PolicyName) -> (i64, u64, u64) {
        let result = self.run(Billing::Tick, DecideAt::Tick, policy);
        assert_eq!(result.cost_micro_usd.0 % 1_000_000, 0);
        let done = result.jobs[0].finished_s.expect("done").ms;
        (result.cost_micro_usd.0 / 1_000_000, result.jobs[0].starts, done / 1_000)
    }

    /// Thousandths of a USD, starts, and the millisecond in which it was done.
    fn events(&self, policy: PolicyName) -> (i64, u64, u64) {
        let result = self.run(Billing::Second, DecideAt::Event, policy);
        let done = result.jobs[0].finished_s.expect("done").ms;
        (result.cost_micro_usd.0 / 1_000, result.jobs[0].starts, done)
    }
}

#[test]
fn the_net_takes_what_is_idle_when_two_changeovers_would_be_late() {
    // n2 = (1200 + 600) / 600 = 3. Ticks 0 and 1: left 5 and 4. Tick 2: left 3, on-demand:
    // 300 s of changeover and 1,200 s from 1,200 s on, in ticks 2, 3 and 4.
    assert_eq!(case(1_200, 300, "00000").ticks(GREEDY), (9, 1, 2_700));
    // So it is even if spot comes in that very tick: the net looks at what the task is on.
    assert_eq!(case(1_200, 300, "00111").ticks(GREEDY), (9, 1, 2_700));
    // A tick earlier it takes spot, and from spot it does not fall: in tick 2 n2 = (900 + 600) /
    // 600 = 3 = left, but it is on spot, and n1 = 2.
    assert_eq!(case(1_200, 300, "01111").ticks(GREEDY), (3, 1, 2_100));
}

#[test]
fn after_a_loss_the_net_looks_at_nothing() {
    // Tick 0: n2 = (1800 + 600) / 600 = 4 < 5: spot, 300 s done. Tick 1: 900 s done. Tick 2: lost;
    // n2 = (900 + 600) / 600 = 3 = left: on-demand, 300 s more. Tick 3: spot is back; on on-demand
    // n2 = (600 + 600) / 600 = 2 = left: stays. Done at 2,400 s.
    assert_eq!(case(1_800, 300, "11011").ticks(GREEDY), (2 + 6, 2, 2_400));
    // Undisturbed 2,100 s on spot: four ticks, the last one billed whole.
    assert_eq!(case(1_800, 300, "11111").ticks(GREEDY), (4, 1, 2_100));
}

#[test]
fn a_changeover_goes_on_in_the_next_tick() {
    // A tick and a half of changeover: no work in tick 0, 300 s in tick 1, the rest in tick 2.
    assert_eq!(case(600, 900, "11111").ticks(GREEDY), (3, 1, 1_500));
    // Lost after tick 0, with nothing done; n2 = (600 + 1800) / 600 = 4 = left: on-demand for
    // 1,500 s from 600 s on.
    assert_eq!(case(600, 900, "10111").ticks(GREEDY), (1 + 9, 2, 2_100));
}

#[test]
fn uniform_progress_goes_on_demand_when_it_falls_behind() {
    // Tick 0: 0 done of 0 expected: idle. Tick 1: 0 of 600 x 2/5 = 240: on-demand, without spot to
    // the end: 1,500 s from 600 s on.
    for policy in [PLAIN, UP] {
        assert_eq!(case(1_200, 300, "00000").ticks(policy), (9, 1, 2_100));
    }
    // Spot is taken though it is behind.
    for policy in [PLAIN, UP] {
        assert_eq!(case(1_200, 300, "01111").ticks(policy), (3, 1, 2_100));
    }
}

#[test]
fn hysteresis_keeps_what_is_not_two_changeovers_ahead() {
    // Tick 2: 450 done of 900, spot is there. The line in two changeovers is (1200 + 300) x 3/10 =
    // 450: on the line it stays, and is done at 1,650 s.
    assert_eq!(case(900, 150, "00111").ticks(UP), (6, 1, 1_650));
    // With a changeover of 149 s it is above, and moves: 451 more by 1,800 s are enough.
    assert_eq!(case(900, 149, "00111").ticks(UP), (3 + 1, 2, 1_798));
    // Without hysteresis it moves in any case.
    assert_eq!(case(900, 150, "00111").ticks(PLAIN), (3 + 1, 2, 1_800));
    // But not out of the net: in tick 2 n2 = (900 + 600) / 600 = 3 = left.
    assert_eq!(case(1_200, 300, "00100").ticks(PLAIN), (9, 1, 2_100));
    // A changeover of 60 s: in tick 2 540 done > (1200 + 120) x 2/5 = 528: it moves.
    // 540 more by tick 3, and 120 in it.
    assert_eq!(case(1_200, 60, "00111").ticks(UP), (3 + 2, 2, 1_920));
    // One of 90 s: 510 < (1200 + 180) x 2/5 = 552: it stays. Tick 3: 1,110 > 792: it moves for the
    // last 90 s.
    assert_eq!(case(1_200, 90, "00111").ticks(UP), (6 + 1, 2, 1_980));
}

#[test]
fn one_spot_machine_goes_to_the_first_of_two() {
    // The first is done on spot at 1,500 s and holds it until tick 3. The other one falls into the
    // net in tick 2.
    let two = Case { count: 2, ..case(1_200, 300, "11111") };
    let result = two.run(Billing::Tick, DecideAt::Tick, GREEDY);
    assert_eq!(result.cost_micro_usd, MicroUsd(3_000_000 + 9_000_000));
    assert_eq!(result.jobs[0].finished_s.expect("done").ms, 2_700_000);
}

#[test]
fn by_events_the_net_is_reached_to_the_millisecond() {
    // 3000 - 1200 - 600 = 1,200 s; 1,500 s on demand at 5 thousandths of a USD.
    assert_eq!(case(1_200, 300, "00000").events(GREEDY), (7_500, 1, 2_700_000));
    // 1,501 s: at 1,199 s.
    assert_eq!(case(1_201, 300, "00000").events(GREEDY), (7_505, 1, 2_700_000));
    // Behind the line as soon as the line rises. Of 1,500 s none is cut: billed as 1,500.
    assert_eq!(case(1_200, 300, "00000").events(UP), (7_500, 1, 1_500_001));
    // On spot until it is lost at 1,800 s with 1,500 s done; n2 = 900 s is reached at 2,100 s. Then
    // 600 s on demand.
    assert_eq!(case(1_800, 300, "11100").events(GREEDY), (3_000 + 3_000, 2, 2_700_000));
}

#[test]
fn by_events_hysteresis_ends_when_the_line_is_left_behind() {
    // From 1 ms on demand, work from 300,001 ms. Spot comes at 600 s: x ms of work later than that
    // done = 299,999 + x > (600,000 + x + 600,000) x 2/5 = 480,000 + 2x/5: x = 300,002, at
    // 900,002 ms (300,001.67 rounded up). 600,001 ms of work are left, and 300 s of changeover.
    let (milli_usd, starts, done_ms) = case(1_200, 300, "01111").events(UP);
    assert_eq!((starts, done_ms), (2, 900_002 + 300_000 + 599_999));
    // On demand 900,001 ms, billed as 901 s; spot 899,999 ms, billed as 900 s.
    assert_eq!(milli_usd, 4_505 + 1_500);
}

#[test]
fn what_is_not_kept_is_not_counted_on() {
    for checkpoint in
        [Checkpoint::None, Checkpoint::Periodic { period_ms: 500_000, cost_ms: 20_000 }]
    {
        for spot in ["11011", "10101", "11110", "01110", "11111", "00000"] {
            for policy in [GREEDY, PLAIN, UP] {
                let hard = Case { checkpoint, ..case(1_200, 100, spot) };
                // Each asserts that the deadline is met.
                hard.ticks(policy);
                hard.events(policy);
            }
        }
    }
}
