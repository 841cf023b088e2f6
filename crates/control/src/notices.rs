//! What is announced of machines: the notice is a deadline, not an alarm (DESIGN §4.5).

use model::{
    Change, InstanceId, NodeEvent, NodeId, NodeNotice, NodeReason, NodeState, Notice, NoticeKind,
    TaskEvent,
};

use crate::explain::until;
use crate::step::Step;
use crate::sync::tasks_on;
use crate::{Reply, nodes};

/// The cloud says something of a machine; of one that has no node yet it is kept.
pub(crate) fn from_cloud(step: &mut Step<'_>, notice: Notice) -> Reply {
    match step.world.index.instances.get(&notice.instance).copied() {
        Some(node) => concerns(step, node, &notice),
        None => {
            let key = (notice.instance.clone(), notice.kind);
            let known = step.world.durable.notices.get(&key);
            if known.is_none_or(|known| notice.deadline < known.deadline) {
                step.emit(Change::NoticeKept(notice));
            }
        }
    }
    Reply::Done
}

/// A node has seen a notice itself.
pub(crate) fn from_node(step: &mut Step<'_>, node: NodeId, notice: NodeNotice) {
    let remaining = i64::try_from(notice.remaining_ms).unwrap_or(i64::MAX);
    let deadline = step.now.plus_ms(remaining);
    let instance = step.world.durable.nodes.get(&node).and_then(|node| node.instance().cloned());
    let instance = instance.unwrap_or_else(|| InstanceId::new("static"));
    // A node cannot declare itself gone: that is the cloud's to say.
    if notice.kind != NoticeKind::StateChange {
        concerns(step, node, &Notice { instance, kind: notice.kind, deadline });
    }
}

/// A machine is born: notices that came before it are carried out now.
pub(crate) fn meet(step: &mut Step<'_>, instance: &InstanceId) {
    let Some(node) = step.world.index.instances.get(instance).copied() else { return };
    let of_it =
        (instance.clone(), NoticeKind::Interruption)..=(instance.clone(), NoticeKind::StateChange);
    let kept: Vec<Notice> =
        step.world.durable.notices.range(of_it).map(|(_, notice)| notice.clone()).collect();
    for notice in kept {
        step.emit(Change::NoticeDone { instance: instance.clone(), kind: notice.kind });
        concerns(step, node, &notice);
    }
}

fn concerns(step: &mut Step<'_>, id: NodeId, notice: &Notice) {
    match notice.kind {
        NoticeKind::Interruption | NoticeKind::Maintenance => leave(step, id, notice),
        // Advice without a deadline: it changes no decision yet.
        NoticeKind::Rebalance => {}
        NoticeKind::StateChange => {
            let ours = step.world.durable.nodes.get(&id).map(|node| node.state);
            let reason = match ours {
                Some(NodeState::Retiring) => NodeReason::Ended,
                _ => NodeReason::Reclaimed,
            };
            nodes::gone(step, id, reason, Some(notice.deadline));
        }
    }
}

/// The node has to go: what it runs is leaving, what it holds goes back, the replacement is
/// planned at the end of this very step's inputs.
fn leave(step: &mut Step<'_>, id: NodeId, notice: &Notice) {
    let deadline = notice.deadline;
    let known = step.world.durable.nodes.get(&id).and_then(|node| node.deadline);
    if known.is_some_and(|known| known.since(deadline) < SAME_MS) {
        return;
    }
    if !nodes::change(step, id, NodeEvent::Notice { deadline }) {
        return;
    }
    let remaining_ms = deadline.since(step.now);
    let what = match notice.kind {
        NoticeKind::Maintenance => "maintenance is announced",
        NoticeKind::Interruption | NoticeKind::Rebalance | NoticeKind::StateChange => {
            "the cloud takes it back"
        }
    };
    step.keep(id, format!("{what}: it is there {}", until(deadline, step.now)));
    for task in tasks_on(step, id) {
        step.task_event(task, TaskEvent::Notice { deadline }, None);
    }
    nodes::retract_all(step, id);
    let commands = step.tell(id);
    commands.drain = Some(true);
    commands.notices.push(NodeNotice { kind: notice.kind, remaining_ms });
    step.has_notices = true;
}

/// A node tells how long it has, and that was a moment ago: the cloud's own word is earlier by the
/// way of the report. So little before a known deadline is the same notice, told by the other of the
/// two.
const SAME_MS: u64 = 1_000;
