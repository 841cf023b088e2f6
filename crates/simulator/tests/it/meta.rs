//! Runs of ebbtide over generated markets: the same seed gives the same bytes, every task settles once,
//! and the money adds up, in the simulator's books and in control's own ledger.

use std::sync::Arc;

use market::recorded::{Billing, DecideAt, Recording};
use model::MicroUsd;
use simulator::ebbtide::{Audit, Start, audited, logged};
use simulator::generate::{JobsParams, MarketParams, jobs, market};
use simulator::jobs::JobWork;
use simulator::result::Outcome;

/// A market of two days, and a workload of one.
fn scene(seed: u64, decide_at: DecideAt) -> (Arc<Recording>, Vec<Arc<JobWork>>) {
    let billing = match decide_at {
        DecideAt::Event => Billing::Second,
        DecideAt::Tick => Billing::Tick,
    };
    let params = MarketParams {
        ticks: 288,
        machines: 4,
        mean_up_ms: 3_600_000,
        price_moves_per_10_days: 0,
        notice_ms: if seed.is_multiple_of(3) { 0 } else { 120_000 },
        billing,
        decide_at,
        ..MarketParams::default()
    };
    let work = JobsParams { jobs: 60, ..JobsParams::default() };
    let market = market(&params, seed).expect("right parameters");
    (Arc::new(market), jobs(&work, seed).expect("right parameters"))
}

fn check(jobs: &[Arc<JobWork>], outcome: &Outcome, audit: &Audit) {
    assert_eq!(audit.faults, Vec::<String>::new());
    let result = &outcome.result;
    let of_jobs: i64 = result.jobs.iter().map(|job| job.cost_micro_usd.0).sum();
    assert_eq!(of_jobs + result.idle_micro_usd.0, result.cost_micro_usd.0);
    assert_eq!(audit.paid, result.cost_micro_usd);
    let tasks: u64 = jobs.iter().map(|job| u64::from(job.count)).sum();
    assert_eq!((audit.succeeded, audit.unsuccessful, audit.unsettled_jobs), (tasks, 0, 0));
    assert!(result.jobs.iter().all(|job| job.finished_s.is_some()));
}

#[test]
fn one_seed_gives_the_same_bytes() {
    for (seed, decide_at) in [(1, DecideAt::Event), (2, DecideAt::Tick), (3, DecideAt::Event)] {
        let (market, jobs) = scene(seed, decide_at);
        let (outcome, audit) = logged(&market, &jobs, seed);
        check(&jobs, &outcome, &audit);
        assert!(outcome.result.interruptions > 0 && audit.log.len() > 100, "a dull run");
        let again = logged(&market, &jobs, seed);
        assert!(audit.log == again.1.log, "seed {seed}: steps differ");
        assert_eq!((&outcome, &audit), (&again.0, &again.1));
        // Ids of nodes differ with the seed, whatever it does to the rest.
        assert!(audit.log != logged(&market, &jobs, seed + 1).1.log);
    }
}

#[test]
fn every_task_settles_once_and_the_money_adds_up() {
    for seed in 10..30 {
        for decide_at in [DecideAt::Event, DecideAt::Tick] {
            let (market, jobs) = scene(seed, decide_at);
            let (outcome, audit) = audited(&market, &jobs, &Start::default(), seed);
            check(&jobs, &outcome, &audit);
        }
    }
}

/// Prices stand still, so that both reckon with the same. The market rounds to the nearest, control
/// down; and control learns of the end of a machine that it gave back with its call's answer.
#[test]
fn the_ledger_agrees_with_the_bills() {
    let mut machines = 0;
    for seed in 10..20 {
        let (market, jobs) = scene(seed, DecideAt::Event);
        let (_, audit) = audited(&market, &jobs, &Start::default(), seed);
        let dearest = market.pools.iter().map(|pool| pool.on_demand).max().expect("pools");
        let second = MicroUsd(dearest.0 / 3_600 + 1);
        let (above, below) = audit.apart;
        assert!(above <= second && below <= MicroUsd(1), "seed {seed}: {:?}", audit.apart);
        machines += audit.machines;
    }
    assert!(machines > 500, "{machines}");
}
