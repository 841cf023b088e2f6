//! Reads a job file and makes of it the document that `POST /v1/jobs` takes.

use std::io::Read;
use std::path::{Path, PathBuf};

use api::document::{self, Language};
use model::{Fault, JobSpec};
use serde_json::Value;

use crate::error::Failure;

/// Reads `file` (`-` is stdin, whose language is guessed), puts the lines of each `items_file` in
/// its place and checks the whole, so that every fault is told at once and nothing is sent.
pub(crate) fn read(file: &Path) -> Result<Value, Failure> {
    let mut document = if file == Path::new("-") { read_stdin()? } else { read_file(file)? };
    let folder = if file == Path::new("-") { None } else { file.parent() };
    let mut faults = inline_items(&mut document, folder.unwrap_or_else(|| Path::new("")));
    if let Err(more) = JobSpec::parse(&document) {
        faults.extend(more);
    }
    if faults.is_empty() {
        return Ok(document);
    }
    let count = match faults.len() {
        1 => "1 fault".to_owned(),
        many => format!("{many} faults"),
    };
    let name = file.display();
    Err(Failure::usage(format!("the job file {name} has {count}; nothing was submitted"))
        .with_errors(faults)
        .next(format!("mend it, then: ebb submit {name}")))
}

fn read_file(file: &Path) -> Result<Value, Failure> {
    let name = file.display();
    let language = file.to_str().and_then(Language::of_file).ok_or_else(|| {
        Failure::usage(format!("{name} is no job file by its name: .toml, .yaml, .yml or .json"))
    })?;
    let text = std::fs::read_to_string(file).map_err(|fault| unreadable(file, &fault))?;
    document::read(&text, language)
        .map_err(|fault| Failure::usage(format!("{name} is not understood: {}", fault.trim_end())))
}

fn unreadable(file: &Path, fault: &std::io::Error) -> Failure {
    let cause = format!("cannot read {}: {fault}", file.display());
    match fault.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found(cause),
        _ => Failure::usage(cause),
    }
}

fn read_stdin() -> Result<Value, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .read_to_string(&mut text)
        .map_err(|fault| Failure::usage(format!("cannot read stdin: {fault}")))?;
    guess(&text).map_err(|fault| Failure::usage(format!("stdin is not understood: {fault}")))
}

/// JSON by its brace; TOML where it is TOML; YAML otherwise. The fault told is that of the likelier
/// language: a line `key: value` is YAML's.
fn guess(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return document::read(text, Language::Json);
    }
    document::read(text, Language::Toml).or_else(|toml| {
        match document::read(text, Language::Yaml) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(toml),
            Err(yaml) => {
                let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                Err(if first.contains(": ") { yaml } else { toml })
            }
        }
    })
}

/// Replaces `items_file` by `items`. What is no object or no text is left for the parser's faults.
fn inline_items(document: &mut Value, folder: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(Value::Array(groups)) = document.get_mut("group") else { return faults };
    for (ordinal, group) in groups.iter_mut().enumerate() {
        let Value::Object(group) = group else { continue };
        let Some(Value::String(file)) = group.get("items_file") else { continue };
        let path = folder.join(file);
        let mut fault = |detail| {
            faults.push(Fault { pointer: format!("/group/{ordinal}/items_file"), detail });
        };
        if group.contains_key("items") {
            fault("`items` and `items_file` exclude each other".to_owned());
        } else {
            match lines(&path) {
                Ok(items) => {
                    group.insert("items".to_owned(), Value::Array(items));
                }
                Err(detail) => {
                    fault(detail);
                    // The group is a right one but for its file: no second fault about its count.
                    group.remove("count");
                }
            }
        }
        group.remove("items_file");
    }
    faults
}

/// The lines of a file of items, without their ends; an empty last line is none.
pub(crate) fn lines(path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|fault| format!("cannot read {}: {fault}", path.display()))?;
    let items: Vec<_> = text.lines().map(|line| Value::String(line.to_owned())).collect();
    if items.is_empty() {
        return Err(format!("{} has no line", path.display()));
    }
    Ok(items)
}

/// What `ebb run` submits.
#[derive(Debug, Clone)]
pub(crate) struct OneCommand {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) cpu: Option<String>,
    pub(crate) memory: Option<String>,
    pub(crate) items: Option<PathBuf>,
    pub(crate) workdir: PathBuf,
    pub(crate) path: Option<String>,
}

impl OneCommand {
    /// The document of its job: one group, no second try, for the code that it exits with is the
    /// answer.
    pub(crate) fn document(&self) -> Result<Value, Failure> {
        let workdir = self.workdir.to_str().ok_or_else(|| {
            Failure::usage(format!("the folder {} has no UTF-8 name", self.workdir.display()))
        })?;
        let mut group = serde_json::json!({
            "name": "run",
            "command": self.command,
            "workdir": workdir,
            "restart": {"max_failures": 0},
            // It ran where it was asked; a lost node is replaced by any other that there is.
            "purchase": "spot-then-on-demand",
        });
        let mut resources = serde_json::Map::new();
        resources.extend(self.cpu.clone().map(|cpu| ("cpu".to_owned(), cpu.into())));
        resources.extend(self.memory.clone().map(|memory| ("memory".to_owned(), memory.into())));
        if !resources.is_empty() {
            group["resources"] = Value::Object(resources);
        }
        if let Some(path) = &self.path {
            group["env"] = serde_json::json!({"PATH": path});
        }
        if let Some(file) = &self.items {
            group["items"] = Value::Array(lines(file).map_err(Failure::usage)?);
        }
        let document = serde_json::json!({"name": self.name, "group": [group]});
        match JobSpec::parse(&document) {
            Ok(_) => Ok(document),
            Err(faults) => Err(Failure::usage("the command cannot be a job").with_errors(faults)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    fn told(folder: &tempfile::TempDir, name: &str) -> String {
        let failure = read(&folder.path().join(name)).expect_err("a failure");
        let text = failure.to_string();
        format!("{}: {}", failure.exit().code(), text)
            .replace(folder.path().to_str().expect("UTF-8"), "DIR")
    }

    #[test]
    fn the_three_languages_say_the_same() {
        let toml = "name = \"a\"\n[[group]]\ncommand = [\"true\"]\nitems_file = \"list\"\n";
        let yaml = "name: a\ngroup:\n- command: [\"true\"]\n  items_file: list\n";
        let json = r#"{"name": "a", "group": [{"command": ["true"], "items_file": "list"}]}"#;
        let folder =
            folder(&[("a.toml", toml), ("a.yml", yaml), ("a.json", json), ("list", "x\ny z\n")]);
        let one = read(&folder.path().join("a.toml")).expect("right");
        assert_eq!(one["group"][0]["items"], serde_json::json!(["x", "y z"]));
        assert_eq!(one, read(&folder.path().join("a.yml")).expect("right"));
        assert_eq!(one, read(&folder.path().join("a.json")).expect("right"));
        for text in [toml, yaml, json] {
            assert_eq!(guess(text).map(|value| value["name"].clone()), Ok("a".into()));
        }
        assert!(guess("just words").is_err());
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let folder = folder(&[
            (
                "bad.toml",
                "nme = \"a\"\n[[group]]\ncommand = []\nresources = { cpu = \"x\" }\n[[group]]\ncommand = [\"true\"]\nitems_file = \"none\"\n",
            ),
            ("syntax.toml", "name = \n"),
            ("job.ini", ""),
        ]);
        insta::assert_snapshot!(told(&folder, "bad.toml"));
        insta::assert_snapshot!(told(&folder, "syntax.toml"));
        insta::assert_snapshot!(told(&folder, "job.ini"));
        insta::assert_snapshot!(told(&folder, "absent.toml"));
    }

    #[test]
    fn a_run_is_a_job_of_one_group() {
        let folder = folder(&[("list", "a\nb\n")]);
        let mut run = OneCommand {
            name: "true".into(),
            command: vec!["true".into()],
            cpu: Some("500m".into()),
            memory: None,
            items: Some(folder.path().join("list")),
            workdir: "/tmp".into(),
            path: Some("/bin".into()),
        };
        insta::assert_json_snapshot!(run.document().expect("right"));
        run.cpu = Some("lots".into());
        let failure = run.document().expect_err("wrong");
        assert_eq!(failure.errors[0].pointer, "/group/0/resources/cpu");
    }
}
