//! A small cluster that writes down what its leader decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use cloud::{CloudError, Identity, Launched};
use control::{
    BacklogJob, Config, Explanation, Input, Joiner, NoteKind, Reply, RetriedJob, problem, step,
};
use model::{
    After, AttemptId, Change, ClusterId, Durable, FORMAT, GroupId, Head, InstanceId, IntentId,
    InventoryItem, JobId, JobSpec, JobStatus, LogPart, Machine, MachineState, MicroUsd, NodeId,
    Notice, NoticeKind, Offer, Outcome, Phase, Pool, PurchaseOption, Resources, RetriedGroup,
    TaskId, TaskResult, TaskState, Timestamp, Transition, World,
};
use serde_json::{Value, json};

pub(crate) const START: Timestamp = Timestamp::from_ms(1_790_000_000_000);

pub(crate) struct Cluster {
    world: World,
    pub(crate) config: Config,
    now: Timestamp,
    lines: String,
    names: BTreeMap<String, String>,
    lookup: BTreeSet<JobId>,
    /// Whether notes that are kept are told.
    pub(crate) tells_notes: bool,
}

/// A job of `count` tasks that ask for so much cpu.
pub(crate) fn job(count: u32, cpu_millis: u32) -> Value {
    let resources = json!({"cpu": format!("{cpu_millis}m"), "memory": "1MiB"});
    json!({"group": [{"command": ["true"], "count": count, "resources": resources}]})
}

pub(crate) fn offer(zone: &str, price: i64) -> Offer {
    Offer {
        pool: Pool {
            zone: zone.into(),
            instance_type: "m5.large".into(),
            option: PurchaseOption::Spot,
        },
        capacity: resources(2_000),
        price: MicroUsd(price),
        on_demand_price: MicroUsd(96_000),
        hazard_ppm_hour: 0,
    }
}

pub(crate) fn machine(name: &str, intent: u64, launched: Timestamp) -> Machine {
    Machine {
        instance: InstanceId::new(name),
        intent: Some(IntentId::from_number(intent)),
        pool: offer("a", 0).pool,
        state: MachineState::Running,
        launched,
    }
}

fn resources(cpu_millis: u32) -> Resources {
    Resources { cpu_millis, memory_mib: 4_096, disk_mib: 0, gpus: 0 }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let cluster = ClusterId::from_number(1);
        let head = Head { term: 1, seq: 0, now: START, format: FORMAT, cluster, seed: 7 };
        let mut world = World::new(Durable::new(head));
        world.observed.leader_since = START;
        let config = Config::default();
        let (lines, names, lookup) = (String::new(), BTreeMap::new(), BTreeSet::new());
        Self { world, config, now: START, lines, names, lookup, tells_notes: false }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn story(&self) -> &str {
        &self.lines
    }

    pub(crate) fn say(&mut self, words: &str) {
        writeln!(self.lines, "# {words}").expect("a String takes all");
    }

    /// Short names for drawn ids, in the order of their appearance.
    fn name(&mut self, id: &str) -> String {
        let kind = id.split('_').next().unwrap_or("id").to_owned();
        let number = self.names.keys().filter(|known| known.starts_with(&kind)).count() + 1;
        self.names.entry(id.to_owned()).or_insert_with(|| format!("{kind}{number}")).clone()
    }

    /// With short names for ids.
    fn renamed(&mut self, text: &str) -> String {
        for id in self.world.durable.nodes.keys() {
            let id = id.to_string();
            if text.contains(&id) {
                let number =
                    self.names.keys().filter(|known| known.starts_with("node")).count() + 1;
                self.names.entry(id).or_insert_with(|| format!("node{number}"));
            }
        }
        let named = |text: String, (id, name): (&String, &String)| text.replace(id, name);
        self.names.iter().fold(text.to_owned(), named)
    }

    fn tell(&mut self, subject: &str, explanation: Option<Explanation>) {
        let Some(Explanation { summary, details }) = explanation else {
            writeln!(self.lines, "{subject}: nothing is known").expect("a String takes all");
            return;
        };
        let summary = self.renamed(&summary);
        writeln!(self.lines, "{subject} {summary}").expect("a String takes all");
        for detail in details {
            let detail = self.renamed(&detail);
            writeln!(self.lines, "  - {detail}").expect("a String takes all");
        }
    }

    pub(crate) fn explain_task(&mut self, job: u64, group: u16, index: u32) {
        let id = TaskId { job: JobId::from_number(job), group, index };
        let why = control::explain_task(&self.world, &self.config, id, self.now);
        self.tell(&format!("{job}.{group}.{index}"), why);
    }

    pub(crate) fn explain_job(&mut self, job: u64) {
        let id = JobId::from_number(job);
        let why = control::explain_job(&self.world, &self.config, id, self.now);
        self.tell(&format!("job {job}"), why);
    }

    pub(crate) fn explain_node(&mut self, node: NodeId) {
        let why = control::explain_node(&self.world, &self.config, node, self.now);
        let name = self.name(&node.to_string());
        self.tell(&name, why);
    }

    pub(crate) fn withheld(&mut self) {
        for item in control::withheld(&self.world, self.now) {
            writeln!(self.lines, "{item}").expect("a String takes all");
        }
    }

    /// What was told so far is not shown.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
    }

    fn take(&mut self, words: &str, inputs: Vec<Input>) -> Vec<Reply> {
        let decision = step(&mut self.world, &self.config, inputs, self.now);
        assert_eq!(decision.violations, Vec::new(), "{}", self.lines);
        writeln!(self.lines, "{:>7} {words}", self.now.since(START)).expect("a String takes all");
        for change in &decision.changes {
            if let Some(words) = self.change(change) {
                writeln!(self.lines, "          {words}").expect("a String takes all");
            }
        }
        for reply in &decision.replies {
            if let Reply::Refused(_) | Reply::NotFound | Reply::Fenced | Reply::Retried(_) = reply {
                writeln!(self.lines, "          {reply:?}").expect("a String takes all");
            }
        }
        for (node, commands) in &decision.commands {
            let node = self.name(&node.to_string());
            let list = |attempts: &[AttemptId]| {
                attempts.iter().map(|at| format!(" {}", short(at))).collect::<String>()
            };
            let assign: Vec<AttemptId> = commands.assign.iter().map(|(at, _)| *at).collect();
            let all = [
                ("assign", list(&assign)),
                ("cancel", list(&commands.cancel)),
                ("retract", list(&commands.retract)),
                ("drain", commands.drain.map(|on| format!(" {on}")).unwrap_or_default()),
            ];
            for (verb, what) in all.iter().filter(|(_, what)| !what.is_empty()) {
                writeln!(self.lines, "          > {node}: {verb}{what}")
                    .expect("a String takes all");
            }
        }
        if self.tells_notes {
            for note in decision.notes.iter().filter(|note| note.kind == NoteKind::Kept) {
                let words = self.renamed(&format!("{}: {}", note.subject, note.words));
                writeln!(self.lines, "          ! {words}").expect("a String takes all");
            }
        }
        if decision.lookup != self.lookup {
            let numbers: Vec<u64> = decision.lookup.iter().map(|job| job.number()).collect();
            writeln!(self.lines, "          looks up jobs {numbers:?}")
                .expect("a String takes all");
            self.lookup.clone_from(&decision.lookup);
        }
        if decision.replan {
            writeln!(self.lines, "          asks for a plan").expect("a String takes all");
        }
        if decision.take_in > 0 {
            writeln!(self.lines, "          asks for {} jobs", decision.take_in)
                .expect("a String takes all");
        }
        decision.replies
    }

    fn change(&mut self, change: &Change) -> Option<String> {
        Some(match change {
            Change::JobSubmitted { job, taken_in, .. } => {
                format!("job {} {}", job.number(), if *taken_in { "taken in" } else { "waits" })
            }
            Change::JobTakenIn { job, .. } => format!("job {} taken in", job.number()),
            Change::JobPatched { job, patch, .. } => {
                let patch = serde_json::to_string(patch).expect("a patch is JSON");
                format!("job {} patched: {patch}", job.number())
            }
            Change::JobRetried { job, .. } => format!("job {} comes back", job.number()),
            Change::TaskRetried { task, .. } => format!("{} retried", task_name(task)),
            Change::JobStopping { job, cause } => {
                format!("job {} stopping: {cause:?}", job.number())
            }
            Change::JobSettled { job, status, .. } => format!("job {} {status}", job.number()),
            Change::Placed { attempt, task } => {
                let node = task.placement().map(|at| at.node.to_string()).unwrap_or_default();
                format!("{} placed on {}", short(attempt), self.name(&node))
            }
            Change::Bound { attempt, task } => format!("{} {}", short(attempt), state(&task.state)),
            Change::Ended { attempt, end, after, .. } => {
                let after = match after {
                    After::Keep(task) => state(&task.state),
                    settled => format!("{settled:?}").to_lowercase(),
                };
                format!("{} {}, then {after}", short(attempt), end.as_str())
            }
            Change::Due { task } => format!("{} due", task_name(task)),
            Change::FreshCancelled { group, from, to } => {
                format!("{}{from}..{to} cancelled", group_name(*group))
            }
            Change::RetryCancelled { task } => format!("{} cancelled", task_name(task)),
            Change::Node(node) => {
                let name = self.name(&node.id.to_string());
                format!("{name} {}: {}", node.state, node.reason)
            }
            Change::Intent(intent) => {
                let name = self.name(&intent.id.to_string());
                let request = &intent.request;
                let zones: Vec<_> = request.offers.iter().map(|offer| &*offer.pool.zone).collect();
                let state = match &intent.state {
                    model::IntentState::Closed(model::IntentEnd::LaunchFailed(refusal)) => {
                        format!("launch-failed: {}", refusal.message)
                    }
                    state => format!("{state:?}").to_lowercase(),
                };
                format!("{name} {} in {}: {state}", request.count, zones.join(","))
            }
            Change::NoticeKept(notice) => format!("notice for {} kept", notice.instance),
            Change::NoticeDone { instance, .. } => format!("notice for {instance} done"),
            Change::Ledger(row) => {
                let node = self.name(&row.node.to_string());
                format!("{} for {node}: {:?}", row.cost, row.kind)
            }
            Change::InboxDone { .. } => return None,
        })
    }

    pub(crate) fn pass(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        self.take("", Vec::new());
    }

    pub(crate) fn join(&mut self, name: &str, cpu_millis: u32) -> NodeId {
        let joiner = Joiner::Static { name: name.into() };
        self.join_as(joiner, name, cpu_millis)
    }

    fn join_as(&mut self, joiner: Joiner, name: &str, cpu_millis: u32) -> NodeId {
        let capacity = resources(cpu_millis);
        let input = Input::Join { joiner, session: 1, capacity };
        match self.take(&format!("{name} joins"), vec![input]).as_slice() {
            [Reply::Joined(node)] => *node,
            replies => panic!("{replies:?}"),
        }
    }

    /// The cloud answers the open intent with this machine, and its digester joins.
    pub(crate) fn boot(&mut self, name: &str, cpu_millis: u32) -> NodeId {
        let intent = *self.world.durable.intents.keys().next().expect("an open intent");
        let machines = vec![machine(name, intent.number(), self.now)];
        self.launched(Ok(Launched { machines, refusal: None }));
        self.now = self.now.plus_ms(1_000);
        let instance = InstanceId::new(name);
        self.join_as(Joiner::Machine(Identity { instance, intent }), name, cpu_millis)
    }

    pub(crate) fn submit(&mut self, number: u64, document: Value) {
        let spec = Arc::new(JobSpec::parse(&document).expect("a right document"));
        let job = JobId::from_number(number);
        self.take(&format!("job {number} is submitted"), vec![Input::Submit { job, spec }]);
    }

    pub(crate) fn take_in(&mut self, number: u64, document: &Value) {
        let spec = Arc::new(JobSpec::parse(document).expect("a right document"));
        let job = BacklogJob { id: JobId::from_number(number), spec, submitted: START };
        self.take("a job of the backlog is handed over", vec![Input::TakeIn { jobs: vec![job] }]);
    }

    pub(crate) fn offers(&mut self, offers: Vec<Offer>) {
        self.take("offers are read", vec![Input::Offers(offers)]);
    }

    pub(crate) fn plan(&mut self) {
        let plan = planner::plan(&problem(&self.world, &self.config, self.now));
        self.take("the plan arrives", vec![Input::Plan(Box::new(plan))]);
    }

    pub(crate) fn launched(&mut self, answer: Result<Launched, CloudError>) {
        let intent = *self.world.durable.intents.keys().next().expect("an open intent");
        self.take("the cloud answers", vec![Input::Launched { intent, answer }]);
    }

    pub(crate) fn list(&mut self, machines: &[Machine]) {
        let (machines, asked) = (machines.to_vec(), self.now);
        self.take("machines are listed", vec![Input::Listed { machines, asked }]);
    }

    pub(crate) fn notice(&mut self, name: &str, kind: NoticeKind, ms: i64) {
        let instance = InstanceId::new(name);
        let notice = Notice { instance, kind, deadline: self.now.plus_ms(ms) };
        self.take(&format!("{kind:?} of {name} in {ms} ms"), vec![Input::Notice(notice)]);
    }

    /// Several are to go, and the leader hears it in one step.
    pub(crate) fn interruptions(&mut self, names: &[&str], ms: i64) {
        let deadline = self.now.plus_ms(ms);
        let notice = |name: &&str| {
            let (instance, kind) = (InstanceId::new(name), NoticeKind::Interruption);
            Input::Notice(Notice { instance, kind, deadline })
        };
        let inputs = names.iter().map(notice).collect();
        self.take(&format!("{} have to go in {ms} ms", names.join(" and ")), inputs);
    }

    pub(crate) fn closed(&mut self, node: NodeId) {
        let name = self.name(&node.to_string());
        self.take(&format!("{name}'s socket closes"), vec![Input::Closed { node, session: 1 }]);
    }

    pub(crate) fn take_over(&mut self) {
        self.say("another manager takes over");
        let mut durable = self.world.durable.clone();
        durable.head.term += 1;
        self.world = World::new(durable);
        self.world.observed.leader_since = self.now;
    }

    /// The latest attempt of a task of the oldest job, and of its first group, that has it on a
    /// node.
    fn attempt(&self, index: u32) -> AttemptId {
        let find = |(job, of): (&JobId, &model::Job)| {
            (0u16..).zip(&of.groups).find_map(|(group, _)| {
                let task = TaskId { job: *job, group, index };
                let entry = self.world.task(task)?;
                entry.placement().map(|_| task.attempt(entry.attempt))
            })
        };
        let nobodys = TaskId { job: JobId::from_number(1), group: 0, index }.attempt(1);
        self.world.durable.jobs.iter().find_map(find).unwrap_or(nobodys)
    }

    /// All that is on nodes ends so, again and again, until nothing is.
    pub(crate) fn end_all(&mut self, outcome: Outcome) {
        while let Some(task) = self.on_nodes().first() {
            let attempt = task.attempt(self.world.task(*task).expect("an entry").attempt);
            let node = self.world.task(*task).and_then(|task| task.placement()).expect("a place");
            self.report(node.node, attempt, outcome);
        }
    }

    fn on_nodes(&self) -> Vec<TaskId> {
        let loads = self.world.index.loads.values();
        loads.flat_map(|load| load.tasks.iter().copied()).collect()
    }

    /// Ends a task of a job, wherever it is.
    pub(crate) fn end_task(&mut self, job: u64, group: u16, index: u32, outcome: Outcome) {
        let task = TaskId { job: JobId::from_number(job), group, index };
        let entry = *self.world.task(task).expect("an entry");
        let node = entry.placement().expect("a place").node;
        self.report(node, task.attempt(entry.attempt), outcome);
    }

    pub(crate) fn patch(&mut self, number: u64, document: &Value) {
        let id = JobId::from_number(number);
        let spec = self.world.durable.jobs.get(&id).map(|job| job.spec.clone());
        let spec = spec.unwrap_or_else(|| Arc::new(JobSpec::parse(&job(1, 1_000)).expect("right")));
        let patch = spec.merge_patch(document).expect("a right patch");
        let spec = Arc::new(spec.patched(&patch));
        let patch = Input::PatchJob { job: id, patch: Box::new(patch), spec };
        self.take(&format!("job {number} is patched"), vec![patch]);
    }

    /// Failed tasks of an unsettled job run again.
    pub(crate) fn retry(&mut self, number: u64) {
        let retry = Input::RetryJob { job: JobId::from_number(number), settled: None };
        self.take(&format!("job {number} is retried"), vec![retry]);
    }

    /// A settled job comes back as its tables have it.
    pub(crate) fn come_back(&mut self, number: u64, document: &Value, groups: Vec<RetriedGroup>) {
        let spec = Arc::new(JobSpec::parse(document).expect("a right document"));
        let settled = RetriedJob { spec, submitted: START, groups };
        let retry =
            Input::RetryJob { job: JobId::from_number(number), settled: Some(Box::new(settled)) };
        self.take(&format!("job {number} is retried"), vec![retry]);
    }

    pub(crate) fn stop(&mut self, number: u64) {
        let stop = Input::StopJob { job: JobId::from_number(number) };
        self.take(&format!("job {number} is stopped"), vec![stop]);
    }

    pub(crate) fn settled(&mut self, number: u64, status: JobStatus) {
        let settled = Input::DependenciesSettled(vec![(JobId::from_number(number), status)]);
        self.take(&format!("job {number} is found {status}"), vec![settled]);
    }

    /// Machines that the planner would buy now, by what asks for them.
    pub(crate) fn demand(&mut self) {
        let problem = problem(&self.world, &self.config, self.now);
        let tasks: u64 = problem.demand.iter().map(|demand| demand.count).sum();
        writeln!(self.lines, "# {tasks} tasks ask for room").expect("a String takes all");
    }

    fn sync(
        &mut self,
        words: &str,
        node: NodeId,
        transitions: Vec<Transition>,
        inventory: Option<Vec<InventoryItem>>,
    ) {
        let sync = Input::Sync { node, session: 1, transitions, inventory, notice: None };
        let name = self.name(&node.to_string());
        self.take(&format!("{name}: {words}"), vec![sync]);
    }

    pub(crate) fn start<const N: usize>(&mut self, node: NodeId, indices: [u32; N]) {
        let started = |index| Transition::Started { attempt: self.attempt(index) };
        let transitions = indices.into_iter().map(started).collect();
        self.sync(&format!("{indices:?} started"), node, transitions, None);
    }

    pub(crate) fn end(&mut self, node: NodeId, index: u32, outcome: Outcome) {
        let attempt = self.attempt(index).attempt;
        self.end_attempt(node, index, attempt, outcome);
    }

    pub(crate) fn end_attempt(&mut self, node: NodeId, index: u32, attempt: u32, outcome: Outcome) {
        let attempt = self.attempt(index).task.attempt(attempt);
        self.report(node, attempt, outcome);
    }

    fn report(&mut self, node: NodeId, attempt: AttemptId, outcome: Outcome) {
        let result = Box::new(TaskResult {
            outcome,
            run_ms: 500,
            stdout: LogPart::default(),
            stderr: LogPart::default(),
            outputs: Vec::new(),
            message: None,
        });
        let transitions = vec![Transition::Ended { attempt, result }];
        self.sync(&format!("{} {outcome:?}", short(&attempt)), node, transitions, None);
    }

    pub(crate) fn inventory<const N: usize>(&mut self, node: NodeId, has: [(u32, bool); N]) {
        let item = |(index, started)| InventoryItem { attempt: self.attempt(index), started };
        let items = has.into_iter().map(item).collect();
        self.sync("its inventory", node, Vec::new(), Some(items));
    }
}

/// `index.attempt`, with the job and the group where they are not the first.
fn short(attempt: &AttemptId) -> String {
    format!("{}.{}", task_name(&attempt.task), attempt.attempt)
}

fn task_name(task: &TaskId) -> String {
    format!("{}{}", group_name(task.group_id()), task.index)
}

fn group_name(id: GroupId) -> String {
    match (id.job.number(), id.group) {
        (1, 0) => String::new(),
        (1, group) => format!("group {group}: "),
        (job, 0) => format!("job {job}: "),
        (job, group) => format!("job {job}, group {group}: "),
    }
}

fn state(state: &TaskState) -> String {
    match state {
        TaskState::Ready => "ready".to_owned(),
        TaskState::Backoff { until } => format!("backoff until {}", until.since(START)),
        TaskState::Failed(cause) => format!("failed: {cause:?}"),
        TaskState::Placed(at) => {
            let started = if at.started.is_some() { " started" } else { "" };
            match at.phase {
                Phase::Leaving { deadline } => {
                    format!("leaving by {}{started}", deadline.since(START))
                }
                phase => format!("{phase:?}{started}").to_lowercase(),
            }
        }
    }
}
