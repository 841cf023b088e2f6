//! The rules of the house that no compiler knows.

mod layers;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::steps::{Failure, cargo, read, say};

/// One breach of a rule: where, what, and what to do.
pub(crate) struct Breach {
    place: String,
    what: String,
}

impl Breach {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.what)
    }
}

/// Checks every rule, and tells of every breach at once.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let metadata = metadata(root)?;
    let mut breaches = layers::table(&metadata);
    breaches.extend(layers::purity(root, &metadata)?);
    breaches.extend(sources::check(root, &metadata)?);
    for breach in &breaches {
        say(breach);
    }
    match breaches.len() {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} breaches of the rules, listed above"))),
    }
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf, Failure> {
    metadata(root).map(|metadata| metadata.target_directory)
}

/// The part of `cargo metadata` that the rules look at.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for a normal one.
    kind: Option<String>,
    /// Set for our own crates.
    path: Option<PathBuf>,
}

fn metadata(root: &Path) -> Result<Metadata, Failure> {
    let text = read(&mut cargo(root, &["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&text)
        .map_err(|fault| Failure::Failed(format!("cargo metadata is not understood: {fault}")))
}
