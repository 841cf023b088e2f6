//! What was run, and what was taken for granted.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices};
use model::{Clamp, MicroUsd};

use super::Page;
use crate::policy::PolicyName;
use crate::report::table::Row;
use crate::report::words::{Span, dollars, escape, hours, many, percent, thousands};
use crate::work::Checkpoint;

fn facts(list: &[(&str, String)]) -> String {
    let mut out = "<dl class=\"facts\">".to_owned();
    for (name, fact) in list {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(fact));
    }
    out + "</dl>"
}

/// `a, b, c and 12 more`.
fn some(names: &BTreeSet<&str>) -> String {
    const NAMED: usize = 6;
    let named: Vec<_> = names.iter().take(NAMED).copied().collect();
    let named = named.join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn spot_range(pools: &[PoolTrace]) -> Option<(MicroUsd, MicroUsd)> {
    let range = |pool: &PoolTrace| match &pool.spot {
        Prices::Constant(price) => Some((*price, *price)),
        Prices::PerTick(prices) => Some((*prices.iter().min()?, *prices.iter().max()?)),
    };
    let ranges = pools.iter().filter_map(range);
    ranges.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
}

/// Of all ticks of pools whose depth is recorded: those in which there was a machine.
fn available(pools: &[PoolTrace]) -> Option<u64> {
    let (mut some, mut all) = (0_u64, 0_u64);
    for pool in pools {
        if let Depth::PerTick(machines) = &pool.machines {
            all = all.saturating_add(machines.len().clamped());
            let with = machines.iter().filter(|count| **count > 0).count();
            some = some.saturating_add(with.clamped());
        }
    }
    (some * 1_000).checked_div(all)
}

pub(super) fn market(page: &Page<'_>) -> String {
    let market = page.market;
    let pools = &market.pools;
    let zones: BTreeSet<_> = pools.iter().map(|pool| &*pool.zone).collect();
    let types: BTreeSet<_> = pools.iter().map(|pool| &*pool.instance_type).collect();
    let price = |(low, high): (MicroUsd, MicroUsd)| match low == high {
        true => format!("{} an hour", dollars(low)),
        false => format!("{} to {} an hour", dollars(low), dollars(high)),
    };
    let on_demand = pools.iter().map(|pool| (pool.on_demand, pool.on_demand));
    let on_demand = on_demand.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    let lasts = match market.end_ms() {
        0 => "for ever: no record of it ends".to_owned(),
        ms => format!("{}; after that there is no spot capacity", Span { ms }),
    };
    let mut list = vec![
        ("From", page.market_name.to_owned()),
        ("Pools", many(pools.len().clamped(), "pool")),
        ("Zones", some(&zones)),
        ("Instance types", some(&types)),
        ("It lasts", lasts),
    ];
    if let Some(range) = spot_range(pools) {
        list.push(("Spot", price(range)));
    }
    if let Some(range) = on_demand {
        list.push(("On demand", price(range)));
    }
    if let Some(share) = available(pools) {
        list.push(("Spot was to be had", format!("in {} of the pools' ticks", percent(share))));
    }
    facts(&list)
}

pub(super) fn work(page: &Page<'_>, rows: &[Row]) -> String {
    let jobs = page.jobs;
    let tasks: u64 = jobs.iter().map(|job| u64::from(job.count)).sum();
    let work: u128 =
        jobs.iter().map(|job| u128::from(job.work.work_ms) * u128::from(job.count)).sum();
    let due: u64 = jobs.iter().filter(|job| job.deadline_ms.is_some()).count().clamped();
    let mut list = vec![
        ("From", page.jobs_name.to_owned()),
        ("Size", format!("{}, {}", many(jobs.len().clamped(), "job"), many(tasks, "task"))),
        ("Work", format!("{} of machines' time, without starts", hours(work))),
    ];
    if let Some(last) = jobs.iter().map(|job| job.arrival_ms).max() {
        let first = jobs.iter().map(|job| job.arrival_ms).min().unwrap_or(0);
        let text = match last == first {
            true => format!("all at {}", Span { ms: first }),
            false => format!("from {} to {}", Span { ms: first }, Span { ms: last }),
        };
        list.push(("Arrivals", text));
    }
    list.push((
        "Deadlines",
        format!("{} of {}", thousands(due), many(jobs.len().clamped(), "job")),
    ));
    list.push(("Progress that survives", checkpoints(page)));
    if let Some(row) = rows.first() {
        list.push(("On demand", dollars(row.on_demand)));
    }
    facts(&list)
}

fn checkpoints(page: &Page<'_>) -> String {
    let counted = |is: fn(&Checkpoint) -> bool| -> u64 {
        page.jobs.iter().filter(|job| is(&job.work.checkpoint)).count().clamped()
    };
    let kinds = [
        ("all of it", counted(|it| matches!(it, Checkpoint::Continuous))),
        ("that of the last checkpoint", counted(|it| matches!(it, Checkpoint::Periodic { .. }))),
        ("none", counted(|it| matches!(it, Checkpoint::None))),
    ];
    let some = kinds.iter().filter(|(_, jobs)| *jobs > 0);
    let some: Vec<_> =
        some.map(|(name, jobs)| format!("{name} ({})", many(*jobs, "job"))).collect();
    some.join(", ")
}

pub(super) fn assumed(page: &Page<'_>) -> String {
    let market = page.market;
    let gap = Span { ms: market.gap_ms };
    let mut list = vec![
        match market.decide_at {
            DecideAt::Tick => format!("Machines are bought and ended at the starts of ticks of {gap} only."),
            DecideAt::Event => "Machines are bought and ended at any time.".to_owned(),
        },
        match market.billing {
            Billing::Tick => "Every tick that a machine was held is billed whole, the last one too.".to_owned(),
            Billing::Second => "Machines are billed by the second, 60 at least.".to_owned(),
        },
        match market.notice_ms {
            0 => "Machines are taken back without a word.".to_owned(),
            ms => format!("Machines are told {} before they are taken back.", Span { ms }),
        },
        match market.boot_ms {
            0 => "A machine takes work at once.".to_owned(),
            ms => format!("A machine takes work {} after it was bought.", Span { ms }),
        },
        "When a pool holds fewer machines than we run there, the newest go first. What we buy does not \
         move prices, and takes nothing from later ticks."
            .to_owned(),
        "On-demand machines are to be had without limit and are never taken back.".to_owned(),
        "A task needs its changeover at every start, the first one included: it is billed, and no work is \
         done."
            .to_owned(),
    ];
    if !market.egress.is_empty() {
        list.push("A checkpoint that goes to another zone pays the price between the two; a GiB is taken for a GB.".to_owned());
    }
    let names: BTreeSet<_> = page.outcomes.iter().map(|it| &*it.result.policy).collect();
    if names.contains(PolicyName::Ebbtide.as_str()) {
        list.push("ebbtide is the very code that decides in the manager: its step, its planner and its nodes' rules.".to_owned());
    }
    if names
        .iter()
        .any(|name| ![PolicyName::Ebbtide.as_str(), PolicyName::Omniscient.as_str()].contains(name))
    {
        list.push("The other policies are written after their papers and sources; the guide to the simulator names them.".to_owned());
    }
    if names.contains(PolicyName::Omniscient.as_str()) {
        list.push("omniscient knows the whole record: the exact least cost of one task, a bound below it for more.".to_owned());
    }
    let mut out = "<ul>".to_owned();
    for item in list {
        let _ = write!(out, "<li>{}</li>", escape(&item));
    }
    let seeds: BTreeSet<_> = page.outcomes.iter().map(|it| it.result.seed.to_string()).collect();
    let seeds: Vec<_> = seeds.into_iter().collect();
    let _ = write!(
        out,
        "<li>Seed {}: the same again gives the same figures.</li>",
        escape(&seeds.join(", "))
    );
    out + "</ul>"
}
