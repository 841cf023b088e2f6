//! A job file's text, in whichever of the three languages, as one JSON value; and where in it a
//! fault is.

mod place;

use std::fmt;

use serde_json::Value;

pub use place::Place;

/// The language of a job file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `.toml`
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
}

impl Language {
    /// By the file's ending.
    pub fn of_file(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Toml => "TOML",
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        })
    }
}

/// What is wrong with a text's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxFault {
    /// Where; absent when the language's reader does not say.
    pub place: Option<Place>,
    /// What is wrong, in one line.
    pub reason: String,
}

/// Reads the text.
///
/// # Errors
/// What is wrong with its syntax.
pub fn read(text: &str, language: Language) -> Result<Value, SyntaxFault> {
    let fault = |place, reason: &str| {
        let one_line = reason.lines().map(str::trim).filter(|line| !line.is_empty());
        SyntaxFault { place, reason: one_line.collect::<Vec<_>>().join(", ") }
    };
    match language {
        Language::Toml => toml::from_str(text).map(with_times_as_text).map_err(|wrong| {
            let at = wrong.span().map(|span| Place::of(text, span.start));
            fault(at, wrong.message())
        }),
        Language::Yaml => serde_yaml_ng::from_str(text).map_err(|wrong| {
            let at = wrong.location().map(|at| Place { line: at.line(), column: at.column() });
            let told = wrong.to_string();
            // Its own words end with the place, too.
            fault(at, told.split(" at line ").next().unwrap_or(&told))
        }),
        Language::Json => serde_json::from_str(text).map_err(|wrong| {
            let at = Place { line: wrong.line(), column: wrong.column() };
            let told = wrong.to_string();
            fault(Some(at), told.rsplit_once(" at line ").map_or(&*told, |(words, _)| words))
        }),
    }
}

/// TOML knows times, and JSON does not: there they are texts.
fn with_times_as_text(value: Value) -> Value {
    /// Under which the reader hands a time on.
    const TIME: &str = "$__toml_private_datetime";
    match value {
        Value::Object(mut map) => match map.remove(TIME) {
            Some(time) if map.is_empty() => time,
            Some(time) => {
                map.insert(TIME.to_owned(), time);
                Value::Object(map)
            }
            None => {
                let each = map.into_iter().map(|(key, value)| (key, with_times_as_text(value)));
                Value::Object(each.collect())
            }
        },
        Value::Array(list) => list.into_iter().map(with_times_as_text).collect(),
        other => other,
    }
}

/// Where a pointer (RFC 6901) leads in the text, or the deepest part of it that is there: the key
/// of a field, the beginning of an item. `None` for the whole, and for YAML, whose reader keeps no
/// places.
pub fn place(text: &str, language: Language, pointer: &str) -> Option<Place> {
    match language {
        Language::Toml => place::in_toml(text, pointer),
        Language::Json => place::in_json(text, pointer),
        Language::Yaml => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, language: Language) -> String {
        let fault = read(text, language).expect_err("a fault");
        let place = fault.place.map(|place| place.to_string()).unwrap_or_default();
        format!("{place} {}", fault.reason)
    }

    #[test]
    fn a_fault_of_syntax_has_its_place() {
        assert_eq!(
            told("name = \"a\"\nx = \n", Language::Toml),
            "2:5 string values must be quoted, expected literal string"
        );
        assert_eq!(told("{\n  \"a\": ]}", Language::Json), "2:8 expected value");
        assert_eq!(told("a: b\nc: [1\n", Language::Yaml), "3:1 did not find expected ',' or ']'");
    }

    #[test]
    fn times_of_toml_are_texts() {
        let text = "deadline = 2031-05-01T18:00:00Z\n[[group]]\nat = [1979-05-27, 7]\n";
        let read = read(text, Language::Toml).expect("right");
        assert_eq!(
            read.to_string(),
            r#"{"deadline":"2031-05-01T18:00:00Z","group":[{"at":["1979-05-27",7]}]}"#
        );
    }

    #[test]
    fn no_depth_of_nesting_ends_the_process() {
        let deep = |depth| "[".repeat(depth);
        // YAML's scanner takes time by the square of the depth, before it refuses.
        for (text, language) in [
            (deep(100_000), Language::Json),
            (format!("a = {}", deep(100_000)), Language::Toml),
            (deep(10_000), Language::Yaml),
        ] {
            assert!(read(&text, language).is_err());
            let pointer = "/0".repeat(1000);
            assert!(place(&text, language, &pointer).is_none_or(|place| place.line == 1));
        }
    }
}
