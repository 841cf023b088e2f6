//! Which connection carries which node's polls. When a session's last one closes, its digester is
//! gone or unreachable: the leader hears of it at once, not when a lease runs out.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use model::NodeId;

use super::locked;

/// One TCP connection of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(u64);

/// Open connections that have carried a poll.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    next: AtomicU64,
    bound: Mutex<Bound>,
}

#[derive(Debug, Default)]
struct Bound {
    sessions: HashMap<ConnectionId, HashSet<(NodeId, u64)>>,
    counts: HashMap<(NodeId, u64), u32>,
}

impl Connections {
    /// A connection was accepted.
    pub(crate) fn open(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// It carries a poll of this session.
    pub(crate) fn bind(&self, connection: ConnectionId, node: NodeId, session: u64) {
        let bound = &mut *locked(&self.bound);
        if bound.sessions.entry(connection).or_default().insert((node, session)) {
            *bound.counts.entry((node, session)).or_default() += 1;
        }
    }

    /// It is closed. Answers the sessions of which it was the last.
    pub(crate) fn close(&self, connection: ConnectionId) -> Vec<(NodeId, u64)> {
        let bound = &mut *locked(&self.bound);
        let sessions = bound.sessions.remove(&connection).unwrap_or_default();
        sessions
            .into_iter()
            .filter(|session| match bound.counts.get_mut(session) {
                Some(count) if *count > 1 => {
                    *count -= 1;
                    false
                }
                _ => bound.counts.remove(session).is_some(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_connection_of_a_session_counts() {
        let connections = Connections::default();
        let (one, two) = (connections.open(), connections.open());
        let node = NodeId::from_number(1);
        for connection in [one, two, one] {
            connections.bind(connection, node, 7);
        }
        assert_eq!(connections.close(one), []);
        assert_eq!(connections.close(two), [(node, 7)]);
        assert_eq!(connections.close(two), []);
    }
}
