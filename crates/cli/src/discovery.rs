//! Finds the manager: `--url`, `EBB_URL`, or the file that a manager of this user wrote.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// The file's name, in `$XDG_RUNTIME_DIR/ebb/` and in the data folder.
pub(crate) const FILE: &str = "manager.json";

/// What a manager tells the clients of its user, in a file with mode 0600.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// Where it answers.
    pub(crate) url: String,
    /// A user token.
    pub(crate) token: String,
    /// Where it keeps its data, if that is on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// What the environment says; a value, so that tests need no process of their own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// `EBB_DATA_DIR`: that of one manager among several.
    pub(crate) manager_data: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub(crate) data_home: Option<PathBuf>,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `EBB_TOKEN`.
    pub(crate) token: Option<String>,
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let folder = |key| std::env::var_os(key).map(PathBuf::from).filter(|at| at.is_absolute());
        Self {
            manager_data: folder("EBB_DATA_DIR"),
            runtime_dir: folder("XDG_RUNTIME_DIR"),
            data_home: folder("XDG_DATA_HOME"),
            home: folder("HOME"),
            token: std::env::var("EBB_TOKEN").ok().filter(|token| !token.is_empty()),
        }
    }

    /// Where a manager of this user keeps its data by default.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.manager_data {
            return Ok(dir.clone());
        }
        let home = || self.home.as_ref().map(|home| home.join(".local/share"));
        self.data_home.clone().or_else(home).map(|base| base.join("ebb")).ok_or_else(|| {
            Failure::usage("neither XDG_DATA_HOME nor HOME is set; say --data-dir DIR")
        })
    }

    /// Files that may name a manager, the likelier first.
    fn files(&self) -> Vec<PathBuf> {
        if let Some(dir) = &self.manager_data {
            return vec![dir.join(FILE)];
        }
        let runtime = self.runtime_dir.as_ref().map(|dir| dir.join("ebb").join(FILE));
        let data = self.data_dir().ok().map(|dir| dir.join(FILE));
        runtime.into_iter().chain(data).collect()
    }
}

/// Where to ask and by which token.
pub(crate) fn find(url: Option<&str>, around: &Surroundings) -> Result<Endpoint, Failure> {
    let Some(url) = url else {
        let found = known(around).ok_or_else(Failure::no_manager)?;
        let token = around.token.clone().unwrap_or(found.token);
        return Ok(Endpoint { token, ..found });
    };
    let url = checked(url)?;
    let same = around
        .files()
        .iter()
        .filter_map(|file| read(file))
        .find(|known| known.url.trim_end_matches('/') == url);
    match around.token.clone().or_else(|| same.map(|same| same.token)) {
        Some(token) => Ok(Endpoint { url, token, data_dir: None }),
        None => Err(Failure::new(crate::error::Kind::Refused, format!("no token for {url}"))
            .next("set EBB_TOKEN; `ebb token create` on the manager's machine makes one")),
    }
}

/// The manager that this user started here last.
pub(crate) fn known(around: &Surroundings) -> Option<Endpoint> {
    around.files().iter().find_map(|file| read(file))
}

pub(crate) fn checked(url: &str) -> Result<String, Failure> {
    match reqwest::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(Failure::usage(format!("`{url}` is no URL of a manager"))
            .next("write it like http://127.0.0.1:7878")),
    }
}

fn read(file: &Path) -> Option<Endpoint> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(fault) => {
            if fault.kind() != io::ErrorKind::NotFound {
                tracing::warn!(file = %file.display(), %fault, "cannot read the manager's file");
            }
            return None;
        }
    };
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(base: &Path) -> Surroundings {
        Surroundings {
            manager_data: None,
            runtime_dir: Some(base.join("run")),
            data_home: None,
            home: Some(base.join("home")),
            token: None,
        }
    }

    fn write(file: PathBuf, url: &str, token: &str) {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        let text = serde_json::json!({"url": url, "token": token, "pid": 1}).to_string();
        std::fs::write(file, text).expect("written");
    }

    #[test]
    fn without_a_manager_the_next_command_is_named() {
        let base = tempfile::tempdir().expect("a folder");
        let failure = find(None, &around(base.path())).expect_err("nothing there");
        assert_eq!(failure.exit().code(), 5);
        assert_eq!(failure.cause, "no manager found; start one with `ebb up`");
    }

    #[test]
    fn the_runtime_folder_goes_before_the_data_folder() {
        let base = tempfile::tempdir().expect("a folder");
        let around = around(base.path());
        write(base.path().join("home/.local/share/ebb").join(FILE), "http://h:2", "two");
        let found = find(None, &around).map(|found| found.token);
        assert_eq!(found, Ok("two".to_owned()));
        write(base.path().join("run/ebb").join(FILE), "http://h:1", "one");
        let found = find(None, &around).map(|found| found.token);
        assert_eq!(found, Ok("one".to_owned()));
    }

    #[test]
    fn a_named_data_folder_is_the_only_place() {
        let base = tempfile::tempdir().expect("a folder");
        let mut around = around(base.path());
        write(base.path().join("run/ebb").join(FILE), "http://h:1", "one");
        around.manager_data = Some(base.path().join("other"));
        assert!(find(None, &around).is_err());
        write(base.path().join("other").join(FILE), "http://h:3", "three");
        assert_eq!(find(None, &around).map(|found| found.token), Ok("three".into()));
    }

    #[test]
    fn a_token_goes_only_to_the_manager_that_wrote_it() {
        let base = tempfile::tempdir().expect("a folder");
        let mut around = around(base.path());
        write(base.path().join("run/ebb").join(FILE), "http://h:1", "one");
        assert_eq!(find(Some("http://h:1/"), &around).map(|found| found.token), Ok("one".into()));
        let failure = find(Some("http://other:1"), &around).expect_err("no token of it");
        assert_eq!(failure.exit().code(), 4);
        around.token = Some("mine".into());
        let found = find(Some("http://other:1"), &around);
        assert_eq!(found.map(|found| found.token), Ok("mine".into()));
    }

    #[test]
    fn what_is_no_url_is_a_usage_error() {
        for bad in ["", "127.0.0.1:7878", "ftp://h", "http://"] {
            let failure = find(Some(bad), &Surroundings::default()).expect_err(bad);
            assert_eq!(failure.exit().code(), 2, "{bad}");
        }
    }
}
