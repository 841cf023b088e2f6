//! `ebb completions`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::error::{Exit, Failure};
use crate::output::write_all;

pub(crate) fn print(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ebb", &mut text);
    write_all(&mut std::io::stdout().lock(), &text)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_know_the_commands_and_not_the_hidden_one() {
        let mut text = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "ebb", &mut text);
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.contains("submit") && text.contains("--each-line"));
        assert!(!text.contains("ebb__spawner"), "hidden");
    }
}
