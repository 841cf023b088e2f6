//! Reads a job file and makes of it the document that `POST /v1/jobs` takes.

use std::io::Read;
use std::path::{Path, PathBuf};

use api::document::{self, Language, SyntaxFault};
use model::{Fault, JobSpec};
use serde_json::Value;

use crate::error::{Failure, Spot};
use crate::items::{BadItems, ItemsFile};
use crate::output::Screen;
use crate::remote::Remote;

/// A job that is right as far as it can be told here.
#[derive(Debug)]
pub(crate) struct Draft {
    document: Value,
    /// Items that are too long for the document, by the group's ordinal.
    uploads: Vec<(usize, ItemsFile)>,
}

impl Draft {
    /// Uploads what is to be uploaded; then the document is whole.
    pub(crate) async fn document(self, remote: &Remote, screen: Screen) -> Result<Value, Failure> {
        let Self { mut document, uploads } = self;
        let namespace = document["namespace"].as_str().map(str::to_owned);
        for (ordinal, file) in uploads {
            let key = file.upload(remote, namespace.as_deref(), screen).await?;
            document["group"][ordinal]["items_key"] = key.to_string().into();
        }
        Ok(document)
    }

    /// The document with the number of its items in place of those that would be uploaded: for
    /// whoever only wants to know.
    pub(crate) fn counted(self) -> Value {
        let Self { mut document, uploads } = self;
        for (ordinal, file) in uploads {
            document["group"][ordinal]["count"] = file.count.into();
        }
        document
    }

    /// Puts short items into the document, and checks the whole with a stand-in for long ones.
    fn checked(
        mut document: Value,
        files: Vec<(usize, ItemsFile)>,
    ) -> Result<(Self, Vec<Fault>), Failure> {
        let mut uploads = Vec::new();
        for (ordinal, file) in files {
            if file.is_short() {
                document["group"][ordinal]["items"] = file.lines()?;
            } else {
                uploads.push((ordinal, file));
            }
        }
        for (ordinal, file) in &uploads {
            document["group"][*ordinal]["count"] = file.count.into();
        }
        let faults = JobSpec::parse(&document).err().unwrap_or_default();
        for (ordinal, _) in &uploads {
            if let Some(Value::Object(group)) = document["group"].get_mut(*ordinal) {
                group.remove("count");
            }
        }
        Ok((Self { document, uploads }, faults))
    }
}

/// A job file's text.
struct Text {
    /// As it is told in places.
    name: String,
    text: String,
    language: Language,
    document: Value,
}

/// Reads `file` (`-` is stdin, whose language is guessed) and each `items_file`, and checks the
/// whole, so that every fault is told at once and nothing is sent.
pub(crate) fn read(file: &Path) -> Result<Draft, Failure> {
    let mut text = if file == Path::new("-") { read_stdin()? } else { read_file(file)? };
    let folder = if file == Path::new("-") { None } else { file.parent() };
    let (files, bad) = items_files(&mut text.document, folder.unwrap_or_else(|| Path::new("")));
    let (draft, faults) = Draft::checked(std::mem::take(&mut text.document), files)?;
    let mut spots: Vec<_> = bad.into_iter().chain(faults.into_iter().map(Spot::from)).collect();
    if spots.is_empty() {
        return Ok(draft);
    }
    for spot in spots.iter_mut().filter(|spot| spot.place.is_none()) {
        let place = document::place(&text.text, text.language, &spot.fault.pointer);
        spot.place = place.map(|place| format!("{}:{place}", text.name));
    }
    let name = &text.name;
    let count = crate::render::many(u64::try_from(spots.len()).unwrap_or(u64::MAX), "fault");
    Err(Failure::usage(format!("the job file {name} has {count}; nothing was submitted"))
        .with_errors(spots)
        .next(format!("mend it, then: ebb submit {name}")))
}

fn read_file(file: &Path) -> Result<Text, Failure> {
    let name = file.display().to_string();
    let language = file.to_str().and_then(Language::of_file).ok_or_else(|| {
        Failure::usage(format!("{name} is no job file by its name"))
            .next("name it .toml, .yaml, .yml or .json; .ndjson holds a job a line")
    })?;
    let bytes = std::fs::read(file).map_err(|fault| unreadable(file, &fault))?;
    let text = utf8(&name, bytes)?;
    let document =
        document::read(&text, language).map_err(|fault| unclear(&name, language, &fault))?;
    Ok(Text { name, text, language, document })
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|fault| {
        let good = fault.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&fault.as_bytes()[..good]).into_owned();
        let place = document::Place::of(&before, good);
        Failure::usage(format!("{name}:{place}: not UTF-8")).next("a job file is UTF-8 text")
    })
}

fn unclear(name: &str, language: Language, fault: &SyntaxFault) -> Failure {
    let place = fault.place.map(|place| format!(":{place}")).unwrap_or_default();
    Failure::usage(format!("{name}{place}: not {language}: {}", fault.reason))
        .next(format!("mend it, then: ebb submit {name}"))
}

pub(crate) fn unreadable(file: &Path, fault: &std::io::Error) -> Failure {
    let cause = format!("cannot read {}: {fault}", file.display());
    match fault.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found(cause),
        _ => Failure::usage(cause),
    }
}

fn read_stdin() -> Result<Text, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|fault| Failure::usage(format!("cannot read stdin: {fault}")))?;
    let (name, text) = ("stdin".to_owned(), utf8("stdin", bytes)?);
    match guess(&text) {
        Ok((language, document)) => Ok(Text { name, text, language, document }),
        Err((language, fault)) => Err(unclear(&name, language, &fault)),
    }
}

/// JSON by its brace; TOML where it is TOML; YAML otherwise. The fault told is that of the likelier
/// language: a line `key: value` is YAML's.
fn guess(text: &str) -> Result<(Language, Value), (Language, SyntaxFault)> {
    let read = |language| match document::read(text, language) {
        Ok(value) => Ok((language, value)),
        Err(fault) => Err((language, fault)),
    };
    if text.trim_start().starts_with('{') {
        return read(Language::Json);
    }
    read(Language::Toml).or_else(|toml| match read(Language::Yaml) {
        Ok((language, value @ Value::Object(_))) => Ok((language, value)),
        Ok(_) => Err(toml),
        Err(yaml) => {
            let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Err(if first.contains(": ") { yaml } else { toml })
        }
    })
}

/// Takes each `items_file` out and reads it. What is no object or no text is left for the parser's
/// faults.
fn items_files(document: &mut Value, folder: &Path) -> (Vec<(usize, ItemsFile)>, Vec<Spot>) {
    let (mut files, mut bad) = (Vec::new(), Vec::new());
    let Some(Value::Array(groups)) = document.get_mut("group") else { return (files, bad) };
    for (ordinal, group) in groups.iter_mut().enumerate() {
        let Value::Object(group) = group else { continue };
        let Some(Value::String(file)) = group.get("items_file") else { continue };
        let path = folder.join(file);
        group.remove("items_file");
        let pointer = format!("/group/{ordinal}/items_file");
        let mut fault = |detail| bad.push(Fault { pointer: pointer.clone(), detail }.into());
        let others =
            ["items", "items_key", "count"].map(|field| (field, group.contains_key(field)));
        if let Some((other, _)) = others.iter().find(|(_, there)| *there) {
            fault(format!("`{other}` and `items_file` exclude each other"));
            continue;
        }
        match ItemsFile::check(&path) {
            Ok(file) => files.push((ordinal, file)),
            Err(BadItems::File(detail)) => fault(detail),
            Err(BadItems::Lines(spots)) => bad.extend(spots.into_iter().map(|spot| Spot {
                fault: Fault { pointer: pointer.clone(), ..spot.fault },
                place: spot.place,
            })),
        }
    }
    (files, bad)
}

/// What `ebb run` submits.
#[derive(Debug, Clone)]
pub(crate) struct OneCommand {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) cpu: Option<String>,
    pub(crate) memory: Option<String>,
    pub(crate) items: Option<PathBuf>,
    pub(crate) workdir: PathBuf,
    pub(crate) path: Option<String>,
}

impl OneCommand {
    /// Its job: one group, no second try, for the code that it exits with is the answer.
    pub(crate) fn draft(&self) -> Result<Draft, Failure> {
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
        let mut document = serde_json::json!({"name": self.name, "group": [group]});
        if !self.labels.is_empty() {
            let labels = self.labels.iter().map(|(key, value)| (key.clone(), value.clone().into()));
            document["labels"] = Value::Object(labels.collect());
        }
        let bad = |bad| match bad {
            BadItems::File(detail) => Failure::usage(detail),
            BadItems::Lines(spots) => {
                Failure::usage("the file of items has faults; nothing was submitted")
                    .with_errors(spots)
            }
        };
        let file = self.items.as_deref().map(ItemsFile::check).transpose().map_err(bad)?;
        let files = file.into_iter().map(|file| (0, file)).collect();
        match Draft::checked(document, files)? {
            (draft, faults) if faults.is_empty() => Ok(draft),
            (_, faults) => Err(Failure::usage("the command cannot be a job").with_errors(faults)),
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
        let document = |name| read(&folder.path().join(name)).expect("right").document;
        let one = document("a.toml");
        assert_eq!(one["group"][0]["items"], serde_json::json!(["x", "y z"]));
        assert_eq!((&one, &one), (&document("a.yml"), &document("a.json")));
        for text in [toml, yaml, json] {
            assert_eq!(guess(text).expect("a document").1["name"], "a");
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
            (
                "bad.json",
                "{\"group\": [\n  {\"command\": [\"true\"], \"count\": 0},\n  {\"command\": [\"true\"],\n   \"items_file\": \"list\", \"items\": [\"a\"]}]}\n",
            ),
            ("syntax.toml", "name = \n"),
            ("syntax.json", "{\"name\": \"a\",\n \"group\": [}\n"),
            ("syntax.yaml", "name: a\ngroup: [\n"),
            ("job.ini", ""),
        ]);
        std::fs::write(folder.path().join("latin.toml"), b"name = \"a\"\n# caf\xe9\n")
            .expect("written");
        for name in [
            "bad.toml",
            "bad.json",
            "syntax.toml",
            "syntax.json",
            "syntax.yaml",
            "latin.toml",
            "job.ini",
            "absent.toml",
        ] {
            insta::assert_snapshot!(name, told(&folder, name));
        }
    }

    #[test]
    fn long_items_are_left_out_of_the_document_and_checked_all_the_same() {
        let long = "0123456789abcdef\n".repeat(70_000);
        let good = "[[group]]\ncommand = [\"true\"]\nitems_file = \"list\"\n";
        let bad = format!("{good}count = 3\n[[group]]\ncommand = []\nitems_file = \"list\"\n");
        let folder = folder(&[("a.toml", good), ("bad.toml", &bad), ("list", &long)]);
        let draft = read(&folder.path().join("a.toml")).expect("right");
        assert_eq!(draft.document["group"][0], serde_json::json!({"command": ["true"]}));
        assert_eq!((draft.uploads.len(), draft.uploads[0].1.count), (1, 70_000));
        insta::assert_snapshot!(told(&folder, "bad.toml"), @"
        2: error: the job file DIR/bad.toml has 2 faults; nothing was submitted
          DIR/bad.toml:3:1: /group/0/items_file: `count` and `items_file` exclude each other
          DIR/bad.toml:6:1: /group/1/command: must have 1 to 4096 entries, has 0
          next: mend it, then: ebb submit DIR/bad.toml
        ");
    }

    #[test]
    fn a_run_is_a_job_of_one_group() {
        let folder = folder(&[("list", "a\nb\n")]);
        let mut run = OneCommand {
            name: "true".into(),
            command: vec!["true".into()],
            labels: vec![("team".into(), "render".into())],
            cpu: Some("500m".into()),
            memory: None,
            items: Some(folder.path().join("list")),
            workdir: "/tmp".into(),
            path: Some("/bin".into()),
        };
        insta::assert_json_snapshot!(run.draft().expect("right").document);
        run.cpu = Some("lots".into());
        let failure = run.draft().expect_err("wrong");
        assert_eq!(failure.errors[0].fault.pointer, "/group/0/resources/cpu");
    }
}
