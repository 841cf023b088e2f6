//! `ebb completions`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::error::{Exit, Failure};
use crate::output::write_all;

pub(crate) fn print(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    write_all(&mut std::io::stdout().lock(), &script(shell))?;
    Ok(Exit::Ok)
}

fn script(shell: clap_complete::Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut visible(), "ebb", &mut text);
    text
}

/// The command line as people see it: the scripts offer hidden commands, too.
fn visible() -> clap::Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("ebb")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_know_the_commands_and_not_the_hidden_one() {
        use clap_complete::Shell::{Bash, Fish, Zsh};
        for shell in [Bash, Fish, Zsh] {
            let text = String::from_utf8(script(shell)).expect("UTF-8");
            assert!(text.contains("submit") && text.contains("each-line"), "{shell}");
            let offered = |line: &&str| line.contains("submit") && line.contains("spawner");
            assert_eq!(text.lines().find(offered), None, "{shell} offers what is hidden");
        }
    }
}
