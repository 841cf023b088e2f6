//! What went wrong, by what the caller does next, and the one table of exit codes (DESIGN §6).

use std::fmt;

use api::problem::{Problem, ProblemKind};
use model::{Fault, JobId};
use serde::Serialize;

/// How the process ends. The codes are a contract: scripts branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0.
    Ok,
    /// 1: the command did its work; the job did not succeed.
    NotSucceeded,
    /// 2: mend the command line or the job file.
    Usage,
    /// 3: no such job, task, node, file.
    NotFound,
    /// 4: the manager refuses: token, state, size.
    Refused,
    /// 5: no answer, or "later": try again.
    Unreachable,
    /// `ebb run`: the task's own code.
    Task(u8),
    /// `ebb run`: it failed itself, not the task.
    RunItself,
    /// 128 + n.
    Signal(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotSucceeded => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::Task(code) => code,
            Self::RunItself => 125,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Mend the command line or the job file.
    Usage,
    /// Name something that exists.
    NotFound,
    /// It will not do that: another token, another state.
    Refused,
    /// Try again.
    Unreachable,
    /// Something of this machine failed: a file, a process.
    Local,
}

impl Kind {
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Usage => Exit::Usage,
            Self::NotFound => Exit::NotFound,
            Self::Refused => Exit::Refused,
            Self::Unreachable | Self::Local => Exit::Unreachable,
        }
    }
}

/// One thing wrong with an input, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Spot {
    #[serde(flatten)]
    pub(crate) fault: Fault,
    /// `FILE:LINE:COLUMN`, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
}

impl From<Fault> for Spot {
    fn from(fault: Fault) -> Self {
        Self { fault, place: None }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.fault.pointer.is_empty() { "/" } else { &self.fault.pointer };
        match &self.place {
            Some(place) => write!(f, "{place}: {pointer}: {}", self.fault.detail),
            None => write!(f, "at {pointer}: {}", self.fault.detail),
        }
    }
}

/// A command that failed: the cause, each place, and the next command to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) cause: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Spot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), errors: Vec::new(), next: None }
    }
    pub(crate) fn usage(cause: impl Into<String>) -> Self {
        Self::new(Kind::Usage, cause)
    }
    pub(crate) fn not_found(cause: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, cause)
    }
    pub(crate) fn local(cause: impl Into<String>) -> Self {
        Self::new(Kind::Local, cause)
    }
    pub(crate) fn unreachable(cause: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, cause)
    }
    pub(crate) fn no_manager() -> Self {
        Self::unreachable("no manager found; start one with `ebb up`")
    }
    pub(crate) fn with_errors(mut self, errors: Vec<impl Into<Spot>>) -> Self {
        self.errors = errors.into_iter().map(Into::into).collect();
        self
    }
    /// What was refused of a job is seen at the job, if nothing better is known.
    pub(crate) fn about(self, job: JobId) -> Self {
        match self.kind {
            Kind::Refused if self.next.is_none() => self.next(format!("ebb status {job}")),
            _ => self,
        }
    }
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
    pub(crate) fn exit(&self) -> Exit {
        self.kind.exit()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.cause)?;
        for spot in &self.errors {
            write!(f, "\n  {spot}")?;
        }
        match &self.next {
            Some(next) => write!(f, "\n  next: {next}"),
            None => Ok(()),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let kind = match problem.kind {
            ProblemKind::Malformed | ProblemKind::Invalid | ProblemKind::KeyReused => Kind::Usage,
            ProblemKind::NotFound | ProblemKind::Gone => Kind::NotFound,
            ProblemKind::Unauthorized
            | ProblemKind::Forbidden
            | ProblemKind::Conflict
            | ProblemKind::PreconditionFailed
            | ProblemKind::MethodNotAllowed
            | ProblemKind::TooLarge
            | ProblemKind::UnsupportedMediaType => Kind::Refused,
            ProblemKind::Timeout
            | ProblemKind::Overloaded
            | ProblemKind::NotLeader
            | ProblemKind::Unavailable
            | ProblemKind::Internal => Kind::Unreachable,
        };
        let next = match problem.kind {
            ProblemKind::Unauthorized => {
                Some("set EBB_TOKEN, or ask on the manager's machine: ebb token create".to_owned())
            }
            ProblemKind::NotFound => Some("ebb status".to_owned()),
            ProblemKind::Timeout
            | ProblemKind::Overloaded
            | ProblemKind::NotLeader
            | ProblemKind::Unavailable => Some("the same again in a moment".to_owned()),
            ProblemKind::Internal => Some("look into the manager's log".to_owned()),
            _ => None,
        };
        let cause = problem.to_string();
        let errors = problem.errors.into_iter().map(Spot::from).collect();
        Self { kind, cause, errors, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_contract() {
        let table = [
            (Exit::Ok, 0),
            (Exit::NotSucceeded, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Refused, 4),
            (Exit::Unreachable, 5),
            (Exit::Task(7), 7),
            (Exit::RunItself, 125),
            (Exit::Signal(2), 130),
            (Exit::Signal(15), 143),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn each_problem_has_its_exit_code() {
        let table = [
            (ProblemKind::Malformed, 2),
            (ProblemKind::Invalid, 2),
            (ProblemKind::KeyReused, 2),
            (ProblemKind::NotFound, 3),
            (ProblemKind::Gone, 3),
            (ProblemKind::PreconditionFailed, 4),
            (ProblemKind::Unavailable, 5),
            (ProblemKind::Unauthorized, 4),
            (ProblemKind::Forbidden, 4),
            (ProblemKind::Conflict, 4),
            (ProblemKind::TooLarge, 4),
            (ProblemKind::MethodNotAllowed, 4),
            (ProblemKind::UnsupportedMediaType, 4),
            (ProblemKind::Timeout, 5),
            (ProblemKind::Overloaded, 5),
            (ProblemKind::NotLeader, 5),
            (ProblemKind::Internal, 5),
        ];
        for (kind, code) in table {
            assert_eq!(Failure::from(Problem::new(kind, "x")).exit().code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_failure_names_cause_places_and_next_command() {
        let faults = vec![
            Fault { pointer: String::new(), detail: "a job needs at least one `group`".into() },
            Fault { pointer: "/group/0/resources/cpu".into(), detail: "`x` is no cpu".into() },
        ];
        let failure = Failure::from(Problem::invalid(faults)).next("ebb submit job.toml");
        insta::assert_snapshot!(failure, @r"
        error: The request has faults: 2 faults; nothing was stored
          at /: a job needs at least one `group`
          at /group/0/resources/cpu: `x` is no cpu
          next: ebb submit job.toml
        ");
        insta::assert_json_snapshot!(failure, @r#"
        {
          "kind": "usage",
          "cause": "The request has faults: 2 faults; nothing was stored",
          "errors": [
            {
              "pointer": "",
              "detail": "a job needs at least one `group`"
            },
            {
              "pointer": "/group/0/resources/cpu",
              "detail": "`x` is no cpu"
            }
          ],
          "next": "ebb submit job.toml"
        }
        "#);
    }
}
