//! Answers of the API as text for people: pure functions from values.

use api::view::{
    AttemptView, CostView, Explanation, JobDetail, JobView, NodeView, TaskCounts, TaskView,
};
use model::{Clamp, JobStatus, MicroUsd, TaskStatus, Timestamp, format_duration};

use crate::output::{Paint, Tone};

/// Columns without lines, for every terminal and for `awk`. `right` are the columns of numbers.
///
/// A cell may hold escape codes of [`Paint`]; they take no room.
pub(crate) fn table(head: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|title| (*title).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns)
        .map(|at| all.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max())
        .map(Option::unwrap_or_default)
        .collect();
    let lines: Vec<_> = all.iter().map(|row| line(row, &widths, right)).collect();
    lines.join("\n")
}

fn line(row: &[String], widths: &[usize], right: &[usize]) -> String {
    let mut line = String::new();
    for (at, (cell, wide)) in row.iter().zip(widths).enumerate() {
        if at > 0 {
            line.push_str("  ");
        }
        let room = " ".repeat(wide.saturating_sub(width(cell)));
        if right.contains(&at) {
            line.push_str(&room);
            line.push_str(cell);
        } else {
            line.push_str(cell);
            line.push_str(&room);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Characters that are seen: those of an escape code are not.
fn width(cell: &str) -> usize {
    let mut inside = false;
    let seen = |letter: &char| {
        inside |= *letter == '\x1b';
        let seen = !inside;
        inside &= *letter != 'm';
        seen
    };
    cell.chars().filter(seen).count()
}

/// How long ago, in at most two units.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    short(now.since(at))
}

/// A duration in whole seconds, in at most two units.
pub(crate) fn short(ms: u64) -> String {
    let text = format_duration(ms / 1000 * 1000);
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Money to a hundredth of a cent; the exact amount is in the JSON.
pub(crate) fn dollars(amount: MicroUsd) -> String {
    let micro = amount.0.unsigned_abs();
    let sign = if amount.0 < 0 { "-" } else { "" };
    format!("{sign}${}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
}

fn job_status(status: JobStatus, paint: Paint) -> String {
    let tone = match status {
        JobStatus::Submitted | JobStatus::Waiting => Tone::Dim,
        JobStatus::Running | JobStatus::Stopping => Tone::Busy,
        JobStatus::Succeeded => Tone::Good,
        JobStatus::Failed | JobStatus::Cancelled => Tone::Bad,
    };
    paint.paint(status.as_str(), tone)
}

fn task_tone(status: TaskStatus) -> Tone {
    match status {
        TaskStatus::Waiting | TaskStatus::Backoff => Tone::Dim,
        TaskStatus::Assigned | TaskStatus::Running | TaskStatus::Leaving => Tone::Busy,
        TaskStatus::Succeeded => Tone::Good,
        TaskStatus::Failed | TaskStatus::Cancelled => Tone::Bad,
    }
}

/// The word that JSON uses for a closed enum.
fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

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
pub(crate) fn jobs(jobs: &[JobView], now: Timestamp, paint: Paint) -> String {
    if jobs.is_empty() {
        return "no jobs yet; submit one with `ebb run -- CMD` or `ebb submit FILE`".to_owned();
    }
    let rows = jobs.iter().map(|job| {
        vec![
            job.id.to_string(),
            job.name.clone(),
            job_status(job.status, paint),
            format!("{}/{}", job.tasks.settled(), job.tasks.total),
            job.tasks.failed.to_string(),
            ago(job.submitted_at, now),
        ]
    });
    table(&["JOB", "NAME", "STATUS", "SETTLED", "FAILED", "AGE"], &[3, 4], rows.collect())
}

/// One job.
pub(crate) fn job(detail: &JobDetail, now: Timestamp, paint: Paint) -> String {
    let job = &detail.job;
    let took = match job.settled_at {
        Some(settled) => format!("took {}", short(settled.since(job.submitted_at))),
        None => format!("submitted {} ago", ago(job.submitted_at, now)),
    };
    let status = job_status(job.status, paint);
    let mut lines = vec![
        format!("{}  {}  {status}  {took}", job.id, job.name),
        format!("  tasks  {} of {} settled: {}", job.tasks.settled(), job.tasks.total, {
            counts(&job.tasks)
        }),
        format!("  cost   {}", dollars(detail.cost_micro_usd)),
    ];
    if !job.labels.is_empty() {
        let labels: Vec<_> =
            job.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        lines.push(format!("  labels {}", labels.join(" ")));
    }
    let rows = detail.groups.iter().enumerate().map(|(ordinal, group)| {
        vec![
            format!("  {ordinal}"),
            group.name.clone(),
            format!("{}/{}", group.tasks.settled(), group.tasks.total),
            counts(&group.tasks),
        ]
    });
    lines.push(table(&["  GROUP", "NAME", "SETTLED", "TASKS"], &[], rows.collect()));
    lines.join("\n")
}

/// Tasks, one a line.
pub(crate) fn tasks(tasks: &[TaskView], paint: Paint) -> String {
    let rows = tasks.iter().map(|task| {
        let counters = task.counters;
        vec![
            task.id.to_string(),
            paint.paint(&word(&task.status), task_tone(task.status)),
            task.cause.as_ref().map(word).unwrap_or_default(),
            task.attempt.to_string(),
            task.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            format!(
                "{}/{}/{}/{}",
                counters.failed, counters.timed_out, counters.interrupted, counters.node_lost
            ),
            task.node.map(|node| node.to_string()).unwrap_or_default(),
        ]
    });
    let head =
        ["TASK", "STATUS", "CAUSE", "ATTEMPT", "EXIT", "FAILED/TIMED-OUT/INTERRUPTED/LOST", "NODE"];
    table(&head, &[3, 4], rows.collect())
}

/// The attempts of a task that have ended, one a line.
pub(crate) fn attempts(attempts: &[AttemptView]) -> String {
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
            if attempt.settles { "settled the task".to_owned() } else { String::new() },
            attempt.node.to_string(),
            attempt.message.clone().unwrap_or_default(),
        ]
    });
    table(&["ATTEMPT", "END", "EXIT", "RAN", "", "NODE", "MESSAGE"], &[0, 2], rows.collect())
}

/// Nodes, one a line.
pub(crate) fn nodes(nodes: &[NodeView], now: Timestamp, paint: Paint) -> String {
    if nodes.is_empty() {
        return "no nodes; `ebb worker --manager URL` adds this machine".to_owned();
    }
    let rows = nodes.iter().map(|node| {
        let tone = match node.state.as_str() {
            "ready" => Tone::Good,
            "gone" | "retiring" => Tone::Dim,
            "suspect" | "launch-failed" => Tone::Bad,
            _ => Tone::Busy,
        };
        let why = match node.deadline {
            Some(deadline) if node.state != "gone" => {
                format!("taken in {}", short(deadline.since(now)))
            }
            _ => node.reason.as_ref().map(word).unwrap_or_default(),
        };
        let pool = node.pool.as_ref().map_or_else(|| "static".to_owned(), ToString::to_string);
        vec![
            node.id.clone(),
            paint.paint(&node.state, tone),
            why,
            ago(node.since, now),
            pool,
            format!("{}/{}m", node.reserved.cpu_millis, node.capacity.cpu_millis),
            format!("{}/{} MiB", node.reserved.memory_mib, node.capacity.memory_mib),
            format!("{}+{}", node.running, node.held),
            dollars(node.price_micro_usd_hour),
            node.name.clone().unwrap_or_default(),
        ]
    });
    let head =
        ["NODE", "STATE", "WHY", "SINCE", "POOL", "CPU", "MEMORY", "TASKS", "AN HOUR", "NAME"];
    table(&head, &[5, 6, 7, 8], rows.collect())
}

/// One screen: what is there, what runs, what it costs.
pub(crate) fn overview(
    jobs: &[JobView],
    nodes: &[NodeView],
    cost: &CostView,
    now: Timestamp,
    paint: Paint,
) -> String {
    const LINES: usize = 15;
    let shown = &jobs[..jobs.len().min(LINES)];
    let listed = self::jobs(shown, now, paint);
    let more = match jobs.len() - shown.len() {
        0 => String::new(),
        more => format!("\n… and {more} more; `ebb status --all` lists them"),
    };
    let live: Vec<_> = nodes.iter().filter(|node| node.state != "gone").collect();
    let by_state = states(&live);
    let running: u64 = live.iter().map(|node| u64::from(node.running)).sum();
    let nodes = if live.is_empty() { "none".to_owned() } else { by_state };
    format!(
        "{listed}{more}\n\nnodes  {nodes}; {running} tasks on them\ncost   {} so far ({} on-demand), {} an hour now",
        dollars(cost.total_micro_usd),
        dollars(cost.on_demand_micro_usd),
        dollars(hourly(&live)),
    )
}

fn states(nodes: &[&NodeView]) -> String {
    let mut count = std::collections::BTreeMap::<&str, usize>::new();
    for node in nodes {
        *count.entry(&node.state).or_default() += 1;
    }
    let parts: Vec<_> = count.iter().map(|(state, count)| format!("{count} {state}")).collect();
    parts.join(", ")
}

fn hourly(nodes: &[&NodeView]) -> MicroUsd {
    MicroUsd(nodes.iter().map(|node| node.price_micro_usd_hour.0).sum())
}

/// Why something is as it is.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", explanation.subject, explanation.summary)];
    lines.extend(explanation.details.iter().map(|detail| format!("  - {detail}")));
    lines.join("\n")
}

/// What was bought.
pub(crate) fn cost(cost: &CostView) -> String {
    let line = |name: &str, amount: MicroUsd| vec![name.to_owned(), amount.to_string()];
    let rows = vec![
        line("tasks", cost.task_micro_usd),
        line("waste", cost.waste_micro_usd),
        line("boot", cost.boot_micro_usd),
        line("idle", cost.idle_micro_usd),
        line("not booked yet", cost.open_micro_usd),
        line("total", cost.total_micro_usd),
        line("on-demand", cost.on_demand_micro_usd),
        vec!["saved".to_owned(), saved(cost.total_micro_usd, cost.on_demand_micro_usd)],
        vec!["instances".to_owned(), cost.instances.to_string()],
    ];
    table(&["COST", "AMOUNT"], &[1], rows)
}

/// The share that was saved against on-demand, in whole percent.
pub(crate) fn saved(paid: MicroUsd, on_demand: MicroUsd) -> String {
    if on_demand.0 <= 0 {
        return "-".to_owned();
    }
    let percent: i64 = (i128::from(on_demand.0 - paid.0) * 100 / i128::from(on_demand.0)).clamped();
    format!("{percent}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NOW};

    #[test]
    fn jobs_are_one_a_line() {
        insta::assert_snapshot!(jobs(&[samples::job(7), samples::job(8)], NOW, Paint::PLAIN));
        insta::assert_snapshot!(jobs(&[], NOW, Paint::PLAIN));
    }

    #[test]
    fn one_job_shows_groups_and_cost() {
        insta::assert_snapshot!(job(&samples::detail(), NOW, Paint::PLAIN));
        insta::assert_json_snapshot!(samples::detail());
    }

    #[test]
    fn tasks_show_why_and_how_often() {
        insta::assert_snapshot!(tasks(&[samples::task(17)], Paint::PLAIN));
        insta::assert_json_snapshot!(samples::task(17));
    }

    #[test]
    fn attempts_show_how_they_ended() {
        let failed = samples::attempt(samples::task(17).id);
        let killed = AttemptView {
            exit_code: None,
            signal: Some(9),
            settles: true,
            message: Some("out of memory".into()),
            ..failed.clone()
        };
        insta::assert_snapshot!(attempts(&[failed, killed]));
    }

    #[test]
    fn nodes_show_when_they_are_taken() {
        insta::assert_snapshot!(nodes(&samples::nodes(), NOW, Paint::PLAIN));
        insta::assert_snapshot!(nodes(&[], NOW, Paint::PLAIN));
        insta::assert_json_snapshot!(samples::nodes());
    }

    #[test]
    fn the_overview_fits_a_screen() {
        let jobs: Vec<_> = (1..=40).rev().map(samples::job).collect();
        let text = overview(&jobs, &samples::nodes(), &samples::cost(), NOW, Paint::PLAIN);
        assert!(text.lines().count() <= 24, "{text}");
        insta::assert_snapshot!(overview(
            &jobs[..1],
            &samples::nodes(),
            &samples::cost(),
            NOW,
            Paint::PLAIN
        ));
    }

    #[test]
    fn explanations_and_costs_are_lists() {
        insta::assert_snapshot!(explanation(&samples::explanation()));
        insta::assert_json_snapshot!(samples::explanation());
        insta::assert_snapshot!(cost(&samples::cost()));
        insta::assert_json_snapshot!(samples::cost());
    }

    #[test]
    fn colours_take_no_room() {
        let rows = vec![vec!["\x1b[32mup\x1b[0m".to_owned(), "1".to_owned()]];
        assert_eq!(table(&["STATE", "N"], &[1], rows), "STATE  N\n\x1b[32mup\x1b[0m     1");
    }

    #[test]
    fn money_and_time_are_short() {
        assert_eq!(dollars(MicroUsd(1_234_567)), "$1.2345");
        assert_eq!(dollars(MicroUsd(-99)), "-$0.0000");
        assert_eq!(short(83_999), "1m 23s");
        assert_eq!(short(90_061_000), "1day 1h");
        assert_eq!(short(10), "0s");
        assert_eq!(saved(MicroUsd(40), MicroUsd(100)), "60%");
        assert_eq!(saved(MicroUsd(0), MicroUsd(0)), "-");
    }
}
