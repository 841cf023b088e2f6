//! The cloud: the product's own market, between faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cloud::{CloudError, Launched};
use market::{Action, Drill, Key, Market, Received, Setup, Weather};
use model::{
    Clamp, InstanceId, Intent, IntentId, Machine, MachineState, Offer, Pool, PurchaseOption,
    Refusal, RefusalScope,
};
use rand::RngExt;

use crate::{Dice, Fault, timestamp};

/// Machines that may be had at once.
const QUOTA: u32 = 40;

/// The cloud.
#[derive(Debug)]
pub(crate) struct Sky {
    market: Market,
    quota: u32,
    /// Refused for good: a client token is answered the same each time.
    refused: BTreeMap<IntentId, Refusal>,
    /// Bodies by instance.
    bodies: BTreeMap<InstanceId, usize>,
    /// What listings showed lately, for those that are stale.
    listings: VecDeque<(u64, Vec<Machine>)>,
    /// Machines that are being ended.
    ending: BTreeSet<InstanceId>,
    launched: u64,
    refused_any: bool,
}

/// A machine that a launch has given.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) machine: Machine,
    pub(crate) intent: IntentId,
}

impl Sky {
    pub(crate) fn new(seed: u64, dice: &mut Dice) -> Self {
        // Of the pools' own 35 to 489 machines of a million an hour: none; or each lives for hours, for half
        // an hour, or for minutes.
        let hazard_scale = [0, 3_000, 30_000, 100_000][dice.plain().random_range(0..4)];
        let notice_ms = [0, 30_000, 120_000][dice.plain().random_range(0..3)];
        let weather = Weather { seed, notice_ms, hazard_scale, drill: Drill::NONE };
        let setup = Setup { weather, key: Key::new([7; 32]), quota: QUOTA };
        Self {
            market: Market::new(setup, timestamp(0)),
            quota: QUOTA,
            refused: BTreeMap::new(),
            bodies: BTreeMap::new(),
            listings: VecDeque::new(),
            ending: BTreeSet::new(),
            launched: 0,
            refused_any: false,
        }
    }

    /// Whether a launch ever gave fewer machines than were asked for.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused_any
    }

    /// Machines ever launched.
    pub(crate) fn launched(&self) -> u64 {
        self.launched
    }

    pub(crate) fn offers(&self, now_ms: u64) -> Vec<Offer> {
        self.market.offers(timestamp(now_ms))
    }

    /// A launch arrives. New machines are answered beside: they are there, whatever becomes of the
    /// answer.
    pub(crate) fn launch(
        &mut self,
        intent: &Intent,
        now_ms: u64,
        dice: &mut Dice,
    ) -> (Result<Launched, CloudError>, Vec<New>) {
        if dice.happens(Fault::CloudFails, "launch", now_ms) {
            return (Err(CloudError::Retry("broken on purpose".into())), Vec::new());
        }
        let fresh = !self.bodies_of(intent.id) && !self.refused.contains_key(&intent.id);
        if fresh && dice.happens(Fault::LaunchRefused, "launch", now_ms) {
            let pools = intent.request.offers.iter().map(|offer| offer.pool.clone()).collect();
            let message = "broken on purpose".into();
            let refusal = Refusal { scope: RefusalScope::Pools(pools), message };
            self.refused.insert(intent.id, refusal);
        }
        if let Some(refusal) = self.refused.get(&intent.id) {
            let refusal = Some(refusal.clone());
            self.refused_any = true;
            return (Ok(Launched { machines: Vec::new(), refusal }), Vec::new());
        }
        let half = fresh
            && intent.request.count > 1
            && dice.happens(Fault::LaunchHalfFilled, "launch", now_ms);
        let running: u32 = self.running().count().clamped();
        let quota = if half { running + intent.request.count / 2 } else { self.quota };
        self.market.reopen(quota, timestamp(now_ms));
        match self.market.launch(intent, timestamp(now_ms)) {
            Ok(given) => {
                let new = self.new_of(intent.id, &given.machines);
                let (machines, refusal) = (given.machines, given.refusal);
                self.refused_any |= refusal.is_some();
                (Ok(Launched { machines, refusal }), new)
            }
            Err(fault) => (Err(CloudError::Wrong(fault.to_string())), Vec::new()),
        }
    }

    fn bodies_of(&self, intent: IntentId) -> bool {
        self.market.instances().any(|instance| instance.intent == intent)
    }

    fn new_of(&mut self, intent: IntentId, machines: &[Machine]) -> Vec<New> {
        let is_new = |machine: &&Machine| {
            machine.state == MachineState::Running && !self.bodies.contains_key(&machine.instance)
        };
        let new: Vec<New> = machines
            .iter()
            .filter(is_new)
            .map(|machine| New { machine: machine.clone(), intent })
            .collect();
        self.launched += u64::try_from(new.len()).unwrap_or(0);
        new
    }

    /// A machine got its body.
    pub(crate) fn embody(&mut self, instance: InstanceId, body: usize) {
        self.bodies.insert(instance, body);
    }

    pub(crate) fn body(&self, instance: &InstanceId) -> Option<usize> {
        self.bodies.get(instance).copied()
    }

    /// Whether a machine runs, and what it was called for by.
    pub(crate) fn intent_of(&self, instance: &InstanceId) -> Option<IntentId> {
        let known = self.market.list(self.market.now());
        let running = |machine: &&Machine| {
            machine.instance == *instance && machine.state == MachineState::Running
        };
        known.iter().find(running).and_then(|machine| machine.intent)
    }

    /// Machines that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &market::Instance> {
        self.market.instances().filter(|instance| instance.is_running())
    }

    /// Begins to end machines; answers those for which it is new.
    pub(crate) fn retire(&mut self, ids: &[InstanceId], now_ms: u64) -> Vec<InstanceId> {
        let begun = self.market.retire(ids, timestamp(now_ms));
        begun.into_iter().filter(|id| self.ending.insert(id.clone())).collect()
    }

    /// A machine is no more.
    pub(crate) fn gone(&mut self, instance: &InstanceId, now_ms: u64) -> bool {
        self.market.gone(instance, timestamp(now_ms))
    }

    /// All machines of ours; stale ones are of a while ago.
    pub(crate) fn list(&mut self, now_ms: u64, dice: &mut Dice) -> Vec<Machine> {
        let fresh = self.market.list(timestamp(now_ms));
        self.listings.retain(|(at_ms, _)| at_ms + STALE_MS > now_ms);
        let stale = match self.listings.front() {
            Some((_, old)) if dice.happens(Fault::ListingStale, "list", now_ms) => {
                Some(old.clone())
            }
            Some(_) | None => None,
        };
        self.listings.push_back((now_ms, fresh.clone()));
        stale.unwrap_or(fresh)
    }

    pub(crate) fn receive(&mut self, now_ms: u64) -> Vec<Received> {
        self.market.receive(timestamp(now_ms))
    }

    pub(crate) fn acknowledge(&mut self, receipts: &[String]) {
        for receipt in receipts {
            self.market.acknowledge(receipt);
        }
    }

    pub(crate) fn due(&mut self, now_ms: u64) -> Vec<Action> {
        self.market.due(timestamp(now_ms))
    }

    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.market.next_due().map(crate::millis)
    }

    /// Less, or all again.
    pub(crate) fn set_quota(&mut self, quota: Option<u32>) {
        self.quota = quota.unwrap_or(QUOTA);
    }

    /// Any spot pool of which machines run.
    pub(crate) fn some_pool(&self, dice: &mut Dice) -> Option<Pool> {
        let spot = |instance: &&market::Instance| instance.pool.option == PurchaseOption::Spot;
        let pools: BTreeSet<&Pool> =
            self.running().filter(spot).map(|instance| &instance.pool).collect();
        let at = dice.plain().random_range(0..pools.len().max(1));
        pools.into_iter().nth(at).cloned()
    }
}

/// EC2's listings are eventually consistent: seconds, mostly. Tens of them have been seen.
const STALE_MS: u64 = 15_000;
