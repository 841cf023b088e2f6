//! Is all well? One answer from what the manager says of jobs and nodes.

use api::view::{CostView, JobView, NodeView};
use model::{JobId, JobStatus, MicroUsd, Timestamp};
use serde::Serialize;

use crate::output::{Answer, Look, Tone};
use crate::render::{self, ago, dollars, many};
use crate::table::wrapped;

/// A job that failed this long ago is no news.
const LATELY_MS: u64 = 3_600_000;
/// Work may wait this long beside idle nodes: they join, and tasks are spread, within seconds.
const WAITS_MS: u64 = 60_000;
/// Lines of the smallest usual terminal, but for the prompt.
const LINES: usize = 23;
/// Troubles that are told; more are seldom independent.
const TROUBLES: usize = 4;

/// Something that is not as it should be, and the next command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    pub(crate) what: String,
    pub(crate) next: String,
}

/// How many unsettled jobs there are; of more than a page only a page is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Unsettled {
    pub(crate) running: u64,
    pub(crate) waiting: u64,
    /// Whether there are more of either.
    pub(crate) more: bool,
}

/// All at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Overview {
    pub(crate) well: bool,
    pub(crate) summary: String,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) unsettled: Unsettled,
    /// Those that are not settled, then the latest.
    pub(crate) jobs: Vec<JobView>,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) cost: CostView,
    /// Whether all are to be listed.
    #[serde(skip)]
    pub(crate) all: bool,
}

/// What the manager said.
pub(crate) struct Facts {
    /// Why it is not ready, in its words.
    pub(crate) not_ready: Option<String>,
    pub(crate) unsettled: Unsettled,
    pub(crate) jobs: Vec<JobView>,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) cost: CostView,
}

impl Overview {
    pub(crate) fn new(facts: Facts, all: bool, now: Timestamp) -> Self {
        let troubles = troubles(&facts, now);
        let Facts { unsettled, jobs, nodes, cost, .. } = facts;
        let (well, summary) = (troubles.is_empty(), summary(&troubles, &unsettled, &nodes));
        Self { well, summary, troubles, unsettled, jobs, nodes, cost, all }
    }

    /// Whether somebody who watches would see a difference: what is paid grows all the time.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let Self { cost: _, ref jobs, ref nodes, ref troubles, .. } = *self;
        (jobs, nodes, troubles) == (&other.jobs, &other.nodes, &other.troubles)
    }
}

fn summary(troubles: &[Trouble], unsettled: &Unsettled, nodes: &[NodeView]) -> String {
    let up = living(nodes).filter(|node| serves(node)).count();
    let plus = if unsettled.more { "+" } else { "" };
    let numbers = format!(
        "{}, {}{plus} running, {}{plus} waiting",
        many(number(up), "node"),
        many(unsettled.running, "job"),
        unsettled.waiting
    );
    match troubles {
        [] => format!("all is well: {numbers}"),
        [one] => format!("not well: {}; {numbers}", one.what),
        more => format!("not well: {} troubles; {numbers}", more.len()),
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn living(nodes: &[NodeView]) -> impl Iterator<Item = &NodeView> {
    nodes.iter().filter(|node| !matches!(node.state.as_str(), "gone" | "launch-failed"))
}

/// Whether it takes work.
fn serves(node: &NodeView) -> bool {
    node.state == "ready"
}

/// Whether it will, before long.
fn comes(node: &NodeView) -> bool {
    matches!(node.state.as_str(), "requested" | "launching" | "booting")
}

/// What is wrong, the worst first.
fn troubles(facts: &Facts, now: Timestamp) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut tell = |what: String, next: String| troubles.push(Trouble { what, next });
    if let Some(why) = &facts.not_ready {
        tell(format!("nobody leads ({why}): jobs are kept, nothing starts"), "ebb doctor".into());
    }
    let unsettled = facts.unsettled.running + facts.unsettled.waiting;
    let waits = facts.jobs.iter().find(|job| is_waiting(job));
    let explained = |job: Option<&JobView>| {
        job.map_or_else(|| "ebb nodes --all".to_owned(), |job| format!("ebb explain {}", job.id))
    };
    let serving = living(&facts.nodes).any(serves);
    if unsettled > 0 && !serving && !living(&facts.nodes).any(comes) {
        let what = format!("{} and no node to run on", many(unsettled, "unsettled job"));
        let draining = living(&facts.nodes).any(|node| node.state == "draining");
        let next = if draining { "ebb nodes; ebb undrain NODE".into() } else { explained(waits) };
        tell(what, next);
    }
    let idle = living(&facts.nodes).all(|node| node.running == 0);
    let long = |job: &&JobView| is_waiting(job) && now.since(job.submitted_at) > WAITS_MS;
    if let Some(job) = facts.jobs.iter().rfind(long).filter(|_| serving && idle) {
        let age = ago(job.submitted_at, now);
        tell(format!("{} waits for {age} beside idle nodes", job.id), explained(Some(job)));
    }
    for node in living(&facts.nodes).filter(|node| node.state == "suspect") {
        tell(format!("{} does not answer", node.id), format!("ebb explain {}", node.id));
    }
    let failed: Vec<JobId> = failed_lately(&facts.jobs, now).collect();
    match failed[..] {
        [] => {}
        [id] => tell(format!("{id} failed within the last hour"), format!("ebb status {id}")),
        [id, ..] => tell(
            format!(
                "{} failed within the last hour, {id} the last",
                many(number(failed.len()), "job")
            ),
            format!("ebb status {id}"),
        ),
    }
    troubles
}

fn is_waiting(job: &JobView) -> bool {
    matches!(job.status, JobStatus::Submitted | JobStatus::Waiting)
}

/// The last first.
fn failed_lately(jobs: &[JobView], now: Timestamp) -> impl Iterator<Item = JobId> {
    let mut failed: Vec<_> = jobs
        .iter()
        .filter(|job| job.status == JobStatus::Failed)
        .filter_map(|job| Some((job.settled_at?, job.id)))
        .filter(|(settled, _)| now.since(*settled) < LATELY_MS)
        .collect();
    failed.sort_unstable_by(|a, b| b.cmp(a));
    failed.into_iter().map(|(_, id)| id)
}

impl Answer for Overview {
    fn text(&self, look: Look) -> String {
        let tone = if self.well { Tone::Good } else { Tone::Bad };
        let (head, rest) = self.summary.split_once(':').unwrap_or((&self.summary, ""));
        let head = format!("{}:{rest}", look.paint.paint(head, tone));
        let mut lines = vec![wrapped(&head, look.width, 2)];
        for trouble in self.troubles.iter().take(TROUBLES) {
            // With one it is in the first line already.
            let line = match self.troubles.len() {
                1 => format!("  next: {}", trouble.next),
                _ => format!("  - {}; next: {}", trouble.what, trouble.next),
            };
            lines.push(wrapped(&line, look.width, 4));
        }
        lines.push(String::new());
        let footer = self.footer();
        let used = lines.iter().map(|line| line.lines().count().max(1)).sum::<usize>();
        // A heading, what is left out, an empty line and the footer.
        let room =
            if self.all { usize::MAX } else { LINES.saturating_sub(used + 3 + footer.len()) };
        lines.push(self.listed(room, look));
        lines.push(String::new());
        lines.extend(footer);
        lines.join("\n")
    }
}

impl Overview {
    fn listed(&self, room: usize, look: Look) -> String {
        let shown = &self.jobs[..self.jobs.len().min(room)];
        let listed = render::jobs(shown, look);
        match self.jobs.len() - shown.len() {
            0 => listed,
            more => format!("{listed}\n… and {more} more; `ebb status --all` lists them"),
        }
    }

    fn footer(&self) -> Vec<String> {
        let mut states = std::collections::BTreeMap::<&str, usize>::new();
        let (mut tasks, mut hourly) = (0, 0);
        for node in living(&self.nodes) {
            *states.entry(&node.state).or_default() += 1;
            tasks += u64::from(node.running);
            hourly += node.price_micro_usd_hour.0;
        }
        let parts: Vec<_> =
            states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let nodes = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
        let mut lines = vec![format!("nodes  {nodes}; {} on them", many(tasks, "task"))];
        // Where nothing is bought there is nothing to tell.
        if self.cost.instances > 0 || hourly > 0 {
            lines.push(format!(
                "cost   {} so far ({} on-demand), {} an hour now",
                dollars(self.cost.total_micro_usd),
                dollars(self.cost.on_demand_micro_usd),
                dollars(MicroUsd(hourly))
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;
    use crate::samples::{self, NOW};

    const LOOK: Look = Look { paint: Paint::PLAIN, width: 80, now: NOW };

    fn facts() -> Facts {
        let settled = JobView {
            status: JobStatus::Succeeded,
            settled_at: Some(NOW.plus_ms(-1_000)),
            ..samples::job(6)
        };
        Facts {
            not_ready: None,
            unsettled: Unsettled { running: 1, waiting: 0, more: false },
            jobs: vec![samples::job(7), settled],
            nodes: samples::nodes(),
            cost: samples::cost(),
        }
    }

    fn first_lines(facts: Facts) -> String {
        let text = Overview::new(facts, false, NOW).text(LOOK);
        text.split("\n\n").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn all_is_well_when_nothing_is_wrong() {
        assert_eq!(first_lines(facts()), "all is well: 1 node, 1 job running, 0 waiting");
    }

    #[test]
    fn each_trouble_is_told_with_the_next_command() {
        let none = Facts { nodes: vec![], ..facts() };
        insta::assert_snapshot!(first_lines(none), @"
        not well: 1 unsettled job and no node to run on; 0 nodes, 1 job running, 0
          waiting
          next: ebb nodes --all
        ");
        let leaderless = Facts { not_ready: Some("this replica does not lead".into()), ..facts() };
        insta::assert_snapshot!(first_lines(leaderless), @"
        not well: nobody leads (this replica does not lead): jobs are kept, nothing
          starts; 1 node, 1 job running, 0 waiting
          next: ebb doctor
        ");
        let mut waiting = facts();
        waiting.jobs[0].status = JobStatus::Waiting;
        waiting.nodes.remove(0);
        insta::assert_snapshot!(first_lines(waiting), @"
        not well: job_0000000000007 waits for 1m 23s beside idle nodes; 1 node, 1 job
          running, 0 waiting
          next: ebb explain job_0000000000007
        ");
        let mut suspect = facts();
        suspect.nodes[0].state = "suspect".into();
        insta::assert_snapshot!(first_lines(suspect), @"
        not well: node_0000000000003 does not answer; 1 node, 1 job running, 0 waiting
          next: ebb explain node_0000000000003
        ");
        let mut failed = facts();
        failed.jobs[1].status = JobStatus::Failed;
        insta::assert_snapshot!(first_lines(failed), @"
        not well: job_0000000000006 failed within the last hour; 1 node, 1 job running,
          0 waiting
          next: ebb status job_0000000000006
        ");
    }

    #[test]
    fn what_is_on_its_way_or_long_ago_is_no_trouble() {
        let mut booting = facts();
        booting.nodes = vec![NodeView { state: "booting".into(), ..samples::nodes().remove(0) }];
        booting.jobs[1].status = JobStatus::Failed;
        booting.jobs[1].settled_at = Some(NOW.plus_ms(-2 * 3_600_000));
        assert!(Overview::new(booting, false, NOW).well);
        let mut fresh = facts();
        fresh.nodes.remove(0);
        fresh.jobs[0].status = JobStatus::Waiting;
        fresh.jobs[0].submitted_at = NOW.plus_ms(-1_000);
        assert!(Overview::new(fresh, false, NOW).well);
    }

    #[test]
    fn the_worst_of_days_fits_a_screen() {
        let mut facts = facts();
        facts.not_ready = Some("this replica does not lead and nobody else seems to either".into());
        facts.jobs = (1..=40)
            .rev()
            .map(|number| JobView {
                name: "a-name-that-is-longer-than-any-terminal-is-wide".repeat(2),
                status: JobStatus::Failed,
                settled_at: Some(NOW),
                ..samples::job(number)
            })
            .collect();
        facts.nodes = (0..8)
            .map(|_| NodeView { state: "suspect".into(), ..samples::nodes().remove(0) })
            .collect();
        let text = Overview::new(facts, false, NOW).text(LOOK);
        assert!(text.lines().count() <= LINES, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text, @"
        not well: 11 troubles; 0 nodes, 1 job running, 0 waiting
          - nobody leads (this replica does not lead and nobody else seems to either):
            jobs are kept, nothing starts; next: ebb doctor
          - 1 unsettled job and no node to run on; next: ebb nodes --all
          - node_0000000000003 does not answer; next: ebb explain node_0000000000003
          - node_0000000000003 does not answer; next: ebb explain node_0000000000003

        JOB                NAME                         STATUS   SETTLED  FAILED  AGE
        job_0000000000018  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000017  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000016  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000015  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000014  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000013  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000012  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000011  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000010  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_000000000000z  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_000000000000y  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        … and 29 more; `ebb status --all` lists them

        nodes  8 suspect; 120 tasks on them
        cost   $0.1205 so far ($0.3012 on-demand), $0.4640 an hour now
        ");
    }

    #[test]
    fn only_a_difference_is_a_change() {
        let (one, mut other) = (facts(), facts());
        other.cost.open_micro_usd = MicroUsd(77);
        let one = Overview::new(one, false, NOW);
        assert!(one.is_like(&Overview::new(other, false, NOW.plus_ms(50))));
        let mut other = facts();
        other.jobs[0].tasks.running += 1;
        assert!(!one.is_like(&Overview::new(other, false, NOW)));
    }
}
