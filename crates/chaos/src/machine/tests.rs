//! Small stories with a manager driven by hand, and random ones.

use std::collections::{BTreeMap, BTreeSet};

use model::{JobId, JobSpec, NodeId, NoticeKind, Outcome, TaskId};
use proptest::prelude::*;

use super::*;
use crate::{Fault, Plan};

const CAPACITY: Resources =
    Resources { cpu_millis: 1_000, memory_mib: 1_000, disk_mib: 0, gpus: 0 };
const SESSION_NODE: u64 = 7;

/// A manager that acknowledges all it hears, and a network.
struct Bench {
    machine: Machine,
    dice: Dice,
    now_ms: u64,
    serial: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    term: u64,
    /// Calls to lose, from now on.
    lose: u32,
    taken: BTreeMap<u64, u64>,
    assigned: BTreeMap<AttemptId, (bool, Arc<GroupSpec>)>,
    ends: BTreeMap<AttemptId, Vec<Outcome>>,
    started: BTreeMap<AttemptId, u32>,
    live: BTreeSet<AttemptId>,
    waiting: Option<u64>,
    retract: Vec<AttemptId>,
    cancel: Vec<AttemptId>,
    notices: Vec<NodeNotice>,
    told_notice: Option<NodeNotice>,
    closed: u32,
    is_off: bool,
    joins: u32,
}

fn spec(run_ms: u64, timeout_ms: Option<u64>) -> Arc<GroupSpec> {
    let mut group = serde_json::json!({
        "command": ["work"], "env": {"RUN_MS": run_ms.to_string()},
        "resources": {"cpu": "300m", "memory": "1MiB"},
    });
    if let Some(timeout_ms) = timeout_ms {
        group["timeout"] = format!("{timeout_ms}ms").into();
    }
    let document = serde_json::json!({ "group": [group] });
    JobSpec::parse(&document).expect("a good spec").groups[0].clone()
}

/// Each attempt is of a job of its own, so that each may have a spec of its own.
fn id(job: u64) -> AttemptId {
    TaskId { job: JobId::from_number(job), group: 0, index: 0 }.attempt(1)
}

impl Bench {
    fn new(seed: u64, faults: &[Fault]) -> Self {
        let faults = faults.iter().copied().collect();
        let plan = Plan { seed, faults, until_ms: u64::MAX, log: false };
        let who = Joiner::Static { name: "it".into() };
        let mut bench = Self {
            machine: Machine::new(who, CAPACITY, seed),
            dice: Dice::new(&plan),
            now_ms: 0,
            serial: 0,
            queue: BTreeMap::new(),
            term: 1,
            lose: 0,
            taken: BTreeMap::new(),
            assigned: BTreeMap::new(),
            ends: BTreeMap::new(),
            started: BTreeMap::new(),
            live: BTreeSet::new(),
            waiting: None,
            retract: Vec::new(),
            cancel: Vec::new(),
            notices: Vec::new(),
            told_notice: None,
            closed: 0,
            is_off: false,
            joins: 0,
        };
        bench.happen(Happening::Boots);
        bench.run(500);
        bench
    }

    fn later(&mut self, at_ms: u64, happening: Happening) {
        self.serial += 1;
        self.queue.insert((at_ms, self.serial), happening);
    }

    fn run(&mut self, for_ms: u64) {
        let until_ms = self.now_ms + for_ms;
        while let Some(entry) = self.queue.first_entry().filter(|it| it.key().0 <= until_ms) {
            self.now_ms = entry.key().0;
            let happening = entry.remove();
            self.happen(happening);
        }
        self.now_ms = until_ms;
    }

    fn happen(&mut self, happening: Happening) {
        for effect in self.machine.happen(happening, self.now_ms, &mut self.dice) {
            match effect {
                Effect::WakeAt(at_ms) => {
                    assert!(at_ms > self.now_ms);
                    self.later(at_ms, Happening::Wakes);
                }
                Effect::Started(attempt) => {
                    assert!(self.live.insert(attempt), "{attempt} lives twice");
                    *self.started.entry(attempt).or_default() += 1;
                    assert!(self.live.len() <= 3, "more than the machine has");
                }
                Effect::Over(attempt) => assert!(self.live.remove(&attempt)),
                Effect::Closed { .. } => self.closed += 1,
                Effect::PowersOff => self.is_off = true,
                Effect::Calls { call, said } if self.lose == 0 => self.hear(call, said),
                Effect::Calls { .. } => self.lose -= 1,
            }
        }
        let running: BTreeSet<AttemptId> = self.machine.running().into_iter().collect();
        assert_eq!(running, self.live);
    }

    fn answer(&mut self, call: u64, told: Told) {
        self.later(self.now_ms + 2, Happening::Heard { call, told });
    }

    fn hear(&mut self, call: u64, said: Said) {
        match said {
            Said::Join { session, .. } => {
                self.joins += 1;
                self.taken.entry(session).or_default();
                assert_eq!(self.taken.len(), 1, "nothing that was said is forgotten");
                let node = NodeId::from_number(SESSION_NODE);
                self.answer(call, Told::Joined { node, term: self.term });
            }
            Said::Poll(poll) => {
                let taken = self.taken.get_mut(&poll.session).expect("it has joined");
                assert!(poll.spool_offset <= *taken, "a gap");
                let news = !poll.transitions.is_empty();
                for (offset, transition) in (poll.spool_offset..).zip(poll.transitions) {
                    if offset < *taken {
                        continue;
                    }
                    *taken += 1;
                    if let Transition::Ended { attempt, result } = transition {
                        self.ends.entry(attempt).or_default().push(result.outcome);
                    }
                }
                self.told_notice = poll.notice.or(self.told_notice);
                self.waiting = Some(call);
                let open = self.assigned.keys().any(|it| !self.ends.contains_key(it));
                if news || (open && poll.inventory.is_some()) {
                    self.speak();
                }
            }
        }
    }

    fn speak(&mut self) {
        let Some(call) = self.waiting.take() else { return };
        let open = self.assigned.iter().filter(|(it, _)| !self.ends.contains_key(it));
        let assign = open.map(|(attempt, (held, spec))| Assignment {
            attempt: *attempt,
            held: *held,
            spec: spec.clone(),
        });
        let orders = Orders {
            assign: assign.collect(),
            cancel: self.cancel.clone(),
            retract: self.retract.clone(),
            drain: false,
            notices: self.notices.clone(),
        };
        let acked_offset = self.taken.values().copied().max().unwrap_or(0);
        self.answer(call, Told::Orders { term: self.term, acked_offset, orders });
    }

    fn assign(&mut self, job: u64, held: bool, spec: Arc<GroupSpec>) {
        self.assigned.insert(id(job), (held, spec));
        self.speak();
    }

    fn all_ended(&self) -> bool {
        self.assigned.keys().all(|attempt| self.ends.contains_key(attempt))
    }

    fn outcomes(&self, job: u64) -> &[Outcome] {
        self.ends.get(&id(job)).map_or(&[], Vec::as_slice)
    }
}

const DONE: Outcome = Outcome::Exited { code: 0 };

#[test]
fn an_attempt_runs_and_is_reported_once() {
    let mut bench = Bench::new(1, &[]);
    assert_eq!(bench.machine.state(), "idle");
    bench.assign(1, false, spec(3_000, None));
    bench.run(1_000);
    assert_eq!((bench.machine.state(), bench.machine.running()), ("running", vec![id(1)]));
    bench.run(10_000);
    assert_eq!((bench.outcomes(1), bench.machine.state()), (&[DONE][..], "idle"));
    assert!(bench.machine.node().is_some() && bench.machine.session().is_some());
}

#[test]
fn a_killed_digester_adopts_and_a_killed_spawner_s_children_are_fostered() {
    for (killed, spawner) in [(true, false), (false, true)] {
        let mut bench = Bench::new(2, &[]);
        bench.assign(1, false, spec(3_000, None));
        bench.run(1_000);
        if killed {
            bench.happen(Happening::DigesterKilled { back_in_ms: 800 });
            assert_eq!((bench.machine.state(), bench.closed), ("down", 1));
        }
        if spawner {
            bench.happen(Happening::SpawnerKilled);
        }
        bench.run(10_000);
        assert_eq!(bench.started[&id(1)], 1);
        assert_eq!(bench.outcomes(1), [DONE], "{killed} {spawner}");
    }
}

#[test]
fn when_both_die_it_vanishes_and_nothing_is_left_of_it() {
    let mut bench = Bench::new(3, &[]);
    bench.assign(1, false, spec(60_000, None));
    bench.run(1_000);
    bench.happen(Happening::DigesterKilled { back_in_ms: 800 });
    bench.happen(Happening::SpawnerKilled);
    assert_eq!(bench.machine.running(), [id(1)]);
    bench.run(5_000);
    assert_eq!(bench.outcomes(1), [Outcome::Vanished]);
    assert!(bench.live.is_empty());
}

#[test]
fn an_exit_while_the_digester_is_down_or_stands_still_keeps_its_code() {
    for stops in [false, true] {
        let mut bench = Bench::new(4, &[]);
        bench.assign(1, false, spec(1_000, None));
        bench.run(500);
        bench.happen(if stops {
            Happening::DigesterStopped { for_ms: 5_000 }
        } else {
            Happening::DigesterKilled { back_in_ms: 5_000 }
        });
        bench.run(2_000);
        assert!(bench.live.is_empty() && bench.ends.is_empty());
        assert_eq!(bench.machine.state(), if stops { "hung" } else { "down" });
        bench.run(10_000);
        assert_eq!(bench.outcomes(1), [DONE]);
    }
}

#[test]
fn a_power_cut_forgets_nothing_that_was_said() {
    for seed in 0..40 {
        let mut bench = Bench::new(seed, &[]);
        for job in 1..=30 {
            bench.assign(job, false, spec(20, None));
            // In the middle of whatever it does.
            bench.run(seed % 13 + job % 5);
        }
        bench.happen(Happening::PowerCut);
        assert_eq!((bench.machine.state(), bench.machine.is_on()), ("off", false));
        bench.waiting = None;
        bench.run(1_000);
        bench.happen(Happening::Boots);
        bench.run(60_000);
        assert!(bench.all_ended() && bench.ends.values().all(|ends| ends.len() == 1));
    }
}

#[test]
fn what_a_former_leader_says_is_not_heard() {
    let mut bench = Bench::new(5, &[]);
    bench.term = 3;
    bench.assign(1, false, spec(10, None));
    bench.run(1_000);
    assert_eq!(bench.outcomes(1), [DONE]);
    bench.term = 2;
    bench.assign(2, false, spec(10, None));
    bench.run(1_000);
    assert!(bench.outcomes(2).is_empty() && !bench.started.contains_key(&id(2)));
    bench.term = 4;
    bench.run(60_000);
    bench.speak();
    bench.run(1_000);
    assert_eq!(bench.outcomes(2), [DONE]);
}

#[test]
fn held_ones_wait_for_room_and_go_back_when_asked() {
    let mut bench = Bench::new(6, &[]);
    for job in 1..=3 {
        bench.assign(job, false, spec(5_000, None));
        bench.run(50);
    }
    bench.assign(4, true, spec(10, None));
    bench.run(50);
    bench.assign(5, true, spec(10, None));
    bench.run(50);
    assert_eq!(bench.machine.running().len(), 3);
    bench.retract = vec![id(4)];
    bench.speak();
    bench.run(20_000);
    assert_eq!((bench.outcomes(4), bench.outcomes(5)), (&[Outcome::Returned][..], &[DONE][..]));
}

#[test]
fn a_notice_is_told_and_carried_out_and_the_earlier_deadline_wins() {
    let mut bench = Bench::new(7, &[]);
    bench.assign(1, false, spec(1_000_000, None));
    bench.run(100);
    bench.assign(2, false, spec(1_000, None));
    bench.run(100);
    let notice = |remaining_ms| NodeNotice { kind: NoticeKind::Interruption, remaining_ms };
    bench.notices = vec![notice(120_000)];
    bench.speak();
    bench.run(100);
    assert_eq!((bench.machine.state(), bench.told_notice), ("leaving", None));
    bench.notices.clear();
    bench.happen(Happening::Metadata(notice(20_000)));
    bench.run(100);
    assert!(bench.told_notice.is_some_and(|it| it.remaining_ms <= 20_000));
    bench.assign(3, false, spec(10, None));
    bench.run(20_000);
    let ends = [bench.outcomes(1), bench.outcomes(2), bench.outcomes(3)];
    assert_eq!(ends, [&[Outcome::Evicted][..], &[DONE], &[Outcome::Returned]]);
}

#[test]
fn time_outs_end_the_stubborn_too() {
    let mut stubborn = 0;
    for seed in 0..100 {
        let mut bench = Bench::new(seed, &[Fault::ProcessStubborn]);
        bench.assign(1, false, spec(1_000_000, Some(1_000)));
        // Its time-out, its grace, and what it left is perhaps kept first.
        bench.run(2_000 + 5_000 + 2_500);
        assert_eq!(bench.outcomes(1), [Outcome::TimedOut]);
        stubborn += bench.dice.fired().len();
    }
    assert!(stubborn > 0, "none was");
}

#[test]
fn without_a_manager_it_ends_itself() {
    let mut bench = Bench::new(8, &[]);
    bench.assign(1, false, spec(10_000_000, None));
    bench.run(1_000);
    bench.lose = u32::MAX;
    bench.run(599_000);
    assert!(!bench.is_off && bench.machine.is_on());
    bench.run(30_000);
    assert!(bench.is_off && !bench.machine.is_on() && bench.live.is_empty());
}

#[derive(Debug, Clone)]
enum Move {
    Assign { held: bool, run_ms: u64 },
    Cancel,
    Retract,
    Lose(u32),
    Term,
    Kill(u64),
    Stop(u64),
    Spawner,
    Power(u64),
}

fn moves() -> impl Strategy<Value = (u64, Move)> {
    let what = prop_oneof![
        6 => (any::<bool>(), 1u64..4_000)
            .prop_map(|(held, run_ms)| Move::Assign { held, run_ms }),
        1 => Just(Move::Cancel),
        1 => Just(Move::Retract),
        1 => (1u32..4).prop_map(Move::Lose),
        1 => Just(Move::Term),
        2 => (0u64..3_000).prop_map(Move::Kill),
        1 => (0u64..3_000).prop_map(Move::Stop),
        2 => Just(Move::Spawner),
        1 => (0u64..3_000).prop_map(Move::Power),
    ];
    (prop_oneof![3 => 0u64..12, 1 => 0u64..2_000], what)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_attempt_ends_once_whatever_happens(
        seed in any::<u64>(),
        moves in prop::collection::vec(moves(), 1..60),
    ) {
        let faults = [Fault::ProcessFails, Fault::ProcessStubborn];
        let mut bench = Bench::new(seed, &faults);
        for (wait_ms, next) in moves {
            bench.run(wait_ms);
            let last = bench.assigned.keys().next_back().copied();
            match next {
                Move::Assign { held, run_ms } => {
                    let job = bench.assigned.len() as u64 + 1;
                    bench.assign(job, held, spec(run_ms, Some(5_000)));
                }
                Move::Cancel => {
                    bench.cancel.extend(last);
                    bench.speak();
                }
                Move::Retract => {
                    bench.retract.extend(last);
                    bench.speak();
                }
                Move::Lose(calls) => bench.lose = calls,
                Move::Term => bench.term += 1,
                Move::Kill(back_in_ms) => bench.happen(Happening::DigesterKilled { back_in_ms }),
                Move::Stop(for_ms) => bench.happen(Happening::DigesterStopped { for_ms }),
                Move::Spawner => bench.happen(Happening::SpawnerKilled),
                Move::Power(off_ms) => {
                    bench.happen(Happening::PowerCut);
                    bench.waiting = None;
                    bench.later(bench.now_ms + off_ms, Happening::Boots);
                }
            }
        }
        for _ in 0..20 {
            bench.run(10_000);
            bench.speak();
        }
        prop_assert!(bench.all_ended(), "{:?} of {:?}", bench.ends, bench.assigned.keys());
        prop_assert!(bench.ends.values().all(|ends| ends.len() == 1), "{:?}", bench.ends);
        prop_assert!(bench.started.values().all(|times| *times == 1));
        prop_assert!(bench.live.is_empty());
        prop_assert_eq!(bench.machine.state(), "idle");
    }
}
