//! The cloud: what is on offer, launches and their answers, machines ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cloud::Launched;
use control::Input;
use market::recorded::{Bought, MachineNo, Recording};
use model::{
    InstanceId, Intent, IntentId, Machine, MachineState, Offer, Pool, PurchaseOption, Refusal,
    RefusalScope,
};

use super::heap::Event;
use super::latency::Takes;
use super::leader::Asker;
use super::run::Run;
use super::timestamp;
use super::worker::{Instance, Worker};

/// The cloud's side, and the executors that call it.
#[derive(Debug)]
pub(super) struct Cloud {
    /// Spot and on-demand of each of the recording's pools.
    pub(super) offers: Vec<Offer>,
    pools: BTreeMap<Pool, usize>,
    /// Where each of the recording's pools has its spot offer.
    spot_at: Vec<Option<usize>>,
    /// What is on offer has changed since it was last looked at.
    pub(super) moved: bool,
    /// Launches to be sent, in order.
    wanted: VecDeque<IntentId>,
    known: BTreeSet<IntentId>,
    /// A launch call is under way.
    pub(super) launching: bool,
    /// Machines to be ended.
    pub(super) retiring: BTreeSet<InstanceId>,
    /// A call that ends machines is under way.
    pub(super) ending: bool,
    /// When calls are on the heap, by ticks.
    calls_ms: Option<u64>,
    /// Whose machine it is.
    pub(super) instances: BTreeMap<InstanceId, usize>,
}

impl Cloud {
    /// Of a recording, at its begin.
    pub(super) fn new(recording: &Arc<Recording>) -> Self {
        let mut cloud = Self {
            offers: Vec::new(),
            pools: BTreeMap::new(),
            spot_at: vec![None; recording.pools.len()],
            moved: false,
            wanted: VecDeque::new(),
            known: BTreeSet::new(),
            launching: false,
            retiring: BTreeSet::new(),
            ending: false,
            calls_ms: None,
            instances: BTreeMap::new(),
        };
        for (at, trace) in recording.pools.iter().enumerate() {
            for option in [PurchaseOption::Spot, PurchaseOption::OnDemand] {
                let pool = trace.pool(option);
                if cloud.pools.contains_key(&pool) {
                    continue;
                }
                cloud.pools.insert(pool.clone(), at);
                if option == PurchaseOption::Spot {
                    cloud.spot_at[at] = Some(cloud.offers.len());
                }
                let hazard_ppm_hour = match option {
                    PurchaseOption::Spot => trace.hazard_ppm_hour,
                    PurchaseOption::OnDemand => 0,
                };
                cloud.offers.push(Offer {
                    pool,
                    capacity: trace.capacity,
                    price: trace.price(option, 0),
                    on_demand_price: trace.on_demand,
                    hazard_ppm_hour,
                });
            }
        }
        cloud
    }

    /// A launch is over.
    pub(super) fn forget(&mut self, id: IntentId) {
        self.known.remove(&id);
    }

    /// A launch is decided and durable.
    pub(super) fn want(&mut self, id: IntentId) {
        if self.known.insert(id) {
            self.wanted.push_back(id);
        }
    }
}

impl Run {
    /// Sends what there is to be sent: at once, or at the start of the next tick.
    pub(super) fn call_on(&mut self) {
        let launch = !self.cloud.wanted.is_empty();
        let retire = !self.cloud.retiring.is_empty();
        if self.is_over() || !(launch || retire) {
            return;
        }
        if self.by_ticks {
            let at_ms = self.market.recording().tick_at_or_after(self.now_ms);
            if self.cloud.calls_ms != Some(at_ms) {
                self.cloud.calls_ms = Some(at_ms);
                self.heap.push(at_ms, Event::Calls);
            }
            return;
        }
        if launch && !self.cloud.launching {
            self.cloud.launching = true;
            self.next_launch();
        }
        if retire && !self.cloud.ending {
            self.cloud.ending = true;
            let instances = std::mem::take(&mut self.cloud.retiring);
            let at_ms = self.now_ms + self.latency.of(Takes::RetireCall);
            self.heap.push(at_ms, Event::Retire(instances));
        }
    }

    fn next_launch(&mut self) {
        match self.next_wanted() {
            Some(intent) => {
                let at_ms = self.now_ms + self.latency.of(Takes::LaunchCall);
                self.heap.push(at_ms, Event::Launch(Box::new(intent)));
            }
            None => self.cloud.launching = false,
        }
    }

    /// The next launch that was not given up: an old wish is better planned anew.
    fn next_wanted(&mut self) -> Option<Intent> {
        let now = timestamp(self.now_ms);
        // By ticks an answer takes no time, and a launch waits for nothing but the start of one.
        let is_fresh = |intent: &&Intent| self.by_ticks || intent.may_be_sent(now);
        while let Some(id) = self.cloud.wanted.pop_front() {
            let intent = self.leader.world.durable.intents.get(&id);
            if let Some(intent) = intent.filter(is_fresh) {
                return Some(intent.clone());
            }
        }
        None
    }

    /// The start of a tick: all that waited for it.
    pub(super) fn calls(&mut self) {
        self.cloud.calls_ms = None;
        let instances = std::mem::take(&mut self.cloud.retiring);
        if !instances.is_empty() {
            self.retire(instances);
        }
        while let Some(intent) = self.next_wanted() {
            self.launch(&intent);
        }
    }

    /// A launch is carried out and answered.
    pub(super) fn launch(&mut self, intent: &Intent) {
        let launched = self.fill(intent);
        self.ask(Input::Launched { intent: intent.id, answer: Ok(launched) }, Asker::Launch);
    }

    /// Offers are tried in the order of the request.
    fn fill(&mut self, intent: &Intent) -> Launched {
        let mut machines = Vec::new();
        let mut missing = intent.request.count;
        for offer in &intent.request.offers {
            let Some(pool) = self.cloud.pools.get(&offer.pool).copied() else { continue };
            while missing > 0
                && let Some(no) = self.market.launch(pool, offer.pool.option)
            {
                missing -= 1;
                machines.extend(self.boot(no, intent.id, &offer.pool));
            }
        }
        let refusal = (missing > 0).then(|| Refusal {
            scope: RefusalScope::Pools(
                intent.request.offers.iter().map(|offer| offer.pool.clone()).collect(),
            ),
            message: format!("insufficient capacity for {missing} of {}", intent.request.count)
                .into(),
        });
        if !machines.is_empty() {
            self.stirred_ms = self.now_ms;
        }
        Launched { machines, refusal }
    }

    /// A machine begins to boot.
    fn boot(&mut self, no: MachineNo, intent: IntentId, pool: &Pool) -> Option<Machine> {
        let bought = *self.market.machine(no)?;
        let worker = self.enter(bought, intent, pool);
        self.booting += 1;
        let at_ms = self.now_ms + self.market.recording().boot_ms;
        self.heap.push(at_ms, Event::Booted(worker));
        Some(Machine {
            instance: instance_id(no),
            intent: Some(intent),
            pool: pool.clone(),
            state: MachineState::Running,
            launched: timestamp(bought.launched_ms),
        })
    }

    /// A machine of the market gets its worker.
    pub(super) fn enter(&mut self, bought: Bought, intent: IntentId, pool: &Pool) -> usize {
        let recording = self.market.recording();
        let capacity = recording.pools.get(bought.pool).map(|trace| trace.capacity);
        let worker = self.workers.len();
        let id = instance_id(bought.no);
        self.machines.insert(bought.no, worker);
        self.cloud.instances.insert(id.clone(), worker);
        let instance = Instance { bought, id, intent, pool: pool.clone() };
        self.workers.push(Some(Worker::new(Some(instance), capacity.unwrap_or_default())));
        worker
    }

    /// Machines are ended and the call is answered.
    pub(super) fn retire(&mut self, instances: BTreeSet<InstanceId>) {
        let mut ended = Vec::new();
        for id in instances {
            let Some(worker) = self.cloud.instances.get(&id).copied() else { continue };
            let bought = self.workers.get(worker).and_then(Option::as_ref);
            let Some(no) = bought.and_then(|it| it.bought.as_ref()).map(|it| it.bought.no) else {
                continue;
            };
            if self.end_machine(worker, no) {
                ended.push(id);
            }
        }
        self.ask(Input::Retired { instances: ended }, Asker::Retire);
    }

    /// A pool has moved: whoever looks next sees its new price.
    pub(super) fn pool_moved(&mut self, pool: usize) {
        let Some(trace) = self.market.recording().pools.get(pool) else { return };
        let price = trace.price(PurchaseOption::Spot, self.now_ms);
        let at = self.cloud.spot_at.get(pool).copied().flatten();
        let Some(offer) = at.and_then(|at| self.cloud.offers.get_mut(at)) else { return };
        if offer.price == price {
            return;
        }
        offer.price = price;
        if !self.cloud.moved {
            self.cloud.moved = true;
            let at_ms = self.now_ms + self.latency.of(Takes::Offers);
            self.heap.push(at_ms, Event::Offers);
        }
    }

    /// What is on offer is looked at.
    pub(super) fn look_at_offers(&mut self) {
        self.cloud.moved = false;
        let offers = self.cloud.offers.clone();
        self.tell(Input::Offers(offers));
    }
}

/// The cloud's name for a machine.
pub(super) fn instance_id(no: MachineNo) -> InstanceId {
    InstanceId::new(&format!("i-{:08x}", no.0))
}
