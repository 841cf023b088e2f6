//! What happened since the last step: all that waits in the queue, no more and no later.

use control::{Input, Reply};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Message;

/// Weight of one step's inputs at the most: a bound on its time. A submit or a transition is one.
const MAX_WEIGHT: usize = 20_000;

/// Inputs of one step, and who waits for the replies.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) inputs: Vec<Input>,
    /// How many of the inputs are whose, in order.
    pub(super) askers: Vec<(usize, Option<oneshot::Sender<Vec<Reply>>>)>,
    pub(super) looks: Vec<Message>,
    /// Messages that were there at once: how long the queue was.
    pub(super) messages: u64,
    weight: usize,
}

/// Why the wait for inputs ended.
pub(super) enum Wait {
    /// There are some, or a timer is due.
    Step(Gathered),
    /// The lease is no longer to be trusted.
    LeaseOver,
    /// This replica is to stop.
    Stop,
}

/// Waits for a message, a timer or the end; then takes what else is there.
pub(super) async fn gather(
    queue: &mut mpsc::Receiver<Message>,
    wake: Option<Instant>,
    until: &mut watch::Receiver<Instant>,
    stop: &CancellationToken,
) -> Wait {
    let mut gathered = Gathered::default();
    loop {
        let lease_end = *until.borrow_and_update();
        if Instant::now() >= lease_end {
            return Wait::LeaseOver;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Wait::Stop,
            () = tokio::time::sleep_until(lease_end) => continue,
            Ok(()) = until.changed() => continue,
            message = queue.recv() => match message {
                Some(message) => gathered.add(message),
                None => return Wait::Stop,
            },
            () = sleep_until_some(wake) => {}
        }
        break;
    }
    while gathered.weight < MAX_WEIGHT
        && let Ok(message) = queue.try_recv()
    {
        gathered.add(message);
    }
    Wait::Step(gathered)
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Gathered {
    fn add(&mut self, message: Message) {
        self.messages += 1;
        match message {
            Message::Ask { inputs, answer } => {
                self.weight += inputs.iter().map(weight).sum::<usize>();
                self.askers.push((inputs.len(), answer));
                self.inputs.extend(inputs);
            }
            look @ Message::Look(_) => self.looks.push(look),
        }
    }
}

fn weight(input: &Input) -> usize {
    match input {
        Input::Sync { transitions, inventory, .. } => {
            1 + transitions.len() + inventory.as_ref().map_or(0, Vec::len)
        }
        Input::TakeIn { jobs } => jobs.len(),
        Input::Listed { machines, .. } => 1 + machines.len(),
        _ => 1,
    }
}
