//! What `ebb simulate` answers: a row for each policy, or the results as JSON.

use model::{Clamp, MicroUsd};
use serde::{Serialize, Serializer};
use simulator::files::batch::CaseId;
use simulator::report::{Row, Span, dollars};
use simulator::result::RunResult;

use crate::output::{Answer, Look, Tone};
use crate::table::{Column, col, table};

/// Runs over one market and workload: an object for one policy, an array for several.
#[derive(Debug)]
pub(crate) struct Simulated<'r> {
    pub(crate) results: Vec<&'r RunResult>,
    pub(crate) rows: Vec<Row>,
}

impl Serialize for Simulated<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.results[..] {
            [one] => one.serialize(to),
            ref many => many.serialize(to),
        }
    }
}

fn share(part: MicroUsd, whole: MicroUsd) -> String {
    let share = simulator::report::per_mille(part, whole);
    share.map_or_else(|| "-".to_owned(), |share| format!("{}.{}%", share / 10, share % 10))
}

/// A part of a whole, red when something is missing.
fn part(some: u64, all: u64, look: Look) -> String {
    let text = format!("{some}/{all}");
    if some < all { look.paint.paint(&text, Tone::Bad) } else { text }
}

impl Answer for Simulated<'_> {
    fn text(&self, look: Look) -> String {
        const COLUMNS: [Column; 10] = [
            col("POLICY"),
            col("COST").right(),
            col("OF ON-DEMAND").right(),
            col("WASTED").right().spare(5),
            col("IDLE").right().spare(4),
            col("TAKEN").right().spare(2),
            col("STARTS").right().spare(1),
            col("IN TIME").right(),
            col("DONE").right(),
            col("MEAN TIME").right().spare(3),
        ];
        let least = self.rows.iter().filter(|row| row.is_whole()).map(|row| row.cost).min();
        let rows = self.rows.iter().map(|row| {
            let mut cost = dollars(row.cost);
            if row.is_whole() && Some(row.cost) == least && self.rows.len() > 1 {
                cost = look.paint.paint(&cost, Tone::Good);
            }
            let mean = row.mean_completion_ms.map(|ms| Span { ms }.to_string());
            vec![
                row.policy.to_string(),
                cost,
                share(row.cost, row.on_demand),
                dollars(row.wasted),
                dollars(row.idle),
                row.interruptions.to_string(),
                row.starts.to_string(),
                match row.deadlines {
                    0 => "-".to_owned(),
                    all => part(row.met, all, look),
                },
                part(row.finished, row.jobs, look),
                mean.unwrap_or_else(|| "-".to_owned()),
            ]
        });
        let on_demand = self.rows.first().map_or(MicroUsd(0), |row| row.on_demand);
        let told = format!("the same work on demand: {}", dollars(on_demand));
        let told = look.paint.paint(&told, Tone::Dim);
        format!("{}\n\n{told}", table(&COLUMNS, look.width, rows.collect()))
    }
}

/// A line of a batch's results.
#[derive(Debug, Serialize)]
pub(crate) struct ResultLine<'r> {
    pub(crate) id: &'r CaseId,
    #[serde(flatten)]
    pub(crate) result: &'r RunResult,
}

/// What a batch came to.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Batch {
    pub(crate) cases: u64,
    /// Where the results are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    pub(crate) policies: Vec<PolicySum>,
}

/// A policy's sums over the cases of a batch.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PolicySum {
    pub(crate) policy: String,
    pub(crate) cost_micro_usd: MicroUsd,
    pub(crate) on_demand_micro_usd: MicroUsd,
    pub(crate) wasted_micro_usd: MicroUsd,
    pub(crate) idle_micro_usd: MicroUsd,
    pub(crate) interruptions: u64,
    pub(crate) starts: u64,
    pub(crate) jobs: u64,
    pub(crate) finished: u64,
    pub(crate) deadlines: u64,
    pub(crate) deadlines_met: u64,
}

impl Batch {
    /// One more case, with a row for each policy.
    pub(crate) fn add(&mut self, rows: &[Row]) {
        self.cases += 1;
        if self.policies.is_empty() {
            self.policies = rows.iter().map(PolicySum::none).collect();
        }
        for (sum, row) in self.policies.iter_mut().zip(rows) {
            sum.add(row);
        }
    }
}

impl PolicySum {
    fn none(row: &Row) -> Self {
        Self {
            policy: row.policy.to_string(),
            cost_micro_usd: MicroUsd(0),
            on_demand_micro_usd: MicroUsd(0),
            wasted_micro_usd: MicroUsd(0),
            idle_micro_usd: MicroUsd(0),
            interruptions: 0,
            starts: 0,
            jobs: 0,
            finished: 0,
            deadlines: 0,
            deadlines_met: 0,
        }
    }

    fn add(&mut self, row: &Row) {
        self.cost_micro_usd += row.cost;
        self.on_demand_micro_usd += row.on_demand;
        self.wasted_micro_usd += row.wasted;
        self.idle_micro_usd += row.idle;
        self.interruptions += row.interruptions;
        self.starts += row.starts;
        self.jobs += row.jobs;
        self.finished += row.finished;
        self.deadlines += row.deadlines;
        self.deadlines_met += row.met;
    }
}

impl Answer for Batch {
    fn text(&self, look: Look) -> String {
        const COLUMNS: [Column; 7] = [
            col("POLICY"),
            col("COST A CASE").right(),
            col("OF ON-DEMAND").right(),
            col("WASTED").right().spare(2),
            col("IDLE").right().spare(1),
            col("IN TIME").right(),
            col("DONE").right(),
        ];
        let cases = i64::max(self.cases.clamped(), 1);
        let mean = |sum: MicroUsd| dollars(MicroUsd(sum.0 / cases));
        let rows = self.policies.iter().map(|sum| {
            vec![
                sum.policy.clone(),
                mean(sum.cost_micro_usd),
                share(sum.cost_micro_usd, sum.on_demand_micro_usd),
                mean(sum.wasted_micro_usd),
                mean(sum.idle_micro_usd),
                match sum.deadlines {
                    0 => "-".to_owned(),
                    all => part(sum.deadlines_met, all, look),
                },
                part(sum.finished, sum.jobs, look),
            ]
        });
        let table = table(&COLUMNS, look.width, rows.collect());
        let cases = crate::render::many(self.cases, "case");
        let told = match &self.to {
            Some(to) => format!("{cases}; the results are in {to}"),
            None => format!("{cases}; a line for each: --output json, or --to FILE"),
        };
        format!("{table}\n\n{}", look.paint.paint(&told, Tone::Dim))
    }
}
