//! Deadlines as a promise: one that on-demand from the start would have met is met, where no launch was
//! refused and all that went wrong took less than the slack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::{Config, Invariant};
use model::{AttemptEnd, Change, Deadline, JobId, JobSpec, JobStatus, Timestamp};

use crate::disk::Commit;

/// Jobs with a deadline, until they are settled.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    open: BTreeMap<JobId, Open>,
    /// Changed by people, or brought back: what was promised is not what is asked now.
    changed: BTreeSet<JobId>,
}

#[derive(Debug)]
struct Open {
    due: Timestamp,
    /// What is left when it is begun on demand at once, and each of its groups waits for the one before.
    slack_ms: u64,
    /// A run of its longest group.
    longest_ms: u64,
    /// What losses have cost.
    lost_ms: u64,
}

/// A machine from its order to its first task, beyond what control reckons with: boots of a run take up
/// to 90 s, and there are polls and commits.
const START_MS: u64 = 120_000;
/// Between two groups, and for whatever takes its time.
const SPARE_MS: u64 = 60_000;

impl Deadlines {
    /// A commit is durable; `trouble_ms` is how long all faults so far have lasted, and `refused` whether
    /// any launch was.
    pub(crate) fn durable(
        &mut self,
        commit: &Commit,
        trouble_ms: u64,
        refused: bool,
    ) -> Option<(Invariant, String)> {
        let mut found = None;
        for change in &commit.changes {
            match change {
                Change::JobSubmitted { job, spec, at, taken_in: true } => {
                    self.open.extend(open(spec, *at).map(|open| (*job, open)));
                }
                Change::JobPatched { job, .. }
                | Change::JobStopping { job, .. }
                | Change::JobRetried { job, .. } => _ = self.changed.insert(*job),
                Change::TaskRetried { task, .. } => _ = self.changed.insert(task.job),
                Change::Ended { attempt, end, .. } => {
                    let lost = !matches!(end, AttemptEnd::Succeeded | AttemptEnd::Returned);
                    if let Some(open) = self.open.get_mut(&attempt.task.job).filter(|_| lost) {
                        open.lost_ms += open.longest_ms + START_MS;
                    }
                }
                Change::JobSettled { job, status, at, .. } => {
                    let Some(open) = self.open.remove(job) else { continue };
                    let bound = *status == JobStatus::Succeeded && !self.changed.contains(job);
                    let cost_ms = trouble_ms.saturating_add(open.lost_ms);
                    if bound && !refused && cost_ms < open.slack_ms && *at > open.due {
                        let late_ms = at.since(open.due);
                        let words = format!(
                            "{job} is {late_ms} ms late; its slack was {} ms, and what went wrong \
                             took {cost_ms} ms",
                            open.slack_ms
                        );
                        found = found.or(Some((Invariant::DeadlineIsMet, words)));
                    }
                }
                _ => {}
            }
        }
        found
    }
}

fn open(spec: &Arc<JobSpec>, at: Timestamp) -> Option<Open> {
    let Some(Deadline::AfterMs(after_ms)) = spec.deadline else { return None };
    if spec.max_running.is_some() {
        return None;
    }
    let run_ms = |group: &Arc<model::GroupSpec>| -> Option<u64> {
        group.env.get("RUN_MS").and_then(|text| text.parse().ok())
    };
    let runs: Vec<u64> = spec.groups.iter().filter_map(run_ms).collect();
    let groups = u64::try_from(runs.len()).unwrap_or(0);
    let need_ms = runs.iter().sum::<u64>()
        + Config::default().start_reserve_ms
        + groups * (START_MS + SPARE_MS);
    let slack_ms = after_ms.saturating_sub(need_ms);
    let longest_ms = runs.into_iter().max().unwrap_or(0);
    Some(Open { due: at.later_by(after_ms), slack_ms, longest_ms, lost_ms: 0 })
}
