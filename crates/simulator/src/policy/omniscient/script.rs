//! A schedule that is carried out.

use std::collections::VecDeque;

use super::optimum::Stretch;
use crate::arena::Desk;
use crate::policy::Policy;

/// Buys and ends one machine after another, as it was told, for the one task that there is.
#[derive(Debug)]
pub(super) struct Script {
    to_come: VecDeque<Stretch>,
    ends_ms: Option<u64>,
}

impl Script {
    pub(super) fn new(stretches: Vec<Stretch>) -> Self {
        Self { to_come: stretches.into(), ends_ms: None }
    }
}

impl Policy for Script {
    fn decide(&mut self, desk: &mut Desk) {
        let now = desk.now_ms();
        if self.ends_ms.is_some_and(|at| at <= now) {
            self.ends_ms = None;
            while let Some((machine, _)) = desk.machines().first_key_value() {
                let machine = *machine;
                desk.end(machine);
            }
        }
        let task = desk.tasks().first_key_value().map(|(key, _)| *key);
        if let Some((task, next)) = task.zip(self.to_come.pop_front_if(|it| it.from_ms <= now)) {
            if let Some(machine) = desk.launch(next.pool, next.option) {
                desk.assign(task, machine);
            }
            self.ends_ms = Some(next.to_ms);
        }
        let next = self.to_come.front().map(|stretch| stretch.from_ms);
        for at_ms in [self.ends_ms, next].into_iter().flatten() {
            desk.wake_at(at_ms);
        }
    }
}
