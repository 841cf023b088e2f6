//! Which crate may depend on which. Dependencies point one way; this table says which.

use std::path::Path;

use super::{Breach, Metadata};
use crate::steps::{Failure, cargo, read};

/// A crate of the house.
struct Layer {
    name: &'static str,
    /// No tokio, no clock, no input or output.
    pure: bool,
    /// Crates of ours that it may use.
    may_use: &'static [&'static str],
    /// Crates of ours that its tests may use beside these.
    tests_may_use: &'static [&'static str],
}

const fn pure(name: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer { name, pure: true, may_use, tests_may_use: &[] }
}

const fn shell(name: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer { name, pure: false, may_use, tests_may_use: &[] }
}

/// The written table. A crate that is not in it fails the check.
const LAYERS: [Layer; 16] = [
    pure("model", &[]),
    pure("scheduler", &["model"]),
    pure("planner", &["model", "scheduler"]),
    pure("node", &["model"]),
    pure("market", &["model"]),
    pure("cloud", &["model"]),
    pure("control", &["model", "scheduler", "planner", "cloud"]),
    pure("simulator", &["model", "scheduler", "planner", "node", "market", "cloud", "control"]),
    pure(
        "chaos",
        &["model", "scheduler", "planner", "node", "market", "cloud", "control", "simulator"],
    ),
    shell("api", &["model"]),
    Layer {
        tests_may_use: &["control", "scheduler", "planner", "cloud"],
        ..shell("store", &["model"])
    },
    shell("digester", &["model", "node", "api"]),
    shell(
        "manager",
        &[
            "model",
            "scheduler",
            "planner",
            "market",
            "cloud",
            "control",
            "simulator",
            "store",
            "api",
        ],
    ),
    shell("cli", &["model", "market", "simulator", "api", "manager", "digester"]),
    shell("xtask", &[]),
    shell("system-tests", &["model", "scheduler", "api"]),
];

/// Crates of others that stay behind one door.
const DOORS: [(&str, &[&str]); 6] = [
    ("sqlx", &["store"]),
    ("axum", &["manager", "digester"]),
    ("object_store", &["manager", "digester"]),
    ("bollard", &["digester"]),
    ("aws-config", &["cloud-aws"]),
    ("aws-sdk-ec2", &["cloud-aws"]),
];

/// What no pure crate may reach, by whatever way.
const IMPURE: [&str; 8] =
    ["tokio", "sqlx", "sqlx-core", "bollard", "reqwest", "hyper", "axum", "object_store"];

/// Every dependency between our crates is in the table, and every door has its one user.
pub(super) fn table(metadata: &Metadata) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        let place = format!("crate `{}`", package.name);
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == package.name) else {
            let what = "is not in the table of crates/xtask/src/tidy/layers.rs: write it in";
            breaches.push(Breach::new(place, what));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let in_tests = dependency.kind.as_deref() == Some("dev");
            if dependency.path.is_some() {
                // A crate's tests may use the crate itself, with features that they need.
                let for_tests = name == layer.name || layer.tests_may_use.contains(&name);
                let allowed = layer.may_use.contains(&name) || (in_tests && for_tests);
                if !allowed {
                    let what = format!(
                        "must not depend on `{name}`; the table is crates/xtask/src/tidy/layers.rs"
                    );
                    breaches.push(Breach::new(&place, what));
                }
            } else if let Some((_, users)) = DOORS.iter().find(|(door, _)| *door == name)
                && !users.contains(&layer.name)
            {
                let what = format!("must not use `{name}`: only {} may", users.join(" and "));
                breaches.push(Breach::new(&place, what));
            }
        }
    }
    breaches
}

/// What a pure crate reaches, by whatever way, is pure.
pub(super) fn purity(root: &Path, metadata: &Metadata) -> Result<Vec<Breach>, Failure> {
    let mut breaches = Vec::new();
    for layer in LAYERS.iter().filter(|layer| layer.pure) {
        if !metadata.packages.iter().any(|package| package.name == layer.name) {
            continue;
        }
        let mut tree = cargo(root, &["tree", "--edges", "normal", "--prefix", "none"]);
        let text = read(tree.args(["--format", "{lib}", "--package", layer.name]))?;
        for name in text.lines() {
            let name = name.trim_end_matches(" (*)");
            let impure =
                IMPURE.iter().any(|bad| bad.replace('-', "_") == name) || name.starts_with("aws_");
            if impure {
                let what = format!("is pure and must not reach `{name}` (see `cargo tree -i`)");
                breaches.push(Breach::new(format!("crate `{}`", layer.name), what));
            }
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::tidy::{Dependency, Package};

    #[test]
    fn the_table_points_one_way_and_pure_crates_use_pure_ones_only() {
        for (at, layer) in LAYERS.iter().enumerate() {
            for used in layer.may_use {
                let place = LAYERS.iter().position(|known| known.name == *used);
                assert!(place.is_some_and(|place| place < at), "{} -> {used}", layer.name);
                let used_pure = place.is_some_and(|place| LAYERS[place].pure);
                assert!(used_pure || !layer.pure, "{} -> {used}", layer.name);
            }
        }
    }

    fn breaches(name: &str, uses: &str, kind: Option<&str>, ours: bool) -> usize {
        let dependency = Dependency {
            name: uses.to_owned(),
            kind: kind.map(str::to_owned),
            path: ours.then(PathBuf::new),
        };
        let package = Package {
            name: name.to_owned(),
            manifest_path: PathBuf::new(),
            dependencies: vec![dependency],
        };
        table(&Metadata { packages: vec![package], target_directory: PathBuf::new() }).len()
    }

    #[test]
    fn what_the_table_does_not_allow_is_a_breach() {
        assert_eq!(breaches("planner", "scheduler", None, true), 0);
        assert_eq!(breaches("scheduler", "planner", None, true), 1);
        assert_eq!(breaches("store", "control", Some("dev"), true), 0);
        assert_eq!(breaches("store", "control", None, true), 1);
        assert_eq!(breaches("control", "control", Some("dev"), true), 0);
        assert_eq!(breaches("store", "sqlx", None, false), 0);
        assert_eq!(breaches("manager", "sqlx", None, false), 1);
        assert_eq!(breaches("stranger", "serde", None, false), 1);
    }
}
