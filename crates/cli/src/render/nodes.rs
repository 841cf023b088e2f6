//! Nodes, money, reasons.

use api::view::{CostView, Explanation, NodeView, Page};
use model::MicroUsd;

use super::{ago, dollars, saved, short, word};
use crate::output::{Answer, Look, Tone};
use crate::table::{Column, col, plain, table, wrapped};

impl Answer for Page<NodeView> {
    fn text(&self, look: Look) -> String {
        const COLUMNS: [Column; 10] = [
            col("NODE"),
            col("STATE"),
            col("WHY").cut(9),
            col("SINCE"),
            col("TASKS").right(),
            col("CPU").right(),
            col("MEMORY").right().spare(2),
            col("AN HOUR").right().spare(3),
            col("WHERE").cut(8).spare(4),
            col("NAME").cut(6).spare(1),
        ];
        if self.items.is_empty() {
            return "no nodes; `ebb worker --manager URL` adds this machine".to_owned();
        }
        table(&COLUMNS, look.width, self.items.iter().map(|node| row(node, look)).collect())
    }
}

fn row(node: &NodeView, look: Look) -> Vec<String> {
    let tone = match node.state.as_str() {
        "ready" => Tone::Good,
        "gone" | "retiring" => Tone::Dim,
        "suspect" | "launch-failed" => Tone::Bad,
        _ => Tone::Busy,
    };
    let why = match node.deadline {
        Some(deadline) if node.state != "gone" => {
            format!("taken in {}", short(deadline.since(look.now)))
        }
        _ => node.reason.as_ref().map(word).unwrap_or_default(),
    };
    // What was bought has a pool, and a name of the cloud's; what joined has its own.
    let name = node.name.clone().unwrap_or_default();
    let (place, name) = match &node.pool {
        Some(pool) => (pool.to_string(), name),
        None => (format!("static {name}"), String::new()),
    };
    vec![
        node.id.clone(),
        look.paint.paint(&node.state, tone),
        why,
        ago(node.since, look.now),
        format!("{}+{}", node.running, node.held),
        format!("{}/{}m", node.reserved.cpu_millis, node.capacity.cpu_millis),
        format!("{}/{} MiB", node.reserved.memory_mib, node.capacity.memory_mib),
        dollars(node.price_micro_usd_hour),
        place,
        name,
    ]
}

impl Answer for Explanation {
    fn text(&self, look: Look) -> String {
        let head = look.paint.paint(&self.subject, Tone::Busy);
        let mut lines = vec![wrapped(&format!("{head}: {}", plain(&self.summary)), look.width, 2)];
        let details = self.details.iter();
        lines.extend(
            details.map(|detail| wrapped(&format!("  - {}", plain(detail)), look.width, 4)),
        );
        lines.join("\n")
    }
}

impl Answer for CostView {
    fn text(&self, look: Look) -> String {
        const COLUMNS: [Column; 3] = [col("COST"), col("AMOUNT").right(), col("").cut(20)];
        let line = |name: &str, amount: MicroUsd, what: &str| {
            vec![name.to_owned(), amount.to_string(), what.to_owned()]
        };
        let rows = vec![
            line("tasks", self.task_micro_usd, "attempts that ended by themselves"),
            line("waste", self.waste_micro_usd, "attempts that were interrupted or lost"),
            line("boot", self.boot_micro_usd, "from launch to join"),
            line("idle", self.idle_micro_usd, "the rest of machines that are gone"),
            line("not booked yet", self.open_micro_usd, "machines that still run"),
            line("total", self.total_micro_usd, ""),
            line("on-demand", self.on_demand_micro_usd, "the same machines at that price"),
            vec!["saved".to_owned(), saved(self.total_micro_usd, self.on_demand_micro_usd)],
            vec!["instances".to_owned(), self.instances.to_string()],
        ];
        table(&COLUMNS, look.width, rows)
    }
}
