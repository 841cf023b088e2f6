//! Clients: they submit with keys and submit again until they are answered; two listen to events.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::client::{Client, EventsQuery};
use api::history::{Accepted, Record, Sent, StreamBegun, Told};
use model::JobId;
use serde_json::{Value, json};
use system_tests::{Dice, until};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Log;
use super::cluster::Cluster;

const SUBMITTERS: u64 = 4;
/// Of one try; the same is then tried again.
const PATIENCE: Duration = Duration::from_secs(3);
/// A submit that was answered is sent again so many times in a thousand: it must change nothing.
const AGAIN: u64 = 100;
/// How long a client with a new job tries after the last fault.
const LAST_TRY: Duration = Duration::from_secs(60);

pub(crate) struct Clients {
    submitters: JoinSet<Vec<(JobId, u64)>>,
    listeners: JoinSet<()>,
    submitting: Arc<AtomicBool>,
    listening: Arc<AtomicBool>,
}

impl Clients {
    pub(crate) async fn start(cluster: &Cluster, log: &Log, dice: &Dice) -> Self {
        let mut clients = Self {
            submitters: JoinSet::new(),
            listeners: JoinSet::new(),
            submitting: Arc::new(AtomicBool::new(true)),
            listening: Arc::new(AtomicBool::new(true)),
        };
        let urls = cluster.urls();
        for (stream, url) in (0..).zip(&urls) {
            let client = Client::new(url, cluster.token()).expect("a client");
            let client = client.with_patience(PATIENCE);
            // Connected before anything is submitted, so that it tells of all.
            let events = until("a stream is opened", async || {
                client.events(EventsQuery::default()).await.ok()
            })
            .await;
            log.note(Record::Stream(StreamBegun { stream }));
            let (log, listening) = (log.clone(), Arc::clone(&clients.listening));
            clients.listeners.spawn(listen(stream, client, events, log, listening));
        }
        for number in 0..SUBMITTERS {
            let at = usize::try_from(number).unwrap_or(0) % urls.len();
            let client = Client::new(&urls[at], cluster.token()).expect("a client");
            let submitter = Submitter {
                number,
                client: client.with_patience(PATIENCE),
                dice: dice.fork(100 + number),
                script: script(&cluster.runs()),
                log: log.clone(),
                on: Arc::clone(&clients.submitting),
            };
            clients.submitters.spawn(submitter.run());
        }
        clients
    }

    /// No more jobs. Waits for the last submits, which must be answered now that nothing fails, and
    /// answers what was accepted, with how many tasks.
    pub(crate) async fn stop_submitting(&mut self) -> BTreeMap<JobId, u64> {
        self.submitting.store(false, Ordering::Relaxed);
        let mut jobs = BTreeMap::new();
        while let Some(submitted) = self.submitters.join_next().await {
            jobs.extend(submitted.expect("a client ends in order"));
        }
        jobs
    }

    pub(crate) async fn stop_listening(mut self) {
        self.listening.store(false, Ordering::Relaxed);
        // What they have not heard in this time, they do not hear: the checker compares them.
        sleep(Duration::from_secs(2)).await;
        self.listeners.shutdown().await;
    }
}

struct Submitter {
    number: u64,
    client: Client,
    dice: Dice,
    script: String,
    log: Log,
    on: Arc<AtomicBool>,
}

impl Submitter {
    async fn run(mut self) -> Vec<(JobId, u64)> {
        let mut jobs = Vec::new();
        for turn in 0.. {
            if !self.on.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("client-{}-{turn}", self.number);
            let (tasks, document) = self.job(&key);
            self.log.note(Record::Sent(Sent {
                at_ms: self.log.at_ms(),
                key: Some(key.clone()),
                tasks,
            }));
            let Some(accepted) = self.submit(&key, &document).await else { break };
            jobs.push(accepted);
            if self.dice.per_mille(AGAIN) {
                self.submit(&key, &document).await;
            }
            sleep(Duration::from_millis(self.dice.between(400, 1_600))).await;
        }
        jobs
    }

    /// Sends it until it is answered.
    async fn submit(&mut self, key: &str, document: &Value) -> Option<(JobId, u64)> {
        let mut since_off = None;
        loop {
            match self.client.submit(document, Some(key)).await {
                Ok(submitted) => {
                    self.log.note(Record::Accepted(Accepted {
                        at_ms: self.log.at_ms(),
                        key: Some(key.to_owned()),
                        job: submitted.id,
                        tasks: submitted.tasks,
                    }));
                    return Some((submitted.id, submitted.tasks));
                }
                Err(error) => {
                    let refused = error.problem().map(|problem| problem.status);
                    let again = refused.is_none_or(|status| status >= 500 || status == 429);
                    assert!(again, "{key} is refused: {error}");
                }
            }
            if !self.on.load(Ordering::Relaxed) {
                let since = *since_off.get_or_insert_with(tokio::time::Instant::now);
                assert!(since.elapsed() < LAST_TRY, "nobody takes {key} though nothing fails");
            }
            sleep(Duration::from_millis(self.dice.between(50, 400))).await;
        }
    }

    fn job(&mut self, key: &str) -> (u64, Value) {
        let tasks = self.dice.between(1, 9);
        let cents = match self.dice.between(0, 10) {
            0..5 => self.dice.between(0, 50),
            5..9 => self.dice.between(50, 300),
            _ => self.dice.between(300, 1_200),
        };
        let seconds = format!("{}.{:02}", cents / 100, cents % 100);
        let document = json!({
            "name": key,
            "group": [{
                "count": tasks,
                "command": ["sh", "-c", self.script],
                "env": { "PAUSE": seconds },
                "resources": { "cpu": "250m", "memory": "16MiB" },
                "expect": "2s",
            }],
        });
        (tasks, document)
    }
}

/// Notes its run in a file of the task's own, by the host's clock since its boot.
fn script(runs: &Path) -> String {
    format!(
        "note() {{ read -r up rest </proc/uptime; echo \"$1 $EBB_ATTEMPT $up\" >>\"{}/$EBB_TASK_ID\"; }}\n\
         note start; sleep \"$PAUSE\"; note end",
        runs.display()
    )
}

async fn listen(
    stream: u32,
    client: Client,
    mut events: api::client::EventStream,
    log: Log,
    on: Arc<AtomicBool>,
) {
    while on.load(Ordering::Relaxed) {
        match events.next().await {
            Ok(Some(event)) => log.note(Record::Event(Box::new(Told { stream, event }))),
            Ok(None) => panic!("a stream of everything has no end"),
            // Where it broke it goes on: the same stream, to the checker.
            Err(_) => {
                let after = events.last_id();
                let query = || EventsQuery { after, ..EventsQuery::default() };
                loop {
                    if let Ok(opened) = client.events(query()).await {
                        events = opened;
                        break;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}
