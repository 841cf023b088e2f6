//! People: they submit, stop, patch, retry and drain, through whichever manager answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use control::Input;
use model::{JobId, JobSpec, TaskId};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::disk::Row;
use crate::leader::Asker;
use crate::run::{Event, Run, Task};
use crate::{Dice, Fault};

/// What people want, and what they were promised.
#[derive(Debug)]
pub(crate) struct People {
    orders: Vec<Order>,
    accepted: BTreeSet<JobId>,
    open: usize,
    tasks: u64,
}

/// A job that somebody wants to submit.
#[derive(Debug)]
struct Order {
    at_ms: u64,
    spec: Arc<JobSpec>,
    /// With a key it is asked until it is accepted; without, once.
    keyed: bool,
    job: JobId,
    done: bool,
}

/// Tasks of a run at most.
const MOST_TASKS: u64 = 500;
/// A client asks again.
const AGAIN_MS: u64 = 5_000;

impl People {
    pub(crate) fn new(dice: &mut Dice, heal_ms: u64) -> Self {
        let rng = dice.plain();
        let most = [20, 80, 250, MOST_TASKS][rng.random_range(0..4)];
        let (mut orders, mut tasks) = (Vec::new(), 0);
        while tasks < most && orders.len() < 40 {
            let number = u64::try_from(orders.len()).unwrap_or(0) + 1;
            let spec = job_spec(rng, number, heal_ms);
            tasks += spec.tasks();
            orders.push(Order {
                at_ms: rng.random_range(0..heal_ms * 9 / 10),
                spec: Arc::new(spec),
                keyed: rng.random_ratio(2, 3),
                job: JobId::from_number(number),
                done: false,
            });
        }
        orders.sort_by_key(|order| (order.at_ms, order.job));
        Self { open: orders.len(), orders, accepted: BTreeSet::new(), tasks }
    }

    /// Tasks that they want done.
    pub(crate) fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Jobs that were accepted.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = JobId> + '_ {
        self.accepted.iter().copied()
    }

    /// Whether all have been submitted.
    pub(crate) fn is_done(&self) -> bool {
        self.open == 0
    }
}

impl Run {
    pub(crate) fn people_begin(&mut self) {
        for order in 0..self.people.orders.len() {
            let at_ms = self.people.orders[order].at_ms;
            self.heap.push(at_ms, Event::Submit(order));
        }
        let at_ms = self.between(1_000, self.heal_ms / 8);
        self.heap.push(at_ms, Event::People);
    }

    fn some_manager(&mut self) -> Option<usize> {
        let manager = self.dice.plain().random_range(0..self.managers.len());
        let it = self.managers.get(manager)?;
        (it.is_alive && it.hung_until_ms <= self.now_ms).then_some(manager)
    }

    /// A client submits, by whichever manager answers.
    pub(crate) fn submit(&mut self, order: usize) {
        let Some(it) = self.people.orders.get(order).filter(|it| !it.done) else { return };
        let (job, spec, keyed) = (it.job, it.spec.clone(), it.keyed);
        let again_ms = self.now_ms + AGAIN_MS;
        let Some(manager) = self.some_manager() else {
            return self.heap.push(again_ms, Event::Submit(order));
        };
        let leads = self.managers.get(manager).is_some_and(|it| it.reign.is_some());
        if keyed {
            self.heap.push(again_ms, Event::Submit(order));
        } else {
            // Without a key nobody asks again: whether it is there is then not known.
            self.order_done(order);
        }
        if leads && !keyed {
            return self.ask(manager, Input::Submit { job, spec }, Asker::Client(order));
        }
        let number = u64::try_from(order).unwrap_or(0);
        if self.dice.happens(Fault::CommitFails, "standing-by", self.now_ms) {
            return;
        }
        let posted = self.disk.post(Row::Submit(job, spec), keyed.then_some(number));
        if !self.dice.happens(Fault::CommitUnanswered, "standing-by", self.now_ms) {
            self.accepted(order, posted);
        }
    }

    fn order_done(&mut self, order: usize) {
        if let Some(it) = self.people.orders.get_mut(order).filter(|it| !it.done) {
            it.done = true;
            self.people.open -= 1;
        }
    }

    /// A client has its 201.
    pub(crate) fn accepted(&mut self, order: usize, job: Option<JobId>) {
        let Some(job) = job.or_else(|| self.people.orders.get(order).map(|it| it.job)) else {
            return;
        };
        self.order_done(order);
        self.people.accepted.insert(job);
        if !self.disk.has(job) {
            let words = format!("{job} was accepted and is not on the disk");
            self.breach(control::Invariant::AcceptedIsDurable, words);
        }
    }

    /// Somebody does something, now and then.
    pub(crate) fn people_act(&mut self) {
        if self.now_ms < self.heal_ms {
            self.people_interfere();
            let at_ms = self.between(1_000, self.heal_ms / 4);
            self.heap.push(at_ms, Event::People);
        }
    }

    /// Somebody does something, now.
    pub(crate) fn people_interfere(&mut self) {
        let Some(manager) = self.some_manager() else { return };
        let leads = self.managers.get(manager).is_some_and(|it| it.reign.is_some());
        let job = self.some_job();
        let draw = self.dice.plain().random_range(0..10);
        match (draw, job) {
            (0..3, Some(job)) => {
                self.disk.post(Row::Message(Input::StopJob { job }), None);
            }
            (3..5, Some(job)) => {
                let index = self.dice.plain().random_range(0..20);
                let task = TaskId { job, group: 0, index };
                self.disk.post(Row::Message(Input::StopTask { task }), None);
            }
            (5..7, Some(job)) if leads => self.patch(manager, job),
            (7, _) if leads => self.retry(manager),
            (8..10, _) if leads => self.drain(manager),
            _ => {}
        }
    }

    fn some_job(&mut self) -> Option<JobId> {
        let known: Vec<JobId> = self.disk.world.durable.jobs.keys().copied().collect();
        if known.is_empty() {
            return None;
        }
        Some(known[self.dice.plain().random_range(0..known.len())])
    }

    fn patch(&mut self, manager: usize, job: JobId) {
        let Some(spec) = self.disk.tables.spec(job).cloned() else { return };
        let draw = self.dice.plain().random_range(0..3);
        let document = match draw {
            0 => json!({"priority": 1}),
            1 => json!({"max_running": 3}),
            _ => json!({"labels": {"patched": "yes"}}),
        };
        let Ok(patch) = spec.merge_patch(&document) else { return };
        let spec = Arc::new(spec.patched(&patch));
        let input = Input::PatchJob { job, patch: Box::new(patch), spec };
        self.later(manager, 1, Task::Input(Box::new(input)));
    }

    fn retry(&mut self, manager: usize) {
        let jobs: Vec<JobId> = self.people.accepted.iter().copied().collect();
        let back = jobs.into_iter().find_map(|job| Some((job, self.disk.tables.retried(job)?)));
        if let Some((job, settled)) = back {
            // Read and handed over under one lock, as the manager does.
            let input = Input::RetryJob { job, settled: Some(Box::new(settled)) };
            self.ask(manager, input, Asker::Nobody);
        }
    }

    fn drain(&mut self, manager: usize) {
        let nodes: Vec<_> = self.disk.world.durable.nodes.keys().copied().collect();
        if nodes.is_empty() {
            return;
        }
        let node = nodes[self.dice.plain().random_range(0..nodes.len())];
        let own =
            self.disk.world.durable.nodes.get(&node).is_some_and(|it| it.instance().is_none());
        let on = self.dice.plain().random_ratio(1, 2) && !own;
        let input = if on { Input::Drain { node } } else { Input::Undrain { node } };
        self.later(manager, 1, Task::Input(Box::new(input)));
    }
}

fn job_spec(rng: &mut ChaCha8Rng, number: u64, heal_ms: u64) -> JobSpec {
    let groups = rng.random_range(1..4);
    let group = |rng: &mut ChaCha8Rng, ordinal: u32| {
        let after: Vec<String> = (0..ordinal)
            .filter(|_| rng.random_ratio(1, 3))
            .map(|other| format!("g{other}"))
            .collect();
        // From a twentieth of a second to half an hour, each length as likely as its double.
        let run_ms = (50u64 << rng.random_range(0..16)).min(heal_ms / 6);
        let purchase = ["spot", "on-demand", "spot-then-on-demand"][rng.random_range(0..3)];
        let timeout_ms = 2 * run_ms + 5_000;
        let mut group = json!({
            "name": format!("g{ordinal}"),
            "after": after,
            "count": rng.random_range(1..12),
            "command": ["work"],
            "env": {"RUN_MS": run_ms.to_string()},
            "resources": {"cpu": format!("{}m", 250 * rng.random_range(1..9)), "memory": "64MiB"},
            "restart": {"max_failures": rng.random_range(0..4), "backoff": "1s", "no_retry_exit_codes": [2]},
            "purchase": purchase,
        });
        if rng.random_ratio(1, 2) {
            group["timeout"] = format!("{timeout_ms}ms").into();
        }
        if rng.random_ratio(1, 2) {
            group["expect"] = format!("{run_ms}ms").into();
        }
        group
    };
    let groups: Vec<_> = (0..groups).map(|ordinal| group(rng, ordinal)).collect();
    let mut document = json!({
        "name": format!("job {number}"),
        "priority": rng.random_range(-1..2),
        "on_task_failure": if rng.random_ratio(1, 4) { "stop" } else { "continue" },
        "group": groups,
    });
    if rng.random_ratio(1, 4) {
        document["max_running"] = rng.random_range(1..5).into();
    }
    if rng.random_ratio(1, 4) {
        // With little slack or much, beyond what it needs on demand from the start.
        let runs = document["group"].as_array().into_iter().flatten();
        let runs = runs.filter_map(|group| group["env"]["RUN_MS"].as_str()?.parse::<u64>().ok());
        let slack_ms = [1_000_000, 2_000_000, 6_000_000][rng.random_range(0..3)];
        document["deadline"] = format!("{}ms", runs.sum::<u64>() + slack_ms).into();
    }
    JobSpec::parse(&document).unwrap_or_else(|faults| unreachable!("{faults:?}"))
}
