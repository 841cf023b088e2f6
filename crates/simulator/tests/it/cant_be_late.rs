//! 2,400 starts, C = 48 h, R = 60 h, d = 0.2 h: costs by a port of the authors' simulator and by an
//! exact optimum that others computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use simulator::jobs::JobWork;
use simulator::policy::PolicyName;
use simulator::result::RunResult;
use simulator::simulate;

use crate::samples::{HOUR_MS, Sample, job, samples, unpacked};

type Row = BTreeMap<String, String>;

fn expected() -> Option<Vec<Row>> {
    let text = unpacked("expected_C48_R60_d0.2.csv.gz")?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a head").split(',').collect();
    let row = |line: &str| {
        let cells = names.iter().zip(line.split(','));
        cells.map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
    };
    Some(lines.map(row).collect())
}

/// Runs a policy on every sample; panics with all that are off, by `faults` of a result and its row.
fn compare(policy: PolicyName, faults: impl Fn(&RunResult, &Row) -> Option<String>) {
    let (Some(samples), Some(rows)) = (samples(), expected()) else { return };
    let key = |row: &Row| (row["zone"].clone(), row["i"].parse().expect("a number"));
    let rows: BTreeMap<(String, u64), Row> = rows.into_iter().map(|row| (key(&row), row)).collect();
    let job = job(48 * HOUR_MS, 60 * HOUR_MS, HOUR_MS / 5);
    let off: Vec<String> = samples
        .iter()
        .filter_map(|sample| {
            let row = &rows[&(sample.zone.clone(), sample.index)];
            let fault = faults(&result(sample, &job, policy), row)?;
            Some(format!("{} {}: {fault}", sample.zone, sample.index))
        })
        .collect();
    assert_eq!(samples.len(), 2_400);
    assert!(off.is_empty(), "{} of 2400 off:\n{}", off.len(), off.join("\n"));
}

fn result(sample: &Sample, job: &Arc<JobWork>, policy: PolicyName) -> RunResult {
    simulate(&sample.market, std::slice::from_ref(job), policy, 1).result
}

/// In time, all money in the books, and the cost of the row's column to the cent.
fn cost(result: &RunResult, row: &Row, column: &str) -> Option<String> {
    let usd: f64 = row[column].parse().expect("USD");
    let ours = result.cost_micro_usd.0 as f64 / 1e6;
    let job = &result.jobs[0];
    let booked = job.cost_micro_usd.0 + result.idle_micro_usd.0 == result.cost_micro_usd.0;
    let right = (ours - usd).abs() < 0.005 && job.deadline_met && booked;
    (!right).then(|| format!("{column} {usd}, ours {ours}, {result:?}"))
}

#[test]
fn greedy() {
    compare(PolicyName::Greedy, |result, row| cost(result, row, "greedy_usd"));
}

#[test]
fn uniform_progress_plain() {
    compare(PolicyName::UniformProgressPlain, |result, row| cost(result, row, "up_plain_usd"));
}

#[test]
fn uniform_progress() {
    compare(PolicyName::UniformProgress, |result, row| {
        let starts = row["up_starts"].parse() == Ok(result.jobs[0].starts);
        let preempts = row["up_preempts"].parse() == Ok(result.interruptions);
        cost(result, row, "up_usd")
            .or_else(|| (!starts || !preempts).then(|| format!("{row:?} {result:?}")))
    });
}
#[test]
fn omniscient() {
    compare(PolicyName::Omniscient, |result, row| cost(result, row, "omniscient_usd"));
}
