//! JSON as users send it, with every key once. A document that says a thing twice is a mistake,
//! and whichever of the two were taken could be the wrong one.

use std::fmt;

use model::Fault;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

use super::failure::Failure;

/// Up to here each whole number is a number that JSON's readers agree on (RFC 8259, 6).
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A document, and a fault for each key that its object has already.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, Vec<Fault>), serde_json::Error> {
    let mut faults = Vec::new();
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { place: &Place::Root, faults: &mut faults }.deserialize(&mut from)?;
    from.end()?;
    Ok((value, faults))
}

/// A small document of a known shape, or where it is not of that shape.
pub(super) fn read_as<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let (value, mut faults) = read(bytes).map_err(|fault| malformed(&fault))?;
    match serde_path_to_error::deserialize(value) {
        Ok(read) if faults.is_empty() => Ok(read),
        Ok(_) => Err(Failure::invalid(faults)),
        Err(fault) => {
            faults
                .push(Fault { pointer: pointer(fault.path()), detail: fault.inner().to_string() });
            Err(Failure::invalid(faults))
        }
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let part = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    };
    path.iter().map(part).collect()
}

/// 400: this is not JSON.
pub(super) fn malformed(fault: &serde_json::Error) -> Failure {
    Failure::malformed(format!("not JSON: {fault}"))
}

/// Where a value stands, as a chain back to the document: no text is made of it without need.
enum Place<'p> {
    Root,
    Key(&'p Self, &'p str),
    Index(&'p Self, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
            Self::Key(parent, key) => {
                let key: String = key.chars().take(64).collect();
                write!(f, "{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
            }
        }
    }
}

struct Strict<'p, 'f> {
    place: &'p Place<'p>,
    faults: &'f mut Vec<Fault>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // 3.0 is the whole number 3, as JSON Schema has it.
        if value.fract() == 0.0 && value.abs() < WHOLE {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
            return Ok(Value::Number((value as i64).into()));
        }
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place::Index(self.place, list.len());
            let entry = Strict { place: &place, faults: &mut *self.faults };
            match from.next_element_seed(entry)? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let place = Place::Key(self.place, &key);
            if map.contains_key(&key) {
                let detail = "this key appears more than once".to_owned();
                self.faults.push(Fault { pointer: place.to_string(), detail });
            }
            let value = Strict { place: &place, faults: &mut *self.faults };
            let value = from.next_value_seed(value)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(text: &str) -> Vec<String> {
        let (_, faults) = read(text.as_bytes()).expect("JSON");
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn a_document_is_read_as_it_is() {
        let document = json!({"a": [1, -2, 0.5, null, true, "x\u{0}"], "b": {"c": {}}});
        let (read, faults) = read(document.to_string().as_bytes()).expect("JSON");
        assert_eq!((read, faults), (document, Vec::new()));
    }

    #[test]
    fn whole_numbers_are_whole() {
        let (read, _) = read(b"[3.0, -2e3, 0.5, 1e300]").expect("JSON");
        assert_eq!(read.to_string(), "[3,-2000,0.5,1e+300]");
    }

    #[test]
    fn a_key_that_appears_twice_is_named() {
        assert_eq!(
            pointers(r#"{"a": 1, "b": [{"x/~": 1, "x/~": 2}], "a": 3}"#),
            ["/b/0/x~1~0", "/a"]
        );
        assert_eq!(pointers(r#"{"a": {"b": 1}, "c": {"b": 1}}"#), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let deep = "[".repeat(100_000);
        let all: [&[u8]; 8] = [
            b"",
            b"{} x",
            b"{}{}",
            b"\"\xff\"",
            b"{\"a\": 1e400}",
            b"\"\\ud800\"",
            b"{\"a\": NaN}",
            deep.as_bytes(),
        ];
        for bad in all {
            assert!(read(bad).is_err(), "{}", String::from_utf8_lossy(&bad[..bad.len().min(20)]));
        }
    }
}
