//! What the outside sells and says: offers, notices, refusals, and the intents we keep of it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{InstanceId, IntentId, MicroUsd, NodeId, Resources, Timestamp};

/// How a machine is paid for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PurchaseOption {
    /// Cheaper, and may be taken back.
    Spot,
    /// Full price, ours until we end it.
    OnDemand,
}

impl fmt::Display for PurchaseOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        })
    }
}

/// What is bought: instance type x zone x purchase option. A spot pool is a spot offer's type and
/// zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// Availability zone.
    #[schema(value_type = String)]
    pub zone: Arc<str>,
    /// Instance type, as the cloud writes it.
    #[schema(value_type = String)]
    pub instance_type: Arc<str>,
    /// Spot or on-demand.
    pub option: PurchaseOption,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.zone, self.instance_type, self.option)
    }
}

/// A pool with what it holds, costs and risks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// What is bought.
    pub pool: Pool,
    /// What a task can use of the machine.
    pub capacity: Resources,
    /// Price an hour.
    pub price: MicroUsd,
    /// The same type's on-demand price an hour, for comparison.
    pub on_demand_price: MicroUsd,
    /// Interruptions per million machine hours that the pool is believed to have; 0 on-demand.
    pub hazard_ppm_hour: u32,
}

impl Offer {
    /// Of a pool that nobody offers any more: what it held and cost is not known.
    pub fn unknown(pool: Pool) -> Self {
        let (price, on_demand_price) = (MicroUsd(0), MicroUsd(0));
        Self { pool, capacity: Resources::default(), price, on_demand_price, hazard_ppm_hour: 0 }
    }
}

/// What a notice announces.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// The machine will be taken at the deadline.
    Interruption,
    /// The machine is at elevated risk; no deadline.
    Rebalance,
    /// The host will be serviced at the deadline.
    Maintenance,
    /// The machine is stopping or gone already; the deadline is when it was seen.
    StateChange,
}

/// What the outside says about a machine, in one shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The machine.
    pub instance: InstanceId,
    /// What is announced.
    pub kind: NoticeKind,
    /// When it takes effect.
    pub deadline: Timestamp,
}

/// One launch, stored before it is sent: up to `count` machines of one of `pools`, in order.
///
/// Its id is the client token and the tag of its machines. It may be re-sent only unchanged, and
/// for [`Intent::RESEND_MS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Token and tag.
    pub id: IntentId,
    /// The whole request.
    pub request: LaunchRequest,
    /// Where it stands.
    pub state: IntentState,
    /// When it entered that state.
    pub since: Timestamp,
    /// When it was decided.
    pub opened: Timestamp,
    /// Machines of it that were seen so far.
    pub born: u32,
}

impl Intent {
    /// How long the same request may be sent again: the life of a client token is longer, but an
    /// old wish is better planned anew (DESIGN §4.4).
    pub const RESEND_MS: u64 = 600_000;

    /// Before the end of that time it is not sent any more: an answer must find it open, or nobody knows
    /// whose machines these are. The SDK gives a call up sooner than that.
    pub const ANSWER_MS: u64 = 60_000;

    /// Whether it may still be sent.
    pub fn may_be_sent(&self, now: Timestamp) -> bool {
        now.since(self.opened) < Self::RESEND_MS - Self::ANSWER_MS
    }

    /// Machines that may still come of it.
    pub fn open_machines(&self) -> u32 {
        match self.state {
            IntentState::Requested | IntentState::Launching => {
                self.request.count.saturating_sub(self.born)
            }
            IntentState::Closed(_) => 0,
        }
    }
}

/// What to launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRequest {
    /// Offers that will do, the preferred first. Never empty.
    pub offers: Vec<Offer>,
    /// How many machines.
    pub count: u32,
    /// Why, in words.
    pub reason: Arc<str>,
}

/// The life of an intent, which is also that of the machines that are not yet born.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntentState {
    /// Stored, not yet answered.
    Requested,
    /// Sent without a clear answer; the same request is sent again.
    Launching,
    /// Answered or given up.
    Closed(IntentEnd),
}

/// How an intent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntentEnd {
    /// All machines were born.
    Filled,
    /// The cloud gave fewer (or none) and said why.
    LaunchFailed(Refusal),
    /// No clear answer came in [`Intent::RESEND_MS`].
    Expired,
}

/// Why the cloud did not give a machine, by what it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What it concerns, and so what to do.
    pub scope: RefusalScope,
    /// The cloud's own words, cut to 200 characters.
    pub message: Arc<str>,
}

/// What a refusal concerns (DESIGN §4.7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalScope {
    /// These pools have no capacity: hide them, with growing back-off.
    Pools(Vec<Pool>),
    /// The account's quota for the purchase option is spent: hold the option.
    Quota(PurchaseOption),
    /// Too many calls: wait, never fan out.
    Throttle,
    /// The request is wrong and will stay so: stop, loudly.
    Configuration,
    /// Nobody knows: send the same again.
    Unknown,
}

/// A machine as the cloud lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The cloud's name for it.
    pub instance: InstanceId,
    /// The intent on its tag, when it is readable as one.
    pub intent: Option<IntentId>,
    /// What was bought.
    pub pool: Pool,
    /// Whether it runs, or how it ended.
    pub state: MachineState,
    /// The cloud's launch time.
    pub launched: Timestamp,
}

/// Whether a machine of a listing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// Pending or running: it is paid for.
    Running,
    /// Ended at this time by the cloud: nobody's fault.
    Reclaimed(Timestamp),
    /// Ended at this time by our call, or by itself.
    Ended(Timestamp),
}

/// How much of a machine's bill went where. Append-only; a machine's rows add up to its bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The machine.
    pub node: NodeId,
    /// The attempt's task, for `Task` and `Waste`.
    pub task: Option<crate::TaskId>,
    /// What it was spent on.
    pub kind: LedgerKind,
    /// From when.
    pub from: Timestamp,
    /// To when.
    pub to: Timestamp,
    /// How much.
    pub cost: MicroUsd,
}

/// What money was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerKind {
    /// An attempt that ended by itself.
    Task,
    /// An attempt that was lost or interrupted.
    Waste,
    /// From launch until the digester joined.
    Boot,
    /// All the rest.
    Idle,
}
