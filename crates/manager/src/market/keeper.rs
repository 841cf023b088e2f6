//! The one owner of the market: answers calls, lets time pass, saves, and then acts.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use ::market::{Given, Mismatch, Stop};
use cloud::{CloudError, Identity, Launched, Received};
use model::{InstanceId, Intent, Machine, Offer, Timestamp};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use super::machine::{Launcher, show_notice};
use super::processes::{self, Process};
use super::record::{Folder, Record, at, replace_durably};
use super::{MarketConfig, MarketError};

/// How often it looks which machines are busy, while a drill is open; a look takes milliseconds.
const LOOK: Duration = Duration::from_millis(100);
/// How often it looks whether an adopted worker lives, for it is no child of ours.
const ADOPTED_LOOK: Duration = Duration::from_millis(100);
/// What was to be saved and could not be is tried again after this.
const SAVE_AGAIN: Duration = Duration::from_millis(500);
/// Without anything due it looks at the time nevertheless: the host may have slept.
const IDLE: Duration = Duration::from_secs(10);
/// A worker that is retired gets so long to end in order.
const RETIRE_GRACE: Duration = Duration::from_secs(2);

type Reply<T> = oneshot::Sender<T>;
type Answered<T> = Reply<Result<T, CloudError>>;

/// A call.
#[derive(Debug)]
pub(super) enum Ask {
    Offers(Reply<Vec<Offer>>),
    Launch(Box<Intent>, Answered<Launched>),
    Retire(Vec<InstanceId>, Answered<Vec<InstanceId>>),
    List(Reply<Vec<Machine>>),
    Receive(Reply<Vec<Received>>),
    Acknowledge(Vec<String>, Answered<()>),
    Identify(String, Answered<Identity>),
    PointTo(String, Reply<()>),
    Shutdown { kill: bool, reply: Answered<()> },
}

/// The market with what it takes to run it.
pub(super) struct Keeper {
    record: Record,
    folder: Folder,
    launcher: Launcher,
    manager_url: Option<String>,
    /// Why the last start of a worker failed: the next launch is told, loudly.
    broken_start: Option<String>,
    /// Something changed since the last save.
    unsaved: bool,
    /// Machines whose notice is on the machine.
    notified: BTreeSet<InstanceId>,
    /// Machines whose processes are being ended.
    ending: BTreeSet<InstanceId>,
    exits: mpsc::UnboundedSender<InstanceId>,
    exited: mpsc::UnboundedReceiver<InstanceId>,
    news: watch::Sender<u64>,
    /// Ends of machines that are being seen to.
    ends: JoinSet<()>,
}

impl Keeper {
    /// Opens the market and takes its machines up again.
    pub(super) async fn open(
        config: MarketConfig,
    ) -> Result<(Self, watch::Receiver<u64>), MarketError> {
        let program = std::path::absolute(&config.program).map_err(at(&config.program))?;
        let launcher = Launcher { program, arguments: config.arguments.clone() };
        let manager_url = config.manager_url.clone();
        let opened = spawn_blocking(move || -> Result<_, MarketError> {
            let folder = Folder::take(&config.data_dir)?;
            let record = folder.load(&config)?;
            Ok((folder, record))
        });
        let (folder, record) = opened.await.map_err(|fault| broken(&fault))??;
        let (exits, exited) = mpsc::unbounded_channel();
        let (news, receiver) = watch::channel(0);
        let mut keeper = Self {
            record,
            folder,
            launcher,
            manager_url,
            broken_start: None,
            unsaved: true,
            notified: BTreeSet::new(),
            ending: BTreeSet::new(),
            exits,
            exited,
            news,
            ends: JoinSet::new(),
        };
        keeper.take_up().await?;
        Ok((keeper, receiver))
    }

    /// Adopts machines that run, tells of those that ended unseen, and removes what those left.
    async fn take_up(&mut self) -> Result<(), MarketError> {
        let running: Vec<InstanceId> = self.running();
        for id in &running {
            if !self.record.processes.contains_key(id) {
                self.find(id).await;
            }
            match self.record.processes.get(id) {
                Some(process) if process.is_alive() => self.watch_adopted(id, process.clone()),
                Some(_) => self.gone(id),
                // Sold, and not started before the manager ended: it is started now.
                None => {}
            }
        }
        let machines = self.record.market.instances();
        let ended = machines.filter(|it| !it.is_running()).map(|it| it.id.clone()).collect();
        self.sweep(ended);
        self.save().await.map_err(at(&self.folder.state()))?;
        self.act().await;
        Ok(())
    }

    /// A worker may have been started just before its process could be recorded.
    async fn find(&mut self, id: &InstanceId) {
        let name = id.clone();
        if let Ok(Ok(Some(pid))) = spawn_blocking(move || processes::oldest(&name)).await
            && let Ok(process) = Process::of(pid)
        {
            self.record.processes.insert(id.clone(), process);
        }
    }

    /// Runs until a shutdown, or until nobody can call any more.
    pub(super) async fn run(mut self, mut calls: mpsc::Receiver<Ask>) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                call = calls.recv() => match call {
                    Some(Ask::Shutdown { kill, reply }) => {
                        let closed = self.close(kill).await;
                        // The folder is let go of first: whoever hears may open it again.
                        drop(self);
                        let _ = reply.send(closed);
                        return;
                    }
                    Some(call) => self.answer(call).await,
                    None => return,
                },
                Some(id) = self.exited.recv() => {
                    self.gone(&id);
                    while let Ok(id) = self.exited.try_recv() {
                        self.gone(&id);
                    }
                }
                () = sleep_until(next) => {}
            }
            while self.ends.try_join_next().is_some() {}
            self.pass_time().await;
            next = self.next_look();
        }
    }

    async fn answer(&mut self, call: Ask) {
        let now = self.record.now();
        // Whoever asked may have given up: an answer that nobody takes is dropped.
        match call {
            Ask::Offers(reply) => drop(reply.send(self.record.market.offers(now))),
            Ask::List(reply) => drop(reply.send(self.record.market.list(now))),
            Ask::Receive(reply) => drop(reply.send(self.receive(now))),
            Ask::Identify(document, reply) => drop(reply.send(self.identify(&document))),
            Ask::Launch(intent, reply) => drop(reply.send(self.launch(&intent, now).await)),
            Ask::Retire(ids, reply) => drop(reply.send(self.retire(ids, now).await)),
            Ask::Acknowledge(receipts, reply) => {
                drop(reply.send(self.acknowledge(&receipts).await));
            }
            Ask::PointTo(url, reply) => {
                self.manager_url = Some(url);
                self.act().await;
                let _ = reply.send(());
            }
            Ask::Shutdown { reply, .. } => drop(reply),
        }
    }

    async fn launch(&mut self, intent: &Intent, now: Timestamp) -> Result<Launched, CloudError> {
        let wrong = |fault: Mismatch| CloudError::Wrong(fault.to_string());
        self.record.market.launch(intent, now).map_err(wrong)?;
        self.commit().await?;
        if let Some(fault) = self.broken_start.take() {
            return Err(CloudError::Wrong(fault));
        }
        // Asked again, for what has been saved and started by now.
        let Given { machines, refusal } = self.record.market.launch(intent, now).map_err(wrong)?;
        for machine in &machines {
            tracing::debug!(instance = %machine.instance, intent = %intent.id, pool = %machine.pool, "sold");
        }
        Ok(Launched { machines, refusal })
    }

    async fn retire(
        &mut self,
        ids: Vec<InstanceId>,
        now: Timestamp,
    ) -> Result<Vec<InstanceId>, CloudError> {
        if !self.record.market.retire(&ids, now).is_empty() {
            self.commit().await?;
        }
        // Unknown ones are gone, and those that the cloud is taking are about to be.
        Ok(ids)
    }

    fn receive(&mut self, now: Timestamp) -> Vec<Received> {
        let received = self.record.market.receive(now).into_iter();
        received.map(|it| Received { receipt: it.receipt, notice: it.notice }).collect()
    }

    async fn acknowledge(&mut self, receipts: &[String]) -> Result<(), CloudError> {
        for receipt in receipts {
            self.unsaved |= self.record.market.acknowledge(receipt);
        }
        if self.unsaved { self.commit().await } else { Ok(()) }
    }

    fn identify(&self, document: &str) -> Result<Identity, CloudError> {
        let known = self.record.market.identify(document);
        known
            .map(|(instance, intent)| Identity { instance, intent })
            .map_err(|fault| CloudError::Wrong(fault.to_string()))
    }

    /// Carries out what is due, saves what has changed, and acts on it.
    async fn pass_time(&mut self) {
        let now = self.record.now();
        if self.record.market.watches() && self.record.market.instances().any(|it| it.is_running())
        {
            self.look(now).await;
        }
        // What is to be done follows from the state, as after a restart.
        self.unsaved |= !self.record.market.due(now).is_empty();
        if self.unsaved
            && let Err(fault) = self.commit().await
        {
            tracing::error!(%fault, "what happened on the market could not be saved yet");
        }
        if self.record.market.deliverable() {
            self.news.send_modify(|count| *count += 1);
        }
    }

    /// Which machines are busy, as their hypervisor sees it.
    async fn look(&mut self, now: Timestamp) {
        match spawn_blocking(processes::busy).await {
            Ok(Ok(busy)) => self.record.market.busy(&busy, now),
            Ok(Err(fault)) => tracing::warn!(%fault, "cannot see which machines are busy"),
            Err(fault) => tracing::warn!(%fault, "cannot see which machines are busy"),
        }
    }

    fn next_look(&mut self) -> Instant {
        let now = self.record.now();
        let due = self.record.market.next_due();
        let mut wait = due.map_or(IDLE, |due| Duration::from_millis(due.since(now)).min(IDLE));
        if self.record.market.watches() {
            wait = wait.min(LOOK);
        }
        if self.unsaved {
            wait = wait.min(SAVE_AGAIN);
        }
        Instant::now() + wait
    }

    /// Saves, and acts only if that went well.
    async fn commit(&mut self) -> Result<(), CloudError> {
        self.unsaved = true;
        let saved = self.save().await;
        saved.map_err(|fault| CloudError::Retry(format!("the market cannot be saved: {fault}")))?;
        self.act().await;
        if self.unsaved
            && let Err(fault) = self.save().await
        {
            // A later start finds the processes by their environment.
            tracing::warn!(%fault, "the market's processes could not be saved yet");
        }
        Ok(())
    }

    async fn save(&mut self) -> io::Result<()> {
        let text = self.record.text()?;
        let path = self.folder.state();
        spawn_blocking(move || replace_durably(&path, &text)).await??;
        self.unsaved = false;
        Ok(())
    }

    /// Does what the market says and has not been done: starts, notices, ends.
    async fn act(&mut self) {
        for id in self.running() {
            let Some(instance) = self.record.market.instance(&id) else { continue };
            let (stop, deadline) = (instance.stop, instance.deadline);
            if let Some(stop) = stop {
                self.end(&id, stop);
                continue;
            }
            if !self.record.processes.contains_key(&id) {
                self.start(&id).await;
            }
            if let Some(deadline) = deadline
                && !self.notified.contains(&id)
            {
                self.notify(&id, deadline);
            }
        }
    }

    async fn start(&mut self, id: &InstanceId) {
        let Some(url) = self.manager_url.clone() else { return };
        let Some(document) = self.record.market.document(id) else { return };
        let (launcher, folder) = (self.launcher.clone(), self.folder.machine(id));
        let started = spawn_blocking(move || launcher.start(&folder, &document, &url)).await;
        self.unsaved = true;
        match started.map_err(io::Error::other).flatten() {
            Ok((child, process)) => {
                self.record.processes.insert(id.clone(), process);
                self.watch_child(id, child);
            }
            Err(fault) => {
                let program = self.launcher.program.display();
                self.broken_start = Some(format!("{program} cannot be started: {fault}"));
                tracing::error!(instance = %id, %fault, %program, "a worker cannot be started");
                self.gone(id);
            }
        }
    }

    fn notify(&mut self, id: &InstanceId, deadline: Timestamp) {
        let now = self.record.now();
        match show_notice(&self.folder.machine(id), deadline, now) {
            Ok(()) => {
                self.notified.insert(id.clone());
            }
            // The cloud-side copy of the notice still tells.
            Err(fault) => tracing::warn!(instance = %id, %fault, "a notice cannot be shown"),
        }
    }

    fn watch_child(&self, id: &InstanceId, mut child: Child) {
        let (id, exits) = (id.clone(), self.exits.clone());
        tokio::spawn(async move {
            let status = child.wait().await;
            tracing::debug!(instance = %id, ?status, "worker ended");
            // Without a keeper the next one finds out by itself.
            let _ = exits.send(id);
        });
    }

    fn watch_adopted(&self, id: &InstanceId, process: Process) {
        let (id, exits) = (id.clone(), self.exits.clone());
        tokio::spawn(async move {
            while process.is_alive() && !exits.is_closed() {
                sleep(ADOPTED_LOOK).await;
            }
            let _ = exits.send(id);
        });
    }

    /// Ends a machine's processes, once; that it has ended is then seen like any other end.
    fn end(&mut self, id: &InstanceId, stop: Stop) {
        if !self.ending.insert(id.clone()) {
            return;
        }
        let process = self.record.processes.get(id).cloned();
        let (id, exits) = (id.clone(), self.exits.clone());
        self.ends.spawn(async move {
            if let (Stop::Retire, Some(process)) = (stop, process) {
                process.terminate();
                let late = Instant::now() + RETIRE_GRACE;
                while process.is_alive() && Instant::now() < late {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            end_all(BTreeSet::from([id.clone()])).await;
            let _ = exits.send(id);
        });
    }

    /// A machine has ended: nothing of it may go on.
    fn gone(&mut self, id: &InstanceId) {
        let now = self.record.now();
        if self.record.market.gone(id, now) {
            self.unsaved = true;
            self.record.processes.remove(id);
            self.notified.remove(id);
            if !self.ending.remove(id) {
                self.sweep(BTreeSet::from([id.clone()]));
            }
        }
    }

    fn sweep(&mut self, machines: BTreeSet<InstanceId>) {
        if !machines.is_empty() {
            self.ends.spawn(end_all(machines));
        }
    }

    fn running(&self) -> Vec<InstanceId> {
        let running = self.record.market.instances().filter(|it| it.is_running());
        running.map(|it| it.id.clone()).collect()
    }

    async fn close(&mut self, kill: bool) -> Result<(), CloudError> {
        if kill {
            let running = self.running();
            end_all(running.iter().cloned().collect()).await;
            for id in &running {
                self.gone(id);
            }
            while self.ends.join_next().await.is_some() {}
        }
        let saved = self.save().await;
        saved.map_err(|fault| CloudError::Retry(format!("the market cannot be saved: {fault}")))
    }
}

/// Ends all processes of machines.
async fn end_all(machines: BTreeSet<InstanceId>) {
    let names = machines.clone();
    match spawn_blocking(move || processes::end(&names)).await {
        Ok(Ok(processes)) if processes > 0 => tracing::debug!(?machines, processes, "power cut"),
        Ok(Ok(_)) => {}
        Ok(Err(fault)) => tracing::error!(?machines, %fault, "processes could not be ended"),
        Err(fault) => tracing::error!(?machines, %fault, "processes could not be ended"),
    }
}

fn broken(fault: &tokio::task::JoinError) -> MarketError {
    MarketError::Io { path: "market".into(), source: io::Error::other(fault.to_string()) }
}
