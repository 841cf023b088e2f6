//! `cargo xtask mutants`: whether the simulation of faults notices that the product is broken.
//!
//! Each file of `tests/mutants` breaks the product in one place. It is applied to a copy, never to
//! the tree; crate `chaos` is built there and runs seeds until one breaks a promise that the patch
//! names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;

use crate::steps::{Failure, cargo, read, say};
use crate::tidy;

/// A patch that breaks the product.
struct Mutant {
    name: String,
    patch: PathBuf,
    /// Promises that must be seen broken; one is enough.
    breaks: Vec<String>,
}

/// What became of one.
enum Fate {
    /// This promise broke, after so many seeds.
    Killed { invariant: String, seeds: u64 },
    /// None of its promises broke in so many seeds; others did as often.
    Survived { seeds: u64, others: usize },
    /// It says nothing: it does not apply or compile.
    Unfit(String),
}

/// The part of the simulation's report that is looked at.
#[derive(Deserialize)]
struct Report {
    seeds: u64,
    stopped_after: Option<u64>,
    failures: Vec<Broken>,
}

#[derive(Deserialize)]
struct Broken {
    invariant: String,
}

/// Runs the mutants with these names, or all.
pub(crate) fn mutants(root: &Path, names: &[String], seeds: u64) -> Result<(), Failure> {
    let chosen = choose(all(root)?, names)?;
    let lab = Lab::open(root)?;
    let mut rows = Vec::new();
    for (at, mutant) in chosen.iter().enumerate() {
        let start = Instant::now();
        say(format_args!("── {} ({} of {})", mutant.name, at + 1, chosen.len()));
        let fate = lab
            .try_out(root, mutant, seeds)
            .unwrap_or_else(|failure| Fate::Unfit(failure.to_string()));
        let row = Row { mutant, fate, seconds: start.elapsed().as_secs() };
        say(row.text(0));
        rows.push(row);
    }
    lab.mend(root)?;
    let width = rows.iter().map(|row| row.mutant.name.len()).max().unwrap_or(0);
    say("");
    for row in &rows {
        say(row.text(width));
    }
    let alive = rows.iter().filter(|row| !matches!(row.fate, Fate::Killed { .. })).count();
    match alive {
        0 => Ok(()),
        _ => Err(Failure::Failed(format!("{alive} of {} mutants were not noticed", rows.len()))),
    }
}

/// A line of the table.
struct Row<'m> {
    mutant: &'m Mutant,
    fate: Fate,
    seconds: u64,
}

impl Row<'_> {
    fn text(&self, width: usize) -> String {
        let (name, seconds) = (&self.mutant.name, self.seconds);
        let fate = match &self.fate {
            Fate::Killed { invariant, seeds } => format!("broke {invariant} after {seeds} seeds"),
            Fate::Survived { seeds, others } => {
                let expected = self.mutant.breaks.join(", ");
                format!("SURVIVED {seeds} seeds: none broke {expected}, {others} broke others")
            }
            Fate::Unfit(why) => format!("UNFIT: {why}"),
        };
        format!("{name:width$}  {fate} ({seconds} s)")
    }
}

fn choose(all: Vec<Mutant>, names: &[String]) -> Result<Vec<Mutant>, Failure> {
    let known: BTreeSet<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    let strangers: Vec<_> = names.iter().filter(|name| !known.contains(name.as_str())).collect();
    if let Some(stranger) = strangers.first() {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::Failed(format!(
            "no mutant is called `{stranger}`; there are {known}"
        )));
    }
    let chosen = |mutant: &Mutant| names.is_empty() || names.contains(&mutant.name);
    Ok(all.into_iter().filter(chosen).collect())
}

/// Every patch of the folder, by name.
fn all(root: &Path) -> Result<Vec<Mutant>, Failure> {
    let folder = root.join("tests/mutants");
    let entries = fs::read_dir(&folder).map_err(|fault| no_file(&folder, &fault))?;
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "patch"));
    paths.sort();
    let read = |patch: PathBuf| {
        let text = fs::read_to_string(&patch).map_err(|fault| no_file(&patch, &fault))?;
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let breaks = breaks(&text).ok_or_else(|| {
            Failure::Failed(format!("{name}: has no line `# breaks: ` with a promise"))
        })?;
        Ok(Mutant { name, patch, breaks })
    };
    paths.into_iter().map(read).collect()
}

/// What the header says that must break.
fn breaks(patch: &str) -> Option<Vec<String>> {
    let line = patch.lines().find_map(|line| line.strip_prefix("# breaks: "))?;
    Some(line.split(',').map(|id| id.trim().to_owned()).collect())
}

/// A copy of the tree that mutants are applied to, one after the other, with an own target folder.
/// It stays: only what a mutant touches is built anew.
struct Lab {
    tree: PathBuf,
    target: PathBuf,
}

impl Lab {
    fn open(root: &Path) -> Result<Self, Failure> {
        let folder = tidy::target_folder(root)?.join("mutants");
        Ok(Self { tree: folder.join("tree"), target: folder.join("target") })
    }

    /// Makes the copy equal to the tree as it is now, with what is not committed yet. Files that are
    /// equal already keep their time, and so their build.
    fn mend(&self, root: &Path) -> Result<(), Failure> {
        let mut list = Command::new("git");
        list.current_dir(root).args(["ls-files", "-z", "--cached", "--others"]);
        let names = read(list.arg("--exclude-standard"))?;
        let names: BTreeSet<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
        for name in &names {
            // Deleted but not committed yet.
            let Ok(bytes) = fs::read(root.join(name)) else { continue };
            let copy = self.tree.join(name);
            if fs::read(&copy).is_ok_and(|there| there == bytes) {
                continue;
            }
            let parent = copy.parent().unwrap_or(&self.tree);
            fs::create_dir_all(parent).map_err(|fault| no_file(parent, &fault))?;
            fs::write(&copy, bytes).map_err(|fault| no_file(&copy, &fault))?;
        }
        self.forget(root, &self.tree, &names)
    }

    /// Deletes what the tree has no more.
    fn forget(&self, root: &Path, folder: &Path, names: &BTreeSet<&str>) -> Result<(), Failure> {
        let entries = fs::read_dir(folder).map_err(|fault| no_file(folder, &fault))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let Ok(name) = path.strip_prefix(&self.tree) else { continue };
            if path.is_dir() {
                self.forget(root, &path, names)?;
            } else if !name.to_str().is_some_and(|name| names.contains(name))
                || !root.join(name).exists()
            {
                fs::remove_file(&path).map_err(|fault| no_file(&path, &fault))?;
            }
        }
        Ok(())
    }

    fn try_out(&self, root: &Path, mutant: &Mutant, seeds: u64) -> Result<Fate, Failure> {
        self.mend(root)?;
        read(&mut apply(&self.tree, &mutant.patch))
            .map_err(|_| Failure::Failed("does not apply any more: write it anew".into()))?;
        let mut build = cargo(&self.tree, &["build", "--release", "--package", "chaos"]);
        read(build.env("CARGO_TARGET_DIR", &self.target).args(["--bins", "--quiet"]))?;
        let mut simulate = Command::new(self.target.join("release/chaos"));
        simulate.args(["--seeds", &seeds.to_string(), "--stop-at", &mutant.breaks.join(",")]);
        // Its progress goes to the terminal.
        simulate.args(["--output", "json"]).stderr(std::process::Stdio::inherit());
        let output = simulate.output().map_err(|fault| Failure::Failed(fault.to_string()))?;
        let report: Report = serde_json::from_slice(&output.stdout)
            .map_err(|fault| Failure::Failed(format!("the report is not understood: {fault}")))?;
        Ok(fate(&report, &mutant.breaks))
    }
}

fn fate(report: &Report, breaks: &[String]) -> Fate {
    let ours = report.failures.iter().find(|broken| breaks.contains(&broken.invariant));
    match (ours, report.stopped_after) {
        (Some(broken), Some(seeds)) => Fate::Killed { invariant: broken.invariant.clone(), seeds },
        _ => Fate::Survived { seeds: report.seeds, others: report.failures.len() },
    }
}

/// `git apply` in a folder, as if that were in no repository: else what is outside the folder's own
/// part of the repository is skipped without a word.
fn apply(tree: &Path, patch: &Path) -> Command {
    let mut apply = Command::new("git");
    apply.current_dir(tree).arg("apply").arg(patch);
    apply.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
    apply
}

fn no_file(path: &Path, fault: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {fault}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace_root;

    #[test]
    fn every_mutant_applies_to_the_tree_and_breaks_the_product_only() {
        let root = workspace_root();
        let all = all(&root).expect("the folder of mutants");
        assert!(all.len() >= 12, "only {} mutants", all.len());
        for mutant in &all {
            let check = read(apply(&root, &mutant.patch).arg("--check"));
            assert!(check.is_ok(), "{}: {}", mutant.name, check.expect_err("just seen"));
            let text = fs::read_to_string(&mutant.patch).expect("just read");
            for file in text.lines().filter_map(|line| line.strip_prefix("+++ b/")) {
                let product = file.starts_with("crates/") && !file.starts_with("crates/chaos/");
                let judge = file.starts_with("crates/control/src/invariant/");
                assert!(product && !judge, "{} touches {file}", mutant.name);
            }
        }
    }

    fn report(stopped_after: Option<u64>, failures: &[&str]) -> Report {
        let broken = |id: &&str| Broken { invariant: (*id).to_owned() };
        Report { seeds: 9, stopped_after, failures: failures.iter().map(broken).collect() }
    }

    #[test]
    fn only_a_promise_that_it_names_kills_a_mutant() {
        let breaks = breaks("# needs: x\n# breaks: one-writer, settled-once\n--- a/x\n");
        let breaks = breaks.expect("a header");
        assert_eq!(breaks, ["one-writer", "settled-once"]);
        let killed = fate(&report(Some(7), &["liveness", "settled-once"]), &breaks);
        assert!(
            matches!(killed, Fate::Killed { invariant, seeds: 7 } if invariant == "settled-once")
        );
        let alive = fate(&report(None, &["liveness"]), &breaks);
        assert!(matches!(alive, Fate::Survived { seeds: 9, others: 1 }));
    }

    #[test]
    fn a_name_that_is_no_mutants_is_refused() {
        let mutant = |name: &str| Mutant {
            name: name.to_owned(),
            patch: PathBuf::new(),
            breaks: Vec::new(),
        };
        let two = || vec![mutant("no-fence"), mutant("tag-missing")];
        let names = |chosen: Vec<Mutant>| chosen.into_iter().map(|it| it.name).collect::<Vec<_>>();
        let all = choose(two(), &[]).ok().map(names);
        assert_eq!(all.as_deref(), Some(&["no-fence".to_owned(), "tag-missing".to_owned()][..]));
        let one = choose(two(), &["tag-missing".to_owned()]).ok().map(names);
        assert_eq!(one.as_deref(), Some(&["tag-missing".to_owned()][..]));
        assert!(choose(two(), &["tagmissing".to_owned()]).is_err());
    }
}
