//! Can't Be Late (NSDI 2024): spot while there is time, on-demand when there is none.
//!
//! Each task has a machine of its own and is decided for itself, in the order of [`TaskKey`]s, so
//! that the first one takes what a pool still has. What to do is in [`rules`], pure and without a
//! desk; where to buy is in [`zones`]; when to look again in a market without ticks is in [`alarms`].

mod alarms;
mod rules;
mod zones;

use market::recorded::{DecideAt, MachineNo};
use model::PurchaseOption;

use crate::arena::Desk;
use crate::jobs::TaskKey;
use crate::policy::Policy;

pub(crate) use rules::Rule;
use rules::{Mode, View};

/// A task's mode follows a [`Rule`] and the safety net.
#[derive(Debug)]
pub(crate) struct Deadline {
    rule: Rule,
}

impl Deadline {
    /// By a rule.
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule }
    }

    fn decide_task(&self, desk: &mut Desk, key: TaskKey) {
        let Some(view) = view(desk, key) else { return };
        let mode = rules::mode(self.rule, &view);
        if mode != view.mode {
            change(desk, key, mode);
        }
        if desk.recording().decide_at == DecideAt::Event {
            for at_ms in alarms::of(desk, key, self.rule) {
                desk.wake_at(at_ms);
            }
        }
    }
}

impl Policy for Deadline {
    fn decide(&mut self, desk: &mut Desk) {
        let idle = desk.machines().iter().filter(|(_, held)| held.tasks.is_empty());
        for machine in idle.map(|(no, _)| *no).collect::<Vec<MachineNo>>() {
            desk.end(machine);
        }
        for key in desk.tasks().keys().copied().collect::<Vec<TaskKey>>() {
            self.decide_task(desk, key);
        }
    }
}

/// What the rules need to know of a task now; nothing when no machine fits it.
fn view(desk: &Desk, key: TaskKey) -> Option<View> {
    let task = desk.tasks().get(&key)?;
    zones::on_demand(desk, key)?;
    let mode = match desk.machine_of(key).map(|held| held.bought.option) {
        None => Mode::Idle,
        Some(PurchaseOption::Spot) => Mode::Spot,
        Some(PurchaseOption::OnDemand) => Mode::OnDemand,
    };
    let recording = desk.recording();
    let spot = mode == Mode::Spot || zones::spot(desk, key).is_some();
    Some(View::new(task, mode, spot, recording, desk.now_ms()))
}

/// Leaves the machine that the task is on, if any, for one of another mode.
fn change(desk: &mut Desk, key: TaskKey, mode: Mode) {
    let (pool, option) = match mode {
        Mode::Idle => (None, PurchaseOption::Spot),
        Mode::Spot => (zones::spot(desk, key), PurchaseOption::Spot),
        Mode::OnDemand => (zones::on_demand(desk, key), PurchaseOption::OnDemand),
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
