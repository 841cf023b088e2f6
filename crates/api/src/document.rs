//! A job file's text, in whichever of the three languages, as one JSON value.

use serde_json::Value;

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

/// Reads the text.
///
/// # Errors
/// What is wrong with its syntax, with line and column.
pub fn read(text: &str, language: Language) -> Result<Value, String> {
    match language {
        Language::Toml => toml::from_str(text).map_err(|fault| fault.to_string()),
        Language::Yaml => serde_yaml_ng::from_str(text).map_err(|fault| fault.to_string()),
        Language::Json => serde_json::from_str(text).map_err(|fault| fault.to_string()),
    }
}
