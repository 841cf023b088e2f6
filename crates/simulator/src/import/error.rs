//! What is wrong with somebody else's file.

use std::fmt;

use model::Fault;
use thiserror::Error;

use crate::files::limits;

/// One thing wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Which file; empty when there is but one.
    pub file: String,
    /// Where in it: a line and a column of a table, an RFC 6901 pointer in JSON; empty for all of
    /// it.
    pub place: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.file, &self.place].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.detail)
    }
}

/// A file that is not what it was said to be: everything wrong with it at once, up to
/// [`limits::FAULTS`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", lines(.0))]
pub struct ImportError(pub Vec<Complaint>);

fn lines(complaints: &[Complaint]) -> String {
    complaints.iter().map(Complaint::to_string).collect::<Vec<_>>().join("\n")
}

impl ImportError {
    /// One complaint about all of it.
    pub(crate) fn whole(detail: impl Into<String>) -> Self {
        Self(vec![Complaint { file: String::new(), place: String::new(), detail: detail.into() }])
    }

    /// Of which file.
    #[must_use]
    pub(crate) fn of(mut self, file: &str) -> Self {
        for complaint in &mut self.0 {
            file.clone_into(&mut complaint.file);
        }
        self
    }
}

impl From<Vec<Fault>> for ImportError {
    fn from(faults: Vec<Fault>) -> Self {
        let complaints = faults.into_iter().map(|Fault { pointer, detail }| Complaint {
            file: String::new(),
            place: pointer,
            detail,
        });
        Self(complaints.collect())
    }
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Vec<Complaint>);

impl Complaints {
    /// Notes one.
    pub(crate) fn note(&mut self, place: impl fmt::Display, detail: impl Into<String>) {
        let file = String::new();
        match self.0.len() {
            listed if listed < limits::FAULTS => {
                let place = place.to_string();
                self.0.push(Complaint { file, place, detail: detail.into() });
            }
            limits::FAULTS => self.0.push(Complaint {
                file,
                place: String::new(),
                detail: format!("more than {} faults; the rest is not listed", limits::FAULTS),
            }),
            _ => {}
        }
    }

    /// What was read, if nothing was wrong with it.
    pub(crate) fn or<T>(self, read: Option<T>) -> Result<T, ImportError> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(ImportError(self.0)),
        }
    }
}
