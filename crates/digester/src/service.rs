//! The one task that owns all state: takes events in, and after each batch of them writes the
//! spool, orders processes and speaks to the manager, in that order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::sync::{JoinAnswer, JoinRequest, MAX_TRANSITIONS, Proof, SyncAnswer, SyncRequest};
use model::{AttemptId, Clamp, NodeId, NodeNotice, Outcome, Stats, TaskResult, Transition};
use nix::fcntl::{Flock, FlockArg};
use node::Record;
use object_store::local::LocalFileSystem;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, DigesterError, Joiner};
use crate::files::{Files, Folders};
use crate::notice_file::NoticeFile;
use crate::process;
use crate::runtime::{self, Recipe, Runtime};
use crate::spawner::protocol::{self, Launch, Order};
use crate::spool_file::SpoolFile;
use crate::sync::{CallError, Due, News, Uplink};
use crate::table::Table;
use crate::tail::Tails;

/// Time-outs, kills, the notice file and the output cap are looked at so often.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two looks at the sizes of outputs.
const CAP_TICKS: u64 = 10;
/// Events taken in before the spool is written and the manager hears of them.
const BATCH: usize = 1_000;
/// Of the transitions of one poll; the manager takes bodies of 2 MiB.
const REPORT_BYTES: usize = 1 << 20;
/// Attempts at whose files uploads work at the same time.
const UPLOADS: usize = 16;

/// What comes back to the one task.
pub(crate) enum Event {
    /// The spawner of that generation says something.
    Spawner(u64, protocol::Event),
    /// Its connection closed.
    SpawnerGone(u64),
    /// All that outlives the node is in the object store.
    Kept(AttemptId, Box<TaskResult>),
    Joined(Result<JoinAnswer, CallError>),
    Answer(u64, Box<Result<SyncAnswer, CallError>>),
    /// A wait is over.
    Wake,
}

/// The machine has to go, or this process has.
pub(crate) struct Going {
    /// What is told to the manager; nothing if it knows, or if only the process ends.
    pub(crate) notice: Option<NodeNotice>,
    pub(crate) deadline: Instant,
    /// When whoever still runs is told to end.
    pub(crate) stop_at: Instant,
    pub(crate) grace: Duration,
    /// The deadline, for the tasks.
    pub(crate) text: String,
    pub(crate) stopped: bool,
}

pub(crate) struct Digester {
    pub(crate) config: Config,
    pub(crate) files: Files,
    pub(crate) store: Arc<LocalFileSystem>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) folders: Folders,
    pub(crate) table: Table,
    pub(crate) spool: SpoolFile,
    pub(crate) runtime: Runtime,
    pub(crate) uplink: Uplink,
    pub(crate) tails: Tails,
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) node: Option<NodeId>,
    pub(crate) boot: Arc<str>,
    /// What tasks inherit of this process's environment.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) draining: bool,
    pub(crate) going: Option<Going>,
    /// To be spooled.
    pub(crate) records: Vec<Record>,
    /// Started since the last flush; one that has ended by then is reported once, as ended.
    pub(crate) fresh: Vec<AttemptId>,
    /// Exits that the spawner may forget once the records are spooled.
    pub(crate) settled: Vec<AttemptId>,
    /// Folders that are free once the records are spooled, and whether they may serve again.
    pub(crate) released: Vec<(u32, bool)>,
    /// Attempts acknowledged lately: a command that comes late starts none of them again.
    pub(crate) recent: Recent,
    pub(crate) ticks: u64,
    pub(crate) load_milli: u32,
    pub(crate) fostering: bool,
    generation: u64,
}

/// Runs a digester until it is told to end, the manager refuses it, or no manager has answered
/// for too long.
///
/// # Errors
/// Why it ended without being told to.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), DigesterError> {
    let files = Files::open(&config.data_dir).map_err(DigesterError::machine("the data folder"))?;
    let _lock = lock(&files)?;
    // When the spawner is killed, its tasks become our children, and we learn their exit codes.
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| DigesterError::machine("becoming a subreaper")(error.into()))?;
    let (events, mut queue) = unbounded_channel();
    let mut digester = Box::new(Digester::boot(config, files, events).await?);
    let ended = digester.work(&mut queue, &shutdown).await;
    if ended.is_ok() || matches!(ended, Err(DigesterError::Orphaned(_))) {
        digester.runtime.quit().await;
    }
    ended
}

fn lock(files: &Files) -> Result<Flock<File>, DigesterError> {
    let path = files.lock();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(DigesterError::machine("the lock file"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| DigesterError::InUse(path.parent().map(PathBuf::from).unwrap_or_default()))
}

fn inherited() -> Vec<(String, String)> {
    const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let get = |key: &str| std::env::var(key).ok().map(|value| (key.to_owned(), value));
    let mut environment = vec![get("PATH").unwrap_or_else(|| ("PATH".into(), PATH.into()))];
    environment.extend(["HOME", "LANG", "TMPDIR", "EBB_MACHINE"].into_iter().filter_map(get));
    environment
}

impl Digester {
    async fn boot(
        config: Config,
        files: Files,
        events: UnboundedSender<Event>,
    ) -> Result<Self, DigesterError> {
        let spool = SpoolFile::open(&files.spool()).map_err(DigesterError::machine("the spool"))?;
        std::fs::create_dir_all(&config.objects)
            .map_err(DigesterError::machine("the object store's folder"))?;
        let store = LocalFileSystem::new_with_prefix(&config.objects)
            .map_err(|error| std::io::Error::other(error.to_string()))
            .map_err(DigesterError::machine("the object store's folder"))?;
        let join = JoinRequest {
            proof: match &config.joiner {
                Joiner::Identity { document } => Proof::Identity { document: document.clone() },
                Joiner::Token { token, name } => {
                    Proof::Token { token: token.clone(), name: name.clone() }
                }
            },
            session: spool.state().session(),
            capacity: config.capacity,
            format: model::FORMAT,
        };
        let uplink = Uplink::new(&config.manager, join, events.clone(), Instant::now())
            .map_err(|error| std::io::Error::other(error.to_string()))
            .map_err(DigesterError::machine("the HTTP client"))?;
        let (runtime, hello) = Runtime::connect(&recipe(&config, &files), 0, &events)
            .await
            .map_err(DigesterError::machine("the spawner"))?;
        let in_use = spool.state().attempts().values().filter_map(|entry| entry.folder).collect();
        let folders = Folders::open(files.attempts(), &in_use)
            .map_err(DigesterError::machine("the attempts' folder"))?;
        let mut digester = Self {
            store: Arc::new(store),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            folders,
            table: Table::new(config.regulator),
            spool,
            runtime,
            uplink,
            tails: Tails::default(),
            events,
            node: None,
            boot: process::boot_id(),
            environment: inherited(),
            draining: false,
            going: None,
            records: Vec::new(),
            fresh: Vec::new(),
            settled: Vec::new(),
            released: Vec::new(),
            recent: Recent::default(),
            ticks: 0,
            load_milli: 0,
            fostering: false,
            generation: 0,
            config,
            files,
        };
        digester.take_over_from_spool();
        digester.reconcile(&hello);
        Ok(digester)
    }

    async fn work(
        &mut self,
        queue: &mut UnboundedReceiver<Event>,
        shutdown: &CancellationToken,
    ) -> Result<(), DigesterError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut notices = self.config.notice_file.as_deref().map(NoticeFile::new);
        let mut told_to_end = false;
        loop {
            self.flush()?;
            if told_to_end && self.may_end() {
                return Ok(());
            }
            tokio::select! {
                event = queue.recv() => {
                    let mut next = event;
                    for _ in 0..BATCH {
                        let Some(event) = next else { break };
                        self.on_event(event).await?;
                        next = queue.try_recv().ok();
                    }
                }
                _ = tick.tick() => {
                    if let Some(notice) = notices.as_mut().and_then(NoticeFile::look) {
                        self.on_notice(notice, true);
                    }
                    let second = self.ticks.is_multiple_of(CAP_TICKS);
                    self.on_tick(second);
                    if second {
                        self.load_milli = runtime::load_milli();
                    }
                    self.orphan().await?;
                }
                () = shutdown.cancelled(), if !told_to_end => {
                    told_to_end = true;
                    tracing::info!("told to end");
                    self.go_within(self.config.shutdown_within, None);
                }
            }
        }
    }

    async fn on_event(&mut self, event: Event) -> Result<(), DigesterError> {
        match event {
            Event::Spawner(generation, said) => {
                if generation == self.generation {
                    self.on_said(said);
                }
            }
            Event::SpawnerGone(generation) if generation == self.generation => {
                self.another_spawner().await?;
            }
            Event::SpawnerGone(_) | Event::Wake => {}
            Event::Kept(attempt, result) => self.end(attempt, result),
            Event::Joined(result) => match self.uplink.on_joined(result, Instant::now()) {
                Ok(node) => self.node = node.or(self.node),
                Err(why) => return Err(DigesterError::Refused(why)),
            },
            Event::Answer(poll, result) => {
                if let Some(answer) = self.uplink.on_answer(poll, *result, Instant::now()) {
                    self.on_answer(answer)?;
                }
            }
        }
        Ok(())
    }

    async fn another_spawner(&mut self) -> Result<(), DigesterError> {
        tracing::error!("the spawner is gone; another one is started");
        self.generation += 1;
        let connect = async {
            let recipe = recipe(&self.config, &self.files);
            Runtime::connect(&recipe, self.generation, &self.events).await
        };
        // First its end: until then its children are not ours.
        let gone = std::mem::replace(&mut self.runtime, Runtime::nowhere());
        gone.wait_until_gone().await;
        let (runtime, hello) = connect.await.map_err(DigesterError::machine("the spawner"))?;
        self.runtime = runtime;
        self.reconcile(&hello);
        Ok(())
    }

    /// What happened since the last flush goes out: to the disk, to the processes, to the manager.
    fn flush(&mut self) -> Result<(), DigesterError> {
        let launches = self.start_what_fits();
        self.spool_pending()?;
        if !launches.is_empty() {
            self.runtime.order(&Order::Spawn(launches));
        }
        if !self.settled.is_empty() {
            self.runtime.order(&Order::Forget(std::mem::take(&mut self.settled)));
        }
        for (folder, alone) in std::mem::take(&mut self.released) {
            self.folders.give_back(folder, alone);
        }
        self.speak();
        Ok(())
    }

    pub(crate) fn spool_pending(&mut self) -> Result<(), DigesterError> {
        for attempt in std::mem::take(&mut self.fresh) {
            if let Some(active) = self.table.active_mut(attempt)
                && !active.started
            {
                active.started = true;
                self.records.push(Record::Started { attempt });
            }
        }
        let records = std::mem::take(&mut self.records);
        self.spool.append(&records).map_err(DigesterError::machine("the spool"))
    }

    fn start_what_fits(&mut self) -> Vec<Launch> {
        let mut launches = Vec::new();
        if self.going.is_some() || self.draining {
            return launches;
        }
        while let Some(attempt) = self.table.next_to_start() {
            launches.extend(self.launch(attempt));
        }
        launches
    }

    fn speak(&mut self) {
        // Twice: a poll with transitions may leave room for none to be waiting, and the reverse.
        for _ in 0..2 {
            let news = News {
                transitions: !self.spool.state().unacked().is_empty(),
                notice: self.going.as_ref().is_some_and(|going| going.notice.is_some()),
            };
            match self.uplink.due(Instant::now(), news) {
                Due::Nothing => return,
                Due::Join => self.uplink.join(),
                Due::Poll { inventory } => {
                    let request = self.report(inventory);
                    self.uplink.poll(request);
                }
            }
        }
    }

    fn report(&self, inventory: bool) -> SyncRequest {
        let (mut transitions, mut bytes) = (Vec::new(), 0);
        for transition in self.spool.state().unacked() {
            bytes += approximate_bytes(transition);
            if transitions.len() >= MAX_TRANSITIONS
                || (bytes > REPORT_BYTES && !transitions.is_empty())
            {
                break;
            }
            transitions.push(transition.clone());
        }
        let inventory = inventory.then(|| {
            let told = transitions.iter().filter_map(|transition| match transition {
                Transition::Ended { attempt, .. } => Some(*attempt),
                Transition::Started { .. } => None,
            });
            self.table.inventory(&told.collect::<BTreeSet<_>>())
        });
        let notice = self.going.as_ref().filter(|_| self.uplink.wants_notice()).and_then(|going| {
            let left = going.deadline.saturating_duration_since(Instant::now());
            let remaining_ms = left.as_millis().clamped();
            going.notice.map(|notice| NodeNotice { remaining_ms, ..notice })
        });
        SyncRequest {
            session: 0,
            poll: 0,
            answered: 0,
            term_seen: 0,
            spool_offset: self.spool.state().acked(),
            transitions,
            inventory,
            notice,
            stats: Stats {
                running: self.table.running().clamped(),
                held: self.table.queued().clamped(),
                load_milli: self.load_milli,
            },
        }
    }

    /// Told to end: all is over, and the manager knows it or has had its time.
    fn may_end(&self) -> bool {
        let late = self.going.as_ref().is_some_and(|going| going.deadline <= Instant::now());
        late || (self.table.all_ended() && self.spool.state().unacked().is_empty())
    }

    /// Without a manager for too long: nobody will ask for the results, and the machine may cost
    /// money.
    async fn orphan(&mut self) -> Result<(), DigesterError> {
        let alone = self.uplink.alone_for(Instant::now());
        if alone < self.config.orphan_after {
            return Ok(());
        }
        let running: Vec<AttemptId> = self.table.active().map(|(attempt, ..)| attempt).collect();
        tracing::error!(tasks = running.len(), ?alone, "no manager for too long");
        let grace = self.config.grace;
        self.stop(running, Outcome::Evicted, grace);
        self.spool_pending()?;
        if self.table.running() > 0 {
            tokio::time::sleep(grace).await;
        }
        Err(DigesterError::Orphaned(self.config.orphan_after))
    }
}

fn recipe(config: &Config, files: &Files) -> Recipe {
    Recipe {
        command: config.spawner.clone(),
        files: files.clone(),
        orphan_after: config.orphan_after,
    }
}

fn approximate_bytes(transition: &Transition) -> usize {
    let Transition::Ended { result, .. } = transition else { return 80 };
    let text = |text: &Option<Arc<str>>| text.as_deref().map_or(0, |text| text.len() * 2);
    let outputs: usize = result.outputs.iter().map(|output| output.path.len() + 40).sum();
    250 + text(&result.stdout.text) + text(&result.stderr.text) + text(&result.message) + outputs
}

/// The attempts that were acknowledged last.
#[derive(Default)]
pub(crate) struct Recent {
    order: VecDeque<AttemptId>,
    all: BTreeMap<AttemptId, ()>,
}

impl Recent {
    /// More than are assigned to a node while an answer is on its way.
    const MOST: usize = 4_096;

    pub(crate) fn add(&mut self, attempt: AttemptId) {
        if self.order.len() >= Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        self.order.push_back(attempt);
        self.all.insert(attempt, ());
    }

    pub(crate) fn has(&self, attempt: AttemptId) -> bool {
        self.all.contains_key(&attempt)
    }
}
