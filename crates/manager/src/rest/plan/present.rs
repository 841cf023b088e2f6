//! The leader's state as a question for a forecast: looked at between two commits, so in little time.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::plan::{PlanObstacle, PlanRunTime};
use control::{Config, Scope};
use model::{
    Ask, Clamp, GroupId, Job, JobId, JobSpec, Node, NodeState, Offer, Pool, Purchase, Resources,
    TaskState, Timestamp, World, format_duration,
};
use planner::{Demand, Problem};
use simulator::forecast::{Item, OUTAGE_MS, POOLS, Present, PresentNode, Question};

use super::obstacle;

/// Tasks of other jobs that are looked at.
const OTHER_TASKS: u64 = 20_000;
/// And groups of them.
const OTHER_GROUPS: usize = 1_000;
/// What a task runs of which nobody knows.
const UNKNOWN_MS: u64 = 600_000;
/// A task that runs for longer than it was thought to is thought to end in a tenth of that.
const REST: u64 = 10;

/// What was seen.
pub(super) struct Seen {
    pub(super) question: Question,
    /// With what the job would ask for at once.
    pub(super) problem: Problem,
    pub(super) why_not: Vec<PlanObstacle>,
    pub(super) assumed: Vec<String>,
    pub(super) deadline_at: Option<Timestamp>,
}

impl Seen {
    /// As World stands.
    pub(super) fn of(
        world: &World,
        config: &Config,
        now: Timestamp,
        spec: &JobSpec,
        times: &[PlanRunTime],
    ) -> Self {
        let run_ms: Vec<Option<u64>> = times.iter().map(|time| Some(time.run_ms)).collect();
        let asks = control::asks_at_submission(spec, config, &run_ms, now);
        let mut problem = control::problem(world, config, now);
        let why_not = why_not(world, spec, &problem);
        let mut others = Others::of(world, now);
        let awaited: Vec<usize> =
            spec.after.iter().filter_map(|job| others.places.get(job)).flatten().copied().collect();
        let begins = |group: usize| awaited.is_empty() && spec.groups[group].after.is_empty();
        let at_once = asks.iter().zip(&spec.groups).enumerate();
        let at_once = at_once.filter(|(ordinal, _)| begins(*ordinal));
        let demand = |(_, (ask, group)): (usize, (&Ask, &Arc<model::GroupSpec>))| Demand {
            ask: ask.clone(),
            count: group.count.into(),
        };
        problem.demand.extend(at_once.map(demand));
        let deadline_at = spec.deadline.map(|deadline| deadline.of(now));
        let deadline_ms = deadline_at.map(|at| at.since(now));
        let first = others.before(spec.priority);
        let own = own_items(spec, config, &run_ms, deadline_ms, (first, &awaited));
        others.insert(first, own);
        let present = present(world, config, spec, now);
        let assumed = assumed(&present, &others, world, spec, now);
        let on_demand =
            |group: &Arc<model::GroupSpec>| group.constraints.purchase == Purchase::OnDemand;
        let question = Question {
            on_demand_only: spec.groups.iter().all(on_demand),
            present: present.state,
            items: others.items,
            deadline_ms,
            seeds: 1,
        };
        Self { question, problem, why_not, assumed, deadline_at }
    }
}

/// The job's groups. Their places begin with `first`, and so do those that they come after.
fn own_items(
    spec: &JobSpec,
    config: &Config,
    run_ms: &[Option<u64>],
    deadline_ms: Option<u64>,
    (first, awaited): (usize, &[usize]),
) -> Vec<Item> {
    let needs = control::group_needs(spec, config, run_ms);
    let reserve_ms = config.start_reserve_ms.saturating_mul(2);
    // What is at and behind the first place moves on by the job's groups.
    let moved = |place: usize| if place < first { place } else { place + spec.groups.len() };
    let groups = spec.groups.iter().zip(run_ms).zip(needs).enumerate();
    let item = |(ordinal, ((group, run_ms), need_ms)): (usize, ((&Arc<_>, &Option<u64>), _))| {
        let group: &model::GroupSpec = group;
        let run_ms = run_ms.unwrap_or(UNKNOWN_MS);
        let own_ms = run_ms.saturating_add(reserve_ms);
        let behind_ms: u64 = Option::unwrap_or(need_ms, own_ms).saturating_sub(own_ms);
        let groups = group.after.iter().map(|other| first + usize::from(*other));
        Item {
            id: format!("plan.{ordinal}").into(),
            ask: group.resources,
            count: group.count,
            run_ms,
            after: awaited.iter().map(|place| moved(*place)).chain(groups).collect(),
            due_ms: deadline_ms.map(|left_ms| left_ms.saturating_sub(behind_ms)),
            is_asked: true,
        }
    };
    groups.map(item).collect()
}

/// Work that is not done, in the order in which it is served.
struct Others {
    items: Vec<Item>,
    priorities: Vec<i16>,
    places: BTreeMap<JobId, Vec<usize>>,
    tasks: u64,
    left_out: u64,
    unknown: u64,
}

impl Others {
    fn of(world: &World, now: Timestamp) -> Self {
        let mut others = Self {
            items: Vec::new(),
            priorities: Vec::new(),
            places: BTreeMap::new(),
            tasks: 0,
            left_out: world.durable.backlog.demand.values().sum(),
            unknown: 0,
        };
        let mut jobs: Vec<(&JobId, &Job)> = world.durable.jobs.iter().collect();
        jobs.sort_by_key(|(id, job)| (std::cmp::Reverse(job.spec.priority), **id));
        for (id, job) in jobs {
            others.add_job(world, *id, job, now);
        }
        // By the ids of jobs now, by places below: a job may come after a later one.
        for id in world.durable.jobs.keys() {
            let awaited: Vec<usize> = world
                .awaited_jobs(*id)
                .filter_map(|other| others.places.get(&other))
                .flatten()
                .copied()
                .collect();
            for place in others.places.get(id).cloned().unwrap_or_default() {
                if let Some(item) = others.items.get_mut(place) {
                    item.after.extend(&awaited);
                }
            }
        }
        others
    }

    fn add_job(&mut self, world: &World, id: JobId, job: &Job, now: Timestamp) {
        let mut of_group: BTreeMap<u16, usize> = BTreeMap::new();
        for (ordinal, (group, spec)) in (0_u16..).zip(job.groups.iter().zip(&job.spec.groups)) {
            let unsettled = group.unsettled();
            if unsettled == 0 {
                continue;
            }
            let is_room = self.tasks.saturating_add(unsettled.into()) <= OTHER_TASKS
                && self.items.len() < OTHER_GROUPS;
            if !is_room {
                self.left_out = self.left_out.saturating_add(unsettled.into());
                continue;
            }
            let group_id = GroupId { job: id, group: ordinal };
            let seen = world.observed.runs.get(&group_id).filter(|runs| runs.count > 0);
            let known = seen.map(|runs| runs.mean_us / 1_000).or(spec.expect_ms);
            self.unknown += if known.is_none() { unsettled.into() } else { 0 };
            let run_ms = known.unwrap_or(UNKNOWN_MS).max(1);
            let elapsed = group.tasks.values().filter_map(|task| match task.state {
                TaskState::Placed(at) => Some(at.started.map_or(0, |started| now.since(started))),
                TaskState::Ready | TaskState::Backoff { .. } | TaskState::Failed(_) => None,
            });
            let elapsed: Vec<u64> = elapsed.collect();
            let running: u32 = elapsed.len().clamped();
            let mean_ms = elapsed.iter().sum::<u64>().checked_div(running.into()).unwrap_or(0);
            let rest_ms = run_ms.saturating_sub(mean_ms).max(run_ms / REST).max(1);
            let due_ms = job.spec.deadline.map(|at| at.of(job.submitted).since(now));
            for (count, run_ms, what) in
                [(running, rest_ms, "running"), (unsettled.saturating_sub(running), run_ms, "")]
            {
                if count == 0 {
                    continue;
                }
                let place = self.items.len();
                self.tasks += u64::from(count);
                self.places.entry(id).or_default().push(place);
                of_group.insert(ordinal, place);
                self.priorities.push(job.spec.priority);
                self.items.push(Item {
                    id: format!("{id}.{ordinal}{what}").into(),
                    ask: spec.resources,
                    count,
                    run_ms,
                    after: spec.after.iter().filter_map(|at| of_group.get(at).copied()).collect(),
                    due_ms,
                    is_asked: false,
                });
            }
        }
    }

    /// Where a new job of this priority is served: behind all that are as high.
    fn before(&self, priority: i16) -> usize {
        self.priorities.partition_point(|other| *other >= priority)
    }

    fn insert(&mut self, first: usize, own: Vec<Item>) {
        let count = own.len();
        for item in &mut self.items {
            for place in item.after.iter_mut().filter(|place| **place >= first) {
                *place += count;
            }
        }
        let behind = self.items.split_off(first);
        self.items.extend(own);
        self.items.extend(behind);
    }
}

/// The cluster, and what is to be said of it.
struct Stands {
    state: Present,
    boots_seen: bool,
    pools: usize,
}

fn present(world: &World, config: &Config, spec: &JobSpec, now: Timestamp) -> Stands {
    let withheld = control::withheld(world, now);
    let is_withheld = |offer: &&Offer| {
        let refused = withheld.iter().filter(|one| one.scope != Scope::All);
        refused.clone().any(|one| one.concerns(offer))
    };
    let offers = &world.observed.offers;
    let suits = |pool: &Pool| {
        let allows = |group: &Arc<model::GroupSpec>| {
            let allowed = &group.constraints;
            (allowed.zones.is_empty() || allowed.zones.contains(&pool.zone))
                && (allowed.instance_types.is_empty()
                    || allowed.instance_types.contains(&pool.instance_type))
        };
        spec.groups.iter().any(allows)
    };
    let takes_static = spec.groups.iter().any(|group| {
        group.constraints.zones.is_empty() && group.constraints.instance_types.is_empty()
    });
    let lives = |node: &&Node| {
        let works = matches!(node.state, NodeState::Booting | NodeState::Ready);
        works && node.deadline.is_none() && (node.offer().is_some() || takes_static)
    };
    let nodes = world
        .durable
        .nodes
        .values()
        .filter(lives)
        .map(|node| PresentNode { capacity: node.capacity, offer: node.offer().cloned() });
    let mut boots: Vec<u64> = world
        .durable
        .nodes
        .values()
        .filter(|node| node.offer().is_some())
        .filter_map(|node| Some(node.joined?.since(node.launched)))
        .collect();
    boots.sort_unstable();
    let boot_ms = boots.get(boots.len() / 2).copied();
    let sold: Vec<Offer> = offers.iter().filter(|offer| suits(&offer.pool)).cloned().collect();
    let mut pools: Vec<(&Arc<str>, &Arc<str>)> =
        sold.iter().map(|offer| (&offer.pool.zone, &offer.pool.instance_type)).collect();
    pools.sort_unstable();
    pools.dedup();
    let pools = pools.len();
    Stands {
        state: Present {
            withheld: sold.iter().filter(is_withheld).map(|offer| offer.pool.clone()).collect(),
            offers: sold,
            nodes: nodes.collect(),
            boot_ms: boot_ms.unwrap_or(config.start_reserve_ms),
            limits: Some(config.limits),
        },
        boots_seen: boot_ms.is_some(),
        pools,
    }
}

/// Groups that nothing here or on offer could run.
fn why_not(world: &World, spec: &JobSpec, problem: &Problem) -> Vec<PlanObstacle> {
    let mut problem = problem.clone();
    problem.offers.clone_from(&world.observed.offers);
    let could = |ask: &Ask| {
        let holds = |capacity: &Resources| capacity.holds(&ask.resources);
        let nodes = world.durable.nodes.values().filter(|node| node.state != NodeState::Retiring);
        nodes.clone().any(|node| holds(&node.capacity) && ask.constraints.allow(node))
            || problem
                .offers
                .iter()
                .any(|offer| holds(&offer.capacity) && ask.constraints.allow_pool(&offer.pool))
    };
    let lost = spec.groups.iter().filter(|group| !could(&group.ask()));
    lost.map(|group| {
        let here = match problem.nodes.is_empty() {
            true => "there is no node",
            false => "no node here is large enough and allowed",
        };
        obstacle(&group.name, format!("{here}; {}", planner::nearest(&problem, &group.ask())))
    })
    .collect()
}

/// What the figures rest on, in sentences.
fn assumed(
    stands: &Stands,
    others: &Others,
    world: &World,
    spec: &JobSpec,
    now: Timestamp,
) -> Vec<String> {
    let mut words = Vec::new();
    if !stands.state.offers.is_empty() {
        let outage = format_duration(OUTAGE_MS);
        words.push(format!(
            "prices stay as they are; each spot pool loses all its machines at times that are drawn \
             from its hazard, and has none for {outage} then"
        ));
        words.push("on-demand machines are to be had at any time".to_owned());
        let boot = format_duration(stands.state.boot_ms);
        words.push(match stands.boots_seen {
            true => format!("a machine boots in {boot}, as half of those here did"),
            false => format!("a machine boots in {boot}: none was seen to boot yet"),
        });
    }
    if stands.pools > POOLS {
        words.push(format!("of {} pools the {POOLS} cheapest are looked at", stands.pools));
    }
    words
        .extend(stands.state.withheld.iter().map(|pool| format!("{pool} refuses, and goes on to")));
    words.push("what a task has done is lost with its machine".to_owned());
    let other: u64 = others.items.iter().filter(|item| !item.is_asked).count().clamped();
    if other > 0 {
        words.push(format!(
            "{} tasks of other jobs are done beside it, by priority and age; what they run is what \
             was seen or is expected",
            others.tasks
        ));
    }
    if others.unknown > 0 {
        let taken = format_duration(UNKNOWN_MS);
        words.push(format!("of {} of them it is not known, and taken for {taken}", others.unknown));
    }
    if others.left_out > 0 {
        words.push(format!("{} more tasks of other jobs are left out", others.left_out));
    }
    let paused = control::withheld(world, now).into_iter().find(|one| one.scope == Scope::All);
    words.extend(paused.map(|one| format!("launches go on at once, although {one}")));
    if spec.max_running.is_some() {
        words.push("max_running is not reckoned with".to_owned());
    }
    words
}
