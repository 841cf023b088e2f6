//! The market as whoever drives it sees it.

use std::collections::BTreeMap;

use crate::{Action, Drill, Given, Key, Market, Mismatch, NotOurs, Setup, Stop, Weather};
use model::{
    InstanceId, Intent, IntentId, IntentState, LaunchRequest, MachineState, NoticeKind, Offer,
    PurchaseOption, RefusalScope, Timestamp,
};
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_ms(1_780_000_000_000);

fn at(ms: i64) -> Timestamp {
    START.plus_ms(ms)
}

fn market(weather: Weather) -> Market {
    Market::new(Setup { weather, key: Key::new([7; 32]), quota: 10_000 }, START)
}

fn offer(market: &Market, instance_type: &str, option: PurchaseOption) -> Offer {
    let mut offers = market.offers(START).into_iter();
    offers
        .find(|offer| &*offer.pool.instance_type == instance_type && offer.pool.option == option)
        .unwrap()
}

fn intent(number: u64, offers: Vec<Offer>, count: u32) -> Intent {
    Intent {
        id: IntentId::from_number(number),
        request: LaunchRequest { offers, count, reason: "test".into() },
        state: IntentState::Requested,
        since: START,
        opened: START,
        born: 0,
    }
}

/// Launches spot machines at the start.
fn launch(market: &mut Market, count: u32) -> Vec<InstanceId> {
    let offers = vec![offer(market, "c5.large", PurchaseOption::Spot)];
    let Given { machines, refusal } = market.launch(&intent(1, offers, count), START).unwrap();
    assert_eq!(refusal, None);
    machines.into_iter().map(|machine| machine.instance).collect()
}

fn busy(market: &mut Market, instances: &[InstanceId], oldest_ms: u64, now: Timestamp) {
    let busy = instances.iter().map(|id| (id.clone(), oldest_ms)).collect();
    market.busy(&busy, now);
}

fn notices(market: &mut Market, now: Timestamp) -> Vec<(InstanceId, NoticeKind)> {
    let received = market.receive(now).into_iter();
    received.map(|it| (it.notice.instance, it.notice.kind)).collect()
}

#[test]
fn offers_are_dated_facts_varied_by_the_seed() {
    let market = market(Weather::default());
    let offers = market.offers(START).into_iter();
    let lines: String = offers
        .filter(|offer| offer.pool.option == PurchaseOption::Spot)
        .map(|offer| {
            let saving = 1000 - offer.price.0 * 1000 / offer.on_demand_price.0;
            format!("{} {} ({saving} permille off)\n", offer.pool, offer.price)
        })
        .collect();
    insta::assert_snapshot!(lines, @"
    us-east-1a/c5.large/spot $0.036908 (566 permille off)
    us-east-1a/c5.xlarge/spot $0.069257 (593 permille off)
    us-east-1a/c6i.large/spot $0.031355 (632 permille off)
    us-east-1a/c6i.xlarge/spot $0.069160 (594 permille off)
    us-east-1a/m5.large/spot $0.031981 (667 permille off)
    us-east-1a/m5.xlarge/spot $0.066767 (653 permille off)
    us-east-1a/r5.large/spot $0.048400 (616 permille off)
    us-east-1a/t3.medium/spot $0.018893 (546 permille off)
    us-east-1b/c5.large/spot $0.035894 (578 permille off)
    us-east-1b/c5.xlarge/spot $0.083746 (508 permille off)
    us-east-1b/c6i.large/spot $0.031920 (625 permille off)
    us-east-1b/c6i.xlarge/spot $0.067384 (604 permille off)
    us-east-1b/m5.large/spot $0.034324 (643 permille off)
    us-east-1b/m5.xlarge/spot $0.072906 (621 permille off)
    us-east-1b/r5.large/spot $0.051259 (594 permille off)
    us-east-1b/t3.medium/spot $0.018284 (561 permille off)
    us-east-1c/c5.large/spot $0.032417 (619 permille off)
    us-east-1c/c5.xlarge/spot $0.069140 (594 permille off)
    us-east-1c/c6i.large/spot $0.031686 (628 permille off)
    us-east-1c/c6i.xlarge/spot $0.070168 (588 permille off)
    us-east-1c/m5.large/spot $0.035946 (626 permille off)
    us-east-1c/m5.xlarge/spot $0.057238 (702 permille off)
    us-east-1c/r5.large/spot $0.052951 (580 permille off)
    us-east-1c/t3.medium/spot $0.019029 (543 permille off)
    ");
}

#[test]
fn an_intent_is_launched_once() {
    let mut market = market(Weather::default());
    let offers = vec![offer(&market, "m5.large", PurchaseOption::Spot)];
    let first = market.launch(&intent(1, offers.clone(), 3), START).unwrap();
    assert_eq!(first.machines.len(), 3);
    let mut again = intent(1, offers.clone(), 3);
    again.state = IntentState::Launching;
    assert_eq!(market.launch(&again, at(60_000)), Ok(first));
    assert_eq!(market.launch(&intent(1, offers, 4), at(60_000)), Err(Mismatch));
    assert_eq!(market.list(at(60_000)).len(), 3);
}

#[test]
fn refusals_say_what_they_concern() {
    let mut market = market(Weather::default());
    let spot = offer(&market, "c5.large", PurchaseOption::Spot);
    let given = market.launch(&intent(1, vec![spot.clone()], 1_000), START).unwrap();
    assert!((8..=40).contains(&given.machines.len()));
    assert_eq!(given.refusal.unwrap().scope, RefusalScope::Pools(vec![spot.pool.clone()]));

    let scope = |market: &mut Market, number, offers, count| {
        let given = market.launch(&intent(number, offers, count), START).unwrap();
        assert_eq!(given.machines, []);
        given.refusal.unwrap().scope
    };
    let mut foreign = spot.clone();
    foreign.pool.zone = "eu-west-1a".into();
    assert_eq!(scope(&mut market, 2, vec![foreign], 1), RefusalScope::Configuration);
    assert_eq!(scope(&mut market, 3, vec![], 1), RefusalScope::Configuration);
    assert_eq!(scope(&mut market, 4, vec![spot.clone()], 0), RefusalScope::Configuration);
    market.reopen(1, START);
    let quota = RefusalScope::Quota(PurchaseOption::Spot);
    assert_eq!(scope(&mut market, 5, vec![spot], 1), quota);
}

#[test]
fn ends_are_told_until_acknowledged() {
    let mut market = market(Weather::default());
    let ids = launch(&mut market, 2);
    assert_eq!(
        market.retire(&[ids[0].clone(), InstanceId::new("i-none")], at(1)),
        [ids[0].clone()]
    );
    assert_eq!(market.retire(&ids[..1], at(1)), []);
    assert_eq!(
        market.stopping().map(|(it, stop)| (it.id.clone(), stop)).collect::<Vec<_>>(),
        [(ids[0].clone(), Stop::Retire)]
    );
    assert_eq!(notices(&mut market, at(2)), []);
    assert!(market.gone(&ids[0], at(3)));
    assert!(!market.gone(&ids[0], at(4)));

    let first = market.receive(at(5));
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].notice.kind, NoticeKind::StateChange);
    assert_eq!(first[0].notice.deadline, at(3));
    assert_eq!(market.receive(at(6)), [], "not twice while it may be worked on");
    assert_eq!(market.receive(at(5_005)), first);
    assert!(market.acknowledge(&first[0].receipt));
    assert!(!market.acknowledge(&first[0].receipt));
    assert_eq!(market.receive(at(60_000)), []);

    let states: BTreeMap<_, _> =
        market.list(at(7)).into_iter().map(|it| (it.instance, it.state)).collect();
    assert_eq!(states[&ids[0]], MachineState::Ended(at(3)));
    assert_eq!(states[&ids[1]], MachineState::Running);
    assert_eq!(market.list(at(3_600_003)).len(), 1, "an ended one is listed for an hour");
}

#[test]
fn hazard_takes_spot_machines_after_a_notice_and_on_demand_never() {
    let mut market = market(Weather { hazard_scale: 1_000, ..Weather::default() });
    let spot = launch(&mut market, 5);
    let offers = vec![offer(&market, "c5.large", PurchaseOption::OnDemand)];
    let paid = market.launch(&intent(2, offers, 5), START).unwrap().machines;
    let mut reclaimed = Vec::new();
    let mut deadlines = BTreeMap::new();
    // 35 per million hours a thousandfold: a mean life of 29 hours.
    while let Some(now) = market.next_due() {
        for action in market.due(now) {
            match action {
                Action::Notify { instance, deadline } => {
                    assert_eq!(deadline.since(now), 120_000);
                    deadlines.insert(instance, deadline);
                }
                Action::Cut { instance } => {
                    assert_eq!(deadlines[&instance], now);
                    market.gone(&instance, now);
                    assert_eq!(
                        market.instance(&instance).unwrap().state,
                        MachineState::Reclaimed(now)
                    );
                    reclaimed.push(instance);
                }
            }
        }
        for received in market.receive(now) {
            market.acknowledge(&received.receipt);
        }
    }
    reclaimed.sort();
    let mut expected = spot;
    expected.sort();
    assert_eq!(reclaimed, expected);
    let left = market.list(market.now()).into_iter().filter(|it| it.state == MachineState::Running);
    assert_eq!(left.map(|it| it.instance).collect::<Vec<_>>().len(), paid.len());
}

#[test]
fn a_drill_strikes_busy_machines_one_after_another() {
    let drill = Drill { notices: 1, kills: 1, busy_ms: 1_000, gap_ms: 500 };
    let mut market = market(Weather { notice_ms: 3_000, drill, ..Weather::default() });
    let ids = launch(&mut market, 3);
    let working = &ids[..2];
    for ms in (0..1_000).step_by(100) {
        busy(&mut market, working, 100, at(ms));
        assert_eq!(market.due(at(ms)), [], "not busy for long enough");
    }
    busy(&mut market, working, 1_100, at(1_000));
    let mut struck = market.due(at(1_000));
    assert_eq!(struck.len(), 1);
    busy(&mut market, working, 1_400, at(1_300));
    assert_eq!(market.due(at(1_300)), [], "the gap");
    assert!(market.watches());
    busy(&mut market, working, 1_600, at(1_500));
    struck.extend(market.due(at(1_500)));
    assert!(!market.watches());
    let (mut noticed, mut cut) = (Vec::new(), Vec::new());
    for action in struck {
        match action {
            Action::Notify { instance, .. } => noticed.push(instance),
            Action::Cut { instance } => cut.push(instance),
        }
    }
    assert_eq!((noticed.len(), cut.len()), (1, 1));
    assert_ne!(noticed, cut);
    assert!(!noticed.contains(&ids[2]) && !cut.contains(&ids[2]), "idle ones are left alone");
    assert_eq!(market.instance(&cut[0]).unwrap().stop, Some(Stop::Fail));
    assert_eq!(notices(&mut market, at(1_501)), [(noticed[0].clone(), NoticeKind::Interruption)]);
    market.gone(&cut[0], at(1_502));
    assert_eq!(market.instance(&cut[0]).unwrap().state, MachineState::Ended(at(1_502)));
    assert_eq!(market.due(market.instance(&noticed[0]).unwrap().deadline.unwrap()).len(), 1);
}

#[test]
fn short_tasks_are_struck_after_patience_only() {
    let drill = Drill { notices: 1, kills: 0, busy_ms: 1_000, gap_ms: 0 };
    let mut market = market(Weather { drill, ..Weather::default() });
    let ids = launch(&mut market, 1);
    for ms in (0..20_000).step_by(100) {
        // Every third look falls between two tasks.
        let seen = if ms % 300 == 200 { &[] } else { &ids[..] };
        busy(&mut market, seen, 50, at(ms));
        assert_eq!(market.due(at(ms)), []);
    }
    busy(&mut market, &[], 0, at(20_000));
    assert_eq!(market.due(at(20_000)), [], "idle at this moment");
    busy(&mut market, &ids, 50, at(20_100));
    assert_eq!(market.due(at(20_100)).len(), 1);
}

#[test]
fn a_pause_ends_being_busy() {
    let drill = Drill { notices: 0, kills: 1, busy_ms: 100, gap_ms: 0 };
    let mut market = market(Weather { drill, ..Weather::default() });
    let ids = launch(&mut market, 1);
    busy(&mut market, &ids, 50, at(0));
    busy(&mut market, &[], 50, at(900));
    for ms in (1_000..3_000).step_by(400) {
        busy(&mut market, &ids, 50, at(ms));
        assert_eq!(market.due(at(ms)), [], "busy only since the pause");
    }
    busy(&mut market, &ids, 50, at(3_000));
    assert_eq!(market.due(at(3_000)).len(), 1);
}

#[test]
fn identity_is_proved_for_running_machines_only() {
    let mut market = market(Weather::default());
    let ids = launch(&mut market, 1);
    let document = market.document(&ids[0]).unwrap();
    let text = serde_json::to_string(&document).unwrap();
    assert_eq!(market.identify(&text), Ok((ids[0].clone(), IntentId::from_number(1))));

    let mut larger = document.clone();
    larger.cpu_millis += 1;
    let forged = serde_json::to_string(&larger).unwrap();
    assert_eq!(market.identify(&forged), Err(NotOurs::Forged));
    let other = Setup { weather: Weather::default(), key: Key::new([8; 32]), quota: 1 };
    assert_eq!(Market::new(other, START).identify(&text), Err(NotOurs::Forged));
    for text in ["", "{}", &text.replace(&document.signature, "zz")] {
        assert_eq!(market.identify(text), Err(NotOurs::Malformed));
    }
    market.gone(&ids[0], START);
    assert_eq!(market.identify(&text), Err(NotOurs::NoSuchMachine));
}

#[derive(Debug, Clone)]
enum Step {
    Launch { intent: u64, offers: Vec<usize>, count: u32 },
    Retire(usize),
    Gone(usize),
    Busy(Vec<usize>, u64),
    Wait(i64),
    Receive { acknowledge: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..6, prop::collection::vec(0_usize..48, 1..4), 1_u32..60)
            .prop_map(|(intent, offers, count)| Step::Launch { intent, offers, count }),
        (0_usize..50).prop_map(Step::Retire),
        (0_usize..50).prop_map(Step::Gone),
        (prop::collection::vec(0_usize..50, 0..9), 0_u64..4_000)
            .prop_map(|(whose, age)| Step::Busy(whose, age)),
        (0_i64..100_000_000).prop_map(Step::Wait),
        any::<bool>().prop_map(|acknowledge| Step::Receive { acknowledge }),
    ];
    prop::collection::vec(step, 1..40)
}

/// Drives a market; answers all that it said.
fn drive(market: &mut Market, steps: &[Step], reload: bool) -> Vec<String> {
    let mut said = Vec::new();
    let mut now = market.now();
    for step in steps {
        let ids: Vec<InstanceId> = market.instances().map(|it| it.id.clone()).collect();
        let pick = |index: &usize| ids.get(*index).cloned();
        match step {
            Step::Launch { intent: number, offers, count } => {
                let all = market.offers(now);
                let offers = offers.iter().map(|index| all[*index].clone()).collect();
                said.push(format!("{:?}", market.launch(&intent(*number, offers, *count), now)));
            }
            Step::Retire(index) => {
                let ids: Vec<_> = pick(index).into_iter().collect();
                said.push(format!("{:?}", market.retire(&ids, now)));
            }
            Step::Gone(index) => {
                if let Some(id) = pick(index) {
                    said.push(format!("{:?}", market.gone(&id, now)));
                }
            }
            Step::Busy(whose, age) => {
                let busy = whose.iter().filter_map(pick).map(|id| (id, *age)).collect();
                market.busy(&busy, now);
            }
            Step::Wait(ms) => now = now.plus_ms(*ms),
            Step::Receive { acknowledge } => {
                let received = market.receive(now);
                said.push(format!("{received:?}"));
                if *acknowledge {
                    for one in received {
                        market.acknowledge(&one.receipt);
                    }
                }
            }
        }
        said.push(format!("{:?} {:?}", market.due(now), market.next_due()));
        if reload {
            let text = serde_json::to_string(market).unwrap();
            let loaded: Market = serde_json::from_str(&text).unwrap();
            assert_eq!(&loaded, market);
            *market = loaded;
        }
        assert_depths(market);
    }
    said
}

/// No pool has more than forty spot or two hundred on-demand machines, the catalogue's most; and a
/// pool that refused before has no more than it had then.
fn assert_depths(market: &Market) {
    let mut sold = BTreeMap::new();
    for one in market.instances().filter(|it| it.is_running()) {
        *sold.entry(one.pool.clone()).or_insert(0) += 1;
    }
    for (pool, count) in sold {
        let most = if pool.option == PurchaseOption::Spot { 40 } else { 200 };
        assert!(count <= most, "{pool}: {count}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn same_seed_same_words_also_through_a_reload(
        seed: u64, steps in steps(), notices in 0_u32..3, kills in 0_u32..3,
    ) {
        let drill = Drill { notices, kills, busy_ms: 1_000, gap_ms: 100 };
        let weather = Weather { seed, hazard_scale: 500, drill, ..Weather::default() };
        let (mut one, mut other) = (market(weather.clone()), market(weather));
        prop_assert_eq!(drive(&mut one, &steps, false), drive(&mut other, &steps, true));
        prop_assert_eq!(
            serde_json::to_string(&one).unwrap(),
            serde_json::to_string(&other).unwrap()
        );
    }

    #[test]
    fn capacity_is_never_exceeded(seed: u64, counts in prop::collection::vec(1_u32..30, 1..20)) {
        let mut market = market(Weather { seed, ..Weather::default() });
        let pool = vec![offer(&market, "r5.large", PurchaseOption::Spot)];
        let (mut sold, mut depth) = (0, None);
        for (number, count) in counts.into_iter().enumerate() {
            let number = u64::try_from(number).unwrap();
            let given = market.launch(&intent(number, pool.clone(), count), START).unwrap();
            sold += given.machines.len();
            if given.refusal.is_some() {
                prop_assert_eq!(*depth.get_or_insert(sold), sold, "full is full");
            } else {
                prop_assert_eq!(given.machines.len(), usize::try_from(count).unwrap());
                prop_assert_eq!(depth, None);
            }
            prop_assert!(sold <= 40);
        }
    }
}
