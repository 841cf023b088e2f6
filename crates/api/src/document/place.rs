//! From a pointer to line and column.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where in a text; both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// Of a byte of the text.
    pub fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A pointer's parts, unescaped.
fn parts(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

pub(super) fn in_toml(text: &str, pointer: &str) -> Option<Place> {
    let table = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut within = Within::Table(table.get_ref());
    for part in parts(pointer) {
        let (at, next) = match within {
            Within::Table(table) => {
                let Some((key, value)) = table.iter().find(|(key, _)| *key.get_ref() == *part)
                else {
                    break;
                };
                // The key of a header is that of its first; an item has its own place below.
                (key.span().start, value)
            }
            Within::Array(items) => {
                let Some(item) = part.parse().ok().and_then(|index: usize| items.get(index)) else {
                    break;
                };
                (item.span().start, item)
            }
        };
        found = Some(at);
        within = match next.get_ref() {
            DeValue::Table(table) => Within::Table(table),
            DeValue::Array(items) => Within::Array(items),
            _ => break,
        };
    }
    found.map(|byte| Place::of(text, byte))
}

enum Within<'a, 'b> {
    Table(&'a DeTable<'b>),
    Array(&'a [Spanned<DeValue<'b>>]),
}

pub(super) fn in_json(text: &str, pointer: &str) -> Option<Place> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    let mut found = None;
    for part in parts(pointer) {
        scan.blanks();
        let here = match scan.peek() {
            Some(b'{') => scan.field(&part),
            Some(b'[') => part.parse().ok().and_then(|index| scan.item(index)),
            _ => None,
        };
        match here {
            Some(at) => found = Some(at),
            None => break,
        }
    }
    found.map(|byte| Place::of(text, byte))
}

/// Walks over JSON that has been read before, so that what is wrong only ends the walk.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Past blanks and this byte, if it is next.
    fn eat(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    /// Enters an object at the value of a field; answers where its key is.
    fn field(&mut self, name: &str) -> Option<usize> {
        self.eat(b'{')?;
        loop {
            self.blanks();
            let start = self.at;
            self.value()?;
            let key: String = serde_json::from_slice(self.bytes.get(start..self.at)?).ok()?;
            self.eat(b':')?;
            self.blanks();
            if key == name {
                return Some(start);
            }
            self.value()?;
            self.eat(b',')?;
        }
    }

    /// Enters an array at an item; answers where it begins.
    fn item(&mut self, index: usize) -> Option<usize> {
        self.eat(b'[')?;
        for _ in 0..index {
            self.value()?;
            self.eat(b',')?;
        }
        self.blanks();
        Some(self.at)
    }

    /// Past a value, whatever is in it.
    fn value(&mut self) -> Option<()> {
        self.blanks();
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' if depth == 0 => return None,
                _ => self.at += 1,
            }
            // A number or a word goes on to what ends it.
            let next = self.peek();
            let goes_on =
                next.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            if depth == 0 && !goes_on {
                return Some(());
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(place: Option<Place>) -> String {
        place.map(|place| place.to_string()).unwrap_or_default()
    }

    #[test]
    fn toml_is_placed_by_key_and_item() {
        let text = "name = \"ä\"\n[[group]]\ncommand = [\"true\"]\n\n[[group]]\n  command = [\"a\", 7]\n  \
                    resources = { cpu = \"x\" }\n";
        let at = |pointer| line(in_toml(text, pointer));
        assert_eq!(at("/name"), "1:1");
        assert_eq!(at("/group/1/command"), "6:3");
        assert_eq!(at("/group/1/command/1"), "6:19");
        assert_eq!(at("/group/1/resources/cpu"), "7:17");
        // What is missing is missing from something.
        assert_eq!(at("/group/1/name"), "5:1");
        assert_eq!(at("/labels"), "");
        assert_eq!(at(""), "");
    }

    #[test]
    fn json_is_placed_by_key_and_item() {
        let text = "{\"n~/\": -1.5e3, \"s\": \"a\\\"]}\",\n \"group\": [ {\"x\": [true, {}]},\n  {\"c\": [1, 22]} ]}";
        let at = |pointer| line(in_json(text, pointer));
        assert_eq!(at("/n~0~1"), "1:2");
        assert_eq!(at("/group"), "2:2");
        assert_eq!(at("/group/0/x/1"), "2:26");
        assert_eq!(at("/group/1/c/1"), "3:13");
        assert_eq!(at("/group/1/missing"), "3:3");
        assert_eq!(at("/group/2"), "2:2");
        assert_eq!(at("/nothing"), "");
        for cut in 0..text.len() {
            // Never a panic, whatever is cut off.
            let _ = in_json(text.get(..cut).unwrap_or_default(), "/group/1/c/1");
        }
    }
}
