//! Can't Be Late (NSDI 2024): spot while there is time, on-demand when there is none.
//!
//! Each task has a machine of its own and is decided for itself, in the order of [`TaskKey`]s, so
//! that the first one takes what a pool still has. What to do is in [`rules`], pure and without a
//! desk; where to buy is in [`zones`]; when to look again in a market without ticks is in [`alarms`], and
//! at whom in [`calls`].

mod alarms;
mod calls;
mod rules;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;

use market::recorded::MachineNo;
use model::PurchaseOption;

use crate::arena::{Desk, News};
use crate::jobs::TaskKey;
use crate::policy::Policy;

use calls::Calls;
pub(crate) use rules::Rule;
use rules::{Mode, View};
use zones::Need;

/// A task's mode follows a [`Rule`] and the safety net.
#[derive(Debug)]
pub(crate) struct Deadline {
    rule: Rule,
    /// The zone of the machine that a task had when it last decided with one.
    seen: BTreeMap<TaskKey, Arc<str>>,
    calls: Calls,
}

impl Deadline {
    /// By a rule.
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, seen: BTreeMap::new(), calls: Calls::default() }
    }

    fn decide_task(&mut self, desk: &mut Desk, key: TaskKey) {
        self.see(desk, key);
        let Some(view) = self.view(desk, key) else { return };
        let mode = rules::mode(self.rule, &view);
        if mode != view.mode {
            self.change(desk, key, (&view, mode));
        }
        if view.gap_ms.is_none() {
            self.see(desk, key);
            self.set_alarm(desk, key);
        }
    }

    fn see(&mut self, desk: &Desk, key: TaskKey) {
        let on = desk.machine_of(key).map(|held| held.bought.pool);
        if let Some(zone) = on.and_then(|pool| desk.recording().pools.get(pool)) {
            self.seen.insert(key, zone.zone.clone());
        }
    }

    fn set_alarm(&mut self, desk: &mut Desk, key: TaskKey) {
        let (Some(view), Some(task)) = (self.view(desk, key), desk.tasks().get(&key)) else {
            return;
        };
        let arrival_ms = task.job.arrival_ms;
        let alarms = alarms::of(&view, self.rule).map(|since| arrival_ms.saturating_add(since));
        let next_ms = alarms.filter(|at_ms| *at_ms > desk.now_ms()).min();
        self.calls.note(desk, key, view.mode, next_ms);
    }

    /// What the rules need to know of a task now; nothing when no machine fits it.
    fn view(&self, desk: &Desk, key: TaskKey) -> Option<View> {
        let task = desk.tasks().get(&key)?;
        zones::on_demand(desk, key, Need::Wish)?;
        let mode = match desk.machine_of(key).map(|held| held.bought.option) {
            None => Mode::Idle,
            Some(PurchaseOption::Spot) => Mode::Spot,
            Some(PurchaseOption::OnDemand) => Mode::OnDemand,
        };
        let recording = desk.recording();
        let spot = mode == Mode::Spot || self.spot(desk, key).is_some();
        let view = View::new(task, mode, spot, recording, desk.now_ms());
        Some(View { several: zones::are_several(desk, key), ..view })
    }

    fn spot(&self, desk: &Desk, key: TaskKey) -> Option<usize> {
        zones::spot(desk, key, self.seen.get(&key).map(Arc::as_ref))
    }

    /// Leaves the machine that the task is on, if any, for one of another mode.
    fn change(&self, desk: &mut Desk, key: TaskKey, (view, mode): (&View, Mode)) {
        let is_rescue = view.mode == Mode::Idle && rules::is_late(view);
        let need = if is_rescue { Need::Rescue } else { Need::Wish };
        let (pool, option) = match mode {
            Mode::Idle => (None, PurchaseOption::Spot),
            Mode::Spot => (self.spot(desk, key), PurchaseOption::Spot),
            Mode::OnDemand => (zones::on_demand(desk, key, need), PurchaseOption::OnDemand),
        };
        if pool.is_none() && mode != Mode::Idle {
            return;
        }
        if let Some(machine) = desk.machine_of(key).map(|held| held.bought.no) {
            desk.end(machine);
        }
        if let Some(machine) = pool.and_then(|pool| desk.launch(pool, option)) {
            desk.assign(key, machine);
        }
    }
}

impl Policy for Deadline {
    fn decide(&mut self, desk: &mut Desk) {
        for news in desk.news() {
            if let News::Done(task) = news {
                self.seen.remove(task);
            }
        }
        let mut round = self.calls.round(desk);
        for machine in desk.idle().iter().copied().collect::<Vec<MachineNo>>() {
            round.left(desk, machine);
            desk.end(machine);
        }
        while let Some(key) = self.calls.next(desk, &mut round) {
            let before = desk.machine_of(key).map(|held| held.bought);
            self.decide_task(desk, key);
            let after = desk.machine_of(key).map(|held| held.bought.no);
            if let Some(before) = before.filter(|it| Some(it.no) != after) {
                round.freed(&before);
            }
        }
    }
}
