//! What happens on machines: boots, starts, ends, notices, losses.

use cloud::Identity;
use control::{Commands, Input, Joiner};
use market::recorded::{Ended, Ending, Event as MarketEvent, MachineNo};
use model::{
    AttemptId, LogPart, NodeId, NodeNotice, Notice, NoticeKind, Outcome, PurchaseOption,
    TaskResult, Transition,
};

use super::heap::Event;
use super::latency::Takes;
use super::leader::Asker;
use super::run::{Run, session};
use super::timestamp;
use super::worker::{Active, Going};
use crate::books::Stay;
use crate::work::{Checkpoint, Cut};

/// Between TERM and KILL: the digester's default.
const GRACE_MS: u64 = 5_000;

impl Run {
    /// The market goes on by itself.
    pub(super) fn market_moves(&mut self) {
        self.pass_to_now();
        self.expect_market();
    }

    /// Brings the market to the present.
    pub(super) fn pass_to_now(&mut self) {
        for event in self.market.advance(self.now_ms) {
            match event {
                MarketEvent::Moved { pool } => self.pool_moved(pool),
                MarketEvent::Notice { machine, deadline_ms } => self.noticed(machine, deadline_ms),
                MarketEvent::Reclaimed(ended) => self.reclaimed(&ended),
            }
        }
    }

    /// A machine will be taken: it can see that itself, and the cloud says so by its queue.
    fn noticed(&mut self, no: MachineNo, deadline_ms: u64) {
        self.stirred_ms = self.now_ms;
        let Some(index) = self.machines.get(&no).copied() else { return };
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(instance) = worker.bought.as_mut() else { return };
        instance.bought.deadline_ms = Some(deadline_ms);
        let notice = Notice {
            instance: instance.id.clone(),
            kind: NoticeKind::Interruption,
            deadline: timestamp(deadline_ms),
        };
        if worker.node.is_some() {
            let seen_ms = self.now_ms + self.latency.of(Takes::Metadata);
            self.heap.push(seen_ms, Event::Notice(index));
        }
        self.by_queue(notice);
    }

    fn by_queue(&mut self, notice: Notice) {
        let at_ms = self.now_ms + self.latency.of(Takes::CloudQueue);
        self.heap.push(at_ms, Event::Word(Box::new(Input::Notice(notice))));
    }

    /// A machine was taken back, with all that ran there.
    fn reclaimed(&mut self, ended: &Ended) {
        self.stirred_ms = self.now_ms;
        let Some(index) = self.machines.get(&ended.machine.no).copied() else { return };
        self.lose(index, ended);
    }

    /// Ends a machine that we bought.
    pub(super) fn end_machine(&mut self, index: usize, no: MachineNo) -> bool {
        match self.market.end(no) {
            Some(ended) => {
                self.lose(index, &ended);
                true
            }
            None => false,
        }
    }

    fn lose(&mut self, index: usize, ended: &Ended) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let cut = match worker.going {
            Some(going) => Cut::Told { notice_ms: self.now_ms - going.told_ms },
            None => Cut::Sudden,
        };
        for attempt in worker.running() {
            self.cut(index, attempt, cut);
        }
        // What was said before it died arrives.
        self.speak_now(index);
        let Some(worker) = self.workers.get_mut(index).and_then(Option::take) else { return };
        self.machines.remove(&ended.machine.no);
        // Given back before it was taken: interrupted all the same.
        let told = ended.machine.deadline_ms.is_some() && !self.is_over();
        let ending = if told { Ending::Reclaimed } else { ended.ending };
        self.books.ended(&self.market, &Ended { ending, ..*ended });
        let Some(instance) = worker.bought else { return };
        self.audit.ended(&instance.id, ended.cost.rounded());
        self.cloud.instances.remove(&instance.id);
        match worker.node {
            Some(node) => {
                let closed = Input::Closed { node, session: session(index) };
                let at_ms = self.now_ms + self.latency.of(Takes::Network);
                self.heap.push(at_ms, Event::Word(Box::new(closed)));
            }
            None if worker.joining => {}
            None => self.booting = self.booting.saturating_sub(1),
        }
        if ended.ending == Ending::Reclaimed {
            let (kind, deadline) = (NoticeKind::StateChange, timestamp(self.now_ms));
            self.by_queue(Notice { instance: instance.id, kind, deadline });
        }
    }

    /// A process is killed with its machine.
    fn cut(&mut self, index: usize, attempt: AttemptId, cut: Cut) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        if let Some(active) = worker.finish(attempt) {
            self.book(index, &active, cut);
        }
    }

    /// A process is over: where its time went, and what is left of its work.
    fn book(&mut self, index: usize, active: &Active, cut: Cut) {
        self.running = self.running.saturating_sub(1);
        self.stirred_ms = self.now_ms;
        let Some(job) = self.tasks.job(active.task.job).cloned() else { return };
        let ran_ms = self.now_ms - active.since_ms;
        let course = job.work.course(active.done_ms, ran_ms, cut);
        let Some(worker) = self.workers.get(index).and_then(Option::as_ref) else { return };
        if let Some(instance) = &worker.bought {
            let stay = Stay {
                task: active.task,
                from_ms: active.since_ms,
                to_ms: self.now_ms,
                share_ppm: worker.capacity.share_ppm(&job.ask),
                course,
            };
            self.books.stay(&self.market, &instance.bought, &stay);
        }
        let mut progress = self.tasks.progress(active.task);
        progress.zone = worker.zone();
        progress.done_ms = progress.done_ms.max(active.done_ms + course.lasting_ms);
        if ran_ms >= job.work.runtime_ms(active.done_ms) && !progress.finished {
            progress.finished = true;
            progress.done_ms = job.work.work_ms;
            self.books.finished(active.task, self.now_ms);
            self.tasks.unfinished -= 1;
        }
        self.tasks.set_progress(active.task, progress);
    }

    /// A machine has booted: its digester joins.
    pub(super) fn booted(&mut self, index: usize) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(instance) = &worker.bought else { return };
        self.booting = self.booting.saturating_sub(1);
        self.stirred_ms = self.now_ms;
        worker.joining = true;
        let identity = Identity { instance: instance.id.clone(), intent: instance.intent };
        let joiner = Joiner::Machine(identity);
        let capacity = worker.capacity;
        self.ask(Input::Join { joiner, session: session(index), capacity }, Asker::Join(index));
    }

    /// It has joined: its first poll says what it has.
    pub(super) fn joined(&mut self, index: usize, node: NodeId) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        worker.node = Some(node);
        self.nodes.insert(node, index);
        let noticed = worker.bought.as_ref().is_some_and(|it| it.bought.deadline_ms.is_some());
        let poll = Input::Sync {
            node,
            session: session(index),
            transitions: Vec::new(),
            inventory: Some(worker.inventory()),
            notice: None,
        };
        // Commands are answers to polls: so none of them is there before this one.
        self.tell(poll);
        if noticed {
            let seen_ms = self.now_ms + self.latency.of(Takes::Metadata);
            self.heap.push(seen_ms, Event::Notice(index));
        }
    }

    /// A node obeys.
    pub(super) fn obey(&mut self, index: usize, commands: Commands) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        if let Some(drain) = commands.drain {
            worker.draining = drain;
        }
        for (attempt, held) in commands.assign {
            let Some((_, job)) = self.tasks.key(attempt.task) else { continue };
            let work = &job.work;
            let expect_ms = work.changeover_ms.saturating_add(work.work_ms);
            worker.take(attempt, job.ask, Some(expect_ms), held);
        }
        if worker.draining || worker.going.is_some() {
            for attempt in worker.waiting() {
                worker.give_back(attempt);
            }
        }
        let mut stopped = Vec::new();
        for attempt in commands.cancel {
            if !worker.give_back(attempt) && worker.active(attempt).is_some() {
                stopped.push(attempt);
            }
        }
        for attempt in commands.retract {
            worker.give_back(attempt);
        }
        for attempt in stopped {
            self.stop(index, attempt, Outcome::Stopped, GRACE_MS, self.now_ms);
        }
        for notice in commands.notices {
            self.go_within(index, notice.remaining_ms, None);
        }
        self.go_on(index);
    }

    /// Starts what fits, and says what there is to be said.
    fn go_on(&mut self, index: usize) {
        while let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut)
            && let Some(attempt) = worker.next_to_start()
        {
            self.start(index, attempt);
        }
        self.speak(index);
    }

    fn start(&mut self, index: usize, attempt: AttemptId) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let Some((task, job)) = self.tasks.key(attempt.task) else {
            // Its job is settled: the cancel is on its way.
            worker.give_back(attempt);
            return;
        };
        let progress = self.tasks.progress(task);
        let ends_ms = self.now_ms + job.work.runtime_ms(progress.done_ms);
        let active = Active {
            task,
            since_ms: self.now_ms,
            done_ms: progress.done_ms,
            ends_ms,
            ending: None,
        };
        worker.activate(attempt, active);
        worker.unsaid.push(Transition::Started { attempt });
        self.books.start(task);
        self.running += 1;
        self.stirred_ms = self.now_ms;
        self.heap.push(ends_ms, Event::Ends(index, attempt));
        if let (Some(from), Some(to)) = (progress.zone, worker.zone()) {
            let cost = job.egress(self.market.recording(), &from, &to);
            if cost.0 > 0 {
                self.books.egress(&self.market, task, cost);
                self.audit.paid += cost;
            }
        }
    }

    /// A process is over, by itself or because it was told to.
    pub(super) fn ends(&mut self, index: usize, attempt: AttemptId) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let due = |active: &&Active| active.ends_ms == self.now_ms;
        let Some(active) = worker.active(attempt).filter(due).copied() else { return };
        worker.finish(attempt);
        let run_ms = self.now_ms - active.since_ms;
        let runtime_ms =
            self.tasks.job(active.task.job).map_or(0, |job| job.work.runtime_ms(active.done_ms));
        let (outcome, cut) = match active.ending {
            Some((why, notice_ms)) if run_ms < runtime_ms => (why, Cut::Told { notice_ms }),
            _ => (Outcome::Exited { code: 0 }, Cut::Sudden),
        };
        let result = TaskResult {
            outcome,
            run_ms,
            stdout: LogPart::default(),
            stderr: LogPart::default(),
            outputs: Vec::new(),
            message: None,
        };
        worker.unsaid.push(Transition::Ended { attempt, result: Box::new(result) });
        self.book(index, &active, cut);
        self.go_on(index);
    }

    /// A process is told to end. It knew so since `told_ms`, writes its last checkpoint, and is killed
    /// when that takes longer than the grace.
    fn stop(
        &mut self,
        index: usize,
        attempt: AttemptId,
        why: Outcome,
        grace_ms: u64,
        told_ms: u64,
    ) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(active) = worker.active_mut(attempt) else { return };
        if active.ending.is_some() {
            return;
        }
        let checkpoint = self.tasks.job(active.task.job).map(|job| job.work.checkpoint);
        let needs_ms = match checkpoint {
            Some(Checkpoint::Periodic { cost_ms, .. }) => cost_ms.min(grace_ms),
            Some(Checkpoint::Continuous | Checkpoint::None) | None => 0,
        };
        let ends_ms = active.ends_ms.min(self.now_ms + needs_ms);
        active.ending = Some((why, ends_ms - told_ms));
        if active.ends_ms != ends_ms {
            active.ends_ms = ends_ms;
            self.heap.push(ends_ms, Event::Ends(index, attempt));
        }
    }

    /// A node sees in its metadata that it will be taken.
    pub(super) fn see_notice(&mut self, index: usize) {
        let Some(worker) = self.workers.get(index).and_then(Option::as_ref) else { return };
        let deadline_ms = worker.bought.as_ref().and_then(|it| it.bought.deadline_ms);
        let Some(deadline_ms) = deadline_ms else { return };
        let remaining_ms = deadline_ms.saturating_sub(self.now_ms);
        let notice = NodeNotice { kind: NoticeKind::Interruption, remaining_ms };
        self.go_within(index, remaining_ms, Some(notice));
        self.go_on(index);
    }

    /// Carries the notice policy out: from now on nothing starts.
    fn go_within(&mut self, index: usize, remaining_ms: u64, own: Option<NodeNotice>) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        worker.untold = worker.untold.or(own);
        let deadline_ms = self.now_ms + remaining_ms;
        if worker.going.is_some_and(|going| going.deadline_ms <= deadline_ms) {
            return;
        }
        let (runners, waiting) = (worker.runners(self.now_ms), worker.waiting());
        let plan = node::on_notice(remaining_ms, GRACE_MS, &runners, &waiting);
        let told_ms = worker.going.map_or(self.now_ms, |going| going.told_ms);
        let stop_ms = self.now_ms + plan.stop_in_ms;
        let grace_ms = plan.grace_ms;
        worker.going = Some(Going { told_ms, deadline_ms, stop_ms, grace_ms });
        for attempt in plan.give_back {
            worker.give_back(attempt);
        }
        for attempt in plan.stop_now {
            self.stop(index, attempt, Outcome::Evicted, grace_ms, self.now_ms);
        }
        self.heap.push(stop_ms, Event::Stop(index));
    }

    /// Time is up for whoever still runs.
    pub(super) fn stop_all(&mut self, index: usize) {
        let Some(worker) = self.workers.get(index).and_then(Option::as_ref) else { return };
        let Some(going) = worker.going.filter(|going| going.stop_ms <= self.now_ms) else { return };
        for attempt in worker.running() {
            self.stop(index, attempt, Outcome::Evicted, going.grace_ms, going.told_ms);
        }
    }

    /// A report leaves, unless one is on its way.
    fn speak(&mut self, index: usize) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let news = !worker.unsaid.is_empty() || worker.untold.is_some();
        if news && !worker.speaks {
            worker.speaks = true;
            let at_ms = self.now_ms + self.latency.of(Takes::Network);
            self.heap.push(at_ms, Event::Report(index));
        }
    }

    /// A report arrives.
    pub(super) fn report(&mut self, index: usize) {
        if let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) {
            worker.speaks = false;
            self.speak_now(index);
        }
    }

    fn speak_now(&mut self, index: usize) {
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(node) = worker.node else { return };
        let transitions = std::mem::take(&mut worker.unsaid);
        let deadline_ms = worker.going.map_or(0, |going| going.deadline_ms);
        let remaining_ms = deadline_ms.saturating_sub(self.now_ms);
        let notice = worker.untold.take().map(|notice| NodeNotice { remaining_ms, ..notice });
        if !transitions.is_empty() || notice.is_some() {
            let session = session(index);
            self.tell(Input::Sync { node, session, transitions, inventory: None, notice });
        }
    }

    /// Machines that are there at the begin: bought before, booted and joined.
    pub(super) fn buy_start(&mut self, start: &super::Start) {
        let bought = start.nodes.iter().filter_map(|node| Some((node, node.bought?)));
        for (node, (pool, option)) in bought {
            let Some(no) = self.market.launch(pool, option) else { continue };
            self.enter_start(no, node.capacity, option);
        }
    }

    fn enter_start(&mut self, no: MachineNo, capacity: model::Resources, option: PurchaseOption) {
        let Some(bought) = self.market.machine(no).copied() else { return };
        let Some(trace) = self.market.recording().pools.get(bought.pool) else { return };
        let pool = trace.pool(option);
        let offer = self.cloud.offers.iter().find(|offer| offer.pool == pool).cloned();
        let Some(offer) = offer else { return };
        let intent = model::IntentId::from_number(1);
        let index = self.enter(bought, intent, &pool);
        let Some(worker) = self.workers.get_mut(index).and_then(Option::as_mut) else { return };
        let instance = super::cloud::instance_id(no);
        let id = NodeId::from_number((super::START_MS << 20) | no.0);
        self.leader.bear(id, instance, intent, offer, session(index), capacity);
        *worker = super::worker::Worker::new(worker.bought.take(), capacity);
        worker.joining = true;
        self.joined(index, id);
    }
}
