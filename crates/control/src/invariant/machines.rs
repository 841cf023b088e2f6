//! Machines: where they come from, how they go, and what they cost.

use model::{
    Intent, IntentState, LedgerRow, MicroUsd, Node, NodeOrigin, NodeReason, NodeState, World, bill,
};

use super::Invariant::{AcceptedIsDurable, IntentBeforeMachine, LedgerIsBill, LostOnlyAfterLease};
use super::checks::Checks;

impl Checks {
    pub(super) fn node(&mut self, world: &World, node: &Node) {
        let before = world.durable.nodes.get(&node.id);
        if before.is_none() {
            self.born(world, node);
        }
        let booked = before.map_or(MicroUsd(0), |before| before.booked);
        if node.booked != booked {
            let (id, becomes) = (node.id, node.booked);
            let words =
                format_args!("{id} has {booked} booked, which becomes {becomes} without a row");
            self.broken(LedgerIsBill, words);
        }
        match node.state {
            NodeState::Gone => {
                self.lost(world, node);
                self.gone(world, node, booked);
            }
            NodeState::Retiring => self.lost(world, node),
            NodeState::Booting | NodeState::Ready | NodeState::Draining => {}
        }
    }

    /// A machine is born of an intent that is stored. One that nothing explains any more is born to
    /// be ended.
    fn born(&mut self, world: &World, node: &Node) {
        if let NodeOrigin::Cloud { instance, intent, .. } = &node.origin
            && node.state != NodeState::Retiring
            && !world.durable.intents.contains_key(intent)
        {
            let id = node.id;
            let words = format_args!("{id} is born as {instance} of {intent}, which is not open");
            self.broken(IntentBeforeMachine, words);
        }
    }

    /// Its lease has run out, or its connection was seen to close: then it is suspect by now.
    fn lost(&mut self, world: &World, node: &Node) {
        let before = world.durable.nodes.get(&node.id).map(|before| before.state);
        let is_first = !matches!(before, Some(NodeState::Retiring));
        if node.reason == NodeReason::Lost && is_first && world.is_connected(node.id) {
            let (id, state) = (node.id, node.state);
            let words = format_args!("{id} is {state} as lost, and is connected");
            self.broken(LostOnlyAfterLease, words);
        }
    }

    /// Its rows add up to its bill, and nothing is on it that would be forgotten with it.
    fn gone(&mut self, world: &World, node: &Node, booked: MicroUsd) {
        let (id, bill) = (node.id, bill(node.price(), node.launched, node.since));
        if booked != bill {
            let (from, to) = (node.launched, node.since);
            let words = format_args!("{id} ran {from} to {to} for {bill}, and {booked} is booked");
            self.broken(LedgerIsBill, words);
        }
        let Some(load) = world.index.loads.get(&id) else { return };
        if let Some(first) = load.tasks.first().or_else(|| load.held.first()) {
            let count = load.tasks.len() + load.held.len();
            let words = format_args!("{id} is gone with {count} tasks on it, {first} the first");
            self.broken(AcceptedIsDurable, words);
        }
    }

    /// It is stored before it is sent, and never changed or opened again.
    pub(super) fn intent(&mut self, world: &World, intent: &Intent) {
        let id = intent.id;
        match world.durable.intents.get(&id) {
            Some(before) if before.request != intent.request => {
                let (was, is) = (&before.request, &intent.request);
                let words = format_args!(
                    "{id} asks for {} machines of {} offers, and becomes {} of {}: not the same request",
                    was.count,
                    was.offers.len(),
                    is.count,
                    is.offers.len()
                );
                self.broken(IntentBeforeMachine, words);
            }
            Some(_) => {}
            None if intent.state == IntentState::Requested && intent.born == 0 => {}
            None => {
                let (state, born) = (&intent.state, intent.born);
                let words = format_args!("{id} is {state:?} with {born} born, and is not open");
                self.broken(IntentBeforeMachine, words);
            }
        }
    }

    /// A row takes no more than what is left of the bill, and gives nothing back.
    pub(super) fn ledger(&mut self, world: &World, row: &LedgerRow) {
        let (id, cost, to) = (row.node, row.cost, row.to);
        let Some(node) = world.durable.nodes.get(&id) else {
            let words = format_args!("{id} is charged {cost}, and is not here");
            return self.broken(LedgerIsBill, words);
        };
        let (booked, bill) = (node.booked, bill(node.price(), node.launched, to));
        if booked + cost > bill || cost < MicroUsd(0) {
            let words =
                format_args!("{id} is charged {cost} beside {booked}; its bill at {to} is {bill}");
            self.broken(LedgerIsBill, words);
        }
    }
}
