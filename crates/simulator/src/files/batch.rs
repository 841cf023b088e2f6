//! A line of a batch: a market and a workload, to be run by themselves.

use std::sync::Arc;

use ::market::recorded::Recording;
use model::Fault;
use serde::Serialize;

use crate::jobs::JobWork;

use super::number::Number;
use super::reader::{Faults, Node, document};
use super::{jobs, market};

/// What a line's writer calls it: given back as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CaseId {
    /// By a name.
    Name(Arc<str>),
    /// By a number.
    Number(u64),
}

impl std::fmt::Display for CaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A run to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name or number.
    pub id: CaseId,
    /// In which market.
    pub recording: Arc<Recording>,
    /// Of what.
    pub jobs: Vec<Arc<JobWork>>,
}

/// Reads a line `{"id": .., "market": {..}, "jobs": [..]}`; pointers are within the line.
pub fn parse_line(line: &str) -> Result<Case, Vec<Fault>> {
    let node = document(line)?;
    let mut faults = Faults::default();
    let read = read(node, &mut faults);
    faults.or(read)
}

fn read(node: Node<'_, '_>, faults: &mut Faults) -> Option<Case> {
    let fields = node.object(&["id", "market", "jobs"], faults)?;
    let at = node.at();
    let id = fields.need(at, "id", faults, id);
    let recording = fields.need(at, "market", faults, market::read);
    let jobs = fields.need(at, "jobs", faults, jobs::read);
    Some(Case { id: id?, recording: Arc::new(recording?), jobs: jobs? })
}

fn id(node: Node<'_, '_>, faults: &mut Faults) -> Option<CaseId> {
    if node.is_number() {
        return node.number(Number::ID, faults).map(CaseId::Number);
    }
    node.name(faults).map(|name| CaseId::Name(name.into()))
}
