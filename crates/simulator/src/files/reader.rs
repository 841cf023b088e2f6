//! Reads a document by its text, and gathers what is wrong with it, each fault with its place.
//!
//! Values stay text ([`RawValue`]) until somebody asks for them: so numbers are read from their
//! digits, repeated fields are seen, and a million jobs never stand in memory as a tree.

use std::borrow::Cow;
use std::fmt;

use model::Fault;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number::Number;
use super::{limits, whole};

/// Where a value stands; text only once somebody has to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'p> {
    /// The document itself.
    Root,
    /// A field of an object.
    Field(&'p Self, &'p str),
    /// An entry of a list.
    Entry(&'p Self, usize),
}

impl fmt::Display for At<'_> {
    /// As RFC 6901 writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(parent, key) => {
                let shown: String = key.chars().take(64).collect();
                write!(f, "{parent}/{}", shown.replace('~', "~0").replace('/', "~1"))
            }
            Self::Entry(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// Notes one.
    pub(crate) fn note(&mut self, at: &At<'_>, detail: impl Into<String>) {
        match self.list.len() {
            listed if listed < limits::FAULTS => {
                self.list.push(Fault { pointer: at.to_string(), detail: detail.into() });
            }
            limits::FAULTS => self.list.push(whole(format!(
                "more than {} faults; the rest is not listed",
                limits::FAULTS
            ))),
            _ => {}
        }
    }

    /// What was read, if nothing was wrong with it.
    pub(crate) fn or<T>(self, read: Option<T>) -> Result<T, Vec<Fault>> {
        match read {
            Some(read) if self.list.is_empty() => Ok(read),
            _ => Err(self.list),
        }
    }
}

/// A value in the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a, 'p> {
    text: &'a str,
    at: At<'p>,
}

/// An object's fields, as they stand.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A whole document, if it is JSON.
pub(crate) fn document(text: &str) -> Result<Node<'_, 'static>, Vec<Fault>> {
    let text = text.trim_start_matches('\u{feff}');
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => Ok(Node { text: raw.get(), at: At::Root }),
        Err(fault) => Err(vec![whole(format!("is not JSON: {fault}"))]),
    }
}

impl<'a, 'p> Node<'a, 'p> {
    /// Where it stands.
    pub(crate) fn at(&self) -> &At<'p> {
        &self.at
    }

    /// Its text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn is_null(&self) -> bool {
        self.text == "null"
    }

    pub(crate) fn is_list(&self) -> bool {
        self.text.starts_with('[')
    }

    pub(crate) fn is_number(&self) -> bool {
        self.text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    pub(crate) fn is_object(&self) -> bool {
        self.text.starts_with('{')
    }

    /// Notes that it should be something else.
    pub(crate) fn wrong<T>(&self, faults: &mut Faults, expected: impl fmt::Display) -> Option<T> {
        let found = match self.text.as_bytes().first() {
            Some(b'[') => "a list".to_owned(),
            Some(b'{') => "an object".to_owned(),
            _ if self.text.chars().count() > 64 => {
                format!("{}…", self.text.chars().take(63).collect::<String>())
            }
            _ => self.text.to_owned(),
        };
        faults.note(&self.at, format!("must be {expected}, is {found}"));
        None
    }

    /// An object that has no other fields than those known.
    pub(crate) fn object(&self, known: &[&str], faults: &mut Faults) -> Option<Fields<'a>> {
        let fields = self.fields("an object", faults)?;
        for (key, _) in fields.0.iter().filter(|(key, _)| !known.contains(&key.as_ref())) {
            let at = At::Field(&self.at, key);
            faults.note(&at, format!("unknown field; known are {}", known.join(", ")));
        }
        Some(fields)
    }

    /// An object whose keys are the writer's; each at most once.
    pub(crate) fn fields(&self, expected: &str, faults: &mut Faults) -> Option<Fields<'a>> {
        if !self.is_object() {
            return self.wrong(faults, expected);
        }
        let fields = match serde_json::from_str::<Fields<'a>>(self.text) {
            Ok(fields) => fields,
            Err(fault) => return self.broken(faults, &fault),
        };
        let mut keys: Vec<&str> = fields.0.iter().map(|(key, _)| key.as_ref()).collect();
        keys.sort_unstable();
        let mut told = None;
        for pair in keys.windows(2) {
            if let [first, second] = pair
                && first == second
                && told != Some(first)
            {
                told = Some(first);
                faults.note(&At::Field(&self.at, first), "is there more than once");
            }
        }
        Some(fields)
    }

    /// A list's entries.
    pub(crate) fn entries(
        &self,
        expected: &str,
        most: usize,
        faults: &mut Faults,
    ) -> Option<Vec<&'a RawValue>> {
        if !self.is_list() {
            return self.wrong(faults, expected);
        }
        let entries = match serde_json::from_str::<Vec<&'a RawValue>>(self.text) {
            Ok(entries) => entries,
            Err(fault) => return self.broken(faults, &fault),
        };
        if entries.len() > most {
            let found = entries.len();
            faults.note(&self.at, format!("has {found} entries; at most {most} are allowed"));
            return None;
        }
        Some(entries)
    }

    /// Reads a list; gives it only when each entry could be read.
    pub(crate) fn list<T>(
        &self,
        expected: &str,
        most: usize,
        faults: &mut Faults,
        mut read: impl FnMut(usize, Node<'a, '_>, &mut Faults) -> Option<T>,
    ) -> Option<Vec<T>> {
        let entries = self.entries(expected, most, faults)?;
        let mut out = Vec::with_capacity(entries.len());
        for (index, raw) in entries.iter().enumerate() {
            let node = Node { text: raw.get(), at: At::Entry(&self.at, index) };
            out.extend(read(index, node, faults));
        }
        (out.len() == entries.len()).then_some(out)
    }

    /// A number of a kind, in its units.
    pub(crate) fn number(&self, kind: Number, faults: &mut Faults) -> Option<u64> {
        if !self.is_number() {
            return self.wrong(faults, kind);
        }
        match kind.read(self.text) {
            Ok(units) => Some(units),
            Err(expected) => self.wrong(faults, expected),
        }
    }

    /// A number of a kind that fits 32 bits by its bounds.
    pub(crate) fn number32(&self, kind: Number, faults: &mut Faults) -> Option<u32> {
        u32::try_from(self.number(kind, faults)?).ok()
    }

    /// Text of 1 to [`limits::NAME_BYTES`] bytes without control characters.
    pub(crate) fn name(&self, faults: &mut Faults) -> Option<String> {
        const EXPECTED: &str = "text of 1 to 256 printable bytes";
        if !self.text.starts_with('"') {
            return self.wrong(faults, EXPECTED);
        }
        match serde_json::from_str::<String>(self.text) {
            Ok(name) if is_name(&name) => Some(name),
            Ok(_) => self.wrong(faults, EXPECTED),
            Err(fault) => self.broken(faults, &fault),
        }
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)], faults: &mut Faults) -> Option<T> {
        let found = serde_json::from_str::<String>(self.text).ok();
        if let Some((_, value)) = words.iter().find(|(word, _)| Some(*word) == found.as_deref()) {
            return Some(*value);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.wrong(faults, known.join(" or "))
    }

    fn broken<T>(&self, faults: &mut Faults, fault: &serde_json::Error) -> Option<T> {
        faults.note(&self.at, format!("is not JSON: {fault}"));
        None
    }
}

/// Whether text may be an id, a zone or a type.
pub(crate) fn is_name(text: &str) -> bool {
    !text.trim().is_empty()
        && text.len() <= limits::NAME_BYTES
        && !text.chars().any(char::is_control)
}

impl<'a> Fields<'a> {
    /// Each field with its value, as they stand.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, raw)| (key.as_ref(), *raw))
    }

    /// A field's value below the object `of`.
    pub(crate) fn get<'p>(&self, of: &'p At<'p>, key: &'p str) -> Option<Node<'a, 'p>> {
        let (_, raw) = self.0.iter().find(|(known, _)| known == key)?;
        Some(Node { text: raw.get(), at: At::Field(of, key) })
    }

    /// A field that must be there.
    pub(crate) fn need<T>(
        &self,
        of: &At<'_>,
        key: &str,
        faults: &mut Faults,
        read: impl FnOnce(Node<'a, '_>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        // What is not there is no value of any kind: its reader says what it should have been.
        let missing = Node { text: "missing", at: At::Field(of, key) };
        read(self.get(of, key).unwrap_or(missing), faults)
    }

    /// A field that stands for `default` when it is not there, or null.
    pub(crate) fn may<T>(
        &self,
        of: &At<'_>,
        key: &str,
        default: T,
        faults: &mut Faults,
        read: impl FnOnce(Node<'a, '_>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        match self.get(of, key) {
            Some(node) if !node.is_null() => read(node, faults),
            _ => Some(default),
        }
    }
}

impl<'a> Node<'a, '_> {
    /// A value of this object's, of which the key is known only now.
    pub(crate) fn below<'p>(&'p self, key: &'p str, raw: &'a RawValue) -> Node<'a, 'p> {
        Node { text: raw.get(), at: At::Field(&self.at, key) }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Object)
    }
}

/// A key, borrowed where it holds no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}
