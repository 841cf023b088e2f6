//! Is all well? One answer from what the manager says of jobs and nodes.

use api::view::{CostView, JobView, NodeView};
use model::{JobId, JobStatus, MicroUsd, Timestamp};
use serde::Serialize;

use crate::output::{Answer, Look, Tone};
use crate::render::{self, ago, dollars, many};
use crate::table::{plain, wrapped};

/// A job that failed this long ago is no news.
const LATELY_MS: u64 = 3_600_000;
/// Work may wait this long beside idle nodes: they join, and tasks are spread, within seconds.
const WAITS_MS: u64 = 60_000;
/// Lines of the smallest usual terminal, but for the prompt.
const LINES: usize = 23;
/// Reasons of a trouble that are told; `ebb explain` tells all.
const REASONS: usize = 3;
/// Troubles that are told; more are seldom independent.
const TROUBLES: usize = 4;

/// Something that is not as it should be, and the next command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    pub(crate) what: String,
    /// The manager's reasons, such as who refuses machines and until when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) why: Vec<String>,
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
    /// Why the job waits that should not.
    pub(crate) why: Vec<String>,
}

impl Facts {
    /// The job that waits though it should run, or that nobody is there to run: worth to be
    /// explained.
    pub(crate) fn puzzle(&self, now: Timestamp) -> Option<JobId> {
        let serving = living(&self.nodes).any(serves);
        let nobody = !serving && !living(&self.nodes).any(comes);
        let idle = serving && living(&self.nodes).all(|node| node.running == 0);
        let long = |job: &JobView| now.since(job.submitted_at) > WAITS_MS;
        let waiting = self.jobs.iter().filter(|job| is_waiting(job));
        // The oldest: it has waited longest.
        waiting.filter(|job| nobody || idle && long(job)).map(|job| job.id).min()
    }
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
    let mut tell = |what: String, next: String| {
        troubles.push(Trouble { what, why: Vec::new(), next });
    };
    if let Some(why) = &facts.not_ready {
        tell(format!("nobody leads ({why}): jobs are kept, nothing starts"), "ebb doctor".into());
    }
    for node in living(&facts.nodes).filter(|node| node.state == "suspect") {
        tell(format!("{} does not answer", node.id), format!("ebb explain {}", node.id));
    }
    let failed: Vec<JobId> = failed_lately(&facts.jobs, now).collect();
    match failed[..] {
        [] => {}
        [id] => tell(format!("{id} failed within the last hour"), format!("ebb status {id}")),
        [id, ..] => {
            let jobs = many(number(failed.len()), "job");
            let what = format!("{jobs} failed within the last hour, {id} the last");
            tell(what, format!("ebb status {id}"));
        }
    }
    let at = usize::from(facts.not_ready.is_some());
    troubles.splice(at..at, stuck(facts, now));
    troubles
}

/// Work that nobody does.
fn stuck(facts: &Facts, now: Timestamp) -> Option<Trouble> {
    let puzzle = facts.puzzle(now);
    let explained =
        puzzle.map_or_else(|| "ebb nodes --all".to_owned(), |id| format!("ebb explain {id}"));
    let why: Vec<_> = facts.why.iter().take(REASONS).cloned().collect();
    if living(&facts.nodes).any(serves) {
        let job = facts.jobs.iter().find(|job| Some(job.id) == puzzle)?;
        let age = ago(job.submitted_at, now);
        let what = format!("{} waits for {age} beside idle nodes", job.id);
        return Some(Trouble { what, why, next: explained });
    }
    let unsettled = facts.unsettled.running + facts.unsettled.waiting;
    if unsettled == 0 || living(&facts.nodes).any(comes) {
        return None;
    }
    let what = format!("{} and no node to run on", many(unsettled, "unsettled job"));
    let draining = living(&facts.nodes).any(|node| node.state == "draining");
    let next = if draining { "ebb nodes, then: ebb undrain NODE".to_owned() } else { explained };
    Some(Trouble { what, why, next })
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
            if self.troubles.len() > 1 {
                lines.push(wrapped(&format!("  - {}", trouble.what), look.width, 4));
            }
            let reasons = trouble.why.iter().map(|why| format!("    {}", plain(why)));
            lines.extend(reasons.map(|why| wrapped(&why, look.width, 6)));
            lines.push(wrapped(&format!("    next: {}", trouble.next), look.width, 6));
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
            why: vec![],
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
        waiting.unsettled = Unsettled { running: 0, waiting: 1, more: false };
        waiting.why = samples::explanation().details;
        insta::assert_snapshot!(first_lines(waiting), @"
        not well: job_0000000000007 waits for 1m 23s beside idle nodes; 1 node, 0 jobs
          running, 1 waiting
            node_0000000000003 lacks cpu: 500m asked, 0m free
            2 machines are on order (intent_0000000000005)
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
            jobs are kept, nothing starts
            next: ebb doctor
          - 1 unsettled job and no node to run on
            next: ebb nodes --all
          - node_0000000000003 does not answer
            next: ebb explain node_0000000000003
          - node_0000000000003 does not answer
            next: ebb explain node_0000000000003

        JOB                NAME                         STATUS   SETTLED  FAILED  AGE
        job_0000000000018  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000017  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000016  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000015  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000014  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000013  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        job_0000000000012  a-name-that-is-longer-than…  failed  750/2000       7  1m 23s
        … and 33 more; `ebb status --all` lists them

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
