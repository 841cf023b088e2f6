//! Values as the API answers them, for tests of rendering.

use std::sync::Arc;

use api::event::{Event, EventKind};
use api::plan::{
    CostRange, PlanLaunch, PlanObstacle, PlanRunTime, PlanView, RunTimeSource, TimeRange,
};
use api::view::{
    AttemptView, CostView, Explanation, GroupView, JobDetail, JobView, NodeView, OutputView,
    TaskCounts, TaskView, TokenPurpose, TokenView,
};
use model::{
    AttemptEnd, Cause, Counters, JobId, JobSpec, JobStatus, MicroUsd, NodeId, NodeReason, Pool,
    PurchaseOption, Resources, TaskId, TaskStatus, Timestamp,
};
use serde_json::json;
use simulator::jobs::JobWork;
use simulator::result::{JobResult, RunResult, Seconds};
use simulator::work::{Checkpoint, Work};

/// The present of all samples.
pub(crate) const NOW: Timestamp = Timestamp::from_ms(1_790_000_000_000);

pub(crate) fn counts() -> TaskCounts {
    TaskCounts {
        total: 2000,
        waiting: 1200,
        backoff: 1,
        assigned: 9,
        running: 38,
        leaving: 2,
        succeeded: 740,
        failed: 7,
        cancelled: 3,
    }
}

pub(crate) fn job(number: u64) -> JobView {
    JobView {
        id: JobId::from_number(number),
        namespace: "default".into(),
        name: "digest-corpus".into(),
        status: JobStatus::Running,
        submitted_at: NOW.plus_ms(-83_500),
        settled_at: None,
        revision: 0,
        labels: [("team".to_owned(), "render".to_owned())].into(),
        tasks: counts(),
    }
}

pub(crate) fn spec() -> JobSpec {
    let document = json!({"name": "digest-corpus", "group": [
        {"name": "digest", "count": 1980, "command": ["sh", "-c", "true"]},
        {"name": "pack", "count": 20, "command": ["sh", "-c", "true"]}]});
    JobSpec::parse(&document).expect("a right document")
}

pub(crate) fn detail() -> JobDetail {
    let group = |name: &str, total| GroupView {
        name: name.into(),
        tasks: TaskCounts { total, waiting: total - 1, succeeded: 1, ..TaskCounts::default() },
    };
    JobDetail {
        job: job(7),
        spec: spec(),
        groups: vec![group("digest", 1980), group("pack", 20)],
        cost_micro_usd: MicroUsd(1_234),
        deadline_at: Some(NOW.plus_ms(7_380_000)),
        deadline_met: None,
    }
}

pub(crate) fn plan() -> PlanView {
    let pool = |zone: &str| Pool {
        zone: zone.into(),
        instance_type: "m5.xlarge".into(),
        option: PurchaseOption::Spot,
    };
    PlanView {
        name: "digest-corpus".into(),
        tasks: 1980,
        why_not: vec![],
        cost_micro_usd: Some(CostRange {
            low: MicroUsd(4_010_000),
            median: MicroUsd(4_230_000),
            high: MicroUsd(6_905_000),
        }),
        time_ms: Some(TimeRange { low: 3_720_000, median: 3_845_000, high: 9_100_000 }),
        deadline_at: Some(NOW.plus_ms(7_380_000)),
        deadline_chance_ppm: Some(850_000),
        spot_share_ppm: Some(927_500),
        interruptions: 3,
        launches: vec![PlanLaunch {
            machines: 12,
            pools: vec![pool("us-east-1a"), pool("us-east-1b"), pool("us-east-1c")],
            price_micro_usd_hour: MicroUsd(70_000),
            reason: "for 1,980 tasks".into(),
        }],
        run_times: vec![
            PlanRunTime {
                group: "digest".into(),
                run_ms: 120_000,
                source: RunTimeSource::Expect,
                tasks: None,
            },
            PlanRunTime {
                group: "pack".into(),
                run_ms: 3_600_000,
                source: RunTimeSource::History,
                tasks: Some(40),
            },
        ],
        runs: 20,
        done: 19,
        assumed: vec![
            "on-demand machines are to be had at any time".into(),
            "what a task has done is lost with its machine".into(),
        ],
    }
}

pub(crate) fn no_plan() -> PlanView {
    let why = "there is no node; nothing is on offer".to_owned();
    PlanView {
        why_not: vec![PlanObstacle { group: "digest".into(), why }],
        cost_micro_usd: None,
        time_ms: None,
        deadline_at: None,
        deadline_chance_ppm: None,
        spot_share_ppm: None,
        interruptions: 0,
        launches: vec![],
        runs: 0,
        done: 0,
        assumed: vec![],
        ..plan()
    }
}

pub(crate) fn task(index: u32) -> TaskView {
    TaskView {
        id: TaskId { job: JobId::from_number(7), group: 0, index },
        status: TaskStatus::Failed,
        cause: Some(Cause::TimedOut),
        attempt: 5,
        node: Some(NodeId::from_number(3)),
        exit_code: Some(3),
        counters: Counters {
            interrupted: 1,
            node_lost: 2,
            failed: 3,
            timed_out: 1,
            unexplained: 0,
        },
    }
}

/// A first attempt that failed.
pub(crate) fn attempt(task: TaskId) -> AttemptView {
    AttemptView {
        id: task.attempt(1),
        node: NodeId::from_number(3),
        assigned_at: NOW.plus_ms(-3_000),
        started_at: Some(NOW.plus_ms(-2_500)),
        ended_at: NOW,
        run_ms: 2_500,
        end: AttemptEnd::Failed,
        exit_code: Some(3),
        signal: None,
        settles: false,
        message: None,
        outputs: Vec::new(),
    }
}

pub(crate) fn nodes() -> Vec<NodeView> {
    let capacity = Resources { cpu_millis: 4000, memory_mib: 7680, disk_mib: 0, gpus: 0 };
    let spot = NodeView {
        id: NodeId::from_number(3).to_string(),
        state: "draining".into(),
        reason: Some(NodeReason::Notice),
        since: NOW.plus_ms(-4_000),
        name: Some("i-000000000000000a".into()),
        pool: Some(Pool {
            zone: "us-east-1a".into(),
            instance_type: "c7g.xlarge".into(),
            option: PurchaseOption::Spot,
        }),
        price_micro_usd_hour: MicroUsd(58_000),
        capacity,
        reserved: Resources { cpu_millis: 1500, memory_mib: 512, disk_mib: 0, gpus: 0 },
        running: 15,
        held: 4,
        deadline: Some(NOW.plus_ms(5_000)),
    };
    let fixed = NodeView {
        id: NodeId::from_number(4).to_string(),
        state: "ready".into(),
        reason: Some(NodeReason::Joined),
        since: NOW.plus_ms(-7_200_000),
        name: Some("desk".into()),
        pool: None,
        price_micro_usd_hour: MicroUsd(0),
        reserved: Resources::default(),
        running: 0,
        held: 0,
        deadline: None,
        ..spot
    };
    vec![spot, fixed]
}

pub(crate) fn outputs() -> Vec<OutputView> {
    let file = |index, size_bytes| OutputView {
        task: task(index).id,
        path: format!("out/part-{index}.gz"),
        size_bytes,
    };
    vec![file(0, 1_536), file(17, 734_003_200)]
}

pub(crate) fn tokens() -> Vec<TokenView> {
    let created_at = NOW.plus_ms(-60_000);
    let join = TokenView {
        id: "1867eb418a849be1".into(),
        purpose: TokenPurpose::Join,
        name: "rack 3".into(),
        node: None,
        uses_left: Some(2),
        expires_at: Some(NOW.plus_ms(3_600_000)),
        created_at,
    };
    let user = TokenView {
        id: "36a2837e89eae910".into(),
        purpose: TokenPurpose::User,
        name: "laptop".into(),
        node: None,
        uses_left: None,
        expires_at: None,
        created_at,
    };
    vec![join, user]
}

/// An event of a job, with nothing but what each has.
pub(crate) fn event(kind: EventKind, job: JobId) -> Event {
    let event = json!({"kind": kind, "at": NOW, "job": job});
    serde_json::from_value(event).expect("an event")
}

pub(crate) fn cost() -> CostView {
    CostView {
        total_micro_usd: MicroUsd(120_500),
        task_micro_usd: MicroUsd(80_000),
        waste_micro_usd: MicroUsd(10_000),
        boot_micro_usd: MicroUsd(500),
        idle_micro_usd: MicroUsd(20_000),
        open_micro_usd: MicroUsd(10_000),
        on_demand_micro_usd: MicroUsd(301_250),
        instances: 12,
    }
}

/// What three jobs came to under a policy: one late, one never done, one without a deadline.
pub(crate) fn simulated(policy: &str) -> (RunResult, Vec<Arc<JobWork>>) {
    let job = |id: &str, deadline_s: Option<u64>| {
        let work =
            Work { work_ms: 172_800_000, changeover_ms: 720_000, checkpoint: Checkpoint::None };
        let ask = Resources { cpu_millis: 8_000, memory_mib: 61_000, disk_mib: 0, gpus: 1 };
        let deadline_ms = deadline_s.map(|seconds| seconds * 1_000);
        let (id, arrival_ms, checkpoint_milligib) = (id.into(), 0, 0);
        Arc::new(JobWork { id, arrival_ms, deadline_ms, count: 1, ask, work, checkpoint_milligib })
    };
    let jobs = vec![job("a", Some(216_000)), job("b", Some(216_000)), job("c", None)];
    let done = |id: &str, ms: Option<u64>, deadline_met| JobResult {
        id: id.into(),
        finished_s: ms.map(|ms| Seconds { ms }),
        deadline_met,
        cost_micro_usd: MicroUsd(64_123_456),
        starts: 7,
    };
    let result = RunResult {
        policy: policy.into(),
        seed: 1,
        cost_micro_usd: MicroUsd(192_470_368),
        on_demand_micro_usd: MicroUsd(442_476_000),
        wasted_micro_usd: MicroUsd(4_100_200),
        idle_micro_usd: MicroUsd(100_000),
        interruptions: 18,
        jobs: vec![
            done("a", Some(217_000_500), false),
            done("b", None, false),
            done("c", Some(200_400_000), true),
        ],
    };
    (result, jobs)
}

pub(crate) fn explanation() -> Explanation {
    Explanation {
        subject: task(17).id.to_string(),
        summary: "waits: no node has room for it".into(),
        details: vec![
            "node_0000000000003 lacks cpu: 500m asked, 0m free".into(),
            "2 machines are on order (intent_0000000000005)".into(),
        ],
    }
}
