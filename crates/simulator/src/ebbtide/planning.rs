//! When the planner is asked: as the manager asks it, but for what cannot matter.
//!
//! The manager asks after each change, 50 ms apart at the least, and every second in any case, for
//! what becomes due by time alone. Here it is asked at the very moment at which something becomes due,
//! and a change that can make no plan differ (a task placed, started or done) does not ask.

use control::{Decision, Input};
use model::{After, Change, Machine, MachineState, Timestamp};
use planner::Plan;

use super::heap::Event;
use super::latency::Takes;
use super::run::Run;
use super::{millis, timestamp};

/// Between two plans at the least, in the manager.
const LEAST_MS: u64 = 50;
/// Between two plans while a machine is idle and demand shrinks: the manager's period.
const MOST_MS: u64 = 1_000;
/// A listing is taken again when the last is older; at twice this age nothing would be retired.
const LISTING_MS: u64 = 60_000;

#[derive(Debug, Default)]
pub(super) struct Planning {
    /// Something has changed that may make a plan differ.
    changed: bool,
    /// A task was placed or is done: demand has shrunk.
    shrunk: bool,
    /// When the last problem was taken.
    last_ms: Option<u64>,
    /// The planner works.
    busy: bool,
    /// When one is on the heap.
    plan_ms: Option<u64>,
}

impl Planning {
    /// What is observed changes without a commit.
    pub(super) fn heed(&mut self, inputs: &[Input]) {
        let observed = |input: &Input| {
            matches!(input, Input::Offers(_) | Input::Listed { .. } | Input::Launched { .. })
        };
        self.changed |= inputs.iter().any(observed);
    }

    /// World has changed.
    pub(super) fn saw(&mut self, decision: &Decision) {
        self.changed |= decision.replan;
        for change in &decision.changes {
            match change {
                Change::Placed { .. }
                | Change::Bound { .. }
                | Change::Ended { after: After::Succeeded, .. }
                | Change::Ledger(_)
                | Change::JobSettled { .. } => self.shrunk = true,
                _ => self.changed = true,
            }
        }
    }
}

impl Run {
    /// Puts the next plan onto the heap.
    pub(super) fn plan_on(&mut self) {
        let Some(due_ms) = self.plan_due().map(|due_ms| due_ms.max(self.now_ms)) else { return };
        if self.planning.plan_ms.is_none_or(|plan_ms| due_ms < plan_ms) {
            self.planning.plan_ms = Some(due_ms);
            self.heap.push(due_ms, Event::Plan);
        }
    }

    fn plan_due(&self) -> Option<u64> {
        let world = &self.leader.world;
        if world.observed.offers.is_empty() && world.index.instances.is_empty() {
            return None;
        }
        let least_ms = if self.by_ticks { 0 } else { LEAST_MS };
        let Some(last_ms) = self.planning.last_ms else { return Some(self.now_ms) };
        if self.planning.changed {
            return Some(last_ms + least_ms);
        }
        let due = self.due_by_time(last_ms);
        let idle = self.planning.shrunk && self.is_idle_due(timestamp(self.now_ms));
        due.into_iter().chain(idle.then_some(last_ms + MOST_MS)).min()
    }

    /// The first moment after the last plan at which time alone makes a difference: a pool or an
    /// option may be asked again, or a machine has been idle for long enough.
    fn due_by_time(&self, last_ms: u64) -> Option<u64> {
        let observed = &self.leader.world.observed;
        let pools = observed.hidden_pools.values().map(|hidden| hidden.until);
        let options = observed.held_options.values().copied();
        let paused = observed.launches_paused.as_ref().map(|(until, _)| *until);
        let retire_ms = self.leader.config.limits.idle_retire_ms;
        let idle = observed.idle.iter().map(|(since, _)| millis(since.later_by(retire_ms)));
        let all = pools.chain(options).chain(paused).map(millis);
        let next = all.filter(|at_ms| *at_ms > last_ms).min();
        // Who has been idle for longest comes first.
        next.into_iter().chain(idle.into_iter().find(|at_ms| *at_ms > last_ms)).min()
    }

    fn is_idle_due(&self, now: Timestamp) -> bool {
        let retire_ms = self.leader.config.limits.idle_retire_ms;
        let first = self.leader.world.observed.idle.iter().next();
        first.is_some_and(|(since, _)| since.later_by(retire_ms) <= now)
    }

    /// Hands the planner a problem, if it is time and it has none.
    pub(super) fn plan(&mut self) {
        if self.planning.plan_ms != Some(self.now_ms) {
            return;
        }
        self.planning.plan_ms = None;
        // The commit, or the plan, that is under way asks again when it is over.
        if self.leader.busy || self.planning.busy || self.is_over() {
            return;
        }
        let now = timestamp(self.now_ms);
        let listed = self.leader.world.observed.listed;
        let is_old = listed.is_none_or(|listed| now.since(listed) > LISTING_MS);
        if is_old && !self.leader.world.index.instances.is_empty() && self.is_idle_due(now) {
            let machines = self.listing();
            self.tell(Input::Listed { machines, asked: now });
            return;
        }
        let problem = control::problem(&self.leader.world, &self.leader.config, now);
        let mut plan = planner::plan(&problem);
        for fault in planner::check(&problem, &plan) {
            self.audit.fault(fault);
            plan.launches.clear();
            plan.retirements.clear();
        }
        self.audit.plans += 1;
        self.planning.last_ms = Some(self.now_ms);
        (self.planning.changed, self.planning.shrunk) = (false, false);
        self.planning.busy = true;
        let nothing = plan.launches.is_empty() && plan.retirements.is_empty();
        let at_ms = self.now_ms + self.latency.of(Takes::Planner);
        self.heap.push(at_ms, Event::Planned((!nothing).then(|| Box::new(plan))));
    }

    /// A plan comes back.
    pub(super) fn planned(&mut self, plan: Option<Box<Plan>>) {
        self.planning.busy = false;
        match plan {
            Some(plan) => self.tell(Input::Plan(plan)),
            None => self.plan_on(),
        }
    }

    /// All machines of ours.
    fn listing(&self) -> Vec<Machine> {
        let instances = self.workers.iter().flatten().filter_map(|it| it.bought.as_ref());
        let machine = |instance: &super::worker::Instance| Machine {
            instance: instance.id.clone(),
            intent: Some(instance.intent),
            pool: instance.pool.clone(),
            state: MachineState::Running,
            launched: timestamp(instance.bought.launched_ms),
        };
        instances.map(machine).collect()
    }
}
