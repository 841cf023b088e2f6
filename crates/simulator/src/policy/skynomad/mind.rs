//! What one task knows and does.

use std::sync::Arc;

use market::recorded::{DecideAt, MachineNo, Recording};
use model::{MicroUsd, PurchaseOption};

use super::lore::{End, Lore};
use super::utility::{Act, Offer, Place, ranked, worth};
use crate::arena::{Desk, TaskState};
use crate::jobs::{JobWork, TaskKey};
use crate::work::{Checkpoint, Cut};

/// Ticks between two probes of a pool.
const PROBE_TICKS: u64 = 6;
/// What a probe is billed.
const PROBE_MS: i128 = 60_000;
/// A task without a deadline is treated as if it had so many times what it takes.
const FAR: u64 = 4;

/// What one task knows.
#[derive(Debug, Default)]
pub(super) struct Mind {
    /// Of each pool of the recording.
    lores: Vec<Lore>,
    /// The pool of its spot machine, until its end has been seen.
    watched: Option<usize>,
    /// It has left that machine for an on-demand one.
    has_left: bool,
    /// Where it was last.
    origin: Option<usize>,
    /// The net holds it: it stays on-demand to the end.
    is_caught: bool,
}

/// A task at the moment of a decision.
struct Scene {
    key: TaskKey,
    job: Arc<JobWork>,
    recording: Arc<Recording>,
    now_ms: u64,
    due_ms: u64,
    /// Work left.
    work_left_ms: u64,
    /// What an on-demand machine bought now takes, if what is not safe were lost first.
    need_ms: u64,
    /// Hours without progress after a move.
    delay_h: f64,
    holds: Option<Holding>,
    /// It gets on, and nothing of that is lost with the machine: its need falls as time passes.
    is_steady: bool,
    /// Pools that hold it.
    pools: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Holding {
    machine: MachineNo,
    pool: usize,
    option: PurchaseOption,
}

impl Mind {
    /// Does what the task does now.
    pub(super) fn decide(&mut self, desk: &mut Desk, key: TaskKey) {
        let Some(scene) = Scene::of(desk, key) else { return };
        if scene.pools.is_empty() {
            return;
        }
        self.lores.resize_with(scene.recording.pools.len(), Lore::default);
        if !self.is_caught {
            if scene.is_late() {
                self.is_caught = true;
            } else {
                self.choose(desk, &scene);
                // On what it chose.
                if let Some(scene) = Scene::of(desk, key) {
                    scene.look_again(desk);
                }
            }
        }
        if self.is_caught {
            self.rescue(desk, &scene);
        }
    }

    /// To on-demand: where it is, else where the rest is cheapest, the move included.
    fn rescue(&mut self, desk: &mut Desk, scene: &Scene) {
        let pool = match scene.holds {
            Some(held) if held.option == PurchaseOption::OnDemand => return,
            Some(held) => Some(held.pool),
            None => scene.cheapest_rest(desk),
        };
        if let Some(pool) = pool {
            scene.buy(desk, pool, PurchaseOption::OnDemand);
        }
    }

    /// The action of the highest utility that succeeds.
    fn choose(&mut self, desk: &mut Desk, scene: &Scene) {
        self.notice_the_end(scene);
        if scene.holds.is_some() {
            self.origin = scene.holds.map(|held| held.pool);
        }
        let offers = self.offers(desk, scene);
        let prices = |of: fn(&Offer) -> MicroUsd| offers.iter().map(of).min().unwrap_or_default();
        let work = (scene.work_left_ms, scene.job.work.work_ms);
        let time = (
            scene.due_ms.saturating_sub(scene.now_ms),
            scene.due_ms.saturating_sub(scene.job.arrival_ms),
        );
        let place = Place {
            worth: worth((prices(|it| it.on_demand), prices(|it| it.spot)), work, time),
            delay_h: scene.delay_h,
            holds: scene.holds.map(|held| (held.pool, held.option)),
            checkpoint: scene.job.checkpoint_milligib,
        };
        for (_, act) in ranked(&place, &offers).1 {
            match act {
                Act::Wait => {
                    self.origin = None;
                    self.probe(desk, scene, None);
                    return;
                }
                Act::Buy(pool, option) if self.take(desk, scene, pool, option) => {
                    self.probe(desk, scene, Some(pool));
                    return;
                }
                Act::Buy(..) => {}
            }
        }
        self.probe(desk, scene, scene.holds.map(|held| held.pool));
    }

    /// The spot machine that it had at the last decision may be gone.
    fn notice_the_end(&mut self, scene: &Scene) {
        let spot = scene.holds.filter(|held| held.option == PurchaseOption::Spot);
        let watched = self.watched.filter(|pool| spot.is_none_or(|held| held.pool != *pool));
        let Some(lore) = watched.and_then(|pool| self.lores.get_mut(pool)) else { return };
        lore.end(scene.now_ms, if self.has_left { End::Left } else { End::Lost });
        self.watched = None;
        self.has_left = false;
    }

    fn offers(&mut self, desk: &Desk, scene: &Scene) -> Vec<Offer> {
        let origin = self.origin;
        let left_h = hours(scene.due_ms.saturating_sub(scene.now_ms));
        let mut offers = Vec::with_capacity(scene.pools.len());
        for pool in scene.pools.iter().copied() {
            let Some(lore) = self.lores.get_mut(pool) else { continue };
            let spot = desk.price(pool, PurchaseOption::Spot);
            let life_h = lore.look(scene.now_ms, scene.recording.gap_ms, spot);
            offers.push(Offer {
                pool,
                spot,
                on_demand: desk.price(pool, PurchaseOption::OnDemand),
                life_h: if left_h > 0.0 { life_h.min(left_h) } else { life_h },
                egress: origin.filter(|it| *it != pool).map(|from| scene.egress(from, pool)),
            });
        }
        offers
    }

    /// Tries a machine; what it is on is left for it.
    fn take(
        &mut self,
        desk: &mut Desk,
        scene: &Scene,
        pool: usize,
        option: PurchaseOption,
    ) -> bool {
        let now = scene.now_ms;
        if option == PurchaseOption::Spot {
            let Some(lore) = self.lores.get_mut(pool) else { return false };
            lore.before_launch(now);
            if desk.room(pool) == 0 {
                lore.refuse(now);
                return false;
            }
            lore.hold(now);
            self.watched = Some(pool);
            self.has_left = false;
        }
        scene.buy(desk, pool, option);
        self.origin = Some(pool);
        if let Some(old) = scene.holds {
            if self.watched == Some(old.pool) {
                self.has_left = true;
            } else if let Some(lore) = self.lores.get_mut(old.pool) {
                lore.believe(now, false);
            }
        }
        true
    }

    /// Asks the pools of which nothing is known whether they are there, but not the one just used.
    fn probe(&mut self, desk: &mut Desk, scene: &Scene, used: Option<usize>) {
        let now = scene.now_ms;
        let interval_ms = PROBE_TICKS.saturating_mul(scene.recording.gap_ms);
        for pool in scene.pools.iter().copied().filter(|pool| Some(*pool) != used) {
            let Some(lore) = self.lores.get_mut(pool) else { continue };
            if lore.is_probed || lore.is_refused || now < lore.next_probe_ms {
                continue;
            }
            lore.next_probe_ms = now.saturating_add(interval_ms);
            let held = scene.holds.filter(|held| held.pool == pool && used.is_none());
            let is_held = held.is_some_and(|held| held.option == PurchaseOption::Spot);
            // Its own machine says that the pool is there.
            if is_held || desk.probe(pool) {
                lore.found(now, scene.price_of_probe(desk, pool, held), is_held);
            } else {
                lore.missed(now);
            }
        }
        for lore in &mut self.lores {
            lore.is_refused = false;
        }
    }
}

impl Scene {
    fn of(desk: &Desk, key: TaskKey) -> Option<Self> {
        let task = desk.tasks().get(&key)?;
        let (job, recording) = (task.job.clone(), desk.recording().clone());
        let now_ms = desk.now_ms();
        let told = Cut::Told { notice_ms: u64::MAX };
        let lost_moving_ms = at_risk(task, now_ms, told);
        let work_left_ms = task.left_ms(now_ms);
        let unsafe_ms = work_left_ms.saturating_add(at_risk(task, now_ms, Cut::Sudden));
        let safe_ms = job.work.work_ms.saturating_sub(unsafe_ms);
        let delay_ms = recording.boot_ms.saturating_add(job.work.changeover_ms);
        let holds = desk.machine_of(key).map(|held| Holding {
            machine: held.bought.no,
            pool: held.bought.pool,
            option: held.bought.option,
        });
        let pools = recording.pools.iter().enumerate();
        let pools = pools.filter(|(_, pool)| pool.capacity.holds(&job.ask)).map(|(at, _)| at);
        Some(Self {
            key,
            now_ms,
            due_ms: job.due_ms().unwrap_or_else(|| far(&job, &recording)),
            work_left_ms,
            need_ms: recording.boot_ms.saturating_add(job.work.runtime_ms(safe_ms)),
            delay_h: hours(delay_ms.saturating_add(lost_moving_ms)),
            holds,
            is_steady: holds.is_some()
                && task.changeover_left_ms(now_ms) == 0
                && job.work.checkpoint == Checkpoint::Continuous,
            pools: pools.collect(),
            job,
            recording,
        })
    }

    /// Whether on-demand has to be taken now. By ticks only whole ones count.
    fn is_late(&self) -> bool {
        let left = self.due_ms.saturating_sub(self.now_ms);
        match self.recording.decide_at {
            DecideAt::Tick => {
                let gap = self.recording.gap_ms.max(1);
                self.need_ms.div_ceil(gap) >= left / gap
            }
            DecideAt::Event => self.need_ms >= left,
        }
    }

    /// In a market by events nothing else tells the time.
    fn look_again(&self, desk: &mut Desk) {
        desk.wake_at(self.recording.tick_at_or_after(self.now_ms + 1));
        if self.recording.decide_at == DecideAt::Event && !self.is_steady {
            desk.wake_at(self.due_ms.saturating_sub(self.need_ms));
        }
    }

    fn egress(&self, from: usize, to: usize) -> MicroUsd {
        let zone = |pool: usize| self.recording.pools.get(pool).map(|pool| pool.zone.as_ref());
        match (zone(from), zone(to)) {
            (Some(from), Some(to)) => self.job.egress(&self.recording, from, to),
            _ => MicroUsd(0),
        }
    }

    fn cheapest_rest(&self, desk: &Desk) -> Option<usize> {
        let from = desk.tasks().get(&self.key).and_then(|task| task.zone.clone());
        let rest = |pool: usize| {
            let price = i128::from(desk.price(pool, PurchaseOption::OnDemand).0);
            let to = self.recording.pools.get(pool).map(|pool| pool.zone.clone());
            let egress = match (&from, to) {
                (Some(from), Some(to)) => self.job.egress(&self.recording, from, &to),
                _ => MicroUsd(0),
            };
            price * i128::from(self.work_left_ms) + i128::from(egress.0) * 3_600_000
        };
        self.pools.iter().copied().min_by_key(|pool| (rest(*pool), *pool))
    }

    /// Moves the task to a new machine, if there is one.
    fn buy(&self, desk: &mut Desk, pool: usize, option: PurchaseOption) {
        let Some(machine) = desk.launch(pool, option) else { return };
        if let Some(old) = self.holds {
            desk.end(old.machine);
        }
        desk.assign(self.key, machine);
    }

    /// In micro-USD an hour x milliseconds: a minute of spot, or the tick on demand if it holds that.
    fn price_of_probe(&self, desk: &Desk, pool: usize, held: Option<Holding>) -> i128 {
        let price = |option| i128::from(desk.price(pool, option).0);
        match held.map(|held| held.option) {
            Some(PurchaseOption::OnDemand) => {
                price(PurchaseOption::OnDemand) * i128::from(self.recording.gap_ms)
            }
            Some(PurchaseOption::Spot) | None => price(PurchaseOption::Spot) * PROBE_MS,
        }
    }
}

/// Work that an end now would throw away.
fn at_risk(task: &TaskState, now_ms: u64, cut: Cut) -> u64 {
    let ran_ms = task.attempt.map_or(0, |attempt| now_ms.saturating_sub(attempt.start_ms));
    task.job.work.course(task.done_ms, ran_ms, cut).lost_ms
}

/// A deadline for a task that has none: late enough to wait for better times, but it comes.
fn far(job: &JobWork, recording: &Recording) -> u64 {
    let once = recording.boot_ms.saturating_add(job.work.runtime_ms(0));
    let due = job.arrival_ms.saturating_add(once.saturating_mul(FAR));
    due.max(recording.end_ms())
}

fn hours(ms: u64) -> f64 {
    ms as f64 / 3_600_000.0
}
