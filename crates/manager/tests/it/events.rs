//! `GET /v1/events`: every event once, in order, wherever a reader is cut.

use std::collections::BTreeSet;
use std::time::Duration;

use api::client::EventsQuery;
use api::event::{Event, EventId, EventKind};
use api::problem::ProblemKind;
use manager::Manager;
use model::{JobId, JobStatus};
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::scene::{Digester, Scene, config, job, postgres, problem, user_of};

/// Before the first event of all.
const START: EventId = EventId { seq: 0, ordinal: 0 };
const PATIENCE: Duration = Duration::from_secs(30);

async fn get(manager: &Manager, query: &str, after: Option<EventId>) -> Response {
    let request = reqwest::Client::new()
        .get(format!("{}/v1/events{query}", manager.url()))
        .bearer_auth(manager.token());
    let request = match after {
        Some(id) => request.header("last-event-id", id.to_string()),
        None => request,
    };
    request.send().await.expect("an answer")
}

/// A reader that knows the format, and counts bytes.
struct Reader {
    response: Response,
    bytes: Vec<u8>,
    read: usize,
}

impl Reader {
    async fn open(manager: &Manager, query: &str, after: Option<EventId>) -> Self {
        let response = get(manager, query, after).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, bytes: Vec::new(), read: 0 }
    }

    /// The next event among the first `most` bytes; `None` when they, or the answer, are at an end.
    async fn next(&mut self, most: usize) -> Option<(Option<EventId>, Event)> {
        loop {
            let seen = &self.bytes[self.read..self.bytes.len().min(most)];
            if let Some(length) = seen.windows(2).position(|two| two == b"\n\n") {
                let message = String::from_utf8(seen[..length].to_vec()).expect("UTF-8");
                self.read += length + 2;
                let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
                let Some(data) = field("data: ") else { continue };
                let event: Event = serde_json::from_str(data).expect("an event");
                assert_eq!(field("event: "), Some(event.kind.as_str()));
                assert_eq!(field("id: "), event.id.as_deref());
                let id = event.id.as_deref().map(|id| id.parse().expect("an id"));
                return Some((id, event));
            }
            if self.bytes.len() >= most {
                return None;
            }
            let piece = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            self.bytes.extend_from_slice(&piece.expect("in time").expect("a piece")?);
        }
    }
}

/// All from the start to the settling of a job.
async fn read_until(manager: &Manager, last: JobId) -> Vec<(EventId, Event)> {
    let mut reader = Reader::open(manager, "", Some(START)).await;
    let mut events = Vec::new();
    loop {
        let (id, event) = reader.next(usize::MAX).await.expect("it goes on");
        let is_last = event.kind == EventKind::JobSettled && event.job == Some(last);
        events.push((id.expect("stored events have ids"), event));
        if is_last {
            return events;
        }
    }
}

/// A job is run, another is stopped, again and again; the last one that settles.
async fn bustle(manager: &Manager, rounds: u32) -> JobId {
    let user = user_of(manager).await;
    let mut node = Digester::join(&user, "one", 1).await;
    let mut last = None;
    for round in 0..rounds {
        let stopped = user.submit(&job(100), None).await.expect("accepted").id;
        user.stop_job(stopped).await.expect("stopped");
        let id = user.submit(&job(1 + round % 5), None).await.expect("accepted").id;
        last = Some(id);
        while !user.job(id).await.expect("it is there").job.status.is_settled() {
            let work = node.work().await;
            node.start(&work).await;
            node.succeed(&work).await;
        }
    }
    last.expect("at least one")
}

/// Numbers that depend on the seed alone.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}

/// Reads with so many cuts at any byte, and on to the settling of `last` without.
async fn read_with_cuts(manager: &Manager, cuts: usize, seed: u64) -> Vec<(EventId, Event)> {
    let mut numbers = Numbers(seed);
    let mut events: Vec<(EventId, Event)> = Vec::new();
    for _ in 0..cuts {
        let after = events.last().map_or(START, |(id, _)| *id);
        let mut reader = Reader::open(manager, "", Some(after)).await;
        let most = 1 + numbers.below(900);
        while let Some((id, event)) = reader.next(most).await {
            events.push((id.expect("stored events have ids"), event));
        }
    }
    events
}

fn assert_in_order(events: &[(EventId, Event)]) {
    assert!(events.windows(2).all(|two| two[0].0 < two[1].0), "in order, each once");
}

#[tokio::test]
async fn a_reader_that_is_cut_a_hundred_times_misses_and_doubles_nothing() {
    // Once from memory, once from the log.
    for events_bytes in [1 << 20, 1_000] {
        let scene = Scene::with(|config| config.limits.events_bytes = events_bytes).await;
        let manager = &scene.manager;
        // Somebody listens all the time, so that memory is filled.
        let _listener = Reader::open(manager, "", None).await;
        let (last, early) = tokio::join!(bustle(manager, 25), read_with_cuts(manager, 60, 1));
        let whole = read_until(manager, last).await;
        assert_in_order(&whole);
        assert_eq!(early, whole[..early.len()], "read while it happened");
        let late = read_with_cuts(manager, 100, 2).await;
        assert!(late.len() > 100, "{} events in 100 pieces", late.len());
        assert_eq!(late, whole[..late.len()]);
        scene.manager.shutdown().await;
    }
}

#[tokio::test]
async fn a_reader_that_goes_on_hears_what_follows() {
    let scene = Scene::new().await;
    let mut live = Reader::open(&scene.manager, "", None).await;
    let last = bustle(&scene.manager, 5).await;
    let mut heard = Vec::new();
    loop {
        let (id, event) = live.next(usize::MAX).await.expect("it goes on");
        let is_last = event.kind == EventKind::JobSettled && event.job == Some(last);
        heard.push((id.expect("an id"), event));
        if is_last {
            break;
        }
    }
    let whole = read_until(&scene.manager, last).await;
    assert_eq!(heard, whole[whole.len() - heard.len()..], "from now on, without a gap");
    assert_eq!(heard[0].1.kind, EventKind::Node, "what came before was not told");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_stream_of_a_job_tells_its_progress_and_ends_with_it() {
    let scene = Scene::new().await;
    let id = scene.user.submit(&job(3), None).await.expect("accepted").id;
    let other = scene.user.submit(&job(1), None).await.expect("accepted").id;
    let query = EventsQuery { job: Some(id), ..EventsQuery::default() };
    let mut stream = scene.user.events(query.clone()).await.expect("a stream");
    let begin = stream.next().await.expect("an event").expect("the first");
    assert_eq!(begin.kind, EventKind::JobProgress);
    assert_eq!(begin.tasks.expect("counts").waiting, 3);
    let mut node = scene.node("one").await;
    while !scene.user.job(id).await.expect("it is there").job.status.is_settled() {
        let work = node.work().await;
        node.start(&work).await;
        node.succeed(&work).await;
    }
    let mut events = Vec::new();
    while let Some(event) = stream.next().await.expect("it is not cut") {
        events.push(event);
    }
    assert!(events.iter().all(|event| event.job == Some(id) && event.job != Some(other)));
    let kinds = |kind| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!(kinds(EventKind::TaskAssigned), 3);
    assert_eq!(kinds(EventKind::TaskEnded), 3);
    assert_eq!(kinds(EventKind::JobSettled), 1);
    // One that comes late hears the end at once, and that it is the end.
    let mut reader = Reader::open(&scene.manager, &format!("?job={id}"), None).await;
    let (_, progress) = reader.next(usize::MAX).await.expect("one");
    assert_eq!(progress.job_status, Some(JobStatus::Succeeded));
    assert_eq!(progress.tasks.expect("counts").succeeded, 3);
    assert!(reader.next(usize::MAX).await.is_none(), "nothing follows");
    // And all of it, if it asks for that.
    let mut reader = Reader::open(&scene.manager, &format!("?job={id}"), Some(START)).await;
    let mut all = Vec::new();
    while let Some((_, event)) = reader.next(usize::MAX).await {
        all.push(event);
    }
    assert_eq!(all.first().map(|event| event.kind), Some(EventKind::JobProgress));
    assert_eq!(all.get(1).map(|event| event.kind), Some(EventKind::JobSubmitted));
    assert_eq!(all.last().map(|event| event.kind), Some(EventKind::JobProgress));
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn filters_leave_out_the_rest_and_change_no_id() {
    let scene = Scene::new().await;
    let last = bustle(&scene.manager, 3).await;
    let whole = read_until(&scene.manager, last).await;
    let node = whole.iter().find_map(|(_, event)| event.node).expect("a node");
    let check = async |query: String, wanted: &dyn Fn(&Event) -> bool| {
        let expected: Vec<_> = whole.iter().filter(|(_, event)| wanted(event)).cloned().collect();
        let mut reader = Reader::open(&scene.manager, &query, Some(START)).await;
        let mut found = Vec::new();
        while found.len() < expected.len() {
            let (id, event) = reader.next(usize::MAX).await.expect("it goes on");
            found.extend(id.map(|id| (id, event)));
        }
        assert_eq!(found, expected, "{query}");
    };
    check(format!("?node={node}"), &|event| event.node == Some(node)).await;
    let kinds = BTreeSet::from([EventKind::JobSettled, EventKind::TasksCancelled]);
    let of_kinds = |event: &Event| kinds.contains(&event.kind);
    check("?kind=job-settled,tasks-cancelled".into(), &of_kinds).await;
    let of_both = |event: &Event| {
        event.job == Some(last) && event.node == Some(node) && event.kind == EventKind::TaskEnded
    };
    check(format!("?job={last}&node={node}&kind=task-ended"), &of_both).await;
    // Also by the query, for those who cannot set a header.
    let (id, _) = &whole[whole.len() - 2];
    let mut reader = Reader::open(&scene.manager, &format!("?last_event_id={id}"), None).await;
    let found = reader.next(usize::MAX).await.expect("the last one");
    assert_eq!(
        (found.0, found.1),
        (Some(whole[whole.len() - 1].0), whole[whole.len() - 1].1.clone())
    );
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_streamed_is_said() {
    let scene = Scene::with(|config| config.limits.streams = 2).await;
    let status = async |query: &str, after| get(&scene.manager, query, after).await.status();
    for bad in ["?kind=job", "?job=x", "?node=job_0000000000001", "?last_event_id=7", "?what=1"] {
        assert_eq!(status(bad, None).await, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(status("?job=job_0000000000001", None).await, StatusCode::NOT_FOUND);
    let future = EventId { seq: 1 << 40, ordinal: 0 };
    assert_eq!(status("", Some(future)).await, StatusCode::GONE);
    let (_one, two) = (get(&scene.manager, "", None).await, get(&scene.manager, "", None).await);
    let refused = get(&scene.manager, "", None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    // Requests have room of their own; and a stream that is left makes room for another.
    scene.user.submit(&job(1), None).await.expect("accepted");
    drop(two);
    let again = async {
        while get(&scene.manager, "", None).await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn what_was_trimmed_is_gone() {
    let scene = Scene::with(|config| {
        config.retention.round_ms = 20;
        config.retention.rest.log_ms = 0;
    })
    .await;
    for _ in 0..3 {
        scene.user.submit(&job(1), None).await.expect("accepted");
    }
    let after = Some(EventId { seq: 1, ordinal: 0 });
    let trimmed = async {
        while get(&scene.manager, "", after).await.status() != StatusCode::GONE {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("trimmed");
    let query = EventsQuery { after, ..EventsQuery::default() };
    assert_eq!(problem(scene.user.events(query).await), ProblemKind::Gone);
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_ends_streams_cleanly() {
    let scene = Scene::with(|config| config.timing.shutdown_ms = 60_000).await;
    let mut reader = Reader::open(&scene.manager, "", None).await;
    scene.user.submit(&job(1), None).await.expect("accepted");
    reader.next(usize::MAX).await.expect("an event");
    let ended = tokio::time::timeout(PATIENCE, scene.manager.shutdown());
    ended.await.expect("it does not wait for readers");
    assert!(reader.next(usize::MAX).await.is_none(), "the answer is whole");
}

#[tokio::test]
async fn a_follower_on_postgres_tells_the_same_events_by_the_same_ids() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let database = postgres(&folders[0]);
    let [first, second] = folders.each_ref().map(|folder| {
        let mut config = config(folder);
        config.database = Some(database.clone());
        config
    });
    let leader = manager::run(first).await.expect("it starts");
    user_of(&leader).await;
    let follower = manager::run(second).await.expect("it starts");
    user_of(&follower).await;
    let mut live = Reader::open(&follower, "", None).await;
    let last = bustle(&leader, 5).await;
    let whole = read_until(&leader, last).await;
    assert_eq!(read_until(&follower, last).await, whole);
    let mut heard = Vec::new();
    while heard.last().is_none_or(|(id, _)| *id < whole[whole.len() - 1].0) {
        let (id, event) = live.next(usize::MAX).await.expect("it goes on");
        heard.push((id.expect("an id"), event));
    }
    assert_eq!(heard, whole[whole.len() - heard.len()..]);
    // The follower comes to lead: its streams go on.
    leader.shutdown().await;
    let user = user_of(&follower).await;
    let later = user.submit(&json!({"group": [{"command": ["true"]}]}), None).await;
    let later = later.expect("accepted").id;
    let heard =
        async { while live.next(usize::MAX).await.expect("it goes on").1.job != Some(later) {} };
    tokio::time::timeout(PATIENCE, heard).await.expect("told");
    follower.shutdown().await;
}
