//! The market's state, and what is asked of it: launch, retire, list, identify.

use std::collections::BTreeMap;

use model::{
    Clamp, InstanceId, Intent, IntentId, LaunchRequest, Machine, MachineState, Offer, Pool,
    PurchaseOption, Refusal, RefusalScope, Timestamp,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::events::{Busyness, Drilled};
use crate::identity::{IdentityDocument, Key, NotOurs, hex};
use crate::queue::{Queue, Received};
use crate::random::{exponential, stream};
use crate::{Weather, catalogue};

/// Of the saved state. Another number is refused, not guessed at.
pub const FORMAT: u32 = 1;

/// A machine that ended is listed for an hour, as EC2 does.
const LISTED_MS: u64 = 3_600_000;

/// An intent's answer is kept for a day, the life of an EC2 client token.
const TOKEN_MS: u64 = 86_400_000;

/// Machines of one launch: EC2's limit for an instant fleet.
const MAX_COUNT: u32 = 1_000;

/// How a market is made.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What it is like.
    pub weather: Weather,
    /// Its secret.
    pub key: Key,
    /// Machines that the account may have at once, of any kind.
    pub quota: u32,
}

/// The simulated cloud, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    format: u32,
    pub(crate) weather: Weather,
    key: Key,
    quota: u32,
    /// The latest time that it was told.
    pub(crate) now: Timestamp,
    /// Machines ever launched: the next one's ordinal.
    launches: u64,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
    intents: BTreeMap<IntentId, Answered>,
    pub(crate) queue: Queue,
    pub(crate) drilled: Drilled,
}

/// A machine as its hypervisor knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its name.
    pub id: InstanceId,
    /// The intent on its tag.
    pub intent: IntentId,
    /// What was bought.
    pub pool: Pool,
    /// When.
    pub launched: Timestamp,
    /// Whether it runs, or how it ended.
    pub state: MachineState,
    /// When it will be reclaimed: it has got the notice.
    pub deadline: Option<Timestamp>,
    /// It is being ended, and why.
    pub stop: Option<Stop>,
    /// Counts the market's launches: the seed's name for it.
    pub(crate) ordinal: u64,
    /// When the pool's hazard takes it; known to the market only.
    pub(crate) fate: Option<Timestamp>,
    pub(crate) busy: Option<Busyness>,
}

/// Why a machine is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// By our call: it may shut down in order.
    Retire,
    /// The cloud takes it back at the deadline.
    Reclaim,
    /// Its host fails, without any notice.
    Fail,
}

/// What a launch was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    /// SHA-256 of the request.
    request: String,
    at: Timestamp,
    refusal: Option<Refusal>,
}

/// The answer to a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The intent's machines, in the order of their launch.
    pub machines: Vec<Machine>,
    /// Why there are fewer than asked for, if there are.
    pub refusal: Option<Refusal>,
}

/// The intent's id was used before, with another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this client token was used with another request")]
pub struct Mismatch;

impl Instance {
    /// Whether it is still there: paid for, and holding capacity.
    pub fn is_running(&self) -> bool {
        self.state == MachineState::Running
    }

    fn machine(&self) -> Machine {
        Machine {
            instance: self.id.clone(),
            intent: Some(self.intent),
            pool: self.pool.clone(),
            state: self.state,
            launched: self.launched,
        }
    }
}

impl Market {
    /// A market without machines.
    pub fn new(setup: Setup, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            weather: setup.weather,
            key: setup.key,
            quota: setup.quota,
            now,
            launches: 0,
            instances: BTreeMap::new(),
            intents: BTreeMap::new(),
            queue: Queue::default(),
            drilled: Drilled::default(),
        }
    }

    /// A saved one goes on: its quota is set anew, and who had received notices is gone.
    pub fn reopen(&mut self, quota: u32, now: Timestamp) {
        self.quota = quota;
        self.advance(now);
        self.queue.redeliver(self.now);
    }

    /// The format that it was saved in.
    pub fn format(&self) -> u32 {
        self.format
    }

    /// What it is like.
    pub fn weather(&self) -> &Weather {
        &self.weather
    }

    /// The latest time that it was told.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Time never goes back.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// All machines that it remembers.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// One machine.
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.get(id)
    }

    /// What can be bought now, ordered by zone.
    pub fn offers(&self, now: Timestamp) -> Vec<Offer> {
        catalogue::offers(self.weather.seed, self.now.max(now))
    }

    /// Launches up to `count` machines of the offers' pools, in their order; the same intent again
    /// gets the machines that it has got already, and no more.
    pub fn launch(&mut self, intent: &Intent, now: Timestamp) -> Result<Given, Mismatch> {
        self.advance(now);
        let request = fingerprint(&intent.request);
        if let Some(known) = self.intents.get(&intent.id) {
            let refusal = known.refusal.clone();
            return if known.request == request {
                Ok(Given { machines: self.machines_of(intent.id), refusal })
            } else {
                Err(Mismatch)
            };
        }
        let refusal = match self.fault(&intent.request) {
            Some(fault) => Some(refuse(RefusalScope::Configuration, fault)),
            None => self.fill(intent),
        };
        let answered = Answered { request, at: self.now, refusal: refusal.clone() };
        self.intents.insert(intent.id, answered);
        Ok(Given { machines: self.machines_of(intent.id), refusal })
    }

    /// What is wrong with a request, whatever the state of the market.
    fn fault(&self, request: &LaunchRequest) -> Option<String> {
        if request.offers.is_empty() {
            return Some("a launch names at least one offer".to_owned());
        }
        if request.count == 0 || request.count > MAX_COUNT {
            return Some(format!("a launch is of 1 to {MAX_COUNT} machines"));
        }
        let unknown = request
            .offers
            .iter()
            .find(|offer| catalogue::offer(self.weather.seed, &offer.pool, self.now).is_none());
        unknown.map(|offer| format!("the market does not sell {}", offer.pool))
    }

    /// Launches what there is; answers why it was not all.
    fn fill(&mut self, intent: &Intent) -> Option<Refusal> {
        let mut missing = intent.request.count;
        for offer in &intent.request.offers {
            let taken = missing.min(self.room(&offer.pool)).min(self.quota_left());
            for _ in 0..taken {
                self.start(intent.id, &offer.pool);
            }
            missing -= taken;
        }
        if missing == 0 {
            return None;
        }
        if self.quota_left() == 0 {
            let option = intent.request.offers.first()?.pool.option;
            let words = format!("the account may have {} machines at once", self.quota);
            return Some(refuse(RefusalScope::Quota(option), words));
        }
        let mut pools: Vec<Pool> =
            intent.request.offers.iter().map(|offer| offer.pool.clone()).collect();
        pools.sort();
        pools.dedup();
        let words = format!("insufficient capacity for {missing} of {}", intent.request.count);
        Some(refuse(RefusalScope::Pools(pools), words))
    }

    /// Machines that a pool has left.
    fn room(&self, pool: &Pool) -> u32 {
        let sold = self.running().filter(|instance| instance.pool == *pool).count();
        catalogue::depth(self.weather.seed, pool).saturating_sub(sold).clamped()
    }

    fn quota_left(&self) -> u32 {
        self.quota.saturating_sub(self.running().count().clamped())
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|instance| instance.is_running())
    }

    fn start(&mut self, intent: IntentId, pool: &Pool) {
        let ordinal = self.launches;
        self.launches += 1;
        let id = self.key.instance_id(ordinal);
        let fate = self.lifetime_ms(ordinal, pool).map(|life| self.now.later_by(life));
        let instance = Instance {
            id: id.clone(),
            intent,
            pool: pool.clone(),
            launched: self.now,
            state: MachineState::Running,
            deadline: None,
            stop: None,
            ordinal,
            fate,
            busy: None,
        };
        self.instances.insert(id, instance);
    }

    /// How long the pool's hazard lets a machine live; none when it never takes it.
    fn lifetime_ms(&self, ordinal: u64, pool: &Pool) -> Option<u64> {
        let offer = catalogue::offer(self.weather.seed, pool, self.now)?;
        let ppm_hour = u128::from(offer.hazard_ppm_hour) * u128::from(self.weather.hazard_scale);
        if pool.option == PurchaseOption::OnDemand {
            return None;
        }
        let draw = exponential(&mut stream(self.weather.seed, "lifetime", &[&ordinal.to_string()]));
        let mean_ms = (3_600_000_u128 * 1_000_000).checked_div(ppm_hour)?;
        Some(((u128::from(draw) * mean_ms) >> 32).clamped())
    }

    fn machines_of(&self, intent: IntentId) -> Vec<Machine> {
        let mut own: Vec<&Instance> =
            self.instances.values().filter(|instance| instance.intent == intent).collect();
        own.sort_by_key(|instance| instance.ordinal);
        own.into_iter().map(Instance::machine).collect()
    }

    /// Begins to end machines. Answers those for which that is new; one that is unknown or gone is
    /// no fault, and one that is being taken already stays so.
    pub fn retire(&mut self, ids: &[InstanceId], now: Timestamp) -> Vec<InstanceId> {
        self.advance(now);
        let mut begun = Vec::new();
        for id in ids {
            let Some(instance) = self.instances.get_mut(id) else { continue };
            if instance.is_running() && instance.stop.is_none() {
                instance.stop = Some(Stop::Retire);
                begun.push(id.clone());
            }
        }
        begun
    }

    /// All machines, those that ended in the last hour included.
    pub fn list(&self, now: Timestamp) -> Vec<Machine> {
        let listed = |instance: &&Instance| match instance.state {
            MachineState::Running => true,
            MachineState::Reclaimed(at) | MachineState::Ended(at) => now.since(at) < LISTED_MS,
        };
        self.instances.values().filter(listed).map(Instance::machine).collect()
    }

    /// The notices to be delivered now.
    pub fn receive(&mut self, now: Timestamp) -> Vec<Received> {
        self.advance(now);
        self.queue.receive(self.now)
    }

    /// Deletes a notice. False when it was deleted before.
    pub fn acknowledge(&mut self, receipt: &str) -> bool {
        self.queue.acknowledge(receipt)
    }

    /// What a machine is told of itself.
    pub fn document(&self, id: &InstanceId) -> Option<IdentityDocument> {
        let instance = self.instances.get(id)?;
        let capacity = catalogue::find(&instance.pool.instance_type)?.capacity();
        let document = IdentityDocument {
            instance: instance.id.clone(),
            intent: instance.intent,
            zone: instance.pool.zone.to_string(),
            instance_type: instance.pool.instance_type.to_string(),
            purchase: instance.pool.option,
            cpu_millis: capacity.cpu_millis,
            memory_mib: capacity.memory_mib,
            disk_mib: capacity.disk_mib,
            gpus: capacity.gpus,
            signature: String::new(),
        };
        Some(document.signed(&self.key))
    }

    /// Whose document this is.
    pub fn identify(&self, text: &str) -> Result<(InstanceId, IntentId), NotOurs> {
        let document = IdentityDocument::verified(text, &self.key)?;
        match self.instances.get(&document.instance) {
            Some(instance) if instance.is_running() => Ok((document.instance, document.intent)),
            _ => Err(NotOurs::NoSuchMachine),
        }
    }

    /// Forgets what nobody can ask for any more.
    pub(crate) fn trim(&mut self) {
        let now = self.now;
        self.instances.retain(|_, instance| match instance.state {
            MachineState::Running => true,
            MachineState::Reclaimed(at) | MachineState::Ended(at) => now.since(at) < LISTED_MS,
        });
        self.intents.retain(|_, answered| now.since(answered.at) < TOKEN_MS);
        self.queue.trim(now);
    }
}

fn refuse(scope: RefusalScope, message: String) -> Refusal {
    Refusal { scope, message: message.into() }
}

/// Two requests with one fingerprint are the same.
fn fingerprint(request: &LaunchRequest) -> String {
    // A request is plain data and always has a text; without one all would merely look alike.
    let text = serde_json::to_vec(request).unwrap_or_default();
    hex(&Sha256::digest(text))
}
