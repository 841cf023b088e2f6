//! Reads a submitted document and gathers what is wrong with it, each fault with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Fault, limits};

/// A value of the document, where it stands, and the list that faults go to.
pub(crate) struct Reader<'v, 'f> {
    value: &'v Value,
    pointer: String,
    faults: &'f mut Vec<Fault>,
}

impl<'v, 'f> Reader<'v, 'f> {
    pub(crate) fn new(value: &'v Value, faults: &'f mut Vec<Fault>) -> Self {
        Self { value, pointer: String::new(), faults }
    }

    /// Notes a fault of this value.
    pub(crate) fn fault(&mut self, detail: impl Into<String>) {
        self.fault_at("", detail);
    }

    /// Notes a fault at a place below this value.
    pub(crate) fn fault_at(&mut self, below: &str, detail: impl Into<String>) {
        match self.faults.len() {
            listed if listed < limits::FAULTS => {
                let pointer = format!("{}{below}", self.pointer);
                self.faults.push(Fault { pointer, detail: detail.into() });
            }
            limits::FAULTS => self.faults.push(Fault {
                pointer: String::new(),
                detail: format!("more than {} faults; the rest is not listed", limits::FAULTS),
            }),
            _ => {}
        }
    }

    /// Whether it is null.
    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// The entries of a list, as they are.
    pub(crate) fn entries(&self) -> &'v [Value] {
        self.value.as_array().map_or(&[], Vec::as_slice)
    }

    fn wrong<T>(&mut self, expected: &str) -> Option<T> {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => format!("`{}`", text.chars().take(64).collect::<String>()),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        self.fault(format!("must be {expected}, is {found}"));
        None
    }

    /// Reads an object: unknown fields and fields with a reason are faults.
    pub(crate) fn object<T>(
        mut self,
        fields: &[(&str, Option<&str>)],
        read: impl FnOnce(Reader<'_, '_>) -> T,
    ) -> Option<T> {
        let Value::Object(map) = self.value else { return self.wrong("an object") };
        self.check_fields(map, fields);
        Some(read(self))
    }

    fn check_fields(&mut self, map: &Map<String, Value>, fields: &[(&str, Option<&str>)]) {
        for key in map.keys() {
            let below = format!("/{}", escape(key));
            match fields.iter().find(|(name, _)| name == key) {
                Some((_, None)) => {}
                Some((name, Some(reason))) => self.fault_at(&below, format!("`{name}` {reason}")),
                None => {
                    let known: Vec<_> = fields
                        .iter()
                        .filter(|(_, reason)| reason.is_none())
                        .map(|(name, _)| *name)
                        .collect();
                    self.fault_at(&below, format!("unknown field; known are {}", known.join(", ")));
                }
            }
        }
    }

    /// The value of a field, if it is there.
    pub(crate) fn field(&mut self, key: &str) -> Option<Reader<'v, '_>> {
        let value = self.value.get(key)?;
        let pointer = format!("{}/{}", self.pointer, escape(key));
        Some(Reader { value, pointer, faults: self.faults })
    }

    /// Reads a list; gives it only when each entry could be read.
    pub(crate) fn list<T>(
        mut self,
        least: usize,
        most: usize,
        mut read: impl FnMut(usize, Reader<'v, '_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(entries) = self.value else { return self.wrong("a list") };
        if entries.len() < least || entries.len() > most {
            self.fault(format!("must have {least} to {most} entries, has {}", entries.len()));
            return None;
        }
        let mut out = Vec::with_capacity(entries.len());
        for (at, value) in entries.iter().enumerate() {
            let pointer = format!("{}/{at}", self.pointer);
            out.extend(read(at, Reader { value, pointer, faults: self.faults }));
        }
        (out.len() == entries.len()).then_some(out)
    }

    /// The same place once more, for a reading after which more is to be said of it.
    pub(crate) fn again(&mut self) -> Reader<'v, '_> {
        Reader { value: self.value, pointer: self.pointer.clone(), faults: self.faults }
    }

    /// Text of at most `most` bytes, without NUL.
    pub(crate) fn text(mut self, most: usize) -> Option<&'v str> {
        let Value::String(text) = self.value else { return self.wrong("text") };
        if text.len() > most {
            self.fault(format!("has {} bytes; at most {most} are allowed", text.len()));
            return None;
        }
        if text.contains('\0') {
            self.fault("must not contain a NUL character");
            return None;
        }
        Some(text)
    }

    /// The same, and not empty.
    pub(crate) fn some_text(mut self, most: usize) -> Option<&'v str> {
        if self.value.as_str() == Some("") {
            self.fault("must not be empty");
            return None;
        }
        self.text(most)
    }

    /// Text that `parse` understands.
    pub(crate) fn parsed<T>(mut self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let Value::String(text) = self.value else { return self.wrong("text") };
        let shown: String = text.chars().take(64).collect();
        match parse(text) {
            Ok(value) if text.len() <= limits::TEXT_BYTES && !text.contains('\0') => Some(value),
            Ok(_) => {
                self.fault(format!("`{shown}` is too long, or contains a NUL character"));
                None
            }
            Err(detail) if text.len() <= 64 || !detail.contains(text.as_str()) => {
                self.fault(detail);
                None
            }
            Err(_) => {
                self.fault(format!("`{shown}…` is not understood"));
                None
            }
        }
    }

    /// Text or a number that `parse` understands.
    pub(crate) fn quantity<T>(
        mut self,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.value {
            Value::Number(number) => match parse(&number.to_string()) {
                Ok(value) => Some(value),
                Err(detail) => {
                    self.fault(detail);
                    None
                }
            },
            _ => self.parsed(parse),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer(mut self, least: i64, most: i64) -> Option<i64> {
        match self.value.as_i64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => self.wrong(&format!("a whole number from {least} to {most}")),
        }
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Clone>(
        mut self,
        words: &[(&str, Result<T, &'static str>)],
    ) -> Option<T> {
        let found = self.value.as_str();
        match words.iter().find(|(word, _)| Some(*word) == found) {
            Some((_, Ok(value))) => Some(value.clone()),
            Some((_, Err(reason))) => {
                self.fault(*reason);
                None
            }
            None => {
                let known: Vec<_> = words
                    .iter()
                    .filter(|(_, value)| value.is_ok())
                    .map(|(word, _)| format!("\"{word}\""))
                    .collect();
                self.wrong(&known.join(" or "))
            }
        }
    }

    /// A name for people: printable, not empty.
    pub(crate) fn name(self) -> Option<Arc<str>> {
        self.parsed(|text| {
            let good = !text.trim().is_empty()
                && text.len() <= limits::NAME_BYTES
                && !text.chars().any(char::is_control);
            if good {
                Ok(text.into())
            } else {
                Err(format!("must be 1 to {} printable bytes", limits::NAME_BYTES))
            }
        })
    }

    /// A map from text to text.
    pub(crate) fn text_map(
        mut self,
        most: usize,
        bytes: usize,
    ) -> Option<BTreeMap<String, String>> {
        self.entries_of(most, |entry| entry.text(bytes).map(str::to_owned), bytes)
    }

    /// A map from text to text, or to null, which takes the key away.
    pub(crate) fn changes(
        &mut self,
        most: usize,
        bytes: usize,
    ) -> Option<BTreeMap<String, Option<String>>> {
        let read = |entry: Reader<'_, '_>| {
            if entry.is_null() {
                Some(None)
            } else {
                entry.text(bytes).map(|text| Some(text.to_owned()))
            }
        };
        self.entries_of(most, read, bytes)
    }

    fn entries_of<T>(
        &mut self,
        most: usize,
        read: impl Fn(Reader<'_, '_>) -> Option<T>,
        key_bytes: usize,
    ) -> Option<BTreeMap<String, T>> {
        let Value::Object(map) = self.value else { return self.wrong("an object of texts") };
        if map.len() > most {
            self.fault(format!("has {} entries; at most {most} are allowed", map.len()));
            return None;
        }
        let mut out = BTreeMap::new();
        for (key, value) in map {
            let pointer = format!("{}/{}", self.pointer, escape(key));
            let mut entry = Reader { value, pointer, faults: self.faults };
            if key.is_empty() || key.len() > key_bytes || key.contains('\0') {
                entry.fault(format!("the key must be 1 to {key_bytes} bytes, without NUL"));
                continue;
            }
            if let Some(value) = read(entry) {
                out.insert(key.clone(), value);
            }
        }
        (out.len() == map.len()).then_some(out)
    }

    /// An environment: names without `=`, none of ours.
    pub(crate) fn env(mut self) -> Option<BTreeMap<String, String>> {
        let mut good = true;
        if let Value::Object(map) = self.value {
            for key in map.keys().filter(|key| key.contains('=') || key.starts_with("EBB_")) {
                good = false;
                let below = format!("/{}", escape(key));
                self.fault_at(
                    &below,
                    "a name has no `=` and does not begin with EBB_, which is ours",
                );
            }
        }
        self.text_map(limits::ENV, limits::TEXT_BYTES).filter(|_| good)
    }

    /// A program and its arguments.
    pub(crate) fn words(mut self) -> Option<Vec<String>> {
        if let Value::Array(words) = self.value
            && words.first().and_then(Value::as_str) == Some("")
        {
            self.fault_at("/0", "the program's name is empty");
            return None;
        }
        self.list(1, limits::COMMAND_WORDS, |_, word| {
            word.text(limits::TEXT_BYTES).map(str::to_owned)
        })
    }

    /// Patterns of files below the attempt's own folder.
    pub(crate) fn patterns(self) -> Option<Vec<String>> {
        self.list(0, limits::OUTPUTS, |_, pattern| {
            pattern.parsed(|text| {
                let inside = !text.is_empty()
                    && text.len() <= 1024
                    && !text.starts_with('/')
                    && !text.split('/').any(|part| part == "..");
                if inside {
                    Ok(text.to_owned())
                } else {
                    Err("must be a relative pattern without `..`, like \"out/*\"".to_owned())
                }
            })
        })
    }
}

/// RFC 6901: `~` and `/` in a key.
fn escape(key: &str) -> String {
    key.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1")
}
