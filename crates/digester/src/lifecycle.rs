//! What happens to processes: starts, exits, time-outs, the end of the spawner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::{AttemptId, Clamp, Outcome, TaskResult, Transition};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use node::{Exit, Found, Live, Process, Record, Step};

use crate::finish::Finish;
use crate::process;
use crate::runtime::{Hello, Ward, look, reap};
use crate::service::{Digester, Event};
use crate::spawner::protocol::{Event as Said, Launch, Order};
use crate::table::{Active, Ending, Stage};

/// A process that ran for so long is identified in the spool; most are over before.
const IDENTIFY_AFTER: Duration = Duration::from_millis(200);
/// Between two KILLs of one that does not end.
const KILL_AGAIN: Duration = Duration::from_secs(1);

impl Digester {
    /// Turns a waiting attempt into an order for the spawner.
    pub(crate) fn launch(&mut self, attempt: AttemptId) -> Option<Launch> {
        let now = Instant::now();
        let folder = self.folders.take();
        self.table.activate(attempt, Active::new(now));
        self.table.set_folder(attempt, Some(folder));
        self.records.push(Record::Starting { attempt, folder });
        let entry = self.table.get(attempt)?;
        let spec = &entry.work.spec;
        let dir = self.folders.path(folder).to_string_lossy().into_owned();
        let mut env = self.environment.clone();
        env.extend(spec.env.iter().map(|(key, value)| (key.clone(), value.clone())));
        let task = attempt.task;
        let mut set = |key: &str, value: String| env.push((key.to_owned(), value));
        set("EBB_JOB_ID", task.job.to_string());
        set("EBB_TASK_ID", task.to_string());
        set("EBB_TASK_INDEX", task.index.to_string());
        set("EBB_ATTEMPT", attempt.to_string());
        set("EBB_OUTPUT_DIR", format!("{dir}/out"));
        set("EBB_DEADLINE_FILE", format!("{dir}/deadline"));
        if let Some(item) = &entry.item {
            set("EBB_ITEM", item.to_string());
        }
        Some(Launch {
            attempt,
            command: spec.command.clone(),
            env,
            dir,
            workdir: spec.workdir.clone(),
            out: !spec.outputs.is_empty(),
        })
    }

    pub(crate) fn on_said(&mut self, said: Said) {
        match said {
            Said::Hello { .. } => {}
            Said::Spawned(spawned) => {
                for (attempt, pid) in spawned {
                    self.on_spawned(attempt, pid);
                }
            }
            Said::Refused(refused) => {
                for (attempt, why) in refused {
                    self.on_refused(attempt, &why);
                }
            }
            Said::Exited(exited) => {
                for (attempt, exit) in exited {
                    self.on_exit(attempt, exit);
                }
            }
        }
    }

    fn on_spawned(&mut self, attempt: AttemptId, pid: u32) {
        // It may have ended already: then it is said to have started by its end.
        let Some(active) = self.table.active_mut(attempt) else { return };
        active.pid = Some(pid);
        active.since = Instant::now();
        self.fresh.push(attempt);
        tracing::debug!(job = %attempt.task.job, task = %attempt.task, %attempt, pid, "started");
        if let Some(going) = &self.going {
            let text = going.text.clone();
            self.tell_deadline(attempt, &text);
        }
    }

    fn on_refused(&mut self, attempt: AttemptId, why: &str) {
        if self.table.active_mut(attempt).is_none() {
            return;
        }
        tracing::warn!(job = %attempt.task.job, task = %attempt.task, %attempt, why, "not started");
        let transition = Transition::ended_without_trace(attempt, Outcome::NotStarted);
        if let Transition::Ended { attempt, mut result } = transition {
            result.message = Some(why.into());
            self.end(attempt, result);
        }
    }

    /// A process is over.
    pub(crate) fn on_exit(&mut self, attempt: AttemptId, exit: Exit) {
        if let Some(Stage::Waiting { .. }) = self.table.get(attempt).map(|entry| &entry.stage) {
            self.table.activate(attempt, Active::new(Instant::now()));
        }
        match self.table.finish(attempt) {
            Some(active) => {
                let outcome = exit.outcome(active.ending.map(|ending| ending.why));
                self.settled.push(attempt);
                self.keep(attempt, outcome, exit.run_ms, exit.alone);
            }
            // Said twice, or spooled before: its end or its keeping is under way.
            None if self
                .table
                .get(attempt)
                .is_some_and(|entry| matches!(entry.stage, Stage::Finishing)) => {}
            None => self.settled.push(attempt),
        }
    }

    /// Keeps what an attempt left, then ends it.
    fn keep(&mut self, attempt: AttemptId, outcome: Outcome, run_ms: u64, alone: bool) {
        let alone = !self.tails.over(attempt) && alone;
        let (Some(entry), Some(dir)) = (self.table.get(attempt), self.folder(attempt)) else {
            let transition = Transition::ended_without_trace(attempt, outcome);
            if let Transition::Ended { attempt, result } = transition {
                self.end(attempt, result);
            }
            return;
        };
        let spec = &entry.work.spec;
        let mut finish = Finish {
            attempt,
            namespace: entry.work.namespace.clone(),
            dir,
            outcome,
            run_ms,
            message: None,
            patterns: spec.outputs.clone(),
            cap_bytes: self.config.output_cap_bytes,
        };
        if let Some(result) = finish.at_once() {
            self.end_in_folder(attempt, Box::new(result), alone);
            return;
        }
        let (store, uploads) = (self.store.clone(), self.uploads.clone());
        let events = self.events.clone();
        tokio::spawn(async move {
            let _permit = uploads.acquire().await;
            let result = finish.with_uploads(store).await;
            drop(events.send(Event::Kept(attempt, Box::new(result))));
        });
    }

    fn exceeds_cap(&self, attempt: AttemptId) -> bool {
        let Some(dir) = self.folder(attempt) else { return false };
        let over = |name: &str| {
            dir.join(name).metadata().is_ok_and(|data| data.len() > self.config.output_cap_bytes)
        };
        over("stdout") || over("stderr")
    }

    /// The end of an attempt, whatever it was: to be spooled and reported.
    pub(crate) fn end(&mut self, attempt: AttemptId, result: Box<TaskResult>) {
        self.end_in_folder(attempt, result, false);
    }

    /// `alone`: its folder may serve another attempt.
    fn end_in_folder(&mut self, attempt: AttemptId, result: Box<TaskResult>, alone: bool) {
        match self.table.get(attempt).map(|entry| &entry.stage) {
            None | Some(Stage::Ended) => return,
            Some(Stage::Waiting { .. } | Stage::Active(_) | Stage::Finishing) => {}
        }
        tracing::debug!(
            job = %attempt.task.job, task = %attempt.task, %attempt, outcome = ?result.outcome,
            run_ms = result.run_ms, "ended"
        );
        self.released.extend(self.table.end(attempt).map(|folder| (folder, alone)));
        self.records.push(Record::Ended { attempt, result });
    }

    /// Tells the whole trees of these to end, and kills what is left of them after `grace`.
    pub(crate) fn stop(&mut self, attempts: Vec<AttemptId>, why: Outcome, grace: Duration) {
        let kill_at = Instant::now() + grace;
        let mut told = Vec::new();
        for attempt in attempts {
            let Some(active) = self.table.active_mut(attempt) else { continue };
            match &mut active.ending {
                // The first reason stays; the time can only become shorter.
                Some(ending) => ending.kill_at = ending.kill_at.min(kill_at),
                None => {
                    active.ending = Some(Ending { why, kill_at });
                    told.push(attempt);
                }
            }
        }
        self.signal(told, false);
    }

    fn signal(&mut self, attempts: Vec<AttemptId>, kill: bool) {
        if attempts.is_empty() {
            return;
        }
        if self.fostering {
            self.signal_wards(&attempts, kill);
        }
        self.runtime.order(&Order::Signal { attempts, kill });
    }

    /// Those that are our own children since the spawner died.
    fn signal_wards(&mut self, attempts: &[AttemptId], kill: bool) {
        let signal = if kill { Signal::SIGKILL } else { Signal::SIGTERM };
        let mut groups = BTreeSet::new();
        let mut wards = BTreeSet::new();
        for attempt in attempts {
            if let Some(active) = self.table.active_mut(*attempt)
                && active.fostered
                && let Some(pid) = active.pid
            {
                let _ = killpg(Pid::from_raw(pid.cast_signed()), signal);
                groups.insert(pid);
                wards.insert(*attempt);
            }
        }
        if !wards.is_empty() {
            process::signal_marked(&wards, &groups, &self.files.attempts(), signal);
        }
    }

    pub(crate) fn on_tick(&mut self, look_at_outputs: bool) {
        self.ticks += 1;
        let now = Instant::now();
        if self.fostering {
            self.look_after_wards();
        }
        self.identify(now);
        let (mut late, mut large, mut stubborn, mut all) = (vec![], vec![], vec![], vec![]);
        for (attempt, entry, active) in self.table.active() {
            all.push(attempt);
            let age = now.saturating_duration_since(active.since);
            let limit = entry.work.spec.timeout_ms.map(Duration::from_millis);
            match active.ending {
                Some(ending) if ending.kill_at <= now => stubborn.push(attempt),
                Some(_) => {}
                None if limit.is_some_and(|limit| age >= limit) => late.push(attempt),
                None if look_at_outputs && self.exceeds_cap(attempt) => large.push(attempt),
                None => {}
            }
        }
        let grace = self.config.grace;
        self.stop(late, Outcome::TimedOut, grace);
        // It may fill the disk within its grace.
        self.stop(large, Outcome::OutputLimit, Duration::ZERO);
        for attempt in &stubborn {
            if let Some(Ending { kill_at, .. }) =
                self.table.active_mut(*attempt).and_then(|active| active.ending.as_mut())
            {
                *kill_at = now + KILL_AGAIN;
            }
        }
        self.signal(stubborn, true);
        if let Some(going) = &mut self.going
            && going.stop_at <= now
            && !going.stopped
        {
            going.stopped = true;
            let grace = going.grace;
            self.stop(all, Outcome::Evicted, grace);
        }
    }

    /// Spools which processes the long-lived attempts are, so that they are found when everybody
    /// who knows has died.
    fn identify(&mut self, now: Instant) {
        let due: Vec<(AttemptId, u32)> = self
            .table
            .active()
            .filter(|(_, _, active)| {
                !active.identified && now.saturating_duration_since(active.since) > IDENTIFY_AFTER
            })
            .filter_map(|(attempt, _, active)| Some((attempt, active.pid?)))
            .collect();
        for (attempt, pid) in due {
            let Some(stat) = process::stat(pid) else { continue };
            if let Some(active) = self.table.active_mut(attempt) {
                active.identified = true;
            }
            let boot = self.boot.clone();
            let process = Some(Process { boot, pid, start_ticks: stat.start_ticks });
            self.records.push(Record::Running { attempt, process });
        }
    }

    /// The parent's duty for those that came to us.
    fn look_after_wards(&mut self) {
        let wards: Vec<(AttemptId, u32, Instant, bool)> = self
            .table
            .active()
            .filter(|(_, _, active)| active.fostered)
            .filter_map(|(attempt, _, active)| {
                Some((attempt, active.pid?, active.since, active.ending.is_some()))
            })
            .collect();
        self.fostering = !wards.is_empty();
        for (attempt, pid, since, signalled) in wards {
            let status = match look(pid) {
                Ward::Runs => continue,
                Ward::Ended(status) => status,
                Ward::Stranger => {
                    self.vanish(attempt, &[]);
                    continue;
                }
            };
            self.signal_wards(&[attempt], true);
            reap(pid);
            let run_ms = since.elapsed().as_millis().clamped();
            self.on_exit(attempt, Exit { status, run_ms, signalled, alone: false });
        }
    }

    /// What the spool knows, after the death of this digester's predecessor.
    pub(crate) fn take_over_from_spool(&mut self) {
        let now = Instant::now();
        for (attempt, entry) in self.spool.state().attempts() {
            let Some(work) = self.spool.state().work(attempt.task.group_id()) else { continue };
            let (attempt, work, item) = (*attempt, work.clone(), entry.item.clone());
            let process = match &entry.stage {
                node::Stage::Ended => {
                    self.table.insert_ended(attempt, work);
                    continue;
                }
                node::Stage::Waiting => {
                    self.table.insert_waiting(attempt, work, item, entry.held);
                    continue;
                }
                node::Stage::Starting => None,
                node::Stage::Started { process } => process.as_ref(),
            };
            let started = matches!(entry.stage, node::Stage::Started { .. });
            let same = |process: &Process| {
                process.boot == self.boot
                    && process::stat(process.pid)
                        .is_some_and(|stat| !stat.zombie && stat.start_ticks == process.start_ticks)
            };
            let pid = process.filter(|process| same(process)).map(|process| process.pid);
            self.table.insert_waiting(attempt, work, item, false);
            self.table.activate(attempt, Active { pid, started, ..Active::new(now) });
            self.table.set_folder(attempt, entry.folder);
        }
    }

    /// Compares what we know with what is there, after the death of a digester or a spawner.
    pub(crate) fn reconcile(&mut self, hello: &Hello) {
        let mut found = Found {
            running: hello.running.iter().map(|child| (child.attempt, child.pid)).collect(),
            exited: hello.exited.iter().copied().collect(),
            live: self.live(),
            spool: BTreeMap::new(),
        };
        for (attempt, entry) in self.table.iter() {
            let stage = match &entry.stage {
                Stage::Waiting { .. } => node::Stage::Waiting,
                Stage::Active(active) if active.started => node::Stage::Started { process: None },
                Stage::Active(_) => node::Stage::Starting,
                // Its process is over, and so is what we need of the spawner.
                Stage::Finishing => {
                    found.exited.remove(&attempt);
                    continue;
                }
                Stage::Ended => node::Stage::Ended,
            };
            found.spool.insert(attempt, stage);
        }
        let ages: BTreeMap<AttemptId, u64> =
            hello.running.iter().map(|child| (child.attempt, child.age_ms)).collect();
        for step in node::diff(&found) {
            tracing::info!(attempt = %step.attempt(), ?step, "found");
            self.carry_out(step, &ages);
        }
    }

    /// Processes that bear a mark of this node's, beside those that the spool can name.
    fn live(&self) -> BTreeMap<AttemptId, Live> {
        let mut pids = process::marked(&self.files.attempts());
        for (attempt, _, active) in self.table.active() {
            if let Some(pid) = active.pid {
                let known = pids.entry(attempt).or_default();
                known.retain(|other| *other != pid);
                known.insert(0, pid);
            }
        }
        pids.into_iter()
            .filter_map(|(attempt, mut pids)| {
                let ours = look(*pids.first()?) != Ward::Stranger;
                if !ours {
                    pids.retain(|pid| process::stat(*pid).is_some());
                }
                (!pids.is_empty()).then_some((attempt, Live { pids, ours }))
            })
            .collect()
    }

    fn carry_out(&mut self, step: Step, ages: &BTreeMap<AttemptId, u64>) {
        match step {
            Step::Run { .. } => {}
            Step::Adopt { attempt, pid, .. } => {
                let age = Duration::from_millis(ages.get(&attempt).copied().unwrap_or(0));
                self.adopt(attempt, pid, age, false);
            }
            Step::Foster { attempt, pid, .. } => {
                self.fostering = true;
                let age = self
                    .table
                    .active_mut(attempt)
                    .map(|active| active.since.elapsed())
                    .unwrap_or_default();
                self.adopt(attempt, pid, age, true);
            }
            Step::Report { attempt, exit } => self.on_exit(attempt, exit),
            Step::Vanished { attempt, pids } => self.vanish(attempt, &pids),
            Step::Drop { attempt, pids } => {
                end_processes(&pids);
                self.runtime.order(&Order::Signal { attempts: vec![attempt], kill: true });
                self.settled.push(attempt);
            }
        }
    }

    fn adopt(&mut self, attempt: AttemptId, pid: u32, age: Duration, fostered: bool) {
        if self.table.active_mut(attempt).is_none() {
            self.table.activate(attempt, Active::new(Instant::now()));
        }
        let Some(active) = self.table.active_mut(attempt) else { return };
        active.pid = Some(pid);
        active.fostered = fostered;
        active.since = Instant::now().checked_sub(age).unwrap_or(active.since);
        self.fresh.push(attempt);
    }

    /// It had started, and nobody will ever know how it ended.
    fn vanish(&mut self, attempt: AttemptId, pids: &[u32]) {
        end_processes(pids);
        if self.table.active_mut(attempt).is_none() {
            self.table.activate(attempt, Active::new(Instant::now()));
        }
        if self.table.finish(attempt).is_some() {
            self.keep(attempt, Outcome::Vanished, 0, false);
        }
    }
}

/// Kills processes that are not our children; those that lead a group, with it.
fn end_processes(pids: &[u32]) {
    for pid in pids {
        let number = Pid::from_raw(pid.cast_signed());
        if process::stat(*pid).is_some_and(|stat| stat.group == *pid) {
            let _ = killpg(number, Signal::SIGKILL);
        }
        let _ = kill(number, Signal::SIGKILL);
    }
}
