//! Jobs, their tasks, attempts and outputs.

use api::view::{
    AttemptView, JobDetail, JobView, OutputView, Page, Submitted, TaskCounts, TaskView,
};
use model::{TaskStatus, Timestamp, format_duration, limits};

use super::{ago, dollars, job_status, many, short, task_tone, word};
use crate::output::{Answer, Look};
use crate::progress::bytes;
use crate::table::{Column, col, plain, table, wrapped};

/// The counts that are not zero, in the order of a task's life.
pub(crate) fn counts(tasks: &TaskCounts) -> String {
    let all = [
        ("waiting", tasks.waiting),
        ("backoff", tasks.backoff),
        ("assigned", tasks.assigned),
        ("running", tasks.running),
        ("leaving", tasks.leaving),
        ("succeeded", tasks.succeeded),
        ("failed", tasks.failed),
        ("cancelled", tasks.cancelled),
    ];
    let some: Vec<_> = all
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    some.join(", ")
}

/// Jobs, one a line.
pub(crate) fn jobs(jobs: &[JobView], look: Look) -> String {
    const COLUMNS: [Column; 6] = [
        col("JOB"),
        col("NAME").cut(12),
        col("STATUS"),
        col("SETTLED").right(),
        col("FAILED").right(),
        col("AGE"),
    ];
    if jobs.is_empty() {
        return "no jobs yet; submit one with `ebb run -- CMD` or `ebb submit FILE`".to_owned();
    }
    let rows = jobs.iter().map(|job| {
        vec![
            job.id.to_string(),
            job.name.clone(),
            job_status(job.status, look.paint),
            format!("{}/{}", job.tasks.settled(), job.tasks.total),
            job.tasks.failed.to_string(),
            ago(job.submitted_at, look.now),
        ]
    });
    table(&COLUMNS, look.width, rows.collect())
}

impl Answer for Page<JobView> {
    fn text(&self, look: Look) -> String {
        jobs(&self.items, look)
    }
}

impl Answer for Submitted {
    fn text(&self, _look: Look) -> String {
        format!("{} with {}; ebb wait {0}", self.id, many(self.tasks, "task"))
    }
}

/// More groups than these are told of in the JSON.
const GROUPS: usize = 12;

impl Answer for JobDetail {
    fn text(&self, look: Look) -> String {
        let mut lines = vec![head(&self.job, look)];
        let mut tell = |name: &str, text: &str| lines.push(fact(name, text, look));
        let tasks = self.job.tasks;
        tell(
            "tasks",
            &format!("{} of {} settled: {}", tasks.settled(), tasks.total, counts(&tasks)),
        );
        tell("cost", &dollars(self.cost_micro_usd));
        if let Some(at) = self.deadline_at {
            tell("due", &due(self, at, look.now));
        }
        if !self.job.labels.is_empty() {
            let pairs = self.job.labels.iter().map(|(key, value)| format!("{key}={value}"));
            tell("labels", &plain(&pairs.collect::<Vec<_>>().join(" ")));
        }
        if !self.spec.after.is_empty() {
            let after: Vec<_> = self.spec.after.iter().map(ToString::to_string).collect();
            tell("after", &after.join(" "));
        }
        if self.job.revision > 0 {
            tell("edits", &self.job.revision.to_string());
        }
        lines.push(groups(self, look));
        lines.extend(next(&self.job));
        lines.join("\n")
    }
}

/// How a job stands to its deadline.
fn due(detail: &JobDetail, at: Timestamp, now: Timestamp) -> String {
    match (detail.deadline_met, detail.job.settled_at) {
        (None, _) => format!("in {} ({at})", short(at.since(now))),
        (Some(true), Some(settled)) => format!("met, {} before ({at})", short(at.since(settled))),
        (Some(true), None) => format!("met ({at})"),
        (Some(false), None) => format!("late since {} ({at})", short(now.since(at))),
        (Some(false), Some(settled)) if settled > at => {
            format!("missed by {} ({at})", short(settled.since(at)))
        }
        (Some(false), Some(_)) => format!("missed: it did not succeed ({at})"),
    }
}

/// A line below a head.
fn fact(name: &str, text: &str, look: Look) -> String {
    wrapped(&format!("  {name:<6} {text}"), look.width, 9)
}

fn head(job: &JobView, look: Look) -> String {
    let took = match job.settled_at {
        Some(settled) => format!("took {}", short(settled.since(job.submitted_at))),
        None => format!("submitted {} ago", ago(job.submitted_at, look.now)),
    };
    format!("{}  {}  {}  {took}", job.id, plain(&job.name), job_status(job.status, look.paint))
}

fn groups(detail: &JobDetail, look: Look) -> String {
    const COLUMNS: [Column; 4] =
        [col("  GROUP"), col("NAME").cut(12), col("SETTLED").right(), col("TASKS").cut(20)];
    let rows = detail.groups.iter().enumerate().take(GROUPS).map(|(ordinal, group)| {
        vec![
            format!("  {ordinal}"),
            group.name.clone(),
            format!("{}/{}", group.tasks.settled(), group.tasks.total),
            counts(&group.tasks),
        ]
    });
    let listed = table(&COLUMNS, look.width, rows.collect());
    match detail.groups.len().saturating_sub(GROUPS) {
        0 => listed,
        more => format!("{listed}\n  … and {more} more of at most {}", limits::GROUPS),
    }
}

/// What one wants to know next of a job that is not well.
fn next(job: &JobView) -> Option<String> {
    let (id, tasks) = (job.id, job.tasks);
    if tasks.failed > 0 && job.status.is_settled() {
        return Some(format!("  next   ebb logs {id} --stderr, or: ebb retry {id}"));
    }
    let waits = tasks.waiting > 0 && tasks.running + tasks.assigned + tasks.leaving == 0;
    (waits && !job.status.is_settled()).then(|| format!("  next   ebb explain {id}"))
}

/// One task.
pub(crate) fn task(task: &TaskView, look: Look) -> String {
    let mut head = vec![task.id.to_string()];
    let status = look.paint.paint(&word(&task.status), task_tone(task.status));
    head.push(match &task.cause {
        Some(cause) => format!("{status} ({})", word(cause)),
        None => status,
    });
    head.extend((task.attempt > 0).then(|| format!("attempt {}", task.attempt)));
    head.extend(task.exit_code.map(|code| format!("exit code {code}")));
    let mut lines = vec![head.join("  ")];
    let mut tell = |name: &str, text: &str| lines.push(fact(name, text, look));
    if let Some(node) = task.node {
        tell("node", &node.to_string());
    }
    let ended = ended(task);
    if !ended.is_empty() {
        tell("before", &ended);
    }
    match task.status {
        TaskStatus::Failed => tell("next", &format!("ebb logs {} --stderr", task.id)),
        TaskStatus::Waiting => tell("next", &format!("ebb explain {}", task.id)),
        _ => {}
    }
    lines.join("\n")
}

/// Tasks, one a line.
pub(crate) fn tasks(tasks: &[TaskView], look: Look) -> String {
    const COLUMNS: [Column; 7] = [
        col("TASK"),
        col("STATUS"),
        col("CAUSE"),
        col("ATTEMPT").right(),
        col("EXIT").right(),
        col("NODE").spare(2),
        col("BEFORE").cut(14).spare(1),
    ];
    let rows = tasks.iter().map(|task| {
        vec![
            task.id.to_string(),
            look.paint.paint(&word(&task.status), task_tone(task.status)),
            task.cause.as_ref().map(word).unwrap_or_default(),
            task.attempt.to_string(),
            task.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            task.node.map(|node| node.to_string()).unwrap_or_default(),
            ended(task),
        ]
    });
    table(&COLUMNS, look.width, rows.collect())
}

/// How a task's attempts ended that did not succeed, in words.
fn ended(task: &TaskView) -> String {
    let counters = task.counters;
    let all = [
        ("failed", counters.failed),
        ("timed out", counters.timed_out),
        ("interrupted", counters.interrupted),
        ("lost", counters.node_lost),
    ];
    let some = all.iter().filter(|(_, count)| *count > 0);
    some.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// The attempts of a task that have ended, one a line.
pub(crate) fn attempts(attempts: &[AttemptView], look: Look) -> String {
    const COLUMNS: [Column; 7] = [
        col("ATTEMPT").right(),
        col("END"),
        col("EXIT").right(),
        col("RAN"),
        col("").spare(2),
        col("NODE").spare(1),
        col("MESSAGE").cut(16),
    ];
    let rows = attempts.iter().map(|attempt| {
        vec![
            attempt.id.attempt.to_string(),
            word(&attempt.end),
            match (attempt.exit_code, attempt.signal) {
                (Some(code), _) => code.to_string(),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => String::new(),
            },
            format_duration(attempt.run_ms),
            if attempt.settles { "settled".to_owned() } else { String::new() },
            attempt.node.to_string(),
            attempt.message.clone().unwrap_or_default(),
        ]
    });
    table(&COLUMNS, look.width, rows.collect())
}

impl Answer for Page<OutputView> {
    fn text(&self, look: Look) -> String {
        const COLUMNS: [Column; 3] = [col("TASK"), col("SIZE").right(), col("PATH")];
        if self.items.is_empty() {
            return "no outputs yet: they come with tasks that end, from groups with `outputs`"
                .to_owned();
        }
        let rows = self.items.iter().map(|output| {
            vec![output.task.to_string(), bytes(output.size_bytes), plain(&output.path)]
        });
        let all = self.items.iter().map(|output| output.size_bytes).sum();
        let files = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
        let listed = table(&COLUMNS, look.width, rows.collect());
        format!("{listed}\n\n{}, {}; --to DIR downloads them", many(files, "file"), bytes(all))
    }
}
