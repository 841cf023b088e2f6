//! A leader's executors: what it asks of the cloud, of the database and of the planner. As
//! `manager::executors`.

use std::collections::BTreeMap;

use cloud::{CloudError, Launched};
use control::{Input, Invariant};
use model::{InstanceId, Intent, IntentId, JobId, Timestamp};

use crate::Fault;
use crate::disk::Row;
use crate::leader::Asker;
use crate::run::{Event, Run, Task};

/// Periods of the manager's, and the waits of its executors. Listings are taken less often than every
/// two seconds, so that a day is cheap.
const LIST_MS: u64 = 20_000;
const OFFERS_MS: u64 = 60_000;
const NOTICES_MS: u64 = 1_000;
const INBOX_MS: u64 = 500;
const LEAST_PLAN_MS: u64 = 50;
const MOST_PLAN_MS: u64 = 5_000;
const LOOKUP_MS: u64 = 500;
const WAIT_MS: u64 = 1_000;
const MAX_LAUNCH_WAIT_MS: u64 = 30_000;
const MAX_RETIRE_WAIT_MS: u64 = 15_000;
/// The SDK gives a call up.
const CALL_MS: u64 = 50_000;

/// What executors remember.
#[derive(Debug)]
pub(crate) struct Calls {
    retries: BTreeMap<IntentId, Retry>,
    launching: bool,
    launch_ms: Option<u64>,
    retiring: bool,
    retire_wait_ms: u64,
    reading_backlog: bool,
    looking_up: bool,
    planning: bool,
    changed: bool,
    planned_ms: u64,
    plan_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at_ms: u64,
    wait_ms: u64,
}

impl Calls {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            retries: BTreeMap::new(),
            launching: false,
            launch_ms: None,
            retiring: false,
            retire_wait_ms: WAIT_MS,
            reading_backlog: false,
            looking_up: false,
            planning: false,
            changed: true,
            planned_ms: now_ms,
            plan_ms: None,
        }
    }

    /// What is observed changes without a commit.
    pub(crate) fn heed(&mut self, inputs: &[Input]) {
        let observed = |input: &Input| {
            matches!(input, Input::Offers(_) | Input::Listed { .. } | Input::Launched { .. })
        };
        self.changed |= inputs.iter().any(observed);
    }

    /// World has changed.
    pub(crate) fn changed(&mut self) {
        self.changed = true;
    }
}

impl Run {
    fn calls(&mut self, manager: usize) -> Option<&mut Calls> {
        let reign = self.managers.get_mut(manager)?.reign.as_mut()?;
        Some(&mut reign.calls)
    }

    /// After each step: executors see new rows.
    pub(crate) fn call_on(&mut self, manager: usize) {
        self.launch_on(manager);
        self.retire_on(manager);
        let reign = self.managers.get(manager).and_then(|it| it.reign.as_ref());
        let Some(reign) = reign else { return };
        let (take_in, lookup) = (reign.rows.take_in, !reign.rows.lookup.is_empty());
        if take_in > 0 && !reign.calls.reading_backlog {
            self.later(manager, 3, Task::Backlog);
        }
        if lookup && self.calls(manager).is_some_and(|calls| !calls.looking_up) {
            self.look_up(manager);
        }
        self.plan_on(manager);
    }

    /// An executor's input has been taken.
    pub(crate) fn executor_goes_on(&mut self, manager: usize, asker: &Asker) {
        let Some(calls) = self.calls(manager) else { return };
        match asker {
            Asker::Launch => {
                calls.launching = false;
                self.launch_on(manager);
            }
            Asker::Retire => {
                calls.retiring = false;
                let wait_ms = calls.retire_wait_ms;
                calls.retire_wait_ms = (wait_ms * 2).min(MAX_RETIRE_WAIT_MS);
                self.later(manager, wait_ms, Task::RetireOn);
            }
            Asker::Inbox => self.later(manager, 1, Task::Inbox),
            Asker::Backlog => {
                calls.reading_backlog = false;
                self.later(manager, 1, Task::Backlog);
            }
            Asker::Lookup => self.later(manager, LOOKUP_MS, Task::Lookup),
            _ => {}
        }
    }

    /// Sends launches one after another, unchanged until there is an answer.
    pub(crate) fn launch_on(&mut self, manager: usize) {
        let now_ms = self.now_ms;
        let Some(it) = self.managers.get_mut(manager) else { return };
        let (era, skew_ms) = (it.era, it.skew_ms);
        let Some(reign) = it.reign.as_mut() else { return };
        if reign.calls.launching {
            return;
        }
        let now = reign.now(now_ms, skew_ms);
        let (intents, calls) = (&reign.rows.intents, &mut reign.calls);
        calls.retries.retain(|id, _| intents.iter().any(|intent| intent.id == *id));
        let is_due = |intent: &&Intent| {
            let retry = calls.retries.get(&intent.id);
            intent.may_be_sent(now) && retry.is_none_or(|retry| retry.at_ms <= now_ms)
        };
        let Some(intent) = intents.iter().find(is_due).cloned() else {
            let next =
                calls.retries.values().map(|retry| retry.at_ms).filter(|at| *at > now_ms).min();
            if let Some(at_ms) =
                next.filter(|at_ms| calls.launch_ms.is_none_or(|set| set <= now_ms || *at_ms < set))
            {
                calls.launch_ms = Some(at_ms);
                self.later(manager, at_ms - now_ms, Task::LaunchOn);
            }
            return;
        };
        let retry = calls.retries.get(&intent.id);
        let wait_ms = retry.map_or(WAIT_MS, |retry| (retry.wait_ms * 2).min(MAX_LAUNCH_WAIT_MS));
        // From the answer on; it is moved when that comes.
        calls.retries.insert(intent.id, Retry { at_ms: now_ms + wait_ms, wait_ms });
        calls.launching = true;
        let at_ms = self.between(300, 1_000);
        self.heap.push(at_ms, Event::Launch { manager, era, intent: Box::new(intent) });
    }

    /// A launch reaches the cloud, whatever has become of who sent it.
    pub(crate) fn launch_arrives(&mut self, manager: usize, era: u64, intent: &Intent) {
        match self.disk.stored_launch(intent.id) {
            Some(stored) if *stored == intent.request => {}
            Some(_) => {
                let words = format!("{} is sent otherwise than it was stored", intent.id);
                return self.breach(Invariant::IntentBeforeMachine, words);
            }
            None => {
                let words = format!("{} is sent and was never stored", intent.id);
                return self.breach(Invariant::IntentBeforeMachine, words);
            }
        }
        let (answer, new) = self.sky.launch(intent, self.now_ms, &mut self.dice);
        for one in new {
            self.machine_begins(&one);
            self.notice_at_birth(&one.machine.instance);
        }
        if let Err(CloudError::Wrong(words)) = &answer {
            return self.breach(Invariant::IntentBeforeMachine, format!("{}: {words}", intent.id));
        }
        self.note(|| format!("launch {} -> {answer:?}", intent.id));
        self.expect_sky();
        let unanswered = self.dice.happens(Fault::LaunchUnanswered, "launch", self.now_ms);
        let late = self.dice.happens(Fault::LaunchLate, "launch", self.now_ms);
        let (in_ms, answer) = match (unanswered, late) {
            (true, _) => (CALL_MS, Err(CloudError::Retry("no answer".into()))),
            (false, true) => (self.dice.how_much(Fault::LaunchLate, 5_000, CALL_MS), answer),
            (false, false) => (700, answer),
        };
        self.launched(manager, era, in_ms, intent.id, answer);
    }

    fn launched(
        &mut self,
        manager: usize,
        era: u64,
        in_ms: u64,
        id: IntentId,
        answer: Result<Launched, CloudError>,
    ) {
        let task = Task::Launched(id, answer);
        self.heap.push(self.now_ms + in_ms, Event::Manager { manager, era, task });
    }

    /// Ends machines, until the cloud says that they are gone.
    pub(crate) fn retire_on(&mut self, manager: usize) {
        let Some(it) = self.managers.get_mut(manager) else { return };
        let era = it.era;
        let Some(reign) = it.reign.as_mut() else { return };
        if reign.rows.retiring.is_empty() {
            reign.calls.retire_wait_ms = WAIT_MS;
            return;
        }
        if reign.calls.retiring {
            return;
        }
        reign.calls.retiring = true;
        let instances = reign.rows.retiring.clone();
        let at_ms = self.between(200, 700);
        self.heap.push(at_ms, Event::Retire { manager, era, instances });
    }

    /// A call that ends machines reaches the cloud.
    pub(crate) fn retire_arrives(&mut self, manager: usize, era: u64, instances: &[InstanceId]) {
        let fails = self.dice.happens(Fault::CloudFails, "retire", self.now_ms);
        let mut ended = Vec::new();
        if !fails {
            for id in self.sky.retire(instances, self.now_ms) {
                let at_ms = self.between(500, 5_000);
                self.heap.push(at_ms, Event::Ended(id));
            }
            ended = instances.to_vec();
        }
        let task = Task::Retired(ended);
        self.heap.push(self.now_ms + 300, Event::Manager { manager, era, task });
    }

    pub(crate) fn retired(&mut self, manager: usize, instances: Vec<InstanceId>) {
        if instances.is_empty() {
            return self.executor_goes_on(manager, &Asker::Retire);
        }
        self.ask(manager, Input::Retired { instances }, Asker::Retire);
    }

    /// All machines of ours.
    pub(crate) fn list(&mut self, manager: usize) {
        self.later(manager, LIST_MS, Task::List);
        if self.dice.happens(Fault::CloudFails, "list", self.now_ms) {
            return;
        }
        let Some(asked) = self.time_of(manager) else { return };
        let machines = self.sky.list(self.now_ms, &mut self.dice);
        self.ask(manager, Input::Listed { machines, asked }, Asker::Nobody);
    }

    /// A leader's own time.
    pub(crate) fn time_of(&mut self, manager: usize) -> Option<Timestamp> {
        let now_ms = self.now_ms;
        let it = self.managers.get_mut(manager)?;
        let skew_ms = it.skew_ms;
        Some(it.reign.as_mut()?.now(now_ms, skew_ms))
    }

    /// What can be bought.
    pub(crate) fn look_at_offers(&mut self, manager: usize) {
        self.later(manager, OFFERS_MS, Task::Offers);
        if !self.dice.happens(Fault::CloudFails, "offers", self.now_ms) {
            let offers = self.sky.offers(self.now_ms);
            self.ask(manager, Input::Offers(offers), Asker::Nobody);
        }
    }

    /// Notices of the queue; deleted when they are durable.
    pub(crate) fn receive(&mut self, manager: usize) {
        self.later(manager, NOTICES_MS, Task::Notices);
        if self.dice.happens(Fault::CloudFails, "notices", self.now_ms) {
            return;
        }
        let (mut inputs, mut receipts) = (Vec::new(), Vec::new());
        for received in self.sky.receive(self.now_ms) {
            let notice = received.notice;
            if self.dice.happens(Fault::NoticeLost, "notices", self.now_ms) {
                self.sky.acknowledge(&[received.receipt]);
                continue;
            }
            if self.dice.happens(Fault::NoticeLate, "notices", self.now_ms) {
                let in_ms = self.dice.how_much(Fault::NoticeLate, 1_000, 180_000);
                self.sky.acknowledge(&[received.receipt]);
                self.heap.push(self.now_ms + in_ms, Event::LateNotice(notice));
                continue;
            }
            if self.dice.happens(Fault::NoticeDoubled, "notices", self.now_ms) {
                inputs.push(Input::Notice(notice.clone()));
            }
            inputs.push(Input::Notice(notice));
            receipts.push(received.receipt);
        }
        if !inputs.is_empty() {
            self.ask_all(manager, inputs, Asker::Notices(receipts));
        }
    }

    /// A notice comes by the queue, for whoever leads.
    pub(crate) fn notice_by_queue(&mut self, notice: model::Notice) {
        let leads = |it: &crate::leader::Manager| it.is_alive && it.reign.is_some();
        if let Some(manager) = self.managers.iter().position(leads) {
            self.later(manager, 1, Task::Input(Box::new(Input::Notice(notice))));
        }
    }

    /// Reads all rows that are there; submits in one step, what concerns jobs in the next.
    pub(crate) fn read_inbox(&mut self, manager: usize) {
        let rows: Vec<(i64, Row)> =
            self.disk.inbox().iter().map(|(row, message)| (*row, message.clone())).collect();
        if rows.is_empty() {
            return self.later(manager, INBOX_MS, Task::Inbox);
        }
        let (mut submits, mut submitted) = (Vec::new(), Vec::new());
        let (mut stops, mut stopped, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for (row, message) in rows {
            match message {
                Row::Submit(job, spec) => {
                    submits.push(Input::Submit { job, spec });
                    submitted.push(row);
                }
                Row::Message(input) => {
                    waiting.extend(job_of(&input).and_then(|job| self.disk.waiting(job)));
                    stops.push(input);
                    stopped.push(row);
                }
            }
        }
        waiting.dedup_by_key(|job| job.id);
        if !submits.is_empty() {
            submits.push(Input::InboxDone { rows: submitted });
            return self.ask_all(manager, submits, Asker::Inbox);
        }
        let mut inputs = vec![Input::TakeIn { jobs: waiting }];
        inputs.append(&mut stops);
        inputs.push(Input::InboxDone { rows: stopped });
        self.ask_all(manager, inputs, Asker::Inbox);
    }

    /// Hands jobs of the backlog to the step as it asks for them.
    pub(crate) fn read_backlog(&mut self, manager: usize) {
        let reign = self.managers.get(manager).and_then(|it| it.reign.as_ref());
        let Some(reign) = reign.filter(|reign| !reign.calls.reading_backlog) else { return };
        let jobs = self.disk.backlog(reign.rows.take_in);
        if jobs.is_empty() {
            return;
        }
        if let Some(calls) = self.calls(manager) {
            calls.reading_backlog = true;
        }
        self.ask(manager, Input::TakeIn { jobs }, Asker::Backlog);
    }

    /// Looks the jobs up that others come after.
    pub(crate) fn look_up(&mut self, manager: usize) {
        let reign = self.managers.get(manager).and_then(|it| it.reign.as_ref());
        let Some(reign) = reign else { return };
        let wanted = reign.rows.lookup.iter();
        let settled: Vec<_> =
            wanted.filter_map(|job| Some((*job, self.disk.tables.status(*job)?))).collect();
        let wants = !reign.rows.lookup.is_empty();
        if let Some(calls) = self.calls(manager) {
            calls.looking_up = wants;
        }
        match (settled.is_empty(), wants) {
            (false, _) => {
                self.ask(manager, Input::DependenciesSettled(settled), Asker::Lookup);
            }
            (true, true) => self.later(manager, LOOKUP_MS, Task::Lookup),
            (true, false) => {}
        }
    }

    fn plan_on(&mut self, manager: usize) {
        let now_ms = self.now_ms;
        let Some(it) = self.managers.get_mut(manager) else { return };
        let era = it.era;
        let Some(reign) = it.reign.as_mut() else { return };
        let durable = &reign.world.durable;
        let has_work =
            !(durable.nodes.is_empty() && durable.jobs.is_empty() && durable.backlog.jobs == 0);
        let calls = &mut reign.calls;
        let due_ms = match (calls.changed, has_work) {
            (true, _) => calls.planned_ms + LEAST_PLAN_MS,
            (false, true) => calls.planned_ms + MOST_PLAN_MS,
            (false, false) => return,
        };
        let due_ms = due_ms.max(now_ms);
        if calls.plan_ms.is_none_or(|set| set < now_ms || due_ms < set) {
            calls.plan_ms = Some(due_ms);
            self.heap.push(due_ms, Event::Manager { manager, era, task: Task::Plan });
        }
    }

    /// Hands the planner a problem.
    pub(crate) fn plan(&mut self, manager: usize) {
        let now_ms = self.now_ms;
        let Some(now) = self.time_of(manager) else { return };
        let Some(reign) = self.managers.get_mut(manager).and_then(|it| it.reign.as_mut()) else {
            return;
        };
        let is_flying = reign.is_flying();
        let calls = &mut reign.calls;
        let is_set = calls.plan_ms.is_some_and(|set| set <= now_ms);
        if !is_set && calls.plan_ms.is_some() || calls.planning {
            return;
        }
        calls.plan_ms = None;
        if is_flying {
            // World is ahead of the disk: asked again when it is durable.
            return;
        }
        (calls.planned_ms, calls.changed, calls.planning) = (now_ms, false, true);
        let problem = control::problem(&reign.world, &reign.config, now);
        let plan = planner::plan(&problem);
        let faults = planner::check(&problem, &plan);
        if let Some(fault) = faults.first() {
            return self
                .breach(Invariant::NoPanic, format!("a plan breaks its own rules: {fault}"));
        }
        let nothing = plan.launches.is_empty() && plan.retirements.is_empty();
        let late = self.dice.happens(Fault::PlanLate, "leading", now_ms);
        let in_ms = if late { self.dice.how_much(Fault::PlanLate, 500, 60_000) } else { 10 };
        self.later(manager, in_ms, Task::Planned((!nothing).then(|| Box::new(plan))));
    }

    /// A plan comes back.
    pub(crate) fn planned(&mut self, manager: usize, plan: Option<Box<planner::Plan>>) {
        if let Some(calls) = self.calls(manager) {
            calls.planning = false;
        }
        match plan {
            Some(plan) => self.ask(manager, Input::Plan(plan), Asker::Nobody),
            None => self.plan_on(manager),
        }
    }
}

fn job_of(input: &Input) -> Option<JobId> {
    match input {
        Input::StopJob { job } => Some(*job),
        Input::StopTask { task } => Some(task.job),
        _ => None,
    }
}
