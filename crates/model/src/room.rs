//! Nodes that may be given work, by what is free on them: so that a step looks at kinds of nodes, and
//! not at all nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Node, NodeId, NodeLoad, Resources};

/// What tells nodes apart when one is picked, but for where they are and what they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// What is not reserved.
    pub free: Resources,
    /// What they have.
    pub capacity: Resources,
    /// Tasks that reserve something of them.
    pub tasks: u32,
    /// Whether they cost money.
    pub paid: bool,
    /// Interruptions per million machine hours that they are believed to suffer.
    pub hazard_ppm_hour: u32,
}

/// Nodes whose room may be given to new work, by shape. Whether they are connected is observed, and so
/// not looked at here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    shapes: BTreeMap<Shape, BTreeSet<NodeId>>,
    of: BTreeMap<NodeId, Shape>,
}

impl Room {
    /// Nodes by shape, those with the least free first.
    pub fn shapes(&self) -> impl Iterator<Item = (&Shape, &BTreeSet<NodeId>)> {
        self.shapes.iter()
    }

    /// A node that has changed: where it is now, if its room may be given away.
    pub(crate) fn set(&mut self, id: NodeId, shape: Option<Shape>) {
        let before = match shape {
            Some(shape) => self.of.insert(id, shape),
            None => self.of.remove(&id),
        };
        if before == shape {
            return;
        }
        if let Some(before) = before
            && let Some(nodes) = self.shapes.get_mut(&before)
        {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.shapes.remove(&before);
            }
        }
        if let Some(shape) = shape {
            self.shapes.entry(shape).or_default().insert(id);
        }
    }
}

/// The shape of a node whose room may be given to new work: what it holds comes first, or it would
/// start that in room that was promised to others; and whoever is alone stays alone.
pub(crate) fn shape(node: &Node, load: &NodeLoad) -> Option<Shape> {
    let open = node.takes_work() && !load.alone && load.held.is_empty();
    open.then(|| Shape {
        free: node.capacity - load.reserved,
        capacity: node.capacity,
        tasks: u32::try_from(load.tasks.len()).unwrap_or(u32::MAX),
        paid: node.offer().is_some(),
        hazard_ppm_hour: node.offer().map_or(0, |offer| offer.hazard_ppm_hour),
    })
}
