//! A history's records, by what they are of.

use std::collections::{BTreeMap, BTreeSet};

use model::{AttemptId, JobId, NodeId, TaskId, TaskStatus};

use super::check::Breach;
use super::{Accepted, Ran, Record, TaskSeen, Workload};
use crate::event::{Event, EventId, EventKind};
use crate::view::{CostView, JobDetail, NodeView};

/// A history, by what its records are of.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    pub(super) workload: Workload,
    pub(super) accepted: Vec<&'a Accepted>,
    /// The ids of each stream, as they came.
    pub(super) streams: BTreeMap<u32, Vec<EventId>>,
    /// What all streams told, in the log's order.
    pub(super) events: BTreeMap<EventId, &'a Event>,
    pub(super) jobs: BTreeMap<JobId, &'a JobDetail>,
    pub(super) tasks: BTreeMap<TaskId, &'a TaskSeen>,
    pub(super) nodes: Vec<&'a NodeView>,
    pub(super) cost: Option<CostView>,
    pub(super) runs: BTreeMap<TaskId, Vec<&'a Ran>>,
    pub(super) left: Vec<&'a str>,
    /// What is wrong already by how records lie beside each other.
    pub(super) faults: Vec<Breach>,
}

/// What the log tells of one task.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// How often it was settled.
    pub(super) settled: u64,
    /// How often it was brought back by a user.
    pub(super) retried: u64,
    /// The number of the attempt by which it was settled last.
    pub(super) settling: Option<u32>,
}

/// When an attempt was given to which node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assigned {
    pub(super) id: EventId,
    pub(super) node: Option<NodeId>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(records: &'a [Record]) -> Self {
        let mut seen = Self::default();
        for record in records {
            match record {
                Record::Workload(workload) => seen.workload = *workload,
                Record::Accepted(accepted) => seen.accepted.push(accepted),
                Record::Stream(begun) => drop(seen.streams.entry(begun.stream).or_default()),
                Record::Event(told) => {
                    if let Some(id) = told.id() {
                        seen.streams.entry(told.stream).or_default().push(id);
                        seen.tell(id, &told.event);
                    }
                }
                Record::Job(detail) => drop(seen.jobs.insert(detail.job.id, detail)),
                Record::Task(task) => drop(seen.tasks.insert(task.task.id, task)),
                Record::Cost(cost) => seen.cost = Some(*cost),
                Record::Node(node) => seen.nodes.push(node),
                Record::Ran(run) => seen.runs.entry(run.attempt.task).or_default().push(run),
                Record::Left(left) => seen.left.extend(left.machines.iter().map(String::as_str)),
                Record::Sent(_) | Record::Struck(_) => {}
            }
        }
        seen
    }

    fn tell(&mut self, id: EventId, event: &'a Event) {
        if self.events.insert(id, event).is_some_and(|known| known != event) {
            self.faults.push(Breach::new("one-writer", format!("event {id} is told in two ways")));
        }
    }

    /// Jobs that were accepted, with how many tasks.
    pub(super) fn promised(&self) -> BTreeMap<JobId, u64> {
        self.accepted.iter().map(|accepted| (accepted.job, accepted.tasks)).collect()
    }

    /// What the log tells of every task by itself, and of those that were cancelled by the range.
    pub(super) fn courses(&self) -> BTreeMap<TaskId, Course> {
        let mut courses = BTreeMap::<TaskId, Course>::new();
        for event in self.events.values() {
            let settles = event.task_status.is_some_and(TaskStatus::is_settled);
            match (event.kind, event.task) {
                (EventKind::TaskEnded, Some(task)) if settles => {
                    let course = courses.entry(task).or_default();
                    course.settled += 1;
                    course.settling = event.attempt;
                }
                (EventKind::TaskRetried, Some(task)) => {
                    courses.entry(task).or_default().retried += 1;
                }
                (EventKind::TasksCancelled, _) => {
                    let (Some(job), Some(group)) = (event.job, event.group) else { continue };
                    let range = event.from.unwrap_or(0)..event.to.unwrap_or(0);
                    for index in range {
                        courses.entry(TaskId { job, group, index }).or_default().settled += 1;
                    }
                }
                _ => {}
            }
        }
        courses
    }

    /// When each attempt was assigned, and where.
    pub(super) fn assignments(&self) -> BTreeMap<AttemptId, Assigned> {
        let assigned = self.events.iter().filter(|(_, it)| it.kind == EventKind::TaskAssigned);
        let of = |(id, event): (&EventId, &&Event)| {
            let attempt = event.task?.attempt(event.attempt?);
            Some((attempt, Assigned { id: *id, node: event.node }))
        };
        assigned.filter_map(of).collect()
    }

    /// When each node was said to be cut off, lost, or about to go.
    pub(super) fn losses(&self) -> BTreeMap<NodeId, BTreeSet<EventId>> {
        let mut losses = BTreeMap::<NodeId, BTreeSet<EventId>>::new();
        for (id, event) in &self.events {
            let bad = matches!(event.state.as_deref(), Some("suspect" | "gone"));
            if let (EventKind::Node, Some(node)) = (event.kind, event.node)
                && (bad || event.deadline.is_some())
            {
                losses.entry(node).or_default().insert(*id);
            }
        }
        losses
    }
}
