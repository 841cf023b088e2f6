//! How far each node's spool was acknowledged in this term (DESIGN §5).

use model::NodeId;

use super::{Hub, locked};

/// Of the session that a node is bound to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acked {
    session: u64,
    /// Transitions below this offset are durable. Before the first sync of a term only the node
    /// knows it: what the leader before had acknowledged is nowhere kept but in its spool.
    offset: Option<u64>,
}

impl Hub {
    /// The offset from which the node's next transitions are expected, if they begin past it: then
    /// some between were never sent, and to acknowledge what follows them would lose them.
    pub(crate) fn spool_gap(&self, node: NodeId, session: u64, offset: u64) -> Option<u64> {
        let mailbox = self.mailbox(node);
        let acked = *locked(&mailbox.acked);
        acked.offset.filter(|known| acked.session == session && offset > *known)
    }

    /// A process has joined: where it stands it says itself, for what it has cut off its spool was
    /// acknowledged by whoever led then.
    pub(super) fn spool_joined(&self, node: NodeId) {
        *locked(&self.mailbox(node).acked) = Acked::default();
    }

    /// Transitions of this session up to there are durable; answers how far all of them are.
    pub(crate) fn spool_taken(&self, node: NodeId, session: u64, end: u64) -> u64 {
        let mailbox = self.mailbox(node);
        let mut acked = locked(&mailbox.acked);
        if acked.session != session {
            *acked = Acked { session, offset: None };
        }
        let end = acked.offset.map_or(end, |known| known.max(end));
        acked.offset = Some(end);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_acknowledged() {
        let (hub, node) = (Hub::default(), NodeId::from_number(1));
        // The first sync of a term says where the node stands.
        assert_eq!(hub.spool_gap(node, 7, 40), None);
        assert_eq!(hub.spool_taken(node, 7, 42), 42);
        // What was sent and not acknowledged comes again.
        assert_eq!(hub.spool_gap(node, 7, 40), None);
        assert_eq!(hub.spool_taken(node, 7, 41), 42);
        assert_eq!(hub.spool_gap(node, 7, 42), None);
        assert_eq!(hub.spool_gap(node, 7, 43), Some(42));
        // Another session has a spool of its own.
        assert_eq!(hub.spool_gap(node, 8, 100), None);
        assert_eq!(hub.spool_taken(node, 8, 0), 0);
        assert_eq!(hub.spool_gap(node, 8, 1), Some(0));
    }

    /// `cargo xtask simulate --seeds 1 --from 102` found it: the first poll that a new leader heard was
    /// one from long ago, and every later one seemed to leave something out, also after each new join.
    #[test]
    fn a_join_ends_a_gap() {
        let (hub, node) = (Hub::default(), NodeId::from_number(1));
        assert_eq!(hub.spool_taken(node, 7, 1), 1);
        assert_eq!(hub.spool_gap(node, 7, 3), Some(1));
        hub.joined(node);
        assert_eq!(hub.spool_gap(node, 7, 3), None);
        assert_eq!(hub.spool_taken(node, 7, 3), 3);
    }
}
