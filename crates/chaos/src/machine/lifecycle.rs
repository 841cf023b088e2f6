//! What happens to processes: starts, exits, time-outs, the end of the spawner. As
//! `digester::lifecycle`.

use std::collections::BTreeMap;

use model::{AttemptId, LogPart, NodeNotice, NoticeKind, Outcome, TaskResult};
use node::{Exit, Found, Live, Process, Record, Runner, Step, Work};
use rand::RngExt;

use crate::Fault;

use super::digester::{Digester, GRACE_MS, Going, IDENTIFY_AFTER_MS, World};
use super::processes::{Hello, Launch, Order, Parent, Processes, Said};
use super::table::{Active, Ending, Stage};
use super::{Assignment, Orders};

/// Between two KILLs of one that does not end.
const KILL_AGAIN_MS: u64 = 1_000;
/// One process of so many leaves more than fits into a report.
const LARGE_OF: u32 = 16;
/// What a process leaves is kept within so long.
const UPLOAD_MS: std::ops::RangeInclusive<u64> = 5..=2_000;

/// An object store that takes nothing is tried for so long; then the attempt has failed.
const KEEP_TRYING_MS: u64 = 600_000;
const OUR_FAILURE: i32 = 125;

/// What is known of a process that may be the digester's child.
enum Ward {
    Runs,
    Ended(node::ExitStatus),
    Stranger,
}

fn look(processes: &Processes, pid: u32) -> Ward {
    match processes.get(pid) {
        Some(process) if process.parent == Parent::Digester => {
            process.over.map_or(Ward::Runs, Ward::Ended)
        }
        _ => Ward::Stranger,
    }
}

fn returned() -> Box<TaskResult> {
    result(Outcome::Returned, 0)
}

fn result(outcome: Outcome, run_ms: u64) -> Box<TaskResult> {
    Box::new(TaskResult {
        outcome,
        run_ms,
        stdout: LogPart::default(),
        stderr: LogPart::default(),
        outputs: Vec::new(),
        message: None,
    })
}

impl Digester {
    /// Turns a waiting attempt into an order for the spawner.
    pub(super) fn launch(&mut self, attempt: AttemptId, w: &World<'_>) -> Option<Launch> {
        self.folders += 1;
        self.table.activate(attempt, Active::new(w.now_ms));
        self.records.push(Record::Starting { attempt, folder: self.folders });
        let spec = self.table.get(attempt)?.work.spec.clone();
        Some(Launch { attempt, spec })
    }

    pub(super) fn on_said(&mut self, said: Said, w: &mut World<'_>) {
        match said {
            Said::Spawned(attempt, pid) => {
                // It may have ended already: then it is said to have started by its end.
                let Some(active) = self.table.active_mut(attempt) else { return };
                active.pid = Some(pid);
                active.since_ms = w.now_ms;
                self.fresh.push(attempt);
            }
            Said::Exited(attempt, exit) => self.on_exit(attempt, exit, w),
        }
    }

    /// A process is over.
    fn on_exit(&mut self, attempt: AttemptId, exit: Exit, w: &mut World<'_>) {
        if let Some(Stage::Waiting { .. }) = self.stage(attempt) {
            self.table.activate(attempt, Active::new(w.now_ms));
        }
        match self.table.finish(attempt) {
            Some(active) => {
                let outcome = exit.outcome(active.ending.map(|ending| ending.why));
                self.settled.push(attempt);
                self.keep(attempt, outcome, exit.run_ms, w);
            }
            // Said twice, or spooled before: its end or its keeping is under way.
            None if matches!(self.stage(attempt), Some(Stage::Finishing)) => {}
            None => self.settled.push(attempt),
        }
    }

    /// Keeps what an attempt left, then ends it.
    fn keep(&mut self, attempt: AttemptId, outcome: Outcome, run_ms: u64, w: &mut World<'_>) {
        let mut result = result(outcome, run_ms);
        let files =
            self.table.get(attempt).is_some_and(|entry| !entry.work.spec.outputs.is_empty());
        let files = files && outcome == Outcome::Exited { code: 0 };
        if files || w.dice.plain().random_ratio(1, LARGE_OF) {
            let down_ms = w.dice.lasts_ms(Fault::ObjectsDown, "finishing", w.now_ms);
            if down_ms > KEEP_TRYING_MS && outcome == (Outcome::Exited { code: 0 }) {
                result.outcome = Outcome::Exited { code: OUR_FAILURE };
            }
            let upload_ms = w.dice.plain().random_range(UPLOAD_MS);
            let at_ms = w.now_ms + down_ms.min(KEEP_TRYING_MS) + upload_ms;
            self.uploads.push((at_ms, attempt, result));
        } else {
            self.end(attempt, result);
        }
    }

    /// The end of an attempt, whatever it was: to be spooled and reported.
    pub(super) fn end(&mut self, attempt: AttemptId, result: Box<TaskResult>) {
        match self.stage(attempt) {
            None | Some(Stage::Ended) => return,
            Some(Stage::Waiting { .. } | Stage::Active(_) | Stage::Finishing) => {}
        }
        self.table.end(attempt);
        self.records.push(Record::Ended { attempt, result });
    }

    /// Tells these to end, and kills what is left of them after `grace_ms`.
    pub(super) fn stop(
        &mut self,
        attempts: Vec<AttemptId>,
        why: Outcome,
        grace_ms: u64,
        w: &mut World<'_>,
    ) {
        let kill_at_ms = w.now_ms + grace_ms;
        let mut told = Vec::new();
        for attempt in attempts {
            let Some(active) = self.table.active_mut(attempt) else { continue };
            match &mut active.ending {
                // The first reason stays; the time can only become shorter.
                Some(ending) => ending.kill_at_ms = ending.kill_at_ms.min(kill_at_ms),
                None => {
                    active.ending = Some(Ending { why, kill_at_ms });
                    told.push(attempt);
                }
            }
        }
        self.signal(told, false, w);
    }

    fn signal(&mut self, attempts: Vec<AttemptId>, kill: bool, w: &mut World<'_>) {
        if attempts.is_empty() {
            return;
        }
        if self.fostering {
            for attempt in &attempts {
                if let Some(active) = self.table.active_mut(*attempt)
                    && active.fostered
                    && let Some(pid) = active.pid
                {
                    w.processes.signal(pid, kill, w.now_ms, w.dice, w.out);
                }
            }
        }
        w.processes.order(Order::Signal { attempts, kill }, w.now_ms);
    }

    pub(super) fn on_tick(&mut self, w: &mut World<'_>) {
        if self.fostering {
            self.look_after_wards(w);
        }
        self.identify(w);
        let (mut late, mut stubborn, mut all) = (vec![], vec![], vec![]);
        for (attempt, entry, active) in self.table.active() {
            all.push(attempt);
            let age_ms = w.now_ms.saturating_sub(active.since_ms);
            match active.ending {
                Some(ending) if ending.kill_at_ms <= w.now_ms => stubborn.push(attempt),
                Some(_) => {}
                None if entry.work.spec.timeout_ms.is_some_and(|limit_ms| age_ms >= limit_ms) => {
                    late.push(attempt);
                }
                None => {}
            }
        }
        self.stop(late, Outcome::TimedOut, GRACE_MS, w);
        for attempt in &stubborn {
            if let Some(ending) =
                self.table.active_mut(*attempt).and_then(|active| active.ending.as_mut())
            {
                ending.kill_at_ms = w.now_ms + KILL_AGAIN_MS;
            }
        }
        self.signal(stubborn, true, w);
        if let Some(going) = &mut self.going
            && going.stop_at_ms <= w.now_ms
            && !going.stopped
        {
            going.stopped = true;
            let grace_ms = going.grace_ms;
            self.stop(all, Outcome::Evicted, grace_ms, w);
        }
    }

    /// Spools which processes the long-lived attempts are.
    fn identify(&mut self, w: &World<'_>) {
        let due: Vec<(AttemptId, u32)> = self
            .table
            .active()
            .filter(|(_, _, active)| {
                let age_ms = w.now_ms.saturating_sub(active.since_ms);
                !active.identified && age_ms > IDENTIFY_AFTER_MS
            })
            .filter_map(|(attempt, _, active)| Some((attempt, active.pid?)))
            .collect();
        for (attempt, pid) in due {
            let Some(process) = w.processes.get(pid) else { continue };
            if let Some(active) = self.table.active_mut(attempt) {
                active.identified = true;
            }
            let process =
                Some(Process { boot: w.boot.clone(), pid, start_ticks: process.since_ms });
            self.records.push(Record::Running { attempt, process });
        }
    }

    /// The parent's duty for those that came to us.
    fn look_after_wards(&mut self, w: &mut World<'_>) {
        let wards: Vec<(AttemptId, u32, u64, bool)> = self
            .table
            .active()
            .filter(|(_, _, active)| active.fostered)
            .filter_map(|(attempt, _, active)| {
                Some((attempt, active.pid?, active.since_ms, active.ending.is_some()))
            })
            .collect();
        self.fostering = !wards.is_empty();
        for (attempt, pid, since_ms, signalled) in wards {
            let status = match look(w.processes, pid) {
                Ward::Runs => continue,
                Ward::Ended(status) => status,
                Ward::Stranger => {
                    self.vanish(attempt, &[], w);
                    continue;
                }
            };
            w.processes.reap(pid);
            let run_ms = w.now_ms.saturating_sub(since_ms);
            self.on_exit(attempt, Exit { status, run_ms, signalled, alone: false }, w);
        }
    }

    /// What the spool knows, after the death of this digester's predecessor.
    pub(super) fn take_over_from_spool(&mut self, w: &World<'_>) {
        for (attempt, entry) in self.spool.state().attempts() {
            let Some(work) = self.spool.state().work(attempt.task.group_id()) else { continue };
            let (attempt, work) = (*attempt, work.clone());
            let process = match &entry.stage {
                node::Stage::Ended => {
                    self.table.insert_ended(attempt, work);
                    continue;
                }
                node::Stage::Waiting => {
                    self.table.insert_waiting(attempt, work, entry.held);
                    continue;
                }
                node::Stage::Starting => None,
                node::Stage::Started { process } => process.as_ref(),
            };
            let started = matches!(entry.stage, node::Stage::Started { .. });
            let same = |process: &&Process| {
                process.boot == *w.boot
                    && w.processes
                        .get(process.pid)
                        .is_some_and(|it| it.over.is_none() && it.since_ms == process.start_ticks)
            };
            let pid = process.filter(same).map(|process| process.pid);
            self.folders = self.folders.max(entry.folder.unwrap_or(0));
            self.table.insert_waiting(attempt, work, false);
            self.table.activate(attempt, Active { pid, started, ..Active::new(w.now_ms) });
        }
    }

    /// Compares what we know with what is there, after the death of a digester or a spawner.
    pub(super) fn reconcile(&mut self, hello: &Hello, w: &mut World<'_>) {
        let mut found = Found {
            running: hello.running.iter().map(|(attempt, pid, _)| (*attempt, *pid)).collect(),
            exited: hello.exited.iter().copied().collect(),
            live: self.live(w.processes),
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
            hello.running.iter().map(|(attempt, _, age_ms)| (*attempt, *age_ms)).collect();
        for step in node::diff(&found) {
            self.carry_out(step, &ages, w);
        }
    }

    /// Processes that bear a mark of this node's, beside those that the spool can name.
    fn live(&self, processes: &Processes) -> BTreeMap<AttemptId, Live> {
        let mut pids: BTreeMap<AttemptId, Vec<u32>> = BTreeMap::new();
        for (pid, process) in processes.live() {
            pids.entry(process.attempt).or_default().push(pid);
        }
        for (attempt, _, active) in self.table.active() {
            if let Some(pid) = active.pid {
                let known = pids.entry(attempt).or_default();
                known.retain(|other| *other != pid);
                known.insert(0, pid);
            }
        }
        pids.into_iter()
            .filter_map(|(attempt, mut pids)| {
                let ours = !matches!(look(processes, *pids.first()?), Ward::Stranger);
                if !ours {
                    pids.retain(|pid| processes.get(*pid).is_some());
                }
                (!pids.is_empty()).then_some((attempt, Live { pids, ours }))
            })
            .collect()
    }

    fn carry_out(&mut self, step: Step, ages: &BTreeMap<AttemptId, u64>, w: &mut World<'_>) {
        match step {
            Step::Run { .. } => {}
            Step::Adopt { attempt, pid, .. } => {
                let age_ms = ages.get(&attempt).copied().unwrap_or(0);
                self.adopt(attempt, pid, age_ms, false, w);
            }
            Step::Foster { attempt, pid, .. } => {
                self.fostering = true;
                let active = self.table.active_mut(attempt);
                let age_ms = active.map_or(0, |active| w.now_ms.saturating_sub(active.since_ms));
                self.adopt(attempt, pid, age_ms, true, w);
            }
            Step::Report { attempt, exit } => self.on_exit(attempt, exit, w),
            Step::Vanished { attempt, pids } => self.vanish(attempt, &pids, w),
            Step::Drop { attempt, pids } => {
                end_processes(&pids, w);
                let attempts = vec![attempt];
                w.processes.order(Order::Signal { attempts, kill: true }, w.now_ms);
                self.settled.push(attempt);
            }
        }
    }

    fn adopt(&mut self, attempt: AttemptId, pid: u32, age_ms: u64, fostered: bool, w: &World<'_>) {
        if self.table.active_mut(attempt).is_none() {
            self.table.activate(attempt, Active::new(w.now_ms));
        }
        let Some(active) = self.table.active_mut(attempt) else { return };
        active.pid = Some(pid);
        active.fostered = fostered;
        active.since_ms = w.now_ms.saturating_sub(age_ms);
        self.fresh.push(attempt);
    }

    /// It had started, and nobody will ever know how it ended.
    fn vanish(&mut self, attempt: AttemptId, pids: &[u32], w: &mut World<'_>) {
        end_processes(pids, w);
        if self.table.active_mut(attempt).is_none() {
            self.table.activate(attempt, Active::new(w.now_ms));
        }
        if self.table.finish(attempt).is_some() {
            self.keep(attempt, Outcome::Vanished, 0, w);
        }
    }

    fn stage(&self, attempt: AttemptId) -> Option<&Stage> {
        self.table.get(attempt).map(|attempt| &attempt.stage)
    }
}

/// What the leader says, and the machine's metadata. As `digester::intake`.
impl Digester {
    pub(super) fn on_answer(&mut self, acked_offset: u64, orders: Orders, w: &mut World<'_>) {
        self.acknowledged(acked_offset, w);
        self.draining = orders.drain;
        for assignment in orders.assign {
            self.assign(assignment);
        }
        self.cancel(&orders.cancel, w);
        for attempt in orders.retract {
            if matches!(self.stage(attempt), Some(Stage::Waiting { .. })) {
                self.end(attempt, returned());
            }
        }
        if self.draining {
            for attempt in self.table.waiting() {
                self.end(attempt, returned());
            }
        }
        for notice in orders.notices {
            self.on_notice(notice, false, w);
        }
    }

    fn acknowledged(&mut self, offset: u64, w: &mut World<'_>) {
        if offset <= self.spool.state().acked() {
            return;
        }
        // What is pending may be the last mention of a group that the acknowledged leave behind.
        self.spool_pending(w);
        for attempt in self.spool.acknowledge(w.disk, offset) {
            self.table.forget(attempt);
            self.recent.add(attempt);
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        let Assignment { attempt, held, spec } = assignment;
        if self.recent.has(attempt) {
            return;
        }
        if self.table.get(attempt).is_some() {
            if !held {
                self.table.admit_held(attempt);
            }
            return;
        }
        let group = attempt.task.group_id();
        let work = match self.spool.state().work(group) {
            Some(known) => known.clone(),
            None => {
                let work = Work { namespace: model::Namespace::default(), spec };
                self.records.push(Record::Group { group, work: work.clone() });
                work
            }
        };
        self.records.push(Record::Assigned { attempt, held, item: None });
        self.table.insert_waiting(attempt, work, held);
        if self.going.is_some() || self.draining {
            self.end(attempt, returned());
        }
    }

    fn cancel(&mut self, attempts: &[AttemptId], w: &mut World<'_>) {
        let mut running = Vec::new();
        for attempt in attempts {
            match self.stage(*attempt) {
                Some(Stage::Waiting { .. }) => self.end(*attempt, returned()),
                Some(Stage::Active(_)) => running.push(*attempt),
                Some(Stage::Finishing | Stage::Ended) | None => {}
            }
        }
        self.stop(running, Outcome::Stopped, GRACE_MS, w);
    }

    /// The machine will be taken. `own`: the manager does not know yet.
    pub(super) fn on_notice(&mut self, notice: NodeNotice, own: bool, w: &mut World<'_>) {
        if notice.kind == NoticeKind::Rebalance {
            // A risk and no deadline: what to do about it is the manager's to decide.
            return;
        }
        let told = own.then_some(notice);
        let remaining_ms = notice.remaining_ms;
        let deadline_ms = w.now_ms.saturating_add(remaining_ms);
        if let Some(going) = &mut self.going
            && going.deadline_ms <= deadline_ms
        {
            if going.notice.is_none() && told.is_some() {
                going.notice = told;
                self.uplink.notice_is_new();
            }
            return;
        }
        let runners: Vec<Runner> = self
            .table
            .active()
            .map(|(attempt, entry, active)| Runner {
                attempt,
                elapsed_ms: w.now_ms.saturating_sub(active.since_ms),
                expect_ms: entry.work.spec.expect_ms,
            })
            .collect();
        let plan = node::on_notice(remaining_ms, GRACE_MS, &runners, &self.table.waiting());
        let earlier = self.going.take().and_then(|going| going.notice);
        self.going = Some(Going {
            notice: told.or(earlier),
            deadline_ms,
            stop_at_ms: w.now_ms.saturating_add(plan.stop_in_ms),
            grace_ms: plan.grace_ms,
            stopped: false,
        });
        self.uplink.notice_is_new();
        for attempt in plan.give_back {
            self.end(attempt, returned());
        }
        self.stop(plan.stop_now, Outcome::Evicted, plan.grace_ms, w);
    }
}

/// Kills processes that are not our children.
fn end_processes(pids: &[u32], w: &mut World<'_>) {
    for pid in pids {
        w.processes.signal(*pid, true, w.now_ms, w.dice, w.out);
        w.processes.reap(*pid);
    }
}
