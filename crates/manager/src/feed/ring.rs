//! The newest commits as the bytes that streams send, bounded in number and in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use api::event::{Event, EventId, EventKind};
use bytes::Bytes;
use model::{JobId, NodeId};

/// One commit's events, written once for all who listen.
#[derive(Debug)]
pub(crate) struct Told {
    /// The commit.
    pub(crate) seq: u64,
    /// All events, one message after another.
    text: Bytes,
    messages: Vec<Message>,
}

/// An event within [`Told::text`], and what it is filtered by.
#[derive(Debug)]
pub(crate) struct Message {
    /// What happened.
    pub(crate) kind: EventKind,
    /// To which job.
    pub(crate) job: Option<JobId>,
    /// On which node.
    pub(crate) node: Option<NodeId>,
    end: usize,
}

impl Told {
    /// Of a commit's events.
    pub(crate) fn new(seq: u64, events: &[Event]) -> Self {
        let (mut text, mut messages) = (Vec::new(), Vec::with_capacity(events.len()));
        for event in events {
            write_message(&mut text, event);
            let Event { kind, job, node, .. } = *event;
            messages.push(Message { kind, job, node, end: text.len() });
        }
        Self { seq, text: text.into(), messages }
    }

    /// The events with their messages, in order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&Message, Bytes)> {
        let starts = std::iter::once(0).chain(self.messages.iter().map(|message| message.end));
        self.messages.iter().zip(starts).map(|(message, start)| {
            let text = self.text.slice(start.min(message.end)..message.end);
            (message, text)
        })
    }

    /// All messages.
    pub(crate) fn text(&self) -> Bytes {
        self.text.clone()
    }

    /// The id of its last event; of a commit without any, the one that it would have.
    pub(crate) fn last_id(&self) -> EventId {
        let last = self.messages.len().saturating_sub(1);
        EventId { seq: self.seq, ordinal: u32::try_from(last).unwrap_or(u32::MAX) }
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.messages.len() * size_of::<Message>()
    }
}

/// As `text/event-stream` has it.
pub(crate) fn write_message(out: &mut Vec<u8>, event: &Event) {
    if let Some(id) = &event.id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.kind.as_str().as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // JSON has no line breaks of its own here. It cannot fail: no map has a key that is no text.
    let _ = serde_json::to_writer(&mut *out, event);
    out.extend_from_slice(b"\n\n");
}

/// Bounds of a [`Ring`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Commits.
    pub(crate) commits: usize,
    /// Bytes of all of them.
    pub(crate) bytes: usize,
}

/// The newest commits, without a gap.
#[derive(Debug)]
pub(crate) struct Ring {
    bounds: Bounds,
    commits: VecDeque<Arc<Told>>,
    bytes: usize,
    /// The commit that comes next; `None` while nobody knows.
    next: Option<u64>,
}

/// What a ring has for a reader.
#[derive(Debug)]
pub(crate) enum After {
    /// The commit that follows.
    Next(Arc<Told>),
    /// It has been here, or has never been: the log has it.
    Behind,
    /// Nothing newer is known.
    UpToDate,
}

impl Ring {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, commits: VecDeque::new(), bytes: 0, next: None }
    }

    /// The newest commit that is known.
    pub(crate) fn known(&self) -> Option<u64> {
        self.next.and_then(|next| next.checked_sub(1))
    }

    /// What follows a commit.
    pub(crate) fn after(&self, seq: u64) -> After {
        if self.known().is_none_or(|known| seq >= known) {
            return After::UpToDate;
        }
        let first = self.commits.front().map(|told| told.seq);
        let place = first.and_then(|first| (seq + 1).checked_sub(first));
        let told = place.and_then(|place| self.commits.get(usize::try_from(place).ok()?));
        told.map_or(After::Behind, |told| After::Next(Arc::clone(told)))
    }

    /// Commits up to here are in the log; what comes next is told here.
    pub(crate) fn begin_after(&mut self, seq: u64) {
        self.clear();
        self.next = Some(seq + 1);
    }

    /// Adds a commit. One that is known already changes nothing; one past a gap is a new beginning.
    pub(crate) fn push(&mut self, told: Told) {
        match self.next {
            Some(next) if told.seq < next => return,
            Some(next) if told.seq == next => {}
            Some(_) | None => self.clear(),
        }
        self.next = Some(told.seq + 1);
        self.bytes += told.bytes();
        self.commits.push_back(Arc::new(told));
        while self.commits.len() > self.bounds.commits || self.bytes > self.bounds.bytes {
            let Some(oldest) = self.commits.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// Forgets all, also what comes next.
    pub(crate) fn clear(&mut self) {
        self.commits = VecDeque::new();
        self.bytes = 0;
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    fn told(seq: u64, events: usize) -> Told {
        let event = |ordinal: usize| Event {
            id: Some(format!("{seq}.{ordinal}")),
            ..Event::new(EventKind::Node, Timestamp::from_ms(0))
        };
        Told::new(seq, &(0..events).map(event).collect::<Vec<_>>())
    }

    fn next(ring: &Ring, seq: u64) -> Option<u64> {
        match ring.after(seq) {
            After::Next(told) => Some(told.seq),
            After::Behind | After::UpToDate => None,
        }
    }

    #[test]
    fn messages_are_parts_of_the_text() {
        let told = told(7, 2);
        let parts: Vec<Bytes> = told.messages().map(|(_, text)| text).collect();
        assert_eq!(parts.concat(), told.text());
        let text = String::from_utf8_lossy(&parts[1]);
        let data = r#"{"id":"7.1","kind":"node","at":"1970-01-01T00:00:00.000Z"}"#;
        assert_eq!(text, format!("id: 7.1\nevent: node\ndata: {data}\n\n"));
        assert_eq!(told.last_id().to_string(), "7.1");
    }

    #[test]
    fn a_reader_is_given_what_follows_or_sent_to_the_log() {
        let mut ring = Ring::new(Bounds { commits: 3, bytes: 1 << 20 });
        assert!(matches!(ring.after(0), After::UpToDate), "nothing is known");
        ring.begin_after(4);
        assert!(matches!(ring.after(3), After::Behind));
        assert!(matches!(ring.after(4), After::UpToDate));
        for seq in 5..=8 {
            ring.push(told(seq, 1));
        }
        ring.push(told(8, 5));
        assert_eq!(ring.known(), Some(8));
        assert!(matches!(ring.after(4), After::Behind), "5 has gone");
        assert_eq!([5, 6, 7, 8].map(|seq| next(&ring, seq)), [Some(6), Some(7), Some(8), None]);
        ring.push(told(11, 1));
        assert!(matches!(ring.after(8), After::Behind), "9 and 10 were never here");
        assert_eq!(next(&ring, 10), Some(11));
    }

    #[test]
    fn memory_is_bounded() {
        let bytes = 10 * told(1, 4).bytes();
        let mut ring = Ring::new(Bounds { commits: 1_000, bytes });
        for seq in 1..=500 {
            ring.push(told(seq, 4));
            assert!(ring.bytes <= bytes);
            assert_eq!(ring.bytes, ring.commits.iter().map(|told| told.bytes()).sum::<usize>());
        }
        assert!(ring.commits.len() <= 10 && next(&ring, 499) == Some(500));
        ring.push(told(501, 1_000));
        assert!(matches!(ring.after(500), After::Behind), "larger than all that may be kept");
        assert!(matches!(ring.after(501), After::UpToDate));
    }
}
