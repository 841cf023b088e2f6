//! The words of `ebb simulate`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use simulator::policy::PolicyName;

use super::generate::Generate;
use super::import::Import;
use crate::examples;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = examples::SIMULATE)]
pub(crate) struct Simulate {
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(subcommand)]
    pub(crate) other: Option<Other>,
}

/// What is not a run.
#[derive(Debug, Subcommand)]
pub(crate) enum Other {
    /// Make a market or a workload of what others recorded.
    Import(Box<Import>),
    /// Make a market or a workload from a seed.
    #[command(subcommand)]
    Generate(Generate),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The market; may be packed (.gz). `-`: stdin.
    #[arg(long, value_name = "FILE", requires = "jobs")]
    pub(crate) market: Option<PathBuf>,
    /// The workload; may be packed (.gz). `-`: stdin.
    #[arg(long, value_name = "FILE", requires = "market")]
    pub(crate) jobs: Option<PathBuf>,
    /// What a manager has seen (`ebb export`): its past under other policies. `-`: stdin.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["market", "jobs", "batch"])]
    pub(crate) from_export: Option<PathBuf>,
    /// Who decides: one or several, with commas or repeated, or `all`.
    #[arg(long, value_name = "P[,P…]", value_delimiter = ',', value_parser = policy(),
          default_value = "ebbtide", hide_possible_values = true)]
    pub(crate) policy: Vec<Choice>,
    /// What is drawn in a run is drawn from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// A page with plots, that needs nothing but itself.
    #[arg(long, value_name = "FILE", conflicts_with = "batch")]
    pub(crate) html: Option<PathBuf>,
    /// JSON Lines `{"id","market":{..},"jobs":[..]}`, one run each, over all cores. `-`: stdin.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["market", "jobs"])]
    pub(crate) batch: Option<PathBuf>,
    /// The batch's results, a line each, go there; there is nothing if a line is bad.
    #[arg(long, value_name = "FILE", requires = "batch", conflicts_with_all = ["market", "jobs"])]
    pub(crate) to: Option<PathBuf>,
}

/// `--policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    All,
    One(PolicyName),
}

fn policy() -> impl TypedValueParser<Value = Choice> {
    let names = PolicyName::ALL.into_iter().map(PolicyName::as_str).chain(["all"]);
    PossibleValuesParser::new(names.collect::<Vec<_>>())
        .map(|name| name.parse().map_or(Choice::All, Choice::One))
}

impl Run {
    /// Each policy once, in the order in which they were named.
    pub(crate) fn policies(&self) -> Vec<PolicyName> {
        let mut policies = Vec::new();
        for choice in &self.policy {
            let named = match choice {
                Choice::All => PolicyName::ALL.to_vec(),
                Choice::One(policy) => vec![*policy],
            };
            for policy in named {
                if !policies.contains(&policy) {
                    policies.push(policy);
                }
            }
        }
        policies
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn run(line: &str) -> Result<Run, String> {
        let words = format!("ebb simulate {line}");
        match Cli::try_parse_from(words.split_whitespace())
            .map_err(|fault| fault.to_string())?
            .command
        {
            Command::Simulate(args) => Ok(args.run),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn policies_are_named_with_commas_again_and_all_at_once() {
        let named = |line| run(line).map(|run| run.policies());
        let (greedy, eva) = (PolicyName::Greedy, PolicyName::Eva);
        assert_eq!(named(""), Ok(vec![PolicyName::Ebbtide]));
        assert_eq!(named("--policy greedy,eva --policy greedy"), Ok(vec![greedy, eva]));
        let all = named("--policy eva,all").expect("right");
        assert_eq!((all.len(), all[0], all[1]), (PolicyName::ALL.len(), eva, PolicyName::Ebbtide));
        let fault = named("--policy greed").expect_err("no policy");
        assert!(fault.contains("greedy") && fault.contains("all"), "{fault}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "--market a",
            "--jobs a",
            "--batch a --jobs b --market c",
            "--batch a --html b",
            "--market a --jobs b --to c",
        ] {
            assert!(run(line).is_err(), "{line}");
        }
        assert!(run("--batch - --to b --policy all --seed 7").is_ok());
    }
}
