//! What of a history breaks a promise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::{AttemptEnd, AttemptId, Cause, JobId, MicroUsd, NodeId, TaskId, TaskStatus};

use super::seen::{Assigned, Course, Seen};
use super::{Ran, Record, TaskSeen};
use crate::event::{EventId, EventKind};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which: an id of `control::Invariant`.
    pub invariant: &'static str,
    /// What was seen.
    pub words: String,
}

impl Breach {
    pub(super) fn new(invariant: &'static str, words: impl Into<String>) -> Self {
        Self { invariant, words: words.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.words)
    }
}

/// All that is wrong with a history. What it does not hold is not looked at: without streams there
/// are no gaps, without the tasks' own notes nothing has overlapped.
pub fn check(records: &[Record]) -> Vec<Breach> {
    let mut seen = Seen::of(records);
    let mut breaches = std::mem::take(&mut seen.faults);
    keys(&seen, &mut breaches);
    order(&seen, &mut breaches);
    jobs(&seen, &mut breaches);
    let courses = seen.courses();
    for (id, task) in &seen.tasks {
        settled(*id, task, courses.get(id), &seen, &mut breaches);
        blame(*id, task, seen.workload.never_fails, &mut breaches);
    }
    stale(&seen, &mut breaches);
    overlaps(&seen, &mut breaches);
    after_notice(&seen, &mut breaches);
    machines(&seen, &mut breaches);
    bill(&seen, &mut breaches);
    breaches
}

/// The same key is the same job.
fn keys(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    let mut jobs = BTreeMap::<&str, JobId>::new();
    for accepted in &seen.accepted {
        let Some(key) = &accepted.key else { continue };
        let first = *jobs.entry(key).or_insert(accepted.job);
        if first != accepted.job {
            let words = format!("key {key} was answered by {first} and by {}", accepted.job);
            breaches.push(Breach::new("accepted-is-durable", words));
        }
    }
}

/// Ids grow in every stream, a commit's events are told without a gap, and what one stream told in
/// the time that another saw, that one told as well.
fn order(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    for (stream, ids) in &seen.streams {
        for pair in ids.windows(2) {
            let [earlier, later] = pair else { continue };
            let gap = if later.seq == earlier.seq {
                later.ordinal != earlier.ordinal.saturating_add(1)
            } else {
                later.ordinal != 0
            };
            if later <= earlier {
                let words = format!("stream {stream} told {later} after {earlier}");
                breaches.push(Breach::new("one-writer", words));
            } else if gap {
                let words = format!("stream {stream} told nothing between {earlier} and {later}");
                breaches.push(Breach::new("one-writer", words));
            }
        }
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { continue };
        let told: BTreeSet<&EventId> = ids.iter().collect();
        for missing in seen.events.range(first..=last).filter(|(id, _)| !told.contains(id)) {
            let words = format!("stream {stream} has not told {}, which another has", missing.0);
            breaches.push(Breach::new("one-writer", words));
        }
    }
}

/// What was accepted is there, whole, and settled once.
fn jobs(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    let mut told = BTreeMap::<(JobId, EventKind), u64>::new();
    for event in seen.events.values() {
        if let Some(job) = event.job {
            *told.entry((job, event.kind)).or_default() += 1;
        }
    }
    for (id, tasks) in seen.promised() {
        let count = |kind| told.get(&(id, kind)).copied().unwrap_or(0);
        let Some(detail) = seen.jobs.get(&id) else {
            breaches.push(Breach::new("accepted-is-durable", format!("{id} is not there")));
            continue;
        };
        let there = seen.tasks.range(first_of(id)..).take_while(|(task, _)| task.job == id).count();
        if detail.job.tasks.total != tasks || u64::try_from(there) != Ok(tasks) {
            let total = detail.job.tasks.total;
            let words = format!("{id} was accepted with {tasks} tasks, has {total}, shows {there}");
            breaches.push(Breach::new("accepted-is-durable", words));
        }
        if !detail.job.status.is_settled() {
            let words = format!("{id} is {} at the end", detail.job.status.as_str());
            breaches.push(Breach::new("liveness", words));
        }
        if seen.streams.is_empty() {
            continue;
        }
        let (submitted, settled) = (count(EventKind::JobSubmitted), count(EventKind::JobSettled));
        if submitted != 1 {
            let words = format!("no or more than one event tells of {id}'s submit: {submitted}");
            breaches.push(Breach::new("accepted-is-durable", words));
        }
        let again = count(EventKind::JobRetried);
        if detail.job.status.is_settled() && settled != again + 1 {
            let words = format!("{id} was settled {settled} times and brought back {again} times");
            breaches.push(Breach::new("settled-once", words));
        }
    }
}

fn first_of(job: JobId) -> TaskId {
    TaskId { job, group: 0, index: 0 }
}

/// A task is settled, once, by the highest of its attempts, and that one has run.
fn settled(
    id: TaskId,
    seen_task: &TaskSeen,
    course: Option<&Course>,
    seen: &Seen<'_>,
    breaches: &mut Vec<Breach>,
) {
    let task = &seen_task.task;
    if !task.status.is_settled() {
        breaches.push(Breach::new("liveness", format!("{id} is {:?} at the end", task.status)));
        return;
    }
    if !seen.streams.is_empty() {
        let none = Course::default();
        let course = course.unwrap_or(&none);
        if course.settled != course.retried + 1 {
            let (times, again) = (course.settled, course.retried);
            let words = format!("{id} was settled {times} times and brought back {again} times");
            breaches.push(Breach::new("settled-once", words));
        }
        let other = course.settling.filter(|settling| *settling != task.attempt);
        if let Some(other) = other {
            let words =
                format!("{id} was settled by attempt {other}, its latest is {}", task.attempt);
            breaches.push(Breach::new("stale-changes-nothing", words));
        }
    }
    if let Some(attempts) = &seen_task.attempts {
        let settling: Vec<u32> =
            attempts.iter().filter(|it| it.settles).map(|it| it.id.attempt).collect();
        let retried = course.map_or(0, |course| course.retried);
        if settling.len() > 1 && retried == 0 {
            let words = format!("{id} is settled by attempts {settling:?}");
            breaches.push(Breach::new("settled-once", words));
        }
        if settling.last().is_some_and(|last| *last != task.attempt) {
            let words =
                format!("{id} is settled by attempt {settling:?}, its latest is {}", task.attempt);
            breaches.push(Breach::new("stale-changes-nothing", words));
        }
    }
    if seen.workload.notes_runs && task.status == TaskStatus::Succeeded {
        let runs = seen.runs.get(&id).map(Vec::as_slice).unwrap_or_default();
        let whole = |run: &&Ran| run.attempt.attempt == task.attempt && run.end_ms.is_some();
        if !runs.iter().any(whole) {
            let words = format!("attempt {} of {id} succeeded without a whole run", task.attempt);
            breaches.push(Breach::new("settled-once", words));
        }
    }
}

/// Only what a task does itself is counted against it.
fn blame(id: TaskId, seen: &TaskSeen, never_fails: bool, breaches: &mut Vec<Breach>) {
    let (task, counters) = (&seen.task, seen.task.counters);
    if never_fails && (counters.failed > 0 || counters.timed_out > 0) {
        let words = format!(
            "{id} never fails, and has {} failures and {} time-outs against it",
            counters.failed, counters.timed_out
        );
        breaches.push(Breach::new("interruption-is-free", words));
    }
    let spared = match task.cause {
        Some(Cause::Poison) => counters.unexplained < model::Counters::POISON_AT,
        Some(Cause::Failed | Cause::TimedOut | Cause::NoRetry) => {
            counters.failed == 0 && counters.timed_out == 0
        }
        _ => false,
    };
    if task.status == TaskStatus::Failed && spared {
        let words = format!("{id} failed ({:?}) with {counters:?}", task.cause);
        breaches.push(Breach::new("interruption-is-free", words));
    }
    let Some(attempts) = &seen.attempts else { return };
    let ends = |end| attempts.iter().filter(|it| it.end == end).count();
    let own = [
        ("failed", AttemptEnd::Failed, counters.failed),
        ("timed out", AttemptEnd::TimedOut, counters.timed_out),
    ];
    for (word, end, counted) in own {
        let ended = ends(end);
        if usize::from(counted) > ended {
            let words = format!("{id}: {counted} are counted as {word}, {ended} attempts did");
            breaches.push(Breach::new("interruption-is-free", words));
        }
    }
}

/// After an attempt, nothing is told of an earlier one.
fn stale(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    let mut latest = BTreeMap::<TaskId, u32>::new();
    let mut assigned = BTreeSet::new();
    for (id, event) in &seen.events {
        let (Some(task), Some(attempt)) = (event.task, event.attempt) else { continue };
        let known = latest.entry(task).or_insert(attempt);
        if attempt < *known {
            let words = format!("event {id} is of attempt {attempt} of {task}, after {known}");
            breaches.push(Breach::new("stale-changes-nothing", words));
        }
        if event.kind == EventKind::TaskAssigned && !assigned.insert((task, attempt)) {
            let words = format!("event {id} assigns attempt {attempt} of {task} again");
            breaches.push(Breach::new("stale-changes-nothing", words));
        }
        *known = attempt.max(*known);
    }
}

/// Two runs of a task overlap only if the node of the earlier was lost to the manager in between.
fn overlaps(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    let (assigned, losses) = (seen.assignments(), seen.losses());
    for (task, runs) in &seen.runs {
        for (at, one) in runs.iter().enumerate() {
            for other in &runs[at + 1..] {
                let (earlier, later) =
                    if one.attempt <= other.attempt { (one, other) } else { (other, one) };
                if !overlap(earlier, later) {
                    continue;
                }
                let excused = earlier.attempt != later.attempt
                    && (ended_as(seen, earlier.attempt, AttemptEnd::NodeLost)
                        || (seen.workload.cut_off
                            && ended_as(seen, earlier.attempt, AttemptEnd::Returned))
                        || was_cut_off(earlier.attempt, later.attempt, &assigned, &losses));
                if !excused {
                    let words = format!(
                        "{task} ran as {} until {:?} and as {} from {}",
                        earlier.attempt, earlier.end_ms, later.attempt, later.start_ms
                    );
                    breaches.push(Breach::new("never-twice-at-once", words));
                }
            }
        }
    }
}

/// Whether both ran at one moment, as far as is known: when a killed one ended, nobody wrote down.
fn overlap(one: &Ran, other: &Ran) -> bool {
    let (first, second) = if one.start_ms <= other.start_ms { (one, other) } else { (other, one) };
    first.end_ms.is_some_and(|end_ms| second.start_ms < end_ms)
}

fn ended_as(seen: &Seen<'_>, attempt: AttemptId, end: AttemptEnd) -> bool {
    let attempts = seen.tasks.get(&attempt.task).and_then(|task| task.attempts.as_ref());
    attempts.is_some_and(|attempts| attempts.iter().any(|it| it.id == attempt && it.end == end))
}

fn was_cut_off(
    earlier: AttemptId,
    later: AttemptId,
    assigned: &BTreeMap<AttemptId, Assigned>,
    losses: &BTreeMap<NodeId, BTreeSet<EventId>>,
) -> bool {
    let (Some(from), Some(to)) = (assigned.get(&earlier), assigned.get(&later)) else {
        return false;
    };
    let losses = from.node.and_then(|node| losses.get(&node));
    losses.is_some_and(|losses| losses.range(from.id..to.id).next().is_some())
}

/// A node that has a deadline is given nothing.
fn after_notice(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    let mut leaving = BTreeMap::<NodeId, EventId>::new();
    for (id, event) in &seen.events {
        let Some(node) = event.node else { continue };
        match event.kind {
            EventKind::Node if event.deadline.is_some() => {
                leaving.entry(node).or_insert(*id);
            }
            EventKind::Node => drop(leaving.remove(&node)),
            EventKind::TaskAssigned => {
                if let Some(since) = leaving.get(&node) {
                    let words = format!("event {id} gives {node} work, which leaves since {since}");
                    breaches.push(Breach::new("nothing-after-notice", words));
                }
            }
            _ => {}
        }
    }
}

/// Nothing that was bought is left, and nothing is on order.
fn machines(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    for node in &seen.nodes {
        let ended = matches!(node.state.as_str(), "gone" | "launch-failed" | "launched");
        if seen.workload.all_retired && node.pool.is_some() && !ended {
            let name = node.name.as_deref().unwrap_or(&node.id);
            let words = format!("{name} is {} at the end", node.state);
            breaches.push(Breach::new("no-leaked-machine", words));
        }
    }
    for machine in &seen.left {
        let words = format!("{machine} has processes after the end");
        breaches.push(Breach::new("no-leaked-machine", words));
    }
}

/// The parts of the bill are the bill, and what jobs cost is what tasks and waste cost.
fn bill(seen: &Seen<'_>, breaches: &mut Vec<Breach>) {
    let Some(cost) = seen.cost else { return };
    let rest = cost.boot_micro_usd + cost.idle_micro_usd + cost.open_micro_usd;
    let parts = cost.task_micro_usd + cost.waste_micro_usd + rest;
    let total = cost.total_micro_usd;
    if parts != total {
        breaches
            .push(Breach::new("ledger-is-bill", format!("the bill is {total}, its parts {parts}")));
    }
    let mut by_jobs = MicroUsd(0);
    for detail in seen.jobs.values() {
        by_jobs += detail.cost_micro_usd;
    }
    let by_tasks = cost.task_micro_usd + cost.waste_micro_usd;
    if seen.workload.alone && by_jobs != by_tasks {
        let words = format!("jobs cost {by_jobs}, tasks and waste {by_tasks}");
        breaches.push(Breach::new("ledger-is-bill", words));
    }
}
