//! When to look again: at an event, as long as the manager has a stream for us; otherwise after a
//! pause.

use std::time::Duration;

use api::client::{EventStream, EventsQuery};
use api::event::Event;
use tokio::time::{Instant, sleep, timeout};

use crate::remote::Remote;

/// The first pause without a stream: a short job's end is seen at once.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest: what a person takes for live.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// With a stream we look anyway after this: what an event means is decided by looking.
const ANYWAY: Duration = Duration::from_secs(5);
/// After this a stream is asked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// Tells when to look again.
pub(crate) struct Pulse {
    remote: Remote,
    query: EventsQuery,
    stream: Option<EventStream>,
    asked: Instant,
    pause: Duration,
}

impl Pulse {
    /// Connects before it returns: what is read afterwards is not older than the first event.
    pub(crate) async fn new(remote: &Remote, query: EventsQuery) -> Self {
        let mut pulse = Self {
            remote: remote.clone(),
            query,
            stream: None,
            asked: Instant::now(),
            pause: FIRST_PAUSE,
        };
        pulse.open().await;
        pulse
    }

    /// An event, or nothing: then everything is worth a look. Waits for `longest` at the most.
    pub(crate) async fn next(&mut self, longest: Duration) -> Option<Event> {
        if self.stream.is_none() && self.asked.elapsed() > AGAIN {
            self.open().await;
        }
        let Some(stream) = &mut self.stream else {
            sleep(self.pause.min(longest)).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            return None;
        };
        match timeout(ANYWAY.min(longest), stream.next()).await {
            Ok(Ok(Some(event))) => Some(event),
            // Its end, or the manager's: from now on we ask.
            Ok(Ok(None) | Err(_)) => {
                self.stream = None;
                self.pause = FIRST_PAUSE;
                None
            }
            Err(_) => None,
        }
    }

    async fn open(&mut self) {
        self.asked = Instant::now();
        match self.remote.events(self.query.clone()).await {
            Ok(stream) => self.stream = Some(stream),
            Err(failure) => tracing::debug!(%failure, "no stream of events; we ask instead"),
        }
    }
}
