//! Where the money goes: a machine's rows add up to its bill, to the micro-dollar.

use model::{
    AttemptEnd, AttemptId, Change, LedgerKind, LedgerRow, MicroUsd, NodeId, Placement, Resources,
    bill,
};

use crate::step::Step;

/// Books an attempt's share of its machine from its start until now.
pub(crate) fn book_attempt(
    step: &mut Step<'_>,
    attempt: AttemptId,
    placement: &Placement,
    end: AttemptEnd,
    ask: Resources,
) {
    let Some(from) = placement.started else { return };
    let Some(node) = step.world.durable.nodes.get(&placement.node) else { return };
    if node.price() == MicroUsd(0) {
        return;
    }
    let kind = match end {
        AttemptEnd::Interrupted | AttemptEnd::NodeLost => LedgerKind::Waste,
        AttemptEnd::Succeeded
        | AttemptEnd::Failed
        | AttemptEnd::TimedOut
        | AttemptEnd::Cancelled
        | AttemptEnd::Returned => LedgerKind::Task,
    };
    let share = node.capacity.share_ppm(&ask);
    let cost = node.price().per_hour(step.billed_until().since(from), share);
    book(step, placement.node, Some(attempt), kind, from, cost);
}

/// Books the time from launch to join.
pub(crate) fn book_boot(step: &mut Step<'_>, id: NodeId) {
    let Some(node) = step.world.durable.nodes.get(&id) else { return };
    let from = node.launched;
    let cost = node.price().per_hour(step.now.since(from), 1_000_000);
    book(step, id, None, LedgerKind::Boot, from, cost);
}

/// Books what is left of the bill of a machine that ends now: it stood idle, or never joined.
pub(crate) fn close_bill(step: &mut Step<'_>, id: NodeId) {
    let Some(node) = step.world.durable.nodes.get(&id) else { return };
    let to = step.billed_until();
    let rest = bill(node.price(), node.launched, to) - node.booked;
    let kind = if node.joined.is_some() { LedgerKind::Idle } else { LedgerKind::Boot };
    let from = node.joined.unwrap_or(node.launched);
    if node.price() > MicroUsd(0) {
        let row = LedgerRow { node: id, task: None, kind, from, to, cost: rest };
        step.emit(Change::Ledger(row));
    }
}

/// Never more than the bill so far: durations come from two clocks, money from one.
fn book(
    step: &mut Step<'_>,
    id: NodeId,
    attempt: Option<AttemptId>,
    kind: LedgerKind,
    from: model::Timestamp,
    cost: MicroUsd,
) {
    let Some(node) = step.world.durable.nodes.get(&id) else { return };
    let to = step.billed_until();
    let cost = cost.min(bill(node.price(), node.launched, to) - node.booked);
    if cost > MicroUsd(0) {
        let task = attempt.map(|attempt| attempt.task);
        step.emit(Change::Ledger(LedgerRow { node: id, task, kind, from, to, cost }));
    }
}
