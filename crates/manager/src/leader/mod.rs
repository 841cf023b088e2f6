//! The shell around `control::step`: whoever holds the lease gathers inputs, decides, commits,
//! and lets out only what is durable (DESIGN §3).

mod campaign;
mod gather;
mod journal;
mod lease;
mod reign;
mod release;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use control::{Input, Reply};
use model::{Timestamp, World};
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use self::campaign::{Campaign, supervise};
pub(crate) use self::release::Rows;
use crate::nodes::Hub;

/// How long a message may wait for a place in the leader's queue.
const QUEUE_PATIENCE: Duration = Duration::from_secs(2);

/// Reads World; what it finds goes out by its own channel.
type Look = Box<dyn FnOnce(&World, &control::Config, Timestamp) + Send>;

/// What is sent to the leader's task.
pub(crate) enum Message {
    /// Inputs of one step, answered when they are durable.
    Ask {
        /// In order; all go into the same step.
        inputs: Vec<Input>,
        /// One reply for each.
        answer: Option<oneshot::Sender<Vec<Reply>>>,
    },
    /// A look at World, which then is what is durable.
    Look(Look),
}

/// A term of this replica, as the rest of the process sees it.
pub(crate) struct Lead {
    /// The term.
    pub(crate) term: u64,
    /// What is said to nodes.
    pub(crate) hub: Hub,
    /// Wakes the intake: something was posted on this replica.
    pub(crate) posted: Notify,
    queue: mpsc::Sender<Message>,
}

/// Why the leader gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// It does not lead any more. Whether the inputs are kept is not known.
    #[error("this replica does not lead any more")]
    Deposed,
    /// Its queue is full; nothing was taken.
    #[error("the leader's queue is full")]
    Full,
}

impl Lead {
    /// Hands inputs to one step; answers when what they changed is durable.
    pub(crate) async fn ask(&self, inputs: Vec<Input>) -> Result<Vec<Reply>, NoAnswer> {
        let (answer, replies) = oneshot::channel();
        self.send(Message::Ask { inputs, answer: Some(answer) }).await?;
        replies.await.map_err(|_| NoAnswer::Deposed)
    }

    /// Hands one input to a step.
    pub(crate) async fn ask_one(&self, input: Input) -> Result<Reply, NoAnswer> {
        self.ask(vec![input]).await?.pop().ok_or(NoAnswer::Deposed)
    }

    /// Hands an input over without waiting for what comes of it.
    pub(crate) fn tell(self: &Arc<Self>, input: Input) {
        let message = Message::Ask { inputs: vec![input], answer: None };
        if let Err(mpsc::error::TrySendError::Full(message)) = self.queue.try_send(message) {
            let queue = self.queue.clone();
            tokio::spawn(async move {
                // A leader that is gone needs no inputs.
                let _ = queue.send(message).await;
            });
        }
    }

    /// Hands an input over, waiting for a place in the queue; not from the runtime's threads.
    pub(crate) fn tell_blocking(&self, input: Input) {
        // A leader that is gone needs no inputs.
        let _ = self.queue.blocking_send(Message::Ask { inputs: vec![input], answer: None });
    }

    /// Looks at World between two commits.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&World, &control::Config, Timestamp) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (answer, seen) = oneshot::channel();
        let look = move |world: &World, config: &control::Config, now: Timestamp| {
            // Nobody waits any more: then nobody needs the answer.
            let _ = answer.send(look(world, config, now));
        };
        self.send(Message::Look(Box::new(look))).await?;
        seen.await.map_err(|_| NoAnswer::Deposed)
    }

    async fn send(&self, message: Message) -> Result<(), NoAnswer> {
        match self.queue.try_send(message) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NoAnswer::Deposed),
            Err(mpsc::error::TrySendError::Full(message)) => {
                match tokio::time::timeout(QUEUE_PATIENCE, self.queue.send(message)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(NoAnswer::Deposed),
                    Err(_) => Err(NoAnswer::Full),
                }
            }
        }
    }
}

/// Who leads, if it is this replica.
#[derive(Default)]
pub(crate) struct Seat {
    lead: RwLock<Option<Arc<Lead>>>,
}

impl Seat {
    /// This replica's term, while it leads.
    pub(crate) fn lead(&self) -> Option<Arc<Lead>> {
        self.lead.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, lead: Option<Arc<Lead>>) {
        *self.lead.write().unwrap_or_else(PoisonError::into_inner) = lead;
    }
}
