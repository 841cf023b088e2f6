//! What happens by itself as time goes on: notices, reclaims, failures, ends.

use std::collections::BTreeMap;

use model::{Clamp, InstanceId, MachineState, Notice, NoticeKind, PurchaseOption, Timestamp};
use serde::{Deserialize, Serialize};

use crate::random::{between, stream};
use crate::{Instance, Market, Stop};

/// A machine none of whose processes is as old as [`crate::Drill::busy_ms`] is struck only when it
/// has been busy this many times as long: short tasks end in time, or are lost before anybody knew
/// that they had started, and prove nothing.
const PATIENCE: u64 = 20;

/// A look may fall between two short tasks: a machine is idle when none was seen for so long.
const PAUSE_MS: u64 = 500;

/// What whoever drives the market has to do to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Show the notice on the machine, as its metadata service would.
    Notify {
        /// The machine.
        instance: InstanceId,
        /// When it will be reclaimed.
        deadline: Timestamp,
    },
    /// Cut its power, now.
    Cut {
        /// The machine.
        instance: InstanceId,
    },
}

/// What a hypervisor sees of a machine's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Busyness {
    /// Since when it has been seen busy without a pause to speak of.
    pub since: Timestamp,
    /// When it was last seen busy.
    pub seen: Timestamp,
    /// Age of its oldest process of work when it was last looked at.
    pub oldest_ms: u64,
}

/// How much of the drill is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drilled {
    notices: u32,
    kills: u32,
    last: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    Notice,
    Kill,
}

impl Market {
    /// Carries out what is due. Save the market before acting on the answer.
    #[must_use]
    pub fn due(&mut self, now: Timestamp) -> Vec<Action> {
        self.advance(now);
        let mut actions = Vec::new();
        for id in self.fated() {
            let fate = self.instances.get(&id).and_then(|instance| instance.fate);
            actions.extend(fate.and_then(|deadline| self.announce(&id, deadline)));
        }
        actions.extend(self.strike());
        actions.extend(self.reclaim());
        self.trim();
        actions
    }

    /// When something is due next by itself, after the last [`Market::due`]. A drill is not in it:
    /// it is struck at the first one after [`Market::busy`] has told of a machine that will do.
    pub fn next_due(&self) -> Option<Timestamp> {
        let machines = self.running().filter(|instance| instance.stop.is_none());
        let own =
            machines.filter_map(|instance| instance.deadline.or_else(|| self.warned(instance)));
        own.chain(self.queue.next_delivery(self.now)).filter(|at| *at > self.now).min()
    }

    /// Whether [`Market::receive`] would deliver something now.
    pub fn deliverable(&self) -> bool {
        self.queue.deliverable(self.now)
    }

    /// Whether it wants to know which machines are busy: interruptions of the drill are open.
    pub fn watches(&self) -> bool {
        let drill = &self.weather.drill;
        self.drilled.notices < drill.notices || self.drilled.kills < drill.kills
    }

    /// Tells which machines are busy, by the age of their oldest process of work; all others are
    /// idle.
    pub fn busy(&mut self, oldest_ms: &BTreeMap<InstanceId, u64>, now: Timestamp) {
        self.advance(now);
        let now = self.now;
        for (id, instance) in &mut self.instances {
            let before = instance.busy.filter(|busy| now.since(busy.seen) < PAUSE_MS);
            let since = before.map_or(now, |busy| busy.since);
            instance.busy = match oldest_ms.get(id) {
                Some(age) => Some(Busyness { since, seen: now, oldest_ms: *age }),
                None => before,
            };
        }
    }

    /// A machine has stopped running: because of [`Instance::stop`], or by itself. False when that
    /// was known.
    pub fn gone(&mut self, id: &InstanceId, now: Timestamp) -> bool {
        self.advance(now);
        let now = self.now;
        let Some(instance) = self.instances.get_mut(id).filter(|it| it.is_running()) else {
            return false;
        };
        instance.state = match instance.stop {
            Some(Stop::Reclaim) => MachineState::Reclaimed(now),
            Some(Stop::Retire | Stop::Fail) | None => MachineState::Ended(now),
        };
        instance.busy = None;
        let notice = Notice { instance: id.clone(), kind: NoticeKind::StateChange, deadline: now };
        self.queue.push(notice, now);
        true
    }

    /// Machines whose end was begun and not seen yet: to be ended again after a restart.
    pub fn stopping(&self) -> impl Iterator<Item = (&Instance, Stop)> {
        self.running().filter_map(|instance| Some((instance, instance.stop?)))
    }

    /// When the hazard's notice of a machine is due.
    fn warned(&self, instance: &Instance) -> Option<Timestamp> {
        let notice_ms: i64 = self.weather.notice_ms.clamped();
        instance.fate.map(|fate| fate.plus_ms(-notice_ms))
    }

    /// Machines whose hazard's notice is due, in the order of their launch.
    fn fated(&self) -> Vec<InstanceId> {
        let due = |it: &&Instance| self.warned(it).is_some_and(|warned| warned <= self.now);
        in_order(self.strikable().filter(due))
    }

    /// Machines that run undisturbed so far.
    fn strikable(&self) -> impl Iterator<Item = &Instance> {
        self.running().filter(|instance| instance.stop.is_none() && instance.deadline.is_none())
    }

    fn announce(&mut self, id: &InstanceId, deadline: Timestamp) -> Option<Action> {
        let instance = self.instances.get_mut(id)?;
        instance.deadline = Some(deadline);
        let notice = Notice { instance: id.clone(), kind: NoticeKind::Interruption, deadline };
        self.queue.push(notice, self.now);
        Some(Action::Notify { instance: id.clone(), deadline })
    }

    fn reclaim(&mut self) -> Vec<Action> {
        let now = self.now;
        let due = |it: &&Instance| {
            it.stop.is_none() && it.deadline.is_some_and(|deadline| deadline <= now)
        };
        let ids = in_order(self.running().filter(due));
        ids.into_iter().filter_map(|id| self.cut(&id, Stop::Reclaim)).collect()
    }

    fn cut(&mut self, id: &InstanceId, stop: Stop) -> Option<Action> {
        self.instances.get_mut(id)?.stop = Some(stop);
        Some(Action::Cut { instance: id.clone() })
    }

    /// The drill's next interruption, if a machine will do for it.
    fn strike(&mut self) -> Option<Action> {
        let drill = self.weather.drill;
        if self.drilled.last.is_some_and(|last| self.now.since(last) < drill.gap_ms) {
            return None;
        }
        let notices = drill.notices.saturating_sub(self.drilled.notices);
        let kills = drill.kills.saturating_sub(self.drilled.kills);
        let done = (self.drilled.notices + self.drilled.kills).to_string();
        let mut rng = stream(self.weather.seed, "drill", &[&done]);
        let draw = between(&mut rng, 1, notices.saturating_add(kills).max(1));
        let wish = if draw <= notices { Strike::Notice } else { Strike::Kill };
        let other = if wish == Strike::Notice { Strike::Kill } else { Strike::Notice };
        let open = |strike| match strike {
            Strike::Notice => notices > 0,
            Strike::Kill => kills > 0,
        };
        let (strike, victims) = [wish, other]
            .into_iter()
            .filter(|strike| open(*strike))
            .map(|strike| (strike, self.victims(strike)))
            .find(|(_, victims)| !victims.is_empty())?;
        let last: u32 = (victims.len() - 1).clamped();
        let chosen = usize::try_from(between(&mut rng, 0, last)).unwrap_or_default();
        let id = victims.into_iter().nth(chosen)?;
        self.drilled.last = Some(self.now);
        match strike {
            Strike::Notice => {
                self.drilled.notices += 1;
                self.announce(&id, self.now.later_by(self.weather.notice_ms))
            }
            Strike::Kill => {
                self.drilled.kills += 1;
                self.cut(&id, Stop::Fail)
            }
        }
    }

    /// Machines that will do for a strike. Only spot machines get notices.
    fn victims(&self, strike: Strike) -> Vec<InstanceId> {
        let busy_ms = self.weather.drill.busy_ms;
        in_order(self.strikable().filter(|instance| {
            let Some(busy) = instance.busy.filter(|busy| busy.seen == self.now) else {
                return false;
            };
            let busy_for_ms = self.now.since(busy.since);
            let long = busy.oldest_ms >= busy_ms;
            let patient = busy_for_ms >= busy_ms.saturating_mul(PATIENCE);
            let suits = match strike {
                Strike::Kill => true,
                Strike::Notice => instance.pool.option == PurchaseOption::Spot,
            };
            suits && (long || patient)
        }))
    }
}

/// Ids in the order of launch, which is the seed's; that of the ids is the key's.
fn in_order<'a>(instances: impl Iterator<Item = &'a Instance>) -> Vec<InstanceId> {
    let mut own: Vec<&Instance> = instances.collect();
    own.sort_by_key(|instance| instance.ordinal);
    own.into_iter().map(|instance| instance.id.clone()).collect()
}
