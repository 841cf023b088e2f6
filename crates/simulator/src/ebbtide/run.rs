//! The run: one heap, one clock, and whatever happens next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use control::{Config, Input, Joiner};
use market::recorded::{DecideAt, MachineNo, Recorded, Recording};
use model::NodeId;

use super::audit::Audit;
use super::cloud::Cloud;
use super::heap::{Event, Heap};
use super::latency::Latency;
use super::leader::{Asker, Leader};
use super::planning::Planning;
use super::tasks::Tasks;
use super::worker::Worker;
use super::{Start, config, first_world, timestamp};
use crate::books::Books;
use crate::jobs::JobWork;
use crate::result::Outcome;

/// A run under way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) now_ms: u64,
    pub(super) heap: Heap,
    pub(super) latency: Latency,
    /// Calls are carried out at the starts of ticks only, and nothing else takes time.
    pub(super) by_ticks: bool,
    pub(super) market: Recorded,
    pub(super) books: Books,
    pub(super) tasks: Tasks,
    pub(super) workers: Vec<Option<Worker>>,
    pub(super) machines: BTreeMap<MachineNo, usize>,
    pub(super) nodes: BTreeMap<NodeId, usize>,
    pub(super) leader: Leader,
    pub(super) planning: Planning,
    pub(super) cloud: Cloud,
    pub(super) audit: Audit,
    /// When something happened last that was not only a look at a clock.
    pub(super) stirred_ms: u64,
    /// Processes that run.
    pub(super) running: u64,
    /// Machines that boot.
    pub(super) booting: u64,
    arrivals: VecDeque<(u64, u32)>,
    /// When the last task was done.
    over_ms: Option<u64>,
    /// The last moment at which a job should be done.
    last_due_ms: u64,
    seed: u64,
}

/// Nothing happens and nothing can: after two of the longest waits for a pool that refuses, each pool
/// was asked again in vain.
const PATIENCE_MS: u64 = 2 * Config::MAX_HIDE_MS + 600_000;

impl Run {
    /// A run at its begin.
    pub(super) fn new(
        recording: &Arc<Recording>,
        jobs: &[Arc<JobWork>],
        start: &Start,
        seed: u64,
        audit: Audit,
    ) -> Self {
        let by_ticks = recording.decide_at == DecideAt::Tick;
        let mut arrivals: Vec<(u64, u32)> =
            (0u32..).zip(jobs).map(|(ordinal, job)| (job.arrival_ms, ordinal)).collect();
        arrivals.sort_unstable();
        let mut config = config(recording, jobs);
        config.limits = start.limits.unwrap_or(config.limits);
        let mut run = Self {
            now_ms: 0,
            heap: Heap::default(),
            latency: Latency::new(seed, by_ticks),
            by_ticks,
            market: Recorded::new(recording.clone()),
            books: Books::new(jobs),
            tasks: Tasks::new(jobs),
            workers: Vec::new(),
            machines: BTreeMap::new(),
            nodes: BTreeMap::new(),
            leader: Leader::new(first_world(seed), config),
            planning: Planning::default(),
            cloud: Cloud::new(recording),
            audit,
            stirred_ms: 0,
            running: 0,
            booting: 0,
            arrivals: arrivals.into(),
            over_ms: None,
            last_due_ms: jobs.iter().filter_map(|job| job.due_ms()).max().unwrap_or(0),
            seed,
        };
        run.begin(start);
        run
    }

    fn begin(&mut self, start: &Start) {
        self.buy_start(start);
        if !self.cloud.offers.is_empty() {
            self.look_at_offers();
        }
        self.tell(Input::Listed { machines: Vec::new(), asked: timestamp(0) });
        for node in start.nodes.iter().filter(|node| node.bought.is_none()) {
            let worker = self.workers.len();
            self.workers.push(Some(Worker::new(None, node.capacity)));
            let joiner = Joiner::Static { name: format!("static-{worker}").into() };
            let session = session(worker);
            self.ask(Input::Join { joiner, session, capacity: node.capacity }, Asker::Join(worker));
        }
        if let Some((at_ms, _)) = self.arrivals.front() {
            self.heap.push(*at_ms, Event::Arrivals);
        }
        self.expect_market();
    }

    /// Runs to the end of the workload, or until nothing can happen any more.
    pub(super) fn finish(mut self) -> (Outcome, Audit) {
        if self.tasks.unfinished == 0 {
            self.end_run();
        }
        while let Some((at_ms, event)) = self.heap.pop() {
            if self.is_settled() || self.stands_still(at_ms) {
                break;
            }
            self.now_ms = at_ms;
            self.keep_time();
            self.happen(event);
        }
        self.end_run();
        self.audit.close(self.unsettled_jobs().len());
        let outcome = self.books.close(&self.market, "ebbtide".into(), self.seed);
        (outcome, self.audit)
    }

    /// The market's clock goes on even when nothing moves there: it dates launches and ends.
    fn keep_time(&mut self) {
        let missed = self.market.advance_before(self.now_ms);
        debug_assert!(missed.is_empty(), "each of them has an event of its own");
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ends(worker, attempt) => self.ends(worker, attempt),
            Event::Arrivals => self.arrive(),
            Event::Notice(worker) => self.see_notice(worker),
            Event::Stop(worker) => self.stop_all(worker),
            Event::Commands(worker, commands) => self.obey(worker, *commands),
            Event::Report(worker) => self.report(worker),
            Event::Word(input) => self.tell(*input),
            Event::Backlog => self.backlog_read(),
            Event::Planned(plan) => self.planned(plan),
            Event::Committed(decision, askers) => self.committed(*decision, askers),
            Event::Step => self.step(),
            // When the work is done, the market is left: only reports are still taken in.
            _ if self.is_over() => {}
            Event::Market => self.market_moves(),
            Event::Booted(worker) => self.booted(worker),
            Event::Calls => self.calls(),
            Event::Launch(intent) => self.launch(&intent),
            Event::Retire(instances) => self.retire(instances),
            Event::Offers => self.look_at_offers(),
            Event::Plan => self.plan(),
        }
        if self.tasks.unfinished == 0 && self.over_ms.is_none() {
            self.end_run();
        }
    }

    /// Whether all work is done.
    pub(super) fn is_over(&self) -> bool {
        self.over_ms.is_some()
    }

    fn is_settled(&self) -> bool {
        self.is_over() && self.arrivals.is_empty() && self.leader.is_done()
    }

    fn stands_still(&self, at_ms: u64) -> bool {
        let still_since_ms = self.stirred_ms.max(self.last_due_ms);
        at_ms > still_since_ms.saturating_add(PATIENCE_MS)
            && self.arrivals.is_empty()
            && self.market.next_event_ms().is_none()
            && self.running == 0
            && self.booting == 0
    }

    /// The run ends, and every machine with it.
    fn end_run(&mut self) {
        if self.over_ms.is_some() {
            return;
        }
        self.over_ms = Some(self.now_ms);
        let machines: Vec<(MachineNo, usize)> =
            self.machines.iter().map(|(no, worker)| (*no, *worker)).collect();
        self.pass_to_now();
        for (no, worker) in machines {
            self.end_machine(worker, no);
        }
    }

    fn arrive(&mut self) {
        while let Some((_, ordinal)) = self.arrivals.pop_front_if(|it| it.0 <= self.now_ms) {
            if let Some((job, spec)) = self.tasks.submit(ordinal, self.now_ms) {
                self.stirred_ms = self.now_ms;
                self.tell(Input::Submit { job, spec: Arc::new(spec) });
            }
        }
        if let Some((at_ms, _)) = self.arrivals.front() {
            self.heap.push(*at_ms, Event::Arrivals);
        }
    }

    pub(super) fn expect_market(&mut self) {
        if let Some(at_ms) = self.market.next_event_ms() {
            self.heap.push(at_ms, Event::Market);
        }
    }
}

/// A digester's session.
pub(super) fn session(worker: usize) -> u64 {
    u64::try_from(worker).unwrap_or(u64::MAX).saturating_add(1)
}
