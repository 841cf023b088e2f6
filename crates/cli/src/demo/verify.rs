//! Reads every result by REST and checks it against sums that were made here.

use std::collections::BTreeMap;

use api::view::{AttemptView, CostView, ResultView, TaskView};
use futures::{StreamExt, TryStreamExt};
use model::{AttemptEnd, JobId, TaskId};

use super::job::{DIGEST, OUTPUT, PACK, result};
use super::sums::{Sums, of_gzip};
use crate::error::Failure;
use crate::remote::{PAGE, Remote};

/// Downloads at once.
const PARALLEL: usize = 16;
/// Faults that are told in words; the rest is counted.
pub(crate) const TOLD: usize = 10;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) attempts: u64,
    pub(crate) interrupted: u64,
    pub(crate) node_lost: u64,
    pub(crate) duplicate_settlements: u64,
    /// What is wrong, in words; nothing when every result is there and right.
    pub(crate) faults: Vec<String>,
}

/// Reads and checks all.
pub(crate) async fn verify(remote: &Remote, job: JobId, sums: &Sums) -> Result<Findings, Failure> {
    let tasks = remote.tasks(job).await?;
    let mut findings = Findings::default();
    // One attempt cannot settle a task twice: only the others' histories are read.
    let again = tasks.iter().filter(|task| task.attempt > 1).map(|task| task.id);
    let attempts: BTreeMap<TaskId, Vec<AttemptView>> = futures::stream::iter(again)
        .map(async |id| remote.attempts(id).await.map(|attempts| (id, attempts)))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    findings.count(&tasks, &attempts);
    let results = read_results(remote, job, &mut findings).await?;
    for (group, expected) in [(DIGEST, &sums.files), (PACK, &sums.bundles)] {
        for (index, sum) in (0..).zip(expected) {
            let task = TaskId { job, group, index };
            match results.get(&task) {
                Some(found) => findings.check_result(found, sum, attempts.get(&task)),
                None => findings.faults.push(format!("{task} has no result")),
            }
        }
    }
    check_outputs(remote, job, sums, &results, &mut findings).await?;
    Ok(findings)
}

async fn read_results(
    remote: &Remote,
    job: JobId,
    findings: &mut Findings,
) -> Result<BTreeMap<TaskId, ResultView>, Failure> {
    let mut results = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = remote.results(job, cursor, PAGE).await?;
        for result in page.items {
            let task = result.task;
            if results.insert(task, result).is_some() {
                findings.faults.push(format!("{task} has two results"));
                findings.duplicate_settlements += 1;
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(results);
        }
    }
}

/// Each file's packed copy must unpack to the same sums.
async fn check_outputs(
    remote: &Remote,
    job: JobId,
    sums: &Sums,
    results: &BTreeMap<TaskId, ResultView>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let tasks =
        (0..).zip(&sums.files).map(|(index, sum)| (TaskId { job, group: DIGEST, index }, sum));
    let kept = tasks.filter(|(task, _)| results.contains_key(task));
    let faults: Vec<Option<String>> = futures::stream::iter(kept)
        .map(async |(task, sum)| {
            let packed = remote.output(task, OUTPUT).await?;
            Ok::<_, Failure>(match of_gzip(&packed) {
                Ok(found) if found == *sum => None,
                Ok(found) => Some(format!("{task}'s output unpacks to {found:?}, not {sum:?}")),
                Err(fault) => Some(format!("{task}'s output does not unpack: {fault}")),
            })
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    findings.faults.extend(faults.into_iter().flatten());
    Ok(())
}

impl Findings {
    fn count(&mut self, tasks: &[TaskView], attempts: &BTreeMap<TaskId, Vec<AttemptView>>) {
        for task in tasks {
            self.attempts += u64::from(task.attempt);
            self.interrupted += u64::from(task.counters.interrupted);
            self.node_lost += u64::from(task.counters.node_lost);
        }
        for (task, attempts) in attempts {
            let settling = attempts.iter().filter(|attempt| attempt.settles).count();
            if settling > 1 {
                self.duplicate_settlements += u64::try_from(settling - 1).unwrap_or(u64::MAX);
                self.faults.push(format!("{task} is settled by {settling} attempts"));
            }
        }
    }

    fn check_result(
        &mut self,
        found: &ResultView,
        sum: &super::sums::Sum,
        attempts: Option<&Vec<AttemptView>>,
    ) {
        let task = found.task;
        let settling = attempts
            .and_then(|attempts| attempts.iter().find(|attempt| attempt.settles))
            .map_or(1, |attempt| attempt.id.attempt);
        if found.attempt != settling {
            self.faults.push(format!(
                "{task}'s result is of attempt {}, but {settling} settled it",
                found.attempt
            ));
        }
        if found.end != AttemptEnd::Succeeded {
            self.faults.push(format!("{task} did not succeed"));
        }
        let text = found.stdout.text.as_deref().unwrap_or_default();
        if result(text).as_ref() != Some(sum) {
            self.faults.push(format!("{task} says `{}`, not {sum:?}", text.trim()));
        }
    }

    /// The parts of a bill must add up to it.
    pub(crate) fn check_cost(&mut self, cost: &CostView) {
        let parts = cost.task_micro_usd
            + cost.waste_micro_usd
            + cost.boot_micro_usd
            + cost.idle_micro_usd
            + cost.open_micro_usd;
        if parts != cost.total_micro_usd {
            self.faults.push(format!("the bill is {}, its parts {parts}", cost.total_micro_usd));
        }
    }
}

#[cfg(test)]
mod tests {
    use model::LogPart;

    use super::super::sums::Sum;
    use super::*;
    use crate::samples;

    fn attempt(task: TaskId, number: u32, settles: bool) -> AttemptView {
        AttemptView { id: task.attempt(number), settles, ..samples::attempt(task) }
    }

    fn found(task: TaskId, attempt: u32, text: &str) -> ResultView {
        ResultView {
            task,
            attempt,
            end: AttemptEnd::Succeeded,
            exit_code: Some(0),
            stdout: LogPart { size_bytes: 1, text: Some(text.into()) },
            stderr: LogPart::default(),
        }
    }

    #[test]
    fn only_the_right_sum_of_the_settling_attempt_will_do() {
        let task = samples::task(1).id;
        let sum = Sum { sha256: "ab".into(), lines: 1, bytes: 2 };
        let attempts = vec![attempt(task, 1, false), attempt(task, 2, true)];
        let faults = |found: &ResultView, attempts: Option<&Vec<AttemptView>>| {
            let mut findings = Findings::default();
            findings.check_result(found, &sum, attempts);
            findings.faults.len()
        };
        assert_eq!(faults(&found(task, 2, "ab  -       1       2\n"), Some(&attempts)), 0);
        assert_eq!(faults(&found(task, 1, "ab  - 1 2\n"), None), 0);
        assert_eq!(faults(&found(task, 1, "ab  - 1 2\n"), Some(&attempts)), 1);
        assert_eq!(faults(&found(task, 2, "ab  - 1 3\n"), Some(&attempts)), 1);
        assert_eq!(faults(&found(task, 2, ""), Some(&attempts)), 1);
    }

    #[test]
    fn a_second_settlement_is_counted() {
        let task = samples::task(1);
        let attempts = [(task.id, vec![attempt(task.id, 1, true), attempt(task.id, 2, true)])];
        let mut findings = Findings::default();
        findings.count(&[task], &attempts.into());
        assert_eq!((findings.duplicate_settlements, findings.faults.len()), (1, 1));
        assert_eq!((findings.attempts, findings.interrupted, findings.node_lost), (5, 1, 2));
    }

    #[test]
    fn the_parts_must_add_up() {
        let mut findings = Findings::default();
        findings.check_cost(&samples::cost());
        assert_eq!(findings.faults, Vec::<String>::new());
        let missing = CostView { total_micro_usd: model::MicroUsd(1), ..samples::cost() };
        findings.check_cost(&missing);
        assert_eq!(findings.faults.len(), 1);
    }
}
