//! Faults that come by themselves, at times and places that the seed draws; all others happen where
//! something is on its way.

use model::{InstanceId, Notice, NoticeKind};
use rand::RngExt;

use crate::machine::Happening;
use crate::run::{Event, Run};
use crate::{Fault, timestamp};

/// Faults that come by themselves.
const STRIKES: [Fault; 17] = [
    Fault::DigesterDies,
    Fault::DigesterHangs,
    Fault::SpawnerDies,
    Fault::PowerFails,
    Fault::CutOff,
    Fault::HalfCutOff,
    Fault::ManagerDies,
    Fault::ManagerHangs,
    Fault::NoticeFalse,
    Fault::KilledUnannounced,
    Fault::BulkReclaim,
    Fault::QuotaCut,
    Fault::ClockJumps,
    Fault::PeopleInterfere,
    Fault::NoticeEarly,
    Fault::NoticeUnknown,
    Fault::ObjectsDown,
];

impl Run {
    /// When the next one comes: some thirty in a run, however long it is, and often one on the heels
    /// of another.
    pub(crate) fn next_strike(&mut self) {
        let mean_ms = (self.heal_ms / 40).clamp(5_000, 600_000);
        let soon = self.dice.plain().random_ratio(1, 3);
        let most_ms = if soon { 2_000 } else { 2 * mean_ms };
        let at_ms = self.between(1, most_ms);
        if at_ms < self.heal_ms {
            self.heap.push(at_ms, Event::Strike);
        }
    }

    /// One fault, of those that this run may have.
    pub(crate) fn strike(&mut self) {
        self.next_strike();
        let on: Vec<Fault> =
            STRIKES.into_iter().filter(|fault| self.dice.is_on(*fault, self.now_ms)).collect();
        if on.is_empty() {
            return;
        }
        let fault = on[self.dice.plain().random_range(0..on.len())];
        match fault {
            Fault::ManagerDies | Fault::ManagerHangs | Fault::ClockJumps => {
                self.strike_manager(fault)
            }
            Fault::NoticeFalse
            | Fault::KilledUnannounced
            | Fault::BulkReclaim
            | Fault::QuotaCut
            | Fault::NoticeEarly => {
                self.strike_cloud(fault);
            }
            Fault::NoticeUnknown => self.notice_of_a_stranger(),
            Fault::ObjectsDown => {
                self.dice.fire(fault, "strike");
                let for_ms = self.dice.how_much(fault, 1_000, 1_800_000);
                self.dice.lasts_until(fault, self.now_ms + for_ms);
            }
            Fault::PeopleInterfere => {
                self.dice.fire(fault, "running");
                self.people_interfere();
            }
            _ => self.strike_body(fault),
        }
    }

    fn strike_manager(&mut self, fault: Fault) {
        let manager = self.dice.plain().random_range(0..self.managers.len());
        let state = self.managers.get(manager).map_or("standing-by", |it| it.state());
        let Some(it) = self.managers.get_mut(manager).filter(|it| it.is_alive) else { return };
        self.dice.fire(fault, state);
        match fault {
            Fault::ManagerDies => {
                it.is_alive = false;
                it.era += 1;
                it.hung_until_ms = 0;
                let back_ms = self.now_ms + self.dice.how_much(fault, 100, 60_000);
                // Nobody who waited is told; a connection that breaks is seen at once.
                self.managers[manager].reign = None;
                self.heap.push(back_ms, Event::Start(manager));
            }
            Fault::ManagerHangs => {
                it.hung_until_ms = self.now_ms + self.dice.how_much(fault, 100, 40_000);
            }
            _ => {
                let most = 600_000;
                let jump = self.dice.how_much(fault, 0, 2 * most);
                it.skew_ms = i64::try_from(jump).unwrap_or(0) - 600_000;
            }
        }
    }

    fn strike_cloud(&mut self, fault: Fault) {
        if fault == Fault::QuotaCut {
            self.dice.fire(fault, "launch");
            let quota = u32::try_from(self.dice.how_much(fault, 0, 10)).unwrap_or(0);
            self.sky.set_quota(Some(quota));
            let at_ms = self.now_ms + self.dice.how_much(fault, 60_000, 1_800_000);
            return self.heap.push(at_ms.min(self.heal_ms), Event::Quota);
        }
        let pool = self.sky.some_pool(&mut self.dice);
        let victims: Vec<_> = self
            .sky
            .running()
            .filter(|it| fault != Fault::BulkReclaim || Some(&it.pool) == pool.as_ref())
            .map(|it| it.id.clone())
            .collect();
        if victims.is_empty() {
            return;
        }
        let one = victims[self.dice.plain().random_range(0..victims.len())].clone();
        let index = self.sky.body(&one);
        let state = index.and_then(|index| self.bodies.get(index));
        let state = state.map_or("off", |body| body.machine.state());
        self.dice.fire(fault, state);
        match fault {
            Fault::NoticeFalse => {
                let deadline = timestamp(self.now_ms + 120_000);
                let kind = NoticeKind::Interruption;
                self.show_notice(&one, 120_000);
                self.notice_by_queue(Notice { instance: one, kind, deadline });
            }
            Fault::NoticeEarly => {
                let remaining_ms = self.dice.how_much(fault, 180_000, 3_600_000);
                self.notice_and_end(&one, remaining_ms);
            }
            Fault::KilledUnannounced => self.machine_ends(&one),
            _ => {
                for victim in victims {
                    self.machine_ends(&victim);
                }
            }
        }
    }

    /// A notice by both ways, and the end that it names.
    fn notice_and_end(&mut self, instance: &InstanceId, remaining_ms: u64) {
        let deadline_ms = self.now_ms + remaining_ms;
        self.show_notice(instance, remaining_ms);
        let kind = NoticeKind::Interruption;
        let (instance, deadline) = (instance.clone(), timestamp(deadline_ms));
        self.notice_by_queue(Notice { instance: instance.clone(), kind, deadline });
        self.heap.push(deadline_ms, Event::Ended(instance));
    }

    /// Somebody else's machine: it is kept in case it becomes ours, and then forgotten.
    fn notice_of_a_stranger(&mut self) {
        self.dice.fire(Fault::NoticeUnknown, "stranger");
        let deadline = timestamp(self.now_ms + 120_000);
        let number = self.dice.how_much(Fault::NoticeUnknown, 0, 3);
        let instance = InstanceId::new(&format!("i-stranger-{number}"));
        self.notice_by_queue(Notice { instance, kind: NoticeKind::Interruption, deadline });
    }

    /// A machine is taken back before anybody has heard that it is there.
    pub(crate) fn notice_at_birth(&mut self, instance: &InstanceId) {
        if self.dice.happens(Fault::NoticeUnknown, "launch", self.now_ms) {
            let remaining_ms = self.dice.how_much(Fault::NoticeUnknown, 0, 120_000);
            self.notice_and_end(instance, remaining_ms);
        }
    }

    fn strike_body(&mut self, fault: Fault) {
        let own = fault == Fault::PowerFails;
        let victims: Vec<usize> = self
            .bodies
            .iter()
            .enumerate()
            .filter(|(_, body)| body.machine.is_on() && (!own || body.instance.is_none()))
            .map(|(index, _)| index)
            .collect();
        if victims.is_empty() {
            return;
        }
        let index = victims[self.dice.plain().random_range(0..victims.len())];
        let Some(body) = self.bodies.get_mut(index) else { return };
        self.dice.fire(fault, body.machine.state());
        let long = self.dice.how_much(fault, 0, 3) == 0;
        let most_ms = if long { 600_000 } else { 20_000 };
        let for_ms = self.dice.how_much(fault, 100, most_ms);
        let until_ms = self.now_ms + for_ms;
        let happening = match fault {
            Fault::DigesterDies => Happening::DigesterKilled { back_in_ms: for_ms },
            Fault::DigesterHangs => Happening::DigesterStopped { for_ms },
            Fault::SpawnerDies => Happening::SpawnerKilled,
            Fault::PowerFails => {
                self.heap.push(until_ms, Event::Body(index, Happening::Boots));
                Happening::PowerCut
            }
            Fault::CutOff => {
                (body.mute_until_ms, body.deaf_until_ms) = (until_ms, until_ms);
                return;
            }
            _ => {
                if self.dice.how_much(fault, 0, 1) == 0 {
                    body.mute_until_ms = until_ms;
                } else {
                    body.deaf_until_ms = until_ms;
                }
                return;
            }
        };
        self.body_happens(index, happening);
    }
}
