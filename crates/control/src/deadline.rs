//! Jobs with a deadline: spot while there is time to spare, on-demand when there is not.
//!
//! Each group of such a job has a [`Net`]: the moment from which what is left until the deadline is
//! no more than what its tasks need, and so its waiting tasks ask for on-demand machines only, for
//! the rest of its life. What runs is never moved for it. A group needs what one of its tasks is
//! expected to run, a reserve of two starts, and what the groups after it need in their turn; a
//! machine is thought to be had for each task.
//!
//! The step does not know how far a task has come, so what it is expected to run counts whole,
//! whatever it has done already. A task that loses its work with its machine may therefore still
//! miss its deadline, when the machine is taken after the net's moment.

use std::borrow::Cow;
use std::sync::Arc;

use model::{
    Ask, Constraints, GroupId, GroupSpec, Job, JobId, JobSpec, Net, Purchase, Timestamp, World,
    format_duration,
};

use crate::Config;
use crate::explain::{span, until};
use crate::place::expect_ms;
use crate::step::Step;

/// What a waiting task of a group asks for now.
pub(crate) fn ask(world: &World, id: GroupId, spec: &GroupSpec, now: Timestamp) -> Ask {
    let constraints = constraints(world, id, spec, now).into_owned();
    Ask { resources: spec.resources, constraints }
}

/// Where a waiting task of a group may run now.
pub(crate) fn constraints<'s>(
    world: &World,
    id: GroupId,
    spec: &'s GroupSpec,
    now: Timestamp,
) -> Cow<'s, Constraints> {
    match purchase(world, id, spec, now) {
        purchase if purchase == spec.constraints.purchase => Cow::Borrowed(&spec.constraints),
        purchase => Cow::Owned(Constraints { purchase, ..spec.constraints.clone() }),
    }
}

/// How the machine of a waiting task of a group may be paid for now.
pub(crate) fn purchase(world: &World, id: GroupId, spec: &GroupSpec, now: Timestamp) -> Purchase {
    let nets = &world.observed.nets;
    let is_out = !nets.is_empty() && nets.get(&id).is_some_and(|net| net.at <= now);
    if is_out { Purchase::OnDemand } else { spec.constraints.purchase }
}

/// The next moment at which a group asks otherwise.
pub(crate) fn next(world: &World) -> Option<Timestamp> {
    world.observed.nets_due.first().map(|(at, _)| *at)
}

/// Computes the nets of jobs that changed, and says whose moment has come: the planner is to be
/// asked anew.
pub(crate) fn run(step: &mut Step<'_>) {
    if !step.world.observed.nets_read {
        step.world.observed.nets_read = true;
        step.stale_nets.extend(step.world.durable.jobs.keys());
    }
    while let Some(job) = step.stale_nets.pop_first() {
        watch(step, job);
    }
    while let Some((at, id)) = step.world.observed.nets_due.first().copied() {
        if at > step.now {
            return;
        }
        step.world.observed.nets_due.remove(&(at, id));
        if step.world.group(id).is_some_and(|group| group.placeable() > 0) {
            step.replan = true;
            step.note(id.job, format!("group {} asks for on-demand machines only", id.group));
        }
    }
}

/// Computes the nets of a job's groups; one that is out stays out, unless what it was computed from
/// was not known.
fn watch(step: &mut Step<'_>, id: JobId) {
    let nets = step.world.durable.jobs.get(&id).map(|job| of_job(step.world, step.config, id, job));
    let old = forget(step.world, id);
    for (id, net) in (0u16..).map(|group| GroupId { job: id, group }).zip(nets.unwrap_or_default())
    {
        let Some(mut net) = net else { continue };
        let before = old.iter().find(|(of, _)| *of == id).map(|(_, net)| net);
        let is_out = |before: &&Net| before.at <= step.now && before.need_ms.is_some();
        if let Some(before) = before.filter(is_out)
            && before.deadline == net.deadline
        {
            net = *before;
        }
        if net.at > step.now {
            step.world.observed.nets_due.insert((net.at, id));
        }
        let asks_anew = before.is_none_or(|before| (before.at <= step.now) != (net.at <= step.now));
        step.replan |= asks_anew;
        step.world.observed.nets.insert(id, net);
    }
}

/// A job's nets are no more.
pub(crate) fn forget(world: &mut World, id: JobId) -> Vec<(GroupId, Net)> {
    let observed = &mut world.observed;
    if observed.nets.is_empty() {
        return Vec::new();
    }
    let all = GroupId { job: id, group: 0 }..=GroupId { job: id, group: u16::MAX };
    let old: Vec<_> = observed.nets.range(all).map(|(id, net)| (*id, *net)).collect();
    for (id, net) in &old {
        observed.nets.remove(id);
        observed.nets_due.remove(&(net.at, *id));
    }
    old
}

/// The net of each group of a job, by ordinal; none for what is on demand by itself, or without a
/// deadline.
fn of_job(world: &World, config: &Config, id: JobId, job: &Job) -> Vec<Option<Net>> {
    let Some(deadline) = job.spec.deadline else { return Vec::new() };
    let deadline = deadline.of(job.submitted);
    let run_ms: Vec<Option<u64>> = (0u16..)
        .zip(&job.spec.groups)
        .map(|(group, spec)| run_ms(world, GroupId { job: id, group }, spec))
        .collect();
    let needs = group_needs(&job.spec, config, &run_ms);
    let net = |(group, need_ms): (&Arc<GroupSpec>, Option<u64>)| {
        let at = match need_ms {
            Some(need_ms) => deadline.plus_ms(-i64::try_from(need_ms).unwrap_or(i64::MAX)),
            None => job.submitted,
        };
        let has_net = group.constraints.purchase != Purchase::OnDemand;
        has_net.then_some(Net { at: at.max(job.submitted), deadline, need_ms })
    };
    job.spec.groups.iter().zip(needs).map(net).collect()
}

/// What a task is expected to run: the longer of what was seen and what the user said, for attempts
/// that failed early, or went on where another had stopped, make the mean too short.
fn run_ms(world: &World, id: GroupId, spec: &GroupSpec) -> Option<u64> {
    expect_ms(world, id, spec).max(spec.expect_ms)
}

/// What a job's groups would ask for if it were submitted now, by ordinal, were their tasks to run
/// so long; `None` = not known.
pub fn asks_at_submission(
    spec: &JobSpec,
    config: &Config,
    run_ms: &[Option<u64>],
    now: Timestamp,
) -> Vec<Ask> {
    let left_ms = spec.deadline.map(|deadline| deadline.of(now).since(now));
    let needs = group_needs(spec, config, run_ms);
    let ask = |(group, need_ms): (&Arc<GroupSpec>, Option<u64>)| {
        let mut ask = group.ask();
        let is_out = |left_ms: u64| need_ms.is_none_or(|need_ms| left_ms <= need_ms);
        if left_ms.is_some_and(is_out) {
            ask.constraints.purchase = Purchase::OnDemand;
        }
        ask
    };
    spec.groups.iter().zip(needs).map(ask).collect()
}

/// What each group of a job needs until the job is done, the reserve of starts included, were its
/// tasks to run so long; `None` where that, or that of a group after it, is not known.
pub fn group_needs(spec: &JobSpec, config: &Config, run_ms: &[Option<u64>]) -> Vec<Option<u64>> {
    let reserve_ms = config.start_reserve_ms.saturating_mul(STARTS);
    let own = |run_ms: &Option<u64>| run_ms.map(|ms| ms.saturating_add(reserve_ms));
    let mut needs: Vec<Option<u64>> = run_ms.iter().map(own).collect();
    needs.resize(spec.groups.len(), None);
    let groups = &spec.groups;
    // From the last groups of each line back to the first: a group is done when all after it are.
    let mut followers = vec![0u32; groups.len()];
    let before = |ordinal: usize| {
        groups[ordinal].after.iter().map(|other| usize::from(*other)).collect::<Vec<_>>()
    };
    for ordinal in 0..groups.len() {
        for other in before(ordinal) {
            followers[other] += 1;
        }
    }
    let mut after: Vec<Option<u64>> = vec![Some(0); groups.len()];
    let mut done: Vec<usize> = (0..groups.len()).filter(|at| followers[*at] == 0).collect();
    while let Some(ordinal) = done.pop() {
        needs[ordinal] = sum(needs[ordinal], after[ordinal]);
        for other in before(ordinal) {
            after[other] = match (after[other], needs[ordinal]) {
                (Some(one), Some(two)) => Some(one.max(two)),
                _ => None,
            };
            followers[other] -= 1;
            if followers[other] == 0 {
                done.push(other);
            }
        }
    }
    needs
}

/// Starts that are kept in reserve: the one that a task needs, and another should it fail.
const STARTS: u64 = 2;

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one?.saturating_add(other?))
}

/// How a job stands to its deadline, in a sentence for whoever asks why a task of the group waits.
pub(crate) fn words(world: &World, config: &Config, id: GroupId, now: Timestamp) -> Option<String> {
    let job = world.durable.jobs.get(&id.job)?;
    let deadline = job.spec.deadline?.of(job.submitted);
    let left = span(deadline.since(now));
    let net = world.observed.nets.get(&id);
    Some(match net {
        _ if deadline <= now => {
            let late = span(now.since(deadline));
            let still = match net.is_some() {
                true => "; it asks for on-demand machines only, and nothing is stopped for it",
                false => "; nothing is stopped for it",
            };
            format!("its deadline, {deadline}, was missed {late} ago{still}")
        }
        None => format!("its deadline is {deadline} (in {left})"),
        Some(Net { need_ms: None, .. }) => format!(
            "on-demand since its submission, for its deadline is in {left} and what it runs is not \
             known: say `expect`"
        ),
        Some(Net { at, need_ms: Some(need_ms), .. }) => {
            let need = need_words(config, *need_ms);
            if *at <= now {
                format!("on-demand since {at}: {left} left of the deadline, needs {need}")
            } else {
                let until = until(*at, now);
                format!("its deadline is in {left}, and it needs {need}: spot {until}")
            }
        }
    })
}

fn need_words(config: &Config, need_ms: u64) -> String {
    let reserve = format_duration(config.start_reserve_ms.saturating_mul(STARTS));
    format!("{}, a reserve of {reserve} a group included", span(need_ms))
}
