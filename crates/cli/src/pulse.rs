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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use api::event::EventKind;
    use model::JobId;

    use super::*;
    use crate::discovery::Endpoint;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    const ABSENT: &str = "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n";

    /// Gives these answers, a connection each, and then none.
    fn serve(answers: Vec<String>) -> Remote {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a client");
                let lines = BufReader::new(&stream).lines().map(|line| line.expect("text"));
                assert!(lines.take_while(|line| !line.is_empty()).count() > 0);
                stream.write_all(answer.as_bytes()).expect("written");
            }
        });
        Remote::new(&Endpoint { url, token: "ebbu_x".into(), data_dir: None }).expect("a client")
    }

    #[tokio::test]
    async fn events_come_as_they_come_and_their_end_is_a_look() {
        let job = JobId::from_number(7);
        let event = crate::samples::event(EventKind::JobSettled, job);
        let data = serde_json::to_string(&event).expect("JSON");
        let remote = serve(vec![format!("{HEAD}data: {data}\n\n")]);
        let query = EventsQuery { job: Some(job), ..EventsQuery::default() };
        let mut pulse = Pulse::new(&remote, query).await;
        let hour = Duration::from_secs(3600);
        assert_eq!(pulse.next(hour).await.map(|event| event.kind), Some(EventKind::JobSettled));
        // Nothing more, and so on: a look each time, without an hour's wait.
        assert_eq!(pulse.next(hour).await, None);
        assert_eq!(pulse.next(hour).await, None);
        assert!(pulse.stream.is_none());
    }

    #[tokio::test]
    async fn without_a_stream_we_ask_ever_more_seldom() {
        let remote = serve(vec![ABSENT.to_owned()]);
        let mut pulse = Pulse::new(&remote, EventsQuery::default()).await;
        for _ in 0..3 {
            assert_eq!(pulse.next(Duration::from_millis(1)).await, None);
        }
        assert_eq!(pulse.pause, FIRST_PAUSE * 8);
    }
}
