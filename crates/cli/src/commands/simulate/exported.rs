//! `--from-export`: a manager's own past under other policies, beside what was seen.

use std::path::Path;
use std::sync::Arc;

use api::export::{ExportSeen, ExportView, FORMAT};
use model::{Clamp, Fault, MicroUsd, format_duration};
use simulator::report::dollars;

use super::files;
use super::run::Case;
use crate::error::{Failure, Spot};
use crate::render::many;

/// An export, read.
pub(super) struct Exported {
    pub(super) case: Case,
    pub(super) seen: ExportSeen,
    pub(super) assumed: Vec<String>,
}

/// Reads an export, or tells all its faults.
pub(super) fn read(file: &Path) -> Result<Exported, Failure> {
    let text = files::text(file)?;
    let name = files::name(file);
    let view: ExportView = serde_json::from_str(&text).map_err(|fault| {
        Failure::usage(format!("{name} is no export: {fault}"))
            .next("ebb export --to-file FILE makes one")
    })?;
    if view.format != FORMAT {
        let cause = format!("{name} has the format {}; this `ebb` reads {FORMAT}", view.format);
        return Err(Failure::usage(cause).next("use the `ebb` that made it, or export again"));
    }
    let below = |part: &str, faults: Vec<Fault>| -> Vec<Fault> {
        let below = |fault: Fault| Fault { pointer: format!("/{part}{}", fault.pointer), ..fault };
        faults.into_iter().map(below).collect()
    };
    let market = simulator::files::market::parse(view.market.get());
    let jobs = simulator::files::jobs::parse(view.jobs.get());
    match (market, jobs) {
        (Ok(recording), Ok(jobs)) => Ok(Exported {
            case: Case { recording: Arc::new(recording), jobs },
            seen: view.seen,
            assumed: view.assumed,
        }),
        (market, jobs) => {
            let mut faults = below("market", market.err().unwrap_or_default());
            faults.extend(below("jobs", jobs.err().unwrap_or_default()));
            let spots: Vec<Spot> = files::placed(file, &text, faults);
            let count = many(spots.len().clamped(), "fault");
            Err(Failure::usage(format!("{name} has {count}; nothing was run")).with_errors(spots))
        }
    }
}

/// What was seen, in a sentence to stand beside the policies' rows.
pub(super) fn words(seen: &ExportSeen) -> String {
    let paid = seen.cost_micro_usd + seen.open_micro_usd;
    let late = seen.jobs.iter().filter(|job| job.deadline_met == Some(false)).count();
    let due = seen.jobs.iter().filter(|job| job.deadline_met.is_some()).count();
    let took = seen.jobs.iter().filter_map(|job| Some(job.settled_at?.since(job.submitted_at)));
    let took: Vec<u64> = took.collect();
    let settled: u64 = took.len().clamped();
    let mean_ms = took.iter().sum::<u64>().checked_div(settled);
    let mean = mean_ms.map(|ms| format!(" in {} on average", format_duration(ms / 1_000 * 1_000)));
    let due = if due > 0 { format!("; {late} of {due} late") } else { String::new() };
    let open = if seen.open_micro_usd > MicroUsd(0) { "; machines still run" } else { "" };
    format!(
        "seen: {} paid, {} of it lost work; {} taken back; {settled} of {} settled{}{due}{open}",
        dollars(paid),
        dollars(seen.waste_micro_usd),
        many(seen.interruptions, "machine"),
        many(seen.jobs.len().clamped(), "job"),
        mean.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use model::{JobId, JobStatus, Timestamp};

    use super::*;

    #[test]
    fn what_was_seen_is_told_in_a_sentence() {
        let at = Timestamp::from_ms;
        let job = |number: u64, settled: Option<i64>, deadline_met| api::export::ExportJob {
            id: JobId::from_number(number),
            name: "job".into(),
            status: JobStatus::Succeeded,
            submitted_at: at(0),
            settled_at: settled.map(at),
            deadline_met,
            cost_micro_usd: MicroUsd(0),
            attempts: 1,
        };
        let seen = ExportSeen {
            cost_micro_usd: MicroUsd(1_250_000),
            waste_micro_usd: MicroUsd(250_000),
            open_micro_usd: MicroUsd(1),
            interruptions: 1,
            jobs: vec![job(1, Some(60_000), Some(true)), job(2, None, Some(false))],
            ..ExportSeen::default()
        };
        insta::assert_snapshot!(words(&seen), @"seen: $1.25 paid, $0.2500 of it lost work; 1 machine taken back; 1 of 2 jobs settled in 1m on average; 1 of 2 late; machines still run");
    }

    #[test]
    fn what_is_no_export_says_what_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("export.json");
        let told = |text: &str| {
            std::fs::write(&file, text).expect("written");
            let failure = read(&file).err().expect("a failure");
            failure.to_string().replace(&folder.path().display().to_string(), "DIR")
        };
        insta::assert_snapshot!(told("{}"), @"
        error: DIR/export.json is no export: missing field `format` at line 1 column 2
          next: ebb export --to-file FILE makes one
        ");
        let with = |format: u32, jobs: &str| {
            format!(
                r#"{{"format": {format}, "cluster": "cluster_0000000000001",
                "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z",
                "market": {{"gap_s": 60, "pools": []}}, "jobs": {jobs},
                "seen": {{"cost_micro_usd": 0, "task_micro_usd": 0, "waste_micro_usd": 0,
                "boot_micro_usd": 0, "idle_micro_usd": 0, "open_micro_usd": 0,
                "interruptions": 0, "jobs": []}}, "assumed": []}}"#
            )
        };
        insta::assert_snapshot!(told(&with(2, "[]")), @"
        error: DIR/export.json has the format 2; this `ebb` reads 1
          next: use the `ebb` that made it, or export again
        ");
        insta::assert_snapshot!(told(&with(1, "[{}]")), @"
        error: DIR/export.json has 5 faults; nothing was run
          DIR/export.json:3:41: /market/pools: must have one pool at least
          DIR/export.json:3:64: /jobs/0/id: must be text of 1 to 256 printable bytes, is missing
          DIR/export.json:3:64: /jobs/0/work_s: must be a number of seconds from 0.001 to 3155760000, is missing
          DIR/export.json:3:64: /jobs/0/cpu_millis: must be a whole number from 1 to 1000000000, is missing
          DIR/export.json:3:64: /jobs/0/memory_mib: must be a whole number from 0 to 1000000000, is missing
        ");
    }
}
