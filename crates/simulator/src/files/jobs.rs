//! `jobs.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{Fault, Resources};

use crate::jobs::JobWork;
use crate::work::{Checkpoint, Work};

use super::decimal::Decimal;
use super::limits;
use super::market::{joined, quoted, seconds};
use super::number::Number;
use super::reader::{Faults, Node, document};

const FIELDS: [&str; 11] = [
    "id",
    "arrival_s",
    "work_s",
    "deadline_s",
    "count",
    "cpu_millis",
    "memory_mib",
    "gpus",
    "changeover_s",
    "checkpoint",
    "checkpoint_gib",
];

/// Reads a workload.
///
/// Needed are `id` (unique), `work_s` (more than 0), `cpu_millis` (likewise) and `memory_mib`. Else
/// a job comes at 0, has no deadline, one task, no GPU, no changeover, and `checkpoint` `"none"`,
/// whose size is 0. A workload may be empty.
pub fn parse(text: &str) -> Result<Vec<Arc<JobWork>>, Vec<Fault>> {
    let node = document(text)?;
    let mut faults = Faults::default();
    let read = read(node, &mut faults);
    faults.or(read)
}

pub(crate) fn read(node: Node<'_, '_>, faults: &mut Faults) -> Option<Vec<Arc<JobWork>>> {
    let mut seen: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let mut tasks = 0_u64;
    let jobs = node.list("a list of jobs", limits::JOBS, faults, |index, node, faults| {
        let job = job(node, faults)?;
        tasks = tasks.saturating_add(u64::from(job.count));
        if let Some(first) = seen.insert(job.id.clone(), index) {
            faults.note(node.at(), format!("has the id of job {first}; ids must be unique"));
        }
        Some(Arc::new(job))
    })?;
    if tasks > limits::TASKS {
        let most = limits::TASKS;
        faults.note(node.at(), format!("the jobs have {tasks} tasks; at most {most} are allowed"));
        return None;
    }
    Some(jobs)
}

fn job(node: Node<'_, '_>, faults: &mut Faults) -> Option<JobWork> {
    let fields = node.object(&FIELDS, faults)?;
    let at = node.at();
    let time = |node: Node<'_, '_>, faults: &mut Faults| node.number(Number::SECONDS, faults);
    let some_time =
        |node: Node<'_, '_>, faults: &mut Faults| node.number(Number::SOME_SECONDS, faults);
    let id = fields.need(at, "id", faults, |node, faults| node.name(faults));
    let arrival_ms = fields.may(at, "arrival_s", 0, faults, time);
    let work_ms = fields.need(at, "work_s", faults, some_time);
    let deadline_ms = fields
        .may(at, "deadline_s", None, faults, |node, faults| some_time(node, faults).map(Some));
    let count =
        fields.may(at, "count", 1, faults, |node, faults| node.number32(Number::COUNT, faults));
    let cpu_millis =
        fields.need(at, "cpu_millis", faults, |node, faults| node.number32(Number::SOME, faults));
    let memory_mib =
        fields.need(at, "memory_mib", faults, |node, faults| node.number32(Number::AMOUNT, faults));
    let gpus =
        fields.may(at, "gpus", 0, faults, |node, faults| node.number32(Number::GPUS, faults));
    let changeover_ms = fields.may(at, "changeover_s", 0, faults, time);
    let checkpoint = fields.may(at, "checkpoint", Checkpoint::None, faults, checkpoint);
    let checkpoint_milligib = fields
        .may(at, "checkpoint_gib", 0, faults, |node, faults| node.number(Number::GIB, faults));
    Some(JobWork {
        id: id?.into(),
        arrival_ms: arrival_ms?,
        deadline_ms: deadline_ms?,
        count: count?,
        ask: Resources {
            cpu_millis: cpu_millis?,
            memory_mib: memory_mib?,
            disk_mib: 0,
            gpus: gpus?,
        },
        work: Work { work_ms: work_ms?, changeover_ms: changeover_ms?, checkpoint: checkpoint? },
        checkpoint_milligib: checkpoint_milligib?,
    })
}

fn checkpoint(node: Node<'_, '_>, faults: &mut Faults) -> Option<Checkpoint> {
    if !node.is_object() {
        let words = [("continuous", Checkpoint::Continuous), ("none", Checkpoint::None)];
        let word = serde_json::from_str::<String>(node.text()).ok();
        let known = words.iter().find(|(known, _)| Some(*known) == word.as_deref());
        return match known {
            Some((_, checkpoint)) => Some(*checkpoint),
            None => node
                .wrong(faults, "\"continuous\" or \"none\" or {\"period_s\": .., \"cost_s\": ..}"),
        };
    }
    let fields = node.object(&["period_s", "cost_s"], faults)?;
    let period_ms = fields.need(node.at(), "period_s", faults, |node, faults| {
        node.number(Number::SOME_SECONDS, faults)
    });
    let cost_ms = fields
        .need(node.at(), "cost_s", faults, |node, faults| node.number(Number::SECONDS, faults));
    Some(Checkpoint::Periodic { period_ms: period_ms?, cost_ms: cost_ms? })
}

/// Writes a workload, one job a line; [`parse`] reads the same back. Disk is not written.
pub fn write(jobs: &[Arc<JobWork>]) -> String {
    Written(jobs).to_string()
}

struct Written<'j>(&'j [Arc<JobWork>]);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[\n")?;
        joined(f, ",\n", self.0, |f, job| write_job(f, job))?;
        f.write_str("\n]\n")
    }
}

fn write_job(f: &mut fmt::Formatter<'_>, job: &JobWork) -> fmt::Result {
    let [arrival, work] = [job.arrival_ms, job.work.work_ms].map(seconds);
    write!(f, "{{\"id\":{},\"arrival_s\":{arrival},\"work_s\":{work}", quoted(&job.id))?;
    if let Some(deadline_ms) = job.deadline_ms {
        write!(f, ",\"deadline_s\":{}", seconds(deadline_ms))?;
    }
    if job.count != 1 {
        write!(f, ",\"count\":{}", job.count)?;
    }
    write!(f, ",\"cpu_millis\":{},\"memory_mib\":{}", job.ask.cpu_millis, job.ask.memory_mib)?;
    if job.ask.gpus > 0 {
        write!(f, ",\"gpus\":{}", job.ask.gpus)?;
    }
    if job.work.changeover_ms > 0 {
        write!(f, ",\"changeover_s\":{}", seconds(job.work.changeover_ms))?;
    }
    match job.work.checkpoint {
        Checkpoint::Continuous => f.write_str(",\"checkpoint\":\"continuous\"")?,
        Checkpoint::None => f.write_str(",\"checkpoint\":\"none\"")?,
        Checkpoint::Periodic { period_ms, cost_ms } => {
            let [period, cost] = [period_ms, cost_ms].map(seconds);
            write!(f, ",\"checkpoint\":{{\"period_s\":{period},\"cost_s\":{cost}}}")?;
        }
    }
    if job.checkpoint_milligib > 0 {
        let size = Decimal { units: job.checkpoint_milligib, places: 3 };
        write!(f, ",\"checkpoint_gib\":{size}")?;
    }
    f.write_str("}")
}
