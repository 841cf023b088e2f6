//! Whatever a policy does: the books are right, nothing is sold that is not there, and runs end.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::{
    Bill, Billing, Bought, DecideAt, Depth, MachineNo, PoolTrace, Prices, Recording,
};
use model::{MicroUsd, PurchaseOption, Resources};
use proptest::prelude::*;

use crate::arena::{Desk, News, run};
use crate::jobs::{JobWork, TaskKey};
use crate::policy::{Policy, PolicyName};
use crate::result::Outcome;
use crate::work::{Checkpoint, Work};

const MACHINE: Resources = Resources { cpu_millis: 3_000, memory_mib: 3_000, disk_mib: 0, gpus: 0 };

/// Does anything that a desk offers, and checks it after each time.
struct Wild {
    dice: u64,
    decisions: u32,
    held: BTreeMap<MachineNo, Bought>,
    zones: BTreeMap<TaskKey, Arc<str>>,
    starts: u64,
    /// What all that has ended cost, by our own reckoning, and what was moved.
    bills: i64,
    /// How many those are.
    billed: i64,
    egress: i64,
}

impl Wild {
    fn new(dice: u64) -> Self {
        let (held, zones) = (BTreeMap::new(), BTreeMap::new());
        Self { dice, decisions: 0, held, zones, starts: 0, bills: 0, billed: 0, egress: 0 }
    }

    /// Below a number.
    fn roll(&mut self, sides: usize) -> usize {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.dice >> 33).expect("31 bits") % sides.max(1)
    }

    fn bill(&mut self, recording: &Recording, no: MachineNo, at_ms: u64) {
        let it = self.held.remove(&no).expect("ends once");
        let billed = recording.billed(it.pool, (it.launched_ms, at_ms));
        self.bills += Bill::new(recording).of(recording, it.pool, it.option, billed).rounded().0;
        self.billed += 1;
    }

    fn launch(&mut self, desk: &mut Desk) -> Option<MachineNo> {
        let pool = self.roll(desk.recording().pools.len());
        let option = [PurchaseOption::Spot, PurchaseOption::OnDemand][self.roll(2)];
        let room = desk.room(pool);
        let no = desk.launch(pool, option);
        assert_eq!(no.is_some(), option == PurchaseOption::OnDemand || room > 0);
        let bought = desk.machines()[&no?].bought;
        assert_eq!(self.held.insert(no?, bought), None);
        no
    }

    fn assign(&mut self, desk: &mut Desk, task: TaskKey, no: MachineNo) {
        let state = &desk.tasks()[&task];
        let free = desk.machines()[&no].free;
        let fits = state.attempt.is_none() && free.holds(&state.job.ask);
        let job = state.job.clone();
        assert_eq!(desk.assign(task, no), fits);
        if fits {
            self.starts += 1;
            let to = desk.recording().pools[desk.machines()[&no].bought.pool].zone.clone();
            if let Some(from) = self.zones.insert(task, to.clone()) {
                self.egress += job.egress(desk.recording(), &from, &to).0;
            }
        }
    }

    fn act(&mut self, desk: &mut Desk) {
        let machines: Vec<MachineNo> = desk.machines().keys().copied().collect();
        let tasks: Vec<TaskKey> = desk.tasks().keys().copied().collect();
        match self.roll(6) {
            0 | 1 => _ = self.launch(desk),
            2 | 3 if !machines.is_empty() && !tasks.is_empty() => {
                let (task, no) =
                    (tasks[self.roll(tasks.len())], machines[self.roll(machines.len())]);
                self.assign(desk, task, no);
            }
            4 if !tasks.is_empty() => _ = desk.stop(tasks[self.roll(tasks.len())]),
            5 if !machines.is_empty() => {
                let no = machines[self.roll(machines.len())];
                desk.end(no);
                self.bill(&desk.recording().clone(), no, desk.now_ms());
            }
            _ => desk.wake_at(desk.now_ms() + 1_000 * u64::try_from(self.roll(900)).expect("few")),
        }
    }

    fn check(&self, desk: &Desk) {
        let recording = desk.recording();
        assert!(desk.machines().keys().eq(self.held.keys()));
        for (at, pool) in recording.pools.iter().enumerate() {
            let is_ours = |it: &&Bought| it.pool == at && it.option == PurchaseOption::Spot;
            let sold = self.held.values().filter(is_ours).count();
            assert!(sold <= usize::try_from(pool.depth(desk.now_ms())).expect("few"));
        }
        let mut on_machines = 0;
        for (no, held) in desk.machines() {
            let mut all = held.free;
            for key in &held.tasks {
                let task = &desk.tasks()[key];
                assert_eq!(task.attempt.expect("on a machine").machine, *no);
                all += task.job.ask;
            }
            assert_eq!(all, MACHINE);
            assert_eq!(held.idle_since_ms.is_some(), held.tasks.is_empty());
            assert_eq!(desk.idle().contains(no), held.tasks.is_empty());
            on_machines += held.tasks.len();
        }
        let attempts = desk.tasks().values().filter(|task| task.attempt.is_some()).count();
        assert_eq!(on_machines, attempts);
        assert!(desk.idle().iter().all(|no| desk.machines().contains_key(no)));
        for task in desk.tasks().values() {
            assert!(task.done_ms <= task.job.work.work_ms);
        }
    }
}

impl Policy for Wild {
    fn decide(&mut self, desk: &mut Desk) {
        self.decisions += 1;
        assert!(self.decisions < 100_000, "a run that does not end");
        let recording = desk.recording().clone();
        for news in desk.news() {
            if let News::Reclaimed(no, _) = news {
                self.bill(&recording, *no, desk.now_ms());
            }
        }
        self.check(desk);
        // Every third decision looks only; after a while nothing is done any more.
        if self.decisions < 300 && self.roll(3) > 0 {
            for _ in 0..self.roll(8) {
                self.act(desk);
                self.check(desk);
            }
        }
    }
}

fn recording() -> impl Strategy<Value = Arc<Recording>> {
    let pool = (
        proptest::collection::vec(0_u32..4, 1..12),
        proptest::collection::vec(1_i64..3_000_000, 1..12),
        1_i64..5_000_000,
    );
    let pools = proptest::collection::vec(pool, 1..4);
    let kinds = (any::<bool>(), any::<bool>());
    (pools, kinds, 0_u64..400, 0_u64..400).prop_map(|(pools, kinds, notice, boot)| {
        let pools =
            pools.into_iter().zip(["a", "b", "a"]).map(|((depth, spot, od), zone)| PoolTrace {
                zone: zone.into(),
                instance_type: "m5.large".into(),
                capacity: MACHINE,
                on_demand: MicroUsd(od),
                spot: Prices::PerTick(spot.into_iter().map(MicroUsd).collect()),
                machines: Depth::PerTick(depth),
                gap_ms: 300_000,
                hazard_ppm_hour: 0,
            });
        let row = BTreeMap::from([("b".into(), MicroUsd(12_345))]);
        Arc::new(Recording {
            gap_ms: 300_000,
            notice_ms: notice * 1_000,
            boot_ms: boot * 777,
            billing: if kinds.0 { Billing::Tick } else { Billing::Second },
            decide_at: if kinds.1 { DecideAt::Tick } else { DecideAt::Event },
            egress: BTreeMap::from([("a".into(), row)]),
            pools: pools.collect(),
        })
    })
}

fn job() -> impl Strategy<Value = JobWork> {
    let checkpoint = prop_oneof![
        Just(Checkpoint::Continuous),
        Just(Checkpoint::None),
        (1_u64..900_000, 0_u64..60_000)
            .prop_map(|(period_ms, cost_ms)| Checkpoint::Periodic { period_ms, cost_ms }),
    ];
    let times = (0_u64..2_000_000, 0_u64..3_000_000, 0_u64..400_000);
    (times, checkpoint, 1_u32..4, 1_u32..2_000, proptest::option::of(1_u64..5_000_000)).prop_map(
        |((arrival_ms, work_ms, changeover_ms), checkpoint, count, cpu_millis, deadline_ms)| {
            JobWork {
                id: "a".into(),
                arrival_ms,
                deadline_ms,
                count,
                ask: Resources { cpu_millis, memory_mib: 1_000, disk_mib: 0, gpus: 0 },
                work: Work { work_ms, changeover_ms, checkpoint },
                checkpoint_milligib: 2_345,
            }
        },
    )
}

fn check_books(outcome: &Outcome, wild: &Wild) {
    let result = &outcome.result;
    let of_jobs: i64 = result.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    assert_eq!(of_jobs + result.idle_micro_usd.0, result.cost_micro_usd.0);
    assert_eq!(result.cost_micro_usd.0, wild.bills + wild.egress);
    assert_eq!(result.jobs.iter().map(|job| job.starts).sum::<u64>(), wild.starts);
    assert!(result.idle_micro_usd.0 >= 0);
    let paid_for_machines = result.cost_micro_usd.0 - wild.egress - result.idle_micro_usd.0;
    // What is wasted is rounded once, what was paid once a machine: by half a micro-dollar at most each.
    let most = paid_for_machines + (wild.billed + 1) / 2 + 1;
    assert!((0..=most).contains(&result.wasted_micro_usd.0), "{result:?}, at most {most}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn books_are_right_whatever_is_done(
        recording in recording(), jobs in proptest::collection::vec(job(), 1..5), dice in any::<u64>()
    ) {
        let jobs: Vec<Arc<JobWork>> = jobs.into_iter().map(Arc::new).collect();
        let mut wild = Wild::new(dice);
        let outcome = run(&recording, &jobs, PolicyName::Greedy, 1, &mut wild);
        // What was still held ended with the run.
        let open: Vec<MachineNo> = wild.held.keys().copied().collect();
        for no in open {
            wild.bill(&recording, no, outcome.series.end_ms);
        }
        check_books(&outcome, &wild);
        let again = run(&recording, &jobs, PolicyName::Greedy, 1, &mut Wild::new(dice));
        prop_assert_eq!(outcome, again);
    }

    /// Every deadline policy is in time when on-demand from the first decision on would have been.
    #[test]
    fn what_can_be_in_time_is(recording in recording(), mut job in job(), slack_ms in 0_u64..4_000_000) {
        let first_ms = match recording.decide_at {
            DecideAt::Tick => recording.tick_at_or_after(job.arrival_ms),
            DecideAt::Event => job.arrival_ms,
        };
        let needed_ms = first_ms - job.arrival_ms + recording.boot_ms + job.work.runtime_ms(0);
        job.deadline_ms = Some(needed_ms + slack_ms);
        let jobs = [Arc::new(job)];
        for name in [PolicyName::Greedy, PolicyName::UniformProgress, PolicyName::UniformProgressPlain] {
            let result = crate::simulate(&recording, &jobs, name, 1).result;
            prop_assert!(result.jobs[0].deadline_met, "{name}: {result:?}");
        }
    }
}
