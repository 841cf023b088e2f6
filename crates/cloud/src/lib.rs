//! The one interface to whoever sells machines, and its errors by what the caller does next.
//!
//! Beside the market (in `manager`) and AWS (in `cloud-aws`) there is [`NoCloud`], which sells
//! nothing: static nodes only.

use std::future::Future;
use std::pin::Pin;

use model::{InstanceId, Intent, IntentId, Machine, Notice, Offer, Refusal};

/// A future of a [`Cloud`] call.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CloudError>> + Send + 'a>>;

/// Who sells machines. All calls may be repeated; none blocks the runtime.
pub trait Cloud: Send + Sync {
    /// What can be bought now. Polled; may answer from a cache.
    fn offers(&self) -> Answer<'_, Vec<Offer>>;

    /// Launches up to `intent.request.count` machines. Idempotent by the intent's id: the same
    /// intent sent again answers the machines that it has already given.
    fn launch<'a>(&'a self, intent: &'a Intent) -> Answer<'a, Launched>;

    /// Ends machines. One that is gone already is a success; one bad id never fails the others.
    /// Answers those that are (about to be) ended.
    fn retire<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<InstanceId>>;

    /// All machines that bear our cluster's tag, those that ended in the last hour included.
    fn list(&self) -> Answer<'_, Vec<Machine>>;

    /// Waits for notices; answers at least one, or none after a while. Each is delivered again
    /// until [`Cloud::acknowledge`] was called with its receipt.
    fn notices(&self) -> Answer<'_, Vec<Received>>;

    /// Deletes notices from the queue: they are committed.
    fn acknowledge<'a>(&'a self, receipts: &'a [String]) -> Answer<'a, ()>;

    /// Whose identity document this is: the machine, and the intent on its tag.
    fn identify<'a>(&'a self, document: &'a str) -> Answer<'a, Identity>;
}

/// The answer to a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// Machines that run or will. Fewer than asked for is no error.
    pub machines: Vec<Machine>,
    /// Why there are fewer, if there are.
    pub refusal: Option<Refusal>,
}

/// A notice with what it takes to delete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// For [`Cloud::acknowledge`].
    pub receipt: String,
    /// What it says.
    pub notice: Notice,
}

/// A machine, proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The machine.
    pub instance: InstanceId,
    /// The intent on its tag.
    pub intent: IntentId,
}

/// Why a call failed, by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// No answer, or a passing fault: call again, unchanged, later.
    #[error("the cloud did not answer: {0}")]
    Retry(String),
    /// Too many calls: wait for so long before any call.
    #[error("the cloud asks for fewer calls; next in {wait_ms} ms")]
    Throttled {
        /// How long.
        wait_ms: u64,
    },
    /// The call is wrong and will stay so: stop, loudly.
    #[error("the cloud refuses: {0}")]
    Wrong(String),
}

/// Sells nothing: a cluster of static nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCloud;

impl Cloud for NoCloud {
    fn offers(&self) -> Answer<'_, Vec<Offer>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn launch<'a>(&'a self, _: &'a Intent) -> Answer<'a, Launched> {
        Box::pin(async { Err(CloudError::Wrong("this cluster has static nodes only".into())) })
    }
    fn retire<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<InstanceId>> {
        Box::pin(async move { Ok(instances.to_vec()) })
    }
    fn list(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn notices(&self) -> Answer<'_, Vec<Received>> {
        Box::pin(std::future::pending())
    }
    fn acknowledge<'a>(&'a self, _: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    fn identify<'a>(&'a self, _: &'a str) -> Answer<'a, Identity> {
        Box::pin(async { Err(CloudError::Wrong("this cluster has static nodes only".into())) })
    }
}
