//! What the demo shows while it runs.

use std::collections::BTreeMap;

use api::view::{CostView, JobDetail, NodeView};
use model::NodeReason;

use crate::output::Screen;
use crate::progress::{self, Unit};
use crate::render::dollars;

/// One look at the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) job: JobDetail,
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) cost: CostView,
}

/// The cluster's course.
pub(crate) struct Progress(progress::Progress);

impl Progress {
    pub(crate) fn new(screen: Screen) -> Self {
        Self(progress::Progress::new(screen, Unit::Tasks))
    }

    pub(crate) fn show(&mut self, look: &Look) {
        let tasks = look.job.job.tasks;
        self.0.at(tasks.settled(), tasks.total, &text(look));
    }

    pub(crate) fn end(&self) {
        self.0.end();
    }
}

fn text(look: &Look) -> String {
    let tasks = look.job.job.tasks;
    format!(
        "{} running, {} leaving; {}; {} noticed, {} gone without; {}",
        tasks.running,
        tasks.leaving,
        pools(&look.nodes),
        look.nodes.iter().filter(|node| is_noticed(node)).count(),
        look.nodes.iter().filter(|node| is_lost(node)).count(),
        dollars(look.cost.total_micro_usd)
    )
}

/// Whether it was told, or is being told, that it will be taken.
fn is_noticed(node: &NodeView) -> bool {
    node.reason == Some(NodeReason::Notice) || (node.deadline.is_some() && node.state != "gone")
}

/// Whether it is gone though nobody had told it, nor wanted it.
fn is_lost(node: &NodeView) -> bool {
    let unasked =
        matches!(node.reason, Some(NodeReason::Reclaimed | NodeReason::Lost | NodeReason::Ended));
    node.state == "gone" && unasked
}

/// The living nodes by pool.
fn pools(nodes: &[NodeView]) -> String {
    let mut count = BTreeMap::<String, usize>::new();
    for node in nodes.iter().filter(|node| !matches!(node.state.as_str(), "gone" | "launch-failed"))
    {
        let pool = node.pool.as_ref().map_or_else(|| "static".to_owned(), ToString::to_string);
        *count.entry(pool).or_default() += 1;
    }
    if count.is_empty() {
        return "no nodes yet".to_owned();
    }
    let parts: Vec<_> = count.iter().map(|(pool, count)| format!("{count} x {pool}")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_line_tells_tasks_nodes_notices_and_dollars() {
        let mut nodes = samples::nodes();
        let mut lost = nodes[1].clone();
        (lost.id, lost.state, lost.reason) =
            ("node_x".into(), "gone".into(), Some(NodeReason::Reclaimed));
        nodes.push(lost);
        let look = Look { job: samples::detail(), nodes, cost: samples::cost() };
        insta::assert_snapshot!(text(&look), @"38 running, 2 leaving; 1 x static, 1 x us-east-1a/c7g.xlarge/spot; 1 noticed, 1 gone without; $0.1205");
        assert_eq!(pools(&[]), "no nodes yet");
    }
}
