//! Steps with their times, and the ways in which they fail.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Prints a line. A closed pipe is the reader's wish, not a failure.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Why an action ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that was checked is wrong; the text says what to do.
    Failed(String),
    /// The command line is wrong; the program that it is for has told so.
    Usage,
    /// A package is missing and only root may install it; the text is the line to run.
    NeedsPackages(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage => 2,
            Self::NeedsPackages(_) => 4,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(what) => out.write_str(what),
            Self::Usage => out.write_str("usage, see above"),
            Self::NeedsPackages(line) => {
                write!(out, "the tests need Debian packages; install them, then run this again:")?;
                write!(out, "\n  {line}")
            }
        }
    }
}

/// What has been run so far. All steps run, so that one call tells everything that is wrong.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

struct Done {
    name: &'static str,
    passed: bool,
    tenths: u128,
}

impl Steps {
    /// Runs a step and remembers how it ended; a failure is told at once.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<(), Failure>,
    ) -> bool {
        say(format_args!("── {name}"));
        let start = Instant::now();
        let outcome = step();
        let tenths = start.elapsed().as_millis() / 100;
        let passed = outcome.is_ok();
        match outcome {
            Ok(()) => say(format_args!("── {name}: passed in {}", Seconds(tenths))),
            Err(failure) => {
                say(format_args!("── {name}: FAILED after {}: {failure}", Seconds(tenths)));
            }
        }
        self.done.push(Done { name, passed, tenths });
        passed
    }

    /// Says what passed and what did not.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let line = |passed| {
            let part: Vec<_> = self
                .done
                .iter()
                .filter(|done| done.passed == passed)
                .map(|done| format!("{} {}", done.name, Seconds(done.tenths)))
                .collect();
            part.join(", ")
        };
        let (passed, failed) = (line(true), line(false));
        if failed.is_empty() {
            say(format_args!("all passed: {passed}"));
            return Ok(());
        }
        say(format_args!("passed: {}", if passed.is_empty() { "nothing" } else { &passed }));
        Err(Failure::Failed(format!("failed: {failed}")))
    }
}

struct Seconds(u128);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{} s", self.0 / 10, self.0 % 10)
    }
}

/// Cargo in the workspace, with the toolchain that runs this.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root).args(arguments);
    command
}

/// Runs a command whose output goes to the terminal.
pub(crate) fn run(command: &mut Command, hint: &str) -> Result<(), Failure> {
    let status = command
        .status()
        .map_err(|fault| Failure::Failed(format!("{}: {fault}", shown(command))))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Failed(format!("`{}` ended with {status}; {hint}", shown(command))))
    }
}

/// Runs a command whose output goes to the terminal; answers its exit code, if it has one.
pub(crate) fn run_to_code(command: &mut Command) -> Result<Option<i32>, Failure> {
    let status = command.status();
    status
        .map(|status| status.code())
        .map_err(|fault| Failure::Failed(format!("{}: {fault}", shown(command))))
}

/// Runs a command and gives what it wrote.
pub(crate) fn read(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .output()
        .map_err(|fault| Failure::Failed(format!("{}: {fault}", shown(command))))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Failed(format!(
        "`{}` ended with {}: {}",
        shown(command),
        output.status,
        complaint.trim()
    )))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or_else(|| command.get_program());
    let words: Vec<_> =
        std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}
