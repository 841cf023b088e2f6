//! A task that waits: for what.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    Constraints, GroupId, GroupSpec, JobId, JobStatus, Node, NodeState, Offer, TaskId, Timestamp,
    World,
};
use scheduler::{Listed, Verdict, Want, missing_ppm};

use super::job::name_of;
use super::{Explanation, Scope, Withheld, counted, tasks, until, withheld};
use crate::Config;
use crate::deadline;
use crate::place::{candidate, may_work, room_of_job};
use crate::problem::{is_open, problem};

/// What is looked at.
pub(super) struct Waiting<'w> {
    world: &'w World,
    config: &'w Config,
    id: TaskId,
    spec: &'w Arc<GroupSpec>,
    /// Where it may run now.
    constraints: Cow<'w, Constraints>,
    now: Timestamp,
}

/// What could be bought for it.
enum Buyable {
    /// This, now.
    Now(String),
    /// Only later.
    Later(Timestamp, String),
    /// Nothing: why, in a sentence, and what comes nearest.
    Never(&'static str, String),
}

impl<'w> Waiting<'w> {
    pub(super) fn of(
        world: &'w World,
        config: &'w Config,
        id: TaskId,
        now: Timestamp,
    ) -> Option<Self> {
        let spec = world.group_spec(id.group_id())?;
        let constraints = deadline::constraints(world, id.group_id(), spec, now);
        Some(Self { world, config, id, spec, constraints, now })
    }

    pub(super) fn explain(&self) -> Explanation {
        if let Some(explanation) = self.dependencies() {
            return explanation;
        }
        if room_of_job(self.world, self.id.job) == 0 {
            let job = self.world.durable.jobs.get(&self.id.job);
            let most = job.and_then(|job| job.spec.max_running).unwrap_or(0);
            return Explanation {
                summary: "waits for other tasks of its job to end".to_owned(),
                details: vec![format!("max_running lets {} run at once", tasks(most.into()))],
            };
        }
        self.for_room()
    }

    /// What it comes after, if that is not done.
    fn dependencies(&self) -> Option<Explanation> {
        let job = self.world.durable.jobs.get(&self.id.job)?;
        let mut after: Vec<String> = Vec::new();
        let mut details = Vec::new();
        for other in self.world.awaited_jobs(self.id.job) {
            after.push(other.to_string());
            details.push(format!("{other} {}", self.standing(other)));
        }
        for other in job.awaited_groups(self.id.group) {
            let id = GroupId { group: other, ..self.id.group_id() };
            let name = name_of(self.world, id);
            after.push(format!("group {name}"));
            let (done, all) = self.world.group(id).map_or((0, 0), |group| {
                let spec = self.world.group_spec(id);
                (group.succeeded.len(), spec.map_or(0, |spec| spec.count))
            });
            details.push(format!("group {name} has {done} of {} succeeded", tasks(all.into())));
        }
        if after.is_empty() {
            return None;
        }
        details.push("nothing is placed or bought for it before".to_owned());
        let more = after.len().saturating_sub(NAMED);
        after.truncate(NAMED);
        if more > 0 {
            after.push(format!("{more} more"));
        }
        Some(Explanation { summary: format!("waits for {} to succeed", Listed(&after)), details })
    }

    /// Where a job stands that it comes after.
    fn standing(&self, other: JobId) -> String {
        match (self.world.durable.jobs.get(&other), self.world.observed.settled.get(&other)) {
            (Some(job), _) => format!("has {} that did not end yet", tasks(job.unsettled())),
            (None, Some(JobStatus::Succeeded)) => "has succeeded".to_owned(),
            (None, Some(status)) => format!("is settled: {status}"),
            (None, None) => "is not settled, as far as this manager knows".to_owned(),
        }
    }

    fn for_room(&self) -> Explanation {
        let mut details = vec![format!("it needs {}", self.needs())];
        details.extend(deadline::words(self.world, self.config, self.id.group_id(), self.now));
        let ahead = self.ahead();
        if ahead > 0 {
            details.push(format!("served before it: {} of other groups", tasks(ahead)));
        }
        let (nodes, fits, ever) = self.nodes();
        details.extend(nodes);
        let coming = self.coming();
        if coming > 0 {
            let machines = counted(coming, "machine");
            details.push(format!("on order or booting, and large enough: {machines}"));
        }
        let buyable = self.buyable();
        let summary = match &buyable {
            _ if fits => "is served next: a node has room for it".to_owned(),
            _ if coming > 0 => "waits for machines that were bought".to_owned(),
            Buyable::Now(_) if ever => "waits for room on a node, or for a new machine".to_owned(),
            Buyable::Now(_) => "waits for a machine to be bought".to_owned(),
            _ if ever => "waits for room on a node".to_owned(),
            Buyable::Later(at, _) => {
                format!("waits for a machine; none is bought for it {}", until(*at, self.now))
            }
            Buyable::Never(why, _) => (*why).to_owned(),
        };
        match buyable {
            Buyable::Now(words) | Buyable::Later(_, words) | Buyable::Never(_, words) => {
                details.push(words);
            }
        }
        Explanation { summary, details }
    }

    fn want(&self) -> Want {
        let alone = self.world.task(self.id).is_some_and(|task| task.counters.runs_alone());
        let (resources, expect_ms) = (self.spec.resources, self.spec.expect_ms);
        Want { resources, count: 1, expect_ms, alone }
    }

    fn needs(&self) -> String {
        let alone = if self.want().alone { ", and a node for itself" } else { "" };
        format!("{}{alone}", self.spec.resources)
    }

    /// The nodes in a sentence or two; whether one has room now, and whether one is large enough.
    fn nodes(&self) -> (Vec<String>, bool, bool) {
        let all: Vec<&Node> = self.world.durable.nodes.values().collect();
        let excluded = all.iter().filter(|node| !self.constraints.allow(node)).count();
        let allowed = || all.iter().filter(|node| self.constraints.allow(node));
        let mut why: BTreeMap<&str, u64> = BTreeMap::new();
        for node in allowed().filter(|node| !may_work(self.world, node)) {
            *why.entry(no_work(node)).or_default() += 1;
        }
        if excluded > 0 {
            why.insert("excluded by its constraints", excluded as u64);
        }
        let ever = allowed().any(|node| node.capacity.holds(&self.spec.resources));
        let want = self.want();
        let judged = allowed().filter(|node| may_work(self.world, node)).map(|node| {
            let one = candidate(self.world, node, self.now);
            let verdict = scheduler::explain(&one, &want, self.config.policy, all.len());
            let missing = missing_ppm(&one.free, &want.resources);
            let never = !one.capacity.holds(&want.resources);
            let fits = matches!(verdict, Verdict::Fits { .. });
            ((!fits, never, missing, node.id), verdict)
        });
        let nearest = judged.min_by_key(|(rank, _)| *rank);
        let fits = nearest.as_ref().is_some_and(|((no_room, ..), _)| !no_room);
        let mut words = Vec::new();
        if all.is_empty() {
            words.push("there is no node".to_owned());
        } else if !why.is_empty() {
            let why: Vec<String> =
                why.into_iter().map(|(why, nodes)| format!("{nodes} {why}")).collect();
            words.push(format!("of {}: {}", counted(all.len() as u64, "node"), Listed(&why)));
        }
        if let Some(((.., node), verdict)) = nearest {
            words.push(format!("the nearest node, {node}, {verdict}"));
        }
        (words, fits, ever)
    }

    /// Tasks that come before it in the queue.
    fn ahead(&self) -> u64 {
        let Some(job) = self.world.durable.jobs.get(&self.id.job) else { return 0 };
        let key = (Reverse(job.spec.priority), self.id.job, self.id.group);
        let before = self.world.index.queue.range(..key);
        before
            .filter_map(|(_, job, group)| self.world.group(GroupId { job: *job, group: *group }))
            .map(|group| u64::from(group.placeable()))
            .sum()
    }

    fn suits(&self, offer: &Offer) -> bool {
        offer.capacity.holds(&self.spec.resources) && self.constraints.allow_pool(&offer.pool)
    }

    /// Machines that are ordered or boot, and are large enough.
    fn coming(&self) -> u64 {
        let intents = self.world.durable.intents.values();
        let intents = intents
            .filter(|intent| intent.request.offers.iter().any(|offer| self.suits(offer)))
            .map(|intent| u64::from(intent.open_machines()));
        let booting = self.world.durable.nodes.values().filter(|node| {
            node.state == NodeState::Booting
                && node.deadline.is_none()
                && node.offer().is_some_and(|offer| self.suits(offer))
        });
        intents.sum::<u64>() + booting.count() as u64
    }

    fn buyable(&self) -> Buyable {
        let mut problem = problem(self.world, self.config, self.now);
        let ask = deadline::ask(self.world, self.id.group_id(), self.spec, self.now);
        let offers = &self.world.observed.offers;
        let withheld = withheld(self.world, self.now);
        let all = |offer: &Offer| withheld.iter().filter(|one| one.concerns(offer)).collect();
        let open = |offer: &&Offer| is_open(self.world, &offer.pool, self.now);
        let suited: Vec<&Offer> = offers.iter().filter(|offer| self.suits(offer)).collect();
        let paused = withheld.iter().any(|one| one.scope == Scope::All);
        if suited.iter().any(open) && !paused {
            return Buyable::Now(planner::nearest(&problem, &ask));
        }
        // The one that may be asked first.
        let later = suited.iter().filter_map(|offer| {
            let keep: Vec<&Withheld> = all(offer);
            let last = keep.into_iter().max_by_key(|one| one.until)?;
            Some((last.until, offer.pool.clone(), last))
        });
        match later.min_by_key(|(at, pool, _)| (*at, pool.clone())) {
            Some((at, pool, why)) => {
                let words = match &why.scope {
                    Scope::Pool(_) => why.clause(),
                    Scope::All | Scope::Option(_) => why.to_string(),
                };
                Buyable::Later(at, format!("it would run on {pool}, but {words}"))
            }
            None => {
                problem.offers.clone_from(offers);
                let holds = |offer: &Offer| offer.capacity.holds(&self.spec.resources);
                let why = match offers.as_slice() {
                    [] => "waits for a machine, and nothing is on offer",
                    all if all.iter().any(holds) => {
                        "waits for a machine that its constraints allow, and none is on offer"
                    }
                    _ => "needs more than any machine has that is here or on offer",
                };
                Buyable::Never(why, planner::nearest(&problem, &ask))
            }
        }
    }
}

/// Why a node takes no work.
fn no_work(node: &Node) -> &'static str {
    match node.state {
        NodeState::Booting => "booting",
        NodeState::Ready if node.takes_work() => "suspect: not heard of for a while",
        NodeState::Ready | NodeState::Draining => "draining",
        NodeState::Retiring => "being ended",
        NodeState::Gone => "gone",
    }
}

/// Things that one sentence names.
const NAMED: usize = 3;
