//! Rules about text: sizes, attributes, docs, and what must not be in the repository.

use std::path::Path;
use std::process::Command;

use super::{Breach, Metadata};
use crate::steps::{Failure, read};

/// A file that is longer has more than one subject.
const LINES: usize = 700;

/// Places that exist on one machine only. Written in two parts, lest this file name them.
const MACHINE_PATHS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];
/// Hosts that packages come from: which one is the business of each machine's configuration.
const HOSTS: [&str; 4] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry-1.docker", ".io"),
    concat!("deb.debian", ".org"),
];
/// The lock file names the registry by itself.
const EXEMPT: [&str; 1] = ["Cargo.lock"];

/// Checks every tracked file and every crate.
pub(super) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<Breach>, Failure> {
    let mut breaches = Vec::new();
    let mut list = Command::new("git");
    list.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    for name in read(&mut list)?.split('\0').filter(|name| !name.is_empty()) {
        // Deleted but not committed yet, or not text: neither is a source.
        let Ok(bytes) = std::fs::read(root.join(name)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if !EXEMPT.contains(&name) {
            check_places(name, &text, root, &mut breaches);
        }
        if Path::new(name).extension().is_some_and(|ending| ending == "rs") {
            check_rust(name, &text, &mut breaches);
        }
    }
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().unwrap_or(root);
        check_crate(&package.name, folder, &mut breaches);
    }
    Ok(breaches)
}

fn check_places(name: &str, text: &str, root: &Path, breaches: &mut Vec<Breach>) {
    let root = root.display().to_string();
    for (number, line) in numbered(text) {
        let found = std::iter::once(root.as_str())
            .chain(MACHINE_PATHS)
            .find(|path| stands_alone(line, path));
        if let Some(path) = found {
            let what = format!("names `{path}`, a place of one machine: use a relative path");
            breaches.push(Breach::new(format!("{name}:{number}"), what));
        }
        if let Some(host) = HOSTS.iter().find(|host| line.contains(*host)) {
            let what =
                format!("names the host `{host}`: leave that to the machine's configuration");
            breaches.push(Breach::new(format!("{name}:{number}"), what));
        }
    }
}

/// Whether an absolute path begins here: `/a/b/` does not name `/b/`.
fn stands_alone(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-*}{".contains(before))
    })
}

fn check_rust(name: &str, text: &str, breaches: &mut Vec<Breach>) {
    let lines = text.lines().count();
    if lines > LINES {
        let what = format!("has {lines} lines, more than {LINES}: split it by subject");
        breaches.push(Breach::new(name, what));
    }
    for (number, line) in numbered(text) {
        let attribute = line.trim_start();
        if attribute.starts_with("#[allow(") || attribute.starts_with("#![allow(") {
            let what = "uses `allow`: write `#[expect(.., reason = \"..\")]`";
            breaches.push(Breach::new(format!("{name}:{number}"), what));
        }
    }
}

/// Every crate says what it is, and takes the lints of the workspace.
fn check_crate(name: &str, folder: &Path, breaches: &mut Vec<Breach>) {
    let place = format!("crate `{name}`");
    let roots = [folder.join("src/lib.rs"), folder.join("src/main.rs")];
    for root in roots.iter().filter(|root| root.exists()) {
        let text = std::fs::read_to_string(root).unwrap_or_default();
        if !text.starts_with("//!") {
            let what = "does not begin with `//!` lines that say what the crate is";
            breaches.push(Breach::new(format!("{place}, {}", file_name(root)), what));
        }
    }
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    if !manifest.contains("[lints]\nworkspace = true") {
        let what = "does not take the workspace's lints: add `[lints]` with `workspace = true`";
        breaches.push(Breach::new(place, what));
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        check_places("f.rs", text, Path::new("/srv/checkout"), &mut out);
        check_rust("f.rs", text, &mut out);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_clean_file_passes() {
        let text = "//! Words.\n#[expect(dead_code, reason = \"..\")]\nfn f() {} // a/work/b\n";
        assert_eq!(breaches(text), Vec::<String>::new());
    }

    #[test]
    fn an_allow_a_machine_path_and_a_host_are_told_with_their_lines() {
        let path = MACHINE_PATHS[0];
        let host = HOSTS[0];
        let allow = concat!("#[al", "low(dead_code)]");
        let text = format!("{allow}\n\"{path}x\"\n// {host}\n\"/srv/checkout\"\n");
        let found = breaches(&text);
        let lines: Vec<_> = found.iter().map(|text| &text[..6]).collect();
        assert_eq!(lines, ["f.rs:2", "f.rs:3", "f.rs:4", "f.rs:1"], "{found:?}");
    }

    #[test]
    fn a_file_may_have_700_lines_and_no_more() {
        assert_eq!(breaches(&"x\n".repeat(700)), Vec::<String>::new());
        assert_eq!(breaches(&"x\n".repeat(701)).len(), 1);
    }
}
