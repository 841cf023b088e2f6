//! Server-sent events as bytes: the message format of the HTML standard, §9.2.6, as far as it is used here.

/// A message may be so long; ours are a few hundred bytes.
const LONGEST: usize = 1 << 20;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The last `id:` that was seen, of this message or of an earlier one.
    pub(super) id: Option<String>,
    /// Its `data:` lines.
    pub(super) data: String,
}

/// Cuts what comes in into messages.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// What has come in and is not yet a whole line.
    line: Vec<u8>,
    /// Whether the last byte was a CR, whose LF belongs to it.
    after_cr: bool,
    data: Option<String>,
    /// Of the message that comes in.
    next_id: Option<String>,
    /// Of the last whole message.
    id: Option<String>,
}

/// What is longer than a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

impl Parser {
    /// The messages that end in `piece`. An `id:` without `data:` makes none, and is remembered.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut messages = Vec::new();
        for byte in piece {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => messages.extend(self.end_line()),
                _ if self.line.len() >= LONGEST => return Err(TooLong),
                byte => self.line.push(*byte),
            }
        }
        Ok(messages)
    }

    /// The last `id:` of a whole message: one that was cut comes again.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// A new connection begins: what came in of a message is lost with the old one.
    pub(super) fn restart(&mut self) {
        *self = Self { id: self.id.take(), ..Self::default() };
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.id = self.next_id.take().or_else(|| self.id.take());
            let data = self.data.take()?;
            return Some(Message { id: self.id.clone(), data });
        }
        let text = String::from_utf8_lossy(&line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.next_id = Some(value.to_owned()),
            // `event:` is in the data, too; an empty field is a comment; others are not ours.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\nid: 7.0\n\nid: 7.1\nevent: node\ndata: {\"a\":\ndata: 1}\n\n\
                          : keep-alive\n\ndata:x\r\n\r\nid: 8.0\rdata\r\rdata: cut";

    fn expected() -> Vec<Message> {
        let message =
            |id: &str, data: &str| Message { id: Some(id.to_owned()), data: data.to_owned() };
        vec![message("7.1", "{\"a\":\n1}"), message("7.1", "x"), message("8.0", "")]
    }

    #[test]
    fn the_id_of_half_a_message_is_not_yet_seen() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: 1.0\n\nid: 2.0\ndata: x\n"), Ok(vec![]));
        assert_eq!(parser.last_id(), Some("1.0"));
    }

    #[test]
    fn messages_are_cut_wherever_the_pieces_end() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                found.extend(parser.feed(piece).expect("short"));
            }
            assert_eq!(found, expected(), "in pieces of {size}");
            assert_eq!(parser.last_id(), Some("8.0"));
        }
    }

    #[test]
    fn half_a_message_ends_with_its_connection_and_the_id_stays() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: 3.0\n\ndata: ha"), Ok(vec![]));
        parser.restart();
        let message = Message { id: Some("3.0".into()), data: "whole".into() };
        assert_eq!(parser.feed(b"data: whole\n\n"), Ok(vec![message]));
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; LONGEST + 1]), Err(TooLong));
    }
}
