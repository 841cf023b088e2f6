//! The files by which clients of this user find the manager, 0600 all of them.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// In the data folder: the user's token, kept over restarts.
pub(crate) const TOKEN_FILE: &str = "token";
/// In the data folder and in `$XDG_RUNTIME_DIR/ebb`: where the manager is now.
pub(crate) const MANAGER_FILE: &str = "manager.json";

/// What [`MANAGER_FILE`] holds.
#[derive(Serialize, Deserialize)]
struct Announcement<'a> {
    url: std::borrow::Cow<'a, str>,
    token: std::borrow::Cow<'a, str>,
    data_dir: std::borrow::Cow<'a, Path>,
}

/// Makes a folder that only its owner may look into; one that is there stays as it is.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut aside = file.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    // What a killed predecessor of the same number left behind may be readable by others.
    match std::fs::remove_file(&aside) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    let mut out =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&aside, file)
}

/// The token of an earlier start, if there is one.
pub(crate) fn read_token(data_dir: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(data_dir.join(TOKEN_FILE)) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Files that say where the manager is; removed by [`Announced::withdraw`].
#[derive(Debug)]
pub(crate) struct Announced {
    files: Vec<PathBuf>,
    url: String,
}

/// Says where the manager is: in the data folder, and in the user's runtime folder.
pub(crate) fn announce(
    url: &str,
    token: &str,
    data_dir: &Path,
    runtime_dir: Option<&Path>,
) -> io::Result<Announced> {
    let announcement =
        Announcement { url: url.into(), token: token.into(), data_dir: data_dir.into() };
    let text = serde_json::to_string(&announcement)?;
    let mut files = Vec::new();
    for dir in std::iter::once(data_dir).chain(runtime_dir) {
        make_private_dir(dir)?;
        let file = dir.join(MANAGER_FILE);
        write_private(&file, &text)?;
        files.push(file);
    }
    Ok(Announced { files, url: url.to_owned() })
}

impl Announced {
    /// Removes what still speaks of this manager; another one may have written over it.
    pub(crate) fn withdraw(&self) {
        for file in &self.files {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let known = serde_json::from_str::<Announcement<'_>>(&text);
            if known.is_ok_and(|known| known.url == self.url)
                && let Err(fault) = std::fs::remove_file(file)
            {
                tracing::warn!(file = %file.display(), %fault, "could not be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_can_read_and_only_ours_is_removed() {
        let base = tempfile::tempdir().expect("a folder");
        let (data, runtime) = (base.path().join("data"), base.path().join("run/ebb"));
        let ours = announce("http://one", "secret", &data, Some(&runtime)).expect("written");
        let mode =
            |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&data.join(MANAGER_FILE)), 0o600);
        assert_eq!(mode(&runtime), 0o700);
        announce("http://two", "secret", &base.path().join("two"), Some(&runtime)).expect("over");
        ours.withdraw();
        assert!(!data.join(MANAGER_FILE).exists());
        assert!(runtime.join(MANAGER_FILE).exists(), "it speaks of the other one");
    }
}
