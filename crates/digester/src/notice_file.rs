//! The notice file: how a machine learns that it will be taken.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use model::NodeNotice;

/// Read again whenever its time of modification changes.
pub(crate) struct NoticeFile {
    path: PathBuf,
    seen: Option<SystemTime>,
}

impl NoticeFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None }
    }

    /// A notice that was not there before. Half a file is read again the next time.
    pub(crate) fn look(&mut self) -> Option<NodeNotice> {
        let modified = std::fs::metadata(&self.path).and_then(|data| data.modified()).ok()?;
        if self.seen == Some(modified) {
            return None;
        }
        let text = std::fs::read(&self.path).ok()?;
        match serde_json::from_slice(&text) {
            Ok(notice) => {
                self.seen = Some(modified);
                Some(notice)
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the notice file is not understood");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::NoticeKind;

    use super::*;

    #[test]
    fn a_notice_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notice");
        let mut file = NoticeFile::new(&path);
        assert_eq!(file.look(), None);
        std::fs::write(&path, "{\"kind\":\"interr").unwrap();
        assert_eq!(file.look(), None);
        std::fs::write(&path, r#"{"kind":"interruption","remaining_ms":2000}"#).unwrap();
        let notice = NodeNotice { kind: NoticeKind::Interruption, remaining_ms: 2000 };
        assert_eq!(file.look(), Some(notice));
        assert_eq!(file.look(), None);
    }
}
